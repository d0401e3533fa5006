"""How long a robot takes from an image to the first command derived from it: real nodes, each its own process."""

import contextlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from vla_ros.bench.processor_time import busy_s
from vla_ros.bench.reaction_stages import Reactions, Stops, Ticks
from vla_ros.contract import PolicyContract
from vla_ros.errors import ConfigError
from vla_ros.evaluation.domain import reserved_domain
from vla_ros.node.environment import ros_environment

Load = Literal["idle", "neighbour", "policy"]
LOADS: tuple[Load, ...] = get_args(Load)

CAMERA_RATE_HZ = 30.0
COMMAND_RATE_HZ = 100.0
COMMAND_PERIOD_NS = round(1e9 / COMMAND_RATE_HZ)
SEGMENT_BYTES = 32 << 20
"""Of shared memory, as config/fastdds/shared_memory.xml gives it to a process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How urgent the processes are: the nodes' own parameters of these names.

    Attributes:
        gate_priority: `thread_priority` of command_gate, and of camera, receiver and the emergency stop's button, which
            stand for the drivers.
        policy_priority: `thread_priority` of policy_node.
        inference_priority: `inference_priority` of policy_node, where the policy does not compute.
        remark: why they are not more urgent.
    """

    gate_priority: int = 0
    policy_priority: int = 0
    inference_priority: int = 0
    remark: str = ""

    @property
    def text(self) -> str:
        """For the report."""
        if self.remark:
            return f"usual priorities: {self.remark}"
        return (
            f"SCHED_FIFO {self.gate_priority} for command_gate, camera, receiver and button, {self.policy_priority} "
            f"for policy_node, {self.inference_priority} for its inference thread where the policy does not compute"
        )


URGENT = Placement(gate_priority=50, policy_priority=40, inference_priority=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run.

    Attributes:
        contract: of the policy: its camera says how large the images are.
        load: `idle`; `neighbour`: a process per core that computes all the time; `policy`: the policy itself does.
        frames: images that are followed.
        stops: how often the emergency stop is pressed afterwards.
        seed: of the images' pixels and times, and of the stops' times.
        bundle: the policy, or None for one that answers at once.
        engine, threads: of the bundle.
        placement: priorities.
    """

    contract: PolicyContract
    load: Load
    frames: int
    stops: int
    seed: int = 0
    bundle: Path | None = None
    engine: str = "cpu"
    threads: int = 1
    placement: Placement = Placement()

    @property
    def is_computing(self) -> bool:
        """Whether the policy computes on the CPU."""
        return self.bundle is not None or self.load == "policy"

    @property
    def name(self) -> str:
        """For headings."""
        return f"{self.contract.camera.width}x{self.contract.camera.height} {self.load}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run gave.

    Attributes:
        case: what was measured.
        reactions, ticks, stops: what the traces tell.
        interruptions: states that the gate fell into while images were followed.
        is_whole: False if the run was interrupted.
        others_cores: cores that all other processes used meanwhile; None where the system does not say.
    """

    case: Case
    reactions: Reactions
    ticks: Ticks
    stops: Stops
    interruptions: Sequence[str]
    is_whole: bool
    others_cores: float | None


def measure(cases: Sequence[Case]) -> list[Measured]:
    """Run one case after the other; Ctrl-C ends it early, with what there is.

    Raises:
        EngineError: a process died.
        ContractError: the gate never ran.
        KeyboardInterrupt: there is nothing yet.
    """
    done: list[Measured] = []
    for case in cases:
        try:
            done.append(_measure(case))
        except KeyboardInterrupt:
            if not done:
                raise
            break
        if not done[-1].is_whole:
            break
    if len(done) < len(cases) or not done[-1].is_whole:
        print("interrupted: what there is follows", file=sys.stderr)
    return done


def _measure(case: Case) -> Measured:
    from vla_ros.bench.reaction_run import Run  # with ROS

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vla_ros_reaction_")))
        domain = stack.enter_context(reserved_domain())
        stack.enter_context(_environment({**ros_environment(domain), "ROS_LOG_DIR": str(folder / "ros")}))
        clock = _OthersClock()
        run = Run(case, folder)
        run.go()
        return run.measured(clock.others_cores())


@contextlib.contextmanager
def _environment(additions: Mapping[str, str]) -> Iterator[None]:
    """For all processes, and for the operator's node, which is in this one."""
    former = dict(os.environ)
    os.environ.update(additions)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def choose_placement(priorities: Literal["auto", "none"]) -> Placement:
    """The most urgent one that is asked for and permitted here."""
    if priorities == "none":
        return Placement(remark="--priorities none")
    if not _is_permitted(URGENT):
        return Placement(remark="this user is permitted no others; docs/latency.md says how to permit them")
    return URGENT


def _is_permitted(placement: Placement) -> bool:
    """Whether a process of this user may be so urgent; this one is for a moment."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(placement.gate_priority))
    except PermissionError:
        return False
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return True


def parse_size(text: str) -> tuple[int, int]:
    """`640x480` to width and height [px].

    Raises:
        ConfigError: not such a size.
    """
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"--sizes: expected WIDTHxHEIGHT such as 640x480, got {text!r}")
    if int(width) * int(height) * 3 > SEGMENT_BYTES:
        raise ConfigError(f"--sizes: expected images of at most {SEGMENT_BYTES >> 20} MiB, got {text}")
    return int(width), int(height)


def parse_load(text: str) -> Load:
    """One of LOADS.

    Raises:
        ConfigError: none of them.
    """
    for load in LOADS:
        if text == load:
            return load
    raise ConfigError(f"--loads: expected of {', '.join(LOADS)}, got {text!r}")


class _OthersClock:
    """Since it was made: how much of the machine other processes than this one and its ended children used."""

    def __init__(self) -> None:
        self._started = self._now()

    def others_cores(self) -> float | None:
        """In the mean; None where the system does not say."""
        (started, busy, own), (now, busy_now, own_now) = self._started, self._now()
        if busy is None or busy_now is None:
            return None
        return max(0.0, (busy_now - busy) - (own_now - own)) / (now - started)

    def _now(self) -> tuple[float, float | None, float]:
        usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return time.monotonic(), busy_s(), sum(usage.ru_utime + usage.ru_stime for usage in usages)
