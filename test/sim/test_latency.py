"""Latency in the loop: how a latency is written, and when the policy sees and answers what."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from test.sim.fake_simulator import FakeSimulator
from vla_ros.action import Command
from vla_ros.errors import ConfigError
from vla_ros.sim.camera_schedule import Shot
from vla_ros.sim.episode import EpisodeResult
from vla_ros.sim.latency import read_latency, split_latencies
from vla_ros.sim.lockstep import EpisodeRunner, Reply, SimClock

EPISODE = (3, 7)


def test_one_number_is_always_that_and_a_unit_may_be_seconds() -> None:
    assert {read_latency("100ms").draw_ms(0, EPISODE, image) for image in range(5)} == {100.0}
    assert read_latency("0.25s").draw_ms(0, EPISODE, 0) == 250.0
    assert read_latency("0ms").draw_ms(0, EPISODE, 0) == 0.0


def test_median_and_99th_percentile_are_those_that_were_asked_for() -> None:
    latency = read_latency("80/140ms")
    drawn = [latency.draw_ms(1, EPISODE, image) for image in range(20000)]
    assert np.percentile(drawn, (50, 99)) == pytest.approx((80, 140), rel=0.03)


def test_draws_depend_on_seed_episode_and_image_alone() -> None:
    latency = read_latency("80/140ms")
    assert latency.draw_ms(1, EPISODE, 5) == read_latency("80/140ms").draw_ms(1, EPISODE, 5)
    others = [latency.draw_ms(2, EPISODE, 5), latency.draw_ms(1, (3, 8), 5), latency.draw_ms(1, EPISODE, 6)]
    assert len({latency.draw_ms(1, EPISODE, 5), *others}) == 4


def test_a_measured_file_is_drawn_from(tmp_path: Path) -> None:
    path = tmp_path / "latencies.txt"
    path.write_text("10\n20.5\n\n400\n")
    latency = read_latency(str(path))
    assert {latency.draw_ms(0, EPISODE, image) for image in range(200)} == {10.0, 20.5, 400.0}


def test_what_the_benchmarks_write_is_read(tmp_path: Path) -> None:
    reaction = tmp_path / "reaction.json"
    reaction.write_text(json.dumps({"figures": {"frames": 10000, "p50_ms": 31.5, "p99_ms": 48.0}}))
    assert (read_latency(str(reaction)).p50_ms, read_latency(str(reaction)).p99_ms) == (31.5, 48.0)
    for content in ({"figures": [1]}, {"rows": [{"median_s": "x", "p99_s": 1.0}]}, {"figures": {"rows": 3}}):
        reaction.write_text(json.dumps(content))
        with pytest.raises(
            ConfigError, match="expected p50_ms and p99_ms, or rows with median_s and p99_s, got neither"
        ):
            read_latency(str(reaction))
    inference = tmp_path / "inference.json"
    rows = [
        {"engine": "onnx_cpu", "precision": "int8", "median_s": 0.64, "p99_s": 0.7},
        {"engine": "torch_eager", "precision": "fp32", "median_s": 3.1, "p99_s": 3.3},
    ]
    inference.write_text(json.dumps({"figures": {}, "rows": rows}))
    assert read_latency(f"{inference}#onnx_cpu:int8").text == "640/700ms"
    with pytest.raises(
        ConfigError, match=r"expected one of .*#onnx_cpu:int8, .*#torch_eager:fp32, got .*inference.json"
    ):
        read_latency(str(inference))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("100", "latency: expected `100ms`"),
        ("fast", "got 'fast'"),
        ("140/80ms", "expected p50 and p99 with 0 < p50 <= p99"),
        ("-5ms", "got '-5ms'"),
    ],
)
def test_what_is_no_latency_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        read_latency(text)


def test_a_bad_line_of_a_measured_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latencies.txt"
    path.write_text("10\nnan\n")
    with pytest.raises(ConfigError, match=r"latencies.txt: line 2: expected a latency >= 0 \[ms\], got 'nan'"):
        read_latency(str(path))


def test_numbers_of_a_list_share_the_last_unit() -> None:
    assert split_latencies("0,100,200ms") == ("0ms", "100ms", "200ms")
    assert split_latencies("0.1,0.2s,80/140ms,runs/reaction.json") == (
        "0.1ms",
        "0.2s",
        "80/140ms",
        "runs/reaction.json",
    )
    with pytest.raises(ConfigError):
        split_latencies("0,,100ms")


class Recorder:
    """A policy and a gate that note at which step which image's chunk arrived."""

    def __init__(self, start_ns: int, period_ns: int) -> None:
        self.start_ns, self.period_ns = start_ns, period_ns
        self.arrivals: list[tuple[int, int]] = []
        self.images: list[NDArray[np.uint8]] = []

    def instruct(self, text: str) -> str:
        return ""

    def restart(self) -> None:
        pass

    def tick(self, stamp_ns: int, shot: Shot | None) -> Reply:
        if shot is not None:
            steps = [(at - self.start_ns) // self.period_ns for at in (stamp_ns, shot.stamp_ns)]
            self.arrivals.append((steps[0], steps[1]))
            self.images.append(shot.image)
        delta = np.array([0.002, 0, 0, 0, 0, 0])
        return Reply(command=Command(delta=delta, gripper=1.0), gate_state="RUN", problem="", reaction_ms=1.0)


def run(text: str, steps: int = 12) -> tuple[EpisodeResult, Recorder]:
    simulator = FakeSimulator(max_steps=steps)
    link = Recorder(10**12, simulator.action_space.period_ns)
    runner = EpisodeRunner(
        simulator=simulator,
        link=link,
        clock=SimClock(link.start_ns),
        observe_every_n_steps=8,
        video_every_n_steps=0,
        on_step=lambda step, state: None,
        latency=read_latency(text),
    )
    return runner.run(simulator.tasks()[0], 0, 0, None, ""), link


@pytest.mark.parametrize(
    ("latency", "arrivals"),
    [  # step at which the chunk arrives, step that its image shows; 50 ms a step
        ("0ms", [(step, step) for step in range(12)]),
        ("50ms", [(step + 1, step) for step in range(11)]),
        ("51ms", [(2, 0), (4, 2), (6, 4), (8, 6), (10, 8)]),
        ("100ms", [(2, 0), (4, 2), (6, 4), (8, 6), (10, 8)]),
        ("200ms", [(4, 0), (8, 4)]),
        ("10s", []),
    ],
)
def test_a_chunk_arrives_at_the_first_step_after_its_latency_and_only_then_the_policy_looks_again(
    latency: str, arrivals: list[tuple[int, int]]
) -> None:
    result, link = run(latency)
    assert link.arrivals == arrivals
    assert result.outcome == "timeout"


def test_the_image_shows_the_world_at_its_stamp_not_at_its_arrival() -> None:
    _, link = run("200ms")
    moved_mm = [int(image[0, 0, 0]) for image in link.images]
    assert moved_mm == [0, 8]  # 2 mm a step, at steps 0 and 4


def test_every_image_that_was_taken_has_its_latency_in_the_result() -> None:
    first, second = run("80/140ms")[0], run("80/140ms")[0]
    assert first.latency_ms == second.latency_ms
    assert len(set(first.latency_ms)) == len(first.latency_ms) == first.rendered
