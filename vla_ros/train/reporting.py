"""What a person sees of a run: a progress bar, metrics.jsonl, curves.png and TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from vla_ros.errors import VlaRosError
from vla_ros.train import curves

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

METRICS = "metrics.jsonl"
CURVES = "curves.png"
TENSORBOARD = "tensorboard"


class Reporter:
    """Writes into the run's folder; only the main process has one."""

    def __init__(self, output: Path, bar: "tqdm[None]", tensorboard: "SummaryWriter") -> None:
        self._output, self._bar, self._tensorboard = output, bar, tensorboard

    def update(self, step: int, figures: Mapping[str, float]) -> None:
        """One update of the weights is done."""
        self._bar.update()
        self._bar.set_postfix_str(" ".join(f"{name} {value:.4g}" for name, value in figures.items()))
        with _writing(self._output):
            for name, value in figures.items():
                self._tensorboard.add_scalar(f"train/{name}", value, step)

    def validation(self, step: int, figures: Mapping[str, float]) -> None:
        """A validation is done; `figures` are of the updates since the last one, and of the validation."""
        metrics = self._output / METRICS
        with _writing(self._output):
            curves.append_metrics(metrics, {"step": step, **figures})
            curves.plot_metrics(metrics, self._output / CURVES)
            for name, value in figures.items():
                tag = f"validation/{name.removeprefix('val_')}" if name.startswith("val_") else f"mean/{name}"
                self._tensorboard.add_scalar(tag, value, step)
            self._tensorboard.flush()
        self.say("  ".join([f"step {step}", *(f"{name} {value:.4g}" for name, value in figures.items())]))

    def say(self, text: str) -> None:
        """Print a line above the progress bar."""
        self._bar.write(text)


@contextmanager
def reporting(output: Path, step: int, steps: int) -> Iterator[Reporter]:
    """A reporter for the updates from `step` to `steps`; what an earlier process reported beyond `step` goes.

    Raises:
        DatasetError: metrics.jsonl is damaged.
        VlaRosError: the folder cannot be written.
    """
    from torch.utils.tensorboard import SummaryWriter

    with _writing(output):
        output.mkdir(parents=True, exist_ok=True)
        curves.truncate_metrics(output / METRICS, step)
        tensorboard = SummaryWriter(str(output / TENSORBOARD), purge_step=step + 1)
    with tqdm(total=steps, initial=step, desc="training", unit="step", smoothing=0.05) as bar:
        yield Reporter(output, bar, tensorboard)
    with _writing(output):
        tensorboard.close()


@contextmanager
def _writing(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VlaRosError(
            f"{output}: expected to write metrics and curves, got: {error}; the same command goes on once it can"
        ) from error
