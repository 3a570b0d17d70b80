"""TFLite metadata: what a ``.tflite`` file says of itself to people and to programs.

A buffer called ``TFLITE_METADATA`` holds tables of their own schema; the files that they name
(labels, a vocabulary) are a zip archive behind the end of the model, stored without compression.

Source: tflite-support, tensorflow_lite_support/metadata/metadata_schema.fbs, version 1.1.0.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from hw.tflite.attaching import attached, buffer_named
from hw.tflite.flatbuffer import FlatbufferError, Table

NAME: Final = "TFLITE_METADATA"
IDENTIFIER: Final = b"M001"
PARSER_VERSION: Final = "1.0.1"
"""Least version that knows all that is written here: vocabularies."""
Role = Literal[
    "unknown", "description", "axis_labels", "value_labels", "calibration", "vocabulary"
]
"""What an associated file is, in the order of the schema."""
Content = Literal["feature", "rgb", "greyscale"]
"""What a tensor holds: anything, or pixels."""

_ROLES: Final[tuple[Role, ...]] = get_args(Role)
_COLOURS: Final[dict[Content, int]] = {"rgb": 1, "greyscale": 2}
_FEATURE, _IMAGE, _NORMALIZATION = 1, 2, 1
"""Members of the unions of contents, and of process units."""
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class AssociatedFile:
    """A file that comes with the model, by its name in the archive."""

    name: str
    description: str
    role: Role


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or an output.

    Attributes:
        name: For programs.
        description: For people: shape, unit, how to read it.
        content: What it holds.
        normalization: Mean and deviation: a pixel enters as ``(pixel - mean) / deviation``, before
            it is quantized. None: as it is.
        files: What it is read with.
    """

    name: str
    description: str
    content: Content = "feature"
    normalization: tuple[float, float] | None = None
    files: tuple[AssociatedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model; inputs and outputs are in the order of its file."""

    name: str
    description: str
    version: str
    author: str
    licence: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]
    files: tuple[AssociatedFile, ...] = ()


def described(tflite: bytes, metadata: ModelMetadata, files: Mapping[str, bytes]) -> bytes:
    """The model with its metadata in it and its files behind it; it computes the same.

    Raises:
        FlatbufferError: It is no whole ``.tflite``.
    """
    whole = io.BytesIO(attached(tflite, NAME, _packed(metadata)))
    with zipfile.ZipFile(whole, "a", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _ZIP_EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return whole.getvalue()


def read_metadata(tflite: bytes) -> ModelMetadata | None:
    """What a model says of itself; None: nothing.

    Raises:
        FlatbufferError: It is no whole ``.tflite``, or its metadata are damaged.
    """
    content = buffer_named(tflite, NAME)
    if content is None:
        return None
    model = Table.root(content, IDENTIFIER)
    graphs = model.tables(3)
    if not graphs:
        raise FlatbufferError("metadata must tell of a subgraph, but do not")
    return ModelMetadata(
        name=model.text(0),
        description=model.text(1),
        version=model.text(2),
        author=model.text(4),
        licence=model.text(5),
        inputs=tuple(map(_read_tensor, graphs[0].tables(2))),
        outputs=tuple(map(_read_tensor, graphs[0].tables(3))),
        files=tuple(map(_read_file, model.tables(6))),
    )


def read_files(tflite: bytes) -> dict[str, bytes]:
    """The files behind a model; empty where there are none."""
    if not zipfile.is_zipfile(io.BytesIO(tflite)):
        return {}
    with zipfile.ZipFile(io.BytesIO(tflite)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _read_file(table: Table) -> AssociatedFile:
    number = table.number(2, "i8")
    role: Role = _ROLES[number] if 0 <= number < len(_ROLES) else "unknown"
    return AssociatedFile(table.text(0), table.text(1), role)


def _read_tensor(table: Table) -> TensorMetadata:
    content, normalization = table.table(3), None
    held: Content = "feature"
    if content is not None and content.number(0, "u8") == _IMAGE:
        image = content.table(1)
        number = 0 if image is None else image.number(0, "i8")
        held = next((name for name, one in _COLOURS.items() if one == number), "feature")
    for unit in table.tables(4):
        options = unit.table(1)
        if unit.number(0, "u8") == _NORMALIZATION and options is not None:
            mean, deviation = (_floats(options, field)[0] for field in (0, 1))
            normalization = (mean, deviation)
    return TensorMetadata(
        table.text(0), table.text(1), held, normalization, tuple(map(_read_file, table.tables(6)))
    )


def _floats(table: Table, field: int) -> tuple[float, ...]:
    bits = table.numbers(field, "u32") or (0,)
    return struct.unpack(f"<{len(bits)}f", struct.pack(f"<{len(bits)}I", *bits))


def _packed(metadata: ModelMetadata) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    inputs, outputs = (
        _vector(builder, [_pack_tensor(builder, one) for one in side])
        for side in (metadata.inputs, metadata.outputs)
    )
    graph = _table(builder, 7, {2: inputs, 3: outputs})
    slots = {
        3: _vector(builder, [graph]),
        6: _pack_files(builder, metadata.files),
        7: builder.CreateString(PARSER_VERSION),
    }
    texts = ("name", "description", "version", "author", "licence")
    for field, text in zip((0, 1, 2, 4, 5), texts, strict=True):
        slots[field] = builder.CreateString(getattr(metadata, text))
    builder.Finish(_table(builder, 8, slots), IDENTIFIER)
    return bytes(builder.Output())


def _pack_tensor(builder: Any, tensor: TensorMetadata) -> int:
    """Slots: name, description, dimension names, content, process units, stats, files."""
    slots = {
        0: builder.CreateString(tensor.name),
        1: builder.CreateString(tensor.description),
        3: _pack_content(builder, tensor.content),
        6: _pack_files(builder, tensor.files),
    }
    if tensor.normalization is not None:
        mean, deviation = (_vector_of_float(builder, one) for one in tensor.normalization)
        options = _table(builder, 2, {0: mean, 1: deviation})
        unit = _table(builder, 2, {1: options}, {0: ("Uint8", _NORMALIZATION)})
        slots[4] = _vector(builder, [unit])
    return _table(builder, 7, slots)


def _pack_content(builder: Any, content: Content) -> int:
    if content == "feature":
        return _table(builder, 3, {1: _table(builder, 0, {})}, {0: ("Uint8", _FEATURE)})
    image = _table(builder, 2, {}, {0: ("Int8", _COLOURS[content])})
    return _table(builder, 3, {1: image}, {0: ("Uint8", _IMAGE)})


def _pack_files(builder: Any, files: Sequence[AssociatedFile]) -> int:
    packed = [
        _table(
            builder,
            4,
            {0: builder.CreateString(one.name), 1: builder.CreateString(one.description)},
            {2: ("Int8", _ROLES.index(one.role))},
        )
        for one in files
    ]
    return _vector(builder, packed)


def _table(
    builder: Any,
    fields: int,
    offsets: Mapping[int, int],
    scalars: Mapping[int, tuple[str, int]] | None = None,
) -> int:
    builder.StartObject(fields)
    for field, offset in offsets.items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, (kind, value) in (scalars or {}).items():
        getattr(builder, f"Prepend{kind}Slot")(field, value, 0)
    return int(builder.EndObject())


def _vector(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _vector_of_float(builder: Any, value: float) -> int:
    builder.StartVector(4, 1, 4)
    builder.PrependFloat32(value)
    return int(builder.EndVector())
