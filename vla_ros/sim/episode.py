"""What an evaluation runs (`config/sim/*.yaml`) and what one episode of it was."""

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from vla_ros.config import check_numbers

Mode = Literal["lockstep", "real_time", "latency"]
"""How the world waits for the policy.

lockstep: until each command is there (the paper's protocol). real_time: not at all, it follows the wall clock. latency:
as in lockstep, but a chunk reaches the gate only so long after its image as a policy and a network would have taken.
"""

Outcome = Literal["success", "timeout", "held", "no_command", "simulator_failed"]

EpisodeKey = tuple[int, int]
"""Which episode: index of the task in its suite, index of the initial state in the benchmark's list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimConfig:
    """One evaluation: simulator, tasks, initial states and the policy and robot files that it is run with.

    Attributes:
        simulator: which bridge; `make setup-<simulator>` installs it.
        suite: the benchmark's suite, e.g. `libero_object`.
        tasks: task indices of the suite.
        episodes_per_task: episodes of each task, on consecutive initial states.
        first_initial_state: index of the first one, in the benchmark's own list.
        mode: how the world waits for the policy.
        latency: of policy and network, in mode `latency`; see `vla_ros.sim.latency`.
        first_selection_state, selection_episodes_per_task: other initial states, on which `--select` chooses among
            checkpoints and settings, so that the test tells nothing about them; none: 0 episodes.
        seed: of the simulator.
        moved_target_m: LIBERO alone: each task's object is moved by up to so much along x and y, to a place that (seed,
            task, initial state) decide [m].
        told_task_offset: a control: the policy is told what the task so many further on in `tasks` is about, while
            success remains that of the episode's own task.
        camera_size_px: side of the published camera image, or its [width, height] [px].
        python: the Python interpreter of the simulator's own environment, relative to the project.
        policy: parameter file of policy_node, relative to the project; names the bundle.
        robot: parameter file of command_gate, relative to the project.
        answer_timeout_s: how long the bridge waits for a command before it gives the episode up [s, wall clock].
        video_every_n_steps: a video frame every so many steps; 0 renders none but those the policy sees.
    """

    simulator: Literal["libero", "calvin", "simpler"]
    suite: str
    tasks: tuple[int, ...]
    episodes_per_task: int
    first_initial_state: int = 0
    mode: Mode = "lockstep"
    latency: str = ""
    first_selection_state: int = 0
    selection_episodes_per_task: int = 0
    seed: int = 0
    moved_target_m: float = 0.0
    told_task_offset: int = 0
    camera_size_px: int | tuple[int, int]
    python: Path
    policy: Path
    robot: Path
    answer_timeout_s: float
    video_every_n_steps: int

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("tasks: expected at least one task index, got none")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks: expected each at most once, got {list(self.tasks)}")
        check_numbers(self, "episodes_per_task", "camera_size_px", least=1)
        check_numbers(self, "first_initial_state", "video_every_n_steps", least=0)
        check_numbers(self, "first_selection_state", "selection_episodes_per_task", least=0)
        check_numbers(self, "answer_timeout_s", above=0)
        check_numbers(self, "moved_target_m", "told_task_offset", least=0)
        if self.moved_target_m and self.simulator != "libero":
            raise ValueError(f"moved_target_m: expected 0 in {self.simulator}, got {self.moved_target_m:g}")
        if self.told_task_offset and self.told_task_offset >= len(self.tasks):
            raise ValueError(
                f"told_task_offset: expected less than the {len(self.tasks)} of tasks, got {self.told_task_offset}"
            )
        if bool(self.latency) != (self.mode == "latency"):
            raise ValueError(
                f"latency: expected one in mode latency and in no other, got {self.latency!r} in {self.mode}"
            )

    @property
    def camera_width_px(self) -> int:
        """Columns of the camera image [px]."""
        return self.camera_size_px if isinstance(self.camera_size_px, int) else self.camera_size_px[0]

    @property
    def camera_height_px(self) -> int:
        """Rows of the camera image [px]."""
        return self.camera_size_px if isinstance(self.camera_size_px, int) else self.camera_size_px[1]

    @property
    def is_changed(self) -> bool:
        """Whether it asks for something else than the benchmark does, so that results compare with nobody's."""
        return bool(self.moved_target_m or self.told_task_offset)

    @property
    def initial_states(self) -> range:
        """Of each task, for the test."""
        return range(self.first_initial_state, self.first_initial_state + self.episodes_per_task)

    @property
    def selection_states(self) -> range:
        """Of each task, for the selection before the test."""
        return range(self.first_selection_state, self.first_selection_state + self.selection_episodes_per_task)

    @property
    def episodes(self) -> tuple[EpisodeKey, ...]:
        """All that is to be run, in order: a function of the configuration alone, which a resumed run relies on."""
        return tuple((task, state) for task in self.tasks for state in self.initial_states)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubtaskResult:
    """What became of one of an episode's subtasks.

    Attributes:
        name, instruction: which; `instruction` is what the policy was told.
        outcome: as the episode's, or `not_reached`: an earlier one failed, and with it the episode was over.
        steps: control periods executed for it.
    """

    name: str
    instruction: str
    outcome: Outcome | Literal["not_reached"]
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """One finished episode, a line of `episodes.jsonl`.

    Attributes:
        task_index, task, instruction: which task.
        initial_state: index in the benchmark's list.
        outcome: `success`: everything was done; `timeout`: a step limit was reached; `held`: the gate commanded zero
            because no valid chunk came; `no_command`: the gate itself was silent; `simulator_failed`: the simulator
            died or could not keep up, which says nothing about the policy and is no success either.
        reason: why it was held, silent or without a simulator; empty otherwise.
        steps: control periods executed.
        clamped_steps: steps whose command exceeded what the simulator can execute and was clipped.
        reaction_ms: per image, from its publication to the first command derived from it [ms, wall clock]; in mode
            real_time from the moment that the image shows.
        actions_sha256: of all commands as executed, float64 [steps, 7]: equal for equal runs.
        video: file name beside `episodes.jsonl`, or empty.
        subtasks: all that the episode asked for, in order; one, except for benchmarks with chains of them.
        wall_s: duration of the episode [s].
        simulator_s: of that, what the simulator took for steps and images, without the reset [s].
        rendered: images rendered.
        latency_ms: drawn for each image, in mode latency [ms].
        lag_ms: by how much the world was behind the wall clock at most, in mode real_time [ms].
    """

    task_index: int
    task: str
    instruction: str
    initial_state: int
    outcome: Outcome
    reason: str
    steps: int
    clamped_steps: int
    reaction_ms: tuple[float, ...]
    actions_sha256: str
    video: str
    subtasks: tuple[SubtaskResult, ...]
    wall_s: float
    simulator_s: float = 0.0
    rendered: int = 0
    latency_ms: tuple[float, ...] = ()
    lag_ms: float = 0.0

    @property
    def key(self) -> EpisodeKey:
        """Which episode of the plan."""
        return self.task_index, self.initial_state

    @property
    def completed_subtasks(self) -> int:
        """How many were done before the first failure."""
        return sum(subtask.outcome == "success" for subtask in self.subtasks)

    @property
    def is_success(self) -> bool:
        """Whether everything that the episode asked for was done, each part within the benchmark's step limit."""
        return self.outcome == "success"


