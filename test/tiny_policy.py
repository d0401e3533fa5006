"""A policy of the real architecture, trained for a moment on synthetic demonstrations and exported: a pytest plugin."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from vla_ros import config
from vla_ros.bundle import MANIFEST, Bundle, parse_manifest, seal
from vla_ros.data.libero_writer import Recording, write_file

INSTRUCTION = "pick up the alphabet soup and place it in the basket"

TINY_TRAINING = """
name: tiny
output: {output}
seed: 3
device: cpu
precision: fp32
validate_every: 2
recipe: paper
chunk_size: 4
camera: {{name: agentview, width: 64, height: 64}}
action: {{frame_id: base, rotation: axis_angle, control_rate_hz: 20.0}}
data:
  source: {{libero: {{path: {data}, labels: expert}}}}
  validation_episodes: 1
  phase_weights: {{close: 2.0}}
policy:
  backbone: qwen3_vl
  backbone_config:
    vision_config: {{depth: 2, hidden_size: 32, intermediate_size: 48, num_heads: 2, patch_size: 16,
      out_hidden_size: 24, num_position_embeddings: 16, deepstack_visual_indexes: [0]}}
    text_config: {{hidden_size: 24, intermediate_size: 40, num_hidden_layers: 2, num_attention_heads: 2,
      num_key_value_heads: 1, head_dim: 12,
      rope_parameters: {{rope_type: default, rope_theta: 10000.0, mrope_section: [2, 2, 2]}}}}
  tokenizer_vocabulary: 400
  head: {{trunk: 32, widths: [32, 16]}}
  image: {{size_px: 64, patch_size_px: 16, merge_size: 2, temporal_patch_size: 2,
    mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}}
  prompt: {{template: qwen_long, max_tokens: 80}}
augmentation: {{shift_px: 2, brightness: 0.1}}
objective: {{huber_delta: 0.1, gripper_weight: 0.1, scene_weight: 0.2}}
optimizer: {{steps: 4, batch_size: 8, learning_rate: 1.0e-3, warmup_steps: 1, schedule: cosine, weight_decay: 0.05,
  gradient_clip: 1.0, ema_decay: 0.9}}
"""


def write_demonstrations(folder: Path, episodes: int = 3, steps: int = 12) -> Path:
    """A LIBERO file of noise images and random actions, written by the project's own writer."""
    random = np.random.default_rng(0)
    recordings = []
    for _ in range(episodes):
        actions = random.uniform(-1, 1, (steps, 7))
        is_second_half = np.arange(steps) >= steps // 2
        actions[:, 6] = np.where(is_second_half, 1.0, -1.0)
        images = random.integers(0, 128, (steps, 64, 64, 3), dtype=np.uint8)
        images[is_second_half] += 100  # the gripper can be read from the brightness
        recordings.append(
            Recording(
                datasets={
                    "actions": actions,
                    "states": random.normal(size=(steps, 5)),
                    "expert_actions": actions * 0.5,
                    "expert_phase": is_second_half.astype(np.uint8),
                    "obs/agentview_rgb": images,
                    "obs/ee_pos": random.normal(size=(steps, 3)),
                    "obs/target_position": random.normal(size=(steps, 3)).astype(np.float32),
                    "obs/goal_position": random.normal(size=(steps, 3)).astype(np.float32),
                    "obs/other_positions": random.normal(size=(steps, 1, 3)).astype(np.float32),
                },
                phase_names=("approach", "close"),
                other_instructions=("pick up the milk",),
                attributes={},
            )
        )
    folder.mkdir(parents=True, exist_ok=True)
    problem = {"problem_info": f'{{"language_instruction": "{INSTRUCTION}"}}'}
    write_file(folder / "soup_demo.hdf5", problem, recordings)
    return folder


def write_config(path: Path, data: Path, output: Path, **optimizer: object) -> Path:
    """The training config, with some of the optimizer's fields replaced."""
    fields = yaml.safe_load(TINY_TRAINING.format(data=data, output=output))
    fields["optimizer"] |= optimizer
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a finished `vla-ros train`."""
    pytest.importorskip("torch")
    from vla_ros.cli import main

    folder = tmp_path_factory.mktemp("tiny")
    data = write_demonstrations(folder / "data")
    training = write_config(folder / "train.yaml", data, folder / "run")
    assert main(["train", str(training)]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path) -> Path:
    """The bundle that `vla-ros export` makes of it; read only: copy it before changing a file."""
    from vla_ros.cli import main

    bundle = tiny_run.parent / "bundle"
    assert main(["export", str(tiny_run), "--output", str(bundle), "--frames", "6"]) == 0
    return bundle


def reseal(folder: Path, **changes: object) -> Bundle:
    """A bundle after somebody changed a file, or what the manifest says of the graph, who knows how to seal it."""
    graph = parse_manifest(folder / MANIFEST, (folder / MANIFEST).read_bytes()).graph
    seal(folder, replace(graph, **changes), {})
    return Bundle.open(folder)


@pytest.fixture(scope="session")
def tiny_config(tiny_run: Path) -> object:
    """The training config of `tiny_run`."""
    from vla_ros.train.config import TrainConfig

    return config.load(tiny_run / "train.yaml", TrainConfig)
