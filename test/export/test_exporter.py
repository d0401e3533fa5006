"""A training run becomes a bundle, whole or not at all."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from vla_ros.action import ACTION_NAMES
from vla_ros.bundle import Bundle
from vla_ros.cli import main
from vla_ros.errors import EngineError
from vla_ros.export.exporter import load_run, measure_parity
from vla_ros.observation import Observation
from vla_ros.train import checkpoint


def test_the_manifest_holds_the_measured_error_against_torch(tiny_bundle: Path) -> None:
    errors = Bundle.open(tiny_bundle).manifest.max_action_error
    assert tuple(errors) == ACTION_NAMES
    assert 0 <= max(errors.values()) < 1e-6


def test_the_graph_has_fixed_shapes_and_tells_nothing_of_the_machine(tiny_bundle: Path) -> None:
    data = (tiny_bundle / "policy.onnx").read_bytes()
    graph = onnx.load_from_string(data).graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "pixel_values": [1, 16, 3 * 2 * 16 * 16],
        "input_ids": [1, 80],
        "query_index": [1],
        "actions": [1, 4, 7],
    }
    assert b".py" not in data


def test_exporting_again_replaces_the_bundle(tiny_run: Path, tmp_path: Path) -> None:
    output, card = tmp_path / "bundle", tmp_path / "card.md"
    assert main(["export", str(tiny_run), "--output", str(output), "--frames", "2"]) == 0
    card.write_text("# Another card\n")
    assert main(["export", str(tiny_run), "--output", str(output), "--frames", "2", "--model-card", str(card)]) == 0
    assert Bundle.open(output).read("MODEL_CARD.md") == b"# Another card\n"
    assert set(tmp_path.iterdir()) == {output, card}


def test_a_folder_that_is_no_bundle_is_left_alone(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["export", str(tiny_run), "--output", str(tmp_path)]) == 2
    assert "expected a policy bundle or nothing, got another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_damaged_checkpoint_is_refused_and_nothing_is_written(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    state = checkpoint.best(run) / checkpoint.MODEL
    state.write_bytes(state.read_bytes()[:1000])
    assert main(["export", str(run), "--output", str(tmp_path / "bundle")]) == 2
    assert "model.safetensors: sha256: expected " in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_the_manifest_names_what_made_the_bundle(tiny_bundle: Path) -> None:
    versions = json.loads((tiny_bundle / "manifest.json").read_text())["tool_versions"]
    assert {"torch", "transformers", "onnx", "onnxruntime", "tokenizers"} <= set(versions)


@pytest.mark.parametrize("name", ["statistics.json", "tokenizer.json"])
def test_a_run_whose_files_are_not_those_of_its_weights_is_refused(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    (run / name).write_bytes((run / name).read_bytes() + b"\n")
    assert main(["export", str(run), "--output", str(tmp_path / "bundle")]) == 2
    assert f"{run / name}: sha256: expected " in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


def test_an_answer_that_is_no_number_is_no_parity(tiny_run: Path) -> None:
    class Silent:
        def predict(self, observation: Observation) -> SimpleNamespace:
            return SimpleNamespace(actions=np.full((4, 7), np.nan, np.float32))

    image = np.zeros((64, 64, 3), np.uint8)
    observation = Observation(image=image, instruction="turn on the stove", stamp_ns=0)
    with pytest.raises(EngineError, match=r"policy\.onnx: x: expected torch's answer within 0\.0001, got nan off"):
        measure_parity(load_run(tiny_run), Silent(), [observation])  # type: ignore[arg-type]


def test_adapters_are_merged_and_answer_as_they_were_trained(tmp_path: Path) -> None:
    import torch

    from test.tiny_policy import write_config, write_demonstrations
    from vla_ros import config
    from vla_ros.train.config import TrainConfig
    from vla_ros.train.data import load_data
    from vla_ros.train.policy_task import PolicyTask

    data, run = write_demonstrations(tmp_path / "data"), tmp_path / "run"
    path = write_config(tmp_path / "train.yaml", data, run, steps=2)
    path.write_text(path.read_text().replace("policy:\n", "policy:\n  lora: {rank: 2, alpha: 4.0, dropout: 0.1}\n"))
    assert main(["train", str(path)]) == 0
    settings = config.load(path, TrainConfig)
    task = PolicyTask(settings, load_data(settings, show_progress=False))
    task.module.load_state_dict(checkpoint.load_model(checkpoint.best(run)))
    batch = task.validation_encoder.encode(np.zeros((1, 64, 64, 3), np.uint8), np.zeros(1, np.int64))
    merged = load_run(run).policy
    with torch.no_grad():
        torch.testing.assert_close(merged(**batch), task.policy.eval()(**batch))
    assert not any("lora" in name for name in merged.state_dict())
