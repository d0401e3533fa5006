"""Train = serve: what training feeds the weights is what the robot feeds them, value by value."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from vla_ros.engines.engine import Engine
from vla_ros.engines.policy_runner import PolicyRunner
from vla_ros.observation import Observation
from vla_ros.train.config import TrainConfig
from vla_ros.train.data import load_data
from vla_ros.train.policy_task import PolicyTask


class Spy:
    """An engine that keeps what it is given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def infer(self, pixel_values: np.ndarray, input_ids: np.ndarray, query_index: int) -> np.ndarray:
        self.given = pixel_values, input_ids, query_index
        return self.engine.infer(pixel_values, input_ids, query_index)


def test_pixels_tokens_and_query_are_those_of_training(
    tiny_bundle: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vla_ros.engines import policy_runner

    spies: list[Spy] = []
    open_engine = policy_runner.open_engine

    def open_spy(name: str, bundle: object, threads: int) -> Spy:
        spies.append(Spy(open_engine(name, bundle, threads)))  # type: ignore[arg-type]
        return spies[-1]

    monkeypatch.setattr(policy_runner, "open_engine", open_spy)
    runner = PolicyRunner.open(tiny_bundle, "onnx_cpu", threads=1)

    data = load_data(tiny_config, show_progress=False)
    windows = data.validation
    samples = windows.take(np.arange(len(windows)))
    batch = PolicyTask(tiny_config, data).validation_encoder.encode(samples.images, samples.instructions)

    for step, image in enumerate(samples.images):
        runner.predict(Observation(image=image, instruction=windows.instructions[0], stamp_ns=0))
        pixels, ids, query_index = spies[-1].given
        np.testing.assert_array_equal(pixels[0], batch["pixel_values"][step].numpy())
        trained_ids = batch["input_ids"][step].numpy()
        np.testing.assert_array_equal(ids[: len(trained_ids)], trained_ids)
        assert query_index == batch["query_index"][step]
