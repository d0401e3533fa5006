"""The trainer, on real architecture and synthetic demonstrations."""

import hashlib
import json
import shutil
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from test.tiny_policy import write_config, write_demonstrations  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.cli import main  # noqa: E402
from vla_ros.errors import ConfigError, DatasetError, VlaRosError  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402
from vla_ros.train.config import ObjectiveConfig, OptimizerConfig, TrainConfig  # noqa: E402
from vla_ros.train.objectives import action_loss  # noqa: E402
from vla_ros.train.trainer import Trainer, learning_rate, load_data  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demonstrations(tmp_path_factory.mktemp("data"))


def read_metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "samples_per_s"} for row in rows]


def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one_bit_by_bit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = write_config(tmp_path / "whole.yaml", data, tmp_path / "whole", steps=6)
    assert main(["train", str(whole)]) == 0

    parts = write_config(tmp_path / "parts.yaml", data, tmp_path / "parts", steps=6)
    train_step = Trainer.train_step

    def interrupted(trainer: Trainer) -> dict[str, float]:
        if trainer.step == 2:  # in the middle of the third step, between two validations
            signal.raise_signal(signal.SIGINT)
        return train_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        assert main(["train", str(parts)]) == 130
    assert checkpoint.load(tmp_path / "parts" / checkpoint.FILE_NAME)[0] == 3
    assert main(["train", str(parts)]) == 0

    step, tensors = checkpoint.load(tmp_path / "parts" / checkpoint.FILE_NAME)
    expected_step, expected = checkpoint.load(tmp_path / "whole" / checkpoint.FILE_NAME)
    assert step == expected_step == 6
    for group in expected:
        for name, tensor in expected[group].items():
            assert torch.equal(tensors[group][name], tensor), f"{group}/{name}"
    assert read_metrics(tmp_path / "parts")[-1]["val_translation_mm"] == pytest.approx(
        read_metrics(tmp_path / "whole")[-1]["val_translation_mm"], rel=0, abs=0
    )


