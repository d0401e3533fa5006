"""The TensorRT-RTX engine over ONNX Runtime's CPU device: sessions, bindings and copies are real, the plug-in is not.

None of these tests shows that a GPU works.
"""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from vla_ros.engines import tensorrt_rtx_engine
from vla_ros.engines.tensorrt_rtx_engine import OLDEST_ORT, PLUGIN, TensorRTRTXEngine, find_device, provider_options
from vla_ros.errors import EngineError

BUCKETS = (8, 16)
CHUNK = 4

pytestmark = pytest.mark.skipif(
    tuple(int(part) for part in ort.__version__.split(".")[:2]) < OLDEST_ORT,
    reason="Python 3.10 has an older ONNX Runtime, where this engine refuses to open",
)


def make_graph(path: Path) -> None:
    """actions[0, i, j] = sum of the pixels + 10 * the text's sum + 100 * the query's index + the weight [i, j]."""
    nodes = [
        helper.make_node("ReduceSum", ["pixel_values"], ["pixels"], keepdims=0),
        helper.make_node("ReduceSum", ["text_embeds"], ["text"], keepdims=0),
        helper.make_node("Cast", ["query_index"], ["query"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["text", "ten"], ["text10"]),
        helper.make_node("Mul", ["query", "hundred"], ["query100"]),
        helper.make_node("Sum", ["weight", "pixels", "text10", "query100"], ["actions"]),
    ]
    weight = np.arange(CHUNK * 7, dtype=np.float32).reshape(1, CHUNK, 7)
    graph = helper.make_graph(
        nodes,
        "policy",
        [
            helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [1, 2, 3]),
            helper.make_tensor_value_info("text_embeds", TensorProto.FLOAT, [1, "tokens", 5]),
            helper.make_tensor_value_info("query_index", TensorProto.INT64, [1]),
        ],
        [helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, CHUNK, 7])],
        [
            onnx.numpy_helper.from_array(weight, "weight"),
            onnx.numpy_helper.from_array(np.array(10, np.float32), "ten"),
            onnx.numpy_helper.from_array(np.array(100, np.float32), "hundred"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "policy.onnx"
    make_graph(path)
    # the graph's checks against its contract have tests of their own
    monkeypatch.setattr(tensorrt_rtx_engine, "read_graph", lambda _bundle: onnx.load(path, load_external_data=False))
    return SimpleNamespace(path=tmp_path, manifest=SimpleNamespace(graph=SimpleNamespace(buckets=BUCKETS)))


class Options(ort.SessionOptions):  # type: ignore[misc]
    """ONNX Runtime's, which notes what it was told; the CPU as the device and no CPU contradict each other."""

    entries: dict[str, str] = {}  # noqa: RUF012
    provided: dict[str, str] = {}  # noqa: RUF012

    def add_session_config_entry(self, name: str, value: str) -> None:
        self.entries[name] = value

    def add_provider_for_devices(self, devices: Any, options: dict[str, str]) -> None:
        self.provided.update(options)
        super().add_provider_for_devices(devices, {})


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> type[Options]:
    (device,) = [device for device in ort.get_ep_devices() if device.ep_name == "CPUExecutionProvider"]
    monkeypatch.setattr(tensorrt_rtx_engine, "find_device", lambda: device)
    monkeypatch.setattr(ort, "SessionOptions", Options)
    return Options


def inputs(tokens: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(-4, 5, (1, 2, 3)).astype(np.float32)
    return pixels, rng.integers(-4, 5, (1, tokens, 5)).astype(np.float32), int(rng.integers(tokens))


def test_each_bucket_answers_from_this_calls_inputs(on_the_cpu: type[Options], bundle: Any) -> None:
    engine = TensorRTRTXEngine(bundle, threads=1)
    answers = []
    for seed, tokens in enumerate((8, 16, 16, 8)):
        pixels, text, query = inputs(tokens, seed)
        base = np.arange(CHUNK * 7, dtype=np.float32).reshape(CHUNK, 7)
        answers.append((engine.infer(pixels, text, query), base + pixels.sum() + 10 * text.sum() + 100 * query))
    for answer, expected in answers:  # afterwards: an answer stays when the next one comes
        np.testing.assert_array_equal(answer, expected)


def test_no_node_may_fall_back_to_the_cpu(on_the_cpu: type[Options], bundle: Any) -> None:
    TensorRTRTXEngine(bundle, threads=1)
    assert on_the_cpu.entries["session.disable_cpu_ep_fallback"] == "1"
    assert on_the_cpu.provided["enable_cuda_graph"] == "1"


def test_each_bucket_has_its_own_profile_and_its_own_captured_graph(
    on_the_cpu: type[Options], bundle: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[dict[str, str]] = []

    class Run(ort.RunOptions):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            runs.append({})

        def add_run_config_entry(self, name: str, value: str) -> None:
            runs[-1][name] = value

    monkeypatch.setattr(ort, "RunOptions", Run)
    TensorRTRTXEngine(bundle, threads=1)
    assert runs == [
        {"nv_profile_index": "0", "cuda_graph_annotation_id": "1"},
        {"nv_profile_index": "1", "cuda_graph_annotation_id": "2"},
    ]


def test_profiles_name_every_input_once_a_bucket() -> None:
    options = provider_options({"pixel_values": (1, 2, 3), "text_embeds": (1, None, 5), "query_index": (1,)}, BUCKETS)
    expected = "pixel_values:1x2x3,text_embeds:1x8x5,query_index:1,pixel_values:1x2x3,text_embeds:1x16x5,query_index:1"
    assert {options[f"nv_profile_{end}_shapes"] for end in ("min", "opt", "max")} == {expected}
    assert options["nv_multi_profile_enable"] == "1"


def test_an_input_of_another_shape_is_refused(on_the_cpu: type[Options], bundle: Any) -> None:
    engine = TensorRTRTXEngine(bundle, threads=1)
    pixels, text, query = inputs(8, 0)
    with pytest.raises(EngineError, match=r"policy\.onnx: tokens: expected one of \[8, 16\], got 9"):
        engine.infer(pixels, np.zeros((1, 9, 5), np.float32), query)
    with pytest.raises(EngineError, match=r"policy\.onnx: pixel_values: expected \[1, 2, 3\], got \[1, 1, 3\]"):
        engine.infer(pixels[:, :1], text, query)


def test_without_the_plug_in_the_error_says_what_to_install(bundle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", None)
    with pytest.raises(
        EngineError, match=r"TensorRT-RTX: expected its plug-in, got: .*; pip install onnxruntime-ep-nv"
    ):
        TensorRTRTXEngine(bundle, threads=1)


def test_without_a_driver_the_error_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "libno.so"
    monkeypatch.setitem(
        sys.modules, "onnxruntime_ep_nv_tensorrt_rtx", SimpleNamespace(get_library_path=lambda: str(library))
    )
    with pytest.raises(EngineError, match=r"TensorRT-RTX: expected an NVIDIA driver with CUDA 13, got: .*libno\.so"):
        find_device()


def test_without_an_rtx_gpu_it_does_not_open_and_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_rtx_engine, "_register", lambda: None)
    with pytest.raises(
        EngineError, match=r"expected an NVIDIA RTX GPU \(Ampere or newer\), got none; have CPUExecution"
    ):
        find_device()
    assert PLUGIN not in {device.ep_name for device in ort.get_ep_devices()}


def test_an_older_onnx_runtime_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "__version__", "1.23.2")
    with pytest.raises(EngineError, match=r"onnxruntime: expected >= 1\.31 .*, got 1\.23\.2; pip install --upgrade"):
        find_device()
