"""The parameters of policy_node."""

from dataclasses import dataclass
from typing import Literal

from vla_ros.node.parameters import ProcessParameters, parameter

ImageTransport = Literal["raw", "compressed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyParameters(ProcessParameters):
    """Parameters of policy_node; see each description."""

    bundle: str = parameter("policy bundle: a folder, absolute or relative to the working directory")
    engine: str = parameter(
        "inference engine: cpu (the fastest on this CPU), onnx_cpu, openvino_cpu, onnx_cuda, onnx_tensorrt, tensorrt, "
        "tensorrt_rtx",
        default="cpu",
    )
    threads: int = parameter("threads of the inference engine", least=1, most=1024, default=1)
    inference_priority: int = parameter(
        "real-time priority (SCHED_FIFO) of the thread that waits for the engine, below thread_priority; 0: none. For "
        "engines that compute on a GPU: on a CPU it keeps everything else from its core while it computes",
        least=0,
        most=98,
        default=0,
    )
    image_transport: ImageTransport = parameter(  # noqa: RUF009 (a field, not a shared default)
        "raw (sensor_msgs/Image on image) or compressed (sensor_msgs/CompressedImage on image/compressed: JPEG or PNG)",
        read_only=True,
        default="raw",
    )
    image_timeout_s: float = parameter(
        "frames older than this are refused, and without an admissible one for longer than this the node holds: more "
        "than the camera's period [s]; not used in lockstep",
        least=0.001,
        most=60.0,
        default=0.2,
    )
    max_identical_frames: int = parameter(
        "more frames in a row than this with the same pixels are refused, as of a camera that froze; 0: never, for "
        "simulators, whose world may stand still",
        least=0,
        most=100000,
        default=0,
    )
    inference_timeout_s: float = parameter(
        "an inference that takes longer is given up and the node holds; three in a row are a fault [s]",
        least=0.001,
        most=600.0,
        default=2.0,
    )
    lockstep: bool = parameter(
        "a simulator owns the time and waits for the policy: stamps are checked for their order only",
        read_only=True,
        default=False,
    )
    autostart: bool = parameter("configure and activate at start, without a lifecycle manager", default=False)

    def __post_init__(self) -> None:
        ProcessParameters.__post_init__(self)
        if not self.bundle:
            raise ValueError("bundle: expected a folder, got an empty string")
        if self.inference_priority and self.inference_priority >= self.thread_priority:
            raise ValueError(
                f"inference_priority: expected less than thread_priority, {self.thread_priority}, "
                f"got {self.inference_priority}"
            )
