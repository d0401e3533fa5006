"""The recipe's loss: Huber on the arm, binary cross-entropy on the gripper (VLM4VLA, eq. 1)."""

import torch
from torch import Tensor, nn

from vla_ros.action import ARM_DIM
from vla_ros.train.config import ObjectiveConfig


def action_loss(outputs: Tensor, targets: Tensor, valid: Tensor, config: ObjectiveConfig) -> dict[str, Tensor]:
    """Masked means; steps behind an episode's end count for nothing.

    Args:
        outputs: float [batch, chunk, 7], arm in [-1, 1] and gripper logit.
        targets: float [batch, chunk, 7], arm in [-1, 1] and gripper in {0, 1}.
        valid: bool [batch, chunk].

    Returns:
        `arm` and `gripper`, unweighted scalars.
    """
    mask = valid.to(outputs.dtype)
    count = mask.sum().clamp(min=1)
    arm = nn.functional.smooth_l1_loss(
        outputs[..., :ARM_DIM], targets[..., :ARM_DIM], beta=config.huber_delta, reduction="none"
    ).mean(-1)
    gripper = nn.functional.binary_cross_entropy_with_logits(
        outputs[..., ARM_DIM], targets[..., ARM_DIM], reduction="none"
    )
    return {"arm": (arm * mask).sum() / count, "gripper": (gripper * mask).sum() / count}


class SceneHead(nn.Module):
    """Training-only regression of positions from the ActionQuery's state: teaches a vision encoder that starts from
    random weights where things are; it is not exported."""

    mean: Tensor
    std: Tensor

    def __init__(self, hidden_size: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, len(mean))
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def loss(self, hidden: Tensor, scene: Tensor) -> Tensor:
        """Smooth L1 of standardised positions [batch, 9]."""
        target = (scene - self.mean) / self.std
        predicted: Tensor = self.linear(hidden).float()
        return nn.functional.smooth_l1_loss(predicted, target, beta=0.1)

    @torch.no_grad()
    def error_m(self, hidden: Tensor, scene: Tensor) -> Tensor:
        """Mean Euclidean error of each of the three positions, [3] in metres."""
        predicted: Tensor = self.linear(hidden).float() * self.std + self.mean
        return (predicted - scene).unflatten(-1, (3, 3)).norm(dim=-1).mean(0)
