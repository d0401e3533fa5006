"""The training loop: stop it at any time, start it again, and it goes on where it was."""

import math
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn

from vla_ros.train import checkpoint, saving
from vla_ros.train.accelerator import make_accelerator
from vla_ros.train.batches import Share, living_workers, stream
from vla_ros.train.config import RunConfig
from vla_ros.train.figures import agree, check_finite
from vla_ros.train.interruption import deferred_interruption
from vla_ros.train.optimization import MovingAverage, build_optimizer, learning_rate
from vla_ros.train.reporting import Reporter, reporting
from vla_ros.train.task import Batch, Task
from vla_ros.train.throughput import Throughput
from vla_ros.train.window import Window


class TrainingLoop:
    """One run: a task, its optimizer and where they stand; the same in every process of the run.

    Attributes:
        accelerator: the processes of this run and their device.
        module: the task's module, wrapped for these processes.
        average: the moving average of its weights; None where the config wants none.
        step: updates done.
    """

    def __init__(self, config: RunConfig, task: Task, workers: int = 0) -> None:
        """Args:
            workers: processes that prepare batches while others are computed; 0 prepares them in between.

        Raises:
            ConfigError: the config does not fit this machine or `accelerate launch`.
        """
        self.config, self.task = config, task
        self.accelerator = make_accelerator(config)
        decay = config.optimizer.ema_decay
        self.average = None if decay is None else MovingAverage(task.module, decay, self.accelerator.device)
        self._share = Share(
            process=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            accumulation=config.optimizer.accumulation_steps,
        )
        sample = task.train.batch(0, self._share.process, self._share.parts)
        self._throughput = Throughput.measure(
            config, task.module, sample, self.accelerator.device, self._share.processes
        )
        if config.compile:
            task.module.compile()
        self.module: nn.Module
        self.optimizer: torch.optim.Optimizer
        # in one call, as FSDP needs it
        self.module, self.optimizer = self.accelerator.prepare(
            task.module, build_optimizer(task.module, config.optimizer)
        )
        self.step = 0
        self._best: checkpoint.Best | None = None
        self._window = Window()
        self._workers = workers
        self._batches: Generator[Batch, None, None] | None = None
        self._interruption = threading.Event()
        self._is_stopping = False
        self._saved_step: int | None = None

    def run(self) -> None:
        """Train to the last step; writes metrics, curves and a checkpoint at every validation.

        Raises:
            VlaRosError: a loss or a validation is not finite, the disk is full, or a worker died; the last checkpoint
                stays as it was.
            KeyboardInterrupt: SIGINT or SIGTERM came; the checkpoint is of the last whole step.
        """
        interruption, alive = deferred_interruption(), living_workers(self._workers)
        with closing(self), alive, self._reporting() as reporter, interruption as self._interruption:
            self._throughput.start(self.step)
            while self.step < self.config.optimizer.steps and not self._is_stopping:
                figures = self.train_step()
                if reporter is not None:
                    reporter.update(self.step, figures)
                if self.step % self.config.validate_every == 0 or self.step == self.config.optimizer.steps:
                    self._report(reporter, self._throughput.figures(self.step))
                    self._throughput.start(self.step)
            if self.step < self.config.optimizer.steps:
                self.save()
                if reporter is not None:
                    reporter.say(f"stopped after step {self.step}; the same command goes on from here")
                raise KeyboardInterrupt

    def train_step(self) -> dict[str, float]:
        """One update of the weights on the samples that belong to it.

        Returns:
            The losses before it, means over all its samples, and the norm of the gradient.

        Raises:
            VlaRosError: one of them is not finite; the weights are as they were.
        """
        self._begin_step()
        figures: dict[str, float] = {}
        sums: dict[str, Tensor] = {}
        count = self.config.optimizer.accumulation_steps
        for number in range(1, count + 1):
            with self.accelerator.accumulate(self.module):
                with self.accelerator.autocast():  # accelerate wraps modules in it, but not those of FSDP
                    losses: dict[str, Tensor] = self.module(**self._next_batch())
                for name, loss in losses.items():
                    sums[name] = loss.detach() / count + sums.get(name, 0.0)
                if number == count and self._steps_in_backward:
                    figures = self._agree(sums)
                self.accelerator.backward(losses["loss"])
        if not self._steps_in_backward:
            figures = self._agree({**sums, "gradient_norm": self._clip_gradient()})
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.task.module, self.step)
        self.step += 1
        self._window.add(figures)
        return figures

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The task's errors on held-out data; every process computes them, because sharded weights need all of them."""
        module = self.module if self.average is None else self.average.module
        module.eval()
        with self.accelerator.autocast():
            return self.task.validate(module)

    def save(self) -> None:
        """Write the checkpoint of this step, if it is not written yet, and remove those that are not to be kept."""
        output = self.config.output
        if self._saved_step == self.step:
            return
        companions = checkpoint.digest_of(self.task.companions)
        state = checkpoint.State(step=self.step, companions=companions, best=self._best, window=self._window)
        saving.save(self.accelerator, output, state, self.module, self.optimizer, self.average)
        if self.accelerator.is_main_process:
            checkpoint.prune(output, state, self.config.keep_last)
        self._saved_step = self.step

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same config.

        Raises:
            DatasetError: it is damaged.
        """
        state = saving.restore(self.accelerator, path, self.module, self.optimizer, self.average)
        self.step, self._best, self._window = state.step, state.best, state.window
        self._saved_step = self.step
        self.close()

    def close(self) -> None:
        """Stop the processes that prepare batches; the next step starts them again."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    @property
    def _steps_in_backward(self) -> bool:
        return self.accelerator.distributed_type == DistributedType.DEEPSPEED

    def _begin_step(self) -> None:
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.config.optimizer)
        # dropout is a function of the step as well, so that a resumed run repeats it
        entropy = (self.config.seed, self.step, self.accelerator.process_index)
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def _next_batch(self) -> Batch:
        if self._batches is None:
            is_on_gpu = self.accelerator.device.type == "cuda"
            self._batches = stream(self.task.train, self._share, self.step, self._workers, pin=is_on_gpu)
        batch = next(self._batches)
        return {name: tensor.to(self.accelerator.device, non_blocking=True) for name, tensor in batch.items()}

    def _clip_gradient(self) -> Tensor:
        limit = self.config.optimizer.gradient_clip
        norm: Tensor = self.accelerator.clip_grad_norm_(self.module.parameters(), math.inf if limit is None else limit)
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def _agree(self, figures: dict[str, Tensor]) -> dict[str, float]:
        agreed, self._is_stopping = agree(self.accelerator, figures, self._interruption.is_set())
        check_finite(agreed, self.step, self.config.output)
        return agreed

    def _reporting(self) -> AbstractContextManager[Reporter | None]:
        if not self.accelerator.is_main_process:
            return nullcontext()
        return reporting(self.config.output, self.step, self.config.optimizer.steps)

    def _report(self, reporter: Reporter | None, throughput: dict[str, float]) -> None:
        errors = self.validate()
        check_finite(errors, self.step, self.config.output)
        figure = errors[self.task.better]
        if self._best is None or figure < self._best.figure:
            self._best = checkpoint.Best(step=self.step, figure=figure)
        if reporter is not None:
            reporter.validation(self.step, {**self._window.means(), **throughput, **errors})
        self._window = Window()
        self.save()
