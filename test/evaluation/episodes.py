"""Made-up evaluations for the tests of this folder."""

from pathlib import Path
from typing import Any

from vla_ros.evaluation.record import Evaluation, Provenance
from vla_ros.sim.episode import EpisodeResult, SimConfig


def episode(**changes: Any) -> EpisodeResult:
    values: dict[str, Any] = {
        "task_index": 0,
        "task": "pick_up_the_soup",
        "instruction": "pick up the soup",
        "initial_state": 0,
        "outcome": "success",
        "reason": "",
        "steps": 100,
        "clamped_steps": 0,
        "reaction_ms": (10.0, 30.0),
        "actions_sha256": "a" * 64,
        "video": "task0_state0.mp4",
        "subtasks": (),
        "wall_s": 12.5,
    }
    return EpisodeResult(**(values | changes))


def sim_config(**changes: Any) -> SimConfig:
    values: dict[str, Any] = {
        "simulator": "libero",
        "suite": "libero_object",
        "tasks": (0,),
        "episodes_per_task": 2,
        "camera_size_px": 128,
        "python": Path("python"),
        "policy": Path("policy.yaml"),
        "robot": Path("robot.yaml"),
        "answer_timeout_s": 30.0,
        "video_every_n_steps": 2,
    }
    return SimConfig(**(values | changes))


def evaluation(output: Path, *results: EpisodeResult, failure: str = "", **changes: Any) -> Evaluation:
    provenance = Provenance(
        bundle="models/tiny",
        bundle_sha256="b" * 64,
        mode="lockstep",
        configs={"config.yaml": "suite: libero_object\n"},
        versions={"vla_ros": "0.1.0", "mujoco": "3.17.0"},
        machine={"processor": "a processor", "cores": 2},
        started="2026-01-01T00:00:00+00:00",
    )
    return Evaluation(
        config=sim_config(**changes),
        output=output,
        provenance=provenance,
        backbone="qwen3_vl",
        chunk_size=10,
        execution_horizon=8,
        results=results,
        failure=failure,
        wall_s=60.0,
    )
