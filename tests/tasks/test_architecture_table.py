"""Tables of architectures: what is read, and what is said of one that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spaces.graph import OpBatch
from spaces.heads.classification import classification
from spaces.menu import load_baselines, load_input_shapes, load_space
from tasks.candidates.architecture_table import TableError, lowered, read_table
from tasks.learning.problem import default_classes

RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
CELLS = load_space("nas_bench_201")


def write(path: Path, content: str) -> Path:
    path.write_text(content, newline="")
    return path


def test_cells_are_read_as_they_are_written(tmp_path: Path) -> None:
    rows = ["architecture, latency_ms,note", 'resnet, 1.5 ,"a, b"', "", 'best,2e-1,"two\nlines"']
    text = "\ufeff" + "\r\n".join(rows)
    table = read_table(write(tmp_path / "t.csv", text))
    assert table.columns == ("architecture", "latency_ms", "note")
    assert table.texts("note") == ["a, b", "two\nlines"]
    assert table.numbers("latency_ms").tolist() == [1.5, 0.2]
    assert table.lines == (2, 4)


def test_architectures_are_read_in_all_their_forms(tmp_path: Path) -> None:
    one = load_baselines("nas_bench_201")["resnet"]
    quoted = one.to_json().replace('"', '""')
    path = write(tmp_path / "t.csv", f'architecture\nresnet\n{RESNET}\n"{quoted}"\n')
    assert read_table(path).architectures(CELLS) == [one] * 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must have a header and at least one row, but got 0"),
        ("architecture\n\n", "must have a header and at least one row, but got 1"),
        ("a,a\n1,2\n", "columns must differ in name, but got a, a"),
        ("a,b\n1,2\n1\n", r"t\.csv, line 3: must have 2 cells, but got 1"),
        ('architecture\n{"a":1,"b":2}\n', "line 2: must have 1 cells, but got 2. Put text with"),
    ],
)
def test_what_is_no_table_is_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=message):
        read_table(write(tmp_path / "t.csv", content))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"architecture\n\xff\xfe\n")
    with pytest.raises(TableError, match="must be CSV in UTF-8, but got"):
        read_table(path)
    path.write_text("architecture\n" + "x" * 200_000)
    with pytest.raises(TableError, match=r"must be CSV in UTF-8, but got: field larger than"):
        read_table(path)
    with pytest.raises(TableError, match="must be a readable file, but got: Is a directory"):
        read_table(tmp_path)
    with pytest.raises(TableError, match="must be a readable file, but got: No such file"):
        read_table(tmp_path / "other.csv")


@pytest.mark.parametrize("cell", ["", "fast", "nan", "inf"])
def test_numbers_must_be_finite(cell: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", f"latency_ms,x\n1.0,a\n{cell},b\n"))
    with pytest.raises(TableError, match=r"line 3, column latency_ms: must be a number, but got"):
        table.numbers("latency_ms")


def test_columns_must_be_there(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", "tflite,latency_ms\na,1\n"))
    message = r"t\.csv: must have a column architecture, but got tflite, latency_ms"
    with pytest.raises(TableError, match=message):
        table.architectures(CELLS)


@pytest.mark.parametrize("cell", ["resnot", "{", RESNET.replace("~2", "~7"), "['none']"])
def test_text_that_is_no_architecture_is_told_by_its_line(cell: str, tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "t.csv", f"architecture\nresnet\n{cell}\n"))
    with pytest.raises(TableError, match=r"line 3, column architecture: \w+"):
        table.architectures(CELLS)


@pytest.mark.parametrize(
    "cell", [RESNET.replace("none~1", "nor_conv_9x9~1"), '"{""edge0-1"": ""none""}"']
)
def test_architectures_outside_the_space_are_told_by_their_line(cell: str, tmp_path: Path) -> None:
    rows = "resnet\n" * 1500
    table = read_table(write(tmp_path / "t.csv", f"architecture\n{rows}{cell}\nbest\n"))
    with pytest.raises(TableError, match=r"line 1502, column architecture: nas_bench_201: edge"):
        list(lowered(table, CELLS, 10))


def test_rows_are_lowered_with_their_head(tmp_path: Path) -> None:
    names = ["resnet", "best", "all_pool"] * 400
    table = read_table(write(tmp_path / "t.csv", "\n".join(["architecture", *names])))
    chunks = list(lowered(table, CELLS, 10))
    assert np.concatenate([rows for rows, _ in chunks]).tolist() == list(range(1200))
    points = load_baselines("nas_bench_201")
    for rows, batch in chunks:
        few = rows[:5]
        expected = OpBatch.of([classification(CELLS.lower(points[names[n]]), 10) for n in few])
        found = batch.rows(np.arange(5))
        live = found.live
        assert live.sum() == expected.live.sum()
        assert found.output_hwc[live].tolist() == expected.output_hwc[expected.live].tolist()


def test_baselines_are_lowered_for_their_published_input(tmp_path: Path) -> None:
    space, shapes = load_space("efficientnet_edgetpu"), load_input_shapes("efficientnet_edgetpu")
    names = ["s", "l", "s", "m"]
    table = read_table(write(tmp_path / "t.csv", "\n".join(["architecture", *names])))
    found = {}
    for rows, batch in lowered(table, space, 1001):
        found |= dict(zip(rows.tolist(), batch.input_hwc[:, 0].tolist(), strict=True))
    expected = [list(shapes.get(name, space.input_shape)[1:]) for name in names]
    assert [found[row] for row in range(4)] == expected
    assert expected[0] != expected[1]


def test_classes_are_those_of_the_usual_data() -> None:
    assert default_classes(CELLS) == 10
    assert default_classes(load_space("mobilenet_edgetpu_v2")) == 1001
