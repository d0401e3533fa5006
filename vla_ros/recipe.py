"""Where the paper and the authors' code disagree: every difference is one field here, and decided nowhere else."""

from dataclasses import dataclass
from typing import Literal

RecipeName = Literal["paper", "upstream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One reading of VLM4VLA (arXiv 2601.03309).

    Of no reading: the authors' training pads the prompts of a batch in front of the ActionQuery and, but for
    Qwen2.5-VL, counts the padding, so that its position varies by some tokens; alone, as at run time, it is ours.

    Attributes:
        qwen_image_positions: `mrope` gives image tokens their row and column (Qwen's own pretraining); `sequential`
            counts them like text.
        qwen_min_side_px: the smallest image that Qwen's vision encoder may see, per side [px]: a config's
            `image.encoder_px` must enlarge smaller ones, after they were resized to `image.size_px`.
        qwen_moe_deepstack: whether Qwen3-VL's mixture of experts gets DeepStack's features of the image, with which it
            was pretrained; the dense models always do.
        paligemma_prefix: whether image tokens attend to each other (`bidirectional`, PaliGemma's own pretraining) or
            only backwards (`causal`, which flash attention without token types gives).
        paligemma_image_width: the width by whose root the image's features are divided before Gemma multiplies all
            embeddings by the root of its own: that same one (`text`), or config.json's outer `hidden_size` (`config`),
            which PaliGemma 2 publishes as 2048 where its language model has 2304.
        kosmos_image: `tagged` puts the image's latents between `<image>` and `</image>`; `first` before everything,
            and the text as that code's tokenizer reads it (`processing/template.py`).
        renormalized_clip: the arm's targets, already in [-1, 1], are clipped to this and divided by it once more, so
            that only the central part of the range can be reached; None does not.
        gripper_weight: of the gripper's loss, where a config does not say.
    """

    qwen_image_positions: Literal["mrope", "sequential"]
    qwen_min_side_px: int
    qwen_moe_deepstack: bool
    paligemma_prefix: Literal["bidirectional", "causal"]
    paligemma_image_width: Literal["text", "config"]
    kosmos_image: Literal["tagged", "first"]
    renormalized_clip: float | None
    gripper_weight: float


RECIPES: dict[RecipeName, Recipe] = {
    "paper": Recipe(
        qwen_image_positions="mrope",
        qwen_min_side_px=0,
        qwen_moe_deepstack=True,
        paligemma_prefix="bidirectional",
        paligemma_image_width="text",
        kosmos_image="tagged",
        renormalized_clip=None,
        gripper_weight=1.0,
    ),
    "upstream": Recipe(
        qwen_image_positions="sequential",
        qwen_min_side_px=448,
        qwen_moe_deepstack=False,
        paligemma_prefix="causal",
        paligemma_image_width="config",
        kosmos_image="first",
        renormalized_clip=0.65,
        gripper_weight=0.01,
    ),
}
