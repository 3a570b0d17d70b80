"""The space of NAS-Bench-201: 15,625 cells whose accuracy and latency others have measured.

For validation, not for the search with a supernet: its cells are no inverted bottlenecks.

Source: Dong, Yang 2020, arXiv:2001.00326.
"""

from __future__ import annotations

from spaces.families.cells.cell import EDGES, edge_name
from spaces.families.cells.space import CellSpace
from spaces.space import Architecture, SpaceError

SPACE = CellSpace(name="nas_bench_201", input_shape=(1, 32, 32, 3))


def parse(text: str) -> Architecture | None:
    """The architecture of a string such as ``|nor_conv_3x3~0|+|none~0|..|+|..|..|..|``.

    Operations are taken as they are: who lowers the architecture checks them.

    Returns:
        None where the text does not begin as such a string does.

    Raises:
        SpaceError: It begins so, but is none.
    """
    if not text.startswith("|"):
        return None
    nodes = [node.strip("|").split("|") for node in text.strip().split("+")]
    pairs = [(term.rpartition("~"), end) for end, node in enumerate(nodes, 1) for term in node]
    try:
        ops = {(int(start), end): op for (op, _, start), end in pairs}
    except ValueError:
        ops = {}
    if tuple(ops) != EDGES or len(pairs) != len(EDGES):
        raise SpaceError(
            f"{SPACE.name}: a cell must be written as |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, "
            f"but got {text[:160]!r}."
        )
    return _cell(*ops.values())


def _cell(*ops: str) -> Architecture:
    """Operations in the order of the usual strings."""
    named = {edge_name(edge): op for edge, op in zip(EDGES, ops, strict=True)}
    return Architecture.of(SPACE.name, named)


_CONV, _POINT, _SKIP, _NONE = "nor_conv_3x3", "nor_conv_1x1", "skip_connect", "none"

BASELINES = {
    # The residual block, which the paper shows as the cell of a ResNet.
    "resnet": _cell(_CONV, _NONE, _CONV, _SKIP, _NONE, _SKIP),
    # The best of CIFAR-10 test accuracy by the paper's table.
    "best": _cell(_CONV, _CONV, _CONV, _SKIP, _CONV, _CONV),
    "all_conv_3x3": _cell(*[_CONV] * 6),
    "all_conv_1x1": _cell(*[_POINT] * 6),
    "all_pool": _cell(*["avg_pool_3x3"] * 6),
    "all_skip": _cell(*[_SKIP] * 6),
}
