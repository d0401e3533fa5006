import base64
import html.parser

import cv2
import numpy as np

from test.data.demonstrations import HEIGHT, STEPS, WIDTH, Pictures, episode, inspection
from vla_ros.data.inspection_page import IMAGE_WIDTH_PX, render
from vla_ros.data.inspection_plots import gripper_svg, histogram_svg
from vla_ros.data.inspection_warnings import Finding, find_all
from vla_ros.errors import DatasetError

VOID = {"meta", "img", "line", "path", "rect"}


class Page(html.parser.HTMLParser):
    """Collects what the tests look at, and checks that tags are closed in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_the_page_needs_nothing_but_itself() -> None:
    page = Page(render(inspection(), []))
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "script" not in page.tags
    assert "link" not in page.tags


def test_the_pictures_are_the_frames() -> None:
    source = Page(render(inspection(episode()), [])).sources[-1]
    encoded = np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8)
    shown = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(shown, Pictures()(np.array([STEPS - 1]))[0])


def test_large_frames_are_shrunk() -> None:
    large = np.tile(Pictures()(np.array([0]))[0], (20, 20, 1))
    source = Page(render(inspection(episode(frames=Pictures(large))), [])).sources[0]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(source.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (IMAGE_WIDTH_PX * HEIGHT // WIDTH, IMAGE_WIDTH_PX, 3)


def test_warnings_and_what_was_left_out_are_shown() -> None:
    found = inspection(episode(0), DatasetError("file: demo_1: expected numbers, got NaN"), skip_bad=True)
    text = render(found, [*find_all(found), Finding("x", "it is odd")])
    for expected in ("2 warnings", "it is odd", "file: demo_1: expected numbers, got NaN"):
        assert expected in text
    assert "No warnings." in render(inspection(), [])


def test_texts_from_outside_are_escaped() -> None:
    evil = "</title><script>alert(1)</script>\"'&"
    found = inspection(episode(0, instruction=evil, name=evil), DatasetError(evil), skip_bad=True)
    page = Page(render(found, [Finding("x", evil)]))
    assert "script" not in page.tags


def test_bars_lie_within_the_plot_and_marks_outside_of_it_are_left_out() -> None:
    found = inspection().histograms[0]
    svg = histogram_svg(found, "x", {"q01": found.low, "far": found.high + 1})
    assert "q01" in svg
    assert "far" not in svg


def test_the_gripper_is_filled_where_it_is_closed() -> None:
    svg = gripper_svg(np.array([1, 1, 0, 0, 1, 0], np.float32))
    assert svg.count('class="closed"') == 2
    assert 'x="333.3" width="333.3"' in svg
    assert "closed in 50 % of the steps" in svg
