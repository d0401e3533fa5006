"""The native TensorRT engine over stand-ins for TensorRT and CUDA: no test here shows that a GPU works."""

import gc
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from test.engines.fake_gpu import FEATURES, HIDDEN, PATCHES, FakeCuda, FakeTensorRT, Status, expected_actions
from vla_ros.engines import cuda, tensorrt_engine
from vla_ros.engines.tensorrt_engine import TensorRTEngine
from vla_ros.errors import BundleError, EngineError

BUCKETS = (8, 16)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    for name, module in (("cuda", ModuleType("cuda")), ("cuda.bindings", SimpleNamespace(runtime=fake))):
        monkeypatch.setitem(sys.modules, name, module)
    return fake


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: FakeCuda) -> FakeTensorRT:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake = FakeTensorRT(runtime)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    return fake


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(tensorrt_engine, "read_graph", lambda _bundle: None)  # there is no file
    files = {
        name: SimpleNamespace(sha256=letter * 64) for name, letter in (("policy.onnx", "a"), ("policy.onnx.data", "b"))
    }
    return SimpleNamespace(
        path=tmp_path / "bundle", manifest=SimpleNamespace(graph=SimpleNamespace(buckets=BUCKETS), files=files)
    )


def inputs(tokens: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(-4, 5, (1, PATCHES, FEATURES)).astype(np.float32)
    return pixels, rng.integers(-4, 5, (1, tokens, HIDDEN)).astype(np.float32), int(rng.integers(tokens))


def test_each_bucket_answers_from_this_calls_inputs(trt: FakeTensorRT, bundle: Any) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    for seed, tokens in enumerate((8, 16, 16, 8, 8)):
        arguments = inputs(tokens, seed)
        answer = engine.infer(*arguments)
        assert answer.dtype == np.float32
        np.testing.assert_array_equal(answer, expected_actions(*arguments))


def test_an_answer_stays_when_the_next_one_comes(trt: FakeTensorRT, bundle: Any) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    first = engine.infer(*inputs(8, 1))
    kept = first.copy()
    engine.infer(*inputs(8, 2))
    np.testing.assert_array_equal(first, kept)


def test_there_is_one_profile_a_bucket_with_exactly_its_shape(trt: FakeTensorRT, bundle: Any) -> None:
    TensorRTEngine(bundle, threads=3)
    (built,) = trt.built
    assert built.graph == str(bundle.path / "policy.onnx")
    assert built.threads == 3
    assert built.profiles == [
        {
            "pixel_values": ((1, PATCHES, FEATURES),) * 3,
            "text_embeds": ((1, tokens, HIDDEN),) * 3,
            "query_index": ((1,),) * 3,
        }
        for tokens in BUCKETS
    ]
    assert [context.profile for context in trt.contexts] == [0, 1]


@pytest.mark.parametrize(("flag", "flags"), [(1, 2), (0, 1), (None, 0)], ids=["10.x", "11.x", "without the flag"])
def test_the_network_is_strongly_typed_and_float32_stays_float32(
    trt: FakeTensorRT, bundle: Any, flag: int | None, flags: int
) -> None:
    names = {} if flag is None else {"STRONGLY_TYPED": flag}
    trt.NetworkDefinitionCreationFlag = SimpleNamespace(**names)
    TensorRTEngine(bundle, threads=1)
    assert trt.built[0].flags == flags
    assert trt.built[0].cleared == ["TF32"]


def test_after_opening_a_call_allocates_nothing_and_launches_once(
    trt: FakeTensorRT, runtime: FakeCuda, bundle: Any
) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    runtime.calls.clear()
    engine.infer(*inputs(16))
    assert runtime.calls == ["cudaGraphLaunch"]


def test_the_cached_engine_is_used_again_and_its_key_names_everything(
    trt: FakeTensorRT, bundle: Any, tmp_path: Path
) -> None:
    TensorRTEngine(bundle, threads=1)
    TensorRTEngine(bundle, threads=2)  # threads change how fast it is built, not what comes out
    assert len(trt.built) == 1
    (record,) = (tmp_path / "cache/vla_ros/tensorrt").glob("*.json")
    assert json.loads(record.read_text())["key"] == {
        "graph_sha256": "a" * 64,
        "data_sha256": "b" * 64,
        "tensorrt_version": "10.3.0",
        "gpu": "Orin",
        "compute_capability": "8.7",
        "flags": ["strongly_typed", "no_tf32"],
        "buckets": [8, 16],
    }


def test_another_gpu_or_tensorrt_builds_its_own_engine(trt: FakeTensorRT, runtime: FakeCuda, bundle: Any) -> None:
    TensorRTEngine(bundle, threads=1)
    runtime.name = "NVIDIA Thor"
    TensorRTEngine(bundle, threads=1)
    trt.__version__ = "11.1.0"
    TensorRTEngine(bundle, threads=1)
    assert len(trt.built) == 3


@pytest.mark.parametrize(
    ("refused", "complaint"),
    [
        ("parse", r"policy\.onnx: expected a graph for TensorRT 10\.3\.0, got: In node 3 \(importNonZero\)"),
        (
            "build",
            r"policy\.onnx: expected an engine of TensorRT 10\.3\.0, got: Error Code 2: OutOfMemory \(no further inf",
        ),
        ("deserialize", r"policy\.onnx: expected an engine that TensorRT 10\.3\.0 loads, got: serialised with another"),
        ("context", r"policy\.onnx: tokens 8: expected room on the GPU for a context, got: cudaMalloc of 3 GiB failed"),
        ("execute", r"policy\.onnx: expected a forward pass, got: nothing, and no reason"),
    ],
)
def test_what_tensorrt_refuses_does_not_open_and_the_reason_is_told(
    trt: FakeTensorRT, bundle: Any, refused: str, complaint: str
) -> None:
    trt.refuses = refused
    with pytest.raises(EngineError, match=complaint) as error:
        TensorRTEngine(bundle, threads=1)
    assert "\n" not in str(error.value)
    assert "only a warning" not in str(error.value)


@pytest.mark.parametrize("function", ["cudaMalloc", "cudaHostAlloc"])
def test_full_memory_does_not_open(trt: FakeTensorRT, runtime: FakeCuda, bundle: Any, function: str) -> None:
    runtime.fail[function] = Status.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match=rf"CUDA: {function}: expected success, got: text of 2 \(cudaErrorMemoryAll"):
        TensorRTEngine(bundle, threads=1)


