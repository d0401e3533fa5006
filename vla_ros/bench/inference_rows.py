"""What the inference benchmark can compare: an engine and a precision, e.g. `onnx_cpu:int8`."""

from dataclasses import dataclass
from typing import get_args

from vla_ros.bundle import GraphInfo, Precision
from vla_ros.engines.engine import CPU, ENGINES
from vla_ros.engines.openvino_engine import refusal
from vla_ros.errors import ConfigError

EAGER, COMPILE = "torch_eager", "torch_compile"
OPENVINO = "openvino_cpu"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        engine: one of `engines.engine.ENGINES`, EAGER or COMPILE.
        precision: of the bundle; torch's own weights in that type.
    """

    engine: str
    precision: Precision

    @property
    def name(self) -> str:
        """As it is asked for."""
        return f"{self.engine}:{self.precision}"

    @property
    def is_torch(self) -> bool:
        """Runs `VLAPolicy` itself, not a bundle."""
        return self.engine in (EAGER, COMPILE)


EAGER_ROW = Row(EAGER, "fp32")
COMPILE_ROW = Row(COMPILE, "bf16")
BASELINES = (EAGER_ROW, COMPILE_ROW)
"""What a user without this package would run: `VLAPolicy` on the whole prompt, as it is and compiled."""
DEFAULT_ROWS = (Row("onnx_cpu", "int8"), Row(OPENVINO, "int8"), Row(OPENVINO, "bf16"))


def parse_rows(text: str) -> tuple[Row, ...]:
    """Rows of bundles, separated by commas.

    Raises:
        ConfigError: one is unknown or named twice, or cannot run.
    """
    rows = tuple(_parse(part.strip()) for part in text.split(","))
    if len(set(rows)) < len(rows):
        raise ConfigError(f"--rows: expected each row once, got {text}")
    return rows


def parse_engines(text: str) -> tuple[str, ...]:
    """Engines for a bundle, separated by commas.

    Raises:
        ConfigError: one is unknown or named twice.
    """
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in (CPU, *ENGINES):
            raise ConfigError(f"--engines: expected of {', '.join((CPU, *ENGINES))}, got {name!r}")
    if len(set(names)) < len(names):
        raise ConfigError(f"--engines: expected each engine once, got {text}")
    return names


def as_far_as_computed_here(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Without those that OpenVINO refuses on this CPU, and without torch's bf16 where it is emulated, a hundred times
    slower. Raises EngineError without a working OpenVINO."""
    return tuple(row for row in rows if row.engine == "onnx_cpu" or refusal(row.precision) is None)


def default_engines(graph: GraphInfo) -> tuple[str, ...]:
    """Both engines for CPUs, where both know the bundle's numbers: ONNX Runtime's has no 16-bit kernels."""
    if graph.compute != "fp32":
        return (OPENVINO,)
    return ("onnx_cpu", OPENVINO) if refusal(graph.precision) is None else ("onnx_cpu",)


def _parse(text: str) -> Row:
    engine, _, precision = text.partition(":")
    for known in get_args(Precision):
        if engine in ENGINES and precision == known:
            return Row(engine, known)
    raise ConfigError(
        f"--rows: expected ENGINE:PRECISION of the engines {', '.join(ENGINES)} and the precisions "
        f"{', '.join(get_args(Precision))}, e.g. onnx_cpu:int8, got {text!r}"
    )
