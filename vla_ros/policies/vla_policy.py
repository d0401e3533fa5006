"""The recipe: backbone, one ActionQuery, one MLP head; one forward pass gives the whole chunk (VLM4VLA, sec. 3)."""

import torch
from torch import Tensor, nn

from vla_ros.policies.action_head import ActionHead, HeadConfig
from vla_ros.policies.backbone import Backbone


class VLAPolicy(nn.Module):
    """`[image][instruction][ActionQuery]` to a chunk of actions."""

    def __init__(self, backbone: Backbone, chunk_size: int, head: HeadConfig) -> None:
        super().__init__()
        self.backbone = backbone
        # zero-initialised, as the authors do; it stands for no token of the vocabulary
        self.action_query = nn.Parameter(torch.zeros(backbone.hidden_size))
        self.head = ActionHead(backbone.hidden_size, chunk_size, head)

    def hidden(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor) -> Tensor:
        """The ActionQuery's last hidden state, float [batch, hidden_size]."""
        output: Tensor = self.backbone(pixel_values, input_ids, query_index, self.action_query)
        return output

    def forward(self, pixel_values: Tensor, input_ids: Tensor, query_index: Tensor) -> Tensor:
        """Model outputs, float [batch, chunk_size, 7]: arm in [-1, 1], gripper logit.

        Args:
            pixel_values: float [batch, patches, features].
            input_ids: int64 [batch, tokens].
            query_index: int64 [batch].
        """
        output: Tensor = self.head(self.hidden(pixel_values, input_ids, query_index))
        return output