def append_result(path: Path, result: EpisodeResult) -> None:
    """Add one line to `episodes.jsonl`; once this returns, the line survives whatever happens to the machine.

    Several processes may write to one file. Half a line, which only a crash of the machine leaves, is cut off.
    """
    line = json.dumps(dataclasses.asdict(result)) + "\n"
    with path.open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _cut_torn_line(file)
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def _cut_torn_line(file: BinaryIO) -> None:
    file.seek(0)
    content = file.read()
    if not content.endswith(b"\n"):
        file.truncate(content.rfind(b"\n") + 1)


def read_results(path: Path) -> Iterator[EpisodeResult]:
    """The episodes written so far; a line still being written is left for later."""
    yield from ResultFile(path).read()


class ResultFile:
    """An `episodes.jsonl` that grows; each line is parsed once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._results: list[EpisodeResult] = []

    def read(self) -> list[EpisodeResult]:
        """The episodes written so far, in the order of their ends."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._offset += len(whole)
            self._results += [_parse(line) for line in whole.splitlines()]
        return list(self._results)


def _parse(line: bytes) -> EpisodeResult:
    fields = json.loads(line)
    fields |= {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    fields["subtasks"] = tuple(SubtaskResult(**subtask) for subtask in fields["subtasks"])
    return EpisodeResult(**fields)
