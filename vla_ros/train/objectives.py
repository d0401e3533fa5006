"""The recipe's loss: Huber on the arm, binary cross-entropy on the gripper (VLM4VLA, eq. 1)."""

import torch
from torch import Tensor, nn

from vla_ros.action import ARM_DIM

SCENE_DIM = 9  # target, goal and end effector


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
    """Training-only regression of positions, which is not exported: teaches a model that starts from random weights
    where things are, and which of them it was told.

    Target, goal and effector are read from the ActionQuery's state; what can be asked for, see `NamedPositions`.

    Args:
        hidden_size: of the ActionQuery's state.
        image_width: of the image tokens.
        mean, std: [9 + 3 n] of the positions, see `Samples.scene` [m].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, hidden_size: int, image_width: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        count = (len(mean) - SCENE_DIM) // 3
        self.linear = nn.Linear(hidden_size, SCENE_DIM)
        self.named = NamedPositions(image_width, count) if count else None
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, hidden: Tensor, image: Tensor) -> Tensor:
        """Standardised positions, float [batch, 9 + 3 n].

        Args:
            hidden: float [batch, hidden_size].
            image: float [batch, image_tokens, image_width].
        """
        predicted: Tensor = self.linear(hidden).float()
        return predicted if self.named is None else torch.cat([predicted, self.named(image)], dim=1)

    def loss(self, hidden: Tensor, image: Tensor, scene: Tensor) -> Tensor:
        """Smooth L1 of standardised positions [batch, 9 + 3 n]: of target, goal and effector, and of all that can be
        asked for and is there."""
        predicted, is_known = self(hidden, image), ~scene.isnan()
        truth = torch.where(is_known, (scene - self.mean) / self.std, predicted.detach())
        errors = nn.functional.smooth_l1_loss(predicted, truth, beta=0.1, reduction="none")
        named = errors[:, SCENE_DIM:].sum() / is_known[:, SCENE_DIM:].sum().clamp(min=1)
        return errors[:, :SCENE_DIM].mean() + named

    def positions(self, hidden: Tensor, image: Tensor) -> Tensor:
        """Positions, float [batch, 9 + 3 n] in metres."""
        return torch.addcmul(self.mean, self(hidden, image), self.std)


class NamedPositions(nn.Module):
    """Where each of n things is, from the image tokens alone: each looks for those that show it (a spatial softmax).

    What is said does not matter here: the vision encoder learns to tell all things apart, before the language model can
    learn to choose among them.
    """

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.shows = nn.Linear(width, count)
        self.places = nn.Linear(width, 3 * count)

    def forward(self, image: Tensor) -> Tensor:
        """Standardised positions, float [batch, 3 n], from image tokens [batch, tokens, width]."""
        tokens = self.norm(image)
        weights = self.shows(tokens).float().softmax(dim=1)
        places = self.places(tokens).float().unflatten(-1, (-1, 3))
        return (weights[..., None] * places).sum(dim=1).flatten(1)
