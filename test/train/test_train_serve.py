"""Train = serve: what training feeds the weights is what the robot feeds them, value by value."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from vla_ros.engines.engine import Engine
from vla_ros.engines.policy_runner import PolicyRunner
from vla_ros.export.trained import load_run
from vla_ros.observation import Observation
from vla_ros.train.config import TrainConfig
from vla_ros.train.data import load_data
from vla_ros.train.policy_task import PolicyTask


class Spy:
    """An engine that keeps what it is given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def infer(self, pixel_values: np.ndarray, text_embeds: np.ndarray, query_index: int) -> np.ndarray:
        self.given = pixel_values, text_embeds, query_index
        return self.engine.infer(pixel_values, text_embeds, query_index)


def test_pixels_tokens_and_query_are_those_of_training(
    tiny_run: Path, tiny_bundle: Path, tiny_config: TrainConfig, monkeypatch: pytest.MonkeyPatch
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

    trained, _ = load_run(tiny_run)
    words = trained.policy.backbone.word_embeddings.weight.detach().numpy()
    # in front of the text stand the constant prefix and the image
    text_start = trained.encoder.image_start + trained.contract.image.image_tokens
    for step, image in enumerate(samples.images):
        runner.predict(Observation(image=image, instruction=windows.instructions[0], stamp_ns=0))
        pixels, embeds, query_index = spies[-1].given
        np.testing.assert_array_equal(pixels[0], batch["pixel_values"][step].numpy())
        trained_ids, trained_query = batch["input_ids"][step].numpy(), int(batch["query_index"][step])
        assert trained_ids[: trained.encoder.image_start].tolist() == trained.prefix_ids()
        np.testing.assert_array_equal(embeds[0, :query_index], words[trained_ids[text_start:trained_query]])
        np.testing.assert_array_equal(embeds[0, query_index], trained.policy.action_query[0].detach().numpy())
        assert query_index == trained_query - text_start
