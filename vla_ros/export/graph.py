"""The policy as it is exported: what the robot can compute once per instruction, or once and for all, is left out.

prefix (constant)  | image tokens | instruction, ActionQueries
keys and values    |     graph    | embedded on the host, cached per instruction
in the graph       |              |
"""

import torch
from torch import Tensor, nn

from vla_ros.policies.experts import widen_experts
from vla_ros.policies.vla_policy import VLAPolicy


class PolicyGraph(nn.Module):
    """`VLAPolicy` on embeddings, without word embeddings and without the part of the prompt that never changes.

    It runs the very modules of the policy, which from then on answers through the graph alone: what stands in front of
    the image is kept in its attention layers.
    """

    def __init__(self, policy: VLAPolicy, prefix_ids: list[int]) -> None:
        super().__init__()
        self.policy = policy
        backbone = policy.backbone
        widen_experts(backbone.model)
        if prefix_ids:
            ids = torch.tensor([prefix_ids], device=policy.action_query.device)
            backbone.keep_prefix(backbone.word_embeddings(ids))

    def forward(self, pixel_values: Tensor, text_embeds: Tensor, query_index: Tensor) -> Tensor:
        """Model outputs, float32 [1, chunk_size, 7]: arm in [-1, 1], gripper logit.

        Args:
            pixel_values: float32 [1, patches, features].
            text_embeds: float32 [1, tokens, hidden_size], of what follows the image; padding stands at its end.
            query_index: int64 [1], where in `text_embeds` the first ActionQuery stands.
        """
        backbone, weights = self.policy.backbone, self.policy.action_query
        hidden = backbone.run_behind(pixel_values, text_embeds.to(weights.dtype))
        first = query_index + backbone.layout.image.image_tokens
        places = first + torch.arange(len(weights), device=first.device)
        states = hidden.index_select(1, places)
        return self.policy.head(states.flatten(1)).float()
