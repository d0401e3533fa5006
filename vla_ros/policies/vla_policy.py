"""The recipe: backbone, ActionQueries, one MLP head; one forward pass gives the whole chunk (VLM4VLA, sec. 3)."""

import torch
from torch import Tensor, nn

from vla_ros.policies.action_head import ActionHead, HeadConfig
from vla_ros.policies.backbone import Backbone


class VLAPolicy(nn.Module):
    """`[image][instruction][ActionQueries]` to a chunk of actions.

    Attributes:
        action_query: float [queries, backbone.hidden_size].
        hidden_size: width of what the head reads, all queries' states side by side.
    """

    def __init__(self, backbone: Backbone, chunk_size: int, head: HeadConfig, action_queries: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        # zero-initialised, as the authors do; it stands for no token of the vocabulary
        self.action_query = nn.Parameter(torch.zeros(action_queries, backbone.hidden_size))
        self.hidden_size = action_queries * backbone.hidden_size
        self.head = ActionHead(self.hidden_size, chunk_size, head)

    def hidden(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor) -> Tensor:
        """The ActionQueries' last hidden states side by side, float [batch, hidden_size]."""
        states: Tensor = self.backbone(pixel_values, input_ids, query_index, self.action_query)
        return states.flatten(1)

    def observe(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor) -> tuple[Tensor, Tensor]:
        """`hidden`, and the image tokens that the language model reads, float [batch, image_tokens, width]."""
        states, image = self.backbone.observe(pixel_values, input_ids, query_index, self.action_query)
        return states.flatten(1), image

    def forward(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor) -> Tensor:
        """Model outputs, float [batch, chunk_size, 7]: arm in [-1, 1], gripper logit.

        Args:
            pixel_values: float [batch, patches, features].
            input_ids: int64 [batch, tokens].
            query_index: int64 [batch], where the first ActionQuery stands.
        """
        output: Tensor = self.head(self.hidden(pixel_values, input_ids, query_index))
        return output
