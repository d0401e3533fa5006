"""LIBERO demonstrations: the HDF5 layout of LIBERO's own `<task>_demo.hdf5` files, and the units in force there.

    data                          attrs: problem_info (JSON: language_instruction, problem_name, domain_name), env_name,
                                  env_args (JSON), bddl_file_name, bddl_file_content, macros_image_convention,
                                  num_demos, total
    data/demo_<i>                 attrs: num_samples, init_state
        actions        [T, 7]     executed, each in [-1, 1]: 0.05 m and 0.5 rad per unit; gripper -1 open, +1 close
        states         [T, n]     flattened MuJoCo state before the action
        robot_states   [T, 9]     fingers (2), effector position (3), effector quaternion x y z w (4)
        rewards, dones [T]        uint8, 1 at the last step
        obs/agentview_rgb         uint8 [T, H, W, 3], rows bottom-up as OpenGL reads them
        obs/{ee_pos, ee_ori, ee_states, gripper_states, joint_states}

Beside these, files that `vla-ros demos` wrote have the following; LIBERO's own tools ignore them:

        expert_actions [T, 7]     what the expert wanted at that state (`actions` has noise on top), same units
        expert_phase   [T]        uint8, an index into the dataset's attr `names`
        obs/target_position       float32 [T, 3], the object to be moved, world frame [m]
        obs/goal_position         float32 [T, 3], where it goes, world frame [m]

The world frame is parallel to the robot's base. `model_file` is left out: it holds the absolute paths of one machine,
and the BDDL file with the states says the same.
"""

import glob
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.errors import DatasetError

TRANSLATION_M_PER_UNIT = 0.05
ROTATION_RAD_PER_UNIT = 0.5
GRIPPER_OPEN_UNIT = -1.0
GRIPPER_CLOSE_UNIT = 1.0
CONTROL_RATE_HZ = 20.0
FINGER_GAP_OPEN_M = 0.08

Labels = Literal["expert", "executed"]
Array = NDArray[Any]

_ARM_SCALE = np.array([TRANSLATION_M_PER_UNIT] * 3 + [ROTATION_RAD_PER_UNIT] * 3)
_UNIT_TOLERANCE = 1e-3


def si_from_libero(actions: Array) -> NDArray[np.float32]:
    """LIBERO's units to metres, radians and gripper opening (1 open, 0 closed); [..., 7] to float32 [..., 7]."""
    result = np.empty(actions.shape, np.float32)
    result[..., :ARM_DIM] = actions[..., :ARM_DIM] * _ARM_SCALE
    span = GRIPPER_OPEN_UNIT - GRIPPER_CLOSE_UNIT
    result[..., ARM_DIM] = np.clip((actions[..., ARM_DIM] - GRIPPER_CLOSE_UNIT) / span, 0.0, 1.0)
    return result


def libero_from_si(actions: Array) -> NDArray[np.float64]:
    """Metres, radians and gripper opening to LIBERO's units; deltas beyond one unit are clipped, as LIBERO would."""
    result = np.empty(actions.shape, np.float64)
    result[..., :ARM_DIM] = np.clip(actions[..., :ARM_DIM] / _ARM_SCALE, -1.0, 1.0)
    span = GRIPPER_OPEN_UNIT - GRIPPER_CLOSE_UNIT
    result[..., ARM_DIM] = GRIPPER_CLOSE_UNIT + span * actions[..., ARM_DIM]
    return result


