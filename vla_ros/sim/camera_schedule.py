"""Which images the policy gets to see in a simulated time, and when."""

from dataclasses import dataclass
from typing import Protocol

from vla_ros.sim.episode import EpisodeKey
from vla_ros.sim.episode_runner import EpisodeLog
from vla_ros.sim.film import Image, View
from vla_ros.sim.latency import Latency


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """An image for the policy.

    Attributes:
        image: uint8 [height, width, 3], RGB, upright.
        stamp_ns: the simulated time at which the world looked like that [ns].
    """

    image: Image
    stamp_ns: int


class CameraSchedule(Protocol):
    """Decides at each step whether the policy is shown an image."""

    def begin(self) -> None:
        """There is a new instruction: what the policy is at is void."""

    def shot(self, step: int, now_ns: int, view: View, log: EpisodeLog) -> Shot | None:
        """The image whose chunk reaches the gate at this step, or None."""


@dataclass(frozen=True, slots=True)
class EveryNSteps:
    """The paper's protocol: an image when the chunk before is used up, and the world waits for its chunk."""

    n: int

    def begin(self) -> None:
        pass

    def shot(self, step: int, now_ns: int, view: View, log: EpisodeLog) -> Shot | None:
        return None if step % self.n else Shot(image=view.look(), stamp_ns=now_ns)


class WhenPolicyIsFree:
    """A policy that takes time: an image whenever it is free, and the chunk so much later.

    The world waits for the chunk as in lockstep, but only at the first step that is not earlier than image plus
    latency. Until then the policy is busy, and the gate goes on with what it has. The policy is shown the image at that
    step, with the stamp of the time that it shows: how long it really takes does not matter.
    """

    def __init__(self, latency: Latency, seed: int, episode: EpisodeKey) -> None:
        self._latency = latency
        self._seed = seed
        self._episode = episode
        self._images = 0
        self._pending: tuple[Shot, int] | None = None

    def begin(self) -> None:
        self._pending = None

    def shot(self, step: int, now_ns: int, view: View, log: EpisodeLog) -> Shot | None:
        arrived = self._arrived(now_ns)
        if self._pending is None:
            self._take(now_ns, view, log)
        return arrived or self._arrived(now_ns)

    def _arrived(self, now_ns: int) -> Shot | None:
        if self._pending is None or now_ns < self._pending[1]:
            return None
        shot, self._pending = self._pending[0], None
        return shot

    def _take(self, now_ns: int, view: View, log: EpisodeLog) -> None:
        latency_ms = self._latency.draw_ms(self._seed, self._episode, self._images)
        self._images += 1
        log.latency_ms.append(latency_ms)
        self._pending = (Shot(image=view.look(), stamp_ns=now_ns), now_ns + round(latency_ms * 1e6))
