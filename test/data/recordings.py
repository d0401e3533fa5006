"""Recordings by mcap-ros2-support's own writer, whole and damaged."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from mcap_ros2.writer import Writer

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS

_RULE = "=" * 80
_TIME = f"\n{_RULE}\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
_HEADER = f"\n{_RULE}\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n{_TIME}"
_VECTOR = f"\n{_RULE}\nMSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z\n"
DEFINITIONS = {
    "std_msgs/msg/String": "string data\n",
    "std_msgs/msg/Bool": "bool data\n",
    "sensor_msgs/msg/Image": "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
    f"uint8 is_bigendian\nuint32 step\nuint8[] data\n{_HEADER}",
    "sensor_msgs/msg/CompressedImage": f"std_msgs/Header header\nstring format\nuint8[] data\n{_HEADER}",
    "geometry_msgs/msg/TwistStamped": "std_msgs/Header header\ngeometry_msgs/Twist twist\n"
    f"{_HEADER}\n{_RULE}\nMSG: geometry_msgs/Twist\n"
    f"geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular\n{_VECTOR}",
    "geometry_msgs/msg/PoseStamped": f"std_msgs/Header header\ngeometry_msgs/Pose pose\n{_HEADER}\n{_RULE}\n"
    "MSG: geometry_msgs/Pose\ngeometry_msgs/Point position\ngeometry_msgs/Quaternion orientation\n"
    f"{_RULE}\nMSG: geometry_msgs/Point\nfloat64 x\nfloat64 y\nfloat64 z\n"
    f"{_RULE}\nMSG: geometry_msgs/Quaternion\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n",
    "sensor_msgs/msg/JointState": "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\n"
    f"float64[] effort\n{_HEADER}",
}


@dataclass(slots=True)
class Entry:
    """One message: when it was recorded [s] since the start, its topic, type and fields."""

    time_s: float
    topic: str
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)


def header(time_s: float, frame_id: str) -> dict[str, Any]:
    stamp_ns = START_NS + round(time_s * NS)
    return {"stamp": {"sec": stamp_ns // NS, "nanosec": stamp_ns % NS}, "frame_id": frame_id}


def text(time_s: float, data: str, topic: str = "/instruction") -> Entry:
    return Entry(time_s, topic, "std_msgs/msg/String", {"data": data})


def image(time_s: float, pixels: np.ndarray, encoding: str = "rgb8", **changes: Any) -> Entry:
    fields = {
        "header": header(time_s, "camera"),
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "encoding": encoding,
        "is_bigendian": 0,
        "step": pixels[0].nbytes,
        "data": pixels.tobytes(),
    }
    return Entry(time_s, "/image", "sensor_msgs/msg/Image", fields | changes)


def compressed(time_s: float, data: bytes, kind: str = "jpeg") -> Entry:
    fields = {"header": header(time_s, "camera"), "format": kind, "data": data}
    return Entry(time_s, "/image", "sensor_msgs/msg/CompressedImage", fields)


def twist(
    time_s: float, linear: tuple[float, ...], angular: tuple[float, ...] = (0, 0, 0), frame: str = "base"
) -> Entry:
    named = [dict(zip("xyz", map(float, values), strict=True)) for values in (linear, angular)]
    fields = {"header": header(time_s, "base"), "twist": {"linear": named[0], "angular": named[1]}}
    return Entry(time_s, "/delta_twist_cmds", "geometry_msgs/msg/TwistStamped", fields)


def pose(time_s: float, position: tuple[float, ...], quaternion: tuple[float, ...] = (0, 0, 0, 1)) -> Entry:
    where = dict(zip("xyz", map(float, position), strict=True))
    turn = dict(zip("xyzw", map(float, quaternion), strict=True))
    fields = {"header": header(time_s, "base"), "pose": {"position": where, "orientation": turn}}
    return Entry(time_s, "/ee_pose", "geometry_msgs/msg/PoseStamped", fields)


def gripper(time_s: float, position: float, name: str = "gripper") -> Entry:
    fields = {"header": header(time_s, ""), "name": [name], "position": [position], "velocity": [], "effort": []}
    return Entry(time_s, "/gripper_command", "sensor_msgs/msg/JointState", fields)


def demonstration(steps: int = 10) -> list[Entry]:
    """Ten steps at 20 Hz as `command_gate` sends them: frame k is of colour (k, 100, 200) and x moves at 0.1 k m/s."""
    entries = [text(0.0, "put the soup in the basket")]
    for k in range(steps):
        time_s = 0.05 * k
        entries += [
            image(time_s, frame(k)),
            twist(time_s, (0.1 * k, 0, 0), (0, 0, 0.2)),
            gripper(time_s, float(k < 5)),
        ]
    return entries


def frame(step: int) -> np.ndarray:
    return np.full((6, 8, 3), (step, 100, 200), np.uint8)


def write(path: Path, entries: list[Entry]) -> Path:
    """An MCAP file with these messages; other topics keep the order of the list."""
    writer = Writer(str(path))
    schemas = {kind: writer.register_msgdef(kind, DEFINITIONS[kind]) for kind in {entry.kind for entry in entries}}
    for entry in entries:
        log_time = START_NS + round(entry.time_s * NS)
        message = SimpleNamespace(**entry.fields)
        writer.write_message(entry.topic, schemas[entry.kind], message, log_time, log_time)
    writer.finish()
    return path
