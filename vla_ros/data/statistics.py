"""Statistics of a data set that is read once, episode by episode, in bounded memory."""

import numpy as np
from fastdigest import TDigest
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES
from vla_ros.errors import DatasetError
from vla_ros.processing.normalization import UNITS, Statistics

BLOCK = 2**18
"""Up to so many actions the result is exact, and they are the memory that is needed (7 MB)."""

CENTROIDS = 2000
"""Of a t-digest: measured on 2 million heavy-tailed numbers, the rank of its 1 % quantile is off by 1e-5."""


class StatisticsAccumulator:
    """The statistics of all actions that were added; the order decides the last digits, the portions do not.

    Up to BLOCK actions, `Statistics.of` of them all. Beyond, quantiles come from one t-digest per dimension, mean and
    standard deviation from blocks that are merged in float64 (Chan, Golub and LeVeque, 1979).
    """

    def __init__(self) -> None:
        self._block = np.empty((BLOCK, len(ACTION_NAMES)), np.float32)
        self._filled = 0
        self._count = 0
        self._mean = np.zeros(len(ACTION_NAMES))
        self._squares = np.zeros(len(ACTION_NAMES))
        self._digests = [TDigest(max_centroids=CENTROIDS) for _ in ACTION_NAMES]

    def add(self, actions: NDArray[np.float32]) -> None:
        """Count actions, float32 [n, 7] in SI units."""
        while len(actions):
            if self._filled == BLOCK:
                self._fold()
            part = actions[: BLOCK - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            actions = actions[len(part) :]

    def result(self) -> Statistics:
        """The statistics so far.

        Raises:
            DatasetError: nothing was added.
        """
        if not self._count:
            if not self._filled:
                raise DatasetError("statistics: expected at least one action, got none")
            return Statistics.of(self._block[: self._filled])
        self._fold()
        return Statistics(
            names=ACTION_NAMES,
            units=UNITS,
            q01=tuple(digest.quantile(0.01) for digest in self._digests),
            q99=tuple(digest.quantile(0.99) for digest in self._digests),
            mean=tuple(self._mean.tolist()),
            std=tuple(np.sqrt(self._squares / self._count).tolist()),
            min=tuple(digest.min() for digest in self._digests),
            max=tuple(digest.max() for digest in self._digests),
            count=self._count,
        )

    def _fold(self) -> None:
        """Take what is in the block into digests and moments, and empty it."""
        rows = self._block[: self._filled].astype(np.float64)
        if not len(rows):
            return
        for digest, column in zip(self._digests, rows.T, strict=True):
            digest.batch_update(column.tolist())
        mean, total = rows.mean(axis=0), self._count + len(rows)
        step = mean - self._mean
        self._squares += ((rows - mean) ** 2).sum(axis=0) + step**2 * self._count * len(rows) / total
        self._mean += step * len(rows) / total
        self._count, self._filled = total, 0
