"""The schema of `config/export/*.yaml`: how a policy is stored, and how far from torch it may be."""

from dataclasses import dataclass

from vla_ros.bundle import Compute, Precision
from vla_ros.config import check_numbers
from vla_ros.engines.engine import CPU, ENGINES
from vla_ros.export.parity import TOLERANCES, Tolerance

COMPUTE: dict[Precision, Compute] = {"fp16": "fp16", "bf16": "bf16"}
MOST_BUCKETS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """One file of `config/export/`.

    Attributes:
        precision: of the weights of linear layers; int8 and fp8 round what they multiply, too.
        compute: of everything else; None is fp32, and the precision where that is a 16-bit one. 16 bits are for GPUs.
        keep: patterns of linear layers that are not quantised, as `fnmatch` has them, e.g. `*.layers.0.mlp.*`; by
            default the head's, which are small and the nearest to the robot.
        smoothing: share of what is hard to round that is moved from the inputs to the weights of int8 and fp8 layers
            (SmoothQuant); 0 moves nothing.
        block_size: inputs that share one scale in int4.
        calibration_frames: real frames on which the ranges of int8 and fp8 are found, none of them a frame of the
            report.
        buckets: lengths of the text behind the image that the bundle runs [tokens]; None takes those of the data set's
            instructions, MOST_BUCKETS at most, and the longest that the prompt allows.
        tolerance: how far the answers on real frames may be from torch's; None takes the precision's.
        engine: that answers for the report.
    """

    precision: Precision
    compute: Compute | None = None
    keep: tuple[str, ...] = ("head.*",)
    smoothing: float = 0.5
    block_size: int = 128
    calibration_frames: int = 32
    buckets: tuple[int, ...] | None = None
    tolerance: Tolerance | None = None
    engine: str = CPU

    def __post_init__(self) -> None:
        check_numbers(self, "block_size", "calibration_frames", least=1)
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing: expected in [0, 1), got {self.smoothing}")
        if self.compute is not None and self.compute != COMPUTE.get(self.precision, self.compute):
            raise ValueError(f"compute: expected {self.precision}, as that is the precision, got {self.compute}")
        if self.precision == "fp32" and self.compute not in (None, "fp32"):
            raise ValueError(f"compute: expected fp32, as that is the precision, got {self.compute}")
        if self.engine not in (CPU, *ENGINES):
            raise ValueError(f"engine: expected one of {', '.join((CPU, *ENGINES))}, got {self.engine!r}")
        if self.buckets is not None:
            check_numbers(self, "buckets", least=1)

    @property
    def compute_dtype(self) -> Compute:
        """Of everything that is not quantised."""
        return self.compute or COMPUTE.get(self.precision, "fp32")

    @property
    def allowed(self) -> Tolerance:
        """How far the answers may be from torch's."""
        return self.tolerance or TOLERANCES[self.precision]

    @property
    def opset(self) -> int:
        """ONNX's: 21 has scales per block; CPUs' engines read nothing newer as fast."""
        return 21 if self.precision == "int4" else 20
