"""LIBERO demonstrations: the HDF5 layout of LIBERO's own `<task>_demo.hdf5` files, and the units in force there.

    data                          attrs: problem_info (JSON: language_instruction, problem_name, domain_name), env_name,
                                  env_args (JSON), bddl_file_name, bddl_file_content, macros_image_convention,
                                  num_demos, total
    data/demo_<i>                 attrs: num_samples, init_state
        actions        [T, 7]     executed, each in [-1, 1]: 0.05 m and 0.5 rad per unit; gripper -1 open, +1 close
        states         [T, n]     flattened MuJoCo state before the action
        robot_states   [T, 9]     fingers (2), effector position (3), effector quaternion x y z w (4)
        rewards, dones [T]        uint8, 1 at the last step
        obs/agentview_rgb         uint8 [T, H, W, 3], rows bottom-up as OpenGL reads them, or upright where
                                  macros_image_convention is `opencv`
        obs/{ee_pos, ee_ori, ee_states, gripper_states, joint_states}

Beside these, files that `vla-ros demos` wrote have the following; LIBERO's own tools ignore them:

        expert_actions [T, 7]     what the expert wanted at that state (`actions` has noise on top), same units
        expert_phase   [T]        uint8, an index into the dataset's attr `names`
        obs/target_position       float32 [T, 3], the object to be moved, world frame [m]
        obs/goal_position         float32 [T, 3], where it goes, world frame [m]
        obs/other_positions       float32 [T, m, 3], objects that other tasks move there, by the dataset's attr
                                  `instructions`, world frame [m]
        has_image      [T]        uint8, 0 where `obs/agentview_rgb` is black because nothing was rendered

The world frame is parallel to the robot's base. `model_file` is left out: it holds the absolute paths of one machine,
and the BDDL file with the states says the same.
"""

import glob
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.data.checks import checked_actions, checked_instruction
from vla_ros.data.conventions import LIBERO
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.hdf5 import CheckedGroup, opened
from vla_ros.data.orientation import Orientation, upright
from vla_ros.errors import DatasetError

