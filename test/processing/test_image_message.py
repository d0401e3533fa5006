"""Image messages to RGB pixels, pixel by pixel."""

import io
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vla_ros.processing.image_message import ENCODINGS, check_image, image_size, pixels_of

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
OPAQUE = np.full((6, 8, 1), 255, np.uint8)


def refuse(field: str, expected: object, got: object) -> ValueError:
    return ValueError(f"{field}: expected {expected}, got {got}")


def raw(encoding: str, rows: np.ndarray, width: int = 8) -> SimpleNamespace:
    data = np.ascontiguousarray(rows).tobytes()
    return SimpleNamespace(encoding=encoding, height=len(rows), width=width, step=len(data) // len(rows), data=data)


def read(message: SimpleNamespace) -> np.ndarray:
    check_image(message, refuse)
    return pixels_of(message, refuse)


def test_red_is_first_whatever_the_encoding() -> None:
    np.testing.assert_array_equal(read(raw("rgb8", PIXELS)), PIXELS)
    np.testing.assert_array_equal(read(raw("bgr8", PIXELS[..., ::-1])), PIXELS)
    np.testing.assert_array_equal(read(raw("mono8", PIXELS[..., 0])), PIXELS[..., :1].repeat(3, axis=2))
    np.testing.assert_array_equal(read(raw("rgba8", np.dstack([PIXELS, OPAQUE]))), PIXELS)
    np.testing.assert_array_equal(read(raw("bgra8", np.dstack([PIXELS[..., ::-1], OPAQUE]))), PIXELS)


# the first two pixels of the first two rows of the sensor, left to right, top to bottom, as the encoding's name says
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_is_read_by_the_pattern_of_its_name(pattern: str) -> None:
    red, green, blue = 200, 120, 40
    value = {"r": red, "g": green, "b": blue}
    tile = np.array([value[letter] for letter in pattern], np.uint8).reshape(2, 2)
    picture = read(raw(f"bayer_{pattern}8", np.tile(tile, (3, 4))))
    np.testing.assert_array_equal(picture, np.broadcast_to([red, green, blue], (6, 8, 3)).astype(np.uint8))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_bayer_mosaic_keeps_what_each_sensor_pixel_saw(pattern: str) -> None:
    """Interpolation invents the other two colours of a pixel, never its own."""
    mosaic = PIXELS[..., 0]
    picture = read(raw(f"bayer_{pattern}8", mosaic))
    for row in range(1, 5):  # OpenCV copies the border from the inside
        for column in range(1, 7):
            channel = "rgb".index(pattern[row % 2 * 2 + column % 2])
            assert picture[row, column, channel] == mosaic[row, column]


# BT.601, limited range, as V4L2 and cv_bridge read it: R = 1.164 (Y - 16) + 1.596 (V - 128), and so on
COLOURS = {
    (235, 128, 128): (255, 255, 255),
    (81, 90, 240): (255, 0, 0),
    (145, 54, 34): (0, 255, 0),
    (41, 240, 110): (0, 0, 255),
}


@pytest.mark.parametrize("yuv", COLOURS)
@pytest.mark.parametrize(("names", "order"), [(("yuv422", "uyvy"), "uyvy"), (("yuv422_yuy2", "yuyv"), "yuyv")])
def test_two_neighbours_share_the_colour_of_yuv422(
    names: tuple[str, ...], order: str, yuv: tuple[int, int, int]
) -> None:
    value = dict(zip("yuv", yuv, strict=True))
    pair = np.array([value[letter] for letter in order], np.uint8)
    for name in names:
        picture = read(raw(name, np.tile(pair, (6, 4))))
        np.testing.assert_allclose(picture, np.broadcast_to(COLOURS[yuv], (6, 8, 3)), atol=2)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_padding_behind_the_rows_is_no_picture(encoding: str) -> None:
    width_bytes = 8 * ENCODINGS[encoding].channels
    rows = np.random.default_rng(1).integers(0, 256, (6, width_bytes), np.uint8)
    padded = np.pad(rows, ((0, 0), (0, 8)), constant_values=255)
    np.testing.assert_array_equal(read(raw(encoding, padded)), read(raw(encoding, rows)))


def test_pixels_that_need_no_conversion_are_not_copied() -> None:
    message = raw("rgb8", PIXELS)
    assert np.shares_memory(read(message), np.frombuffer(message.data, np.uint8))


@pytest.mark.parametrize("kind", ["png", "rgb8; png compressed bgr8", "yuv422_yuy2; png compressed bgr8"])
def test_a_png_is_read_back_exactly(kind: str) -> None:
    data = cv2.imencode(".png", PIXELS[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(read(SimpleNamespace(format=kind, data=data)), PIXELS)


@pytest.mark.parametrize("kind", ["jpeg", "jpg", "bgr8; jpeg compressed bgr8", "rgb8;jpeg compressed bgr8"])
def test_a_jpeg_keeps_its_colours(kind: str) -> None:
    red = np.full((16, 16, 3), (250, 30, 10), np.uint8)
    data = cv2.imencode(".jpg", red[..., ::-1])[1].tobytes()
    np.testing.assert_allclose(read(SimpleNamespace(format=kind, data=data)), red, atol=4)


def test_a_grey_jpeg_is_grey() -> None:
    data = cv2.imencode(".jpg", np.full((16, 16), 77, np.uint8))[1].tobytes()
    picture = read(SimpleNamespace(format="mono8; jpeg compressed ", data=data))
    np.testing.assert_array_equal(picture, np.full((16, 16, 3), 77))


def test_a_jpeg_is_read_as_it_is_stored_however_its_camera_was_held() -> None:
    image = pytest.importorskip("PIL.Image")
    turned = image.Exif()
    turned[0x0112] = 6  # orientation: turn by 90 degrees for viewing
    buffer = io.BytesIO()
    image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(buffer, "jpeg", exif=turned)
    assert read(SimpleNamespace(format="jpeg", data=buffer.getvalue())).shape == (16, 32, 3)


@pytest.mark.parametrize(("end", "options"), [(".png", []), (".jpg", []), (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])])
def test_the_size_of_a_compressed_image_is_known_before_it_is_decoded(end: str, options: list[int]) -> None:
    data = cv2.imencode(end, np.zeros((30, 50, 3), np.uint8), options)[1].tobytes()
    message = SimpleNamespace(format="png" if end == ".png" else "jpeg", data=data)
    assert image_size(message, refuse) == (50, 30)
    filled = data[:2] + b"\xff\xff" + data[2:]  # JPEG lets fill bytes stand before a marker
    if end == ".jpg":
        assert image_size(SimpleNamespace(format="jpeg", data=filled), refuse) == (50, 30)


def test_a_png_that_lies_about_its_size_is_damaged() -> None:
    data = bytearray(cv2.imencode(".png", PIXELS)[1].tobytes())
    data[16:20] = (60_000).to_bytes(4, "big")
    message = SimpleNamespace(format="png", data=bytes(data))
    assert image_size(message, refuse) == (60_000, 6)
    with pytest.raises(ValueError, match="data: expected a whole PNG file, got a damaged one"):
        read(message)


@pytest.mark.parametrize("end", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0, 10, -1, -40])
def test_a_compressed_image_that_was_cut_off_is_refused(end: str, kept: int) -> None:
    data = cv2.imencode(end, cv2.resize(PIXELS, (64, 64)))[1].tobytes()[:kept]
    kind = "jpeg" if end == ".jpg" else "png"
    with pytest.raises(ValueError, match=f"data: expected a whole {kind.upper()} file"):
        read(SimpleNamespace(format=kind, data=data))


@pytest.mark.parametrize(
    "kind",
    [
        "h264",
        "",
        "jpeg\n",
        "16UC1; compressedDepth png",
        "mono16; png compressed ",  # 16 bits would be cut to 8
        "bayer_rggb8; jpeg compressed ",  # a mosaic, squeezed as if it were grey
        "rgb8; png compressed rgb8",  # red and blue have changed places in the file
    ],
)
def test_a_format_that_holds_no_plain_8_bit_picture_is_refused(kind: str) -> None:
    data = cv2.imencode(".png", PIXELS)[1].tobytes()
    with pytest.raises(ValueError, match=r"^format: expected jpeg or png, .*, got '") as error:
        read(SimpleNamespace(format=kind, data=data))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (raw("32FC1", PIXELS), "encoding: expected rgb8 or bgr8 or .* or yuyv, got '32FC1'"),
        (raw("8UC3", PIXELS), "encoding: expected rgb8 or bgr8 or .* or yuyv, got '8UC3'"),
        (raw("rgb8", PIXELS, width=0), "width: expected >= 1, got 0"),
        (raw("rgb8", PIXELS, width=9), "step: expected >= 27, got 24"),
        (raw("yuyv", PIXELS, width=7), "width: expected an even number for yuyv, got 7"),
        (SimpleNamespace(**{**vars(raw("rgb8", PIXELS)), "height": 5}), r"len\(data\): expected 120, got 144"),
    ],
)
def test_a_raw_image_that_cannot_be_what_it_says_is_refused(message: SimpleNamespace, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{complaint}$"):
        read(message)
