"""Writers of small .tflite files, whole or wrong; small networks, and a device to reckon with."""

import dataclasses
import itertools
import math

import flatbuffers
import pytest
from flatbuffers import flexbuffers

from hw.device import load_device
from spaces.graph import INPUT, Op, OpGraph, OpKind

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


def write_model(
    tensors, ops, inputs=(0,), outputs=None, version=3, versions=None, others=(), signatures=None
):
    """A .tflite file.

    Args:
        tensors: (name, shape, type, constant[, {field: value of the table}]); constant True: as
            many bytes as the shape needs; a number: that many.
        ops: (builtin number or custom name, inputs, outputs, options[, custom options]);
            options are (union type, {field: (letter, number)}).
        inputs: Tensor numbers.
        outputs: Tensor numbers; None: those of the last op.
        version: Of the schema.
        versions: Of operators by their numbers, where it is not 1; of unused ones, too.
        others: Further subgraphs: (tensors, ops, inputs).
        signatures: Subgraph numbers by names.
    """
    w, versions = Writer(), versions or {}
    graphs = [(tensors, ops, inputs, outputs), *((*one, None) for one in others)]
    used = [op[0] for _, made, *_ in graphs for op in made]
    codes = list(dict.fromkeys([*used, *versions]))
    buffers = [w.table({})]
    subgraphs = [write_subgraph(w, codes, buffers, *graph) for graph in graphs]
    made_codes = []
    for code in codes:
        number, custom = (32, code) if isinstance(code, str) else (code, "")
        fields = {0: ("b", min(number, 127)), 1: w.text(custom), 3: ("i", number)}
        if code in versions:
            fields[2] = ("i", versions[code])
        made_codes.append(w.table(fields))
    named = [
        w.table({2: w.text(name), 4: ("u", number)}) for name, number in (signatures or {}).items()
    ]
    root = {
        0: ("u", version),
        1: w.tables(made_codes),
        2: w.tables(subgraphs),
        4: w.tables(buffers),
    }
    if named:
        root[7] = w.tables(named)
    return w.finish(w.table(root), b"TFL3")


def write_subgraph(w, codes, buffers, tensors, ops, inputs, outputs):
    """One subgraph of :func:`write_model`; its constants are added to ``buffers``."""
    made = []
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
    made_ops = []
    for code, ins, outs, options, *custom in ops:
        fields = {0: ("u", codes.index(code)), 1: w.numbers(ins), 2: w.numbers(outs)}
        if options:
            fields |= {3: ("b", options[0]), 4: ("o", w.table(options[1]))}
        if custom:
            fields[5] = w.data(custom[0])
        made_ops.append(w.table(fields))
    last = (ops[-1][2] if ops else []) if outputs is None else outputs
    return w.table(
        {0: w.tables(made), 1: w.numbers(inputs), 2: w.numbers(last), 3: w.tables(made_ops)}
    )


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


