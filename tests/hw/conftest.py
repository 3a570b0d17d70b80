"""Writers of small .tflite files, whole or wrong."""

import flatbuffers
import pytest
from flatbuffers import flexbuffers

FLOAT32, INT32, UINT8, INT8 = 0, 2, 3, 9
BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 7: 2, 9: 1}


class Writer:
    """Tables by field numbers, as a schema counts them."""

    def __init__(self):
        self.builder = flatbuffers.Builder(1024)

    def vector(self, items, kind):
        put, width = {
            "i": (self.builder.PrependInt32, 4),
            "o": (self.builder.PrependUOffsetTRelative, 4),
        }[kind]
        self.builder.StartVector(width, len(items), width)
        for item in reversed(items):
            put(item)
        return self.builder.EndVector()

    def numbers(self, items):
        return "o", self.vector(items, "i")

    def tables(self, items):
        return "o", self.vector(items, "o")

    def text(self, text):
        return "o", self.builder.CreateString(text)

    def data(self, data):
        return "o", self.builder.CreateByteVector(data)

    def table(self, fields):
        self.builder.StartObject(max(fields, default=-1) + 1)
        for slot, (kind, value) in fields.items():
            {
                "o": self.builder.PrependUOffsetTRelativeSlot,
                "b": self.builder.PrependInt8Slot,
                "h": self.builder.PrependInt16Slot,
                "i": self.builder.PrependInt32Slot,
                "u": self.builder.PrependUint32Slot,
                "q": self.builder.PrependInt64Slot,
            }[kind](slot, value, 0)
        return self.builder.EndObject()

    def finish(self, root, identifier=None):
        self.builder.Finish(root, identifier)
        return bytes(self.builder.Output())


def write_model(tensors, ops, inputs=(0,), outputs=None, version=3):
    """A .tflite file.

    Args:
        tensors: (name, shape, type, constant[, {field: value of the table}]); constant True: as
            many bytes as the shape needs; a number: that many.
        ops: (builtin number or custom name, inputs, outputs, options[, custom options]);
            options are (union type, {field: (letter, number)}).
        inputs: Tensor numbers.
        outputs: Tensor numbers; None: those of the last op.
        version: Of the schema.
    """
    w = Writer()
    buffers, made = [w.table({})], []
    for name, shape, kind, constant, *more in tensors:
        number = 0
        if constant:
            size = int(constant)
            if constant is True:
                size = BYTES[kind]
                for one in shape:
                    size *= one
            number = len(buffers)
            buffers.append(w.table({0: w.data(bytes(size))}))
        fields = {0: w.numbers(shape), 1: ("b", kind), 2: ("u", number), 3: w.text(name)}
        extra = {
            field: w.numbers(value) if isinstance(value, list) else value
            for field, value in (more[0] if more else {}).items()
        }
        made.append(w.table(fields | extra))
    codes = list(dict.fromkeys(op[0] for op in ops))
    made_ops = []
    for code, ins, outs, options, *custom in ops:
        fields = {0: ("u", codes.index(code)), 1: w.numbers(ins), 2: w.numbers(outs)}
        if options:
            fields |= {3: ("b", options[0]), 4: ("o", w.table(options[1]))}
        if custom:
            fields[5] = w.data(custom[0])
        made_ops.append(w.table(fields))
    last = (ops[-1][2] if ops else []) if outputs is None else outputs
    subgraph = w.table(
        {0: w.tables(made), 1: w.numbers(inputs), 2: w.numbers(last), 3: w.tables(made_ops)}
    )
    made_codes = []
    for code in codes:
        number, custom = (32, code) if isinstance(code, str) else (code, "")
        made_codes.append(
            w.table({0: ("b", min(number, 127)), 1: w.text(custom), 3: ("i", number)})
        )
    root = {
        0: ("u", version),
        1: w.tables(made_codes),
        2: w.tables([subgraph]),
        4: w.tables(buffers),
    }
    return w.finish(w.table(root), b"TFL3")


def write_conv(kind=INT8, in_channels=8, filter_channels=8, weights=None):
    """One strided 3x3 convolution of 16 filters with a ReLU."""
    weights = kind if weights is None else weights
    tensors = [
        ("x", [1, 6, 6, in_channels], kind, False),
        ("w", [16, 3, 3, filter_channels], weights, True),
        ("b", [16], INT32, True),
        ("y", [1, 3, 3, 16], kind, False),
    ]
    options = (1, {1: ("i", 2), 2: ("i", 2), 3: ("b", 1)})
    return write_model(tensors, [(3, [0, 1, 2], [3], options)])


class Raw(bytes):
    """Bytes where a builder asks for text."""

    def encode(self, _):
        return self


def write_executable(kind, parameters=0, instructions=(), narrow=0, cycles=None, layers=()):
    """An executable; ``layers`` are (name, bytes, height, width, channels), the last the output.

    ``cycles`` is (field, letter, number): the schema has an old field and a new one.
    """
    w = Writer()
    chunks = [w.table({0: w.data(bytes(size))}) for size in instructions]
    made = [
        w.table({0: w.text(name)} | {n + 1: ("i", size) for n, size in enumerate(sizes)})
        for name, *sizes in layers
    ]
    fields = {
        3: ("i", 1),
        5: w.tables(chunks),
        6: w.data(bytes(parameters)),
        8: w.tables(made[:-1]),
        9: w.tables(made[-1:]),
        10: w.text("beagle"),
        12: ("i", narrow),
        13: ("h", kind),
    }
    if cycles:
        fields[cycles[0]] = cycles[1:]
    return w.finish(w.table(fields))


def write_options(executables, key="4", identifier=b"DWN1", runtime=12):
    """Custom options of an Edge TPU op: a map that holds a package of executables."""
    w = Writer()
    strings = [w.data(one) for one in executables]
    several = w.finish(w.table({0: w.tables([one for _, one in strings])}))
    w = Writer()
    package = w.finish(
        w.table({0: ("i", runtime), 1: w.data(several), 4: w.text("cl/1")}), identifier
    )
    options = flexbuffers.Builder()
    with options.Map():
        options.Key("1")
        options.Int(1)
        options.Key(key)
        options.String(Raw(package))
    return bytes(options.Finish())


def write_compiled(*options, host=0):
    """A compiled .tflite: ops of the Edge TPU in a row, then ``host`` others."""
    codes = [("edgetpu-custom-op", one) for one in options] + [(56, b"")] * host
    tensors = [(f"t{number}", [1, 8], INT8, False) for number in range(len(codes) + 1)]
    ops = [
        (code, [number], [number + 1], None, custom) for number, (code, custom) in enumerate(codes)
    ]
    return write_model(tensors, ops)


@pytest.fixture
def writer():
    """A :class:`Writer` of one file."""
    return Writer()


@pytest.fixture(scope="session")
def model_bytes():
    """The function :func:`write_model`."""
    return write_model


@pytest.fixture(scope="session")
def conv_model():
    """The function :func:`write_conv`."""
    return write_conv


@pytest.fixture(scope="session")
def executable():
    """The function :func:`write_executable`."""
    return write_executable


@pytest.fixture(scope="session")
def package_options():
    """The function :func:`write_options`."""
    return write_options


@pytest.fixture(scope="session")
def compiled_bytes():
    """The function :func:`write_compiled`."""
    return write_compiled
