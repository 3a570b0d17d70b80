"""What a file made by Vela says of itself, without a device.

Each part of a network that runs on the accelerator is one custom op. Its first input holds driver
actions (which accelerator it is for, then its commands), the second the constants, the third and
fourth are memory to work in; what follows are the tensors that it reads.

Source: Vela 5.2, ``tflite_writer.py``, ``npu_serialisation.py`` and ``driver_actions.py``.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hw.tflite.calls import Call, Subgraph, Tensor, at, model_table, read_content
from hw.tflite.flatbuffer import Data, FlatbufferError, Table
from hw.tflite.reader import read_file, refused
from hw.tflite.schema import TYPE_BITS, VELA_OP

MAGIC: Final = 0x31504F43  # "COP1"
CONFIGURATION: Final = 1  # of a driver action
PRODUCTS: Final = {0: "ethos-u55", 1: "ethos-u65", 2: "ethos-u85"}
_BEFORE_DATA: Final = 4
"""Inputs of the op that are none of the network's."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A tensor that goes to the accelerator or comes from it, as it lies in the file."""

    name: str
    shape: tuple[int, ...]
    data_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """What runs on the accelerator in one go.

    Attributes:
        accelerator: E.g. ``"ethos-u55-128"``, with its MACs a cycle; None: the file does not say.
        command_bytes: Driver actions and the stream of commands.
        constant_bytes: Weights, scales and tables, compressed.
        scratch_bytes: Of memory to work in, that of other parts and of inputs included.
        fast_scratch_bytes: Of memory beside that is faster; None: it is the same.
        inputs, outputs: In order.
    """

    accelerator: str | None
    command_bytes: int
    constant_bytes: int
    scratch_bytes: int
    fast_scratch_bytes: int | None
    inputs: tuple[Layer, ...]
    outputs: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class VelaModel:
    """A file.

    Attributes:
        path: Of the file.
        parts: In order of execution.
        host_operators: Names of the operators that were left to the host, in order.
    """

    path: str
    parts: tuple[Part, ...]
    host_operators: tuple[str, ...]

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """Inputs of all parts."""
        return tuple(layer for part in self.parts for layer in part.inputs)

    @property
    def outputs(self) -> tuple[Layer, ...]:
        """Outputs of all parts."""
        return tuple(layer for part in self.parts for layer in part.outputs)

    def totals(self) -> dict[str, int]:
        """Sums over the parts; of memory to work in, which they share, the most."""
        fast = [part.fast_scratch_bytes for part in self.parts]
        return {
            "parts": len(self.parts),
            "command_bytes": sum(part.command_bytes for part in self.parts),
            "constant_bytes": sum(part.constant_bytes for part in self.parts),
            "peak_scratch_bytes": max(part.scratch_bytes for part in self.parts),
            "peak_fast_scratch_bytes": max(one or 0 for one in fast),
            "input_bytes": sum(layer.size_bytes for layer in self.inputs),
            "output_bytes": sum(layer.size_bytes for layer in self.outputs),
            "host_operators": len(self.host_operators),
        }


def read_vela(path: Path) -> VelaModel | None:
    """Read a file; None: Vela left nothing in it.

    Raises:
        TfliteError: It cannot be read, or is damaged.
    """
    return parse_vela(read_file(path), str(path))


def parse_vela(data: Data, path: str) -> VelaModel | None:
    """The same of a file's bytes; ``path`` is for messages.

    Raises:
        TfliteError: They are damaged.
    """
    parts: list[Part] = []
    host: list[str] = []
    with refused(path, len(data)):
        model = model_table(data)
        if VELA_OP not in {code.text(1) for code in model.tables(1)}:
            return None
        content, buffers = read_content(data), model.tables(4)
        for number in range(len(model.tables(2))):
            subgraph = content.subgraph(number)
            for call in subgraph.calls:
                if call.operator.name == VELA_OP:
                    with at(f"part {len(parts)}"):
                        parts.append(_part(call, subgraph, buffers))
                else:
                    host.append(call.operator.name)
    return VelaModel(path, tuple(parts), tuple(host)) if parts else None


def _part(call: Call, subgraph: Subgraph, buffers: list[Table]) -> Part:
    if len(call.inputs) < _BEFORE_DATA:
        raise FlatbufferError(
            f"inputs must be {_BEFORE_DATA} and the network's, but are {len(call.inputs)}"
        )
    own = call.inputs[:_BEFORE_DATA]
    commands, constants, scratch, fast = (subgraph.tensors[number] for number in own)
    return Part(
        accelerator=_accelerator(buffers[commands.table.number(2, "u32")].view(0)),
        command_bytes=_size(commands),
        constant_bytes=_size(constants),
        scratch_bytes=_size(scratch),
        fast_scratch_bytes=None if own[2] == own[3] else _size(fast),
        inputs=tuple(_layer(subgraph.tensors[number]) for number in call.inputs[_BEFORE_DATA:]),
        outputs=tuple(_layer(subgraph.tensors[number]) for number in call.outputs),
    )


def _accelerator(commands: memoryview) -> str | None:
    """Product and MACs of the first driver action, where that is what it tells."""
    if len(commands) < 12:
        return None
    magic, tag, word = struct.unpack_from("<3I", commands)
    if magic != MAGIC or tag & 0xFF != CONFIGURATION:
        return None
    product = PRODUCTS.get(word >> 28)
    return product and f"{product}-{1 << (word & 0xF)}"


def _layer(tensor: Tensor) -> Layer:
    return Layer(tensor.name, tensor.shape, tensor.type, _size(tensor))


def _size(tensor: Tensor) -> int:
    return -(-math.prod(tensor.shape) * TYPE_BITS.get(tensor.type, 8) // 8)
