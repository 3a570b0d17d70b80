"""A detection space for pictures of 64 to 320 pixels, trained on two cores in minutes.

After SpaghettiNet: a chain of four nodes (strides 4 to 32) and a head cell of three, which are
detected from, at strides 8, 16 and 32. Head nodes may be no more than the sum of what they read,
so a level that is not worth a layer costs next to nothing. Expansions are 2 and 4 and widths 16
to 96, so at 192 x 256 pixels the largest network has about 200 M multiply-adds and the smallest
below 10 M, predictors not counted.

An object of 16 pixels covers two positions at stride 8. For smaller ones there is
:mod:`spaces.catalog.detection_small_fine`, which detects from stride 4, too, and pays for it on
the host: it has four times the anchors.

Baselines, hand-made: the released SpaghettiNets scaled down (``spaghetti_*``), and a backbone and
head of depthwise bottlenecks alone, as SSDLite on MobileNetV2 has them (``depthwise_*``).
"""

from __future__ import annotations

from spaces.families.blocks import IBN_DW, IBN_FUSED_GROUPED, SKIP
from spaces.families.spaghetti.layers import SEPARABLE, LayerChoices
from spaces.families.spaghetti.space import Node, SpaghettiSpace
from spaces.space import Architecture, Value
from spaces.walk import prune

_OPS = (IBN_DW, IBN_FUSED_GROUPED, SEPARABLE)


def _layer(ops: tuple[str, ...]) -> LayerChoices:
    return LayerChoices(ops, (3, 5), (2, 4), (4, 8), dense_kernels=(3,))


def _chain(name: str, level: int, before: str, layers: int, *widths: int) -> Node:
    more = [_layer((SKIP, *_OPS))] * (layers - 1)
    return Node(name, (level,), widths, (_layer(_OPS), *more), (before,))


def _head(name: str, level: int, layers: int, widths: tuple[int, ...], *inputs: str) -> Node:
    offered = (_layer((SKIP, *_OPS)),) * layers
    return Node(name, (level,), widths, offered, inputs, resamples=True)


PROBLEMS = ("detection",)

SPACE = SpaghettiSpace(
    name="detection_small",
    input_shape=(1, 192, 256, 3),
    stem_widths=(8, 16, 24),
    stem_kernels=(3, 5),
    nodes=(
        _chain("n0", 2, "stem", 2, 16, 24),
        _chain("n1", 3, "n0", 3, 24, 32, 40),
        _chain("n2", 4, "n1", 3, 32, 48, 64),
        _chain("n3", 5, "n2", 3, 48, 64, 80, 96),
        _head("h2", 4, 2, (32, 48, 64), "n2+n3"),
        _head("h1", 3, 2, (24, 32, 40), "n1+h2", "n1+n3"),
        _head("h3", 5, 2, (32, 48, 64), "n3+h2", "n3+h1"),
    ),
    outputs=("h1", "h2", "h3"),
)

# Channels of the stem and of the nodes, in order.
_WIDTHS = {
    "xs": (8, 16, 24, 32, 48, 32, 24, 32),
    "s": (16, 16, 24, 48, 64, 32, 24, 32),
    "m": (16, 24, 32, 48, 80, 48, 32, 48),
    "l": (24, 24, 40, 64, 96, 64, 40, 64),
}
_LAYERS = {
    "xs": (1, 1, 2, 2, 1, 1, 1),
    "s": (1, 2, 3, 2, 1, 1, 1),
    "m": (2, 3, 3, 3, 2, 2, 2),
    "l": (2, 3, 3, 3, 2, 2, 2),
}
_SPAGHETTI: dict[str, Value] = {  # fused grouped early, separable late in the head, as released
    "n[01]/*/op": IBN_FUSED_GROUPED,
    "h?/layer1/op": SEPARABLE,
    "h3/*/op": SEPARABLE,
}


def _baseline(size: str, ops: dict[str, Value]) -> Architecture:
    decisions: dict[str, Value] = {
        "*/op": IBN_DW,
        **ops,
        "*/kernel": 3,
        "*/expansion": 2 if size == "xs" else 4,
        "stem/channels": _WIDTHS[size][0],
    }
    if IBN_FUSED_GROUPED in ops.values():
        decisions["*/groups"] = 4
    nodes = zip(SPACE.nodes, _WIDTHS[size][1:], _LAYERS[size], strict=True)
    for node, channels, layers in nodes:
        decisions[f"{node.name}/channels"] = channels
        if layers < len(node.layers):
            decisions[f"{node.name}/layer{layers}/op"] = SKIP
    return prune(SPACE, decisions)


BASELINES = {
    f"{family}_{size}": _baseline(size, ops)
    for family, ops in (("spaghetti", _SPAGHETTI), ("depthwise", {}))
    for size in _WIDTHS
}
