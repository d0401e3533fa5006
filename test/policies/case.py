"""What the compliance suite needs to know of one backbone: a tiny model of the real architecture."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from vla_ros.contract import BackboneName, ImageSpec
from vla_ros.policies import registry
from vla_ros.policies.action_head import HeadConfig
from vla_ros.policies.backbone import Backbone, Layout
from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.recipe import RECIPES, RecipeName

BATCH = 2
TEXT_IDS = 50
"""Ids below this are plain text in every case; the special tokens stand above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """A batch; row 1 is longer than row 0, so that row 0 is padded behind its queries.

    Attributes: as the arguments of `Backbone.forward`.
    """

    pixel_values: Tensor
    input_ids: Tensor
    query_index: Tensor
    queries: Tensor

    @property
    def arguments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Those of a whole policy."""
        return self.pixel_values, self.input_ids, self.query_index

    def row(self, number: int) -> tuple[Tensor, Tensor]:
        """One sample without padding: pixel values [patches, features] and ids [tokens] in front of the queries."""
        return self.pixel_values[number], self.input_ids[number, : int(self.query_index[number])]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One backbone on a tiny config.

    Attributes:
        name: of the test's id.
        family: key of the registry.
        recipe: which reading of the paper.
        config: fields of the transformers config; its vocabulary holds at least 64 tokens.
        image: the vision encoder's input.
        image_start, after: tokens in front of and behind the image, the queries not counted.
        image_token_id: what stands at the image's places.
        reference: last hidden states [tokens + queries, hidden_size] of one sample by transformers' UNMODIFIED model
            (given, eager attention, same weights as the backbone's), from pixel values [patches, features], ids
            [tokens] and queries [queries, hidden_size] appended as input embeddings.
        full_model: transformers' `...ForConditionalGeneration`, as the hub's repositories hold it.
    """

    name: str
    family: BackboneName
    recipe: RecipeName
    config: dict[str, Any]
    image: ImageSpec
    image_start: int
    after: int
    image_token_id: int
    reference: Callable[["Case", Any, Tensor, Tensor, Tensor], Tensor]
    full_model: type[PreTrainedModel]

    def __str__(self) -> str:
        return self.name

    @property
    def layout(self) -> Layout:
        return Layout(image=self.image, image_start=self.image_start, recipe=RECIPES[self.recipe])

    def build(self, seed: int = 0) -> Backbone:
        """The backbone with every parameter drawn, biases and norms too, so that none is invisible to a comparison."""
        torch.manual_seed(seed)
        backbone = registry.family(self.family).from_config(self.config, self.layout).eval()
        for parameter in backbone.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
        return backbone

    def policy(self, seed: int = 0) -> VLAPolicy:
        """A whole policy on such a backbone, its ActionQuery drawn too."""
        policy = VLAPolicy(self.build(seed), chunk_size=2, head=HeadConfig(trunk=16, widths=(16, 8))).eval()
        torch.nn.init.normal_(policy.action_query)
        return policy

    def unmodified(self, backbone: Backbone) -> Any:
        """transformers' own model with its own attention, holding the backbone's weights."""
        config = type(backbone).read_config(self.config)
        model = type(backbone.model)._from_config(config, attn_implementation="eager")
        model.load_state_dict(backbone.model.state_dict())
        return model.eval()

    def inputs(self, queries: int = 1, padding: int = 3) -> Inputs:
        """Random pixels, text and queries."""
        generator = torch.Generator().manual_seed(1)
        image = self.image
        features = 3 * image.temporal_patch_size * image.patch_size_px**2
        length = self.image_start + image.image_tokens + self.after
        ids = torch.randint(0, TEXT_IDS, (BATCH, length + queries + padding), generator=generator)
        ids[:, self.image_start : self.image_start + image.image_tokens] = self.image_token_id
        hidden = registry.family(self.family).read_config(self.config).get_text_config().hidden_size
        return Inputs(
            pixel_values=torch.randn(BATCH, image.patches_per_side**2, features, generator=generator),
            input_ids=ids,
            query_index=torch.tensor([length - 3, length]),
            queries=torch.randn(queries, hidden, generator=generator),
        )

    def under(self, recipe: RecipeName) -> "Case":
        """The same under another recipe."""
        return replace(self, name=f"{self.name}-{recipe}", recipe=recipe)
