"""Which engine a name stands for, and what is done before the first camera frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vla_ros.bundle import Bundle, GraphInfo
from vla_ros.engines.engine import fastest_cpu_engine, resolve, warm_up
from vla_ros.engines.onnx_engine import pool_affinities
from vla_ros.errors import EngineError

GRAPH = GraphInfo(
    precision="int8",
    compute="fp32",
    buckets=(8, 20),
    kept=(),
    tolerance={"position_mm": 1.0, "rotation_deg": 1.0, "gripper_flips": 0.0},
    parity={},
    checkpoint_sha256="",
    calibration_frames=0,
    peak_memory_gib=0.0,
)
AMX, VNNI = frozenset({"avx512_vnni", "amx_int8", "amx_bf16"}), frozenset({"avx512_vnni", "avx512_bf16"})


@pytest.mark.parametrize(
    ("precision", "compute", "flags", "engine"),
    [
        ("int8", "fp32", AMX, "openvino_cpu"),
        ("int8", "fp32", VNNI, "onnx_cpu"),
        ("fp32", "fp32", AMX, "onnx_cpu"),
        ("int4", "fp32", VNNI, "onnx_cpu"),
        ("bf16", "bf16", VNNI, "openvino_cpu"),
        ("int8", "fp16", VNNI, "openvino_cpu"),
        ("fp8", "fp32", VNNI, "openvino_cpu"),
    ],
)
def test_cpu_stands_for_the_engine_that_measured_faster(precision, compute, flags, engine) -> None:  # type: ignore[no-untyped-def]
    assert fastest_cpu_engine(replace(GRAPH, precision=precision, compute=compute), flags) == engine


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(EngineError, match=r"engine: expected one of cpu, onnx_cpu, onnx_cuda, .*, got 'gpu'"):
        resolve("gpu", GRAPH)


def test_every_bucket_is_run_once_with_the_query_at_its_end(tiny_bundle: Path) -> None:
    calls: list[tuple[tuple[int, ...], tuple[int, ...], int]] = []

    class Counter:
        def infer(self, pixels: np.ndarray, text: np.ndarray, query_index: int) -> np.ndarray:
            calls.append((pixels.shape, text.shape, query_index))
            return np.zeros((4, 7), np.float32)

    bundle = Bundle.open(tiny_bundle)
    warm_up(Counter(), bundle)
    buckets = bundle.manifest.graph.buckets
    assert calls == [((1, 16, 1536), (1, tokens, 24), tokens - 1) for tokens in buckets]


def test_threads_of_the_pool_have_cores_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {2, 5, 7})
    assert pool_affinities(3) == "6;8"  # ONNX Runtime counts from one; the caller's thread is not in the pool
    assert pool_affinities(1) == ""
    assert pool_affinities(4) == ""
