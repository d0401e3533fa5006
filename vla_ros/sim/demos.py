"""Collect demonstrations of LIBERO tasks with the scripted expert.

Three things make them worth learning from: placements vary more than LIBERO's own reset varies them (which leaves the
target where it is); the executed actions are noisy while the clean ones are recorded, so that the way back is shown;
and LIBERO's recorded initial states are never used, so that they remain a test.
"""

import dataclasses
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vla_ros.action import ARM_DIM, Command
from vla_ros.config import check_numbers
from vla_ros.data.libero_units import CONTROL_RATE_HZ, libero_from_si, si_from_libero
from vla_ros.data.libero_writer import Recording, merge_files, write_file
from vla_ros.errors import ConfigError, SimulatorError
from vla_ros.sim import expert
from vla_ros.sim.libero import LiberoSimulator
from vla_ros.sim.perturbation import Jitter, Noise, NoiseSource, place
from vla_ros.sim.simulator import SimTask
from vla_ros.sim.takeover import PolicyDriver, Takeover

QUIET_PHASES = ("close", "lift", "release")
QUIET_HEIGHT_M = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class DemosConfig:
    """One collection of demonstrations.

    Attributes:
        output: folder that gets one `<task>_demo.hdf5` per task.
        suite: LIBERO suite.
        tasks: task numbers.
        episodes_per_task: episodes to keep.
        seed: attempt k of task t is decided by (seed, t, k), whichever worker makes it.
        workers: processes; one per core is best.
        image_size_px: square images.
        image_every_steps: of a control step's time, drawing takes most: with 4, an hour brings three times as many
            episodes and nearly as many images. Actions are recorded at every step.
        max_steps: an attempt that takes longer is dropped.
        steps_after_success: recorded on, so that opening the hand and leaving is shown.
        first_steps: only so many steps of each attempt, whether they lead anywhere or not: the cheapest way to show
            where things can be; None records whole episodes, and keeps those that succeed.
        noise: on the executed actions.
        jitter: of the placements.
        takeover: a policy drives first, and the expert shows the way back; None leaves everything to the expert.
    """

    output: Path
    suite: str = "libero_object"
    tasks: tuple[int, ...] = (0,)
    episodes_per_task: int = 120
    seed: int = 0
    workers: int = 2
    image_size_px: int = 128
    image_every_steps: int = 1
    max_steps: int = 280
    steps_after_success: int = 4
    first_steps: int | None = None
    noise: Noise = field(default_factory=Noise)
    jitter: Jitter = field(default_factory=Jitter)
    takeover: Takeover | None = None

    def __post_init__(self) -> None:
        if self.first_steps is not None:
            check_numbers(self, "first_steps", least=2)
        check_numbers(self, "episodes_per_task", "workers", "image_size_px", "image_every_steps", "max_steps", least=1)
        if not self.tasks or min(self.tasks) < 0:
            raise ValueError(f"tasks: expected task numbers, got {list(self.tasks)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The outcome for one task.

    Attributes:
        file: the finished demonstration file.
        kept: episodes in it.
        dropped: attempts that this run dropped because the expert failed.
    """

    file: Path
    kept: int
    dropped: int


def collect(config: DemosConfig, report: Callable[[str], None] = print) -> list[Collected]:
    """Collect until every task has its episodes; what a killed run had finished is kept and counted.

    Raises:
        SimulatorError: LIBERO is missing, or nine attempts in ten fail.
        BundleError, EngineError, ConfigError: the policy of `takeover` cannot drive.
    """
    config.output.mkdir(parents=True, exist_ok=True)
    if config.workers > 1:
        # the software renderer starts a thread per core in every process: two processes would fight over the cores
        os.environ.setdefault("LP_NUM_THREADS", "1")
    results = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, context, _start_worker, (config,)) as pool:
        names = pool.submit(_task_names).result()
        for index in config.tasks:
            if index >= len(names):
                raise SimulatorError(f"{config.suite}: tasks: expected 0 to {len(names) - 1}, got {index}")
            results.append(_collect_task(config, index, names[index], pool))
            report(f"{results[-1].file}: {results[-1].kept} episodes kept, {results[-1].dropped} attempts dropped")
    return results


def _collect_task(config: DemosConfig, index: int, name: str, pool: Executor) -> Collected:
    file = config.output / f"{name}_demo.hdf5"
    parts = config.output / f"{name}_demo.parts"
    if file.exists() and not parts.exists():
        kept = _count(file)
        if kept < config.episodes_per_task:
            raise ConfigError(
                f"{file}: demonstrations: expected {config.episodes_per_task}, got {kept} of an earlier run that was "
                "finished; move the file away to collect anew"
            )
        return Collected(file=file, kept=kept, dropped=0)
    parts.mkdir(exist_ok=True)
    _check_same_collection(config, parts / "config.json")
    done = sorted(parts.glob("attempt_*.hdf5"))
    dropped = 0
    made = {part.stem for part in parts.glob("attempt_*")}  # kept, or dropped: it would fail again
    names = (f"attempt_{k:06d}" for k in range(1_000_000))
    attempts = ((index, k, str(parts / f"{name}.hdf5")) for k, name in enumerate(names) if name not in made)
    with tqdm(total=config.episodes_per_task, initial=len(done), desc=f"task {index}", unit="episode") as bar:
        for path, is_kept in _in_flight(pool, attempts, config.workers, config.episodes_per_task - len(done)):
            if not is_kept:
                Path(path).with_suffix(".dropped").touch()
                dropped += 1
            bar.update(int(is_kept))
            tried = bar.n - len(done) + dropped
            bar.set_postfix_str(f"kept {(tried - dropped) / tried:.0%} of {tried} attempts")
            if tried >= 20 and dropped > 0.9 * tried:
                raise SimulatorError(f"{name}: expected an expert that succeeds, got {dropped} failures of {tried}")
    done = sorted(parts.glob("attempt_*.hdf5"))  # all of them: an earlier run may have wanted more
    merge_files(done, file)
    for part in parts.iterdir():
        part.unlink()
    parts.rmdir()
    return Collected(file=file, kept=len(done), dropped=dropped)


def _check_same_collection(config: DemosConfig, path: Path) -> None:
    """Never mix episodes of two noises, jitters or seeds in one file.

    Raises:
        ConfigError: the episodes beside `path` were collected with another config.
    """
    free = {"episodes_per_task": 0, "workers": 0, "output": ""}
    text = json.dumps(dataclasses.asdict(config) | free, indent=2, default=str)
    if not path.exists():
        path.write_text(text, encoding="utf-8")
    elif path.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{path}: expected the present config, got another; move {path.parent} away to collect anew")


def _in_flight(
    pool: Executor, attempts: Iterator[tuple[int, int, str]], workers: int, wanted: int
) -> Iterator[tuple[str, bool]]:
    """Paths and outcomes in the order of the attempts, with only as many under way as can still be needed."""
    pending: list[tuple[str, Future[bool]]] = []
    while wanted > 0:
        while len(pending) < min(workers + 1, wanted):
            attempt = next(attempts)
            pending.append((attempt[2], pool.submit(_attempt, *attempt)))
        path, outcome = pending.pop(0)
        wanted -= outcome.result()
        yield path, outcome.result()


def _count(file: Path) -> int:
    import h5py

    with h5py.File(file, "r") as root:
        return int(root["data"].attrs["num_demos"])


# ---- in a worker ----

_worker: dict[str, Any] = {}


def _start_worker(config: DemosConfig) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    _worker["config"] = config


def _die_with_parent() -> None:
    """A worker whose parent was killed would otherwise wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _equip() -> None:
    """Open what an attempt needs; here, because what an initializer raises only says that the pool is broken."""
    if "simulator" not in _worker:
        config: DemosConfig = _worker["config"]
        _worker["driver"] = None if config.takeover is None else PolicyDriver(config.takeover)
        _worker["simulator"] = LiberoSimulator(config.suite, config.image_size_px, config.image_size_px)


def _task_names() -> list[str]:
    _equip()
    return [task.name for task in _worker["simulator"].tasks()]


def _attempt(task_index: int, attempt: int, path: str) -> bool:
    """One episode from its own seed; it is written only if it is one to keep."""
    _equip()
    config, simulator = _worker["config"], _worker["simulator"]
    task = simulator.task(task_index)
    recording = record_episode(config, simulator, task, attempt, _worker["driver"])
    if recording is None:
        return False
    write_file(Path(path), _file_attributes(simulator, task), [recording])
    return True


def record_episode(
    config: DemosConfig, simulator: LiberoSimulator, task: SimTask, attempt: int, driver: PolicyDriver | None = None
) -> Recording | None:
    """Run the noisy expert once, from where the policy has left the arm; None if this is none to keep."""
    random = np.random.default_rng((config.seed, task.index, attempt))
    place(simulator, task, config.jitter, random)
    if driver is not None:
        driver.drive(simulator, task, driver.config.draw_steps(random))
        if simulator.is_success():
            return None  # nothing to show
    noise = NoiseSource(config.noise, random)
    others = simulator.others()
    rows: list[dict[str, Any]] = []
    steps_left = None
    while steps_left != 0 and len(rows) != config.first_steps:
        if steps_left is None and simulator.is_success():
            steps_left = config.steps_after_success
            continue
        if steps_left is None and len(rows) >= config.max_steps:
            return None
        row, executed = _step(simulator, noise, has_image=len(rows) % config.image_every_steps == 0)
        rows.append(row | {"obs/other_positions": simulator.positions(others.values()).astype(np.float32)})
        simulator.step(executed)
        steps_left = None if steps_left is None else steps_left - 1
    is_success = simulator.is_success()
    if config.first_steps is None and not is_success:
        return None
    datasets = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
    is_last = np.arange(len(rows)) == len(rows) - 1
    rewards, dones = (is_last & is_success).astype(np.uint8), is_last.astype(np.uint8)
    return Recording(
        datasets=datasets | {"rewards": rewards, "dones": dones},
        phase_names=expert.PHASES,
        other_instructions=tuple(others),
        attributes={"seed": config.seed, "attempt": attempt},
    )


def _step(simulator: LiberoSimulator, noise: NoiseSource, has_image: bool) -> tuple[dict[str, Any], Command]:
    """What is recorded of the present state, and the noisy command to execute in it."""
    state = simulator.privileged()
    action = expert.act(state)
    label = libero_from_si(np.append(action.delta, action.gripper))
    executed = label.copy()
    is_quiet = action.phase in QUIET_PHASES or (
        action.phase == "descend" and state.effector_position[2] - expert.grasp_position(state)[2] < QUIET_HEIGHT_M
    )
    executed[:ARM_DIM] = np.clip(label[:ARM_DIM] + noise.sample(is_quiet), -1.0, 1.0)
    in_si = si_from_libero(executed).astype(np.float64)
    row = {
        "actions": executed,
        "expert_actions": label,
        "expert_phase": np.uint8(expert.PHASES.index(action.phase)),
        "states": simulator.state(),
        "obs/agentview_rgb": simulator.render()[::-1] if has_image else _black(simulator),
        "has_image": np.uint8(has_image),
        "obs/target_position": state.target_position.astype(np.float32),
        "obs/goal_position": state.goal_position.astype(np.float32),
        **simulator.proprioception(),
    }
    return row, Command(delta=in_si[:ARM_DIM], gripper=float(in_si[ARM_DIM]))


def _black(simulator: LiberoSimulator) -> NDArray[np.uint8]:
    return np.zeros((simulator.camera.height, simulator.camera.width, 3), np.uint8)


def _file_attributes(simulator: LiberoSimulator, task: SimTask) -> dict[str, Any]:
    bddl = simulator.bddl_file(task)
    problem = simulator.problem_info()
    environment = {
        "control_freq": CONTROL_RATE_HZ,
        "camera_names": ["agentview"],
        "camera_heights": simulator.camera.height,
    }
    return {
        "problem_info": json.dumps(problem | {"language_instruction": task.instruction}),
        "env_name": problem["problem_name"],
        "env_args": json.dumps({"type": 1, "problem_name": problem["problem_name"], "env_kwargs": environment}),
        "bddl_file_name": f"bddl_files/{bddl.parent.name}/{bddl.name}",
        "bddl_file_content": bddl.read_text(encoding="utf-8"),
        "macros_image_convention": "opengl",
    }
