"""The batches of this process, in order, prepared by worker processes while the last ones are computed."""

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from vla_ros.errors import VlaRosError
from vla_ros.train.task import Batch, BatchSource

PREFETCHED_PER_WORKER = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which part of every update's samples this process computes.

    Attributes:
        process: number of this process, of `processes`.
        accumulation: parts of one update that each process computes one after the other.
    """

    process: int
    processes: int
    accumulation: int

    @property
    def parts(self) -> int:
        """Equal parts of an update's samples, over all processes."""
        return self.processes * self.accumulation


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a worker could not do; an exception that crosses processes in torch's way becomes another, with a stack."""

    error: VlaRosError


class _Parts(Dataset[Batch | _Refusal]):
    """Item i is the i-th part that this process computes, from update `first` on."""

    def __init__(self, source: BatchSource, share: Share, first: int) -> None:
        self._source, self._share, self._first = source, share, first

    def __len__(self) -> int:
        return sys.maxsize  # the loop stops asking

    def __getitem__(self, index: int) -> Batch | _Refusal:
        step, number = divmod(index, self._share.accumulation)
        part = number * self._share.processes + self._share.process
        try:
            return self._source.batch(self._first + step, part, self._share.parts)
        except VlaRosError as error:
            return _Refusal(error)


def stream(source: BatchSource, share: Share, first: int, workers: int, pin: bool) -> Generator[Batch, None, None]:
    """This process's batches from update `first` on, without end.

    Args:
        workers: processes that prepare them; 0 prepares each one when it is asked for.
        pin: into page-locked memory, from which a GPU copies on its own.

    Raises:
        VlaRosError: as the source raised it, or a worker died.
    """
    loader: DataLoader[Batch | _Refusal] = DataLoader(
        _Parts(source, share, first),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=PREFETCHED_PER_WORKER if workers else None,
        # children share the episodes in memory and never touch the GPU
        multiprocessing_context="fork" if workers else None,
        worker_init_fn=_start_worker,
        # of its own: a draw from the global one would shift the dropout of the step in which a run begins
        generator=torch.Generator(),
        pin_memory=pin,
    )
    batches = iter(loader)
    try:
        while True:
            with living_workers(workers):
                item = next(batches)
            if isinstance(item, _Refusal):
                raise item.error
            yield item
    finally:
        del batches  # stops the workers now, not whenever the traceback of an error is let go of


@contextmanager
def living_workers(workers: int) -> Iterator[None]:
    """Within the block, the death of a worker is an error of ours: torch raises its own wherever the process then is.

    Raises:
        VlaRosError: a worker died, as for want of memory.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise VlaRosError(
            f"data.workers: expected {workers} living processes, got: {' '.join(str(error).split())} "
            "The same command goes on from the last checkpoint"
        ) from error


def _start_worker(number: int) -> None:
    del number
    # Ctrl-C reaches every process of a terminal; the main one stops the others when it is done
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(0)  # a forked child has lost OpenCV's threads
    torch.set_num_threads(1)
