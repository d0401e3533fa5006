"""A training run becomes a bundle, whole or not at all."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from test.tiny_policy import INSTRUCTION
from vla_ros.action import ACTION_NAMES, ARM_DIM
from vla_ros.bundle import Bundle
from vla_ros.cli import main
from vla_ros.export.trained import load_run
from vla_ros.train import checkpoint


def test_the_manifest_holds_the_measured_error_against_torch(tiny_bundle: Path) -> None:
    parity = Bundle.open(tiny_bundle).manifest.graph.parity
    assert tuple(parity["errors"]) == ACTION_NAMES[:ARM_DIM]
    assert max(error["worst"] for error in parity["errors"].values()) < 1e-3  # mm and degrees
    assert parity["frames"] == 6


def test_only_the_text_has_no_fixed_shape_and_nothing_tells_of_the_machine(tiny_bundle: Path) -> None:
    data = (tiny_bundle / "policy.onnx").read_bytes()
    graph = onnx.load_from_string(data).graph
    shapes = {
        value.name: [dimension.dim_value or dimension.dim_param for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "pixel_values": [1, 16, 3 * 2 * 16 * 16],
        "text_embeds": [1, "tokens", 24],
        "query_index": [1],
        "actions": [1, 4, 7],
    }
    assert b".py" not in data
    assert b"/home" not in data


def test_words_are_looked_up_outside_of_the_graph(tiny_bundle: Path) -> None:
    opened = Bundle.open(tiny_bundle)
    names = {tensor.name for tensor in onnx.load_from_string(opened.read("policy.onnx")).graph.initializer}
    assert not any("embed_tokens" in name or "lm_head" in name for name in names)
    assert opened.embeddings().dtype == np.float32


def test_an_instruction_is_read_at_its_own_length(tiny_run: Path, tiny_bundle: Path) -> None:
    trained, _ = load_run(tiny_run)
    longest = trained.longest_text
    assert Bundle.open(tiny_bundle).manifest.graph.buckets == (trained.text_length(INSTRUCTION), longest)


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
    assert "expected a policy bundle or nothing, got thesis.tex" in capsys.readouterr().err
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
    merged = load_run(run)[0].policy
    with torch.no_grad():
        torch.testing.assert_close(merged(**batch), task.policy.eval()(**batch))
    assert not any("lora" in name for name in merged.state_dict())
