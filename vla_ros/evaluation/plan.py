"""Everything that is checked and decided before anything is written or started."""

import os
import re
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from vla_ros.bundle import Bundle
from vla_ros.control.chunk_scheduler import LateSteps
from vla_ros.control.gate_config import ExecutionHorizon, executed_rows
from vla_ros.errors import ContractError, SimulatorError
from vla_ros.evaluation import provenance
from vla_ros.evaluation.record import Provenance
from vla_ros.node.environment import ros_environment
from vla_ros.node.gate_parameters import GateParameters
from vla_ros.node.parameters import read_parameter_file
from vla_ros.node.policy_parameters import PolicyParameters
from vla_ros.sim.episode import SimConfig
from vla_ros.sim.latency import read_latency

POLICY_NODE, GATE, BRIDGE = "policy_node", "command_gate", "sim_bridge"
CONFIG, POLICY, ROBOT, LATENCY = "config.yaml", "policy.yaml", "robot.yaml", "latency.txt"
"""The effective files in the output folder: what the three processes really read."""
CONNECT_S = 600.0
"""How long a policy may take to load; one that dies meanwhile ends the run at once [s]."""
PROGRAMS = {
    POLICY_NODE: "vla_ros.node.policy_node",
    GATE: "vla_ros.node.command_gate_node",
    BRIDGE: "vla_ros.sim.bridge_node",
}
EPISODES, PROGRESS = "episodes.json", "progress.json"
"""In the folder of a group of processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What differs from the files that a configuration names; None and empty leave what they say.

    Attributes:
        bundle: instead of the one that the policy's parameter file names.
        execution_horizon, late_steps: of the robot's parameter file.
        latency: of the configuration; makes its mode `latency`.
    """

    bundle: Path | None = None
    execution_horizon: ExecutionHorizon | None = None
    late_steps: LateSteps | None = None
    latency: str = ""

    @property
    def name(self) -> str:
        """For people, and as the name of a folder."""
        latency = Path(self.latency).name if Path(self.latency).suffix else self.latency
        parts = [
            "" if self.bundle is None else self.bundle.name,
            "" if self.execution_horizon is None else f"horizon-{self.execution_horizon}",
            self.late_steps or "",
            re.sub(r"[^\w.]", "-", latency),
        ]
        return "_".join(part for part in parts if part) or "as-configured"


