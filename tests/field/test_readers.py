"""Whatever people write: each sample is read as it was meant, or it is counted and named."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.candidates.architecture_table import TableError, read_table
from tasks.data.dataset import DataError, RawData, Source
from tasks.data.files import one_form
from tasks.data.losses import losses_of
from tasks.formats import coco, csv_text, squad, voc

WIDTH, HEIGHT = 64, 48
QUICK = settings(max_examples=40, deadline=None)
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1)


@pytest.fixture(scope="module", autouse=True)
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where folders of all examples go, and go away with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("readers")))
        yield


def write(content: str, name: str) -> Source:
    """A file in a folder of its own."""
    folder = Path(tempfile.mkdtemp())
    (folder / name).write_text(content, "utf-8", newline="")
    return Source(str(folder / name))


def lost(raw: RawData, noun: str) -> int:
    """How many things of a noun a format says that it lost."""
    return sum(loss.lost for loss in losses_of(raw.splits, raw.skipped) if loss.noun == noun)


ROW = st.one_of(
    st.tuples(TEXTS, TEXTS),
    st.tuples(TEXTS, TEXTS, TEXTS),
    st.tuples(TEXTS),
)


@QUICK
@given(
    st.lists(ROW, min_size=1, max_size=12),
    st.sampled_from(",;\t"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_rows_of_csv(rows: list[tuple[str, ...]], separator: str, encoding: str, end: str) -> None:
    folder = Path(tempfile.mkdtemp())
    with (folder / "a.csv").open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator=end)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    raw = csv_text.read(Source(str(folder / "a.csv")))
    found = [(s.text, raw.classes[s.label]) for s in raw.splits["train"]]  # type: ignore[union-attr]
    meant = [
        (row[0], one_form(row[1].strip()))
        for row in rows
        if len(row) > 1 and row[0].strip() and row[1].strip() and not "".join(row[2:]).strip()
    ]
    assert found == meant
    assert len(found) + lost(raw, "rows") == len(rows)


@QUICK
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8), st.integers(0, 8), st.booleans())
def test_rows_of_a_table_of_architectures(
    rows: list[tuple[str, str]], odd: int, longer: bool
) -> None:
    """None of them may be lost: a row of another length refuses the table, and is named."""
    path, ragged = Path(tempfile.mkdtemp()) / "a.csv", odd < len(rows)
    cells = [
        [*row, "9"] if longer and number == odd else row[: 1 if number == odd else 2]
        for number, row in enumerate(rows)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("architecture", "latency_ms"), *cells])
    if ragged:
        with pytest.raises(TableError, match=rf", line {odd + 2}: must have 2 cells, but got"):
            read_table(path)
        return
    table = read_table(path)
    assert table.texts("architecture") == [text.strip() for text, _ in rows]
    assert table.lines == tuple(range(2, len(rows) + 2))


NUMBER = st.one_of(st.integers(-5, 70), st.floats(-5, 70), st.just("4"), st.none())
BOX = st.one_of(st.lists(NUMBER, min_size=4, max_size=4), st.lists(st.integers(1, 9), max_size=5))
ANNOTATION = st.fixed_dictionaries(
    {
        "image_id": st.integers(0, 3),
        "category_id": st.integers(1, 3),
        "bbox": BOX,
        "iscrowd": st.integers(0, 1),
    },
    optional={"id": st.integers(0, 5)},
)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (WIDTH, HEIGHT)).save(path)


@QUICK
@given(st.lists(ANNOTATION, max_size=12), st.booleans())
def test_annotations_of_coco(annotations: list[dict[str, Any]], sized: bool) -> None:
    size = {"width": WIDTH, "height": HEIGHT} if sized else {}
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", **size} for n in range(3)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    source = write(json.dumps(content), "annotations.json")
    root = Path(source.location or "").parent
    for number in range(3):
        picture(root / "images" / f"{number}.png")
    try:
        raw = coco.read(source)
    except DataError as error:  # a file of another form is refused as a whole
        assert "data.boxes to" in str(error)
        raw = coco.read(Source(source.location, "xywh"))
    boxes = [box for sample in raw.splits["train"] for box in sample.boxes]  # type: ignore[union-attr]
    assert len(boxes) + lost(raw, "boxes") == len(annotations)
    for box in boxes:
        ymin, xmin, ymax, xmax = box.edges
        as_written = [[float(n) for n in a["bbox"]] for a in annotations if _four(a["bbox"])]
        assert any(
            (xmin, ymin) == (x, y) and (xmax, ymax) == (x + w, y + h) for x, y, w, h in as_written
        )


def _four(box: list[Any]) -> bool:
    return len(box) == 4 and all(isinstance(number, int | float) for number in box)


OBJECT = st.tuples(st.one_of(NAMES, st.just("")), st.lists(NUMBER, min_size=4, max_size=4))


@QUICK
@given(st.lists(st.lists(OBJECT, max_size=4), min_size=1, max_size=4), st.booleans())
def test_objects_of_voc(pictures: list[list[tuple[str, list[Any]]]], flat: bool) -> None:
    root = Path(tempfile.mkdtemp())
    annotations, images = (root, root) if flat else (root / "Annotations", root / "JPEGImages")
    annotations.mkdir(exist_ok=True)
    for number, objects in enumerate(pictures):
        picture(images / f"{number}.png")
        text = ""
        for name, numbers in objects:
            edges = zip(("xmin", "ymin", "xmax", "ymax"), numbers, strict=True)
            box = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
            text += f"<object><name>{escape(name)}</name><bndbox>{box}</bndbox></object>"
        (annotations / f"{number}.xml").write_text(f"<annotation>{text}</annotation>", "utf-8")
    try:
        raw = voc.read(Source(str(root)))
    except DataError as error:
        assert "data.boxes to" in str(error) or "invalid token" in str(error)
        return
    boxes = [box for sample in raw.splits["train"] for box in sample.boxes]  # type: ignore[union-attr]
    assert len(boxes) + lost(raw, "boxes") == sum(map(len, pictures))
    names = {one_form(name.strip()) for objects in pictures for name, _ in objects}
    assert set(raw.classes) <= names


@QUICK
@given(
    st.text(st.sampled_from("aé\U0001f600 ."), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(-1, 20), st.integers(0, 4)), max_size=6),
)
def test_answers_of_squad(context: str, answers: list[tuple[int, int]]) -> None:
    entries = [
        {
            "question": "Which?",
            "id": str(number),
            "answers": [{"text": context[max(start, 0) :][:length], "answer_start": start}],
        }
        for number, (start, length) in enumerate(answers)
    ]
    content = {"data": [{"paragraphs": [{"context": context, "qas": entries}]}]}
    raw = squad.read(write(json.dumps(content), "train.json"))
    found: Any = raw.splits["train"]
    assert len(found) + lost(raw, "questions") == len(answers)
    for sample in found:
        assert sample.context[sample.start :].startswith(sample.answers[0])
