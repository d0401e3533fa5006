"""What the recipe needs of a vision-language model; one file per family implements it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig, PreTrainedModel
from typing_extensions import Self

from vla_ros.contract import ImageSpec
from vla_ros.policies.architecture import read_fields, refused
from vla_ros.policies.attention import IMPLEMENTATION, PrefixRecorder
from vla_ros.policies.sequence import place_image, place_queries, select_queries
from vla_ros.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What is the same in every sequence that a policy reads.

    Attributes:
        image: the vision encoder's input.
        image_start: position of the first image token.
        recipe: which reading of the paper.
    """

    image: ImageSpec
    image_start: int
    recipe: Recipe


class Backbone(nn.Module, ABC):
    """A vision-language model that reads one image, one prompt and some extra embeddings.

    Attributes:
        architectures: transformers' `model_type` to its model without the language head; the first is the default.
        model: transformers' own model, its weights under transformers' own names.
        hidden_size: width of the language model.
    """

    architectures: ClassVar[dict[str, type[PreTrainedModel]]]
    model: PreTrainedModel
    hidden_size: int

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        """Wrap a model whose attention is `attention.IMPLEMENTATION`.

        Raises:
            ConfigError: its sizes do not fit each other or the image, naming the field of its config.
        """
        super().__init__()
        self.model = model
        self.layout = layout
        self.hidden_size = model.config.get_text_config().hidden_size
        self._recomputes = False
        self._keeps_prefix = False

    @classmethod
    def from_config(cls, config: dict[str, Any], layout: Layout) -> Self:
        """Random weights, in the shape given by the fields of the family's transformers config.

        Raises:
            ConfigError: a field that the family does not know, or sizes that do not fit each other or the image.
        """
        return cls.draw(cls.read_config(config), layout)

    @classmethod
    def draw(cls, config: PreTrainedConfig, layout: Layout) -> Self:
        """Random weights in the shape of `config`.

        Raises:
            ConfigError: sizes that do not fit each other or the image.
        """
        with refused(f"model_type: expected fields that make a {config.model_type} model"):
            model = cls.architectures[config.model_type]._from_config(config, attn_implementation=IMPLEMENTATION)
            return cls(model, layout)

    @classmethod
    def read_config(cls, config: dict[str, Any]) -> PreTrainedConfig:
        """Fields of the transformers config, `model_type` among them where the family has several.

        Raises:
            ConfigError: a field that the family does not know.
        """
        return read_fields(config, cls.config_classes())

    @classmethod
    def config_classes(cls) -> dict[str, type[PreTrainedConfig]]:
        """transformers' config of each `model_type`."""
        return {name: cast("type[PreTrainedConfig]", model.config_class) for name, model in cls.architectures.items()}

    def hidden_states(self, pixel_values: Tensor, input_ids: Tensor) -> Tensor:
        """Last hidden states, after the final norm, of image and text alone: float [batch, tokens, hidden_size].

        Without queries, for fine-tuning of the model itself; args as `forward`.
        """
        return self.run(pixel_values, self.word_embeddings(input_ids))

    def run(self, pixel_values: Tensor, embeds: Tensor) -> Tensor:
        """`hidden_states` of a sequence of embeddings [batch, tokens, hidden_size]; the image goes to its place."""
        return self._run(pixel_values, embeds)[0]

    def _run(self, pixel_values: Tensor, embeds: Tensor) -> tuple[Tensor, Tensor]:
        """What `run` returns, and the image tokens that it placed."""
        assert not self._keeps_prefix, "layers that keep the prefix would read it twice"
        image_embeds, added = self.encode_image(pixel_values)
        return self.decode(place_image(embeds, image_embeds, self.layout.image_start), added), image_embeds

    @torch.no_grad()
    def keep_prefix(self, embeds: Tensor) -> None:
        """Compute what stands in front of the image once and for all: each layer keeps its keys and values.

        Attention is causal there, so they depend on neither image nor instruction. From then on only `run_behind`
        answers.

        Args:
            embeds: [1, layout.image_start, hidden_size].
        """
        with PrefixRecorder():
            self.decode(embeds, [])
        self._keeps_prefix = True

    def run_behind(self, pixel_values: Tensor, embeds: Tensor) -> Tensor:
        """Last hidden states of image and text alone, behind the prefix that `keep_prefix` computed.

        Args:
            pixel_values: float [batch, patches, features].
            embeds: of what follows the image, float [batch, tokens, hidden_size].

        Returns:
            float [batch, image_tokens + tokens, hidden_size].
        """
        image_embeds, added = self.encode_image(pixel_values)
        sequence = torch.cat([image_embeds.to(embeds.dtype), embeds], dim=1)
        return self.decode(sequence, added, past=self.layout.image_start)

    @abstractmethod
    def encode_image(self, pixel_values: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Image tokens [batch, image_tokens, hidden_size], and what is added to them after the first decoder layers."""

    @abstractmethod
    def decode(self, embeds: Tensor, added: list[Tensor], past: int = 0) -> Tensor:
        """Last hidden states, after the final norm, of embeddings with the image in its place.

        Args:
            embeds: float [batch, tokens, hidden_size].
            added: see `encode_image`.
            past: how many tokens stand in front of these, with keys and values that the layers keep.
        """

    def embed_queries(self, queries: Tensor) -> Tensor:
        """ActionQueries as the embeddings beside which they stand."""
        return queries

    @property
    @abstractmethod
    def vision_encoder(self) -> nn.Module:
        """The part that the paper's table 3 calls vision encoder, for freezing."""

    @property
    @abstractmethod
    def language_model(self) -> nn.Module:
        """The decoder without its vision encoder, whose linear layers take LoRA's adapters."""

    @property
    def word_embeddings(self) -> nn.Module:
        """The language model's input embeddings, for freezing."""
        embeddings: nn.Module = self.model.get_input_embeddings()
        return embeddings

    @property
    def unused_modules(self) -> list[nn.Module]:
        """Parts of transformers' model that the recipe's forward never runs, which nothing can train."""
        return []

    def enable_gradient_checkpointing(self) -> None:
        """Compute vision blocks and decoder layers again in the backward pass instead of keeping what they computed."""
        # the first name came with transformers 5.23, the second is deprecated since; both default to non-reentrant
        model: Any = self.model
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        self._recomputes = True

    def run_block(self, block: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """`block(*inputs)`, under gradient checkpointing where it is enabled.

        For blocks that a family runs in its own way; transformers' own layers checkpoint themselves when called.
        """
        if self._recomputes and self.training:
            output: Tensor = checkpoint(block, *inputs, use_reentrant=False)
            return output
        return block(*inputs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert everything; buffers keep their precision.

        They hold angles of positions, which bfloat16 would put whole tokens away; `.to(bfloat16)`, DeepSpeed's way,
        knows no difference between them and weights.
        """
        precise = {name: buffer for name, buffer in self.named_buffers() if buffer.is_floating_point()}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in precise.items():
            path, _, attribute = name.rpartition(".")
            module = self.get_submodule(path)
            converted = module.get_buffer(attribute)
            if converted.dtype != buffer.dtype:
                setattr(module, attribute, buffer.to(converted.device))
        return self

    def forward(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor, queries: Tensor) -> Tensor:
        """Last hidden states, after the final norm, at the ActionQueries.

        Args:
            pixel_values: float [batch, patches, features], from `processing.image.patchify`.
            input_ids: int64 [batch, tokens]; what stands behind the last query changes nothing.
            query_index: int64 [batch], where the first ActionQuery stands; the others follow it.
            queries: float [queries, hidden_size], their embeddings.

        Returns:
            float [batch, queries, hidden_size].
        """
        return self.observe(pixel_values, input_ids, query_index, queries)[0]

    def observe(
        self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor, queries: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What `forward` returns, and the image tokens that the decoder reads, [batch, image_tokens, hidden_size]."""
        embeds = place_queries(self.word_embeddings(input_ids), query_index, self.embed_queries(queries))
        hidden, image_embeds = self._run(pixel_values, embeds)
        return select_queries(hidden, query_index, len(queries)), image_embeds
