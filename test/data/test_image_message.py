"""Image messages to RGB pixels, pixel by pixel."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vla_ros.data.image_message import check_image, pixels_of

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def refuse(field: str, expected: object, got: object) -> ValueError:
    return ValueError(f"{field}: expected {expected}, got {got}")


def raw(encoding: str, rows: np.ndarray, width: int = 8) -> SimpleNamespace:
    data = np.ascontiguousarray(rows).tobytes()
    return SimpleNamespace(encoding=encoding, height=6, width=width, step=len(data) // 6, data=data)


def read(message: SimpleNamespace) -> np.ndarray:
    check_image(message, refuse)
    return pixels_of(message, refuse)


def test_red_is_first_whatever_the_encoding() -> None:
    np.testing.assert_array_equal(read(raw("rgb8", PIXELS)), PIXELS)
    np.testing.assert_array_equal(read(raw("bgr8", PIXELS[..., ::-1])), PIXELS)
    np.testing.assert_array_equal(read(raw("mono8", PIXELS[..., 0])), PIXELS[..., :1].repeat(3, axis=2))


def test_padding_behind_the_rows_is_no_picture() -> None:
    padded = np.pad(PIXELS.reshape(6, 24), ((0, 0), (0, 8)), constant_values=255)
    np.testing.assert_array_equal(read(raw("rgb8", padded)), PIXELS)


@pytest.mark.parametrize("kind", ["png", "rgb8; png compressed bgr8"])
def test_a_png_is_read_back_exactly(kind: str) -> None:
    data = cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(read(SimpleNamespace(format=kind, data=data)), PIXELS)


@pytest.mark.parametrize("kind", ["jpeg", "jpg", "bgr8; jpeg compressed bgr8"])
def test_a_jpeg_keeps_its_colours(kind: str) -> None:
    red = np.full((16, 16, 3), (250, 30, 10), np.uint8)
    data = cv2.imencode(".jpg", red[..., ::-1])[1].tobytes()
    np.testing.assert_allclose(read(SimpleNamespace(format=kind, data=data)), red, atol=4)


@pytest.mark.parametrize("end", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0, 10, -1, -40])
def test_a_compressed_image_that_was_cut_off_is_refused(end: str, kept: int) -> None:
    data = cv2.imencode(end, cv2.resize(PIXELS, (64, 64)))[1].tobytes()[:kept]
    kind = "jpeg" if end == ".jpg" else "png"
    with pytest.raises(ValueError, match=f"data: expected a whole {kind.upper()} file"):
        read(SimpleNamespace(format=kind, data=data))


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (SimpleNamespace(format="h264", data=b""), "format: expected jpeg or png, got 'h264'"),
        (SimpleNamespace(format="16UC1; compressedDepth png", data=b"\0" * 40), "data: expected a whole PNG"),
        (raw("32FC1", PIXELS), "encoding: expected rgb8 or bgr8 or mono8, got '32FC1'"),
        (raw("rgb8", PIXELS, width=0), "width: expected >= 1, got 0"),
    ],
)
def test_other_images_are_refused(message: SimpleNamespace, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read(message)
