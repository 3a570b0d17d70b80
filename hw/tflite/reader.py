"""A ``.tflite`` file as an :class:`~spaces.graph.OpGraph`, without TensorFlow.

Constants and ops on constants alone are no ops of the graph. A dilated convolution costs what the
same kernel costs without dilation. Of several subgraphs one is the graph, the first or that of a
signature. What stands in the branches of an IF or the body of a WHILE is no part of it, nor what
other signatures run: ``left_out`` says so. All that a file says is checked, so that a damaged or
hostile one is refused with one line, in little time and memory.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from hw.text import short
from hw.tflite.calls import IDENTIFIER, Call, Content, Tensor, at, read_content
from hw.tflite.flatbuffer import Data, FlatbufferError
from hw.tflite.model import HEAVY, QUANTIZED, TfliteError, TfliteModel
from hw.tflite.ops import (
    OPERANDS,
    bias_of,
    computes_sizes,
    is_fed,
    make_op,
    size_operands,
    weights_of,
)
from hw.tflite.reasons import DATA_TYPE, NO_CONSTANTS, NOT_SUPPORTED
from hw.tflite.schema import COMPILED_OP, CUSTOM_NAME, FLOATS, VELA_OP
from spaces.graph import INPUT, Op, OpGraph, OpKind, Shape, ShapeError, Trait, kinds_with

INTEGERS = frozenset({"int32", "int64"})
NUMBERING = kinds_with(Trait.NUMBERING)
"""Ops that read or make numbers of things; compilers that have them take wide integers there."""
UNSIZED = kinds_with(Trait.HOST)
"""Ops of the host, whose results may be of any length."""
MOST_NAMED = 3
DEEPEST = 32
LARGEST_FILE = 1 << 29  # an Edge TPU caches 8 MiB; published models for it have up to 60 MB


def read_tflite(path: Path, signature: str | None = None) -> TfliteModel:
    """Read a file; ``signature`` names one of several networks in it, None: the first.

    Raises:
        TfliteError: It cannot be read, is damaged or is something else; or has no such signature.
    """
    return parse_tflite(read_file(path), str(path), signature)


def parse_tflite(data: Data, path: str, signature: str | None = None) -> TfliteModel:
    """The same of the bytes of a file; ``path`` is for messages.

    Raises:
        TfliteError: They are damaged or something else, or have no such signature.
    """
    with refused(path, len(data)):
        content = read_content(data)
        number = 0
        if signature is not None:
            if signature not in content.signatures:
                raise TfliteError(
                    f"{path}: signature must be one of {', '.join(content.signatures) or 'none'}, "
                    f"but got {signature!r}."
                )
            number = content.signatures[signature]
        builder = _Builder(path, content, number)
        return builder.build(() if signature is not None else _others(content.signatures))


def _others(signatures: Mapping[str, int]) -> tuple[str, ...]:
    """What a file can do beside its first subgraph."""
    others = [name for name, number in signatures.items() if number]
    if not others:
        return ()
    names = ", ".join(others[:MOST_NAMED]) + ", ..." * (len(others) > MOST_NAMED)
    subject = f"the other signatures, {names}" if len(others) > 1 else f"the other one, {names}"
    return (f"{subject} (one is costed by --signature NAME)",)


def read_file(path: Path) -> bytes:
    """The bytes of what may be a ``.tflite``; other files, and huge ones, are not read at all.

    Raises:
        TfliteError: It cannot be read, is too large, or is something else by its first bytes.
    """
    try:
        status = path.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise TfliteError(f"{path}: must be a readable file, but got: Not a regular file.")
        with path.open("rb", buffering=0) as file:
            start = file.read(8)
            if start[4:] != IDENTIFIER:
                raise TfliteError(
                    f"{path}: must be a whole .tflite file, but got bytes 4 to 8 that are "
                    f"{start[4:]!r} instead of {IDENTIFIER!r}. Convert the model to .tflite."
                )
            if status.st_size > LARGEST_FILE:
                raise TfliteError(
                    f"{path}: must have at most {LARGEST_FILE:,} bytes to run on an Edge TPU, but "
                    f"got {status.st_size:,}. Choose a smaller model."
                )
            file.seek(0)
            return file.readall()
    except OSError as error:
        raise TfliteError(f"{path}: must be a readable file, but got: {error.strerror}.") from None


@contextmanager
def refused(path: str, size: int) -> Iterator[None]:
    """Turn damage into one line that names the file.

    Raises:
        TfliteError: For any error of what it surrounds.
    """
    try:
        yield
    except (FlatbufferError, ShapeError) as error:
        raise TfliteError(
            f"{path}: must be a whole .tflite file, but got {size:,} bytes in which "
            f"{str(error).rstrip('.')}. Copy or convert it again."
        ) from None


class _Builder:
    """Collects the ops of a subgraph; knows which op made which tensor."""

    def __init__(self, path: str, content: Content, number: int) -> None:
        self._path = path
        self._content = content
        self._subgraph = subgraph = content.subgraph(number)
        self._number = number
        self._tensors = subgraph.tensors
        self._producers = dict.fromkeys(subgraph.inputs[:1], INPUT)
        self._more_inputs: list[tuple[str, Shape]] = []
        self._constants = {
            # Empty lists (of axes, of sizes) are constants without data.
            number
            for number, one in enumerate(self._tensors)
            if one.constant or (0 in one.shape and not one.variable)
        } - set(subgraph.inputs)
        self._made = self._constants | set(subgraph.inputs)
        self._names: dict[str, int] = {INPUT: 1}
        self.live: list[tuple[Op, Call]] = []

    def build(self, left_out: tuple[str, ...]) -> TfliteModel:
        if any(call.operator.name == VELA_OP for call in self._subgraph.calls):
            raise TfliteError(
                f"{self._path}: must be the model before compilation, but got the output of Vela. "
                "Give the .tflite it was made of; `inspect` tells what is in this one."
            )
        inputs = [self._tensors[number] for number in self._subgraph.inputs]
        if not inputs:
            raise FlatbufferError("there must be an input, but is none")
        self.read()
        if not self.live:
            raise FlatbufferError("there must be an op, but is none")
        live, operators = self.live, self._content.operators
        inner = _Inner(self._path, self._content, self._number)
        run = [(op, call, inner.macs(call)) for op, call in live if call.called]
        return TfliteModel(
            path=self._path,
            graph=OpGraph(
                inputs[0].shape,
                tuple(op for op, _ in live),
                more_inputs=tuple(self._more_inputs),
            ),
            data_types=tuple(
                (op.name, self._tensors[call.outputs[0]].type) for op, call in live if call.outputs
            ),
            unsupported=tuple(
                (op.name, reason) for op, call in live if (reason := self._reason(call))
            ),
            quantized=any(one.is_quantized() for one in (self, *inner.read)),
            hybrid=any(self._is_hybrid(call) for _, call in live),
            dynamic=self._dynamic(),
            open_batch=any(one.open_batch for one in inputs),
            computed_sizes=tuple(
                found for one in (self, *inner.read) for found in one.computed_sizes()
            ),
            operators=tuple(
                (one.builtin, one.version) for one in operators if one.builtin != CUSTOM_NAME
            ),
            custom_operators=tuple(one.name for one in operators if one.builtin == CUSTOM_NAME),
            compiled=any(call.operator.name == COMPILED_OP for _, call in live),
            left_out=(*(_inside(op, call, macs) for op, call, macs in run), *left_out),
        )

    def read(self) -> None:
        """Collect the ops.

        Raises:
            FlatbufferError: The subgraph is damaged.
        """
        for number in self._subgraph.inputs:
            tensor = self._tensors[number]
            _check_sizes(tensor)
            if number not in self._producers:
                self._producers[number] = self._unique(tensor.name or INPUT)
                self._more_inputs.append((self._producers[number], tensor.shape))
        for number, call in enumerate(self._subgraph.calls):
            with at(f"op {number} ({call.operator.name})"):
                self._add(call)
        self._check_made(self._subgraph.outputs)

    def _add(self, call: Call) -> None:
        self._check_made(call.inputs)
        for number in call.outputs:
            _check_sizes(self._tensors[number])
            if number in self._made:
                raise FlatbufferError(f"makes {self._called(number)}, which is made already")
            self._made.add(number)
        if call.inputs and self._constants.issuperset(call.inputs) and not call.called:
            self._constants.update(call.outputs)
            return
        data = [number for number in call.inputs if number not in self._constants]
        made = self._tensors[call.outputs[0]].name if call.outputs else ""
        name = self._unique(made or call.kind.value)
        inputs = [self._producers[number] for number in data if number in self._producers]
        self.live.append((make_op(name, call, self._tensors, data, inputs), call))
        self._producers.update(dict.fromkeys(call.outputs, name))

    def _check_made(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            if number not in self._made and not self._tensors[number].variable:
                raise FlatbufferError(f"reads {self._called(number)}, which nothing before makes")

    def _called(self, number: int) -> str:
        return f"tensor {number} ({self._tensors[number].name[:48]})"

    # --- data types ----------------------------------------------------------------------

    def _reason(self, call: Call) -> str | None:
        """Why the op stays on the host; None if the graph will tell."""
        if call.kind is OpKind.OTHER:
            return f"{NOT_SUPPORTED}: {call.operator.name}"
        if not self._is_quantized(call):
            return DATA_TYPE
        data = [number for number in call.inputs if number not in self._constants]
        return NO_CONSTANTS if is_fed(call, data) else None

    def _activations(self, call: Call) -> set[str]:
        """Data types that the op reads and writes; constants, sizes and bias left out."""
        left_out = self._constants.union(size_operands(call), bias_of(call))
        used = [number for number in call.inputs if number not in left_out]
        return {self._tensors[number].type for number in (*used, *call.outputs)}

    def _is_quantized(self, call: Call) -> bool:
        """Whether activations and weights have 8 bits (16 in the state of an LSTM).

        Numbers of tokens and of classes are wider by nature, which is the kind's affair.
        """
        types = self._activations(call)
        if call.kind in NUMBERING:
            types -= INTEGERS
        if call.kind in OPERANDS:
            types.add(weights_of(call, self._tensors).type)
        if call.kind is OpKind.UNIDIRECTIONAL_SEQUENCE_LSTM:
            types.discard("int16")
        return types <= QUANTIZED

    def is_quantized(self) -> bool:
        """Whether something in the subgraph has 8 bits, as the model's ``quantized`` has it."""
        heavy = [call for _, call in self.live if call.kind in HEAVY]
        if heavy:
            return any(self._is_quantized(call) for call in heavy)
        types = [one for _, call in self.live if (one := self._activations(call))]
        if any(one <= QUANTIZED for one in types):
            return True
        return any(one & QUANTIZED for one in types) and not any(one <= FLOATS for one in types)

    def computed_sizes(self) -> Iterator[tuple[str, str]]:
        """Ops whose result has a size that is computed at run time, with their kind."""
        for op, call in self.live:
            if computes_sizes(call, self._tensors):
                yield op.name, call.operator.builtin

    def _is_hybrid(self, call: Call) -> bool:
        if call.kind not in OPERANDS or not self._activations(call) & FLOATS:
            return False
        return weights_of(call, self._tensors).type in QUANTIZED

    def _dynamic(self) -> tuple[str, ...]:
        tensors = self._tensors
        inputs = [INPUT] if any(tensors[one].dynamic for one in self._subgraph.inputs) else []
        ops = [
            op.name
            for op, call in self.live
            if call.kind not in UNSIZED and any(tensors[one].dynamic for one in call.outputs)
        ]
        return (*inputs, *ops)

    def _unique(self, name: str) -> str:
        while name in self._names:
            self._names[name] += 1
            name = f"{name}#{self._names[name]}"
        self._names[name] = 1
        return name


