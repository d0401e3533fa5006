"""The training loop, on the smallest task that has everything: dropout, an average, accumulation."""

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from test.train.linear_task import LinearTask, Points, run_config  # noqa: E402
from vla_ros.errors import ConfigError, DatasetError, VlaRosError  # noqa: E402
from vla_ros.train import checkpoint  # noqa: E402
from vla_ros.train.loop import TrainingLoop  # noqa: E402
from vla_ros.train.task import Batch  # noqa: E402

SPEED = ("samples_per_s", "mfu_percent")


def make_loop(output: Path, workers: int = 0, bad_step: int | None = None, **changes: object) -> TrainingLoop:
    return TrainingLoop(run_config(output, **changes), LinearTask(Points(8, bad_step)), workers)


def read_metrics(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in SPEED} for row in rows]


def assert_same_weights(run: Path, expected: Path) -> None:
    for name in (checkpoint.MODEL, checkpoint.TRAINING):
        tensors = checkpoint.load_tensors(checkpoint.best(run) / name)
        wanted = checkpoint.load_tensors(checkpoint.best(expected) / name)
        assert tensors.keys() == wanted.keys()
        for key, tensor in wanted.items():
            assert torch.equal(tensors[key], tensor), key


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of six updates."""
    output = tmp_path_factory.mktemp("whole")
    make_loop(output).run()
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_and_resumed_run_equals_the_uninterrupted_one_bit_by_bit(
    whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    first = make_loop(tmp_path)
    batch = first.task.train.batch

    def interrupted(step: int, part: int, parts: int) -> Batch:
        if step == 2:  # in the middle of the third update, between two validations
            signal.raise_signal(number)
        return batch(step, part, parts)

    first.task.train.batch = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        first.run()
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert newest.name == "step-00000003"

    second = make_loop(tmp_path)
    second.resume(newest)
    second.run()
    assert read_metrics(tmp_path) == read_metrics(whole)
    assert_same_weights(tmp_path, whole)


def test_a_signal_during_an_update_that_is_the_last_one_loses_nothing(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, steps=3)
    batch = loop.task.train.batch

    def interrupted(step: int, part: int, parts: int) -> Batch:
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return batch(step, part, parts)

    loop.task.train.batch = interrupted  # type: ignore[method-assign]
    loop.run()
    assert [row["step"] for row in read_metrics(tmp_path)] == [2, 3]


def test_workers_change_nothing(whole: Path, tmp_path: Path) -> None:
    make_loop(tmp_path, workers=2).run()
    assert read_metrics(tmp_path) == read_metrics(whole)
    assert_same_weights(tmp_path, whole)


def test_accumulated_parts_make_the_update_of_the_whole_batch(tmp_path: Path) -> None:
    trained = []
    for steps in (1, 4):
        loop = make_loop(tmp_path / str(steps), accumulation_steps=steps)
        loop.task.module.layers[2].p = 0.0  # type: ignore[index, operator, union-attr] # dropout differs between parts
        for _ in range(3):
            loop.train_step()
        trained.append(list(loop.task.module.parameters()))
    for one, four in zip(*trained, strict=True):
        torch.testing.assert_close(one, four)


def test_a_loss_that_is_not_finite_stops_before_it_damages_the_weights(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, bad_step=3)
    seen = []
    step = loop.train_step

    def remembering() -> dict[str, float]:
        figures = step()
        seen.append([parameter.clone() for parameter in loop.task.module.parameters()])
        return figures

    loop.train_step = remembering  # type: ignore[method-assign]
    kept = tmp_path / "checkpoints/step-00000002"
    with pytest.raises(VlaRosError, match=rf"step 3: loss: expected a finite number, got nan; {kept} is the last good"):
        loop.run()
    assert len(seen) == 3
    for parameter, before in zip(loop.task.module.parameters(), seen[-1], strict=True):
        assert torch.equal(parameter, before)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]


def test_a_gradient_that_is_not_finite_stops_as_well(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.task.module.layers[0].weight.register_hook(lambda gradient: gradient * float("inf"))  # type: ignore[union-attr, index, operator]
    with pytest.raises(VlaRosError, match="step 0: gradient_norm: expected a finite number, got inf; there is no"):
        loop.run()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_with_a_sample_is_said_by_whichever_process_reads_it(tmp_path: Path, workers: int) -> None:
    loop = make_loop(tmp_path, workers)

    def broken(step: int, part: int, parts: int) -> Batch:
        raise DatasetError("demo.hdf5: data.demo_3: obs.agentview_rgb[7]: expected a frame, got: damage")

    loop.task.train.batch = broken  # type: ignore[method-assign]
    with pytest.raises(DatasetError, match=r"^demo.hdf5: data.demo_3: obs.agentview_rgb\[7\]: expected a frame"):
        loop.run()


def test_a_worker_that_dies_while_the_model_computes_is_one_line(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, workers=2, steps=10**6)
    step = loop.train_step

    def killing() -> dict[str, float]:
        figures = step()
        if loop.step == 3:
            os.kill(multiprocessing.active_children()[0].pid or 0, signal.SIGKILL)
            time.sleep(1)  # torch notices in here, not when it asks for the next batch
        return figures

    loop.train_step = killing  # type: ignore[method-assign]
    with pytest.raises(
        VlaRosError, match=r"data.workers: expected 2 living processes, got: DataLoader worker .* Killed"
    ):
        loop.run()


def test_without_an_average_the_weights_themselves_are_validated_and_kept(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, ema_decay=None)
    loop.run()
    weights = checkpoint.load_model(checkpoint.best(tmp_path))
    for name, parameter in loop.task.module.state_dict().items():
        assert torch.equal(weights[name], parameter)


def test_the_average_follows_the_weights_slowly(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, ema_decay=0.9)
    before = loop.task.module.layers[0].weight.detach().clone()  # type: ignore[union-attr, index, operator]
    loop.train_step()
    after = loop.task.module.layers[0].weight  # type: ignore[index]
    assert loop.average is not None
    # the first update has a memory of 1 / 10
    torch.testing.assert_close(loop.average.module.layers[0].weight, 0.1 * before + 0.9 * after)  # type: ignore[index]


def test_only_the_best_and_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, steps=8, keep_last=1)
    figures = iter([3.0, 1.0, 2.0, 2.5])
    loop.task.validate = lambda module: {"val_error_mm": next(figures)}  # type: ignore[method-assign]
    loop.run()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000004", "step-00000008"]
    assert checkpoint.best(tmp_path).name == "step-00000004"


def test_a_person_sees_curves_and_tensorboard(whole: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")
    events = EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    errors = [row["val_error_mm"] for row in read_metrics(whole)]
    assert [event.value for event in events.Scalars("validation/error_mm")] == pytest.approx(errors)


def test_bf16_computes_in_bfloat16_and_keeps_float32_weights(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, precision="bf16")
    seen = []
    loop.task.module.layers[3].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))  # type: ignore[index, operator, union-attr]
    loop.train_step()
    loop.validate()
    assert seen[0] == torch.bfloat16
    assert {parameter.dtype for parameter in loop.task.module.parameters()} == {torch.float32}


def test_a_batch_that_cannot_be_shared_equally_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"optimizer.batch_size: expected a multiple of processes \* accumulation_steps = 3, got 8"
    ):
        make_loop(tmp_path, accumulation_steps=3)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="device: expected a CUDA GPU that PyTorch can use, got none; set `device: c"):
        make_loop(tmp_path, device="cuda")
