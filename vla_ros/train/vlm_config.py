"""The schema of `config/train/vlm/*.yaml`: fine-tuning of a vision-language model before it becomes a policy."""

from dataclasses import dataclass, fields
from pathlib import Path

from vla_ros.action import ActionSpace
from vla_ros.config import check_numbers
from vla_ros.contract import ArmBounds
from vla_ros.data.augmentation import AugmentationConfig
from vla_ros.observation import CameraSpec
from vla_ros.recipe import RecipeName
from vla_ros.train.config import DataConfig, PolicyConfig, RunConfig, TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FastConfig:
    """The answer to a camera frame and an instruction is the action chunk as FAST tokens (VLM4VLA, sec. 4.4).

    Attributes:
        camera, action, arm_bounds, data, augmentation: as in the training of a policy.
        chunk_size: actions of one answer.
        vocabulary: most tokens that the byte-pair encoding learns (the FAST paper's 1024); as many of the language
            model's own are given up for them.
        scale: integers per unit of a DCT coefficient (the FAST paper's 10).
    """

    camera: CameraSpec
    action: ActionSpace
    chunk_size: int
    arm_bounds: ArmBounds | None = None
    data: DataConfig
    augmentation: AugmentationConfig
    vocabulary: int = 1024
    scale: float = 10.0

    def __post_init__(self) -> None:
        check_numbers(self, "chunk_size", "vocabulary", least=1)
        check_numbers(self, "scale", above=0)
        if self.arm_bounds is not None:
            check_numbers(self, "arm_bounds", above=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VqaConfig:
    """Questions about images and their answers (VLM4VLA, sec. 4.2), as `train/vlm_questions.py` reads them.

    Attributes:
        path: the JSONL file.
        validation_questions: that many, spread evenly over the file, are only measured on.
        max_answer_tokens: a longer answer is refused.
        workers: processes that read and preprocess images; 0 does so between the steps.
    """

    path: Path
    validation_questions: int
    max_answer_tokens: int = 256
    workers: int = 0

    def __post_init__(self) -> None:
        check_numbers(self, "validation_questions", "max_answer_tokens", least=1)
        check_numbers(self, "workers", least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmConfig(RunConfig):
    """The fine-tuning of a vision-language model by next-token prediction; exactly one of `fast` and `vqa` is given.

    Attributes:
        recipe: which reading of the paper; the one of the policy that will be made of the model.
        policy: the model, its image and its prompt; `head` and `action_queries` are not used yet. Where word embeddings
            are frozen, so is a language head that is tied to them.
    """

    recipe: RecipeName = "paper"
    policy: PolicyConfig
    fast: FastConfig | None = None
    vqa: VqaConfig | None = None

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        if (self.fast is None) == (self.vqa is None):
            raise ValueError(
                f"vqa: expected exactly one of fast and vqa, got {'none' if self.fast is None else 'both'}"
            )
        if self.policy.from_scratch:
            raise ValueError("policy.from_scratch: expected false, as this is fine-tuning, got true")
        if self.policy.lora is not None:
            raise ValueError("policy.lora: expected none, as the whole model is written in the end, got adapters")

    @property
    def workers(self) -> int:
        """Processes that prepare batches."""
        if self.fast is not None:
            return self.fast.data.workers
        return 0 if self.vqa is None else self.vqa.workers

    def as_policy_training(self, fast: FastConfig) -> TrainConfig:
        """The training of a policy on the same demonstrations: they are read and checked by the same code."""
        return TrainConfig(
            **{field.name: getattr(self, field.name) for field in fields(RunConfig)},
            recipe=self.recipe,
            camera=fast.camera,
            action=fast.action,
            chunk_size=fast.chunk_size,
            arm_bounds=fast.arm_bounds,
            policy=self.policy,
            data=fast.data,
            augmentation=fast.augmentation,
        )
