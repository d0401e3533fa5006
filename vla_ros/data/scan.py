"""Reads every episode's actions and instruction once, before anything is trained on one of them."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from tqdm import tqdm

from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.errors import DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a data set holds.

    Attributes:
        episodes: the good ones, in the data set's order.
        left_out: one line for each bad one: file, place and what is wrong with it.
    """

    episodes: tuple[Episode, ...]
    left_out: tuple[str, ...]


def scan(dataset: EpisodeDataset, *, skip_bad: bool = False, workers: int = 0, show_progress: bool = True) -> Scan:
    """Read and check all episodes; no image is read.

    Args:
        skip_bad: leave bad episodes out and list them, instead of stopping at the first one.
        workers: processes that read; 0 reads in this one. Millions of small files (CALVIN) take many.
        show_progress: a bar on stderr.

    Raises:
        DatasetError: an episode is bad and must not be left out, or none is good.
    """
    episodes: list[Episode] = []
    left_out: list[str] = []
    outcomes = _read_all(dataset, workers)
    for outcome in tqdm(outcomes, "reading episodes", len(dataset), unit="episode", disable=not show_progress):
        if isinstance(outcome, Episode):
            episodes.append(outcome)
        elif skip_bad:
            left_out.append(outcome)
        else:
            raise DatasetError(f"{outcome}; --skip-bad leaves such episodes out")
    if not episodes:
        first = f", the first because of {left_out[0]}" if left_out else ""
        raise DatasetError(
            f"{dataset.source}: expected at least one good episode, got {len(left_out)} that were left out{first}"
        )
    return Scan(episodes=tuple(episodes), left_out=tuple(left_out))


def _read_all(dataset: EpisodeDataset, workers: int) -> Iterator[Episode | str]:
    if workers == 0:
        yield from (_read(dataset, index) for index in range(len(dataset)))
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (dataset,)) as pool:
        try:
            yield from pool.map(_read_in_worker, range(len(dataset)), chunksize=16)
        except BrokenProcessPool as error:
            got = "one that died, as for want of memory, or of a damaged file"
            raise DatasetError(f"{dataset.source}: expected reading processes to live, got {got}") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _read(dataset: EpisodeDataset, index: int) -> Episode | str:
    try:
        return dataset.episode(index)
    except DatasetError as error:
        return str(error)


# ---- in a worker ----

_worker: dict[str, EpisodeDataset] = {}


def _start_worker(dataset: EpisodeDataset) -> None:
    _worker["dataset"] = dataset


def _read_in_worker(index: int) -> Episode | str:
    return _read(_worker["dataset"], index)
