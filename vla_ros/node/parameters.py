"""The nodes' parameters: a frozen dataclass is the schema, read strictly from ROS and from parameter files alike."""

import dataclasses
import fnmatch
import itertools
import math
import sys
import typing
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vla_ros import config
from vla_ros.errors import ConfigError
from vla_ros.node.scheduling import parse_cores

if TYPE_CHECKING:
    from rclpy.node import Node

T = TypeVar("T")

ROS_OWN = ("use_sim_time", "start_type_description_service", "qos_overrides")
"""Parameters that rclpy itself declares."""


def parameter(
    description: str,
    *,
    least: float | None = None,
    most: float | None = None,
    read_only: bool = False,
    default: Any = dataclasses.MISSING,
) -> Any:
    """A field of a schema: what it means with its unit, its inclusive range, and whether it is fixed from the start."""
    metadata = {"description": description, "least": least, "most": most, "read_only": read_only}
    return field(metadata=metadata) if default is dataclasses.MISSING else field(metadata=metadata, default=default)


def check_ranges(values: Any) -> None:
    """For a schema's `__post_init__`.

    Raises:
        ValueError: a number is not finite or outside its range.
    """
    for item in dataclasses.fields(values):
        value, least, most = getattr(values, item.name), item.metadata["least"], item.metadata["most"]
        if isinstance(value, bool | str) or least is None:
            continue
        if not (math.isfinite(value) and least <= value <= most):
            raise ValueError(f"{item.name}: expected {least} to {most}, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessParameters:
    """Parameters of every node's process; see each description."""

    cpu_affinity: str = parameter(
        "processor cores that the process may use, e.g. '0,2-3'; empty: all", read_only=True, default=""
    )
    thread_priority: int = parameter(
        "real-time priority (SCHED_FIFO) of the threads that move messages and tick, not of inference; 0: none",
        least=0,
        most=99,
        read_only=True,
        default=0,
    )
    nice: int = parameter(
        "niceness of the process; lower is more urgent; 0: as it was started",
        least=-20,
        most=19,
        read_only=True,
        default=0,
    )
    trace: str = parameter(
        "file for the times at which each image passed each stage, written at the end; empty: none",
        read_only=True,
        default="",
    )

    def __post_init__(self) -> None:
        check_ranges(self)
        parse_cores(self.cpu_affinity)


def declare(node: "Node", cls: type[T]) -> T:
    """Declare every field of `cls` as a typed, described parameter and return the values in force.

    The node must have been made with `automatically_declare_parameters_from_overrides=True`: that is the public way
    to see the overrides that nobody declares, which rclpy otherwise ignores in silence.

    Raises:
        ConfigError: an unknown, missing or ill-typed parameter, or a value out of its range.
    """
    overrides = {
        name: list(value.value) if isinstance(value.value, array) else value.value
        for name, value in node.get_parameters_by_prefix("").items()
        if name.split(".")[0] not in ROS_OWN
    }
    values = config.build(overrides, cls, source_of(sys.argv[1:], node.get_name()))
    for name in overrides:
        node.undeclare_parameter(name)
    for item in dataclasses.fields(cls):  # type: ignore[arg-type]
        value = getattr(values, item.name)
        ros_value = list(value) if isinstance(value, tuple) else value
        node.declare_parameter(item.name, ros_value, _descriptor(item), ignore_override=True)
    return values


def source_of(arguments: list[str], node_name: str) -> str:
    """Where a node's parameters come from, for errors: its parameter files, or its name where there are none."""
    places = [value for flag, value in itertools.pairwise(arguments) if flag == "--params-file"]
    if places and any(flag in ("-p", "--param") for flag in arguments):
        places.append("-p")
    return " or ".join(places) or node_name


def read_parameter_file(path: Path, node_name: str, cls: type[T]) -> T:
    """Read one node's parameters from a ROS parameter file, without ROS and as strictly as the node itself.

    Raises:
        ConfigError: no such file or node in it, an unknown, missing or ill-typed parameter, or a value out of range.
    """
    content = config.parse(config.read_text(path, "parameter file"), str(path))
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: top level: expected a mapping of node names, got {content!r}")
    values: dict[str, Any] = {}
    patterns = [key for key in content if _matches(str(key), node_name)]
    if not patterns:
        raise ConfigError(f"{path}: top level: expected a section /**/{node_name}, got {', '.join(map(str, content))}")
    for pattern in patterns:
        section = content[pattern]
        if not isinstance(section, dict) or set(section) != {"ros__parameters"}:
            raise ConfigError(f"{path}: {pattern}: expected exactly one key, ros__parameters, got {section!r}")
        given = section["ros__parameters"] or {}
        if not isinstance(given, dict):
            raise ConfigError(f"{path}: {pattern}.ros__parameters: expected a mapping, got {given!r}")
        values.update(given)
    own = {key: value for key, value in values.items() if key not in ROS_OWN}
    return config.build(own, cls, str(path), f"{patterns[-1]}.ros__parameters")


def _matches(pattern: str, node_name: str) -> bool:
    """Whether a section such as `/**/command_gate`, `/**` or `command_gate` is for a node in the root namespace."""
    last = pattern.rsplit("/", 1)[-1].replace("**", "*")
    return fnmatch.fnmatchcase(node_name, last)


def _descriptor(item: "dataclasses.Field[Any]") -> Any:
    # here and not above: reading a parameter file must not need ROS
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    descriptor = ParameterDescriptor(
        name=item.name, description=item.metadata["description"], read_only=item.metadata["read_only"]
    )
    least, most = item.metadata["least"], item.metadata["most"]
    if typing.get_origin(item.type) is typing.Literal:
        descriptor.additional_constraints = " or ".join(map(str, typing.get_args(item.type)))
    if least is not None and item.type is int:
        descriptor.integer_range = [IntegerRange(from_value=least, to_value=most, step=1)]
    elif least is not None:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(least), to_value=float(most), step=0.0)]
    return descriptor
