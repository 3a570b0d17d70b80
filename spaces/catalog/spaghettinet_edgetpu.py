"""The space around SpaghettiNet-EdgeTPU, with the released detectors as points of it.

A chain of six nodes (strides 4 to 128) and one head cell of six, of which five are detected from
(strides 16 to 128, the last one twice), for 320 pixels. A layer is a depthwise or a fused grouped
inverted bottleneck, or a separable convolution; every layer but the first of a node may be
skipped. The release fixes what a head node reads; here some may read another node instead, and
the inner node of the cell may be twice as fine.

Source: tensorflow/models
``research/object_detection/models/ssd_spaghettinet_feature_extractor.py``.
"""

from __future__ import annotations

import re

from spaces.families.blocks import IBN_DW, IBN_FUSED_GROUPED, SKIP
from spaces.families.spaghetti.layers import SEPARABLE, LayerChoices
from spaces.families.spaghetti.space import Node, SpaghettiSpace
from spaces.space import Architecture, SpaceError, Value
from spaces.walk import prune

_OPS = (IBN_DW, IBN_FUSED_GROUPED, SEPARABLE)
_LAYERS = 4


def _layer(ops: tuple[str, ...], residual: bool = True) -> LayerChoices:
    return LayerChoices(ops, (3, 5), (4, 8), (3, 4), residual=residual)


_MANY = (_layer(_OPS, residual=False), *[_layer((SKIP, *_OPS))] * (_LAYERS - 1))


def _widths(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1, 8))


def _chain(name: str, level: int, before: str, widths: tuple[int, ...]) -> Node:
    return Node(name, (level,), widths, _MANY, (before,))


def _head(
    name: str, level: int, widths: tuple[int, ...], *inputs: str, levels: tuple[int, ...] = ()
) -> Node:
    return Node(name, levels or (level,), widths, _MANY, inputs, resamples=True)


PROBLEMS = ("detection",)

SPACE = SpaghettiSpace(
    name="spaghettinet_edgetpu",
    input_shape=(1, 320, 320, 3),
    stem_widths=(16, 24, 32),
    stem_kernels=(3, 5),
    nodes=(
        _chain("n0", 2, "stem", _widths(24, 64)),
        _chain("n1", 3, "n0", _widths(40, 80)),
        _chain("n2", 4, "n1", _widths(56, 96)),
        _chain("n3", 5, "n2", _widths(72, 120)),
        _chain("n4", 6, "n3", _widths(72, 120)),
        _chain("n5", 7, "n4", _widths(40, 104)),
        _head("c0n0", 5, _widths(96, 176), "n3+n4", levels=(5, 4)),
        _head("c0n1", 4, _widths(88, 152), "n2+c0n0"),
        _head("c0n2", 5, _widths(104, 184), "c0n1+c0n0", "c0n1+n3"),
        _head("c0n3", 6, _widths(88, 152), "n5+c0n0", "n4+c0n0", "n5+c0n2"),
        _head("c0n4", 7, _widths(88, 152), "n5+c0n0", "n5+c0n3"),
        _chain("c0n5", 7, "c0n4", _widths(40, 96)),
    ),
    outputs=("c0n1", "c0n2", "c0n3", "c0n4", "c0n5"),
    expands_output=True,
)

# Channels of a node, and its layers: i8 is ibn_dw of expansion 8, f4/3 ibn_fused_grouped of
# expansion 4 in 3 groups, s separable; k5 behind it is the kernel, else 3.
_RELEASED = {
    "s": {
        "n0": (48, "f8/3"),
        "n1": (64, "f4/4 f4/4 f4/4"),
        "n2": (72, "i8 f8/4 i8 i4"),
        "n3": (88, "i8 i8 i4 i4"),
        "n4": (88, "i8 sk5 sk5 sk5"),
        "n5": (88, "sk5 s"),
        "c0n0": (144, "i4 i4 i4 i4"),
        "c0n1": (120, "i8 i4 i4 i4"),
        "c0n2": (168, "i4"),
        "c0n3": (136, "i4 s"),
        "c0n4": (136, "i4"),
        "c0n5": (64, "s s"),
    },
    "m": {
        "n0": (48, "f8/3"),
        "n1": (64, "f8/4 f4/4 f4/4 f4/4"),
        "n2": (72, "i8 f8/4 i8 i8"),
        "n3": (96, "i8 i8 i8 i4"),
        "n4": (104, "i8 i4 sk5 i4"),
        "n5": (56, "sk5 s"),
        "c0n0": (152, "i8 i4 i4 i4"),
        "c0n1": (120, "i8 i4 i4 i4"),
        "c0n2": (168, "i4 s"),
        "c0n3": (136, "s s s"),
        "c0n4": (136, "i4 sk5"),
        "c0n5": (64, "s s"),
    },
    "l": {
        "n0": (48, "f8/3"),
        "n1": (64, "f8/4 f8/4 f8/4 f4/4"),
        "n2": (80, "i8 i8 i8 i4"),
        "n3": (104, "i8 i8 i8 i8"),
        "n4": (88, "i8 i4k5 i4 i8"),
        "n5": (56, "i4k5 sk5"),
        "c0n0": (160, "i8 i4 i4 i4"),
        "c0n1": (120, "i8 i4 i4 i8"),
        "c0n2": (168, "i4 i4 i4 i4"),
        "c0n3": (112, "i8 i4 s"),
        "c0n4": (128, "i4 i4"),
        "c0n5": (64, "sk5 sk5"),
    },
}
_CODE = re.compile(r"(?P<op>[ifs])(?P<expansion>\d)?(/(?P<groups>\d))?(k(?P<kernel>\d))?")
_OP_OF = {"i": IBN_DW, "f": IBN_FUSED_GROUPED, "s": SEPARABLE}


def _decided(prefix: str, code: str) -> dict[str, Value]:
    """Decisions of one layer from its code in the table."""
    match = _CODE.fullmatch(code)
    if not match:
        raise SpaceError(f"{prefix}: a layer must read like i8, f4/3 or sk5, but got {code!r}.")
    decided: dict[str, Value] = {
        f"{prefix}/{part}": int(match[part]) for part in ("expansion", "groups") if match[part]
    }
    decided[f"{prefix}/op"] = _OP_OF[match["op"]]
    decided[f"{prefix}/kernel"] = int(match["kernel"] or 3)
    return decided


def _released(nodes: dict[str, tuple[int, str]]) -> Architecture:
    decisions: dict[str, Value] = {"stem/channels": 24, "stem/kernel": 5}
    for name, (channels, layers) in nodes.items():
        codes = layers.split()
        decisions[f"{name}/channels"] = channels
        for index, code in enumerate(codes):
            decisions |= _decided(f"{name}/layer{index}", code)
        if len(codes) < _LAYERS:
            decisions[f"{name}/layer{len(codes)}/op"] = SKIP
    return prune(SPACE, decisions)


BASELINES = {name: _released(nodes) for name, nodes in _RELEASED.items()}
