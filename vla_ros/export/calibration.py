"""What reaches each linear layer on real frames: the ranges that quantisation needs, and nothing else is kept."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vla_ros.export.graph import PolicyGraph

Feed = tuple[Tensor, Tensor, Tensor]
"""`PolicyGraph.forward`'s arguments for one frame."""


class Observer(TorchFunctionMode):
    """Sees every linear layer's input, in the order in which the layers run.

    Attributes:
        peaks: per layer, the largest magnitude of each input channel, float32 [inputs].
        powers: per layer, the sum of each input channel's squares, float32 [inputs].
    """

    def __init__(self) -> None:
        super().__init__()
        self.peaks: list[Tensor] = []
        self.powers: list[Tensor] = []
        self._next = 0

    def begin(self) -> None:
        """The next layer to run is the first one again."""
        self._next = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.linear:
            self._see(args[0])
        return func(*args, **(kwargs or {}))

    def _see(self, hidden: Tensor) -> None:
        rows = hidden.detach().flatten(0, -2).float()
        peak, power = rows.abs().amax(0), rows.square().sum(0)
        if self._next == len(self.peaks):
            self.peaks.append(peak)
            self.powers.append(power)
        else:
            self.peaks[self._next] = torch.maximum(self.peaks[self._next], peak)
            self.powers[self._next] += power
        self._next += 1


@torch.no_grad()
def observe(graph: PolicyGraph, feeds: Iterable[Feed]) -> Observer:
    """Run the graph in torch on every frame.

    All tokens count, those too that the last layer of the written graph leaves out: its ranges may be too wide.
    """
    observer = Observer()
    for feed in feeds:
        observer.begin()
        with observer:
            graph(*feed)
    return observer
