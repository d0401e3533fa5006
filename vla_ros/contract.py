"""PolicyContract: what a policy's weights expect and emit, the `policy.yaml` of a bundle."""

from dataclasses import dataclass
from typing import Literal

from vla_ros.action import ActionSpace
from vla_ros.config import check_numbers
from vla_ros.observation import CameraSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """From a camera frame to the vision encoder's input.

    Attributes:
        size_px: rows and columns after resizing [px].
        patch_size_px: side of one patch [px].
        merge_size: patches per image token, along each side.
        temporal_patch_size: how often a still image is repeated in time (2 for Qwen).
        mean, std: per RGB channel, of pixel values in [0, 1].
    """

    size_px: int
    patch_size_px: int
    merge_size: int
    temporal_patch_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        check_numbers(self, "size_px", "patch_size_px", "merge_size", "temporal_patch_size", least=1)
        check_numbers(self, "mean")
        check_numbers(self, "std", above=0)
        if self.size_px % (self.patch_size_px * self.merge_size):
            raise ValueError(
                f"size_px: expected a multiple of patch_size_px * merge_size = "
                f"{self.patch_size_px * self.merge_size}, got {self.size_px}"
            )

    @property
    def patches_per_side(self) -> int:
        """Patches along one side of the resized image."""
        return self.size_px // self.patch_size_px

    @property
    def image_tokens(self) -> int:
        """Tokens that the image takes in the prompt."""
        return (self.patches_per_side // self.merge_size) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpec:
    """From an instruction to token ids.

    Attributes:
        template: `qwen_long` is scheme 1 and `qwen_short` scheme 2 of the paper (VLM4VLA, app. A.2.3).
        max_tokens: length of the sequence with image tokens and ActionQuery; shorter prompts are padded
            behind the query, where causal attention cannot see it.
    """

    template: Literal["qwen_long", "qwen_short"]
    max_tokens: int

    def __post_init__(self) -> None:
        check_numbers(self, "max_tokens", least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyContract:
    """Everything that decides whether weights, robot and data set belong together.

    Attributes:
        name: the bundle's name.
        backbone: family of the vision-language model, a key of `policies.registry`.
        recipe: `paper` follows the paper where it and the authors' code disagree.
        camera: the only camera frames that are admitted.
        image, prompt: preprocessing, the same code in training and on the robot.
        action: meaning and rate of the emitted actions.
        chunk_size: actions per forward pass.
        statistics_sha256: of the `statistics.json` that the weights were trained with.
    """

    name: str
    backbone: Literal["qwen3_vl"]
    recipe: Literal["paper"]
    camera: CameraSpec
    image: ImageSpec
    prompt: PromptSpec
    action: ActionSpace
    chunk_size: int
    statistics_sha256: str

    def __post_init__(self) -> None:
        check_numbers(self, "chunk_size", least=1)
