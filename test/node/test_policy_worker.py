"""The inference thread: the newest observation, one at a time, and what becomes of the others."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from test.node.stub_policy import StubPolicy
from vla_ros.action import ActionChunk
from vla_ros.errors import ContractError
from vla_ros.node.policy_worker import Inference, PolicyWorker
from vla_ros.observation import Observation

LIMIT_S = 60.0


class SteppedPolicy(StubPolicy):
    """Begins when asked to and answers when let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.release = threading.Semaphore(0)

    def predict(self, observation: Observation) -> ActionChunk:
        self.begun.release()
        assert self.release.acquire(timeout=LIMIT_S)
        return super().predict(observation)


class Bench:
    """A worker whose policy is stepped by the test."""

    def __init__(self) -> None:
        self.policy = SteppedPolicy()
        self.finished = threading.Semaphore(0)
        self.worker = PolicyWorker(self.policy, self.finished.release, lambda stamp_ns, stage: None)

    def offer(self, stamp_ns: int) -> None:
        image = np.full((32, 32, 3), 7, np.uint8)
        self.worker.offer(Observation(image=image, instruction="go", stamp_ns=stamp_ns), epoch=1)

    def wait_until_begun(self) -> None:
        assert self.policy.begun.acquire(timeout=LIMIT_S)

    def finish(self) -> Inference:
        self.policy.release.release()
        assert self.finished.acquire(timeout=LIMIT_S)
        (inference,) = self.worker.take()
        return inference


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for _ in range(10):
        bench.policy.release.release()
    assert bench.worker.stop()


def test_of_what_was_offered_meanwhile_only_the_newest_is_next(bench: Bench) -> None:
    bench.offer(1)
    bench.wait_until_begun()
    for stamp_ns in (2, 3, 4):
        bench.offer(stamp_ns)
    assert bench.finish().observation.stamp_ns == 1
    bench.wait_until_begun()
    assert bench.finish().observation.stamp_ns == 4
    assert bench.worker.dropped == 2


def test_what_was_dropped_never_begins(bench: Bench) -> None:
    bench.offer(1)
    bench.wait_until_begun()
    bench.offer(2)
    bench.worker.drop()
    bench.finish()
    bench.offer(3)
    bench.wait_until_begun()
    assert bench.finish().observation.stamp_ns == 3
    assert bench.worker.dropped == 1


def test_an_abandoned_inference_says_so_when_it_returns_and_the_next_is_a_new_one(bench: Bench) -> None:
    bench.offer(1)
    bench.wait_until_begun()
    begun_ns = bench.worker.begun_ns
    assert begun_ns is not None
    assert not bench.worker.is_hung
    bench.worker.abandon(begun_ns)
    assert bench.worker.is_hung
    assert bench.finish().is_abandoned
    assert (bench.worker.begun_ns, bench.worker.is_hung) == (None, False)
    bench.offer(2)
    bench.wait_until_begun()
    bench.worker.abandon(begun_ns)  # that one is long over
    assert not bench.worker.is_hung
    assert not bench.finish().is_abandoned


def test_a_chunk_about_another_observation_is_no_answer(bench: Bench) -> None:
    bench.offer(1)
    bench.wait_until_begun()
    inference = bench.finish()
    assert inference.checked_chunk() is inference.chunk
    observation = Observation(image=inference.observation.image, instruction="go", stamp_ns=2)
    other = Inference(observation=observation, epoch=1, chunk=inference.chunk, duration_ns=1)
    with pytest.raises(ContractError, match=r"chunk\.stamp_ns: expected the observation's, 2, got 1"):
        other.checked_chunk()
