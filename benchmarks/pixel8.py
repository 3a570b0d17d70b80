"""The published latencies on Pixel 8 (Tensor G3), and the networks that they are of.

Classifiers with 1,000 classes and their softmax, at 224 pixels but for MNv4-Conv-M (256). The
table says neither how they were converted nor of which release they are, so what follows is
assumed: MobileOne-S4 with its branches merged and squeeze-and-excitation where its code has it,
which makes 3.0 GMACs, as its paper says, where the table has 1.5; ConvNeXt-S op by op as
TensorFlow's converter writes it, each layer normalisation as means, differences and products.

Sources: MobileNetV2 arXiv:1801.04381, MobileNetV4 arXiv:2404.10518, MobileOne arXiv:2206.04040,
ConvNeXt arXiv:2201.03545.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.builder import Builder, Tensor
from benchmarks.networks import published
from benchmarks.published import read_csv
from spaces.families.blocks import round_channels
from spaces.graph import OpGraph, OpKind

FILE = "pixel8_edgetpu.csv"
CLASSES = 1000
SIDE = 224


@dataclass(frozen=True, slots=True)
class Pixel8Row:
    """One latency.

    Attributes:
        name: Of the network.
        family: Networks of one origin.
        graph: What ran, as far as is known.
        latency_ms: Published, to a tenth.
    """

    name: str
    family: str
    graph: OpGraph
    latency_ms: float


def rows_of(folder: Path) -> list[Pixel8Row]:
    """The rows whose network can be built here."""
    return [
        Pixel8Row(
            name=row["model"],
            family=FAMILIES[row["model"]],
            graph=NETWORKS[row["model"]](),
            latency_ms=float(row["pixel8_edgetpu_ms"]),
        )
        for row in read_csv(folder / FILE)
        if row["model"] in NETWORKS
    ]


# --- networks --------------------------------------------------------------------------------


def mobilenet_v2(width: float) -> OpGraph:
    """The classifier at any width; the last convolution is never narrower than 1,280."""
    net = Builder((1, SIDE, SIDE, 3))
    x = net.conv(net.input, round_channels(32 * width), 3, 2)
    for expansion, channels, blocks, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(blocks):
            wide = net.conv(x, expansion * x.shape[3]) if expansion > 1 else x
            mixed = net.depthwise(wide, 3, stride if block == 0 else 1)
            made = net.conv(mixed, round_channels(channels * width))
            x = net.add(made, x) if made.shape == x.shape else made
    return _classified(net, net.conv(x, round_channels(1280 * max(1.0, width))))


def mobileone_s4() -> OpGraph:
    """Each branching layer as the one convolution that it becomes at inference."""
    net = Builder((1, SIDE, SIDE, 3))
    x = net.conv(net.input, 64, 3, 2)
    # Widths; blocks without and with squeeze-and-excitation behind both of their convolutions.
    for channels, plain, squeezed in ((192, 2, 0), (448, 8, 0), (896, 5, 5), (2048, 0, 1)):
        for block in range(plain + squeezed):
            x = net.depthwise(x, 3, 2 if block == 0 else 1)
            x = _squeezed(net, x) if block >= plain else x
            x = net.conv(x, channels)
            x = _squeezed(net, x) if block >= plain else x
    return _classified(net, x)


def _squeezed(net: Builder, x: Tensor) -> Tensor:
    """Channels weighed by what a mean over all places says of them; reduced to a sixteenth."""
    narrow = net.conv(net.global_average(x), x.shape[3] // 16)
    scale = net.conv(narrow, x.shape[3])
    gate = net.op(OpKind.LOGISTIC, (scale,), scale.shape)
    return net.op(OpKind.MUL, (x, gate), x.shape)


def convnext(depths: Sequence[int], widths: Sequence[int]) -> OpGraph:
    """A ConvNeXt: 7x7 depthwise, normalisation, expansion by 4, GELU, projection."""
    net = Builder((1, SIDE, SIDE, 3))
    x = _normalised(net, net.conv(net.input, widths[0], 4, 4))
    for stage, (blocks, channels) in enumerate(zip(depths, widths, strict=True)):
        x = net.conv(_normalised(net, x), channels, 2, 2) if stage else x
        for _ in range(blocks):
            wide = net.conv(_normalised(net, net.depthwise(x, 7)), 4 * channels)
            x = net.add(x, net.conv(net.op(OpKind.GELU, (wide,), wide.shape), channels))
    pooled = net.op(OpKind.MEAN, (x,), (1, 1, 1, x.shape[3]))
    net.softmax(net.dense(net.reshape(_normalised(net, pooled), (1, x.shape[3])), CLASSES))
    return net.graph()


def _normalised(net: Builder, x: Tensor) -> Tensor:
    """A layer normalisation as a converter writes it, operands that are learned left out."""
    one = (*x.shape[:3], 1)
    mean = net.op(OpKind.MEAN, (x,), one)
    squares = net.op(OpKind.SQUARED_DIFFERENCE, (x, mean), x.shape)
    variance = net.op(OpKind.MEAN, (squares,), one)
    scale = net.op(OpKind.RSQRT, (net.op(OpKind.ADD, (variance,), one),), one)
    factor = net.op(OpKind.MUL, (scale,), x.shape)
    scaled = net.op(OpKind.MUL, (x, factor), x.shape)
    shift = net.op(OpKind.SUB, (net.op(OpKind.MUL, (mean, factor), x.shape),), x.shape)
    return net.add(scaled, shift)


def _classified(net: Builder, x: Tensor) -> OpGraph:
    """With a mean, a dense layer and a softmax."""
    pooled = net.op(OpKind.MEAN, (x,), (1, x.shape[3]))
    net.softmax(net.dense(pooled, CLASSES))
    return net.graph()


def _mnv4(baseline: str) -> Callable[[], OpGraph]:
    return lambda: published("mobilenet_v4", baseline, CLASSES)


NETWORKS: Mapping[str, Callable[[], OpGraph]] = {
    "MobileNetV2-0.5x": lambda: mobilenet_v2(0.5),
    "MobileNetV2": lambda: mobilenet_v2(1.0),
    "MobileNetV2-2.0x": lambda: mobilenet_v2(2.0),
    "MNv4-Conv-S": _mnv4("conv_s"),
    "MNv4-Conv-M": _mnv4("conv_m"),
    "MobileOne-S4": mobileone_s4,
    "ConvNext-S": lambda: convnext((3, 3, 27, 3), (96, 192, 384, 768)),
}
"""By ``model`` of the rows."""
FAMILIES: Mapping[str, str] = {
    **dict.fromkeys(("MobileNetV2-0.5x", "MobileNetV2", "MobileNetV2-2.0x"), "MobileNetV2"),
    **dict.fromkeys(("MNv4-Conv-S", "MNv4-Conv-M"), "MobileNetV4"),
    "MobileOne-S4": "MobileOne",
    "ConvNext-S": "ConvNeXt",
}
