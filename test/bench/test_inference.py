"""The inference benchmark on a tiny policy: what it measures and reports, not how fast it is."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("openvino")

from vla_ros.bench import inference, inference_memory, inference_report
from vla_ros.bench.inference import InferenceBenchmark, Memory, RowResult, Worker
from vla_ros.bench.inference_memory import GIB, Weights, check_memory, in_loading_order, needed_gib
from vla_ros.bench.inference_rows import (
    BASELINES,
    COMPILE_ROW,
    DEFAULT_ROWS,
    EAGER_ROW,
    Row,
    as_far_as_computed_here,
    parse_rows,
)
from vla_ros.bench.inference_targets import targets
from vla_ros.bench.inference_worker import METER, WorkerSpec
from vla_ros.bench.roofline import Limits, Work
from vla_ros.cli import main
from vla_ros.config import load
from vla_ros.engines import memory
from vla_ros.engines.openvino_engine import refusal
from vla_ros.errors import ConfigError, EngineError
from vla_ros.train.config import PolicyConfig

CONFIG = Path(__file__).parents[2] / "config" / "policy" / "libero_object_tiny.yaml"
ONNX, OPENVINO = Row("onnx_cpu", "int8"), Row("openvino_cpu", "fp16")  # bf16 is not for every CPU
ROWS = f"{ONNX.name},{OPENVINO.name}"
LIMITS = Limits(bandwidth=1e9, fp32_flops=1e9, bf16_flops=2e9, int8_ops=4e9)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def ran(work: Path) -> dict[str, Any]:
    """The JSON of a run without torch's rows, which take a minute to compile."""
    arguments = [str(CONFIG), "--work", str(work / "bundles"), "--rows", ROWS, "--no-torch", "--rounds", "3"]
    outputs = ["--json", str(work / "out.json"), "--plot", str(work / "out.png"), "--threads", "1"]
    assert main(["bench", "inference", *arguments, *outputs]) == 0
    content: dict[str, Any] = json.loads((work / "out.json").read_text())
    return content


def result(row: Row, *times_s: float, error: float = 0.0, resident: float = 1.0) -> RowResult:
    return RowResult(
        row=row,
        times_s=times_s,
        work=Work(flops=2e9, weight_bytes=1e6),
        max_action_error=error,
        memory=Memory(peak=2.0, resident=resident, anonymous=1.0),
        stages_s={} if row.is_torch else {"engine": [0.1, 0.2]},
    )


@pytest.fixture
def measured() -> InferenceBenchmark:
    return InferenceBenchmark(
        name="tiny",
        rows=(
            result(EAGER_ROW, 10.0, 20.0, 10.0),
            result(COMPILE_ROW, 4.0, 4.0, 4.0, error=0.01),
            result(ONNX, 1.0, 4.0, 1.0, error=0.05),
            result(OPENVINO, 2.0, 3.0, 2.0, error=0.01),
        ),
        limits=(LIMITS,) * 3,
        threads=2,
        seed=0,
        others_cores=0.0,
    )


def test_the_json_holds_every_row_under_the_promised_names(ran: dict[str, Any]) -> None:
    assert [(row["engine"], row["precision"]) for row in ran["rows"]] == [
        ("onnx_cpu", "int8"),
        ("openvino_cpu", "fp16"),
    ]
    promised = {"median_s", "p99_s", "peak_rss_gib", "roofline_fraction", "max_action_error"}
    for row in ran["rows"]:
        assert promised <= set(row)
        assert len(row["times_s"]) == 3
        assert 0 < row["median_s"] <= row["p99_s"] <= row["max_s"]
        assert 0 < row["resident_gib"] <= row["peak_rss_gib"] + 0.01
        assert row["roofline_fraction"] > 0
        assert 0 < row["max_action_error"] < 0.5
        assert set(row["stages_s"]) == {"image", "prompt (new)", "prompt (cached)", "engine", "unnormalize", "all"}
    assert ran["machine"]["cores"] >= 1
    assert {"torch", "onnxruntime", "openvino"} <= set(ran["versions"])
    assert set(ran["units"]) == set(ran["figures"])


def test_more_bits_are_nearer_to_torch(ran: dict[str, Any]) -> None:
    errors = {row["precision"]: row["max_action_error"] for row in ran["rows"]}
    assert errors["fp16"] < errors["int8"]


def test_a_plot_is_drawn(ran: dict[str, Any], work: Path) -> None:
    assert (work / "out.png").read_bytes().startswith(b"\x89PNG")


