"""What the nodes say and hear, against the files that name it: SROS2's permissions and the layouts for people."""

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from test.node.cell import FRAMES, Cell
from test.node.fleet import POLICY, Fleet, Probe

CONFIG = Path(__file__).resolve().parents[2] / "config"
NODES = ("policy_node", "command_gate")
OF_SIMULATORS = {"/sim_bridge/tick"}
"""Said and heard in lockstep only, where nobody needs protection."""


def permitted(node: str, kind: str, access: str) -> set[str]:
    """Full names that policy.xml allows a node: `kind` is topic or service."""
    root = ElementTree.parse(CONFIG / "sros2/policy.xml").getroot()
    profile = root.find(f".//profile[@node='{node}']")
    assert profile is not None
    names = {element.text or "" for group in profile.findall(f"{kind}s[@{access}='ALLOW']") for element in group}
    return {name.replace("~", f"/{node}") if name[0] in "~/" else f"/{name}" for name in names}


def names(found: Iterable[tuple[str, list[str]]]) -> set[str]:
    return {name for name, _ in found}


def test_the_permissions_cover_what_the_nodes_use(fleet: Fleet, probe: Probe) -> None:
    fleet.start_node("policy_node", {**POLICY, "lockstep": False})
    cell = Cell(fleet, probe, **FRAMES, arm_output="pose", pose_source="topic")
    cell.until_state("ARMED")
    states = probe.states("policy_node/state")
    probe.until(lambda: "ACTIVE" in "".join(states()[-1:]) or "HOLD" in "".join(states()[-1:]), "policy_node")
    for node in NODES:
        probe.until(lambda node=node: node in probe.node.get_node_names(), node)
        used = {
            ("topic", "publish"): names(probe.node.get_publisher_names_and_types_by_node(node, "/")),
            ("topic", "subscribe"): names(probe.node.get_subscriber_names_and_types_by_node(node, "/")),
            ("service", "reply"): names(probe.node.get_service_names_and_types_by_node(node, "/")),
        }
        for (kind, access), found in used.items():
            assert found - OF_SIMULATORS <= permitted(node, kind, access), (node, access)


def all_topics() -> set[str]:
    return {name for node in NODES for access in ("publish", "subscribe") for name in permitted(node, "topic", access)}


def test_the_layout_for_foxglove_shows_what_there_is() -> None:
    text = (CONFIG / "foxglove/vla_ros.json").read_text()
    layout = json.loads(text)
    panels = set(re.findall(r'"([A-Za-z]+![a-z]+)"', json.dumps(layout["layout"])))
    assert panels == set(layout["configById"])
    paths = re.findall(r'"(?:value|imageTopic|topicName|topicToRender)": "(/[^".]+)', text)
    assert len(paths) > 10
    assert set(paths) <= all_topics()
    assert "/command_gate/reset" in permitted("command_gate", "service", "reply")


@pytest.mark.parametrize("shown", ["/policy_node/debug_image", "/target_pose", "/end_effector_pose"])
def test_the_layout_for_rviz_shows_what_there_is(shown: str) -> None:
    displays = yaml.safe_load((CONFIG / "rviz/vla_ros.rviz").read_text())["Visualization Manager"]["Displays"]
    assert shown in {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert shown in all_topics()
