"""The policy as the robot runs it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test.tiny_policy import INSTRUCTION, reseal
from vla_ros.engines.policy_runner import GoldenProbe, PolicyRunner
from vla_ros.errors import BundleError, EngineError, ObservationError
from vla_ros.observation import Observation

CPU_ENGINES = ("onnx_cpu", "openvino_cpu")


@pytest.fixture(params=CPU_ENGINES)
def runner(request: pytest.FixtureRequest, tiny_bundle: Path) -> PolicyRunner:
    return PolicyRunner.open(tiny_bundle, request.param, threads=1)


def observe(image: np.ndarray, instruction: str = INSTRUCTION) -> Observation:
    return Observation(image=image, instruction=instruction, stamp_ns=123)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_the_chunk_carries_stamp_period_and_frame(runner: PolicyRunner, image: np.ndarray) -> None:
    chunk = runner.predict(observe(image))
    assert chunk.actions.shape == (4, 7)
    assert (chunk.stamp_ns, chunk.period_ns, chunk.frame_id) == (123, 50_000_000, "base")
    assert set(chunk.actions[:, 6].tolist()) <= {0.0, 1.0}


def test_the_answer_is_torchs_answer_on_any_image(tiny_run: Path, runner: PolicyRunner, image: np.ndarray) -> None:
    from vla_ros.export.trained import load_run

    trained, _ = load_run(tiny_run)
    np.testing.assert_allclose(runner.predict(observe(image)).actions, trained.predict(observe(image)), atol=1e-6)


def test_the_same_observation_gives_the_same_bits(runner: PolicyRunner, image: np.ndarray) -> None:
    first = runner.predict(observe(image)).actions
    runner.predict(observe(255 - image, "turn on the stove"))
    np.testing.assert_array_equal(runner.predict(observe(image)).actions, first)


def test_image_and_instruction_both_matter(runner: PolicyRunner, image: np.ndarray) -> None:
    arm = runner.predict(observe(image)).actions[:, :6]
    assert not np.array_equal(runner.predict(observe(255 - image)).actions[:, :6], arm)
    assert not np.array_equal(runner.predict(observe(image, "turn on the stove")).actions[:, :6], arm)


def test_another_camera_is_refused_not_resized(runner: PolicyRunner) -> None:
    with pytest.raises(ObservationError, match=r"agentview: expected uint8 \[64, 64, 3\], got uint8 \[48, 64, 3\]"):
        runner.predict(observe(np.zeros((48, 64, 3), np.uint8)))


def test_an_instruction_is_admitted_or_refused_before_it_runs(runner: PolicyRunner) -> None:
    runner.admit_instruction("turn on the stove")
    with pytest.raises(ObservationError, match="empty"):
        runner.admit_instruction("")


def test_an_unknown_engine_is_refused_with_the_known_ones(tiny_bundle: Path) -> None:
    with pytest.raises(EngineError, match=r"engine: expected one of cpu, onnx_cpu, .*, got 'cuda'"):
        PolicyRunner.open(tiny_bundle, "cuda", threads=1)
    with pytest.raises(EngineError, match=r"threads: expected >= 1, got 0"):
        PolicyRunner.open(tiny_bundle, "onnx_cpu", threads=0)


def test_weights_of_another_policy_fail_the_golden_probe(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    probe = GoldenProbe.from_bytes((bundle / "golden.npz").read_bytes(), "golden.npz")
    moved = GoldenProbe(image=probe.image, instruction=probe.instruction, actions=probe.actions + np.float32(0.01))
    (bundle / "golden.npz").write_bytes(moved.to_bytes())
    reseal(bundle)
    with pytest.raises(EngineError, match=r"golden\.npz: x: expected torch's answer within 0\.1 mm, got 10 mm off"):
        PolicyRunner.open(bundle, "onnx_cpu", threads=1)


def test_an_inverted_gripper_fails_the_golden_probe(tiny_bundle: Path, runner: PolicyRunner) -> None:
    probe = GoldenProbe.from_bytes((tiny_bundle / "golden.npz").read_bytes(), "golden.npz")
    actions = probe.actions.copy()
    actions[1, 6] = 1 - actions[1, 6]
    inverted = GoldenProbe(image=probe.image, instruction=probe.instruction, actions=actions)
    with pytest.raises(EngineError, match=r"golden\.npz: gripper: expected .* within 0 flips, got 1 flips off"):
        runner.check_golden(inverted, "golden.npz")


def test_the_robots_path_imports_neither_torch_nor_transformers(tiny_bundle: Path) -> None:
    program = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from vla_ros.engines.policy_runner import PolicyRunner\n"
        f"PolicyRunner.open(Path({str(tiny_bundle)!r}), 'onnx_cpu', 1)\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'rclpy') if name in sys.modules]))\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert json.loads(output) == []


def test_running_a_policy_leaves_no_telemetry_behind(tiny_bundle: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path\n"
        "from vla_ros.engines.policy_runner import PolicyRunner\n"
        f"PolicyRunner.open(Path({str(tiny_bundle)!r}), 'onnx_cpu', 1)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert not [path for path in tmp_path.rglob("*") if "onnxruntime" in path.name]


def test_a_golden_answer_that_is_no_number_is_refused(tiny_bundle: Path, runner: PolicyRunner) -> None:
    probe = GoldenProbe.from_bytes((tiny_bundle / "golden.npz").read_bytes(), "golden.npz")
    actions = np.full_like(probe.actions, np.nan)
    moved = GoldenProbe(image=probe.image, instruction=probe.instruction, actions=actions)
    with pytest.raises(EngineError, match=r"golden\.npz: x: expected torch's answer within 0\.1 mm, got nan mm off"):
        runner.check_golden(moved, "golden.npz")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("golden.npz", b"", "expected image, instruction_utf8 and actions, got"),
        ("golden.npz", b"PK\x03\x04 no archive", "expected image, instruction_utf8 and actions, got"),
        ("tokenizer.json", b"{}", "expected a tokenizer, got"),
        ("tokenizer.json", b"\xff", "expected a tokenizer, got"),
    ],
)
def test_a_sealed_file_that_is_not_what_its_name_says_is_refused_in_one_line(
    tiny_bundle: Path, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    (bundle / name).write_bytes(content)
    reseal(bundle)
    with pytest.raises(BundleError, match=rf"{name}: {complaint}") as error:
        PolicyRunner.open(bundle, "onnx_cpu", threads=1)
    assert "\n" not in str(error.value)