def test_bundles_are_written_once(ran: dict[str, Any], work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in (work / "bundles").rglob("*")}
    arguments = [str(CONFIG), "--work", str(work / "bundles"), "--rows", ONNX.name, "--no-torch", "--rounds", "1"]
    assert main(["bench", "inference", *arguments]) == 0
    assert inference.inference_export.missing(work / "bundles", ["int8", "fp16"]) == []
    assert "as an earlier run wrote them" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in (work / "bundles").rglob("*")} == before


def test_a_bundle_of_an_older_layout_is_written_anew(tmp_path: Path) -> None:
    missing = inference.inference_export.missing
    assert missing(tmp_path, ["int8", "bf16"]) == ["int8", "bf16"]
    (tmp_path / "reference.npz").touch()
    (tmp_path / "int8").mkdir()
    (tmp_path / "int8" / "manifest.json").write_text('{"format": 1}')
    assert missing(tmp_path, ["int8"]) == ["int8"]


def test_a_bundle_is_measured_by_its_golden_observation(ran: dict[str, Any], work: Path) -> None:
    arguments = ["--bundle", str(work / "bundles" / "int8"), "--rounds", "2", "--json", str(work / "bundle.json")]
    assert main(["bench", "inference", *arguments]) == 0
    content = json.loads((work / "bundle.json").read_text())
    assert [row["engine"] for row in content["rows"]] == ["onnx_cpu", "openvino_cpu"][: 1 if refusal("int8") else 2]
    assert all(row["precision"] == "int8" and 0 < row["max_action_error"] < 0.5 for row in content["rows"])
    assert content["seeds"] == []


def test_torch_reads_the_whole_prompt_and_is_its_own_reference(ran: dict[str, Any], work: Path) -> None:
    (cores,) = {inference.choose_cores(1)}
    spec = WorkerSpec(
        engine="torch_eager", precision="fp32", threads=1, cores=cores, config=str(CONFIG), frames=10, frames_seed=1
    )
    reference = inference.inference_export.read_reference(work / "bundles")
    with Worker("torch", spec) as worker:
        assert worker.ready["work"]["flops"] > ran["rows"][0]["flops"]
        assert worker.ask("answer", frame=7)["outputs"] == pytest.approx(reference[7], abs=1e-4)
        assert worker.ask("time", frame=0)["elapsed_s"] > 0
        assert worker.memory().peak > 0


def test_a_worker_that_cannot_load_says_why(tmp_path: Path) -> None:
    spec = WorkerSpec(engine="onnx_cpu", precision="int8", threads=1, cores=(0,), bundle=str(tmp_path / "nothing"))
    with pytest.raises(EngineError, match=r"row: .*nothing: expected a policy bundle's folder"):
        Worker("row", spec)


def test_a_worker_that_dies_leaves_its_last_words() -> None:
    spec = WorkerSpec(engine=METER, precision="fp32", threads=0, cores=(0,))
    with pytest.raises(EngineError, match=r"meter: expected an answer, got the end of its process: exit status 1"):
        Worker("meter", spec)


def test_ratios_are_medians_of_the_rounds_ratios(measured: InferenceBenchmark) -> None:
    eager, compiled, onnx, _ = measured.rows
    assert measured.speed_up(onnx, eager) == 10.0  # of 10, 5 and 10
    assert measured.speed_up(onnx, compiled) == 4.0  # of 4, 1 and 4
    assert measured.roofline_fraction(onnx) == pytest.approx(0.5)  # 2 GFLOP at 4 GFLOP/s in 1 s
    assert measured.roofline_fraction(eager) == pytest.approx(0.2)


def test_every_figure_is_shown_with_what_it_is_to_reach(measured: InferenceBenchmark) -> None:
    found = {target.name: (target.value, target.is_reached, target.row) for target in targets(measured)}
    assert found == {
        "speed_up_over_torch_eager_fp32": (10.0, True, "onnx_cpu:int8"),
        "speed_up_over_torch_compile_bf16": (4.0, True, "onnx_cpu:int8"),
        "int8_roofline_fraction": (pytest.approx(0.5), False, "onnx_cpu:int8"),
        "lean_resident_gb": (pytest.approx(1.0737, abs=1e-3), True, "onnx_cpu:int8"),
        "half_max_action_error": (0.01, True, "openvino_cpu:fp16"),
        "half_over_int8": (2.0, False, "openvino_cpu:fp16"),
    }
    table = inference_report.text(measured)
    assert all(target.what in table for target in targets(measured))
    assert table.count("  missed  ") == 2
    assert table.count("  reached  ") == 4


