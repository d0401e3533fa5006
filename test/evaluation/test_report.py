import dataclasses
import html.parser
import json
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np

from test.evaluation.episodes import episode, evaluation
from vla_ros.evaluation.plots import reaction_svg
from vla_ros.evaluation.record import Candidate, to_json
from vla_ros.evaluation.report import render, write_report
from vla_ros.evaluation.table import text_table
from vla_ros.sim.episode import SubtaskResult


class Page(html.parser.HTMLParser):
    """Collects what the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_report_shows_figures_outcomes_reasons_and_provenance(tmp_path: Path) -> None:
    text = render(
        evaluation(
            tmp_path, episode(), episode(initial_state=1, outcome="held", reason="chunk: none for 5.0 s", steps=40)
        )
    )
    for expected in ("50 %", "1 of 2", "held", "chunk: none for 5.0 s", "b" * 64, "lockstep", "mujoco", "a processor"):
        assert expected in text


def test_the_failures_come_first_in_a_gallery_of_their_own(tmp_path: Path) -> None:
    text = render(
        evaluation(
            tmp_path,
            episode(video="good.mp4"),
            episode(initial_state=1, outcome="timeout", video="bad.mp4"),
            episode(initial_state=2, outcome="simulator_failed", reason="reset: RuntimeError: no GL", video=""),
        )
    )
    assert text.index("Failures") < text.index("bad.mp4") < text.index("Successes") < text.index("good.mp4")
    assert "simulator failed" in text
    assert "reset: RuntimeError: no GL" in text


def test_a_measured_row_stands_under_those_of_the_paper(tmp_path: Path) -> None:
    text = render(evaluation(tmp_path, episode(), suite="libero_10"))
    assert text.index("Qwen3-VL-2B") < text.index("55.8") < text.index("100.0 (20.7 to 100.0)")
    assert "arXiv 2601.03309" in text
    assert "Beside the paper" not in render(evaluation(tmp_path, episode(), suite="libero_object"))


def test_what_is_not_the_benchmark_is_not_compared_with_the_papers_and_says_so(tmp_path: Path) -> None:
    changes = ({"moved_target_m": 0.05}, {"tasks": (0, 1), "told_task_offset": 1})
    for change, words in zip(changes, ("by up to\n  5 cm along x and y", "A control"), strict=True):
        text = render(evaluation(tmp_path, episode(), suite="libero_10", **change))
        assert words in text
        assert "Beside the paper" not in text


def test_chain_lengths_are_a_table_and_stand_beside_the_papers(tmp_path: Path) -> None:
    parts = tuple(
        SubtaskResult(name="x", instruction=f"do {k}", outcome=outcome, steps=1)
        for k, outcome in enumerate(("success", "success", "timeout", "not_reached", "not_reached"))
    )
    made = evaluation(
        tmp_path, episode(outcome="timeout", subtasks=parts), simulator="calvin", suite="scene_d", tasks=(0,)
    )
    text = render(made)
    for expected in ("at least 5", "2.000", "4.142", "2 of 5 done", "step limit at: do 2"):
        assert expected in text
    assert "subtasks in a row: 2.000 on average" in text_table(made)
    assert to_json(made)["chains"]["at_least"][1]["successes"] == 1


def test_a_selection_is_told_apart_from_the_test(tmp_path: Path) -> None:
    candidates = (
        Candidate(name="horizon-4", n=10, successes=9, score=0.9, ci95=(0.6, 1.0), is_chosen=True),
        Candidate(name="horizon-8", n=10, successes=3, score=0.3, ci95=(0.1, 0.6), is_chosen=False),
    )
    made = dataclasses.replace(evaluation(tmp_path, episode(outcome="timeout")), selection=candidates)
    text = render(made)
    assert "0 of 1" in text
    assert text.count("chosen, tested above") == 1
    assert [candidate["name"] for candidate in to_json(made)["selection"]] == ["horizon-4", "horizon-8"]
    assert to_json(made)["tasks"][0]["n"] == 1


def test_latency_limits_and_speed_are_told(tmp_path: Path) -> None:
    made = evaluation(
        tmp_path,
        episode(latency_ms=(100.0, 120.0), simulator_s=5.0, rendered=20, clamped_steps=4),
        mode="latency",
        latency="100/120ms",
    )
    provenance = dataclasses.replace(made.provenance, mode="latency")
    text = render(dataclasses.replace(made, gate_counts={"clamped": 7}, provenance=provenance))
    for expected in ("100/120ms", "drawn for 2 images", "4.00 % of all steps", "gate: clamped", "20.0 steps/s"):
        assert expected in text


def test_episodes_that_were_run_again_are_told(tmp_path: Path) -> None:
    made = dataclasses.replace(evaluation(tmp_path, episode()), broken=(episode(outcome="held", reason="no chunk"),))
    assert "1 episode broke an earlier" in render(made)
    assert to_json(made)["episodes_run_again"][0]["outcome"] == "held"


def test_video_links_are_relative_and_lead_to_files(tmp_path: Path) -> None:
    name = "task 0 #1 50%.mp4"
    (tmp_path / name).write_bytes(b"")
    path = write_report(evaluation(tmp_path, episode(video=name)))
    (link,) = Page(path.read_text(encoding="utf-8")).links
    assert "://" not in link
    assert (path.parent / unquote(link)).is_file()


def test_an_episode_without_video_has_no_player(tmp_path: Path) -> None:
    assert "video" not in Page(render(evaluation(tmp_path, episode(video="")))).tags


def test_texts_from_outside_are_escaped(tmp_path: Path) -> None:
    evil = "</title><script>alert(1)</script>\"'&"
    text = render(evaluation(tmp_path, episode(instruction=evil, reason=evil, task=evil), failure=evil, suite=evil))
    assert Page(text).tags.count("script") == 1, "only the report's own"
    assert "<script>alert" not in text


def test_a_run_that_broke_off_says_so_and_why(tmp_path: Path) -> None:
    text = render(evaluation(tmp_path, failure="policy_node: ended with exit code 1: no memory"))
    assert "Broken off after 0 of\n  2 episodes" in text
    assert "policy_node: ended with exit code 1: no memory" in text


def test_the_plot_draws_one_point_an_image_and_thins_long_runs_but_not_their_tail() -> None:
    assert reaction_svg([episode(reaction_ms=(1.0, 2.0, 3.0))]).count("<circle") == 3
    long = [1.0] * 29_990 + [50.0] * 10
    assert 3000 <= reaction_svg([episode(reaction_ms=tuple(long))]).count("<circle") <= 3020
    assert reaction_svg([episode(reaction_ms=())]) == ""


def test_the_table_is_aligned_and_has_a_total_only_for_several_tasks(tmp_path: Path) -> None:
    one = text_table(evaluation(tmp_path, episode(), episode(initial_state=1, outcome="timeout")))
    heading, _, row = one.splitlines()
    for name, value in (("episodes", "2"), ("successes", "1"), ("rate", "50%"), ("95 % interval", "9% to 91%")):
        end = heading.index(name) + len(name)
        assert row[:end].endswith(value)
    two = text_table(evaluation(tmp_path, episode(), episode(task_index=1, task="b", instruction="push the plate")))
    assert two.splitlines()[-1].startswith("all tasks")
    assert text_table(evaluation(tmp_path)) == "no episode was finished"


def test_success_by_task_is_a_picture_of_its_own(tmp_path: Path) -> None:
    write_report(evaluation(tmp_path, episode()))
    assert not (tmp_path / "success_by_task.svg").exists()  # one bar says no more than the table
    butter = {"task_index": 1, "task": "b", "instruction": "get <butter> & go"}
    results = [episode(), episode(**butter), episode(**butter, initial_state=1, outcome="timeout")]
    write_report(evaluation(tmp_path, *results))
    drawing = ElementTree.parse(tmp_path / "success_by_task.svg").getroot()
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text and " / " in text] == ["1 / 1", "1 / 2", "2 / 3"]
    assert "get <butter> & go" in texts
    widths = [float(bar.get("width", 0)) for bar in drawing.iter("{http://www.w3.org/2000/svg}rect")][1:]
    np.testing.assert_allclose(np.array(widths) / widths[0], [1, 1 / 2, 2 / 3], atol=1e-3)


def test_json_keeps_the_promised_names(tmp_path: Path) -> None:
    values = json.loads(json.dumps(to_json(evaluation(tmp_path, episode(), episode(initial_state=1)))))
    assert (values["bundle_sha256"], values["simulator"], values["mode"]) == ("b" * 64, "libero", "lockstep")
    (task,) = values["tasks"]
    assert (task["task"], task["instruction"], task["n"], task["successes"]) == (
        "pick_up_the_soup",
        "pick up the soup",
        2,
        2,
    )
    low, high = task["ci95"]
    assert 0 < low < high == 1.0
    assert values["reaction_ms"]["p50"] == 20.0
    assert values["episodes"][0]["actions_sha256"] == "a" * 64