class Networks:
    """Builders of networks."""

    @staticmethod
    def conv(name, source, shape, filters, kernel=1, strides=1, groups=1, kind=OpKind.CONV_2D):
        """A convolution with a square window and the padding that keeps the map."""
        side = math.ceil(shape[1] / strides)
        after, window = (1, side, side, filters), (kernel, kernel)
        return Op(name, kind, (source,), shape, after, window, (strides, strides), groups)

    @staticmethod
    def head(last, classes=10):
        """Average and a dense layer, as :func:`spaces.heads.classification.classification`."""
        pooled, window = (1, last.out_channels), last.output_shape[1:3]
        mean = Op("mean", OpKind.MEAN, (last.name,), last.output_shape, pooled, window)
        return mean, Op("logits", OpKind.FULLY_CONNECTED, ("mean",), pooled, (1, classes))

    @staticmethod
    def stack(filters, kernel, depth, side, channels=None):
        """``depth`` convolutions over maps of one size; ``channels`` of the input."""
        ops, source = [], INPUT
        before = first = (1, side, side, channels or filters)
        for number in range(depth):
            ops.append(Networks.conv(f"c{number}", source, before, filters, kernel))
            source, before = ops[-1].name, ops[-1].output_shape
        return OpGraph(first, tuple(ops))

    @staticmethod
    def dense(*widths):
        """Dense layers, ``widths[0]`` inputs."""
        ops, source = [], INPUT
        for number, pair in enumerate(itertools.pairwise(widths)):
            before, after = ((1, width) for width in pair)
            ops.append(Op(f"d{number}", OpKind.FULLY_CONNECTED, (source,), before, after))
            source = ops[-1].name
        return OpGraph((1, widths[0]), tuple(ops))

    @staticmethod
    def bottlenecks(rng, width=8, sides=(16, 33, 64), pools=0):
        """Inverted bottlenecks of all kinds with residuals, average and classifier."""
        side = int(rng.choice(sides))
        ops = [Networks.conv("stem", INPUT, (1, side, side, 3), width, 3, 2)]
        for block in range(int(rng.integers(1, 6))):
            ops += Networks.bottleneck(rng, str(block), ops[-1])
        for number in range(int(rng.integers(pools + 1))):
            shape, name = ops[-1].output_shape, f"pool{number}"
            ops.append(Op(name, OpKind.AVERAGE_POOL_2D, (ops[-1].name,), shape, shape, (3, 3)))
        return OpGraph((1, side, side, 3), (*ops, *Networks.head(ops[-1])))

    @staticmethod
    def bottleneck(rng, name, before):
        """A block behind the op ``before``: depthwise, fused or grouped."""
        shape = before.output_shape
        expanded, kernel = shape[-1] * int(rng.choice([2, 4])), int(rng.choice([3, 5]))
        strides, kind = int(rng.choice([1, 1, 2])), rng.choice(["dw", "fused", "grouped"])
        ops, source, wide = [], before.name, f"{name}/wide"
        if kind == "dw":
            ops.append(Networks.conv(f"{name}/expand", source, shape, expanded))
            after, depthwise = ops[-1].output_shape, OpKind.DEPTHWISE_CONV_2D
            ops.append(
                Networks.conv(wide, ops[-1].name, after, expanded, kernel, strides, kind=depthwise)
            )
        else:
            groups = int(rng.choice([2, 4])) if kind == "grouped" else 1
            ops.append(Networks.conv(wide, source, shape, expanded, kernel, strides, groups))
        filters = shape[-1] if rng.random() < 0.5 else shape[-1] + 8
        ops.append(Networks.conv(f"{name}/project", wide, ops[-1].output_shape, filters))
        if ops[-1].output_shape == shape:
            names = (ops[-1].name, source)
            ops.append(Op(f"{name}/add", OpKind.ADD, names, shape, shape))
        return ops

    @staticmethod
    def interrupted(graph, slot, kind=OpKind.OTHER):
        """``graph`` with an op that no compiler maps behind that of number ``slot``."""
        before = graph.ops[slot]
        shape = before.output_shape
        host = Op("host", kind, (before.name,), shape, shape)
        rest = [
            dataclasses.replace(
                op, inputs=tuple("host" if name == before.name else name for name in op.inputs)
            )
            for op in graph.ops[slot + 1 :]
        ]
        return dataclasses.replace(graph, ops=(*graph.ops[: slot + 1], host, *rest))


@pytest.fixture(scope="session")
def networks():
    """The class :class:`Networks`."""
    return Networks


def make_device():
    """A device whose coefficients are round numbers, for arithmetic in tests."""
    device = load_device("coral_usb3")
    replaced = {
        "compiler": {"grouped_convolution": "split", "subgraphs": "one"},
        "chip": {
            "clock_mhz": 500.0,
            "tile_rows": 4,
            "tile_columns": 4,
            "output_lanes": 64,
            "input_lanes": 4,
            "depthwise_factor": 1.5,
            "pool_factor": 2.0,
            "small_window_factor": 1.25,
            "narrow_memory_bytes": 3 << 20,
            "wide_memory_bytes": 8 << 20,
            "overflow_bytes": 1 << 20,
            "large_window_bytes": 3 << 20,
            "tiled_map_bytes": 2_752_512,
            "instruction_bytes_per_op": 1024,
            "activation_gb_per_s": 32.0,
            "overflow_gb_per_s": 8.0,
            "weight_gb_per_s": 16.0,
            "convolution_us": 1.0,
            "window_us": 2.0,
            "elementwise_us": 3.0,
            "pool_us": 5.0,
            "movement_us": 7.0,
        },
        "link": {
            "fixed_ms": 0.25,
            "input_mb_per_s": 250.0,
            "output_mb_per_s": 125.0,
            "output_channels": 16,
            "streaming_ms_per_mib": 2.0,
            "first_inference_ms": 0.5,
        },
        "host": {
            "gmacs_per_s": 10.0,
            "elements_per_us": 100.0,
            "scores_per_us": 20.0,
            "pairs_per_us": 10.0,
            "op_us": 4.0,
        },
        "macs_line": {"fixed_ms": 1.0, "slope_ms_per_gmac": 2.0},
        "energy": {"mac_pj": 1.0, "streamed_byte_pj": 100.0, "idle_w": 0.5},
    }
    for section, fields in replaced.items():
        device = replaced_in(device, section, **fields)
    return dataclasses.replace(device, name="round", calibration=None)


def replaced_in(device, section, **fields):
    """``device`` with fields of a section replaced."""
    part = dataclasses.replace(getattr(device, section), **fields)
    return dataclasses.replace(device, **{section: part})


@pytest.fixture(scope="session")
def round_device():
    """What :func:`make_device` makes."""
    return make_device()


@pytest.fixture(scope="session")
def changed():
    """The function :func:`replaced_in`."""
    return replaced_in
