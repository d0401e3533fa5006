"""The shipped training configs: they load, they say what the paper says, and a backbone is one line."""

from pathlib import Path

import pytest

from vla_ros import config
from vla_ros.data.conventions import BRIDGE, CALVIN, LIBERO
from vla_ros.train.config import PolicyConfig, TrainConfig

ROOT = Path(__file__).resolve().parents[2]
PRESETS = {path.stem: path for path in sorted((ROOT / "config/train").glob("*.yaml"))}
POLICIES = sorted((ROOT / "config/policy").glob("*.yaml"))
PAPER = ("calvin_abc_d", "bridge", "libero_10")
HUB_IDS = {
    "google/paligemma-3b-pt-224",
    "google/paligemma2-3b-pt-224",
    "microsoft/kosmos-2-patch14-224",
    "Qwen/Qwen2.5-VL-3B-Instruct",
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Qwen/Qwen3-VL-2B-Instruct",
    "Qwen/Qwen3-VL-4B-Instruct",
    "Qwen/Qwen3-VL-8B-Instruct",
    "Qwen/Qwen3-VL-30B-A3B-Instruct",
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads(name: str) -> None:
    assert config.load(PRESETS[name], TrainConfig).name


def test_each_of_the_nine_backbones_has_a_file() -> None:
    weights = [config.load(path, PolicyConfig).weights for path in POLICIES]
    assert sorted(filter(None, weights)) == sorted(HUB_IDS)


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", PAPER)
def test_another_backbone_is_one_line(name: str, path: Path, tmp_path: Path) -> None:
    text = PRESETS[name].read_text()
    changed = text.replace("../policy/qwen3_vl_2b.yaml", str(path))
    (tmp_path / "train.yaml").write_text(changed)
    assert config.load(tmp_path / "train.yaml", TrainConfig).policy == config.load(path, PolicyConfig)


@pytest.mark.parametrize(
    ("name", "batch_size", "learning_rate", "steps", "chunk_size"),
    [("calvin_abc_d", 128, 2e-5, 30_000, 10), ("bridge", 512, 5e-5, 50_000, 4), ("libero_10", 512, 5e-5, 50_000, 4)],
)
def test_the_hyper_parameters_are_the_papers(
    name: str, batch_size: int, learning_rate: float, steps: int, chunk_size: int
) -> None:
    """VLM4VLA, app. A.2.1."""
    preset = config.load(PRESETS[name], TrainConfig)
    optimizer = preset.optimizer
    assert (optimizer.batch_size, optimizer.learning_rate, optimizer.steps) == (batch_size, learning_rate, steps)
    assert (optimizer.weight_decay, optimizer.gradient_clip, optimizer.ema_decay) == (0.0, None, None)
    assert (optimizer.schedule, preset.chunk_size, preset.precision) == ("constant", chunk_size, "bf16")
    assert (preset.policy.freeze.vision_encoder, preset.policy.freeze.word_embeddings) == (False, False)


@pytest.mark.parametrize(
    ("name", "convention"), [("calvin_abc_d", CALVIN), ("bridge", BRIDGE), ("libero_10", LIBERO)], ids=PAPER
)
def test_actions_mean_what_the_data_set_says(name: str, convention: object) -> None:
    assert config.load(PRESETS[name], TrainConfig).action == convention.action  # type: ignore[attr-defined]


def test_calvins_arm_is_clipped_at_0_65_of_its_units() -> None:
    bounds = config.load(PRESETS["calvin_abc_d"], TrainConfig).arm_bounds
    assert bounds == pytest.approx(0.65 * CALVIN.arm_scale)
