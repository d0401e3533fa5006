"""A folder with all that an evaluation needs, and whose policy has no graph."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import yaml

from vla_ros.action import ActionSpace
from vla_ros.bundle import REQUIRED_FILES, GraphInfo, seal
from vla_ros.contract import ImageSpec, PolicyContract, PromptSpec
from vla_ros.observation import CameraSpec
from vla_ros.processing.normalization import Statistics

POLICY = """\
/**/policy_node:
  ros__parameters:
    bundle: models/tiny
    lockstep: true
"""
ROBOT = """\
/**/command_gate:
  ros__parameters:
    frame_id: base
    rotation: axis_angle
    control_rate_hz: 20.0
    command_rate_hz: 20.0
    execution_horizon: 8
    chunk_timeout_s: 5.0
    max_linear_speed_m_s: 1.74
    max_angular_speed_rad_s: 17.4
    max_linear_acceleration_m_s2: 100.0
    max_angular_acceleration_rad_s2: 1000.0
    max_step_m: 0.087
    max_step_rad: 0.87
    max_clamped_fraction: 1.0
    hold_stop_s: 0.0
    hold_recovery_s: 0.0
    max_holds_per_minute: 1000
    lockstep: true
"""


def write_bundle(path: Path, control_rate_hz: float = 20.0, camera_px: int = 128) -> None:
    """A bundle that verifies; its graph is none."""
    rows = np.array([[-1, -1, -1, -1, -1, -1, 0], [1, 1, 1, 1, 1, 1, 1]], np.float32)
    statistics = Statistics.of(rows).to_json()
    contract = PolicyContract(
        name="tiny",
        backbone="qwen3_vl",
        recipe="paper",
        camera=CameraSpec(name="agentview", width=camera_px, height=camera_px),
        image=ImageSpec(
            size_px=128, patch_size_px=16, merge_size=2, temporal_patch_size=2, mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        prompt=PromptSpec(template="qwen_long", max_tokens=96),
        action=ActionSpace(frame_id="base", rotation="axis_angle", control_rate_hz=control_rate_hz),
        chunk_size=10,
        statistics_sha256=hashlib.sha256(statistics.encode()).hexdigest(),
    )
    path.mkdir(parents=True)
    plain = json.loads(json.dumps(asdict(contract)))
    (path / "policy.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    (path / "statistics.json").write_text(statistics)
    for name in set(REQUIRED_FILES) - {"policy.yaml", "statistics.json"}:
        (path / name).write_text("content")
    graph = GraphInfo(
        precision="fp32",
        compute="fp32",
        buckets=(20,),
        kept=(),
        tolerance={"position_mm": 0.1, "rotation_deg": 0.1, "gripper_flips": 0.0},
        parity={},
        checkpoint_sha256="",
        calibration_frames=0,
        peak_memory_gib=0.0,
    )
    seal(path, graph, {})
