"""Pictures of 16 bits: what 10, 12 and 14 bits of a sensor become."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError
from tasks.data.depth import depth_of, to_8_bits
from tasks.data.pictures import decode
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz


def save_png(path: Path, values: np.ndarray) -> None:
    """A PNG of 16 bits from [H, W, C]; Pillow writes those of one channel only."""
    height, width, channels = values.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def decoded(path: Path, channels: Any = "auto") -> np.ndarray:
    result = decode(path, (8, 8), "crop", channels)
    assert result.pixels is not None, result.reason
    return result.pixels


def reason(path: Path) -> str:
    result = decode(path, (8, 8), "crop", "auto")
    assert result.pixels is None
    return result.reason


@pytest.mark.parametrize("channels", [1, 3])
def test_all_sixteen_bits_are_read(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, channels))
    save_png(tmp_path / "a.png", values)
    np.testing.assert_array_equal(decoded(tmp_path / "a.png"), values)


def test_channels_of_sixteen_bits_can_be_forced(tmp_path: Path) -> None:
    save_png(tmp_path / "grey.png", np.full((8, 8, 1), 3000))
    assert decoded(tmp_path / "grey.png", 3)[0, 0].tolist() == [3000] * 3
    save_png(tmp_path / "colour.png", np.full((8, 8, 3), (1000, 2000, 3000)))
    luma = round(0.299 * 1000 + 0.587 * 2000 + 0.114 * 3000)
    assert decoded(tmp_path / "colour.png", 1)[0, 0].tolist() == [luma]


def test_what_is_transparent_is_black_in_sixteen_bits_too(tmp_path: Path) -> None:
    values = np.full((8, 8, 4), (1000, 2000, 3000, 65535))
    values[:4, :, 3] = 0
    save_png(tmp_path / "a.png", values)
    result = decoded(tmp_path / "a.png")
    assert (result[:4] == 0).all() and (result[4:] == (1000, 2000, 3000)).all()


def test_sixteen_bits_are_turned_and_resized_as_eight_are(tmp_path: Path) -> None:
    values = np.zeros((16, 8), np.uint16)
    values[:8] = 4000  # the upper half is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    Image.fromarray(values).save(tmp_path / "a.png", exif=exif)
    result = decode(tmp_path / "a.png", (4, 8), "crop", "auto")
    assert result.size == (8, 16) and result.pixels is not None
    assert (result.pixels[:, 5:] == 4000).all() and (result.pixels[:, :3] == 0).all()


@pytest.mark.parametrize(
    ("peak", "depth"), [(200, 8), (700, 10), (3400, 12), (4095, 12), (4096, 14), (65535, 16)]
)
def test_the_set_decides_how_many_bits_there_are(peak: int, depth: int) -> None:
    picture = np.array([[[0], [peak]]], np.uint16)
    other = np.full((1, 2, 1), 255, np.uint8)
    assert depth_of([other, picture]) == depth
    assert to_8_bits(picture, depth)[0, 1, 0] == round(255 * peak / (2**depth - 1))
    assert (to_8_bits(other, depth) == 255).all()


def prepare(root: Path, base: Path) -> tuple[dict[str, Any], np.ndarray]:
    params = DataParams(format="image_folder", source=str(root), image_size=8)
    workspace = Workspace.of(None, base)
    return run(params, workspace, SilentProgress()), read_npz(workspace.data / "train.npz")[
        "images"
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_twelve_bits_do_not_become_black(tmp_path: Path, channels: int) -> None:
    rng = np.random.default_rng(0)
    for name, low, high in (("dark", 200, 600), ("bright", 3000, 3400)):
        for number in range(10):
            values = rng.integers(low, high, (9, 9, channels))
            save_png(tmp_path / "set" / name / f"{number}.png", values)
    manifest, images = prepare(tmp_path / "set", tmp_path / "run")
    assert manifest["bit_depth"] == 12 and manifest["channels"] == channels
    means = sorted(images.mean(axis=(1, 2, 3)))
    assert means[0] == pytest.approx(400 / 4095 * 255, rel=0.1)
    assert means[-1] == pytest.approx(3200 / 4095 * 255, rel=0.02)


def test_eight_bits_have_no_depth_in_the_manifest(tmp_path: Path) -> None:
    for name in "ab":
        for number in range(5):
            path = tmp_path / "set" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (9, 9), 100 + number).save(path)
    manifest, _ = prepare(tmp_path / "set", tmp_path / "run")
    assert "bit_depth" not in manifest and 100 <= manifest["brightest"] <= 104


def test_fractions_saved_as_whole_numbers_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 2, (20, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 2)
    params = DataParams(format="npz", source=str(tmp_path / "a.npz"), image_size=8)
    with pytest.raises(DataError, match=r"use the values 0..255, but .* only 0 and 1\. Multiply"):
        run(params, Workspace.of(None, tmp_path / "run"), SilentProgress())


def test_what_cannot_be_read_whole_is_refused(tmp_path: Path) -> None:
    save_png(tmp_path / "la.png", np.full((8, 8, 2), 3000))
    assert "16 bits of PNG LA cannot be read whole: save it as PNG" in reason(tmp_path / "la.png")
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "f.png", "TIFF")
    assert "no whole numbers" in reason(tmp_path / "f.png")
    Image.fromarray(np.full((8, 8), 70_000, np.int32)).save(tmp_path / "i.png", "TIFF")
    assert "must be 0..65535, but are 70000..70000" in reason(tmp_path / "i.png")
