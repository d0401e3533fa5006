"""The schema of `config/train/*.yaml`."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vla_ros.action import ActionSpace
from vla_ros.config import check_numbers
from vla_ros.contract import ImageSpec, PromptSpec
from vla_ros.data.augmentation import AugmentationConfig
from vla_ros.observation import CameraSpec
from vla_ros.policies.action_head import HeadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Attributes:
    path: a folder of LIBERO HDF5 files.
    labels: `expert` is the noise-free label of our own demonstrations, `executed` what moved the arm.
    validation_episodes: that many episodes, spread evenly over the data set, are only measured on.
    phase_weights: how much oftener frames of an expert's phase are drawn; others weigh 1.
    """

    path: Path
    labels: Literal["expert", "executed"]
    validation_episodes: int
    phase_weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_numbers(self, "validation_episodes", least=1)
        for phase, weight in self.phase_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"phase_weights.{phase}: expected >= 0, got {weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Attributes:
    backbone_config: fields of the family's transformers config, which checks them.
    tokenizer_vocabulary: size of the byte-level BPE that is trained on the prompts.
    """

    backbone: Literal["qwen3_vl"]
    recipe: Literal["paper"]
    backbone_config: dict[str, Any]
    tokenizer_vocabulary: int
    head: HeadConfig
    camera: CameraSpec
    image: ImageSpec
    prompt: PromptSpec
    action: ActionSpace
    chunk_size: int

    def __post_init__(self) -> None:
        check_numbers(self, "tokenizer_vocabulary", "chunk_size", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss (VLM4VLA, eq. 1).

    Attributes:
        huber_delta: where the arm's Huber loss turns linear, in model units; divided by delta, so 1 is the paper's.
        gripper_weight: of the gripper's binary cross-entropy.
        scene_weight: of the training-only regression of target, goal and end-effector positions; 0 leaves it out.
    """

    huber_delta: float
    gripper_weight: float
    scene_weight: float

    def __post_init__(self) -> None:
        check_numbers(self, "huber_delta", above=0)
        check_numbers(self, "gripper_weight", "scene_weight", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay to zero, and an exponential moving average of the weights."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    gradient_clip: float
    ema_decay: float

    def __post_init__(self) -> None:
        check_numbers(self, "steps", "batch_size", "learning_rate", "gradient_clip", above=0)
        check_numbers(self, "weight_decay", least=0)
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay: expected in [0, 1), got {self.ema_decay}")
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(f"warmup_steps: expected in [0, steps), got {self.warmup_steps}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """One training run.

    Attributes:
        output: the run's folder: checkpoint, metrics, loss curve, tokenizer, statistics.
        precision: `bf16` computes in bfloat16 autocast (AMX on recent CPUs), weights stay float32.
        validate_every: steps between validations, which also write the checkpoint and the loss curve.
    """

    name: str
    output: Path
    seed: int
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    validate_every: int
    data: DataConfig
    policy: PolicyConfig
    augmentation: AugmentationConfig
    objective: ObjectiveConfig
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        check_numbers(self, "seed", least=0)
        check_numbers(self, "validate_every", least=1)
