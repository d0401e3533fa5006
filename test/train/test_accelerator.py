"""A run computes where its config says, or not at all."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from accelerate.utils import DistributedType  # noqa: E402

from test.train.linear_task import run_config  # noqa: E402
from vla_ros.errors import ConfigError  # noqa: E402
from vla_ros.train import accelerator  # noqa: E402
from vla_ros.train.accelerator import check_launch, make_accelerator  # noqa: E402


@pytest.mark.parametrize(
    ("environment", "changes", "complaint"),
    [
        (
            {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"},
            {"device": "cuda"},
            "device: expected cpu as in `accelerate launch --cpu`, got cuda",
        ),
        (
            {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_FSDP": "true"},
            {"device": "cpu"},
            "device: expected cuda, as FSDP and DeepSpeed of `accelerate launch` run on GPUs, got cpu",
        ),
        (
            {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "fp16"},
            {"precision": "bf16"},
            "precision: expected fp16 as in `accelerate launch`, got bf16",
        ),
        (
            {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"},
            {},
            "accelerate launch: --num_processes: expected 1 with --cpu, where it starts one process",
        ),
    ],
)
def test_what_the_launcher_says_otherwise_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    changes: dict[str, object],
    complaint: str,
) -> None:
    for name in ("RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as error:
        check_launch(run_config(tmp_path, **changes))
    assert complaint in str(error.value)


def test_a_launcher_that_was_told_nothing_leaves_the_precision_to_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert make_accelerator(run_config(tmp_path, precision="bf16")).mixed_precision == "bf16"


def test_an_average_of_sharded_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerator, "SHARDED", (DistributedType.NO,))
    with pytest.raises(ConfigError, match=r"optimizer.ema_decay: expected none under NO, .*, got 0\.9"):
        make_accelerator(run_config(tmp_path, ema_decay=0.9))
    make_accelerator(run_config(tmp_path, ema_decay=None))


def test_fsdp1_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "1")
    with pytest.raises(ConfigError, match="accelerate launch: fsdp_version: expected 2, got 1"):
        accelerator.fsdp_plugin(run_config(tmp_path))
