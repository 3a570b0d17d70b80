"""Damaged, hostile and unreadable .tflite files: one line each, little time, little memory."""

import os
import re
import struct
import time
import tracemalloc
from pathlib import Path

import pytest

from hw.__main__ import main
from hw.tflite.model import TfliteError
from hw.tflite.reader import LARGEST_FILE, parse_tflite, read_tflite

INT32, INT8 = 2, 9
RELU = 19
X = ("x", [1, 8], INT8, False)
Y = ("y", [1, 8], INT8, False)
CONV = (1, {1: ("i", 1), 2: ("i", 1)})


def refusal(data):
    with pytest.raises(TfliteError) as caught:
        parse_tflite(data, "m")
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    assert message.startswith("m: must be a whole .tflite file, but got ")
    assert message.endswith(". Copy or convert it again.")
    return message


@pytest.mark.parametrize(
    ("tensors", "ops", "message"),
    [
        ([X, Y], [(RELU, [1], [1], None)], r"op 0 \(RELU\): reads tensor 1 \(y\), which nothing"),
        (
            [X, Y, Y],
            [(RELU, [1], [2], None), (RELU, [0], [1], None)],
            r"op 0 \(RELU\): reads tensor 1 \(y\), which nothing before makes",
        ),
        (
            [X, Y],
            [(RELU, [0], [1], None)] * 2,
            r"op 1 \(RELU\): makes tensor 1 \(y\), which is made already",
        ),
        ([X, Y], [(RELU, [0], [0], None)], r"makes tensor 0 \(x\), which is made already"),
        ([X, Y], [(RELU, [0], [2], None)], "op 0: tensor 2 must be one of 2"),
        ([X, Y], [(RELU, [-2], [1], None)], "op 0: tensor -2 must be one of 2"),
        ([X, Y], [(RELU, [0], [-1], None)], "op 0: tensor -1 must be one of 2"),
        (
            [X, ("y", [1, 0], INT8, False)],
            [(RELU, [0], [1], None)],
            r"y: sizes must be at least 1, but are \[1, 0\]",
        ),
        (
            [X, ("y", [1, -8], INT8, False)],
            [(RELU, [0], [1], None)],
            r"tensor 1: sizes must be .* not negative, but are \[1, -8\]",
        ),
        (
            [X, ("y", [1] * 17, INT8, False)],
            [(RELU, [0], [1], None)],
            "tensor 1: sizes must be at most 16",
        ),
        (
            [X, ("y", [65536, 65536], INT8, False)],
            [(RELU, [0], [1], None)],
            "tensor 1: must have 2,147,483,648 elements at most",
        ),
        (
            [X, ("c", [1, 8], INT8, 4), Y],
            [(0, [0, 1], [2], None)],
            r"tensor 1: \[1, 8\] of int8 must have 8 bytes of data, but has 4",
        ),
        ([X, Y], [(3, [0], [1], CONV)], r"op 0 \(CONV_2D\): must have an input and weights"),
        (
            [X, ("w", [8, 8], INT8, True), Y],
            [(3, [0, 1], [2], CONV)],
            r"weights must have 4 dimensions, unlike \[8, 8\]",
        ),
        (
            [X, ("w", [8, 1, 1, 8], INT8, True), Y],
            [(3, [0, 1], [2], CONV)],
            "input and output must have 4 dimensions",
        ),
        (
            [X, ("w", [8, 7], INT8, True), Y],
            [(9, [0, 1], [2], None)],
            r"weights \[8, 7\] must fit \[1, 8\] and \[1, 8\]",
        ),
        (
            [("x", [1, 4, 4, 8], INT8, False), ("y", [1, 2, 2, 8], INT8, False)],
            [(17, [0], [1], (5, {1: ("i", 2), 2: ("i", 2), 3: ("i", 40_000), 4: ("i", 2)}))],
            r"strides and window must be 1 to 32,768, but are \(2, 2\) and \(2, 40000\)",
        ),
        (
            [("x", [1, 4, 4, 8], INT8, False), ("y", [1, 2, 2, 8], INT8, False)],
            [(17, [0], [1], (1, {}))],
            "options must be of type 5, not 1",
        ),
    ],
)
def test_contradictions_are_refused_with_the_place(model_bytes, tensors, ops, message):
    assert re.search(message, refusal(model_bytes(tensors, ops)))


