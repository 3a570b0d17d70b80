"""Tensors and operators of a ``.tflite`` file, each number checked, nothing interpreted yet.

Source: tensorflow/lite/schema/schema.fbs, whose fields are counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from hw.tflite.flatbuffer import Data, FlatbufferError, Table
from hw.tflite.schema import (
    BUILTINS,
    CALLED_SUBGRAPHS,
    CUSTOM,
    DETECTION_POSTPROCESS,
    SCHEMA_VERSION,
    TYPE_BITS,
    TYPES,
    operator_name,
)
from spaces.graph import OpKind, Shape

IDENTIFIER = b"TFL3"
LARGEST_TENSOR = 1 << 31  # elements; times weights, which lie in the file, they fit in 63 bits
MOST_DIMENSIONS = 16
ELSEWHERE = -1  # data in another file
NEWEST = frozenset({"STABLEHLO_WHILE", "STABLEHLO_COMPOSITE"})


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor.

    Attributes:
        table: Where it stands in the file.
        shape: As in the file; an open size stands as 1.
        type: E.g. ``"int8"``.
        constant: Its data lie in the file.
        variable: It keeps its value between inferences.
        signature: The shape with -1 for sizes that are open; empty: none is.
    """

    table: Table
    shape: Shape
    type: str
    constant: bool
    variable: bool
    signature: Shape

    @property
    def dynamic(self) -> bool:
        """Some size is open, the first (the batch) not counted."""
        return -1 in self.signature[1:]

    @property
    def open_batch(self) -> bool:
        """The first size is open."""
        return self.signature[:1] == (-1,)

    @property
    def name(self) -> str:
        """Decoded only where it is asked for: most tensors are never named."""
        return self.table.text(3)


@dataclass(frozen=True, slots=True)
class Operator:
    """An entry of the table of operators.

    Attributes:
        kind: In a graph.
        name: What to call it there.
        builtin: Its name in the schema; ``"CUSTOM"`` of custom ones.
        version: Of what it computes: a newer runtime knows more of them.
    """

    kind: OpKind
    name: str
    builtin: str
    version: int


@dataclass(frozen=True, slots=True)
class Call:
    """One use of an operator.

    Attributes:
        operator: Which.
        inputs: Tensor numbers without those left out.
        outputs: Tensor numbers.
        options: What the operator is told.
        options_type: Which kind of options these are.
        called: Numbers of the subgraphs that it runs: branches of an IF, condition and body of a
            WHILE.
    """

    operator: Operator
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    options_type: int
    called: tuple[int, ...]

    @property
    def kind(self) -> OpKind:
        """Of the operator."""
        return self.operator.kind


