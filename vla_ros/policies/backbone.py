"""What the recipe needs of a vision-language model; one file per family implements it."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from typing_extensions import Self

from vla_ros.contract import ImageSpec


class Backbone(nn.Module, ABC):
    """A vision-language model that reads one image, one prompt and one extra embedding.

    Attributes:
        hidden_size: width of the language model.
    """

    hidden_size: int

    @classmethod
    @abstractmethod
    def from_scratch(cls, config: dict[str, Any], image: ImageSpec, image_start: int) -> Self:
        """Random weights, in the shape given by the fields of the family's transformers config."""

    @abstractmethod
    def forward(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor, query: Tensor) -> Tensor:
        """Last hidden state, after the final norm, at the ActionQuery.

        Args:
            pixel_values: float [batch, patches, features], from `processing.image.patchify`.
            input_ids: int64 [batch, tokens]; what stands behind the query changes nothing.
            query_index: int64 [batch], where the ActionQuery stands.
            query: float [hidden_size], its embedding.

        Returns:
            float [batch, hidden_size].
        """
