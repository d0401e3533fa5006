"""The processes of a run: both nodes as on a robot, a camera, a receiver, neighbours where wanted."""

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from vla_ros import config
from vla_ros.action import ActionSpace
from vla_ros.bench.reaction import COMMAND_RATE_HZ, Case
from vla_ros.bench.reaction_policy import Kind
from vla_ros.contract import ImageSpec, PolicyContract, PromptSpec
from vla_ros.evaluation.processes import Processes
from vla_ros.observation import CameraSpec

CONTROL_RATE_HZ = 20.0
"""Of the policy that answers at once; the gate interpolates."""
CHUNK_SIZE = 8

GATE: dict[str, Any] = {
    "command_rate_hz": COMMAND_RATE_HZ,
    "execution_horizon": "full",
    "chunk_timeout_s": 0.2,
    "max_linear_speed_m_s": 0.25,
    "max_angular_speed_rad_s": 0.8,
    "max_linear_acceleration_m_s2": 1.0,
    "max_angular_acceleration_rad_s2": 4.0,
    "max_step_m": 0.03,
    "max_step_rad": 0.2,
    "max_clamped_fraction": 1.0,
    "hold_stop_s": 0.1,
    "hold_recovery_s": 0.5,
    "max_holds_per_minute": 10_000,  # the run goes on and reports them
    "lockstep": False,
    "autostart": True,
}
"""A real robot's parameters, as in config/robot/real_time_example.yaml."""


def make_contract(width: int, height: int) -> PolicyContract:
    """Of the policy that answers at once."""
    return PolicyContract(
        name="zero_time",
        backbone="qwen3_vl",
        recipe="paper",
        camera=CameraSpec(name="camera", width=width, height=height),
        image=ImageSpec(
            size_px=32, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        prompt=PromptSpec(template="qwen_short", max_tokens=64),
        action=ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=CONTROL_RATE_HZ),
        chunk_size=CHUNK_SIZE,
        statistics_sha256="0" * 64,
    )


def start(case: Case, folder: Path, processes: Processes) -> None:
    """Start all of them; their traces are written to `<folder>/*.jsonl` when they end."""
    placement = case.placement
    policy = "vla_ros.node.policy_node" if case.bundle is not None else "vla_ros.bench.reaction_policy"
    _start_node(processes, folder, "command_gate", "vla_ros.node.command_gate_node", _gate(case))
    _start_node(processes, folder, "policy_node", policy, _policy(case, folder))
    urgency = ("--priority", str(placement.gate_priority))
    camera = case.contract.camera
    size = ("--width", str(camera.width), "--height", str(camera.height), "--seed", str(case.seed))
    for name, arguments in (("receiver", urgency), ("camera", (*size, *urgency))):
        _start(processes, name, f"vla_ros.bench.reaction_{name}", *arguments, "--trace", str(folder / f"{name}.jsonl"))
    for core in range(len(os.sched_getaffinity(0)) if case.load == "neighbour" else 0):
        _start(processes, f"neighbour_{core}", "vla_ros.bench.reaction_neighbour", OPENBLAS_NUM_THREADS="1")


def _start_node(processes: Processes, folder: Path, name: str, module: str, parameters: dict[str, Any]) -> None:
    file = folder / f"{name}.yaml"
    values = {**parameters, "trace": str(folder / f"{name}.jsonl")}
    file.write_text(yaml.safe_dump({f"/**/{name}": {"ros__parameters": values}}), encoding="utf-8")
    _start(processes, name, module, "--ros-args", "--params-file", str(file))


def _start(processes: Processes, name: str, module: str, *arguments: str, **environment: str) -> None:
    processes.start(name, [sys.executable, "-m", module, *arguments], {**os.environ, **environment})


def _gate(case: Case) -> dict[str, Any]:
    action = case.contract.action
    return {
        **GATE,
        "frame_id": action.frame_id,
        "rotation": action.rotation,
        "control_rate_hz": action.control_rate_hz,
        "thread_priority": case.placement.gate_priority,
    }


def _policy(case: Case, folder: Path) -> dict[str, Any]:
    kind: Kind = "busy" if case.load == "policy" else "zero_time"
    if case.bundle is None:
        (folder / "policy.yaml").write_text(config.dumps(case.contract), encoding="utf-8")
    return {
        "bundle": str(folder if case.bundle is None else case.bundle.absolute()),
        "engine": kind if case.bundle is None else case.engine,
        "threads": case.threads,
        "image_timeout_s": 0.2,
        "lockstep": False,
        "autostart": True,
        "thread_priority": case.placement.policy_priority,
        # on a CPU it would keep the other processes from their core while it computes
        "inference_priority": 0 if case.is_computing else case.placement.inference_priority,
    }
