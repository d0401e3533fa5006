"""Writing demonstrations in LIBERO's layout, which `libero.py` describes and reads."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from vla_ros.data.hdf5 import open_file
from vla_ros.data.libero import demo_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One episode as it is stored: rows bottom-up, LIBERO's units; T steps.

    Attributes:
        datasets: by path below `demo_<i>`, each with T rows: `actions`, `states`, `obs/agentview_rgb` ...
        phase_names: what the numbers in `expert_phase` mean.
        other_instructions: what would ask for the objects in `obs/other_positions`, if that is there.
        attributes: further attrs of the demonstration, e.g. its seed.
    """

    datasets: dict[str, NDArray[Any]]
    phase_names: tuple[str, ...]
    other_instructions: tuple[str, ...] = ()
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
            with open_file(part) as source:
                data.attrs.update(source["data"].attrs)
                for name in demo_names(source["data"]):
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
    if "obs/other_positions" in group:
        group["obs/other_positions"].attrs["instructions"] = list(recording.other_instructions)


def _write_totals(data: h5py.Group) -> None:
    names = demo_names(data)
    data.attrs["num_demos"] = len(names)
    data.attrs["total"] = sum(int(data[name].attrs["num_samples"]) for name in names)


def _publish(partial: Path, path: Path) -> None:
    with partial.open("rb") as handle:
        os.fsync(handle.fileno())
    partial.replace(path)
