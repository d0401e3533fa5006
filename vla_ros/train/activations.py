"""The memory of one forward and backward pass, counted without doing it: the real modules on tensors without data."""

import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class PassMemory:
    """What is alive beside parameters and their gradients [bytes].

    Attributes:
        batch: the inputs.
        weight_copies: parameters that autocast has cast, kept for the backward pass.
        activations: what else the forward pass keeps for the backward pass.
        peak: the most that is alive at once, without the batch.
    """

    batch: int
    weight_copies: int
    activations: int
    peak: int


class LiveBytes(TorchDispatchMode):
    """Counts the storages that operations make and that nobody has let go of.

    Args:
        known: tensors that exist already and do not count.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.weight_copies = 0
        self._parameters = {id(tensor.untyped_storage()) for tensor in known if isinstance(tensor, nn.Parameter)}
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in known)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        is_cast = function is torch.ops.aten._to_copy.default and self._is_parameter(args[0])
        for tensor in tree_leaves(output):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage(), is_cast)
        return output

    def _is_parameter(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and id(tensor.untyped_storage()) in self._parameters

    def _note(self, storage: torch.UntypedStorage, is_cast: bool) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self._add(size, is_cast)
        weakref.finalize(storage, self._add, -size, is_cast)

    def _add(self, size: int, is_cast: bool) -> None:
        self.live += size
        self.weight_copies += size if is_cast else 0
        self.peak = max(self.peak, self.live)


class AsOnGpu(TorchFunctionMode):
    """Lets tensors of the CPU take the way that those of a GPU take, where the two keep other things.

    Attention asks `is_cuda` before it takes a fused kernel, and CUDA's autocast runs layer norms in float32.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(function, "__self__", None) is Tensor.is_cuda:
            return True
        if function is torch.autograd.backward:
            return self._backward(*args[0])
        if function is nn.functional.layer_norm and torch.is_autocast_enabled("cpu"):
            args = tuple(item.float() if isinstance(item, Tensor) else item for item in args)
        return function(*args, **(kwargs or {}))

    def _backward(self, loss: Tensor) -> None:
        # torch.autograd.backward would suspend this mode, and what is recomputed would take the other way
        with self:
            _engine_run_backward((loss,), (torch.ones_like(loss),), False, False, (), True, accumulate_grad=True)


def count(module: nn.Module, forward: Callable[[], Tensor], batch: Sequence[Tensor]) -> PassMemory:
    """Memory of `forward()`, which gives a scalar, and of its backward pass.

    The module keeps no gradients: each is dropped when it is whole, as sharded training does with whole gradients.
    """
    parameters = list(module.parameters())
    hooks = [
        parameter.register_post_accumulate_grad_hook(_drop_gradient)
        for parameter in parameters
        if parameter.requires_grad
    ]
    try:
        with LiveBytes([*parameters, *module.buffers(), *batch]) as bytes_:
            loss = forward()
            copies, kept = bytes_.weight_copies, bytes_.live
            torch.autograd.backward(loss)
    finally:
        for hook in hooks:
            hook.remove()
    size = sum(tensor.nbytes for tensor in batch)
    return PassMemory(batch=size, weight_copies=copies, activations=kept - copies, peak=bytes_.peak)


def _drop_gradient(parameter: Tensor) -> None:
    parameter.grad = None