def test_figures_without_their_rows_are_not_measured(measured: InferenceBenchmark) -> None:
    alone = replace(measured, rows=measured.rows[2:3])
    reached = {target.name: target.is_reached for target in targets(alone)}
    assert reached["speed_up_over_torch_eager_fp32"] is None
    assert reached["half_over_int8"] is None
    assert "not measured" in inference_report.text(alone)


def test_a_busy_machine_is_told_of(measured: InferenceBenchmark) -> None:
    assert "other processes used" not in inference_report.text(measured)
    assert "other processes used 1.5 cores" in inference_report.text(replace(measured, others_cores=1.5))


def test_what_others_use_is_counted_without_the_rows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeWorker(Worker):
        def __init__(self) -> None:
            self.seconds = 0.0

        def cpu_s(self) -> float:
            return self.seconds

    now = {"time": 0.0, "busy": 100.0}
    monkeypatch.setattr(inference.time, "monotonic", lambda: now["time"])
    monkeypatch.setattr(inference, "busy_s", lambda: now["busy"])
    monkeypatch.setattr(inference.os, "times", lambda: (0.0, 0.0))
    worker = FakeWorker()
    clock = inference.Clock([worker])
    now.update(time=10.0, busy=125.0)
    worker.seconds = 20.0
    assert clock.others_cores() == 0.5


def test_rows_are_named_by_engine_and_precision() -> None:
    assert parse_rows("onnx_cpu:int8, openvino_cpu:fp16") == (ONNX, OPENVINO)


@pytest.mark.parametrize("text", ["onnx_cpu", "onnx_cpu:int7", "warp_drive:int8", "torch_eager:fp32", ""])
def test_an_unknown_row_is_refused_with_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--rows: expected ENGINE:PRECISION .*onnx_cpu.*openvino_cpu.*int8.* got"):
        parse_rows(text)


def test_a_row_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected each row once"):
        parse_rows("onnx_cpu:int8,onnx_cpu:int8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a policy config or --bundle"),
        ([str(CONFIG), "--bundle", "x"], "expected a policy config or --bundle"),
        ([str(CONFIG), "--engines", "onnx_cpu"], "it is for --bundle"),
        (["--bundle", "x", "--rows", ROWS], "a bundle has one precision"),
        ([str(CONFIG), "--threads", "100000"], "expected at most"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "inference", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_too_little_memory_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "free_memory_gib", lambda: 2.5)
    monkeypatch.setattr("vla_ros.bench.inference_rows.refusal", lambda precision: None)  # every row, on every CPU
    assert main(["bench", "inference", str(CONFIG), "--work", str(tmp_path / "work")]) == 2
    error = capsys.readouterr().err
    assert "GiB of free memory for all rows at once (torch_eager:fp32 0.6, torch_compile:bf16 0.9" in error
    assert "--no-torch" in error
    assert not (tmp_path / "work").exists()


def test_a_policy_too_large_to_export_is_refused_but_not_when_its_bundles_are_there() -> None:
    large = Weights(policy=10**9, graph=10**9)
    with pytest.raises(ConfigError, match=r"to export a policy of 1.00 billion weights, got 4.0"):
        check_memory([ONNX], large, True, 4.0)
    check_memory([ONNX], large, False, 4.0)
    check_memory([ONNX], large, True, None)  # the system does not say


def test_the_default_rows_of_a_2b_policy_fit_24_gib() -> None:
    config = load(CONFIG.with_name("qwen3_vl_2b.yaml"), PolicyConfig)
    weights = inference_memory.count_weights(config)
    assert weights.policy == 2134111302
    assert 4 * weights.policy / GIB < needed_gib((*BASELINES, *DEFAULT_ROWS), weights) < 22.5


def test_the_default_rows_leave_out_what_this_cpu_would_compute_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_ros.bench.inference_rows.refusal", lambda precision: None)
    assert as_far_as_computed_here((*BASELINES, *DEFAULT_ROWS)) == (*BASELINES, *DEFAULT_ROWS)
    monkeypatch.setattr("vla_ros.bench.inference_rows.refusal", lambda precision: "expected another CPU")
    assert as_far_as_computed_here(DEFAULT_ROWS) == (ONNX,)


def test_what_needs_most_to_load_is_loaded_first() -> None:
    weights = Weights(policy=10**9, graph=10**9)
    assert in_loading_order([EAGER_ROW, ONNX, COMPILE_ROW], weights)[0] == COMPILE_ROW


def test_an_engines_process_has_no_torch() -> None:
    """Its memory is the engine's, not torch's."""
    import subprocess

    code = "import sys, vla_ros.bench.inference_worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