def test_the_frame_of_a_model_is_checked(model_bytes):
    op = [(RELU, [0], [1], None)]
    for data, message in [
        (model_bytes([X, Y], op, version=2), "the schema version must be 3, but is 2"),
        (model_bytes([X, Y], op, inputs=()), "there must be an input, but is none"),
        (model_bytes([X, Y], op, inputs=(5,)), "tensor 5 must be one of 2"),
        (model_bytes([X, Y, Y], op, outputs=(2,)), "reads tensor 2 (y), which nothing"),
        (model_bytes([X], []), "there must be an op, but is none"),
        (b"\xff\0\0\0TFL3", "offset 255 must lie within the 8 bytes"),
    ]:
        assert message in refusal(data)


def test_names_of_any_bytes_can_be_printed_on_one_line(model_bytes):
    data = model_bytes([X, ("NAME", [1, 8], INT8, False)], [(RELU, [0], [1], None)])
    for name, shown in [
        (b"\xff\xfe\x00A", r"\xff\xfe\x00A"),
        (b"a\nb\x1b", r"a\nb\x1b"),
        ("é\u00fc".encode(), "éü"),
    ]:
        (op,) = parse_tflite(data.replace(b"NAME", name), "m").graph.ops
        assert op.name == shown


# --- little time, little memory ----------------------------------------------------------


def bounded(data):
    """Read and measure: seconds and peak bytes, beside the file's own."""
    tracemalloc.start()
    start = time.process_time()
    try:
        parse_tflite(data, "m")
    except TfliteError:
        pass
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return seconds, peak


def test_absurd_lengths_allocate_nothing(model_bytes):
    whole = model_bytes([X, Y], [(RELU, [0], [1], None)])
    for position in range(0, len(whole) - 4, 4):
        data = bytearray(whole)
        data[position : position + 4] = struct.pack("<I", 0xFFFF_FF00)
        seconds, peak = bounded(bytes(data))
        assert seconds < 0.5 and peak < 1 << 20


def test_lists_that_are_read_again_and_again_are_stopped(writer):
    """A small file may describe endless work: n ops at one place share one list of n tensors."""
    count, w = 20_000, writer
    op = w.table({1: w.numbers([0] * count)})
    tensors = w.tables([w.table({0: w.numbers([1, 8])})])
    inputs, ops = w.numbers([0]), w.tables([op] * count)
    subgraphs = w.tables([w.table({0: tensors, 1: inputs, 3: ops})])
    codes = w.tables([w.table({})])
    data = w.finish(w.table({0: ("u", 3), 1: codes, 2: subgraphs}), b"TFL3")
    assert len(data) < 200_000
    assert "vectors must not overlap" in refusal(data)
    seconds, peak = bounded(data)
    assert seconds < 2 and peak < 64 << 20  # 400 million numbers would take minutes


def test_equal_names_take_linear_time(model_bytes):
    count = 4_000
    tensors = [("same", [1, 8], INT8, False)] * (count + 1)
    ops = [(RELU, [number], [number + 1], None) for number in range(count)]
    start = time.process_time()
    model = parse_tflite(model_bytes(tensors, ops), "m")
    assert time.process_time() - start < 5  # with the writing, which is the slow part
    assert len({op.name for op in model.graph.ops}) == count


# --- files -------------------------------------------------------------------------------


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.tflite"
    with path.open("wb") as file:
        file.write(b"\x1c\0\0\0TFL3")
        file.truncate(LARGEST_FILE + 1)  # takes no room on disk
    tracemalloc.start()
    with pytest.raises(TfliteError, match="must have at most 536,870,912 bytes to run"):
        read_tflite(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_another_huge_file_is_not_read_either(tmp_path):
    path = tmp_path / "huge.h5"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(TfliteError, match=r"but got bytes 4 to 8 that are .*to \.tflite"):
        read_tflite(path)


def test_what_is_no_file_is_refused(tmp_path, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # opening it would wait for a writer
    for path, message in [
        (pipe, "Not a regular file"),
        (Path("/dev/zero"), "Not a regular file"),
        (tmp_path, "Is a directory"),
        (tmp_path / "a" / "b", "No such file"),
        (tmp_path / ("n" * 300), "File name too long"),
    ]:
        assert main(["estimate", str(path), "--device", "coral_usb3"]) == 2
        error = capsys.readouterr().err
        assert f"must be a readable file, but got: {message}" in error and error.count("\n") == 1


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.tflite"
    path.touch()
    with pytest.raises(TfliteError, match=r"must be a whole \.tflite file, but got bytes 4 to 8"):
        read_tflite(path)
