"""Recordings by mcap-ros2-support's own writer, whole and damaged."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from mcap_ros2.writer import Writer

from vla_ros.processing.image_message import pixels_of

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
    "trajectory_msgs/msg/JointTrajectory": "std_msgs/Header header\nstring[] joint_names\n"
    f"trajectory_msgs/JointTrajectoryPoint[] points\n{_HEADER}\n{_RULE}\nMSG: trajectory_msgs/JointTrajectoryPoint\n"
    "float64[] positions\nfloat64[] velocities\nfloat64[] accelerations\nfloat64[] effort\n"
    f"builtin_interfaces/Duration time_from_start\n{_RULE}\n"
    "MSG: builtin_interfaces/Duration\nint32 sec\nuint32 nanosec\n",
    "diagnostic_msgs/msg/DiagnosticArray": "std_msgs/Header header\ndiagnostic_msgs/DiagnosticStatus[] status\n"
    f"{_HEADER}\n{_RULE}\nMSG: diagnostic_msgs/DiagnosticStatus\nbyte level\nstring name\nstring message\n"
    f"string hardware_id\ndiagnostic_msgs/KeyValue[] values\n{_RULE}\n"
    "MSG: diagnostic_msgs/KeyValue\nstring key\nstring value\n",
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


CHUNKS = "/policy_node/action_chunk"


def chunk(time_s: float, seen_s: float, rows: np.ndarray, topic: str = CHUNKS, **changes: Any) -> Entry:
    """The answer, sent at `time_s`, to the image of `seen_s`: rows [n, 7], one every 50 ms."""
    points = [
        {
            "positions": row.tolist(),
            **{key: [] for key in ("velocities", "accelerations", "effort")},
            "time_from_start": {"sec": 0, "nanosec": k * 50_000_000},
        }
        for k, row in enumerate(rows)
    ]
    names = ["x", "y", "z", "rx", "ry", "rz", "gripper"]
    fields = {"header": header(seen_s, "base"), "joint_names": names, "points": points}
    return Entry(time_s, topic, "trajectory_msgs/msg/JointTrajectory", fields | changes)


def diagnostics(time_s: float, **values: str) -> Entry:
    """As policy_node says which policy runs."""
    pairs = [{"key": key, "value": value} for key, value in values.items()]
    status = {"level": 0, "name": "policy_node", "message": "ACTIVE", "hardware_id": "", "values": pairs}
    fields = {"header": header(time_s, ""), "status": [status]}
    return Entry(time_s, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", fields)


def run(images: int = 6) -> list[Entry]:
    """A policy that answers every other image 30 ms later, and is told something else after two answers."""
    echo = "/policy_node/instruction"
    entries = [text(0.0, "open"), text(0.001, "open", echo), diagnostics(0.002, bundle_sha256="a" * 64, engine="cpu")]
    for k in range(images):
        entries.append(image(0.05 + 0.05 * k, frame(k)))
        if k % 2 == 0:
            entries.append(chunk(0.08 + 0.05 * k, 0.05 + 0.05 * k, rows_of(k)))
    return [*entries, text(0.19, "close"), text(0.191, "close", echo)]


def rows_of(number: int) -> np.ndarray:
    return np.arange(14.0).reshape(2, 7) / 1000 + number


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


def rosbag2_with_png(recording: Path, folder: Path, names: dict[str, str]) -> Path:
    """A rosbag2 folder of two files with these topics of a recording under other names, its images as PNG."""
    entries = []
    with recording.open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        for schema, channel, message, decoded in reader.iter_decoded_messages(list(names)):
            kind, fields = schema.name, {name: getattr(decoded, name) for name in decoded.__slots__}
            if kind == "sensor_msgs/msg/Image":
                kind, pixels = "sensor_msgs/msg/CompressedImage", pixels_of(decoded, lambda *_: AssertionError())
                data = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
                fields = {"header": decoded.header, "format": "png", "data": data}
            entries.append(Entry((message.log_time - START_NS) / NS, names[channel.topic], kind, fields))
    folder.mkdir()
    half = len(entries) // 2
    write(folder / "bag_0.mcap", entries[:half])
    write(folder / "bag_1.mcap", entries[half:])
    (folder / "metadata.yaml").write_text(
        "rosbag2_bagfile_information: {storage_identifier: mcap, relative_file_paths: [bag_0.mcap, bag_1.mcap]}"
    )
    return folder


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
