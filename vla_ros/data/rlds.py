"""RLDS episodes in TFRecord files, as bridge_orig and the `libero_*_no_noops` are published; without TensorFlow.

    steps/action                  [T, 7]
    steps/observation/<camera>    T JPEG or PNG images, RGB
    steps/observation/state       [T, 7], bridge: position [m], Euler angles x y z [rad], gripper; base frame
    steps/language_instruction    T texts

Kind `bridge`: camera `image_0`; actions relabelled, see `bridge`. An episode without an instruction, of which
bridge_orig has some, is a bad one.

Kind `libero`: camera `image`, mirrored (see `conventions`); the action in LIBERO's units, no-ops taken out.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from vla_ros.action import ACTION_NAMES
from vla_ros.data.bridge import relabelled_actions
from vla_ros.data.checks import MIN_STEPS, checked_actions, checked_instruction
from vla_ros.data.conventions import BRIDGE, LIBERO, LIBERO_NO_NOOPS_ORIENTATION, ActionConvention
from vla_ros.data.episode import Episode, EpisodeDataset
from vla_ros.data.orientation import Orientation, upright
from vla_ros.data.rlds_frames import RldsFrames
from vla_ros.data.tf_example import parse_features
from vla_ros.data.tfds import FEATURES, INFO, Record, read_records, read_step_features
from vla_ros.data.tfrecord_file import read_record
from vla_ros.errors import DatasetError

RldsKind = Literal["bridge", "libero"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    camera: str
    orientation: Orientation
    convention: ActionConvention


_LAYOUTS: dict[RldsKind, _Layout] = {
    "bridge": _Layout(camera="observation/image_0", orientation="upright", convention=BRIDGE),
    "libero": _Layout(camera="observation/image", orientation=LIBERO_NO_NOOPS_ORIENTATION, convention=LIBERO),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RldsSource:
    """A data set that TensorFlow Datasets wrote.

    Attributes:
        path: the folder with `dataset_info.json`, e.g. `bridge_orig/1.0.0`.
        kind: whose conventions hold.
        split: `train`, `val`, ... as `dataset_info.json` names it.
    """

    path: Path
    kind: RldsKind
    split: str = "train"

    @classmethod
    def detect(cls, path: Path) -> Self | None:
        """See `sources.Source`; raises DatasetError for RLDS of neither kind."""
        if not (path / INFO).is_file():
            return None
        features = read_step_features(path)
        for kind, layout in _LAYOUTS.items():
            if layout.camera in features:
                return cls(path=path, kind=kind)
        cameras = " or ".join(layout.camera for layout in _LAYOUTS.values())
        raise DatasetError(f"{path / FEATURES}: steps: expected {cameras}, got {', '.join(features)}")

    def open(self) -> "RldsDataset":
        """Raises DatasetError if it is no such data set."""
        return RldsDataset(self.path, self.kind, self.split)


class RldsDataset(EpisodeDataset):
    """The episodes of one split; see `RldsSource`.

    Raises:
        DatasetError: schema or shards are missing, or are not of this kind.
    """

    def __init__(self, path: Path, kind: RldsKind, split: str) -> None:
        self.source = str(path)
        self.kind: RldsKind = kind
        self.layout = _LAYOUTS[kind]
        self.action = self.layout.convention.action
        features = read_step_features(path)
        for name in (self.layout.camera, "action", "language_instruction"):
            if name not in features:
                raise DatasetError(f"{path / FEATURES}: steps: expected {name}, got {', '.join(features)}")
        self._records = read_records(path, split)

    def __len__(self) -> int:
        return len(self._records)

    def episode(self, index: int) -> Episode:
        """See `EpisodeDataset.episode`."""
        record = self._records[index]
        if record.span is None:
            got = "a file that ends before it or cannot be read" if record.file.is_file() else "no such file"
            raise DatasetError(f"{record.name}: expected an episode, got {got}")
        data = read_record(record.file, record.span, record.name)
        steps = _Steps(data, record)
        images = steps.texts(self.layout.camera)
        count = len(images)
        if count < MIN_STEPS:
            raise DatasetError(f"{record.name}.steps: expected at least {MIN_STEPS} steps, got {count}")
        offsets = record.span.offset + _find(images, data)
        sizes = np.array([len(image) for image in images], np.int64)
        actions = steps.numbers("action", count)
        where = f"{record.name}.steps.action"
        if self.kind == "bridge":
            actions = relabelled_actions(actions, steps.numbers("observation/state", count), f"{record.name}.steps")
            offsets, sizes = offsets[1:-1], sizes[1:-1]
        return Episode(
            name=record.name,
            instruction=steps.instruction(count),
            actions=checked_actions(actions, self.layout.convention, where),
            frames=upright(RldsFrames(record.file, record.name, offsets, sizes), self.layout.orientation),
        )


class _Steps:
    """The step features of one episode, flattened by TFDS into one list each."""

    def __init__(self, data: bytes, record: Record) -> None:
        self.name = record.name
        self._features = parse_features(data, record.name)

    def _where(self, name: str) -> str:
        return f"{self.name}.steps.{name.replace('/', '.')}"

    def texts(self, name: str) -> list[bytes]:
        """Byte strings, one for each step."""
        feature = self._features.get(f"steps/{name}")
        if feature is None or not feature.bytes_list.value:
            raise DatasetError(f"{self._where(name)}: expected an entry for each step, got nothing")
        return list(feature.bytes_list.value)

    def numbers(self, name: str, steps: int) -> NDArray[np.float32]:
        """Numbers [steps, 7]."""
        feature = self._features.get(f"steps/{name}")
        values = np.array([] if feature is None else feature.float_list.value, np.float32)
        if values.size != steps * len(ACTION_NAMES):
            wanted = f"numbers [{steps}, {len(ACTION_NAMES)}] as there are {steps} frames"
            raise DatasetError(f"{self._where(name)}: expected {wanted}, got {values.size} numbers")
        return values.reshape(steps, len(ACTION_NAMES))

    def instruction(self, steps: int) -> str:
        """The instruction, the same at every step."""
        where = self._where("language_instruction")
        texts = self.texts("language_instruction")
        if len(texts) != steps or len(set(texts)) != 1:
            raise DatasetError(
                f"{where}: expected one instruction at {steps} steps, got {len(set(texts))} at {len(texts)}"
            )
        return checked_instruction(texts[0], where)


def _find(images: list[bytes], data: bytes) -> NDArray[np.int64]:
    """Where in a record each of its images lies, which the protobuf library does not tell."""
    offsets, position = np.empty(len(images), np.int64), 0
    for index, image in enumerate(images):
        position = offsets[index] = data.index(image, position)
        position += len(image)
    return offsets
