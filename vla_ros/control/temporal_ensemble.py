"""Temporal ensembling: what several chunks want at the same time, averaged (ACT, arXiv 2304.13705, sec. IV-A).

Aligned by time and not by position in the chunk, so that chunks that come irregularly average what is about the same
moment.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ARM_DIM, ActionChunk


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """A chunk that has started.

    Attributes:
        chunk: as the policy made it.
        start_ns: when its first row is due [ns].
    """

    chunk: ActionChunk
    start_ns: int

    @property
    def last_row_ns(self) -> int:
        """When its last row is due [ns]."""
        return self.start_ns + (len(self.chunk) - 1) * self.chunk.period_ns

    def during(self, row_ns: int) -> NDArray[np.float64] | None:
        """What it does during the period that begins at `row_ns`, float64 [7], or None: not all of that is its time.

        A row's displacement is spread evenly; the gripper is that of the middle of the period.
        """
        if not self.start_ns <= row_ns <= self.last_row_ns:
            return None
        actions = np.asarray(self.chunk.actions, np.float64)
        row, late_ns = divmod(row_ns - self.start_ns, self.chunk.period_ns)
        if not late_ns:
            return actions[row]
        part = late_ns / self.chunk.period_ns
        mean = (1 - part) * actions[row] + part * actions[row + 1]
        mean[ARM_DIM] = actions[row if part < 0.5 else row + 1, ARM_DIM]
        return mean


def ensemble(newest: Prediction, former: tuple[Prediction, ...], coeff: float) -> ActionChunk:
    """The newest chunk, each row averaged with what former chunks want at its time.

    Args:
        newest: of which the rows' times are.
        former: oldest first, of the same action space.
        coeff: weights are exp(-coeff * age), the age in rows since the oldest chunk that has a say: with 0.01, as in
            ACT, older chunks weigh a little more; negative numbers favour the new ones.
    """
    actions, period_ns = newest.chunk.actions.copy(), newest.chunk.period_ns
    for row in range(len(actions)):
        row_ns = newest.start_ns + row * period_ns
        wants = [(p.start_ns, action) for p in (*former, newest) if (action := p.during(row_ns)) is not None]
        ages = np.array([(start_ns - wants[0][0]) / period_ns for start_ns, _ in wants])
        weights = np.exp(-coeff * ages)
        actions[row] = np.average([action for _, action in wants], axis=0, weights=weights)
    return replace(newest.chunk, actions=actions)
