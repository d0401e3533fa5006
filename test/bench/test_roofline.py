"""The roofline: what a pass needs, and the least time that follows from it."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("openvino")

import torch
from torch.utils.flop_counter import FlopCounterMode

from vla_ros.bench import roofline
from vla_ros.bench.inference_export import export
from vla_ros.bench.roofline import Limits, Meter, Work, graph_work
from vla_ros.bundle import WEIGHTS, Bundle
from vla_ros.config import load
from vla_ros.export.graph import PolicyGraph
from vla_ros.export.random_policy import random_frames, random_policy
from vla_ros.train.config import PolicyConfig

CONFIG = Path(__file__).parents[2] / "config" / "policy" / "libero_object_tiny.yaml"
LIMITS = Limits(bandwidth=10.0, fp32_flops=1.0, bf16_flops=2.0, int8_ops=4.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    work = tmp_path_factory.mktemp("work")
    export(CONFIG, 0, "int8", work)
    return Bundle.open(work / "int8")


def test_the_graph_is_counted_as_torch_counts_it_but_for_the_last_layers_other_tokens(bundle: Bundle) -> None:
    trained = random_policy(load(CONFIG, PolicyConfig))
    frame = random_frames(1, seed=0)[0]
    pixels, text, query = trained.feed(frame)
    graph = PolicyGraph(trained.policy, trained.prefix_ids())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        graph(pixels, text, query)
    work = graph_work(bundle, text.shape[1])
    # behind its attention, the last layer runs for the query alone
    last = trained.policy.backbone.model.language_model.layers[-1]
    left_out = [last.self_attn.o_proj, last.mlp.gate_proj, last.mlp.up_proj, last.mlp.down_proj]
    others = trained.contract.image.image_tokens + text.shape[1] - 1
    expected = counter.get_total_flops() - sum(2 * others * layer.weight.numel() for layer in left_out)
    assert work.flops == pytest.approx(expected, rel=0.005)  # angles of positions are small products
    assert work.weight_bytes == (bundle.path / WEIGHTS).stat().st_size


def test_a_longer_text_is_more_work_on_the_same_weights(bundle: Bundle) -> None:
    short, long = graph_work(bundle, 10), graph_work(bundle, 40)
    assert long.flops > short.flops
    assert long.weight_bytes == short.weight_bytes


def test_the_least_time_is_the_longer_of_reading_and_multiplying() -> None:
    multiplies = Work(flops=8.0, weight_bytes=10.0)
    assert [multiplies.least_s(LIMITS, precision) for precision in ("fp32", "bf16", "int8")] == [8.0, 4.0, 2.0]
    assert not multiplies.is_memory_bound(LIMITS, "int8")
    reads = Work(flops=8.0, weight_bytes=100.0)
    assert reads.least_s(LIMITS, "fp32") == 10.0
    assert reads.is_memory_bound(LIMITS, "fp32")


def test_the_best_limits_are_those_of_any_round() -> None:
    other = Limits(bandwidth=5.0, fp32_flops=3.0, bf16_flops=1.0, int8_ops=4.0)
    assert Limits.best([LIMITS, other]) == Limits(bandwidth=10.0, fp32_flops=3.0, bf16_flops=2.0, int8_ops=4.0)


def test_the_meter_measures_every_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIDE", 128)
    monkeypatch.setattr(roofline, "BANDWIDTH_BYTES", 2**20)
    limits = Meter(threads=1).measure()
    assert min(limits.bandwidth, limits.fp32_flops, limits.bf16_flops, limits.int8_ops) > 0
