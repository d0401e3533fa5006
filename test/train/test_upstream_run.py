"""A policy of the authors' code becomes a bundle of ours."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from test.tiny_policy import write_config  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.bundle import Bundle  # noqa: E402
from vla_ros.cli import main  # noqa: E402
from vla_ros.export.frames import read_frames  # noqa: E402
from vla_ros.export.trained import load_run  # noqa: E402
from vla_ros.policies.vla_policy import VLAPolicy  # noqa: E402
from vla_ros.train.build import build_policy  # noqa: E402
from vla_ros.train.config import TrainConfig  # noqa: E402
from vla_ros.train.data import load_data  # noqa: E402

OURS_AND_THEIRS = {"head.trunk.": "act_head.mlp.", "head.arm.": "act_head.actions.mlp."}
OURS_AND_THEIRS |= {"head.gripper.": "act_head.gripper.mlp.", "backbone.model.": "backbone.model."}


@pytest.fixture
def upstream_config(tiny_config: TrainConfig, tmp_path: Path) -> Path:
    path = write_config(tmp_path / "train.yaml", tiny_config.data.source.libero.path, tmp_path / "run")
    fields = yaml.safe_load(path.read_text())
    fields["recipe"] = "upstream"
    fields["policy"]["image"]["encoder_px"] = 448
    fields["policy"]["prompt"]["max_tokens"] = 80 + 196 - 4
    path.write_text(yaml.safe_dump(fields))
    return path


def draw(path: Path) -> VLAPolicy:
    settings = config.load(path, TrainConfig)
    return build_policy(settings.policy, "upstream", settings.chunk_size, load_data(settings).tokenizer, seed=7)


def their_names(policy: VLAPolicy) -> dict[str, torch.Tensor]:
    weights = {"model.action_token": policy.action_query.detach()[0]}
    for name, tensor in policy.state_dict().items():
        for ours, theirs in OURS_AND_THEIRS.items():
            if name.startswith(ours):
                weights[f"model.{theirs}{name.removeprefix(ours)}"] = tensor
    words = policy.backbone.word_embeddings.weight
    return weights | {"model.backbone.lm_head.weight": torch.zeros_like(words)}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_an_imported_policy_answers_as_the_one_it_came_from(upstream_config: Path, suffix: str) -> None:
    policy = draw(upstream_config)
    checkpoint = upstream_config.with_name(f"epoch{suffix}")
    if suffix == ".pt":
        torch.save({"state_dict": their_names(policy), "epoch": 5}, checkpoint)
    else:
        save_file({name: tensor.contiguous() for name, tensor in their_names(policy).items()}, checkpoint)
    assert main(["import-upstream", str(upstream_config), str(checkpoint)]) == 0
    run = upstream_config.parent / "run"
    trained, training = load_run(run)
    for name, weight in trained.policy.state_dict().items():
        assert torch.equal(weight, policy.state_dict()[name]), name
    _, (observation,) = read_frames(training, calibration=1, report=1)
    assert np.isfinite(trained.predict(observation)).all()


def test_an_imported_policy_exports_to_a_bundle_of_its_recipe(upstream_config: Path) -> None:
    checkpoint = upstream_config.with_name("epoch.pt")
    torch.save(their_names(draw(upstream_config)), checkpoint)
    assert main(["import-upstream", str(upstream_config), str(checkpoint)]) == 0
    bundle = upstream_config.with_name("bundle")
    assert main(["export", str(upstream_config.parent / "run"), "--output", str(bundle), "--frames", "2"]) == 0
    assert Bundle.open(bundle).contract.recipe == "upstream"


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_a_checkpoint_with_code_in_it_is_refused(upstream_config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = upstream_config.with_name("hostile.pt")
    checkpoint.write_bytes(pickle.dumps({"state_dict": Hostile()}))
    assert main(["import-upstream", str(upstream_config), str(checkpoint)]) == 2
    output = capsys.readouterr()
    assert "hostile.pt: expected tensors by name, got:" in output.err
    assert "executed" not in output.out


@pytest.mark.parametrize(
    ("write", "complaint"),
    [
        (lambda path: None, "expected tensors by name, got:"),
        (lambda path: path.write_bytes(b"no checkpoint"), "expected tensors by name, got:"),
        (lambda path: torch.save([1, 2], path), "expected tensors by name, or a `state_dict` of them"),
        (lambda path: torch.save({"model.x": torch.zeros(1)}, path), "expected a policy of the authors' code"),
    ],
    ids=["missing", "text", "list", "other tensors"],
)
def test_what_is_no_such_checkpoint_is_refused_and_nothing_is_written(
    write: object, complaint: str, upstream_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = upstream_config.with_name("epoch.pt")
    write(checkpoint)  # type: ignore[operator]
    assert main(["import-upstream", str(upstream_config), str(checkpoint)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"vla-ros import-upstream: {checkpoint}: ")
    assert complaint in error
    assert not (upstream_config.parent / "run").exists()


def test_the_paper_recipe_is_refused(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import-upstream", str(tiny_run / "train.yaml"), "epoch.pt"]) == 2
    assert "recipe: expected upstream for weights of the authors' code, got paper" in capsys.readouterr().err