def exceeds_units(delta: Array) -> bool:
    """Whether `libero_from_si` would clip this end-effector delta [6] (m, rad); rounding does not count."""
    return bool((np.abs(delta / _ARM_SCALE) > 1 + _UNIT_TOLERANCE).any())


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One demonstration, as training reads it; T steps.

    Attributes:
        instruction: what the robot was told.
        images: uint8 [T, H, W, 3], RGB, upright.
        actions: float32 [T, 7], m, rad and gripper opening (1 open, 0 closed); base-aligned axes.
        phases: the expert's phase at each step, T names; None where the file has none.
        target_position: float32 [T, 3], world frame [m]; None where the file has none.
        goal_position: float32 [T, 3], world frame [m]; None where the file has none.
        effector_position: float32 [T, 3], world frame [m]; None where the file has none.
    """

    instruction: str
    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    phases: tuple[str, ...] | None
    target_position: NDArray[np.float32] | None
    goal_position: NDArray[np.float32] | None
    effector_position: NDArray[np.float32] | None


class LiberoDataset:
    """The demonstrations of one file, a folder or a glob, read one episode at a time.

    Args:
        path_or_glob: an HDF5 file, a folder of `*.hdf5`, or a glob pattern (`**` allowed).
        labels: `expert` takes `expert_actions` where the file has them and `actions` elsewhere; `executed` always takes
            `actions`.

    Raises:
        DatasetError: nothing there, or (while reading) a field is missing, misshapen or out of range.
    """

    def __init__(self, path_or_glob: Path | str, labels: Labels = "expert") -> None:
        path = Path(path_or_glob)
        pattern = str(path / "*.hdf5") if path.is_dir() else str(path)
        self.files = tuple(Path(name) for name in sorted(glob.glob(pattern, recursive=True)))
        self.labels = labels
        if not self.files:
            raise DatasetError(
                f"{path_or_glob}: expected a LIBERO demonstration file, got nothing; try `vla-ros demos`"
            )

    def episodes(self) -> Iterator[Episode]:
        """All episodes, file by file, in the order of their numbers."""
        for file in self.files:
            with _open(file) as root:
                data = _Checked(file, root).group("data")
                instruction = data.instruction()
                for name in _demo_names(data.node):
                    yield self._episode(data.group(name), instruction)

    def _episode(self, demo: "_Checked", instruction: str) -> Episode:
        source = "expert_actions" if self.labels == "expert" and "expert_actions" in demo.node else "actions"
        actions = demo.numbers(source, (None, len(ACTION_NAMES)))
        limit = float(np.abs(actions).max(initial=0.0))
        if limit > 1 + _UNIT_TOLERANCE:
            raise demo.error(source, "LIBERO units in [-1, 1]", f"a magnitude of {limit:.3g}")
        steps = len(actions)
        return Episode(
            instruction=instruction,
            images=demo.images("obs/agentview_rgb", steps)[:, ::-1],
            actions=si_from_libero(actions),
            phases=demo.phases(steps),
            target_position=demo.positions("obs/target_position", steps),
            goal_position=demo.positions("obs/goal_position", steps),
            effector_position=demo.positions("obs/ee_pos", steps),
        )


class _Checked:
    """An HDF5 group whose accessors say in one line what is wrong with a field."""

    def __init__(self, file: Path, node: h5py.Group) -> None:
        self.file, self.node = file, node

    def error(self, path: str, expected: str, got: str) -> DatasetError:
        dotted = f"{self.node.name}/{path}".strip("/").replace("/", ".")
        return DatasetError(f"{self.file}: {dotted}: expected {expected}, got {got}")

    def group(self, path: str) -> "_Checked":
        node = self.node.get(path)
        if not isinstance(node, h5py.Group):
            raise self.error(path, "a group", "nothing" if node is None else "a dataset")
        return _Checked(self.file, node)

    def numbers(self, path: str, shape: tuple[int | None, ...]) -> Array:
        """A finite numeric dataset; None in `shape` is a free axis."""
        node = self.node.get(path)
        wanted = f"numbers [{', '.join('n' if n is None else str(n) for n in shape)}]"
        if not isinstance(node, h5py.Dataset):
            raise self.error(path, wanted, "nothing" if node is None else "a group")
        fits = node.ndim == len(shape) and all(w in (None, n) for n, w in zip(node.shape, shape, strict=True))
        if not fits or node.dtype.kind not in "fiu" or node.shape[0] == 0:
            raise self.error(path, wanted, f"{node.dtype} {list(node.shape)}")
        values = np.asarray(node)
        if not np.isfinite(values).all():
            raise self.error(path, "finite numbers", "NaN or infinity")
        return values

    def images(self, path: str, steps: int) -> NDArray[np.uint8]:
        values = self.numbers(path, (steps, None, None, 3))
        if values.dtype != np.uint8:
            raise self.error(path, "uint8", str(values.dtype))
        return values

    def positions(self, path: str, steps: int) -> NDArray[np.float32] | None:
        return self.numbers(path, (steps, 3)).astype(np.float32) if path in self.node else None

    def phases(self, steps: int) -> tuple[str, ...] | None:
        if "expert_phase" not in self.node:
            return None
        indices = self.numbers("expert_phase", (steps,))
        names = [str(name) for name in self.node["expert_phase"].attrs.get("names", ())]
        if indices.max() >= len(names):
            raise self.error("expert_phase", f"an index below {len(names)} (the attr `names`)", str(indices.max()))
        return tuple(names[int(index)] for index in indices)

    def instruction(self) -> str:
        try:
            return str(json.loads(self.node.attrs["problem_info"])["language_instruction"])
        except (KeyError, TypeError, ValueError) as error:
            raise self.error("problem_info", "JSON with a language_instruction", f"{error!r}") from error


def _open(file: Path) -> h5py.File:
    try:
        return h5py.File(file, "r")
    except OSError as error:
        raise DatasetError(f"{file}: expected an HDF5 file, got: {error}") from error


def _demo_names(data: h5py.Group) -> list[str]:
    """The `demo_<i>` groups by number; anything else in the group is not a demonstration."""
    names = [name for name in data if name.startswith("demo_") and name[5:].isdigit()]
    return sorted(names, key=lambda name: int(name[5:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One episode as it is stored: rows bottom-up, LIBERO's units; T steps.

    Attributes:
        datasets: by path below `demo_<i>`, each with T rows: `actions`, `states`, `obs/agentview_rgb` ...
        phase_names: what the numbers in `expert_phase` mean.
        attributes: further attrs of the demonstration, e.g. its seed.
    """

    datasets: dict[str, Array]
    phase_names: tuple[str, ...]
    attributes: dict[str, Any]