AS_CONFIGURED = Variant()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A checked evaluation.

    Attributes:
        config: with all changes applied, and paths into `output`.
        output: folder of all results.
        files: name to text of what the processes read from it.
        chunk_timeout_s: after which the gate holds the robot [s].
        chunk_size, execution_horizon: rows of the policy's chunks, and how many of them are executed.
        backbone: of the policy.
    """

    config: SimConfig
    output: Path
    files: dict[str, str]
    chunk_timeout_s: float
    chunk_size: int
    execution_horizon: int
    backbone: str
    provenance: Provenance


def prepare(config: SimConfig, output: Path, variant: Variant = AS_CONFIGURED) -> Plan:
    """Check files, bundle and interpreter; nothing is written.

    Args:
        config: paths in it are relative to the current folder.
        output: where results will go.
        variant: changes.

    Raises:
        ConfigError: a parameter file is missing or wrong.
        BundleError: the bundle is missing, incomplete or altered.
        ContractError: bundle, robot and simulator do not fit.
        SimulatorError: the simulator's interpreter is missing or does not run.
    """
    policy = read_parameter_file(config.policy, "policy_node", PolicyParameters)
    robot = read_parameter_file(config.robot, "command_gate", GateParameters)
    if policy.lockstep != robot.lockstep:
        raise ContractError(
            f"{config.policy}: policy_node.lockstep: expected {robot.lockstep} as in {config.robot}, "
            f"got {policy.lockstep}"
        )
    opened = Bundle.open(variant.bundle or Path(policy.bundle))
    horizon = robot.execution_horizon if variant.execution_horizon is None else variant.execution_horizon
    robot = replace(robot, execution_horizon=horizon, late_steps=variant.late_steps or robot.late_steps)
    from_file = f"{config.robot}: command_gate.execution_horizon"
    _check_fit(config, robot, opened, from_file if variant.execution_horizon is None else "--execution-horizon")
    if not config.python.is_file():
        raise SimulatorError(
            f"python: expected the simulator's interpreter, got no file at {config.python}; "
            f"run `make setup-{config.simulator}`"
        )
    versions = provenance.runtime_versions() | provenance.simulator_versions(config.python, config.simulator)
    config, files = _effective_files(config, policy, robot, opened, output, variant.latency)
    return Plan(
        config=config,
        output=output,
        files=files,
        chunk_timeout_s=robot.chunk_timeout_s,
        chunk_size=opened.contract.chunk_size,
        execution_horizon=executed_rows(robot.execution_horizon, opened.contract.chunk_size),
        backbone=opened.contract.backbone,
        provenance=Provenance(
            bundle=str(opened.path),
            bundle_sha256=opened.sha256,
            mode=config.mode,
            configs=files,
            versions=versions,
            machine=provenance.machine(),
            started=provenance.utc_now(),
        ),
    )


def _effective_files(
    config: SimConfig, policy: PolicyParameters, robot: GateParameters, bundle: Bundle, output: Path, latency: str
) -> tuple[SimConfig, dict[str, str]]:
    """The configuration, and all files that the three processes read, as they are run."""
    changes: dict[str, object] = {"policy": output / POLICY, "robot": output / ROBOT}
    files = {}
    if latency or config.latency:
        read = read_latency(latency or config.latency)
        if read.samples_ms:
            files[LATENCY] = "".join(f"{sample!r}\n" for sample in read.samples_ms)
        changes |= {"mode": "latency", "latency": str(output / LATENCY) if read.samples_ms else read.text}
    config = replace(config, **changes)  # type: ignore[arg-type]
    is_lockstep = config.mode != "real_time"
    rows = executed_rows(robot.execution_horizon, bundle.contract.chunk_size)
    policy = replace(policy, bundle=str(bundle.path), autostart=True, lockstep=is_lockstep)
    robot = replace(robot, execution_horizon=rows, autostart=True, lockstep=is_lockstep)
    files |= {
        CONFIG: config_text(config),
        POLICY: _parameters_text(POLICY_NODE, policy),
        ROBOT: _parameters_text(GATE, robot),
    }
    return config, files


def node_commands(config: SimConfig, output: Path, folder: Path, bridge: str = "") -> dict[str, list[str]]:
    """The three processes; policy and gate run under this interpreter, the bridge under the simulator's.

    What the command line changes is in the parameter files, not in `-p`: with `-p a:=1 --params-file F -p b:=2`, a `b`
    that F gives to the node by name wins over the later `-p` (rclpy 9.1.2).

    Args:
        config: as planned.
        output: holds the configuration and takes the results.
        folder: of this group of processes, which says there which episodes it is to run and how far it is.
        bridge: another program than sim_bridge.
    """
    here = [sys.executable, "-m"]
    return {
        POLICY_NODE: [*here, PROGRAMS[POLICY_NODE], "--ros-args", "--params-file", str(config.policy)],
        GATE: [*here, PROGRAMS[GATE], "--ros-args", "--params-file", str(config.robot)],
        # absolute, but never resolved: a virtual environment's python is a link out of it
        BRIDGE: [
            *(str(config.python.absolute()), "-m", bridge or PROGRAMS[BRIDGE]),
            *("--config", str(output / CONFIG), "--output", str(output)),
            *("--only", str(folder / EPISODES), "--progress", str(folder / PROGRESS)),
            *("--connect-timeout-s", f"{CONNECT_S:g}"),
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


def _check_fit(config: SimConfig, robot: GateParameters, bundle: Bundle, horizon_from: str) -> None:
    """Refuse what the nodes would refuse once they run: then it would be seconds later and in three logs."""
    bundle.contract.action.check_same(robot.action_space, str(bundle.path), str(config.robot))
    if isinstance(robot.execution_horizon, int) and robot.execution_horizon > bundle.contract.chunk_size:
        raise ContractError(
            f"{horizon_from}: expected <= {bundle.contract.chunk_size}, the chunk_size of {bundle.path}, got "
            f"{robot.execution_horizon}; --execution-horizon full executes all"
        )
    camera = bundle.contract.camera
    if (camera.width, camera.height) != (config.camera_width_px, config.camera_height_px):
        raise ContractError(
            f"{bundle.path}: camera: expected {config.camera_width_px} x {config.camera_height_px} px as the "
            f"simulator's camera_size_px, got {camera.width} x {camera.height}"
        )
