"""Boxes in another unit or form than their format says: refused with the cure, or read as told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.dataset import DataError, Source
from tasks.formats import coco, voc
from tasks.prepare_dataset import run
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_npz

WIDTH, HEIGHT, COUNT = 320, 240, 12
Boxes = np.ndarray  # [n, 4]: x1, y1, x2, y2 in pixels, one a picture


def some(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> Boxes:
    """A box a picture, anywhere in it."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 0.7, (COUNT, 2))
    size = rng.uniform(0.1, 0.3, (COUNT, 2))
    whole = [width, height, width, height]
    return np.round(np.concatenate([corner, corner + size], 1) * whole, 1)


def xywh(boxes: Boxes) -> Boxes:
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1)


def cxcywh(boxes: Boxes) -> Boxes:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def fractions(boxes: Boxes) -> Boxes:
    return boxes / [WIDTH, HEIGHT, WIDTH, HEIGHT]


def write_coco(root: Path, numbers: Boxes, *, sized: bool = True) -> Source:
    size = {"width": WIDTH, "height": HEIGHT} if sized else {}
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", **size} for n in range(COUNT)],
        "annotations": [
            {"id": n, "image_id": n % COUNT, "category_id": 1, "bbox": box.tolist()}
            for n, box in enumerate(numbers)
        ],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (root / "images").mkdir(parents=True)
    (root / "annotations.json").write_text(json.dumps(content))
    for number in range(COUNT):
        noise = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{number}.png")
    return Source(str(root))


def write_voc(root: Path, numbers: Boxes) -> Source:
    for name in ("Annotations", "JPEGImages"):
        (root / name).mkdir(parents=True)
    for number, corners in enumerate(numbers):
        edges = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
        (root / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object>"
            f"<name>dog</name><bndbox>{box}</bndbox></object></annotation>"
        )
        noise = np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
        Image.fromarray(noise).save(root / "JPEGImages" / f"{number}.png")
    return Source(str(root))


def prepared(root: Path, base: Path, format_name: str, form: str) -> np.ndarray:
    """The boxes of all splits, sorted: [n, 4] as fractions ymin, xmin, ymax, xmax."""
    params = DataParams.model_validate(
        {
            "format": format_name,
            "source": str(root),
            "image_size": 16,
            "fit": "stretch",
            "boxes": form,
        }
    )
    workspace = Workspace.of(None, base)
    manifest = run(params, workspace, SilentProgress())
    assert not manifest["skipped"]
    found = [read_npz(workspace.data / f"{s}.npz")["boxes"] for s in manifest["splits"]]  # type: ignore[union-attr]
    every = np.concatenate(found).reshape(-1, 4)
    return every[np.lexsort(every.T)]


def expected(boxes: Boxes) -> np.ndarray:
    every = fractions(boxes)[:, [1, 0, 3, 2]].astype(np.float32)
    return every[np.lexsort(every.T)]


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("auto", xywh),
        ("xywh", xywh),
        ("xyxy", lambda boxes: boxes),
        ("cxcywh", cxcywh),
        ("relative_xywh", lambda boxes: xywh(fractions(boxes))),
        ("relative_xyxy", fractions),
        ("relative_cxcywh", lambda boxes: cxcywh(fractions(boxes))),
    ],
)
def test_boxes_are_what_they_are_said_to_be(
    tmp_path: Path, form: str, written: Callable[[Boxes], Boxes]
) -> None:
    write_coco(tmp_path / "set", written(some()))
    found = prepared(tmp_path / "set", tmp_path / "run", "coco", form)
    np.testing.assert_allclose(found, expected(some()), atol=1e-6)


@pytest.mark.parametrize("written", [lambda b: xywh(fractions(b)), fractions])
def test_fractions_are_no_pixels(tmp_path: Path, written: Callable[[Boxes], Boxes]) -> None:
    source = write_coco(tmp_path / "set", written(some()))
    with pytest.raises(DataError) as caught:
        coco.read(source)
    assert str(caught.value) == (
        "boxes must be in pixels, but 12 of 12 in annotations.json lie within 0..1, as fractions "
        "of the picture do. Multiply them by its width and height, or set data.boxes to "
        "relative_xywh (also relative_xyxy, relative_cxcywh)."
    )


@pytest.mark.parametrize("sized", [True, False])
def test_corners_are_no_sizes(tmp_path: Path, sized: bool) -> None:
    source = write_coco(tmp_path / "set", some(), sized=sized)
    with pytest.raises(DataError, match=r"12 fit them as \[x1, y1, x2, y2\]\. Set data.boxes to"):
        coco.read(source)