@pytest.mark.parametrize("function", ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphInstantiate"])
def test_a_pass_that_cannot_be_captured_does_not_open(
    trt: FakeTensorRT, runtime: FakeCuda, bundle: Any, function: str
) -> None:
    runtime.fail[function] = Status.cudaErrorStreamCaptureUnsupported
    with pytest.raises(EngineError, match=rf"CUDA: {function}: .* \(cudaErrorStreamCaptureUnsupported\)"):
        TensorRTEngine(bundle, threads=1)


def test_a_kernel_that_fails_is_an_error_of_that_call(trt: FakeTensorRT, runtime: FakeCuda, bundle: Any) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    runtime.fail["kernel"] = Status.cudaErrorLaunchFailure
    with pytest.raises(EngineError, match=r"cudaStreamQuery: .* \(cudaErrorLaunchFailure\)"):
        engine.infer(*inputs(8))


def test_a_gpu_that_hangs_is_given_up(
    trt: FakeTensorRT, runtime: FakeCuda, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    runtime.pending = 10**9
    now = iter(range(0, 10**6, 3))
    monkeypatch.setattr(cuda.time, "monotonic", lambda: float(next(now)))
    with pytest.raises(EngineError, match="expected an answer of the GPU within 10 s, got none"):
        engine.infer(*inputs(8))


def test_an_input_of_another_shape_is_refused_not_broadcast(trt: FakeTensorRT, bundle: Any) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    pixels, text, query = inputs(8)
    with pytest.raises(EngineError, match=r"tokens: expected one of \[8, 16\], got 9"):
        engine.infer(pixels, np.zeros((1, 9, HIDDEN), np.float32), query)
    with pytest.raises(EngineError, match=r"pixel_values: expected \[1, 2, 3\], got \[1, 1, 3\]"):
        engine.infer(pixels[:, :1], text, query)
    with pytest.raises(EngineError, match=r"text_embeds: expected \[1, 8, 5\], got \[1, 8, 1\]"):
        engine.infer(pixels, text[:, :, :1], query)


def test_a_graph_with_other_tensors_does_not_open(trt: FakeTensorRT, bundle: Any) -> None:
    trt.dtypes["query_index"] = "i4"
    with pytest.raises(EngineError, match="query_index: expected int64, got int32"):
        TensorRTEngine(bundle, threads=1)
    trt.shape_tensors = {"pixel_values"}
    with pytest.raises(EngineError, match="pixel_values: expected a tensor of values, got one that decides on shapes"):
        TensorRTEngine(bundle, threads=1)
    trt.names = ["input_ids", "actions"]
    with pytest.raises(EngineError, match=r"tensors: expected \['actions', .*\], got \['actions', 'input_ids'\]"):
        TensorRTEngine(bundle, threads=1)


def test_the_graph_is_checked_before_tensorrt_parses_it(
    trt: FakeTensorRT, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_bundle: Any) -> None:
        raise BundleError("policy.onnx: weights elsewhere")

    monkeypatch.setattr(tensorrt_engine, "read_graph", refuse)
    with pytest.raises(BundleError, match="weights elsewhere"):
        TensorRTEngine(bundle, threads=1)
    assert trt.built == []


def test_without_tensorrt_the_error_says_where_it_comes_from(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(
        EngineError, match=r"tensorrt: expected NVIDIA's Python package, got: .*; on a Jetson it is part"
    ):
        TensorRTEngine(bundle, threads=1)


def test_without_cuda_bindings_the_error_says_what_to_install(
    trt: FakeTensorRT, bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.delitem(sys.modules, "cuda.bindings")
    with pytest.raises(EngineError, match=r"CUDA: expected the Python package cuda-bindings, got: .*; pip install"):
        TensorRTEngine(bundle, threads=1)


def test_an_engine_that_is_dropped_gives_all_its_memory_back(trt: FakeTensorRT, runtime: FakeCuda, bundle: Any) -> None:
    engine = TensorRTEngine(bundle, threads=1)
    allocated = {name: runtime.calls.count(name) for name in ("cudaMalloc", "cudaHostAlloc")}
    assert allocated == {"cudaMalloc": 8, "cudaHostAlloc": 8}
    trt.contexts.clear()
    del engine
    gc.collect()
    assert runtime.calls.count("cudaFree") == 8
    assert runtime.calls.count("cudaFreeHost") == 8
    assert runtime.calls.count("cudaGraphExecDestroy") == len(BUCKETS)
    assert runtime.calls[-1] == "cudaStreamDestroy"
