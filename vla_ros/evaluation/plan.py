"""Everything that is checked and decided before the first process of an evaluation starts."""

import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from vla_ros.bundle import Bundle
from vla_ros.control.gate_config import executed_rows
from vla_ros.errors import ConfigError, ContractError, SimulatorError
from vla_ros.evaluation import provenance
from vla_ros.evaluation.record import Provenance
from vla_ros.node.environment import ros_environment
from vla_ros.node.parameters import GateParameters, PolicyParameters, read_parameter_file
from vla_ros.sim.episode import SimConfig

POLICY_NODE, BRIDGE = "policy_node", "sim_bridge"
CONFIG, POLICY, ROBOT = "config.yaml", "policy.yaml", "robot.yaml"
"""The effective files in the output folder: what the three processes really read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked evaluation.

    Attributes:
        config: with the command line's changes applied.
        output: folder of all results; holds `config.yaml`, the file that the bridge reads.
        commands: process name to command line, in the order of starting.
        chunk_timeout_s: after which the gate holds the robot [s].
    """

    config: SimConfig
    output: Path
    commands: dict[str, list[str]]
    chunk_timeout_s: float
    provenance: Provenance


def prepare(config: SimConfig, output: Path, bundle: Path | None = None) -> Plan:
    """Check files, bundle and interpreter, then create `output` with the effective configuration files.

    Args:
        config: paths in it are relative to the current folder.
        output: must not exist or be empty; results are never overwritten.
        bundle: instead of the one that the policy's parameter file names.

    Raises:
        ConfigError: a parameter file is missing or wrong, or `output` is not empty.
        BundleError: the bundle is missing, incomplete or altered.
        ContractError: bundle, robot and simulator do not fit.
        SimulatorError: the simulator's interpreter is missing or does not run.
    """
    policy = read_parameter_file(config.policy, "policy_node", PolicyParameters)
    robot = read_parameter_file(config.robot, "command_gate", GateParameters)
    opened = Bundle.open(bundle or Path(policy.bundle))
    _check_fit(config, policy, robot, opened)
    if not config.python.is_file():
        raise SimulatorError(
            f"python: expected the simulator's interpreter, got no file at {config.python}; "
            f"run `make setup-{config.simulator}`"
        )
    versions = provenance.runtime_versions() | provenance.simulator_versions(config.python, config.simulator)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output}: expected a new or empty folder, got one with files; results are kept")
    output.mkdir(parents=True, exist_ok=True)
    rows = executed_rows(robot.execution_horizon, opened.contract.chunk_size)
    texts = {
        POLICY: _parameters_text(POLICY_NODE, replace(policy, bundle=str(opened.path), autostart=True)),
        ROBOT: _parameters_text("command_gate", replace(robot, autostart=True, execution_horizon=rows)),
    }
    config = replace(config, policy=output / POLICY, robot=output / ROBOT)
    texts[CONFIG] = config_text(config)
    for name, text in texts.items():
        (output / name).write_text(text, encoding="utf-8")
    return Plan(
        config=config,
        output=output,
        commands=node_commands(config, output),
        chunk_timeout_s=robot.chunk_timeout_s,
        provenance=Provenance(
            bundle=str(opened.path),
            bundle_sha256=opened.sha256,
            mode="lockstep" if robot.lockstep else "real_time",
            configs=texts,
            versions=versions,
            machine=provenance.machine(),
            started=provenance.utc_now(),
        ),
    )


def node_commands(config: SimConfig, output: Path) -> dict[str, list[str]]:
    """The three processes; policy and gate run under this interpreter, the bridge under the simulator's.

    What the command line changes is in the parameter files, not in `-p`: with `-p a:=1 --params-file F -p b:=2`, a `b`
    that F gives to the node by name wins over the later `-p` (rclpy 9.1.2).
    """
    here = [sys.executable, "-m"]
    return {
        POLICY_NODE: [*here, "vla_ros.node.policy_node", "--ros-args", "--params-file", str(config.policy)],
        "command_gate": [*here, "vla_ros.node.command_gate_node", "--ros-args", "--params-file", str(config.robot)],
        # absolute, but never resolved: a virtual environment's python is a link out of it
        BRIDGE: [
            *(str(config.python.absolute()), "-m", "vla_ros.sim.bridge_node"),
            *("--config", str(output / CONFIG), "--output", str(output)),
        ],
    }


def child_environment(domain: int, logs: Path) -> dict[str, str]:
    """The environment of all three processes on their own ROS domain."""
    environment = dict(os.environ)
    # ROS from pip wheels puts its interpreter's libraries first and marks that; the simulator's is another interpreter
    if environment.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None):
        paths = environment.pop("LD_LIBRARY_PATH", "").split(os.pathsep)
        kept = [path for path in paths if path and not Path(path).is_relative_to(sys.prefix)]
        environment |= {"LD_LIBRARY_PATH": os.pathsep.join(kept)} if kept else {}
    return (
        environment | ros_environment(domain) | {"PYTHONUNBUFFERED": "1", "ROS_LOG_DIR": str(logs.absolute() / "ros")}
    )


def config_text(config: SimConfig) -> str:
    """The configuration as YAML that `vla_ros.config.load` reads back equal."""
    plain = {
        name: str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
        for name, value in asdict(config).items()
    }
    return str(yaml.safe_dump(plain, sort_keys=False))


def _parameters_text(node: str, values: PolicyParameters | GateParameters) -> str:
    return str(yaml.safe_dump({f"/**/{node}": {"ros__parameters": asdict(values)}}, sort_keys=False))


def _check_fit(config: SimConfig, policy: PolicyParameters, robot: GateParameters, bundle: Bundle) -> None:
    """Refuse what the nodes would refuse once they run: then it would be seconds later and in three logs."""
    if policy.lockstep != robot.lockstep:
        raise ContractError(
            f"{config.policy}: policy_node.lockstep: expected {robot.lockstep} as in {config.robot}, "
            f"got {policy.lockstep}"
        )
    bundle.contract.action.check_same(robot.action_space, str(bundle.path), str(config.robot))
    if isinstance(robot.execution_horizon, int) and robot.execution_horizon > bundle.contract.chunk_size:
        raise ContractError(
            f"{config.robot}: command_gate.execution_horizon: expected <= {bundle.contract.chunk_size}, the chunk_size "
            f"of {bundle.path}, got {robot.execution_horizon}"
        )
    camera = bundle.contract.camera
    if (camera.width, camera.height) != (config.camera_size_px, config.camera_size_px):
        raise ContractError(
            f"{bundle.path}: camera: expected {config.camera_size_px} x {config.camera_size_px} px as the simulator's "
            f"camera_size_px, got {camera.width} x {camera.height}"
        )
