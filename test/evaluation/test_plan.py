import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from test.evaluation.bundles import POLICY, ROBOT, write_bundle
from test.evaluation.episodes import sim_config
from vla_ros import config as yaml_config
from vla_ros.cli import main
from vla_ros.errors import BundleError, ContractError, SimulatorError
from vla_ros.evaluation import resume
from vla_ros.evaluation.plan import (
    AS_CONFIGURED,
    BRIDGE,
    Plan,
    Variant,
    child_environment,
    config_text,
    node_commands,
    prepare,
)
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.node.policy_parameters import PolicyParameters
from vla_ros.sim.episode import SimConfig


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that an evaluation needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yaml").write_text(POLICY)
    (tmp_path / "robot.yaml").write_text(ROBOT)
    write_bundle(tmp_path / "models" / "tiny")
    return tmp_path


def config(**changes: object) -> SimConfig:
    return sim_config(python=Path(sys.executable), **changes)


def begun(output: Path, variant: Variant = AS_CONFIGURED, **changes: object) -> Plan:
    """A plan whose files are written."""
    plan = prepare(config(**changes), output, variant)
    with resume.claimed(output):
        return resume.begin(plan)


def test_the_plan_names_three_processes_and_writes_the_effective_files(project: Path) -> None:
    plan = begun(Path("out"), first_initial_state=7)
    commands = node_commands(plan.config, plan.output, Path("out/workers/0"))
    assert list(commands) == ["policy_node", "command_gate", BRIDGE]
    assert commands["policy_node"][-1] == "out/policy.yaml"
    assert commands["command_gate"][-1] == "out/robot.yaml"
    assert commands[BRIDGE][0] == sys.executable
    assert yaml_config.load(project / "out" / "config.yaml", SimConfig) == plan.config
    assert plan.provenance.mode == "lockstep"
    assert plan.chunk_timeout_s == 5.0
    manifest = (project / "models" / "tiny" / "manifest.json").read_bytes()
    assert plan.provenance.bundle_sha256 == hashlib.sha256(manifest).hexdigest()


def policy_file() -> PolicyParameters:
    return read_parameter_file(Path("out/policy.yaml"), "policy_node", PolicyParameters)


def robot_file() -> GateParameters:
    return read_parameter_file(Path("out/robot.yaml"), "command_gate", GateParameters)


def test_a_bundle_on_the_command_line_replaces_the_named_one(project: Path) -> None:
    write_bundle(project / "models" / "other")
    begun(Path("out"), Variant(bundle=Path("models/other")))
    assert (policy_file().bundle, policy_file().autostart) == ("models/other", True)


@pytest.mark.parametrize(("horizon", "rows"), [("full", 10), ("half", 5), ("one", 1), (3, 3), (None, 8)])
def test_the_executed_steps_and_the_rule_for_late_ones_are_written_into_the_robots_file(
    project: Path, horizon: Any, rows: int
) -> None:
    plan = begun(Path("out"), Variant(execution_horizon=horizon, late_steps="skip"))
    assert (robot_file().execution_horizon, plan.execution_horizon, robot_file().late_steps) == (rows, rows, "skip")


@pytest.mark.parametrize(("mode", "is_lockstep"), [("lockstep", True), ("real_time", False)])
def test_the_mode_decides_whether_policy_and_gate_wait_for_a_simulator(
    project: Path, mode: str, is_lockstep: bool
) -> None:
    plan = begun(Path("out"), mode=mode)
    assert (policy_file().lockstep, robot_file().lockstep, plan.provenance.mode) == (is_lockstep, is_lockstep, mode)


def test_a_measured_latency_goes_into_the_output_folder_and_a_named_one_into_the_configuration(project: Path) -> None:
    Path("measured.txt").write_text("12.5\n80\n")
    plan = begun(Path("out"), Variant(latency="measured.txt"))
    assert (plan.config.mode, plan.config.latency) == ("latency", "out/latency.txt")
    assert Path("out/latency.txt").read_text() == "12.5\n80.0\n"
    assert prepare(config(), Path("other"), Variant(latency="0.1s")).config.latency == "100ms"


def test_variants_are_told_apart_by_their_names() -> None:
    variant = Variant(bundle=Path("models/a"), execution_horizon="half", late_steps="skip", latency="80/140ms")
    assert variant.name == "a_horizon-half_skip_80-140ms"
    assert Variant().name == "as-configured"


def test_a_flipped_bit_stops_before_anything_is_made(project: Path) -> None:
    (project / "models" / "tiny" / "policy.onnx").write_text("cnntent")
    with pytest.raises(BundleError, match=r"^models/tiny/policy.onnx: sha256: expected "):
        prepare(config(), Path("out"))
    assert not Path("out").exists()


def test_parts_that_do_not_fit_are_refused(project: Path) -> None:
    write_bundle(project / "models" / "slow", control_rate_hz=5.0)
    with pytest.raises(ContractError, match=r"robot.yaml: control_rate_hz: expected 5.0 as in models/slow, got 20.0"):
        prepare(config(), Path("out"), Variant(bundle=Path("models/slow")))
    Path("robot.yaml").write_text(ROBOT.replace("execution_horizon: 8", "execution_horizon: 11"))
    complaint = r"robot.yaml: command_gate.execution_horizon: expected <= 10, the chunk_size of models/tiny, got 11;"
    with pytest.raises(ContractError, match=complaint):
        prepare(config(), Path("out"))
    Path("robot.yaml").write_text(ROBOT)
    with pytest.raises(ContractError, match=r"models/tiny: camera: expected 256 x 256 px .* got 128 x 128"):
        prepare(config(camera_size_px=256), Path("out"))
    Path("policy.yaml").write_text(POLICY.replace("lockstep: true", "lockstep: false"))
    with pytest.raises(ContractError, match=r"policy.yaml: policy_node.lockstep: expected True as in robot.yaml"):
        prepare(config(), Path("out"))


def test_a_missing_bundle_is_said_before_anything_is_made(project: Path) -> None:
    with pytest.raises(BundleError, match=r"^models/none: "):
        prepare(config(), Path("out"), Variant(bundle=Path("models/none")))
    assert not Path("out").exists()


def test_a_missing_simulator_names_the_command_that_installs_it(project: Path) -> None:
    with pytest.raises(SimulatorError, match=r"got no file at .venv/none; run `make setup-libero`"):
        prepare(sim_config(python=Path(".venv/none")), Path("out"))


def test_configuration_text_reads_back_equal() -> None:
    assert yaml_config.loads(config_text(config(tasks=(0, 3))), SimConfig, "text") == config(tasks=(0, 3))


def test_children_find_their_own_ros_libraries_and_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.prefix}/lib:/opt/ros/lib")
    environment = child_environment(42, Path("logs"))
    assert environment["ROS_DOMAIN_ID"] == "42"
    assert environment["LD_LIBRARY_PATH"] == "/opt/ros/lib"
    assert "_ROS_WHEELS_BOOTSTRAP_COMPLETE" not in environment


def test_the_command_gives_one_line_and_exit_code_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "sim.yaml"
    path.write_text(config_text(config()))
    assert main(["eval", str(path), "--policy", "models/none"]) == 2
    assert main(["eval", str(path), "--episodes", "0"]) == 2
    bundle, episodes = capsys.readouterr().err.splitlines()
    assert bundle.startswith("vla-ros eval: models/none: expected a policy bundle")
    assert episodes == "vla-ros eval: command line: episodes_per_task: expected >= 1, got 0"
    assert not (project / "runs").exists()
