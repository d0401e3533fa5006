"""How much of the machine training uses: data path, bare computation and the real loop, side by side.

The three take turns, a few updates each and round after round, so that whatever else the machine does hits all of them;
a figure is the median over the rounds, and a ratio the median of the rounds' ratios.
"""

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from vla_ros.errors import ConfigError
from vla_ros.train.batches import PREFETCHED_PER_WORKER, Share, stream
from vla_ros.train.config import TrainConfig
from vla_ros.train.data import load_data
from vla_ros.train.flops import flops_per_update, peak_flops
from vla_ros.train.loop import TrainingLoop
from vla_ros.train.optimization import build_optimizer
from vla_ros.train.policy_task import PolicyTask
from vla_ros.train.reporting import Reporter
from vla_ros.train.task import Batch

PHASES = ("data path", "bare loop", "trainer")
TARGET_TRAINER = 0.85
"""Speed of the trainer in units of the bare loop's that it is to reach."""
TARGET_DATA = 3.0
"""Speed of the data path in units of the trainer's that it is to reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBenchmark:
    """What was measured, all rounds.

    Attributes:
        batch_size: samples of an update.
        times_s: by phase, for each round the durations of its updates [s].
        flops: operations of an update.
        peak: operations per second of the device at best.
    """

    batch_size: int
    times_s: dict[str, list[list[float]]]
    flops: float
    peak: float

    def samples_per_s(self, phase: str) -> list[float]:
        """Of each round."""
        return [self.batch_size * len(times) / sum(times) for times in self.times_s[phase]]

    @property
    def trainer_over_bare(self) -> float:
        """How much of the bare loop's speed the trainer has."""
        return self._ratio("trainer", "bare loop")

    @property
    def data_over_trainer(self) -> float:
        """How often the data path alone could feed the trainer."""
        return self._ratio("data path", "trainer")

    def _ratio(self, upper: str, lower: str) -> float:
        pairs = zip(self.samples_per_s(upper), self.samples_per_s(lower), strict=True)
        return statistics.median(a / b for a, b in pairs)

    def mfu(self, phase: str) -> float:
        """Model FLOP utilisation: the model's operations per second, of those that the device could do."""
        updates_per_s = statistics.median(self.samples_per_s(phase)) / self.batch_size
        return self.flops * updates_per_s / self.peak


def measure(config: TrainConfig, steps: int, rounds: int) -> TrainBenchmark:
    """Measure a training config on its own data; leaves nothing behind, and holds the model twice.

    Args:
        steps: timed updates of each phase in each round.

    Raises:
        VlaRosError: as `vla-ros train`.
    """
    warm_up = 1 + PREFETCHED_PER_WORKER * config.data.workers
    with tempfile.TemporaryDirectory(prefix="vla-ros-bench-") as folder:
        updates = max(config.optimizer.steps, rounds * (steps + warm_up))
        config = replace(config, output=Path(folder), optimizer=replace(config.optimizer, steps=updates))
        task = PolicyTask(config, load_data(config))
        parts = config.optimizer.accumulation_steps
        batch = task.train.batch(0, 0, parts)
        flops = flops_per_update(task.module, batch) * parts
        bare_module = copy.deepcopy(task.module)
        loop = TrainingLoop(config, task, config.data.workers)
        if loop.accelerator.num_processes > 1:
            raise ConfigError("bench train: expected one process, got several; start it without `accelerate launch`")
        bar = tqdm(total=rounds * len(PHASES) * steps, desc="bench", unit="update", leave=False)
        with bar, _reporter(config.output, updates) as reporter:
            phases = {
                "data path": _data_path(config, task),
                "bare loop": _bare_loop(config, bare_module.to(loop.accelerator.device), batch),
                "trainer": lambda: reporter.update(loop.step, loop.train_step()),
            }
            turns = _Turns(phases, warm_up, steps, bar)
            peaks = []
            for number in range(rounds):
                peaks.append(peak_flops(loop.accelerator.device, config.precision))
                turns.take(number)
    return TrainBenchmark(batch_size=config.optimizer.batch_size, times_s=turns.times_s, flops=flops, peak=max(peaks))


@contextmanager
def _reporter(output: Path, updates: int) -> Iterator[Reporter]:
    """What `vla-ros train` shows and writes at every update, shown to nobody."""
    from torch.utils.tensorboard import SummaryWriter

    with open(os.devnull, "w") as nobody, tqdm(total=updates, file=nobody) as bar, SummaryWriter(str(output)) as writer:
        yield Reporter(output, bar, writer)


def _data_path(config: TrainConfig, task: PolicyTask) -> Callable[[], None]:
    """One update's samples: read, augmented, resized and cut into patches, in the config's worker processes."""
    share = Share(process=0, processes=1, accumulation=config.optimizer.accumulation_steps)
    batches = stream(task.train, share, 0, config.data.workers, pin=config.device == "cuda")

    def update() -> None:
        for _ in range(share.accumulation):
            next(batches)

    return update


def _bare_loop(config: TrainConfig, module: nn.Module, batch: Batch) -> Callable[[], None]:
    """One update on the same batch again and again: forward, backward, optimizer, and nothing else."""
    device = next(module.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in batch.items()}
    optimizer = build_optimizer(module.train(), config.optimizer)
    if config.compile:
        module.compile()

    def update() -> None:
        for _ in range(config.optimizer.accumulation_steps):
            with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16"):
                losses: dict[str, Tensor] = module(**inputs)
            losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return update


class _Turns:
    """Lets the phases work one after the other, each round another one first."""

    def __init__(self, phases: dict[str, Callable[[], None]], warm_up: int, steps: int, bar: "tqdm[None]") -> None:
        self._phases, self._warm_up, self._steps, self._bar = phases, warm_up, steps, bar
        self.times_s: dict[str, list[list[float]]] = {name: [] for name in phases}

    def take(self, number: int) -> None:
        """Round `number`, counted from 0."""
        first = number % len(self._phases)
        names = list(self._phases)
        for name in names[first:] + names[:first]:
            self._bar.set_postfix_str(name)
            # what workers prepared while another phase had its turn is not this phase's speed
            for _ in range(self._warm_up):
                self._phases[name]()
            self.times_s[name].append([self._timed(self._phases[name]) for _ in range(self._steps)])

    def _timed(self, update: Callable[[], None]) -> float:
        started = time.perf_counter()
        update()
        elapsed_s = time.perf_counter() - started
        self._bar.update()
        return elapsed_s
