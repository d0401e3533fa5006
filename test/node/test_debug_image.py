"""What a person sees of a policy, pixel by pixel where that can be said."""

import numpy as np
import pytest

pytest.importorskip("rclpy")

from vla_ros.action import ActionChunk
from vla_ros.node.debug_image import GREEN, MIN_HEIGHT, PANEL_WIDTH, RED, draw
from vla_ros.observation import Observation

PIXELS = np.random.default_rng(0).integers(0, 256, (100, 60, 3), np.uint8)


def observe(pixels: np.ndarray = PIXELS, instruction: str = "öffne die Tür 😀 " * 30) -> Observation:
    return Observation(image=pixels, instruction=instruction, stamp_ns=1)


def chunk(rows: np.ndarray) -> ActionChunk:
    return ActionChunk(
        actions=rows.astype(np.float32), stamp_ns=1, period_ns=50_000_000, frame_id="base", rotation="axis_angle"
    )


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


def steps(xyz: tuple[float, float, float], opening: float = 1.0) -> np.ndarray:
    return np.tile([*xyz, 0, 0, 0, opening], (8, 1))


@pytest.mark.parametrize(("height", "factor"), [(100, 5), (480, 1), (720, 1), (32, 15)])
def test_the_frame_is_shown_as_it_is_beside_the_panel(height: int, factor: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (height, 64, 3), np.uint8)
    picture = draw(observe(pixels), "ACTIVE", None)
    assert picture.shape == (height * factor, 64 * factor + PANEL_WIDTH, 3)
    assert len(picture) >= MIN_HEIGHT
    np.testing.assert_array_equal(picture[::factor, : 64 * factor : factor], pixels)


def test_without_a_chunk_there_is_no_path() -> None:
    panel = draw(observe(), "HOLD: " + "a long reason " * 50, None)[:, -PANEL_WIDTH:]
    assert panel.any()
    assert count(panel, GREEN) == 0


def test_the_path_leads_where_the_chunk_does() -> None:
    """Seen from above, x is up and y to the left."""
    ends = {}
    for name, xyz in {"forward": (0.01, 0, 0), "left": (0, 0.01, 0), "right": (0, -0.01, 0)}.items():
        panel = draw(observe(), "ACTIVE", chunk(steps(xyz, opening=0.0)))[:, -PANEL_WIDTH:]
        rows, columns = np.nonzero((panel == GREEN).all(axis=2))
        above = rows < rows.max() - 20  # the other line is that of z, which stays
        ends[name] = (rows[above].mean(), columns[above].mean())
    assert ends["forward"][0] < ends["left"][0]
    assert ends["left"][1] < ends["forward"][1] < ends["right"][1]


def test_the_gripper_is_green_where_it_is_to_be_open() -> None:
    def bar(opening: float) -> np.ndarray:
        return draw(observe(), "ACTIVE", chunk(steps((0.001, 0, 0), opening)))[-30:, -PANEL_WIDTH:]

    assert count(bar(1.0), GREEN) > 1000
    assert count(bar(1.0), RED) == 0
    assert count(bar(0.0), RED) > 1000
    assert count(bar(0.0), GREEN) == 0


@pytest.mark.parametrize("length_m", [0.0, 1e-9, 1e6, 1e30])
def test_any_finite_chunk_can_be_drawn(length_m: float) -> None:
    draw(observe(), "ACTIVE", chunk(steps((length_m, -length_m, length_m))))
    draw(observe(), "ACTIVE", chunk(steps((length_m, -length_m, length_m))[:1]))
