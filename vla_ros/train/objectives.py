"""The recipe's loss: Huber on the arm, binary cross-entropy on the gripper (VLM4VLA, eq. 1)."""

import torch
from torch import Tensor, nn

from vla_ros.action import ARM_DIM


def action_loss(outputs: Tensor, targets: Tensor, weights: Tensor, huber_delta: float) -> dict[str, Tensor]:
    """Weighted sums over the batch and the chunk, `arm` and `gripper`; scalars.

    Args:
        outputs: float [batch, chunk, 7], arm in [-1, 1] and gripper logit.
        targets: float [batch, chunk, 7], arm in [-1, 1] and gripper in {0, 1}.
        weights: float [batch, chunk], what each step counts for in the mean: 0 behind an episode's end.
        huber_delta: where the Huber loss, divided by it, turns linear.
    """
    arm = nn.functional.smooth_l1_loss(
        outputs[..., :ARM_DIM], targets[..., :ARM_DIM], beta=huber_delta, reduction="none"
    ).mean(-1)
    gripper = nn.functional.binary_cross_entropy_with_logits(
        outputs[..., ARM_DIM], targets[..., ARM_DIM], reduction="none"
    )
    return {"arm": (arm * weights).sum(), "gripper": (gripper * weights).sum()}


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

    def forward(self, hidden: Tensor) -> Tensor:
        """Standardised positions of target, goal and end effector, float [batch, 9]."""
        predicted: Tensor = self.linear(hidden).float()
        return predicted

    def loss(self, hidden: Tensor, scene: Tensor) -> Tensor:
        """Smooth L1 of standardised positions [batch, 9]."""
        return nn.functional.smooth_l1_loss(self(hidden), (scene - self.mean) / self.std, beta=0.1)

    def positions(self, hidden: Tensor) -> Tensor:
        """Positions, float [batch, 9] in metres."""
        return torch.addcmul(self.mean, self(hidden), self.std)