@pytest.mark.parametrize("seed", range(20))
def test_honest_boxes_are_let_through(tmp_path: Path, seed: int) -> None:
    assert coco.read(write_coco(tmp_path / "set", xywh(some(seed)))).classes == ("dog",)


def test_large_boxes_that_reach_a_bit_beyond_are_let_through(tmp_path: Path) -> None:
    """Corners they would be, too: the picture is all box."""
    whole = np.array([[1.0, 1.0, WIDTH, HEIGHT]] * COUNT)
    assert len(coco.read(write_coco(tmp_path / "set", whole)).splits["train"]) == COUNT


def test_a_few_beyond_are_clipped_and_no_corners(tmp_path: Path) -> None:
    boxes = xywh(some())
    boxes[:3, 2] += WIDTH
    assert coco.read(write_coco(tmp_path / "set", boxes)).classes == ("dog",)


@pytest.mark.parametrize(
    "numbers",
    [
        3 * np.array([[0.4, 0.4, 0.3, 0.3]]) * [[WIDTH, HEIGHT, WIDTH, HEIGHT]],  # of larger ones
        np.array([[0.7, 0.6, 0.5, 0.4]]) * [[WIDTH, HEIGHT, WIDTH, HEIGHT]],  # from the middle on
    ],
)
def test_most_boxes_may_not_reach_beyond_their_pictures(tmp_path: Path, numbers: Boxes) -> None:
    every = np.concatenate([np.repeat(numbers, COUNT - 5, axis=0), xywh(some())[:5]])
    with pytest.raises(DataError, match=r"lie in their pictures, but 7 of 12 in .* data.boxes to"):
        coco.read(write_coco(tmp_path / "set", every))
    assert coco.read(Source(str(tmp_path / "set"), "xywh")).classes == ("dog",)


def test_one_of_many_in_fractions_is_lost_and_named(tmp_path: Path) -> None:
    boxes = xywh(some())
    boxes[4] = xywh(fractions(some()))[4]
    raw = coco.read(write_coco(tmp_path / "set", boxes))
    assert raw.skipped["train"] == {coco.FRACTIONS: ["annotations.json annotation 4 of 4.png"]}


def test_a_box_of_one_pixel_is_none_of_fractions(tmp_path: Path) -> None:
    boxes = xywh(some())
    boxes[4] = (0, 0, 1, 1)
    assert not coco.read(write_coco(tmp_path / "set", boxes)).skipped["train"]


def percent(boxes: Boxes) -> Boxes:
    """To the far corner, as many boxes of different pictures reach."""
    spread = 100 * fractions(boxes)
    spread[0, 2:], spread[1, 2:] = (99, 60), (70, 98.5)
    return spread


def test_percent_are_no_pixels(tmp_path: Path) -> None:
    numbers = percent(some())
    with pytest.raises(DataError, match=r"all 12 in annotations.json lie within 0\.\.100"):
        coco.read(write_coco(tmp_path / "set", xywh(numbers)))
    assert coco.read(Source(str(tmp_path / "set"), "xywh")).classes == ("dog",)


def test_the_same_box_in_a_corner_is_no_percent(tmp_path: Path) -> None:
    numbers = np.array([[10.0, 5.0, 90.0, 95.0]] * COUNT)
    assert coco.read(write_coco(tmp_path / "set", xywh(numbers))).classes == ("dog",)


def test_voc_in_fractions_is_refused_or_read_as_told(tmp_path: Path) -> None:
    source = write_voc(tmp_path / "set", fractions(some()))
    with pytest.raises(DataError, match=r"12 of 12 in set lie within 0\.\.1, .*relative_xyxy"):
        voc.read(source)
    found = prepared(tmp_path / "set", tmp_path / "run", "voc", "relative_xyxy")
    np.testing.assert_allclose(found, expected(some()), atol=1e-6)


def test_voc_of_percent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lie within 0\.\.100 .* set data.boxes to xyxy"):
        voc.read(write_voc(tmp_path / "set", percent(some())))


def test_one_object_of_many_in_fractions_is_lost_and_named(tmp_path: Path) -> None:
    boxes: Any = some()
    boxes[4] = fractions(some())[4]
    raw = voc.read(write_voc(tmp_path / "set", boxes))
    assert raw.skipped["train"] == {voc.FRACTIONS: ["4.xml"]}


def test_voc_has_corners_only(tmp_path: Path) -> None:
    source = Source(write_voc(tmp_path / "set", some()).location, "xywh")
    for look in (voc.check, voc.read):
        with pytest.raises(DataError, match=r"must be auto, xyxy or relative_xyxy for voc"):
            look(source)
