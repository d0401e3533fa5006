"""The training of a policy, on real architecture and synthetic demonstrations."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")

from test.tiny_policy import write_config  # noqa: E402
from vla_ros import config  # noqa: E402
from vla_ros.errors import ConfigError, ContractError, DatasetError, ObservationError  # noqa: E402
from vla_ros.train import run_folder  # noqa: E402
from vla_ros.train.config import TrainConfig  # noqa: E402
from vla_ros.train.data import TrainingData, load_data  # noqa: E402
from vla_ros.train.loop import TrainingLoop  # noqa: E402
from vla_ros.train.policy_task import PolicyTask, action_errors, scene_errors  # noqa: E402

Fields = dict[str, dict[str, object]]


@pytest.fixture
def settings(demonstrations: Path, tmp_path: Path) -> TrainConfig:
    return config.load(write_config(tmp_path / "train.yaml", demonstrations, tmp_path / "run"), TrainConfig)


@pytest.fixture
def data(settings: TrainConfig) -> TrainingData:
    return load_data(settings, show_progress=False)


@pytest.fixture
def task(settings: TrainConfig, data: TrainingData) -> PolicyTask:
    return PolicyTask(settings, data)


def test_parts_are_slices_of_the_same_samples_and_their_losses_mean_the_whole_ones(task: PolicyTask) -> None:
    whole, parts = task.train.batch(5, 0, 1), [task.train.batch(5, part, 4) for part in range(4)]
    for name, tensor in whole.items():
        if name != "weights":
            assert torch.equal(torch.cat([part[name] for part in parts]), tensor)
    assert whole["weights"].sum().item() == pytest.approx(1)
    losses = task.module(**whole)
    mean = {name: torch.stack([task.module(**part)[name] for part in parts]).mean() for name in losses}
    for name, loss in losses.items():
        torch.testing.assert_close(mean[name], loss)


def test_a_batch_depends_on_seed_and_step_alone(settings: TrainConfig, data: TrainingData, task: PolicyTask) -> None:
    task.train.batch(9, 0, 1)
    again, other = task.train.batch(2, 0, 1), PolicyTask(dataclasses.replace(settings, seed=4), data).train
    assert torch.equal(again["pixel_values"], PolicyTask(settings, data).train.batch(2, 0, 1)["pixel_values"])
    assert not torch.equal(again["pixel_values"], task.train.batch(3, 0, 1)["pixel_values"])
    assert not torch.equal(again["pixel_values"], other.batch(2, 0, 1)["pixel_values"])


def test_the_loss_falls_on_data_that_can_be_learnt(settings: TrainConfig, data: TrainingData) -> None:
    optimizer = dataclasses.replace(settings.optimizer, steps=60, batch_size=16, learning_rate=3e-3)
    settings = dataclasses.replace(settings, optimizer=optimizer)
    task = PolicyTask(settings, data)
    batch = task.train.batch(1000, 0, 1)
    before = task.module(**batch)["gripper"].item()
    loop = TrainingLoop(settings, task)
    for _ in range(60):
        loop.train_step()
    assert task.module(**batch)["gripper"].item() < 0.7 * before


def test_errors_are_of_the_right_size_in_physical_units() -> None:
    truth = np.zeros((2, 2, 7), np.float32)
    predicted = truth.copy()
    predicted[:, :, 0], predicted[:, :, 1] = 0.003, 0.004  # 3 mm and 4 mm
    predicted[:, :, 5] = np.pi / 180
    predicted[0, 0, 6] = 1.0
    predicted[1, 1] = 9.0  # behind the episode's end
    valid = np.array([[True, True], [True, False]])
    assert action_errors(predicted, truth, valid) == pytest.approx(
        {
            "val_translation_mm": 5.0,
            "val_rotation_deg": 1.0,
            "val_gripper_percent": 200 / 3,
            "val_x_mm": 3.0,
            "val_y_mm": 4.0,
            "val_z_mm": 0.0,
            "val_rx_deg": 0.0,
            "val_ry_deg": 0.0,
            "val_rz_deg": 1.0,
        },
        rel=1e-5,
    )
    scene = np.zeros((1, 9), np.float32)
    scene[0, 3:5] = 0.003, 0.004
    errors = scene_errors(scene, np.zeros((1, 9), np.float32))
    assert errors == pytest.approx({"val_target_mm": 0, "val_goal_mm": 5, "val_effector_mm": 0}, rel=1e-5)


def test_validation_measures_what_the_policy_says_on_held_out_frames(task: PolicyTask, data: TrainingData) -> None:
    with torch.no_grad():
        errors = task.validate(task.module.eval())
        windows = data.validation
        samples = windows.take(np.arange(len(windows)))
        outputs = task.policy(**task.validation_encoder.encode(samples.images, samples.instructions))
    expected = action_errors(task.normalizer.unnormalize(outputs.numpy()), samples.actions, samples.valid)
    for name, value in expected.items():
        assert errors[name] == pytest.approx(value, rel=1e-4), name
    assert errors[task.better] > 0


def test_a_question_trains_where_the_object_is_and_no_action(settings: TrainConfig) -> None:
    settings = change(settings, "data", question_share=0.5)
    task = PolicyTask(settings, load_data(settings, show_progress=False))
    batch = task.train.batch(0, 0, 1)
    is_question = batch["weights"].sum(1) == 0
    assert 0 < is_question.sum() < len(is_question)
    assert batch["weights"].sum().item() == pytest.approx(1)
    assert (batch["input_ids"][is_question] != batch["input_ids"][~is_question][0]).any(1).all()
    losses = task.module(**batch)
    undone = torch.where(is_question[:, None, None], 0.0, batch["targets"])
    assert task.module(**batch | {"targets": undone})["loss"].item() == losses["loss"].item()
    moved = batch["scene"] + is_question[:, None]
    assert task.module(**batch | {"scene": moved})["scene"].item() != losses["scene"].item()
    with torch.no_grad():
        errors = task.validate(task.module.eval())
    assert errors["val_other_target_mm"] > 0
    assert errors["val_other_target_mm"] != errors["val_target_mm"]


def test_questions_without_a_loss_that_learns_from_them_are_refused(settings: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"data.question_share: expected 0 without `objective.scene_weight`"):
        change(change(settings, "objective", scene_weight=0.0), "data", question_share=0.5)


def test_gradient_checkpointing_changes_no_gradient(settings: TrainConfig, data: TrainingData) -> None:
    gradients = []
    for checkpointing in (False, True):
        task = PolicyTask(dataclasses.replace(settings, gradient_checkpointing=checkpointing), data)
        task.module(**task.train.batch(0, 0, 1))["loss"].backward()
        gradients.append({name: parameter.grad for name, parameter in task.module.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def change(settings: TrainConfig, section: str, **values: object) -> TrainConfig:
    """The config with some fields of a dotted section replaced."""
    fields: Fields = yaml.safe_load(config.dumps(settings))
    target = fields
    for name in section.split(".") if section else ():
        target = target[name]  # type: ignore[assignment]
    target.update(values)  # type: ignore[arg-type]
    return config.build(fields, TrainConfig, "train.yaml")


@pytest.mark.parametrize(
    ("section", "values", "error", "complaint"),
    [
        (
            "data",
            {"phase_weights": {"clse": 2.0}},
            DatasetError,
            "data.phase_weights: expected one of approach, close, g",
        ),
        ("data", {"validation_episodes": 3}, ConfigError, r"data.validation_episodes: expected in \(0, 3\), got 3"),
        (
            "action",
            {"control_rate_hz": 10.0},
            ContractError,
            "action: control_rate_hz: expected 20.0 as in .*, got 10.0",
        ),
        (
            "camera",
            {"width": 65},
            ObservationError,
            r"demo_0: agentview: expected uint8 \[64, 65, 3\], got uint8 \[64, 64",
        ),
        ("policy.prompt", {"max_tokens": 40}, DatasetError, r"demo_\d: instruction: tokens: expected at most 39"),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_anything_is_trained(
    settings: TrainConfig, section: str, values: dict[str, object], error: type[Exception], complaint: str
) -> None:
    changed = change(settings, section, **values)
    with pytest.raises(error, match=complaint):
        PolicyTask(changed, load_data(changed, show_progress=False))


def test_positions_that_the_data_do_not_have_cannot_be_learnt(settings: TrainConfig, data: TrainingData) -> None:
    data.train.scene[0, 0] = np.nan
    with pytest.raises(
        ConfigError, match=r"objective.scene_weight: expected 0 for demonstrations without target, .* 0\.2"
    ):
        PolicyTask(settings, data)


@pytest.fixture
def shard() -> Callable[[torch.nn.Module], None]:
    """What accelerate's FSDP does to a module, on the CPU and in one process."""
    from accelerate.utils import FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import fully_shard

    def apply(module: torch.nn.Module) -> None:
        plugin = FullyShardedDataParallelPlugin(fsdp_version=2, auto_wrap_policy="transformer_based_wrap")
        plugin.set_auto_wrap_policy(module)
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        layers = [layer for layer in module.modules() if plugin.auto_wrap_policy(layer, False, 0)]
        assert len(layers) == 2  # the tiny model's decoder layers
        for layer in (*layers, module):
            fully_shard(layer, mesh=mesh)

    return apply


