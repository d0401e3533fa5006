"""How fast a policy answers, beside torch and beside what the machine could do at best.

Every row is a process of its own, on the same cores, and all are loaded before anything is timed. Then they are asked
in turns, one pass each and round after round, each round another one first, the machine's meter among them: whatever
else the machine does hits all of them. A ratio is the median of the rounds' ratios.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm
from typing_extensions import Self

from vla_ros.bench import inference_export
from vla_ros.bench.inference_rows import Row
from vla_ros.bench.inference_worker import METER, WorkerSpec
from vla_ros.bench.processor_time import busy_s
from vla_ros.bench.roofline import Limits, Work
from vla_ros.bundle import GIB
from vla_ros.errors import EngineError

LOG_LINES = 5
TIMED_FRAMES = 2
"""Frames 0 and 5 of the reference have the same instruction, the longest; their images take turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of one process [GiB].

    Attributes:
        peak: since it began; of torch since its weights were drawn.
        resident: after the last round.
        anonymous: of that, what no file stands behind.
    """

    peak: float
    resident: float
    anonymous: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """What was measured of one row.

    Attributes:
        times_s: of each round, from an observation to the model's outputs [s].
        work: of such a pass.
        max_action_error: largest difference from torch in fp32, in model units, gripper logits included; None where
            torch's answers are not known.
        stages_s: durations by stage [s].
    """

    row: Row
    times_s: tuple[float, ...]
    work: Work
    max_action_error: float | None
    memory: Memory
    stages_s: dict[str, list[float]]

    @property
    def median_s(self) -> float:
        """Of all rounds."""
        return statistics.median(self.times_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceBenchmark:
    """What was measured, all rounds.

    Attributes:
        name: of the policy.
        limits: of the machine, one a round.
        threads: of each row.
        seed: of random weights; None where a bundle was measured.
        others_cores: cores that other processes used meanwhile, in the mean; None where the system does not say.
    """

    name: str
    rows: tuple[RowResult, ...]
    limits: tuple[Limits, ...]
    threads: int
    seed: int | None
    others_cores: float | None

    @property
    def best(self) -> Limits:
        """What the machine did at best in any round."""
        return Limits.best(list(self.limits))

    def ordered(self, rows: Sequence[Row]) -> "InferenceBenchmark":
        """With its rows in this order."""
        return replace(self, rows=tuple(sorted(self.rows, key=lambda result: rows.index(result.row))))

    def of(self, row: Row) -> RowResult | None:
        """The result of a row, if it ran."""
        return next((result for result in self.rows if result.row == row), None)

    def roofline_s(self, result: RowResult) -> float | None:
        """The least time of the row's pass on this machine [s]; None where it does not run on the CPU."""
        if not (result.row.is_torch or result.row.engine.endswith("cpu")):
            return None
        return result.work.least_s(self.best, result.row.precision)

    def roofline_fraction(self, result: RowResult) -> float | None:
        """Roofline time, by the best limits of the whole run, over the median time."""
        least_s = self.roofline_s(result)
        return None if least_s is None else least_s / result.median_s

    def roofline_fraction_of_rounds(self, result: RowResult) -> float | None:
        """The median of the rounds' fractions, each by the limits of its own round."""
        if self.roofline_s(result) is None:
            return None
        precision = result.row.precision
        pairs = zip(self.limits, result.times_s, strict=True)
        return statistics.median(result.work.least_s(limits, precision) / time_s for limits, time_s in pairs)

    def speed_up(self, result: RowResult, base: RowResult) -> float:
        """How many times as fast as `base`."""
        pairs = zip(base.times_s, result.times_s, strict=True)
        return statistics.median(slow / fast for slow, fast in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomPolicy:
    """What is measured where no bundle is given.

    Attributes:
        config: one of `config/policy/`.
        seed: of its weights.
        work: folder of its bundles and of torch's answers.
    """

    config: Path
    seed: int
    work: Path


def measure_random(policy: RandomPolicy, rows: Sequence[Row], rounds: int, threads: int) -> InferenceBenchmark:
    """Measure random weights: writes the bundles that are missing, then asks rows in turns.

    Args:
        rows: in the order in which they are loaded.

    Raises:
        VlaRosError: a bundle cannot be written, or a row cannot run.
    """
    precisions = tuple(dict.fromkeys(row.precision for row in rows if not row.is_torch))
    for precision in inference_export.missing(policy.work, precisions):
        inference_export.export_in_process(policy.config, policy.seed, precision, policy.work)
    reference = inference_export.read_reference(policy.work)
    base = WorkerSpec(
        engine=METER,
        precision="fp32",
        threads=threads,
        cores=choose_cores(threads),
        config=str(policy.config),
        seed=policy.seed,
        frames=len(reference),
        frames_seed=inference_export.FRAMES_SEED,
    )
    specs = {row: replace(base, engine=row.engine, precision=row.precision) for row in rows}
    for row in rows:
        if not row.is_torch:
            specs[row] = replace(specs[row], bundle=str(policy.work / row.precision))
    timed = [0, len(reference) // TIMED_FRAMES]
    return _measure(policy.config.stem, specs, base, reference, timed, rounds, policy.seed)


def measure_bundle(bundle: Path, name: str, rows: Sequence[Row], rounds: int, threads: int) -> InferenceBenchmark:
    """Measure a bundle on its golden observation, which holds torch's answer.

    Args:
        rows: engines, and the bundle's precision.

    Raises:
        VlaRosError: a row cannot run.
    """
    base = WorkerSpec(engine=METER, precision="fp32", threads=threads, cores=choose_cores(threads), bundle=str(bundle))
    specs = {row: replace(base, engine=row.engine, precision=row.precision) for row in rows}
    return _measure(name, specs, base, None, [0], rounds, None)


def choose_cores(threads: int) -> tuple[int, ...]:
    """The first cores that this process may use.

    Raises:
        EngineError: there are not as many.
    """
    cores = sorted(os.sched_getaffinity(0))
    if threads > len(cores):
        raise EngineError(f"--threads: expected at most {len(cores)}, the cores of this process, got {threads}")
    return tuple(cores[:threads])


def _measure(
    name: str,
    specs: dict[Row, WorkerSpec],
    meter_spec: WorkerSpec,
    reference: NDArray[np.float32] | None,
    timed_frames: Sequence[int],
    rounds: int,
    seed: int | None,
) -> InferenceBenchmark:
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(specs.items(), desc="loading", unit="row"))
        workers: dict[Row, Worker] = {}
        for row, spec in bar:
            bar.set_postfix_str(row.name)
            workers[row] = stack.enter_context(Worker(row.name, spec))
        meter = stack.enter_context(Worker("meter", meter_spec))
        errors = {row: _error(worker, reference) for row, worker in workers.items()}
        clock = Clock([*workers.values(), meter])
        times_s, limits = _take_turns(workers, meter, timed_frames, rounds)
        others_cores = clock.others_cores()
        results = tuple(
            RowResult(
                row=row,
                times_s=tuple(times_s[row]),
                work=Work(**worker.ready["work"]),
                max_action_error=errors[row],
                memory=worker.memory(),
                stages_s=worker.ask("stages")["stages"],
            )
            for row, worker in workers.items()
        )
    return InferenceBenchmark(
        name=name,
        rows=results,
        limits=tuple(limits),
        threads=meter_spec.threads,
        seed=seed,
        others_cores=others_cores,
    )


def _take_turns(
    workers: dict[Row, "Worker"], meter: "Worker", frames: Sequence[int], rounds: int
) -> tuple[dict[Row, list[float]], list[Limits]]:
    """Durations of each row [s] and the machine's limits, one of each round."""
    times_s: dict[Row, list[float]] = {row: [] for row in workers}
    limits: list[Limits] = []
    turns: list[Row | None] = [*workers, None]
    with tqdm(total=rounds * len(turns), desc="measuring", unit="pass") as bar:
        for number in range(rounds):
            first = number % len(turns)
            for row in turns[first:] + turns[:first]:
                bar.set_postfix_str("meter" if row is None else row.name)
                if row is None:
                    limits.append(Limits(**meter.ask("measure")["limits"]))
                else:
                    answer = workers[row].ask("time", frame=frames[number % len(frames)])
                    times_s[row].append(float(answer["elapsed_s"]))
                bar.update()
    return times_s, limits


def _error(worker: "Worker", reference: NDArray[np.float32] | None) -> float | None:
    """Against torch's answers to all frames, or to the golden one. There the arm alone counts: a logit is not kept."""
    if reference is not None:
        answers = np.array([worker.ask("answer", frame=frame)["outputs"] for frame in range(len(reference))])
        return float(np.abs(answers - reference).max())
    if worker.ready["golden"] is None:
        return None
    answer, golden = np.array(worker.ask("answer", frame=0)["outputs"]), np.array(worker.ready["golden"])
    return float(np.abs(np.clip(answer, -1, 1) - golden)[:, :6].max())


class Worker:
    """The other end of a row's process; see `inference_worker`."""

    def __init__(self, name: str, spec: WorkerSpec) -> None:
        """Start it and wait until it has loaded.

        Raises:
            EngineError: it could not, for a reason that it names.
        """
        self._name = name
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 (lives as long)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vla_ros.bench.inference_worker", json.dumps(asdict(spec))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | _threads_environment(spec.threads),
        )
        try:
            self.ready = self._read()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for its answer.

        Raises:
            EngineError: it failed.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it died, which reading tells better
        return self._read()

    def memory(self) -> Memory:
        """As it is now, by Linux."""
        text = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        fields = {line.partition(":")[0]: line.split()[1] for line in text.splitlines() if line.endswith("kB")}
        peak, resident, anonymous = (int(fields[name]) * 1024 / GIB for name in ("VmHWM", "VmRSS", "RssAnon"))
        return Memory(peak=peak, resident=resident, anonymous=anonymous)

    def cpu_s(self) -> float:
        """Time that cores have worked for it, by Linux [s]."""
        text = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii", errors="replace")
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise EngineError(f"{self._name}: expected an answer, got the end of its process: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineError(f"{self._name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._log.seek(0)
        lines = self._log.read().strip().splitlines()[-LOG_LINES:]
        killed = f"killed by signal {-code}, for want of memory?" if code < 0 else f"exit status {code}"
        return "; ".join([killed, *(line.strip() for line in lines)])


class Clock:
    """Since it was made: how much of the machine processes other than these and this one used."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._started = self._now()

    def others_cores(self) -> float | None:
        """In the mean, the hypervisor's other guests included; None where the system does not say."""
        (started, busy, own), (now, busy_now, own_now) = self._started, self._now()
        if busy is None or busy_now is None:
            return None
        return max(0.0, (busy_now - busy) - (own_now - own)) / (now - started)

    def _now(self) -> tuple[float, float | None, float]:
        """The time, and how long cores have worked, for everybody and for these [s]."""
        own = sum(worker.cpu_s() for worker in self._workers) + sum(os.times()[:2])
        return time.monotonic(), busy_s(), own


def _threads_environment(threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {name: str(threads) for name in names} | {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
