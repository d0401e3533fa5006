"""What every engine must do, on a bundle of every precision that it runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from vla_ros.bundle import Bundle
from vla_ros.cli import main
from vla_ros.engines.engine import Engine, open_engine
from vla_ros.engines.graph_file import read_graph
from vla_ros.engines.onnx_engine import OnnxCpuEngine
from vla_ros.engines.openvino_engine import refusal
from vla_ros.engines.policy_runner import PolicyRunner
from vla_ros.errors import EngineError
from vla_ros.export.torch_engine import TorchEngine
from vla_ros.export.trained import load_run
from vla_ros.observation import Observation

PRECISIONS = ("fp32", "fp16", "int8", "int4", "fp8")
"""On every CPU. bf16 has a fixture of its own: on a CPU that does not compute it, its export is refused."""
RUNS = [
    ("onnx_cpu", "fp32"),
    ("onnx_cpu", "int8"),
    ("onnx_cpu", "int4"),
    ("onnx_cpu", "fp8"),
    *(("openvino_cpu", precision) for precision in (*PRECISIONS, "bf16")),
]
"""16 bits are beyond ONNX Runtime's CPU kernels."""

TOLERANCE = {"fp32": 1e-5, "fp16": 5e-3, "bf16": 6e-2, "int8": 5e-2, "int4": 0.5, "fp8": 0.4}
"""Of the largest output: a few of a format's own steps (2**-11, 2**-8, 1/127, 1/7, 2**-4), as each layer adds one."""

EXPORT = "precision: {precision}\nblock_size: 8\ncalibration_frames: 8\n"
LOOSE = "tolerance: {position_mm: 1000.0, rotation_deg: 180.0, gripper_flips: 1.0}\n"
"""Noise in, noise out: what a policy of four updates does with a metre's tolerance is not at stake here."""