def test_training_writes_what_a_person_looks_at(tiny_run: Path) -> None:
    assert [row["step"] for row in read_metrics(tiny_run)] == [2, 4]
    assert (tiny_run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_loss_falls_on_data_that_can_be_learnt(data: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "train.yaml", data, tmp_path / "run", steps=60, batch_size=16, learning_rate=3e-3)
    settings = config.load(path, TrainConfig)
    trainer = Trainer(settings, load_data(settings))
    before = trainer.losses(trainer.stream.batch(1000))["gripper"].item()
    for _ in range(60):
        trainer.train_step()
    assert trainer.losses(trainer.stream.batch(1000))["gripper"].item() < 0.7 * before


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(data: Path, tmp_path: Path) -> None:
    settings = config.load(write_config(tmp_path / "train.yaml", data, tmp_path / "run"), TrainConfig)
    trainer = Trainer(settings, load_data(settings))
    with torch.no_grad():
        trainer.policy.action_query.fill_(float("nan"))
    with pytest.raises(VlaRosError, match=r"step 0: loss: expected a finite number, got nan; .*last good state"):
        trainer.train_step()


def test_another_config_does_not_go_on_in_the_same_folder(tiny_run: Path, tmp_path: Path) -> None:
    text = (tiny_run / "train.yaml").read_text().replace("seed: 3", "seed: 4")
    (tmp_path / "other.yaml").write_text(text)
    assert main(["train", str(tmp_path / "other.yaml")]) == 2


def test_a_misspelt_phase_is_refused(data: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "train.yaml", data, tmp_path / "run")
    path.write_text(path.read_text().replace("close: 2.0", "clse: 2.0"))
    settings = config.load(path, TrainConfig)
    with pytest.raises(DatasetError, match=r"data.phase_weights: expected one of approach, close, got 'clse'"):
        Trainer(settings, load_data(settings))


def test_a_backbone_that_transformers_does_not_know_is_refused(data: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path / "train.yaml", data, tmp_path / "run")
    path.write_text(path.read_text().replace("num_heads: 2", "num_heads: two"))
    settings = config.load(path, TrainConfig)
    with pytest.raises(ConfigError, match=r"policy.backbone_config: expected fields of qwen3_vl, got: .*num_heads"):
        Trainer(settings, load_data(settings))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "num_hidden_layers: 2",
            "num_hidden_layer: 2",
            r"text_config.num_hidden_layer: expected one of .*num_hidden_layers",
        ),
        ("depth: 2", "dept: 2", r"vision_config.dept: expected one of .*depth"),
        ("text_config:", "txt_config:", r"txt_config: expected one of .*text_config"),
        (
            "out_hidden_size: 24",
            "out_hidden_size: 32",
            r"vision_config.out_hidden_size: expected 24 as text_config.hidden_size, got 32",
        ),
    ],
)
def test_a_misspelt_field_of_the_backbone_is_refused_with_its_path(
    data: Path, tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    path = write_config(tmp_path / "train.yaml", data, tmp_path / "run")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    settings = config.load(path, TrainConfig)
    with pytest.raises(ConfigError, match=rf"policy\.backbone_config\.{complaint}"):
        Trainer(settings, load_data(settings))


def test_the_learning_rate_warms_up_and_decays_to_zero() -> None:
    settings = OptimizerConfig(
        steps=110, batch_size=1, learning_rate=2.0, warmup_steps=10, weight_decay=0, gradient_clip=1, ema_decay=0
    )
    assert [learning_rate(step, settings) for step in (0, 4, 9, 10, 60)] == pytest.approx([0.2, 1.0, 2.0, 2.0, 1.0])
    assert learning_rate(109, settings) < 1e-3


def test_masked_steps_do_not_count_and_the_loss_is_the_hand_computed_one() -> None:
    outputs = torch.zeros(1, 3, 7)
    targets = torch.zeros(1, 3, 7)
    targets[0, 0, :6] = 0.5  # |error| 0.5 > delta: 0.5 - delta / 2
    targets[0, 2] = 9.0
    valid = torch.tensor([[True, True, False]])
    settings = ObjectiveConfig(huber_delta=0.1, gripper_weight=0.1, scene_weight=0)
    losses = action_loss(outputs, targets, valid, settings)
    assert losses["arm"].item() == pytest.approx((0.45 + 0.0) / 2)
    assert losses["gripper"].item() == pytest.approx(np.log(2))


def test_a_run_does_not_go_on_with_other_demonstrations_and_keeps_its_files(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    path, run = write_config(tmp_path / "train.yaml", folder, tmp_path / "run"), tmp_path / "run"
    assert main(["train", str(path)]) == 0
    kept = {name: (run / name).read_bytes() for name in checkpoint.COMPANIONS}
    with h5py.File(folder / "soup_demo.hdf5", "r+") as file:
        file["data/demo_1/expert_actions"][...] *= 0.5
        file["data"].attrs["problem_info"] = '{"language_instruction": "polish the unfamiliar kettle"}'
    capsys.readouterr()
    assert main(["train", str(path)]) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("vla-ros train: ")]
    for name, content in kept.items():
        assert f"{name} of sha256 {hashlib.sha256(content).hexdigest()}, got " in line
        assert (run / name).read_bytes() == content
    assert "put the demonstrations back, or name another `output`" in line


def test_a_checkpoint_that_does_not_say_what_belongs_to_it_is_refused(tmp_path: Path) -> None:
    save_file({"policy/a": torch.zeros(1)}, tmp_path / "c", metadata={"step": "1"})
    with pytest.raises(DatasetError, match=r"metadata: expected the sha256 of statistics.json and tokenizer.json, got"):
        checkpoint.load_companions(tmp_path / "c")


@pytest.mark.parametrize(
    ("section", "field", "value", "complaint"),
    [
        ("", "validate_every", 0, "validate_every: expected >= 1, got 0"),
        ("", "seed", -1, "seed: expected >= 0, got -1"),
        ("data", "validation_episodes", 0, "data.validation_episodes: expected >= 1, got 0"),
        ("data", "phase_weights", {"close": float("nan")}, "data.phase_weights.close: expected >= 0, got nan"),
        ("policy", "chunk_size", 0, "policy.chunk_size: expected >= 1, got 0"),
        ("policy", "tokenizer_vocabulary", 0, "policy.tokenizer_vocabulary: expected >= 1, got 0"),
        ("policy", "head", {"trunk": 32, "widths": [0]}, "policy.head.widths: expected >= 1, got (0,)"),
        ("objective", "huber_delta", float("inf"), "objective.huber_delta: expected > 0, got inf"),
        ("objective", "gripper_weight", float("nan"), "objective.gripper_weight: expected >= 0, got nan"),
        ("objective", "scene_weight", -1.0, "objective.scene_weight: expected >= 0, got -1.0"),
        ("optimizer", "learning_rate", float("inf"), "optimizer.learning_rate: expected > 0, got inf"),
        ("optimizer", "weight_decay", float("nan"), "optimizer.weight_decay: expected >= 0, got nan"),
    ],
)
def test_a_number_out_of_its_range_is_refused_with_its_path(
    data: Path, tmp_path: Path, section: str, field: str, value: object, complaint: str
) -> None:
    path = write_config(tmp_path / "train.yaml", data, tmp_path / "run")
    fields = yaml.safe_load(path.read_text())
    (fields[section] if section else fields)[field] = value
    path.write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError) as error:
        config.load(path, TrainConfig)
    assert str(error.value) == f"{path}: {complaint}"
