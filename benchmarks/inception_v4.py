"""Inception v4 (arXiv:1602.07261), as TF-Slim has it: 299x299, 12.25 GMAC."""

from __future__ import annotations

from benchmarks.builder import Builder, Tensor, Window
from benchmarks.networks import classifier_head
from spaces.graph import OpGraph


def inception_v4() -> OpGraph:
    """The whole network."""
    net = Builder((1, 299, 299, 3))
    x = _stem(net)
    for _ in range(4):
        x = _block_a(net, x)
    x = _reduction_a(net, x)
    for _ in range(7):
        x = _block_b(net, x)
    x = _reduction_b(net, x)
    for _ in range(3):
        x = _block_c(net, x)
    classifier_head(net, x)
    return net.graph()


def _chain(net: Builder, x: Tensor, *layers: tuple[int, Window]) -> Tensor:
    """Convolutions in a row, each (channels, kernel)."""
    for channels, kernel in layers:
        x = net.conv(x, channels, kernel)
    return x


def _halved(net: Builder, x: Tensor, channels: int) -> Tensor:
    return net.conv(x, channels, 3, 2, "valid")


def _stem(net: Builder) -> Tensor:
    x = net.conv(_halved(net, net.input, 32), 32, 3, padding="valid")
    x = net.conv(x, 64, 3)
    x = net.concat((net.max_pool(x, 3, 2, "valid"), _halved(net, x, 96)))
    short = net.conv(net.conv(x, 64), 96, 3, padding="valid")
    long = _chain(net, x, (64, 1), (64, (1, 7)), (64, (7, 1)))
    x = net.concat((short, net.conv(long, 96, 3, padding="valid")))
    return net.concat((_halved(net, x, 192), net.max_pool(x, 3, 2, "valid")))


def _block_a(net: Builder, x: Tensor) -> Tensor:
    branches = (
        net.conv(x, 96),
        _chain(net, x, (64, 1), (96, 3)),
        _chain(net, x, (64, 1), (96, 3), (96, 3)),
        net.conv(net.average_pool(x, 3), 96),
    )
    return net.concat(branches)


def _reduction_a(net: Builder, x: Tensor) -> Tensor:
    branches = (
        _halved(net, x, 384),
        _halved(net, _chain(net, x, (192, 1), (224, 3)), 256),
        net.max_pool(x, 3, 2, "valid"),
    )
    return net.concat(branches)


def _block_b(net: Builder, x: Tensor) -> Tensor:
    short = _chain(net, x, (192, 1), (224, (1, 7)), (256, (7, 1)))
    long = _chain(net, x, (192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7)))
    pooled = net.conv(net.average_pool(x, 3), 128)
    return net.concat((net.conv(x, 384), short, long, pooled))


def _reduction_b(net: Builder, x: Tensor) -> Tensor:
    short = _halved(net, net.conv(x, 192), 192)
    long = _chain(net, x, (256, 1), (256, (1, 7)), (320, (7, 1)))
    return net.concat((short, _halved(net, long, 320), net.max_pool(x, 3, 2, "valid")))


def _block_c(net: Builder, x: Tensor) -> Tensor:
    short = net.conv(x, 384)
    long = _chain(net, x, (384, 1), (448, (3, 1)), (512, (1, 3)))
    branches = (
        net.conv(x, 256),
        *(net.conv(short, 256, kernel) for kernel in ((1, 3), (3, 1))),
        *(net.conv(long, 256, kernel) for kernel in ((1, 3), (3, 1))),
        net.conv(net.average_pool(x, 3), 256),
    )
    return net.concat(branches)
