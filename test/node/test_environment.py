"""The environment that the nodes' processes get."""

import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from vla_ros.node.environment import apply_defaults, fastdds_profile, ros_environment, shared_memory_shortage


def test_the_shipped_profile_has_a_shared_memory_segment_for_images() -> None:
    namespace = {"dds": "http://www.eprosima.com"}
    root = ElementTree.parse(fastdds_profile()).getroot()
    sizes = [int(element.text or 0) for element in root.iterfind(".//dds:segment_size", namespace)]
    assert sizes == [32 * 2**20]


def test_the_users_own_settings_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    environment = ros_environment(domain_id=7)
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert environment["ROS_DOMAIN_ID"] == "7"
    assert Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()


def test_without_a_domain_none_is_set() -> None:
    assert "ROS_DOMAIN_ID" not in ros_environment()


def test_a_node_started_by_hand_is_heard_on_this_host_only_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    apply_defaults()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    apply_defaults()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"


def test_a_lack_of_shared_memory_is_named_with_its_mend(tmp_path: Path) -> None:
    assert shared_memory_shortage(tmp_path) == ""
    assert "--shm-size" in shared_memory_shortage(tmp_path / "none")