class _Inner:
    """Reads the subgraphs that ops run, each once."""

    def __init__(self, path: str, content: Content, main: int) -> None:
        self.read: list[_Builder] = []
        self._path, self._content = path, content
        self._macs = {main: 0}  # of a subgraph that runs itself no more can be said
        self._depth = 0

    def macs(self, call: Call) -> int:
        """Multiply-accumulates of what an op runs, loops once, of branches the longest."""
        each = [self._of(number) for number in call.called]
        return max(each) if call.operator.builtin == "IF" else sum(each)

    def _of(self, number: int) -> int:
        if number not in self._macs:
            self._macs[number] = 0
            self._depth += 1
            if self._depth > DEEPEST:
                raise FlatbufferError(f"subgraphs must be at most {DEEPEST} deep in each other")
            with at(f"subgraph {number}"):
                inner = _Builder(self._path, self._content, number)
                inner.read()
            self.read.append(inner)
            self._macs[number] = sum(
                op.macs + (self.macs(call) if call.called else 0) for op, call in inner.live
            )
            self._depth -= 1
        return self._macs[number]


def _inside(op: Op, call: Call, macs: int) -> str:
    kind = call.operator.builtin
    rounds = " a round" * ("WHILE" in kind)
    return f"what stands in {short(op.name)} ({kind}, {macs:,} MACs{rounds})"


def _check_sizes(tensor: Tensor) -> None:
    if 0 in tensor.shape:
        raise FlatbufferError(
            f"{tensor.name[:48]}: sizes must be at least 1, but are {list(tensor.shape)}"
        )
