"""What an evaluation runs (`config/sim/*.yaml`) and what one episode of it was."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vla_ros.config import check_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """One evaluation: simulator, tasks, initial states and the policy and robot files that it is run with.

    Attributes:
        simulator: which bridge; `make setup-<simulator>` installs it.
        suite: the benchmark's suite, e.g. `libero_object`.
        tasks: task indices of the suite.
        episodes_per_task: episodes of each task, on consecutive initial states.
        first_initial_state: index of the first one, in the benchmark's own list.
        seed: of the simulator.
        camera_size_px: rows and columns of the published camera image [px].
        python: the Python interpreter of the simulator's own environment, relative to the project.
        policy: parameter file of policy_node, relative to the project; names the bundle.
        robot: parameter file of command_gate, relative to the project.
        answer_timeout_s: how long the bridge waits for a command before it gives the episode up [s, wall clock].
        video_every_n_steps: a video frame every so many steps; 0 renders none but those the policy sees.
    """

    simulator: Literal["libero"]
    suite: str
    tasks: tuple[int, ...]
    episodes_per_task: int
    first_initial_state: int = 0
    seed: int = 0
    camera_size_px: int
    python: Path
    policy: Path
    robot: Path
    answer_timeout_s: float
    video_every_n_steps: int

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks: expected at least one task index, got none")
        check_numbers(self, "episodes_per_task", "camera_size_px", least=1)
        check_numbers(self, "first_initial_state", "video_every_n_steps", least=0)
        check_numbers(self, "answer_timeout_s", above=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One finished episode, a line of `episodes.jsonl`.

    Attributes:
        task_index, task, instruction: which task.
        initial_state: index in the benchmark's list.
        outcome: `success`; `timeout`: the step limit was reached; `held`: the gate commanded zero because no
            valid chunk came; `no_command`: the gate itself was silent.
        reason: why it was held or silent; empty otherwise.
        steps: control periods executed.
        clamped_steps: steps whose command exceeded what the simulator can execute and was clipped.
        reaction_ms: per image, from its publication to the first command derived from it [ms, wall clock].
        actions_sha256: of all commands as executed, float64 [steps, 7]: equal for equal runs.
        video: file name beside `episodes.jsonl`, or empty.
        wall_s: duration of the episode [s].
    """

    task_index: int
    task: str
    instruction: str
    initial_state: int
    outcome: Literal["success", "timeout", "held", "no_command"]
    reason: str
    steps: int
    clamped_steps: int
    reaction_ms: tuple[float, ...]
    actions_sha256: str
    video: str
    wall_s: float

    @property
    def is_success(self) -> bool:
        """Whether the benchmark's goal was reached within its step limit."""
        return self.outcome == "success"


def append_result(path: Path, result: EpisodeResult) -> None:
    """Add one line to `episodes.jsonl`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(dataclasses.asdict(result)) + "\n")


def read_results(path: Path) -> Iterator[EpisodeResult]:
    """The episodes written so far; a line still being written is left for later."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            fields = json.loads(line)
            fields["reaction_ms"] = tuple(fields["reaction_ms"])
            yield EpisodeResult(**fields)