def test_fsdp_gathers_decoder_layers_and_answers_the_same(
    task: PolicyTask, shard: Callable[[torch.nn.Module], None], tmp_path: Path
) -> None:
    batch = task.train.batch(0, 0, 1)
    with torch.no_grad():
        expected = {name: loss.item() for name, loss in task.module(**batch).items()}
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    try:
        shard(task.module)
        losses = task.module(**batch)
        losses["loss"].backward()
        assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected)
        assert all(p.grad is not None for p in task.module.parameters() if p.requires_grad)
        with torch.no_grad():
            assert task.validate(task.module.eval())["val_loss"] > 0
    finally:
        torch.distributed.destroy_process_group()


def test_a_run_begins_where_another_one_ended(settings: TrainConfig, data: TrainingData, tmp_path: Path) -> None:
    run_folder.begin(settings, data.companions)
    first = TrainingLoop(settings, PolicyTask(settings, data))
    first.train_step()
    first.save()
    later = dataclasses.replace(settings, seed=8, start_from=settings.output, output=tmp_path / "later")
    begun = PolicyTask(later, load_data(later, show_progress=False))
    assert begun.companions["tokenizer.json"] == data.companions["tokenizer.json"]
    expected = first.task.module if first.average is None else first.average.module
    stored = {name: weight for name, weight in expected.state_dict().items() if name.startswith("policy.")}
    for name, weight in begun.policy.state_dict().items():
        torch.testing.assert_close(weight, stored[f"policy.{name}"], msg=name)


def test_a_run_of_another_policy_is_no_start(settings: TrainConfig, data: TrainingData, tmp_path: Path) -> None:
    run_folder.begin(settings, data.companions)
    TrainingLoop(settings, PolicyTask(settings, data)).save()
    later = dataclasses.replace(settings, start_from=settings.output, output=tmp_path / "later")
    with pytest.raises(ConfigError, match=r"start_from: expected a run of the same policy, got .*run: .*size mismatch"):
        PolicyTask(change(later, "policy.head", trunk=16), data)
    with pytest.raises(ConfigError, match=r"start_from: expected a run of vla-ros train, got .*nowhere"):
        load_data(dataclasses.replace(later, start_from=tmp_path / "nowhere"), show_progress=False)
