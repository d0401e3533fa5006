"""The nodes' parameter schemas, from parameter files; nodes read the same schemas from ROS."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from vla_ros.errors import ConfigError
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file, source_of
from vla_ros.node.policy_parameters import PolicyParameters

ROOT = Path(__file__).resolve().parents[2]
GATE = {
    "frame_id": "base",
    "rotation": "axis_angle",
    "control_rate_hz": 20.0,
    "command_rate_hz": 20.0,
    "execution_horizon": 8,
    "chunk_timeout_s": 1.0,
    "max_linear_speed_m_s": 1.0,
    "max_angular_speed_rad_s": 1.0,
    "max_linear_acceleration_m_s2": 1000.0,
    "max_angular_acceleration_rad_s2": 1000.0,
    "max_step_m": 1.0,
    "max_step_rad": 4.0,
    "max_clamped_fraction": 1.0,
    "hold_stop_s": 0.0,
    "hold_recovery_s": 0.0,
    "max_holds_per_minute": 1000,
}


def read(tmp_path: Path, name: str, cls: type, parameters: dict[str, Any]) -> Any:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({f"/**/{name}": {"ros__parameters": parameters}}))
    return read_parameter_file(path, name, cls)


def test_the_shipped_parameter_files_are_valid() -> None:
    for path in sorted((ROOT / "config/robot").glob("*.yaml")):
        read_parameter_file(path, "command_gate", GateParameters)
    for path in sorted((ROOT / "config/node").glob("*.yaml")):
        read_parameter_file(path, "policy_node", PolicyParameters)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"chunk_timeout": 1.0}, "chunk_timeout: expected one of cpu_affinity, thread_priority, nice, trace, frame_id"),
        ({"chunk_timeout_s": 0.0}, "chunk_timeout_s: expected 0.001 to 600.0, got 0.0"),
        ({"chunk_timeout_s": float("nan")}, "chunk_timeout_s: expected 0.001 to 600.0, got nan"),
        ({"chunk_timeout_s": -1.0}, "chunk_timeout_s: expected 0.001 to 600.0, got -1.0"),
        ({"control_rate_hz": float("inf")}, "control_rate_hz: expected 0.1 to 1000.0, got inf"),
        ({"execution_horizon": 0}, "execution_horizon: expected 1 to 10000, got 0"),
        ({"execution_horizon": 8.0}, "execution_horizon: expected int or one of full, half, one, got float 8.0"),
        ({"rotation": "quaternion"}, "rotation: expected one of axis_angle, euler_xyz, got str 'quaternion'"),
        ({"frame_id": ""}, "frame_id: expected a frame name, got an empty string"),
        ({"lockstep": "yes"}, "lockstep: expected bool, got str 'yes'"),
        ({"execution_horizon": "most"}, "execution_horizon: expected int or one of full, half, one, got str 'most'"),
        ({"command_rate_hz": 30.0, "lockstep": False}, "command_rate_hz: expected a multiple of control_rate_hz, 20.0"),
        ({"command_rate_hz": 100.0, "lockstep": True}, "command_rate_hz: expected control_rate_hz, 20.0, in lockstep"),
        ({"workspace_min_m": [0.0, 0.0]}, "workspace_min_m: expected tuple[float, float, float], got list [0.0, 0.0]"),
        ({"workspace_min_m": [1.0, 0.0, 0.0], "workspace_max_m": [0.0] * 3}, "workspace_max_m: expected more than"),
    ],
)
def test_a_wrong_gate_parameter_names_file_path_expected_and_got(
    tmp_path: Path, change: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, "command_gate", GateParameters, {**GATE, **change})
    assert f"{tmp_path}/p.yaml: /**/command_gate.ros__parameters." in str(error.value)
    assert line in str(error.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"threads": 0}, "threads: expected 1 to 1024, got 0"),
        ({"threads": "two"}, "threads: expected int, got str 'two'"),
        ({"image_timeout_s": float("nan")}, "image_timeout_s: expected 0.001 to 60.0, got nan"),
        ({"bundle": ""}, "bundle: expected a folder, got an empty string"),
    ],
)
def test_a_wrong_policy_parameter_names_expected_and_got(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        read(tmp_path, "policy_node", PolicyParameters, {"bundle": "b", **change})


def test_a_missing_parameter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bundle: expected str, got nothing"):
        read(tmp_path, "policy_node", PolicyParameters, {"threads": 1})


def test_sections_for_all_nodes_and_ros_own_parameters_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    text = {
        "/**": {"ros__parameters": {"lockstep": True, "use_sim_time": False}},
        "policy_node": {"ros__parameters": {"bundle": "b"}},
    }
    path.write_text(yaml.safe_dump(text))
    values = read_parameter_file(path, "policy_node", PolicyParameters)
    assert (values.bundle, values.lockstep) == ("b", True)


def test_a_file_for_another_node_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump({"/**/other": {"ros__parameters": {"bundle": "b"}}}))
    with pytest.raises(ConfigError, match=r"expected a section /\*\*/policy_node, got /\*\*/other"):
        read_parameter_file(path, "policy_node", PolicyParameters)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"policy_node:\n  ros__parameters: [1]\n", r"policy_node.ros__parameters: expected a mapping, got \[1\]"),
        (b"policy_node: \xff\n", "expected UTF-8 text, got invalid start byte"),
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"p\.yaml: {complaint}"):
        read_parameter_file(path, "policy_node", PolicyParameters)


def test_an_error_names_the_files_that_the_parameters_come_from() -> None:
    assert source_of(["--ros-args", "--params-file", "a.yaml"], "policy_node") == "a.yaml"
    assert source_of(["--params-file", "a.yaml", "--params-file", "b.yaml"], "policy_node") == "a.yaml or b.yaml"
    assert source_of(["--params-file", "a.yaml", "-p", "x:=1"], "policy_node") == "a.yaml or -p"
    assert source_of(["--ros-args", "-p", "x:=1"], "policy_node") == "policy_node"
