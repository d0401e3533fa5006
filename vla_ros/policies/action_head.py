"""The recipe's policy head: the ActionQuery's hidden state to a chunk of actions (VLM4VLA, table 9 and code)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vla_ros.action import ARM_DIM
from vla_ros.config import check_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadConfig:
    """Sizes of the head; the defaults are the authors' (with 10 actions they give the paper's parameter counts).

    Attributes:
        trunk: width of the trunk's output.
        widths: hidden widths of the arm's and of the gripper's MLP.
    """

    trunk: int = 1024
    widths: tuple[int, ...] = (1024, 512, 256)

    def __post_init__(self) -> None:
        check_numbers(self, "trunk", "widths", least=1)


class ActionHead(nn.Module):
    """Trunk Linear-ReLU-Linear, then one MLP for the arm (tanh) and one for the gripper (logits)."""

    def __init__(self, hidden_size: int, chunk_size: int, config: HeadConfig) -> None:
        super().__init__()
        self.chunk_size = chunk_size
        self.trunk = nn.Sequential(
            nn.Linear(hidden_size, hidden_size // 2), nn.ReLU(), nn.Linear(hidden_size // 2, config.trunk)
        )
        self.arm = _mlp((config.trunk, *config.widths, ARM_DIM * chunk_size))
        self.gripper = _mlp((config.trunk, *config.widths, chunk_size))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [batch, hidden_size] to [batch, chunk_size, 7]: arm in [-1, 1], gripper logit."""
        features = self.trunk(hidden)
        arm = torch.tanh(self.arm(features)).unflatten(-1, (self.chunk_size, ARM_DIM))
        return torch.cat([arm, self.gripper(features).unsqueeze(-1)], dim=-1)


def _mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
