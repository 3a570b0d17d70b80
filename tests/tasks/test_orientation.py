"""Photographs that EXIF turns: masks and boxes stay where they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import Box, BoxSample, MaskSample, RawData
from tasks.data.orientation import Marks
from tasks.data.pictures import decode
from tasks.kinds import detection, segmentation
from tasks.run.params import DataParams

TAGS = range(1, 9)
RAW = RawData("x", ("ground", "thing"), {})
PLACE = (4, 16, 24, 40)  # ymin, xmin, ymax, xmax of the thing in the upright picture


def upright(height: int = 32, width: int = 48) -> np.ndarray:
    """A dark picture with a bright thing in it."""
    pixels = np.zeros((height, width), np.uint8)
    ymin, xmin, ymax, xmax = PLACE
    pixels[ymin:ymax, xmin:xmax] = 255
    return pixels


def stored(pixels: np.ndarray, tag: int) -> Image.Image:
    """What a camera would store with a tag: turned upright it is ``pixels`` again."""
    back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = Image.fromarray(pixels)
    return image.transpose(back[tag]) if tag in back else image


def save(path: Path, pixels: np.ndarray, tag: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = tag
    stored(pixels, tag).save(path, exif=exif)
    return path


@pytest.mark.parametrize("ending", ["png", "jpg", "tiff", "webp"])
@pytest.mark.parametrize("tag", TAGS)
def test_without_marks_each_is_turned_upright(tmp_path: Path, tag: int, ending: str) -> None:
    path = save(tmp_path / f"a.{ending}", upright(), tag)
    result = decode(path, (32, 48), "stretch", 1)
    assert result.size == (32, 48) and result.pixels is not None
    assert np.abs(result.pixels[..., 0].astype(int) - upright()).mean() < 4


def boxed(path: Path, size: Any, exif: Any = "auto", edges: Any = PLACE) -> Any:
    sample = BoxSample(path.name, path, (Box(1, edges),), size)
    params = DataParams(image_size=(32, 48), fit="stretch", channels=1, exif=exif)
    return detection.KIND.load(sample, RAW, params)


def lies_in_its_box(content: Any) -> bool:
    """Whether the bright part of a picture is where its box says."""
    height, width = content.pixels.shape[:2]
    ymin, xmin, ymax, xmax = np.round(
        content.boxes[0] * np.array([height, width, height, width])
    ).astype(int)
    bright = content.pixels[..., 0] > 127
    return bool(bright[ymin + 2 : ymax - 2, xmin + 2 : xmax - 2].all() and bright.sum() < 600)


@pytest.mark.parametrize("ending", ["png", "jpg", "tiff"])
@pytest.mark.parametrize("tag", [1, 5, 6, 7, 8])
def test_the_size_tells_how_boxes_were_made(tmp_path: Path, tag: int, ending: str) -> None:
    path = save(tmp_path / f"a.{ending}", upright(), tag)
    shown = boxed(path, (32, 48)).content
    assert shown.size == (32, 48) and lies_in_its_box(shown)
    if tag == 1:
        return
    ymin, xmin, ymax, xmax = PLACE
    mask = np.zeros((32, 48), np.uint8)
    mask[ymin:ymax, xmin:xmax] = 1
    rows, columns = np.nonzero(np.asarray(stored(mask, tag)))
    edges = (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
    kept = boxed(path, (48, 32), edges=tuple(map(float, edges))).content
    assert kept.size == (48, 32) and lies_in_its_box(kept)


@pytest.mark.parametrize("tag", [2, 3, 4, 6])
def test_where_nothing_tells_it_must_be_said(tmp_path: Path, tag: int) -> None:
    path = save(tmp_path / "a.png", upright(), tag)
    size = None if tag == 6 else (32, 48)
    asked = boxed(path, size)
    assert asked.content is None
    assert asked.reason == (
        f"its EXIF tag turns it (orientation {tag}), and nothing tells whether its annotation is "
        "turned as well: set data.exif to upright or stored"
    )
    assert lies_in_its_box(boxed(path, size, "upright").content)
    as_stored = boxed(path, size, "stored").content
    assert as_stored.size == ((48, 32) if tag == 6 else (32, 48))
    np.testing.assert_array_equal(
        as_stored.pixels[..., 0],
        np.asarray(stored(upright(), tag).resize((48, 32), Image.Resampling.BILINEAR)),
    )


def test_a_square_does_not_tell_either(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", upright(48, 48), 6)
    assert "nothing tells" in boxed(path, (48, 48)).reason
    assert boxed(path, (48, 48), "upright").content is not None


def test_what_is_said_must_fit_the_size(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", upright(), 6)
    assert boxed(path, (48, 32), "upright").reason == (
        "its size is 48x32, but its annotation is for 32x48 pixels"
    )
    assert boxed(path, (32, 48), "stored").reason == (
        "its size is 32x48, but its annotation is for 48x32 pixels"
    )


def masked(tmp_path: Path, tag: int, mask_tag: int, exif: Any = "auto") -> Any:
    picture = save(tmp_path / "a.png", upright(), tag)
    mask = (upright() > 0).astype(np.uint8)
    path = save(tmp_path / "m.png", mask, mask_tag)
    sample = MaskSample("a.png", picture, path)
    params = DataParams(image_size=(32, 48), fit="stretch", channels=1, exif=exif)
    return segmentation.KIND.load(sample, RAW, params)


@pytest.mark.parametrize("tag", TAGS)
def test_a_mask_with_the_tag_of_its_picture_stays_on_it(tmp_path: Path, tag: int) -> None:
    pixels, mask, _ = masked(tmp_path, tag, tag).content
    np.testing.assert_array_equal(pixels[..., 0] > 127, mask == 1)


def test_a_mask_without_a_tag_must_be_told_by_its_size(tmp_path: Path) -> None:
    pixels, mask, _ = masked(tmp_path, 6, 1).content
    np.testing.assert_array_equal(pixels[..., 0] > 127, mask == 1)
    assert "whether its mask is turned as well" in masked(tmp_path, 3, 1).reason
    pixels, mask, _ = masked(tmp_path, 3, 1, "upright").content
    np.testing.assert_array_equal(pixels[..., 0] > 127, mask == 1)


def test_pixels_in_memory_have_no_tag() -> None:
    result = decode(upright(), (32, 48), "stretch", 1, Marks((32, 48)))
    assert result.pixels is not None
    assert (
        "annotation is for 48x33"
        in decode(upright(), (32, 48), "stretch", 1, Marks((33, 48))).reason
    )
