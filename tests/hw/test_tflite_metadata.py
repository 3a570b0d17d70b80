"""Metadata in a file: read back, and nothing else changed."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from hw.tflite.attaching import attached, buffer_named
from hw.tflite.flatbuffer import FlatbufferError
from hw.tflite.metadata import (
    NAME,
    AssociatedFile,
    ModelMetadata,
    TensorMetadata,
    described,
    read_files,
    read_metadata,
)
from hw.tflite.reader import parse_tflite

LABELS = AssociatedFile("labels.txt", "Classes.", "axis_labels")
METADATA = ModelMetadata(
    name="net",
    description="Says which é it is.",
    version="1",
    author="",
    licence="MIT",
    inputs=(
        TensorMetadata("x", "A picture.", "rgb", (127.5, 127.5)),
        TensorMetadata("y", "Grey.", "greyscale"),
    ),
    outputs=(TensorMetadata("p", "Classes.", files=(LABELS,)),),
)
FILES = {"labels.txt": "bee\nkätzchen\n".encode()}


def test_what_was_written_is_read(tiny_tflite):
    whole = described(tiny_tflite(), METADATA, FILES)
    assert read_metadata(whole) == METADATA
    assert read_files(whole) == FILES


def test_the_old_bytes_are_still_there_and_as_aligned(tiny_tflite):
    before = tiny_tflite(["MAXIMUM", "ADD"])
    whole = described(before, METADATA, FILES)
    assert whole.find(before) % 16 == 0
    old, new = (parse_tflite(one, "net") for one in (before, whole))
    assert (new.graph, new.operators) == (old.graph, old.operators)


def test_it_computes_the_same(tiny_tflite):
    from ai_edge_litert.interpreter import Interpreter

    before = tiny_tflite(["MAXIMUM", "MINIMUM"])
    results = []
    for content in (before, described(before, METADATA, FILES)):
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        for number, one in enumerate(interpreter.get_input_details()):
            values = np.random.default_rng(number).integers(-128, 127, one["shape"])
            interpreter.set_tensor(one["index"], values.astype(one["dtype"]))
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    assert results[0].tobytes() == results[1].tobytes()
    assert results[0].any()


def test_a_second_time_takes_the_place_of_the_first(tiny_tflite):
    other = attached(described(tiny_tflite(), METADATA, {}), "other", b"kept")
    again = ModelMetadata("b", "", "2", "", "", METADATA.inputs, METADATA.outputs)
    whole = described(other, again, {})
    assert read_metadata(whole) == again
    assert buffer_named(whole, "other") == b"kept"


def test_the_archive_is_not_compressed_and_has_a_fixed_time(tiny_tflite):
    twice = [described(tiny_tflite(), METADATA, FILES) for _ in range(2)]
    assert twice[0] == twice[1]
    with zipfile.ZipFile(io.BytesIO(twice[0])) as archive:
        (entry,) = archive.infolist()
    assert entry.compress_type == zipfile.ZIP_STORED


def test_a_file_without_has_none(tiny_tflite):
    assert read_metadata(tiny_tflite()) is None
    assert read_files(tiny_tflite()) == {}


@pytest.mark.parametrize("data", [b"", b"no model at all", bytes(64)])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(FlatbufferError):
        attached(data, NAME, b"")


def test_damage_is_refused_or_harmless(tiny_tflite):
    whole = described(tiny_tflite(), METADATA, {})
    for place in range(0, 400, 7):
        broken = bytearray(whole)
        broken[place] ^= 0xFF
        try:
            read_metadata(bytes(broken))
        except FlatbufferError:
            continue
