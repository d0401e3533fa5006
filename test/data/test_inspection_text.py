import numpy as np

from test.data.demonstrations import STEPS, episode, inspection
from vla_ros.data.inspection_histogram import Histogram, histogram
from vla_ros.data.inspection_text import WIDTH, sparkline, text_report
from vla_ros.data.inspection_warnings import Finding, find_all
from vla_ros.errors import DatasetError

LONG = "pick up the soup that stands to the left of the can on the shelf and then " * 3


def test_it_tells_figures_units_instructions_and_warnings() -> None:
    text = text_report(inspection(episode(0, instruction="Pick up the soup"), episode(1)), [Finding("x", "it is odd")])
    for expected in ("data/x", f"{2 * STEPS}, 0.1 min at 20 Hz", "32 x 24 px", "rad", "2 different", "warnings, 1:"):
        assert expected in text
    assert text.endswith("  - it is odd")


def test_no_line_is_wider_than_a_terminal() -> None:
    bad = DatasetError(f"{LONG}: expected a frame, got none")
    found = inspection(*(episode(index, instruction=f"{LONG} {index}") for index in range(20)), bad, skip_bad=True)
    text = text_report(found, [*find_all(found), Finding("x", LONG)])
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "and 8 more" in text


def test_without_warnings_it_says_so() -> None:
    assert text_report(inspection(), []).endswith("no warnings")


def test_a_part_of_a_data_set_is_called_a_part() -> None:
    assert "2 (2 of 4 were read)" in text_report(inspection(episodes=2), [])


def test_a_sparkline_shows_single_values_too() -> None:
    assert sparkline(Histogram(low=0, high=1, counts=(0, 1, 100, 25), below=0, above=0)) == " ▁█▄"
    assert len(sparkline(histogram(np.arange(100, dtype=np.float32)))) == 20
