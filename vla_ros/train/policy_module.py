"""A policy with its losses: what is wrapped by DDP, FSDP or DeepSpeed."""

from torch import Tensor, nn

from vla_ros.policies.vla_policy import VLAPolicy
from vla_ros.train.objectives import SceneHead, action_loss
from vla_ros.train.parallel import decoder_layers


class TrainingModule(nn.Module):
    """Everything that is trained.

    Attributes:
        policy: what is exported.
        scene_head: of the training-only regression; None without one.
    """

    def __init__(
        self,
        policy: VLAPolicy,
        scene_head: SceneHead | None,
        *,
        huber_delta: float,
        gripper_weight: float,
        scene_weight: float,
    ) -> None:
        super().__init__()
        self.policy, self.scene_head = policy, scene_head
        self._huber_delta, self._gripper_weight, self._scene_weight = huber_delta, gripper_weight, scene_weight
        # transformers' name, under which accelerate looks for what FSDP gathers at once
        self._no_split_modules = decoder_layers(policy.backbone.model, policy.backbone.language_model)

    def forward(
        self,
        pixel_values: Tensor,
        input_ids: Tensor,
        query_index: Tensor,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        scene: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The losses, or without targets the predictions: sharded weights are gathered by this call alone.

        Args:
            pixel_values, input_ids, query_index: as in `VLAPolicy.forward`.
            targets, weights: as in `action_loss`; both or none.
            scene: float [batch, 9 + 3 n], as `Samples.scene`, for a scene head.

        Returns:
            Scalars `arm`, `gripper` and, with a scene head, `scene`, unweighted, and their weighted sum `loss`; or
            `outputs` as `VLAPolicy.forward` and, with a scene head, `scene` [batch, 9 + 3 n] in metres.
        """
        hidden, image = self.policy.observe(pixel_values, input_ids, query_index)
        outputs = self.policy.head(hidden).float()
        if targets is None or weights is None:
            scenes = {} if self.scene_head is None else {"scene": self.scene_head.positions(hidden, image)}
            return {"outputs": outputs, **scenes}
        losses = action_loss(outputs, targets, weights, self._huber_delta)
        total = losses["arm"] + self._gripper_weight * losses["gripper"]
        if self.scene_head is not None and scene is not None:
            losses["scene"] = self.scene_head.loss(hidden, image, scene)
            total = total + self._scene_weight * losses["scene"]
        return {"loss": total, **losses}
