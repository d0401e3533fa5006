"""PolicyContract: what a policy's weights expect and emit, the `policy.yaml` of a bundle."""

from dataclasses import dataclass
from typing import Literal

from vla_ros.action import ActionSpace
from vla_ros.config import check_numbers
from vla_ros.observation import CameraSpec
from vla_ros.recipe import RecipeName

BackboneName = Literal["paligemma", "kosmos2", "qwen2_5_vl", "qwen3_vl"]
ArmBounds = tuple[float, float, float, float, float, float]
TemplateName = Literal["qwen_long", "qwen_short", "paligemma", "kosmos2"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """From a camera frame to the vision encoder's input.

    Attributes:
        size_px: rows and columns after resizing [px]; the paper's resolution.
        patch_size_px: side of one patch [px].
        merge_size: patches per image token, along each side.
        temporal_patch_size: how often a still image is repeated in time (2 for Qwen).
        mean, std: per RGB channel, of pixel values in [0, 1].
        encoder_px: rows and columns that the vision encoder sees, where a second resizing follows the first [px].
        resampled_tokens: image tokens in the prompt, where the backbone resamples its patches to a fixed number.
    """

    size_px: int
    patch_size_px: int
    merge_size: int
    temporal_patch_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    encoder_px: int | None = None
    resampled_tokens: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "size_px", "patch_size_px", "merge_size", "temporal_patch_size", least=1)
        check_numbers(self, "mean")
        check_numbers(self, "std", above=0)
        for name in ("encoder_px", "resampled_tokens"):
            if getattr(self, name) is not None:
                check_numbers(self, name, least=1)
        if self.final_px % (self.patch_size_px * self.merge_size):
            raise ValueError(
                f"{'size_px' if self.encoder_px is None else 'encoder_px'}: expected a multiple of "
                f"patch_size_px * merge_size = {self.patch_size_px * self.merge_size}, got {self.final_px}"
            )

    @property
    def final_px(self) -> int:
        """Rows and columns that the vision encoder sees [px]."""
        return self.size_px if self.encoder_px is None else self.encoder_px

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of what the vision encoder sees."""
        return self.final_px // self.patch_size_px

    @property
    def image_tokens(self) -> int:
        """Tokens that the image takes in the prompt."""
        if self.resampled_tokens is not None:
            return self.resampled_tokens
        return (self.patches_per_side // self.merge_size) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """From an instruction to token ids.

    Attributes:
        template: `qwen_long` is scheme 1 and `qwen_short` scheme 2 of the paper; `paligemma` and `kosmos2` are those
            families' own (VLM4VLA, app. A.2.3).
        max_tokens: length of the sequence with image tokens and ActionQuery; shorter prompts are padded
            behind the query, where causal attention cannot see it.
    """

    template: TemplateName
    max_tokens: int

    def __post_init__(self) -> None:
        check_numbers(self, "max_tokens", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContract:
    """Everything that decides whether weights, robot and data set belong together.

    Attributes:
        name: the bundle's name.
        backbone: family of the vision-language model, a key of `policies.registry`.
        recipe: `paper` or `upstream`, for where paper and authors' code disagree; see `recipe.py`.
        camera: the only camera frames that are admitted.
        image, prompt: preprocessing, the same code in training and on the robot.
        action: meaning and rate of the emitted actions.
        chunk_size: actions per forward pass.
        statistics_sha256: of the `statistics.json` that the weights were trained with.
        action_queries: ActionQueries at the end of the prompt; their states are read side by side.
        arm_bounds: the ends of the model's [-1, 1] for the six arm dimensions, +- so many m or rad; None takes the
            statistics' 1 % and 99 % quantiles.
    """

    name: str
    backbone: BackboneName
    recipe: RecipeName
    camera: CameraSpec
    image: ImageSpec
    prompt: PromptSpec
    action: ActionSpace
    chunk_size: int
    statistics_sha256: str
    action_queries: int = 1
    arm_bounds: ArmBounds | None = None

    def __post_init__(self) -> None:
        check_numbers(self, "chunk_size", "action_queries", least=1)
        if self.arm_bounds is not None:
            check_numbers(self, "arm_bounds", above=0)
