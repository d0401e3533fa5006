"""The page that ships inside a bundle."""

import base64
import html.parser
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from test.export.parity_cases import CHUNK, FRAMES, answers, degrees, measure, to_actions
from vla_ros.export.parity import TOLERANCES
from vla_ros.export.parity_page import IMAGE_WIDTH_PX, MOST_LAYERS, SHOWN_LAYERS, page
from vla_ros.export.parity_plots import distribution_svg, path_svg, steps_svg

VOID = {"meta", "img", "line", "path", "circle"}
EVIL = "</title><script>alert(1)</script>\"'&"


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


def images(height: int = 24, width: int = 32) -> list[NDArray[np.uint8]]:
    """Each of one brightness, 40 apart."""
    return [np.full((height, width, 3), 40 * number, np.uint8) for number in range(FRAMES)]


def render(answered: Any = None, **changes: Any) -> str:
    reference, outputs = answered or answers(x={(2, 0): 0.001}, ry={(1, 1): degrees(0.5)})
    arguments: dict[str, Any] = {
        "name": "stove",
        "precision": "int8",
        "reference_actions": to_actions(reference),
        "actions": to_actions(outputs),
        "images": images(),
        "instructions": [f"task {number}" for number in range(FRAMES)],
        "kept": (),
        "sensitivity": None,
    }
    return page(measure(reference, outputs), TOLERANCES["int8"], **(arguments | changes))


def sensitivity(layers: int) -> Any:
    pytest.importorskip("torch")
    from vla_ros.export.sensitivity import RoundingError, Sensitivity

    def cost(name: str, millimetres: float) -> RoundingError:
        return RoundingError(name=name, position_mm=millimetres, rotation_deg=0.0, gripper_flips=0)

    rows = tuple(cost(f"layers.{number}.mlp", 8.0 / (number + 1)) for number in range(layers))
    return Sensitivity(frames=2, rows=rows, together=cost("all layers", 9.0))


def test_the_page_needs_nothing_but_itself() -> None:
    found = Page(render(sensitivity=sensitivity(30), kept=("head.0",)))
    assert [source.split(",")[0] for source in found.sources] == ["data:image/jpeg;base64"]
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert found.tags.count("svg") == 2 * 6 + 2


def test_texts_from_outside_are_escaped() -> None:
    evil = Page(render(name=EVIL, precision=EVIL, instructions=[EVIL] * FRAMES, kept=(EVIL,)))
    assert "script" not in evil.tags


def test_the_worst_frames_image_and_instruction_are_shown() -> None:
    text = render()
    assert "task 2" in text
    assert "task 1" not in text
    encoded = np.frombuffer(base64.b64decode(Page(text).sources[0].split(",")[1]), np.uint8)
    shown = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert shown is not None
    np.testing.assert_allclose(shown, images()[2], atol=2)


def test_large_images_of_a_camera_leave_the_page_small() -> None:
    noise = np.random.default_rng(0).integers(90, 166, (FRAMES, 960, 1280, 3), dtype=np.uint8)
    text = render(images=list(noise), sensitivity=sensitivity(MOST_LAYERS + 100))
    assert len(text) < 300_000
    encoded = np.frombuffer(base64.b64decode(Page(text).sources[0].split(",")[1]), np.uint8)
    shown = cv2.imdecode(encoded, cv2.IMREAD_COLOR)
    assert shown is not None
    assert shown.shape == (IMAGE_WIDTH_PX * 960 // 1280, IMAGE_WIDTH_PX, 3)
    assert "and 100 more" in text


def test_an_export_within_its_tolerance_says_so() -> None:
    text = render()
    assert "✓ Within the tolerance of int8" in text
    assert "✗" not in text


def test_what_is_beyond_its_tolerance_is_named() -> None:
    reference, outputs = answers(z={(0, 0): 0.004})
    outputs[0, 0, 6] = -1
    text = render((reference, outputs))
    assert "✗ Beyond the tolerance of int8: z, gripper." in text
    assert text.count("✗ beyond") == 2
    assert text.count("✓ within") == 5


def test_the_same_layer_of_every_block_is_named_once() -> None:
    text = render(kept=("layers.0.mlp.down", "layers.1.mlp.down", "head.2"))
    assert '<code>layers.*.mlp.down</code> <span class="quiet">&times; 2</span>' in text
    assert "<code>head.2</code></li>" in text
    assert "Kept at higher precision" not in render()


def test_a_sweep_is_shown_with_what_to_keep() -> None:
    text = render(sensitivity=sensitivity(SHOWN_LAYERS + 3))
    assert "the other 3" in text
    assert '- "layers.0.mlp"' in text
    assert text.index("<code>layers.0.mlp</code>") < text.index("<code>layers.1.mlp</code>")
    assert "What each layer costs" not in render()


def test_an_export_without_any_error_has_a_page() -> None:
    Page(render(answers()))


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1.0, 1e6])
def test_plots_stay_within_their_frame_at_any_scale(scale: float) -> None:
    values = scale * np.array([[0.2, 1.0], [0.4, -1.0], [0.3, 0.5]])
    plots = (
        distribution_svg(np.abs(values), "mm", 3.0, "errors"),
        steps_svg(values[:, 0], values[:, 1], 3.0, "steps"),
        steps_svg(values[:1, 0], values[:1, 1], 3.0, "one step"),
        path_svg(values, -values, ("x", "y"), "way"),
    )
    for plot in plots:
        assert "nan" not in plot
        assert "inf" not in plot
        places = [float(text.split('"')[1]) for text in plot.split() if text.startswith(("cx=", "cy=", "x1=", "y1="))]
        assert places
        assert all(0 <= place <= 320 for place in places)


def test_the_chunk_is_one_step_long_at_least() -> None:
    assert CHUNK > 1
    reference, outputs = (values[:, :1] for values in answers(x={(2, 0): 0.001}))
    Page(render((reference, outputs)))
