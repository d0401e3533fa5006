import html.parser
import json
from pathlib import Path
from urllib.parse import unquote

from test.evaluation.episodes import episode, evaluation
from vla_ros.evaluation.plots import reaction_svg
from vla_ros.evaluation.record import to_json
from vla_ros.evaluation.report import render, write_report
from vla_ros.evaluation.table import text_table


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