def write_file(path: Path, file_attributes: dict[str, Any], recordings: list[Recording]) -> None:
    """Write a whole demonstration file, or nothing: it appears under its name only when it is complete on disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with h5py.File(partial, "w") as root:
        data = root.create_group("data")
        data.attrs.update(file_attributes)
        for index, recording in enumerate(recordings):
            _write_demo(data.create_group(f"demo_{index}"), recording)
        _write_totals(data)
    _publish(partial, path)


def merge_files(parts: list[Path], path: Path) -> None:
    """Join the demonstrations of several files of one task into one file, or leave `path` as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with h5py.File(partial, "w") as root:
        data = root.create_group("data")
        count = 0
        for part in parts:
            with _open(part) as source:
                data.attrs.update(source["data"].attrs)
                for name in _demo_names(source["data"]):
                    source.copy(f"data/{name}", data, name=f"demo_{count}")
                    count += 1
        _write_totals(data)
    _publish(partial, path)


def _write_demo(group: h5py.Group, recording: Recording) -> None:
    for name, values in recording.datasets.items():
        # one image a chunk: training reads single frames at random
        is_image = values.ndim == 4
        group.create_dataset(
            name,
            data=values,
            chunks=(1, *values.shape[1:]) if is_image else None,
            compression="lzf" if is_image else None,
        )
    group.attrs["num_samples"] = len(recording.datasets["actions"])
    group.attrs["init_state"] = recording.datasets["states"][0]
    group.attrs.update(recording.attributes)
    if "expert_phase" in group:
        group["expert_phase"].attrs["names"] = list(recording.phase_names)


def _write_totals(data: h5py.Group) -> None:
    names = _demo_names(data)
    data.attrs["num_demos"] = len(names)
    data.attrs["total"] = sum(int(data[name].attrs["num_samples"]) for name in names)


def _publish(partial: Path, path: Path) -> None:
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(path)
