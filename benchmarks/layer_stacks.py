"""Stacks of equal layers and single ops that others timed on purpose, as op graphs."""

from __future__ import annotations

from benchmarks.builder import Builder
from spaces.graph import OpGraph, OpKind

SMALL = (1, 2, 2, 3)
"""Input of all networks of iwatake2222/EdgeTPU_Analysis but one."""


def convolutions_7x7(layers: int) -> OpGraph:
    """``layers`` convolutions 7x7x32 over 128x128 maps, as iwatake2222/EdgeTPU_Analysis has them.

    A 2x2x3 input is padded to the map, and one 1x1 convolution of stride 128 makes one number of
    the last map: nothing large crosses the link.
    """
    net = Builder(SMALL)
    x = net.op(OpKind.PAD, (net.input,), (1, 128, 128, 3))
    for _ in range(layers):
        x = net.conv(x, 32, 7)
    net.conv(x, 1, 1, 128)
    return net.graph()


def dense_layers(units: int, layers: int) -> OpGraph:
    """``layers`` dense layers of ``units``, then one of 1 (iwatake2222/EdgeTPU_Analysis)."""
    net = Builder(SMALL)
    x = net.reshape(net.input, (1, 12))
    for _ in range(layers):
        x = net.dense(x, units)
    net.dense(x, 1)
    return net.graph()


def large_input(height: int, width: int) -> OpGraph:
    """One 1x1 convolution that makes one number of a 3-channel map: its input is timed.

    Its stride is as large as the map (iwatake2222/EdgeTPU_Analysis).
    """
    net = Builder((1, height, width, 3))
    net.conv(net.input, 1, 1, max(height, width))
    return net.graph()


def large_output(height: int, width: int) -> OpGraph:
    """One PAD from 2x2x3 to a 3-channel map: its output is timed (the same source)."""
    net = Builder(SMALL)
    net.op(OpKind.PAD, (net.input,), (1, height, width, 3))
    return net.graph()


def convolutions_3x3(width: int) -> OpGraph:
    """Five 3x3 convolutions of ``width`` over 64x64x3, of Jorgitou98/EdgeTPU-QuantRL-Evaluation.

    The last map goes back to the host. MACs agree with the published ones.
    """
    net = Builder((1, 64, 64, 3))
    x = net.input
    for _ in range(5):
        x = net.conv(x, width, 3)
    return net.graph()


def dense_network(width: int) -> OpGraph:
    """Dense layers 64 -> four times ``width`` -> 10 (the same source).

    So say the published MACs: 64 W + 3 W W + 10 W.
    """
    net = Builder((1, 64))
    x = net.input
    for _ in range(4):
        x = net.dense(x, width)
    net.dense(x, 10)
    return net.graph()
