import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.data.pictures import Channels, Fit, Frame, decode


def pixels(
    picture: Path | np.ndarray, size: int = 8, fit: Fit = "crop", channels: Channels = "auto"
) -> np.ndarray:
    result = decode(picture, (size, size), fit, channels).pixels
    assert result is not None
    return result


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def test_array_of_the_right_size_is_not_touched() -> None:
    array = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(pixels(array), array)
    np.testing.assert_array_equal(pixels(array[..., :1]), array[..., :1])


def test_crop_keeps_the_middle_square() -> None:
    array = np.zeros((8, 24), np.uint8)
    array[:, 8:16] = 200
    assert (pixels(array) == 200).all()


def test_pad_adds_black_and_keeps_the_whole() -> None:
    result = pixels(np.full((8, 16), 200, np.uint8), fit="pad")[..., 0]
    assert (result[2:6] == 200).all() and (result[:2] == 0).all() and (result[6:] == 0).all()


def test_stretch_fills_the_square() -> None:
    array = np.repeat(np.array([[0, 100, 200, 250]], np.uint8), 2, 0)
    assert pixels(array, 16, "stretch").shape == (16, 16, 1)


def test_shrinking_averages_instead_of_picking() -> None:
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    assert np.abs(pixels(board).astype(int) - 127).max() <= 2


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, [255]),
        ("L", 7, [7]),
        ("LA", (200, 0), [0]),
        ("RGB", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("RGBA", (99, 99, 99, 0), [0, 0, 0]),
        ("P", 0, [9, 8, 7]),
    ],
)
def test_every_mode_becomes_grey_or_colour(
    tmp_path: Path, mode: str, colour: int | tuple[int, ...], expected: list[int]
) -> None:
    image = Image.new(mode, (9, 9), colour)
    if mode == "P":
        image.putpalette([9, 8, 7] * 256)
    result = pixels(save(tmp_path / "a.png", image))
    assert result.shape == (8, 8, len(expected))
    assert result[4, 4].tolist() == expected


def test_channels_can_be_forced(tmp_path: Path) -> None:
    grey = np.full((8, 8), 50, np.uint8)
    assert pixels(grey, channels=3)[0, 0].tolist() == [50, 50, 50]
    assert pixels(np.stack([grey] * 3, -1), channels=1)[0, 0].tolist() == [50]


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 0, 8, 4))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 3  # the camera was upside down
    result = pixels(save(tmp_path / "a.png", image, exif=exif))
    assert (result[:4] == 0).all() and (result[4:] == 255).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "gif"])
def test_every_listed_file_type_decodes(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a.{suffix}", Image.new("RGB", (30, 20), (250, 0, 0)))
    assert np.abs(pixels(path).astype(int) - [250, 0, 0]).max() < 8


def test_damaged_files_are_reported_not_raised(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    good = stream.getvalue()
    for content in (b"", b"text", good[:40], good[: len(good) // 2]):
        path = tmp_path / "a.png"
        path.write_bytes(content)
        result = decode(path, (8, 8), "crop", "auto")
        assert result.pixels is None and result.reason and "\n" not in result.reason


def test_any_shape_is_a_target() -> None:
    array = np.zeros((8, 24), np.uint8)
    array[:, 4:20] = 200
    result = decode(array, (8, 16), "crop", "auto")
    assert result.pixels is not None and result.pixels.shape == (8, 16, 1)
    assert (result.pixels == 200).all() and result.size == (8, 24)
    padded = decode(array, (16, 24), "pad", "auto").pixels
    assert padded is not None and (padded[:4] == 0).all() and (padded[-4:] == 0).all()
    assert (padded[4:12, :, 0] == array).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(10, 10), (7, 23), (31, 8)])
def test_a_frame_puts_boxes_where_the_pixels_go(fit: Fit, size: tuple[int, int]) -> None:
    frame = Frame.of(size, (16, 24), fit)
    left, top, right, bottom = frame.region
    edges = np.array([[top, left, bottom, right]])
    x0, y0, x1, y1 = frame.place
    np.testing.assert_allclose(
        frame.fractions(edges)[0], np.array([y0, x0, y1, x1]) / [16, 24, 16, 24]
    )
    if fit != "stretch":  # nothing is distorted, but for the rounding of a bar
        across = (x1 - x0) / (right - left)
        assert across == pytest.approx((y1 - y0) / (bottom - top), rel=0.1)
    if fit == "crop":
        assert (x0, y0, x1, y1) == (0, 0, 24, 16)


def test_missing_file_is_reported(tmp_path: Path) -> None:
    result = decode(tmp_path / "a.png", (8, 8), "crop", "auto")
    assert result.pixels is None and result.reason == "there is no such file"