Labels = Literal["expert", "executed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LiberoSource:
    """LIBERO's own demonstrations, or those of `vla-ros demos`.

    Attributes:
        path: an HDF5 file, a folder of `*.hdf5`, or a glob pattern (`**` allowed).
        labels: `expert` takes `expert_actions` where the file has them and `actions` elsewhere; `executed` always takes
            `actions`.
    """

    path: Path
    labels: Labels = "expert"

    @classmethod
    def detect(cls, path: Path) -> Self | None:
        """See `sources.Source`."""
        is_hdf5 = path.suffix == ".hdf5" if path.is_file() else any(path.glob("*.hdf5"))
        return cls(path=path) if is_hdf5 else None

    def open(self) -> "LiberoDataset":
        """Raises DatasetError if there is no such file."""
        return LiberoDataset(self.path, self.labels)


class LiberoDataset(EpisodeDataset):
    """The demonstrations of one file, a folder or a glob, file by file, in the order of their numbers.

    A file that cannot be read counts as one episode, which is refused when it is asked for.

    Raises:
        DatasetError: nothing there.
    """

    def __init__(self, path_or_glob: Path | str, labels: Labels = "expert") -> None:
        files = _files(Path(path_or_glob))
        self.source = str(path_or_glob)
        self.action = LIBERO.action
        self.labels = labels
        self._demos = [(file, name) for file in files for name in _demo_names_or_none(file)]
        if not files:
            raise DatasetError(
                f"{path_or_glob}: expected a LIBERO demonstration file, got nothing; try `vla-ros demos`"
            )

    def __len__(self) -> int:
        return len(self._demos)

    def episode(self, index: int) -> Episode:
        """See `EpisodeDataset.episode`."""
        file, name = self._demos[index]
        with opened(file) as root:
            data = root.group("data")
            if name is None:
                raise data.error("demo_0", "a demonstration", "nothing")
            return self._episode(data.group(name), _instruction(data), _orientation(data))

    def _episode(self, demo: CheckedGroup, instruction: str, orientation: Orientation) -> Episode:
        labels = "expert_actions" if self.labels == "expert" and "expert_actions" in demo.node else "actions"
        actions = checked_actions(demo.numbers(labels, (None, None)), LIBERO, demo.where(labels))
        steps = len(actions)
        return Episode(
            name=demo.where(""),
            instruction=instruction,
            actions=actions,
            frames=upright(demo.frames("obs/agentview_rgb", steps), orientation),
            phases=_phases(demo, steps),
            target_position=_positions(demo, "obs/target_position", steps),
            goal_position=_positions(demo, "obs/goal_position", steps),
            effector_position=_positions(demo, "obs/ee_pos", steps),
            other_positions=_other_positions(demo, steps),
            image_steps=_image_steps(demo, steps),
        )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.hdf5"))
    # a file's own name may have brackets, which a pattern would read
    return [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]


def demo_names(data: h5py.Group) -> list[str]:
    """The `demo_<i>` groups by number; anything else in the group is not a demonstration."""
    names = [name for name in data if name.startswith("demo_") and name[5:].isdigit()]
    return sorted(names, key=lambda name: int(name[5:]))


def _demo_names_or_none(file: Path) -> list[str] | list[None]:
    try:
        with opened(file) as root:
            return demo_names(root.group("data").node) or [None]
    except DatasetError:  # raised once more by `episode`, where it can be counted
        return [None]


def _instruction(data: CheckedGroup) -> str:
    """LIBERO's own files hold a word list or a text in quotation marks here and there, and so do its loaders."""
    try:
        text = json.loads(data.node.attrs["problem_info"])["language_instruction"]
    except (KeyError, TypeError, ValueError) as error:
        raise data.error("problem_info", "JSON with a language_instruction", f"{error!r}") from error
    if isinstance(text, list):
        text = "".join(map(str, text))
    where = data.where("problem_info.language_instruction")
    return checked_instruction(text.strip('"') if isinstance(text, str) else text, where)


def _orientation(data: CheckedGroup) -> Orientation:
    """LIBERO renders, and says so in its files, as OpenGL does; robosuite's other choice is OpenCV's."""
    convention = data.node.attrs.get("macros_image_convention", "opengl")
    if convention not in ("opengl", "opencv"):
        raise data.error("macros_image_convention", "opengl or opencv", repr(convention))
    return "upside_down" if convention == "opengl" else "upright"


def _positions(demo: CheckedGroup, path: str, steps: int) -> NDArray[np.float32] | None:
    return demo.finite(path, (steps, 3)).astype(np.float32) if path in demo.node else None


def _other_positions(demo: CheckedGroup, steps: int) -> dict[str, NDArray[np.float32]]:
    path = "obs/other_positions"
    if path not in demo.node:
        return {}
    instructions = [str(text) for text in demo.node[path].attrs.get("instructions", ())]
    positions = demo.finite(path, (steps, len(instructions), 3)).astype(np.float32)
    return {
        checked_instruction(text, demo.where(f"{path}.instructions[{number}]")): positions[:, number]
        for number, text in enumerate(instructions)
    }


def _image_steps(demo: CheckedGroup, steps: int) -> NDArray[np.int64] | None:
    if "has_image" not in demo.node:
        return None
    (found,) = np.nonzero(demo.finite("has_image", (steps,)))
    if not len(found):
        raise demo.error("has_image", "at least one step with an image", "none")
    return found.astype(np.int64)


def _phases(demo: CheckedGroup, steps: int) -> tuple[str, ...] | None:
    if "expert_phase" not in demo.node:
        return None
    indices = demo.finite("expert_phase", (steps,))
    names = [str(name) for name in demo.node["expert_phase"].attrs.get("names", ())]
    if indices.max() >= len(names):
        raise demo.error("expert_phase", f"an index below {len(names)} (the attr `names`)", str(indices.max()))
    return tuple(names[int(index)] for index in indices)
