"""What a file made by ``edgetpu_compiler`` says of itself, without a device.

Each custom op holds a package of serialized executables. One runs an inference; where parameters
fit on chip, a second loads them once: its parameters are *cached*, those of the first are
*streamed* at every inference.

Source: google-coral/libedgetpu, executable/executable.fbs, tflite/custom_op_data.cc and, for which
executables are run, driver/package_registry.cc. Fields are counted from 0, a union takes two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.tflite.calls import at, model_table
from hw.tflite.flatbuffer import FlatbufferError, Table
from hw.tflite.flexbuffer import string_of_map
from hw.tflite.model import TfliteError
from hw.tflite.reader import read_file, refused
from hw.tflite.schema import COMPILED_OP

PACKAGE_IDENTIFIER = b"DWN1"
PACKAGE_KEY = b"4"  # 7 holds the same network again, for other chips
STAND_ALONE, PARAMETER_CACHING, EXECUTION_ONLY = 0, 1, 2
DATA_TYPES = {
    0: "uint8",
    1: "uint16",
    2: "int32",
    3: "bfloat16",
    4: "float16",
    5: "float32",
    8: "int8",
    9: "int16",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """An input or output as the chip sees it.

    Attributes:
        name: Of the tensor.
        shape: Height, width, channels.
        data_type: E.g. ``"uint8"``.
        size_bytes: As transferred, padding included.
    """

    name: str
    shape: tuple[int, int, int]
    data_type: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Executable:
    """One program.

    Attributes:
        kind: ``STAND_ALONE``, ``PARAMETER_CACHING`` or ``EXECUTION_ONLY``.
        chip: What it was compiled for, e.g. ``"beagle"``.
        parameter_bytes: That it transfers.
        instruction_bytes: That it transfers.
        narrow_memory_bytes_per_tile: Most it uses; activations lie there.
        scratch_bytes: Of host memory.
        compiler_cycles: The compiler's estimate; None where it wrote none (since about 2020).
        inputs: In order.
        outputs: In order.
    """

    kind: int
    chip: str
    parameter_bytes: int
    instruction_bytes: int
    narrow_memory_bytes_per_tile: int
    scratch_bytes: int
    compiler_cycles: int | None
    inputs: tuple[Layer, ...]
    outputs: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Package:
    """What one custom op runs.

    Attributes:
        min_runtime_version: Oldest runtime that takes it.
        compiler_version: As the compiler wrote it.
        main: Run at every inference.
        caching: Run once, before the first; None: nothing stays on chip.
    """

    min_runtime_version: int
    compiler_version: str
    main: Executable
    caching: Executable | None


@dataclass(frozen=True, slots=True)
class CompiledModel:
    """A compiled file.

    Attributes:
        path: Of the file.
        packages: One for each subgraph of the Edge TPU, in order of execution.
        host_operators: Operators that were left to the host.
    """

    path: str
    packages: tuple[Package, ...]
    host_operators: int

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """Inputs of all packages."""
        return tuple(layer for package in self.packages for layer in package.main.inputs)

    @property
    def outputs(self) -> tuple[Layer, ...]:
        """Outputs of all packages."""
        return tuple(layer for package in self.packages for layer in package.main.outputs)

    @property
    def compiler_cycles(self) -> int | None:
        """Sum over the packages; None if one of them has none."""
        cycles = [package.main.compiler_cycles for package in self.packages]
        known = [number for number in cycles if number is not None]
        return sum(known) if len(known) == len(cycles) else None

    def totals(self) -> Mapping[str, int]:
        """Sums over the executables that run an inference; caching ones are named as such.

        Packages run one after the other, so what narrow memory must hold is the peak, not the
        sum.
        """
        mains = [package.main for package in self.packages]
        caching = [package.caching for package in self.packages if package.caching]
        return {
            "cached_parameter_bytes": sum(one.parameter_bytes for one in caching),
            "streamed_parameter_bytes": sum(one.parameter_bytes for one in mains),
            "narrow_memory_bytes_per_tile": sum(one.narrow_memory_bytes_per_tile for one in mains),
            "peak_narrow_memory_bytes_per_tile": max(
                one.narrow_memory_bytes_per_tile for one in mains
            ),
            "instruction_bytes": sum(one.instruction_bytes for one in mains),
            "executables": len(mains),
            "caching_executables": len(caching),
            "caching_instruction_bytes": sum(one.instruction_bytes for one in caching),
            "input_bytes": sum(layer.size_bytes for layer in self.inputs),
            "output_bytes": sum(layer.size_bytes for layer in self.outputs),
            "scratch_bytes": sum(one.scratch_bytes for one in mains),
            "host_operators": self.host_operators,
            "min_runtime_version": max(one.min_runtime_version for one in self.packages),
        }


def read_compiled(path: Path) -> CompiledModel:
    """Read a file.

    Raises:
        TfliteError: It cannot be read, is damaged, or is not compiled.
    """
    return parse_compiled(read_file(path), str(path))


def parse_compiled(data: bytes, path: str) -> CompiledModel:
    """The same of a file's bytes; ``path`` is for messages.

    Raises:
        TfliteError: They are damaged, or no compiled file.
    """
    with refused(path, len(data)):
        options, host = _custom_options(model_table(data))
        packages = [_package(number, *one) for number, one in enumerate(options)]
    if not packages:
        raise TfliteError(
            f"{path}: must be a compiled file, but got one without a {COMPILED_OP}. Compile it "
            "with edgetpu_compiler or Vela, or use `estimate` for a file that is not compiled."
        )
    return CompiledModel(path, tuple(packages), host)


def _custom_options(model: Table) -> tuple[list[tuple[Table, memoryview]], int]:
    """Operators of the Edge TPU with their custom options, and how many others there are."""
    names = [code.text(1) for code in model.tables(1)]
    compiled, host = [], 0
    for operator in (one for subgraph in model.tables(2) for one in subgraph.tables(3)):
        index = operator.number(0, "u32")
        if index >= len(names):
            raise FlatbufferError(f"operator code {index} must be one of {len(names)}")
        if names[index] == COMPILED_OP:
            compiled.append((operator, operator.view(5)))
        else:
            host += 1
    return compiled, host


def _package(number: int, operator: Table, options: memoryview) -> Package:
    with at(f"package {number}"):
        data = string_of_map(options, PACKAGE_KEY)
        if data is None:
            raise FlatbufferError("custom options must hold a package, but do not")
        table = operator.nested(data, PACKAGE_IDENTIFIER)
        if not table.length(1):
            raise FlatbufferError("there must be executables for one chip, but are none")
        found = _executables(table.nested(table.view(1), None))
        main, caching = _roles(found)
        return Package(_count(table, 0, "runtime version"), table.text(4), main, caching)


def _executables(multiple: Table) -> dict[int, Executable]:
    found: dict[int, Executable] = {}
    for number, data in enumerate(multiple.views(0)):
        with at(f"executable {number}"):
            one = _executable(multiple.nested(data, None))
            if one.kind in found:
                raise FlatbufferError(f"types must differ, but {one.kind} is there twice")
            found[one.kind] = one
    return found


def _roles(found: Mapping[int, Executable]) -> tuple[Executable, Executable | None]:
    """Which executable runs inferences and which loads parameters, as the runtime chooses."""
    if len(found) == 1:
        return next(iter(found.values())), None
    if set(found) == {PARAMETER_CACHING, EXECUTION_ONLY}:
        return found[EXECUTION_ONLY], found[PARAMETER_CACHING]
    if set(found) == {STAND_ALONE, PARAMETER_CACHING, EXECUTION_ONLY}:
        return found[STAND_ALONE], None
    raise FlatbufferError(
        "executables must be one, or of types 1 and 2, or of types 0, 1 and 2, but are of types "
        f"{sorted(found)}"
    )


def _executable(table: Table) -> Executable:
    cycles = _count(table, 16, "cycles", "i64") or _count(table, 11, "cycles")
    return Executable(
        kind=table.number(13, "i16"),
        chip=table.text(10),
        parameter_bytes=table.length(6),
        instruction_bytes=sum(chunk.length(0) for chunk in table.tables(5)),
        narrow_memory_bytes_per_tile=_count(table, 12, "narrow memory"),
        scratch_bytes=_count(table, 4, "scratch bytes"),
        compiler_cycles=cycles or None,
        inputs=tuple(_layer(layer) for layer in table.tables(8)),
        outputs=tuple(_layer(layer) for layer in table.tables(9)),
    )


def _layer(table: Table) -> Layer:
    height, width, channels = (_count(table, index, "sizes") for index in (2, 3, 4))
    kind = table.number(6, "i16")
    return Layer(
        name=table.text(0),
        shape=(height, width, channels),
        data_type=DATA_TYPES.get(kind, f"type{kind}"),
        size_bytes=_count(table, 1, "bytes of a layer"),
    )


def _count(table: Table, index: int, what: str, kind: str = "i32") -> int:
    number = table.number(index, kind)
    if number < 0:
        raise FlatbufferError(f"{what} must not be negative, but got {number}")
    return number
