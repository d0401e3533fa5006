"""What the training loop trains: a module that computes its own losses, and the batches that it reads."""

from typing import Protocol

from torch import Tensor, nn

Batch = dict[str, Tensor]
"""Tensors by name, batch first: moved to the device and given to the module as keyword arguments."""


class BatchSource(Protocol):
    """Batches as a pure function of where the run stands; pickled into worker processes."""

    def batch(self, step: int, part: int, parts: int) -> Batch:
        """Part `part` of the `parts` equal parts (processes x accumulation steps) of update `step`'s samples."""
        ...


class Task(Protocol):
    """One kind of training; the loop knows nothing else about it.

    Attributes:
        module: everything that is trained; `module(**batch)` gives unweighted losses by name and their weighted sum
            `loss`, all scalars. It is this module that is wrapped by DDP, FSDP or DeepSpeed.
        train: the training batches.
        better: the validation figure that decides which checkpoint is the best; smaller is better.
        companions: texts that belong to the weights, by file name (statistics, tokenizer).
    """

    module: nn.Module
    train: BatchSource
    better: str
    companions: dict[str, str]

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Errors on held-out episodes, by name with the unit at the end; `module` is the average where there is one."""
        ...
