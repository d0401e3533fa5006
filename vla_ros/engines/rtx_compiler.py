"""Does this graph build for RTX GPUs? Answered by TensorRT-RTX's ahead-of-time compiler, on a machine without a GPU.

NVIDIA documents that its builder needs no GPU, and that by default the engine serves every RTX GPU from Ampere on; the
machine-specific rest is compiled when such an engine is loaded. So a build here shows that every operator, type and
Q/DQ pair is accepted. It shows neither that the engine runs nor how fast: nothing is executed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vla_ros.engines.rtx_library import RtxLibrary, library_folder
from vla_ros.errors import EngineError

TIMEOUT_S = 1800.0
ANSWER = "RtxBuild "  # parts of the compiler write to stdout as well
REFUSED = 3  # an exit code that neither Python nor a crash gives


@dataclass(frozen=True, slots=True, kw_only=True)
class RtxBuild:
    """A graph that builds.

    Attributes:
        version: of TensorRT-RTX.
        layers: of the parsed network.
        engine_bytes: size of the engine.
        duration_s: parsing and compiling.
        warnings: what TensorRT-RTX logged and printed meanwhile.
    """

    version: str
    layers: int
    engine_bytes: int
    duration_s: float
    warnings: tuple[str, ...]


def build_for_rtx(graph: Path, buckets: Sequence[int], timeout_s: float = TIMEOUT_S) -> RtxBuild:
    """Parse and compile a graph, in a process of its own.

    Args:
        graph: an ONNX file; external data stands beside it.
        buckets: what its symbolic dimension `tokens` is, one optimisation profile each.
        timeout_s: how long that may take [s].

    Raises:
        EngineError: the wheel is missing, or TensorRT-RTX refuses the graph, crashes on it or takes too long.
    """
    library_folder()  # says what to install, before a process starts
    command = [sys.executable, "-m", __name__, str(graph), *(str(bucket) for bucket in buckets)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{graph}: TensorRT-RTX: expected an engine within {timeout_s:g} s, got none") from error
    reason = " ".join(done.stderr.split())
    if done.returncode == REFUSED:
        raise EngineError(reason)
    if done.returncode:  # it crashes on some graphs that it could refuse
        crash = f"exit code {done.returncode} {reason}".strip()
        raise EngineError(f"{graph}: expected a graph for TensorRT-RTX, got: its compiler died, {crash}")
    *printed, answer = sorted(done.stdout.splitlines(), key=lambda line: line.startswith(ANSWER))
    fields = json.loads(answer.removeprefix(ANSWER))
    return RtxBuild(**fields | {"warnings": (*fields["warnings"], *printed)})


def main(arguments: Sequence[str] | None = None) -> int:
    """One graph, in this process; prints an `RtxBuild`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph", type=Path, help="policy.onnx")
    parser.add_argument("buckets", type=int, nargs="+", help="values of the symbolic dimension `tokens`")
    options = parser.parse_args(arguments)
    try:
        result = _build(options.graph, options.buckets)
    except EngineError as error:
        print(error, file=sys.stderr)
        return REFUSED
    print(ANSWER + json.dumps(asdict(result)))
    return 0


def _build(graph: Path, buckets: Sequence[int]) -> RtxBuild:
    library = RtxLibrary()
    start = time.monotonic()
    built = library.build(graph, buckets)
    return RtxBuild(
        version=library.version,
        layers=built.layers,
        engine_bytes=len(built.engine),
        duration_s=time.monotonic() - start,
        warnings=tuple(library.log),
    )


if __name__ == "__main__":
    sys.exit(main())