@dataclass(frozen=True, slots=True)
class Subgraph:
    """What one subgraph of a file holds; inputs and outputs are tensor numbers."""

    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    calls: list[Call]


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds; subgraphs are read where they are asked for.

    Attributes:
        operators: Of all subgraphs, used or not.
        signatures: Names under which subgraphs can be run, with their numbers.
    """

    operators: list[Operator]
    signatures: Mapping[str, int]
    _subgraphs: list[Table]
    _buffers: list[int]

    def subgraph(self, number: int) -> Subgraph:
        """The subgraph of that number; it must be one that an op calls, a signature has, or 0.

        Raises:
            FlatbufferError: The file is damaged there.
        """
        table = self._subgraphs[number]
        tensors = _tensors(table, self._buffers)
        calls = []
        for place, one in enumerate(table.tables(3)):
            with at(f"op {place}"):
                calls.append(_call(one, self.operators, len(tensors), len(self._subgraphs)))
        inputs, outputs = _present(table.numbers(1)), _present(table.numbers(2))
        _check_numbers((*inputs, *outputs), len(tensors))
        return Subgraph(tensors, inputs, outputs, calls)


def model_table(data: Data) -> Table:
    """The root table.

    Raises:
        FlatbufferError: These are no bytes of a ``.tflite`` of the one version that exists.
    """
    model = Table.root(data, IDENTIFIER)
    version = model.number(0, "u32")
    if version != SCHEMA_VERSION:
        raise FlatbufferError(f"the schema version must be {SCHEMA_VERSION}, but is {version}")
    return model


def read_content(data: Data) -> Content:
    """Operators and signatures of a file.

    Raises:
        FlatbufferError: The file is damaged.
    """
    model = model_table(data)
    subgraphs = model.tables(2)
    if not subgraphs:
        raise FlatbufferError("there must be a subgraph, but is none")
    signatures = {}
    for table in model.tables(7):
        signatures[table.text(2)] = _subgraph_number(table.number(4, "u32"), len(subgraphs))
    buffers = [_data_bytes(table, data) for table in model.tables(4)]
    operators = [_operator(code) for code in model.tables(1)]
    return Content(operators, signatures, subgraphs, buffers)


def _subgraph_number(number: int, subgraphs: int) -> int:
    if not 0 <= number < subgraphs:
        raise FlatbufferError(f"subgraph {number} must be one of {subgraphs}")
    return number


@contextmanager
def at(place: str) -> Iterator[None]:
    """Say in which tensor or op an error was found."""
    try:
        yield
    except FlatbufferError as error:
        raise FlatbufferError(f"{place}: {error}") from None


def _data_bytes(buffer: Table, data: Data) -> int:
    """Bytes of a buffer: in its table, or, in files over 2 GB, behind all tables."""
    offset, size = buffer.number(1, "u64"), buffer.number(2, "u64")
    if offset <= 1:
        return buffer.length(0)
    if offset + size > len(data):
        raise FlatbufferError(f"data at {offset} must end within the {len(data)} bytes")
    return size


def _tensors(subgraph: Table, buffers: list[int]) -> list[Tensor]:
    tensors = []
    for number, table in enumerate(subgraph.tables(0)):
        with at(f"tensor {number}"):
            tensors.append(_tensor(table, buffers))
    return tensors


def _tensor(table: Table, buffers: list[int]) -> Tensor:
    shape, kind = table.numbers(0), table.number(1, "i8")
    if len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise FlatbufferError(
            f"sizes must be at most {MOST_DIMENSIONS} and not negative, "
            f"but are {list(shape[:MOST_DIMENSIONS])}"
        )
    if math.prod(shape) > LARGEST_TENSOR:
        raise FlatbufferError(f"must have {LARGEST_TENSOR:,} elements at most, not {list(shape)}")
    name = TYPES[kind] if 0 <= kind < len(TYPES) else f"type{kind}"
    variable = bool(table.number(5, "u8"))
    size = _constant_bytes(table, buffers)
    if size > 0 and not variable:
        _check_data(table, shape, name, size)
    constant = size != 0 and not variable
    return Tensor(table, shape, name, constant, variable, table.numbers(7))


def _constant_bytes(table: Table, buffers: list[int]) -> int:
    """Bytes of data that the file holds of a tensor; 0: none, it is computed."""
    if table.number(10, "u32"):
        return ELSEWHERE
    buffer = table.number(2, "u32")
    if buffer >= max(len(buffers), 1):
        raise FlatbufferError(f"buffer {buffer} must be one of {len(buffers)}")
    return buffers[buffer] if buffers else 0


def _check_data(table: Table, shape: Shape, kind: str, size: int) -> None:
    """A constant has as many bytes as its shape says, but strings and sparse ones."""
    if kind not in TYPE_BITS or table.table(6) is not None:
        return
    needed = -(-math.prod(shape) * TYPE_BITS[kind] // 8)
    if size != needed:
        raise FlatbufferError(
            f"{list(shape)} of {kind} must have {needed:,} bytes of data, but has {size:,}"
        )


def _operator(code: Table) -> Operator:
    # Codes up to 127 stood in a byte in old files; newer ones write both (schema.fbs).
    number = max(code.number(0, "i8"), code.number(3, "i32"))
    custom = code.text(1) if number == CUSTOM else ""
    kind, builtin = BUILTINS.get(number, OpKind.OTHER), operator_name(number)
    if custom == DETECTION_POSTPROCESS:
        kind = OpKind.TFLITE_DETECTION_POSTPROCESS
    name = custom or (builtin if kind is OpKind.OTHER else kind.value)
    return Operator(kind, name, builtin, code.number(2, default=1))


def _call(table: Table, operators: list[Operator], tensors: int, subgraphs: int) -> Call:
    index = table.number(0, "u32")
    if index >= len(operators):
        raise FlatbufferError(f"operator code {index} must be one of {len(operators)}")
    inputs, outputs = _present(table.numbers(1)), table.numbers(2)
    _check_numbers((*inputs, *outputs), tensors)
    called = _called(table, operators[index].builtin, subgraphs)
    options, kind = table.table(4), table.number(3, "u8")
    return Call(operators[index], inputs, outputs, options, kind, called)


def _called(table: Table, builtin: str, subgraphs: int) -> tuple[int, ...]:
    """Subgraphs that an op runs; newer operators have options in fields of their own.

    The newest are no reason to call a file damaged: what they must hold may change yet.
    """
    if builtin not in CALLED_SUBGRAPHS:
        return ()
    kind, fields = CALLED_SUBGRAPHS[builtin]
    for number, options in ((3, table.table(4)), (11, table.table(12))):
        if options is not None and table.number(number, "u8") == kind:
            return tuple(_subgraph_number(options.number(one), subgraphs) for one in fields)
    if builtin in NEWEST:
        return ()
    raise FlatbufferError(f"options must be of type {kind} and say what it runs, but do not")


def _present(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Tensor numbers without -1, which stands for one that is left out."""
    return tuple(number for number in numbers if number != -1) if -1 in numbers else numbers


def _check_numbers(numbers: tuple[int, ...], tensors: int) -> None:
    for number in numbers:
        if not 0 <= number < tensors:
            raise FlatbufferError(f"tensor {number} must be one of {tensors}")