@pytest.fixture(scope="session")
def bundles(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of every precision."""
    folder = tmp_path_factory.mktemp("precisions")
    for precision in PRECISIONS:
        assert export(tiny_run, folder, precision) == 0
    return {precision: folder / precision for precision in PRECISIONS}


@pytest.fixture(scope="session")
def bf16_bundle(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if why := refusal("bf16"):
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("bf16")
    assert export(tiny_run, folder, "bf16") == 0
    return folder / "bf16"


def export(run: Path, folder: Path, precision: str) -> int:
    """The command's exit status."""
    config = folder / f"{precision}.yaml"
    config.write_text(EXPORT.format(precision=precision) + LOOSE)
    return main(["export", str(run), "--config", str(config), "--output", str(folder / precision), "--frames", "4"])


@pytest.fixture(scope="session")
def torch_engine(tiny_run: Path) -> TorchEngine:
    return TorchEngine(load_run(tiny_run)[0])


@pytest.fixture
def feed(bundles: dict[str, Path]) -> tuple[np.ndarray, np.ndarray, int]:
    """The golden observation, as an engine is given it: noise is nothing that quantisation was calibrated for."""
    bundle = Bundle.open(bundles["fp32"])
    recorder = _Recorder()
    runner = PolicyRunner(bundle, recorder)
    probe = runner.read_golden(bundle)
    runner.outputs(Observation(image=probe.image, instruction=probe.instruction, stamp_ns=0))
    assert recorder.feed is not None
    return recorder.feed


class _Recorder:
    """Keeps what it is asked."""

    feed: tuple[np.ndarray, np.ndarray, int] | None = None

    def infer(self, pixel_values: np.ndarray, text_embeds: np.ndarray, query_index: int) -> np.ndarray:
        self.feed = pixel_values, text_embeds, query_index
        return np.zeros((4, 7), np.float32)


@pytest.fixture(scope="session", params=RUNS, ids=" ".join)
def run(request: pytest.FixtureRequest, bundles: dict[str, Path]) -> tuple[Engine, str]:
    name, precision = request.param
    if name == "openvino_cpu" and (why := refusal(precision)):
        pytest.skip(why)
    path = request.getfixturevalue("bf16_bundle") if precision == "bf16" else bundles[precision]
    return open_engine(name, Bundle.open(path), threads=1), precision


def test_it_answers_as_torch_does(
    run: tuple[Engine, str], torch_engine: TorchEngine, feed: tuple[np.ndarray, np.ndarray, int]
) -> None:
    engine, precision = run
    expected, got = torch_engine.infer(*feed), engine.infer(*feed)
    assert got.dtype == np.float32
    assert got.shape == expected.shape == (4, 7)
    error = np.abs(got - expected).max() / np.abs(expected).max()
    assert error <= TOLERANCE[precision]


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_both_cpu_engines_round_as_the_graph_says(
    bundles: dict[str, Path], feed: tuple[np.ndarray, np.ndarray, int], precision: str, torch_engine: TorchEngine
) -> None:
    """Far closer to each other than either is to torch's unrounded answer."""
    if why := refusal(precision):
        pytest.skip(why)
    engines = [open_engine(name, Bundle.open(bundles[precision]), threads=1) for name in ("onnx_cpu", "openvino_cpu")]
    first, second = (engine.infer(*feed) for engine in engines)
    assert np.abs(first - second).max() < 0.1 * np.abs(first - torch_engine.infer(*feed)).max()


def test_every_bucket_runs_and_padding_changes_next_to_nothing(
    run: tuple[Engine, str], bundles: dict[str, Path], feed: tuple[np.ndarray, np.ndarray, int]
) -> None:
    engine, _ = run
    pixels, text, query_index = feed
    longest = Bundle.open(bundles["fp32"]).manifest.graph.buckets[-1]
    padded = np.concatenate([text, np.zeros((1, longest - text.shape[1], text.shape[2]), np.float32)], axis=1)
    short, long = engine.infer(pixels, text, query_index), engine.infer(pixels, padded, query_index)
    assert np.abs(short - long).max() <= 1e-2 * np.abs(short).max()


def test_the_same_input_gives_the_same_bits_and_answers_stay(
    run: tuple[Engine, str], feed: tuple[np.ndarray, np.ndarray, int]
) -> None:
    engine, _ = run
    pixels, text, query_index = feed
    first = engine.infer(pixels, text, query_index)
    kept = first.copy()
    engine.infer(-pixels, text, query_index)
    np.testing.assert_array_equal(first, kept)  # not a view of a buffer that is written again
    np.testing.assert_array_equal(engine.infer(pixels, text, query_index), first)


@pytest.mark.parametrize("name", ["onnx_cpu", "openvino_cpu"])
def test_two_threads_on_cores_of_their_own_answer_as_one_does(
    bundles: dict[str, Path], feed: tuple[np.ndarray, np.ndarray, int], name: str
) -> None:
    one, two = (open_engine(name, Bundle.open(bundles["fp32"]), threads=threads) for threads in (1, 2))
    np.testing.assert_allclose(two.infer(*feed), one.infer(*feed), atol=1e-5)


def test_an_engine_that_cannot_run_a_precision_does_not_open(bundles: dict[str, Path]) -> None:
    with pytest.raises(EngineError, match=r"compute: expected fp32 for onnx_cpu, got fp16; openvino_cpu runs"):
        open_engine("onnx_cpu", Bundle.open(bundles["fp16"]), threads=1)


def test_onnx_runtime_is_asked_for_exact_8_bit_products() -> None:
    """On this CPU it may make no difference: what saturates is x86 before VNNI."""
    options = OnnxCpuEngine.__new__(OnnxCpuEngine).options(threads=1)
    assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_openvino_does_not_open_what_this_cpu_would_compute_otherwise(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vla_ros.engines.openvino_engine.cpu_flags", lambda: frozenset({"sse2", "avx2"}))
    complaint = r"precision: expected a CPU that sums int8 products in 32 bits .*; onnx_cpu runs compute: fp32"
    with pytest.raises(EngineError, match=complaint):
        open_engine("openvino_cpu", Bundle.open(bundles["int8"]), threads=1)
    monkeypatch.setattr("vla_ros.engines.openvino_engine.cpu_flags", lambda: frozenset({"sse2", "avx_vnni"}))
    open_engine("openvino_cpu", Bundle.open(bundles["int8"]), threads=1)


def test_bf16_is_not_exported_where_the_cpu_would_compute_something_else(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if refusal("bf16") is None:
        pytest.skip("this CPU computes bf16")
    assert export(tiny_run, tmp_path, "bf16") == 2
    assert "precision: expected a CPU that computes bf16" in capsys.readouterr().err
    assert not (tmp_path / "bf16").exists()


@pytest.mark.parametrize("name", ["onnx_cuda", "onnx_tensorrt"])
def test_an_engine_that_is_not_here_does_not_open(bundles: dict[str, Path], name: str) -> None:
    with pytest.raises(EngineError, match=r"expected an ONNX Runtime with \w+, got one with .*CPU.*; pip install"):
        open_engine(name, Bundle.open(bundles["fp32"]), threads=1)


@pytest.mark.parametrize("name", ["onnx_cpu", "openvino_cpu"])
def test_too_little_memory_is_named_before_anything_is_loaded(
    bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "meminfo").write_text("MemAvailable: 102400 kB\n")
    monkeypatch.setattr("vla_ros.engines.memory.MEMORY_INFO", tmp_path / "meminfo")
    with pytest.raises(EngineError, match=r"expected 0\.2 GiB of free memory for \w+, got 0\.1 GiB; export with fewer"):
        open_engine(name, Bundle.open(bundles["fp32"]), threads=1)


def test_a_quantised_bundle_is_smaller_and_covers_the_vision_encoder(bundles: dict[str, Path]) -> None:
    opened = {precision: Bundle.open(path) for precision, path in bundles.items()}
    sizes = {precision: bundle.manifest.files["policy.onnx.data"].size for precision, bundle in opened.items()}
    assert sizes["int4"] < sizes["int8"] < sizes["fp16"] < sizes["fp32"]
    assert set(opened["int8"].manifest.graph.kept) == {
        *(f"head.trunk.{layer}" for layer in (0, 2)),
        *(f"head.{part}.{layer}" for part in ("arm", "gripper") for layer in (0, 2, 4)),
    }
    quantized = {node.name for node in read_graph(opened["int8"]).graph.node if node.op_type == "QuantizeLinear"}
    assert any(".visual.blocks." in name for name in quantized)


def test_the_golden_observation_is_answered_within_the_bundles_tolerance(bundles: dict[str, Path]) -> None:
    for path in bundles.values():
        PolicyRunner.open(path, "cpu", threads=1)


SIGNALLED = """
import gc, pathlib, signal, sys
from vla_ros.bundle import Bundle
from vla_ros.engines.engine import open_engine

name, path = sys.argv[1:]
engines = [open_engine(name, Bundle.open(pathlib.Path(path)), threads=1) for _ in range(2)]
while engines:
    engines.pop(0)
    gc.collect()
signal.signal(signal.SIGINT, lambda number, frame: print("stopped"))
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize("name", ["onnx_cpu", "openvino_cpu"])
def test_a_process_whose_engines_are_gone_takes_signals_as_before(bundles: dict[str, Path], name: str) -> None:
    """Of two OpenVINO cores, the second leaves the first one's signal stack behind, unmapped: Ctrl-C would crash."""
    arguments = [sys.executable, "-c", SIGNALLED, name, str(bundles["fp32"])]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "stopped\n"), ended.stderr
