"""The schema of `config/train/*.yaml`, and of the `config/policy/*.yaml` that they name."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from vla_ros.action import ActionSpace
from vla_ros.config import check_numbers
from vla_ros.contract import ArmBounds, BackboneName, ImageSpec, PromptSpec
from vla_ros.data.augmentation import AugmentationConfig
from vla_ros.data.sources import DataSource
from vla_ros.errors import ConfigError
from vla_ros.observation import CameraSpec
from vla_ros.policies.action_head import HeadConfig
from vla_ros.recipe import RECIPES, RecipeName


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Attributes:
    source: which demonstrations; see `data.sources`.
    validation_episodes: that many episodes, spread evenly over the data set, are only measured on.
    phase_weights: how much oftener frames of a demonstrator's phase are drawn; others weigh 1.
    question_share: of the samples that ask for another object of the scene than the one that was moved. What the
        demonstrator would have done is not known of them; `objective.scene_weight` learns from where the object is.
    workers: processes that read, augment and preprocess images; 0 does so between the steps.
    """

    source: DataSource
    validation_episodes: int
    phase_weights: dict[str, float] = field(default_factory=dict)
    question_share: float = 0.0
    workers: int = 0

    def __post_init__(self) -> None:
        check_numbers(self, "validation_episodes", least=1)
        check_numbers(self, "workers", least=0)
        if not 0 <= self.question_share < 1:
            raise ValueError(f"question_share: expected in [0, 1), got {self.question_share}")
        for phase, weight in self.phase_weights.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"phase_weights.{phase}: expected >= 0, got {weight}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeConfig:
    """Parts that keep their pretrained weights (VLM4VLA, table 3); the recipe freezes nothing."""

    vision_encoder: bool = False
    word_embeddings: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraConfig:
    """Low-rank adapters on the language model's linear layers instead of full fine-tuning, through peft.

    Attributes:
        rank, alpha, dropout: as in peft.
    """

    rank: int
    alpha: float
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, "rank", least=1)
        check_numbers(self, "alpha", above=0)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout: expected in [0, 1), got {self.dropout}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """A vision-language model and how it becomes a policy: one file of `config/policy/`.

    Attributes:
        backbone: family of the model.
        weights: hub id or local folder of the pretrained model (safetensors); None draws random weights in the shape of
            `backbone_config`.
        from_scratch: draw random weights in the shape of `weights`, and take only its tokenizer (VLM4VLA, table 8).
        backbone_config: fields of the family's transformers config; with `weights` they must agree with its config.json
            and serve to plan without a network; None reads them there.
        tokenizer_vocabulary: size of the byte-level BPE that is trained on the prompts, for random weights; None takes
            the tokenizer of `weights`.
        image, prompt: preprocessing.
        action_queries: learnable embeddings behind the prompt.
        head: sizes of the policy head.
        freeze: parts that are not trained.
        lora: adapters; None fine-tunes everything, as the recipe does.
    """

    backbone: BackboneName
    weights: str | None = None
    from_scratch: bool = False
    backbone_config: dict[str, Any] | None = None
    tokenizer_vocabulary: int | None = None
    image: ImageSpec
    prompt: PromptSpec
    action_queries: int = 1
    head: HeadConfig = field(default_factory=HeadConfig)
    freeze: FreezeConfig = FreezeConfig()
    lora: LoraConfig | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "action_queries", least=1)
        if self.tokenizer_vocabulary is not None:
            check_numbers(self, "tokenizer_vocabulary", least=1)
        if self.from_scratch and self.weights is None:
            raise ValueError("from_scratch: expected false where `weights` is not given, got true")
        if self.weights is None and self.backbone_config is None:
            raise ValueError("backbone_config: expected the model's sizes, as `weights` is not given, got nothing")
        if (self.weights is None) != (self.tokenizer_vocabulary is not None):
            raise ValueError(
                "tokenizer_vocabulary: expected a number where `weights` is not given and nothing where it is, "
                f"got {self.tokenizer_vocabulary}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveConfig:
    """Weights of the loss (VLM4VLA, eq. 1).

    Attributes:
        huber_delta: where the arm's Huber loss turns linear, in model units; divided by delta, so 1 is the paper's.
        gripper_weight: of the gripper's binary cross-entropy; None takes the recipe's.
        scene_weight: of the training-only regression of target, goal and end-effector positions; 0 leaves it out.
    """

    huber_delta: float = 1.0
    gripper_weight: float | None = None
    scene_weight: float = 0.0

    def __post_init__(self) -> None:
        check_numbers(self, "huber_delta", above=0)
        check_numbers(self, "scene_weight", least=0)
        if self.gripper_weight is not None:
            check_numbers(self, "gripper_weight", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """AdamW with linear warm-up.

    Attributes:
        steps: updates of the weights.
        batch_size: samples of one update, over all processes and accumulation steps.
        schedule: after the warm-up, `constant` (the recipe's) or `cosine` to zero.
        accumulation_steps: forward and backward passes of one update.
        beta2: decay of AdamW's second moment.
        gradient_clip: largest norm of the gradient; None does not clip.
        ema_decay: of the moving average of the weights that is validated and exported; None keeps none.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int
    schedule: Literal["constant", "cosine"]
    weight_decay: float = 0.0
    beta2: float = 0.999
    gradient_clip: float | None = None
    accumulation_steps: int = 1
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "steps", "batch_size", "accumulation_steps", least=1)
        check_numbers(self, "learning_rate", above=0)
        check_numbers(self, "weight_decay", least=0)
        if self.gradient_clip is not None:
            check_numbers(self, "gradient_clip", above=0)
        for name in ("beta2", "ema_decay"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name}: expected in [0, 1), got {value}")
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(f"warmup_steps: expected in [0, steps), got {self.warmup_steps}")

    def samples_per_pass(self, processes: int) -> int:
        """Samples of one forward and backward pass of one of so many processes.

        Raises:
            ConfigError: the batch cannot be shared equally.
        """
        parts = processes * self.accumulation_steps
        if self.batch_size % parts:
            raise ConfigError(
                f"optimizer.batch_size: expected a multiple of processes * accumulation_steps = {parts}, "
                f"got {self.batch_size}"
            )
        return self.batch_size // parts


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """What every training run has, whatever it trains.

    Attributes:
        output: the run's folder: checkpoints, metrics, loss curve, and what belongs to the weights.
        device: where it runs; under `accelerate launch` with several processes, one GPU each.
        precision: `bf16` computes in bfloat16 autocast, weights stay float32.
        validate_every: steps between validations, which also write a checkpoint and the loss curve.
        keep_last: newest checkpoints that are kept, beside the best one.
        gradient_checkpointing: computes activations again in the backward pass instead of keeping them.
        compile: torch.compile of the model.
    """

    name: str
    output: Path
    seed: int
    device: Literal["cpu", "cuda"]
    precision: Literal["fp32", "bf16"]
    validate_every: int
    keep_last: int = 1
    gradient_checkpointing: bool = False
    compile: bool = False
    optimizer: OptimizerConfig

    def __post_init__(self) -> None:
        check_numbers(self, "seed", least=0)
        check_numbers(self, "validate_every", "keep_last", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(RunConfig):
    """The training of a policy.

    Attributes:
        recipe: which reading of the paper; see `recipe.py`.
        camera: the frames of the data set and of the robot.
        action: what the data set's actions mean; checked against the data set.
        chunk_size: actions per forward pass (10 for CALVIN, 4 for Bridge and LIBERO in the paper).
        arm_bounds: fixed ends of the arm's range (CALVIN); None takes the 1 % and 99 % quantiles of the data.
        policy: the model; usually the path of a file in `config/policy/`, relative to this one.
        start_from: the folder of an earlier run of the same policy: this one begins with its best weights and its
            tokenizer, on data and with statistics of its own; None begins with what `policy` says.
    """

    recipe: RecipeName = "paper"
    camera: CameraSpec
    action: ActionSpace
    chunk_size: int
    arm_bounds: ArmBounds | None = None
    policy: PolicyConfig
    data: DataConfig
    augmentation: AugmentationConfig
    objective: ObjectiveConfig = ObjectiveConfig()
    start_from: Path | None = None

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        check_numbers(self, "chunk_size", least=1)
        if self.arm_bounds is not None:
            check_numbers(self, "arm_bounds", above=0)
        if self.data.question_share and not self.objective.scene_weight:
            raise ValueError(
                "data.question_share: expected 0 without `objective.scene_weight`, which alone learns from it, "
                f"got {self.data.question_share}"
            )
        least = RECIPES[self.recipe].qwen_min_side_px
        if self.policy.backbone.startswith("qwen") and self.policy.image.final_px < least:
            raise ValueError(
                f"policy.image.encoder_px: expected >= {least} under recipe {self.recipe}, "
                f"got {self.policy.image.final_px}"
            )

    @property
    def gripper_weight(self) -> float:
        """Weight of the gripper's loss."""
        given = self.objective.gripper_weight
        return RECIPES[self.recipe].gripper_weight if given is None else given
