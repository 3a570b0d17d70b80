from __future__ import annotations

import dataclasses
from itertools import product

import numpy as np
import pytest

from spaces.families.cells.cell import EDGE_OPS, EDGES, edge_name, live_edges, place_relus
from spaces.families.cells.space import CellSpace
from spaces.families.cells.table import _live
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, ShapeError
from spaces.menu import load_space, load_trainable
from spaces.space import Architecture, SpaceError
from spaces.walk import every

LETTERS = dict(zip("ns13p", EDGE_OPS, strict=True))
ONE_CELL = CellSpace("one_cell", (1, 8, 8, 3), widths=(16,), cells=1)


def _architecture(letters: str, space: str = "nas_bench_201") -> Architecture:
    """Edges in the order of the usual strings, e.g. ``"3n3sns"`` for the residual cell."""
    ops = (LETTERS[letter] for letter in letters)
    named = {edge_name(edge): op for edge, op in zip(EDGES, ops, strict=True)}
    return Architecture.of(space, named)


def _ops(letters: str) -> list[str]:
    """What a cell makes between the stem and the last normalisation."""
    graph = ONE_CELL.lower(_architecture(letters, "one_cell"))
    found = []
    for op in graph.ops:
        name = op.name.removeprefix("stage1/cell0/")
        inputs = (source.removeprefix("stage1/cell0/") for source in op.inputs)
        fused = "" if op.activation == "none" else f" {op.activation}"
        found.append(f"{name}({', '.join(inputs)}){fused}")
    return [line for line in found if not line.startswith("last/")]


def test_a_cell_is_written_as_it_is_exported() -> None:
    # derived: one convolution behind another, and the input added
    assert _ops("3n3sns") == [
        "stem(input)",
        "stem_relu(stem)",
        "edge0-1(stem_relu) relu",
        "edge1-2(edge0-1)",
        "node3(stem, edge1-2)",
    ]


def test_sums_of_three_are_two_additions() -> None:
    assert _ops("1nnnpn") == ["stem(input) relu", "edge0-1(stem)", "edge1-3(edge0-1)"]
    assert _ops("1s1s3p")[-4:] == [
        "edge1-3(edge0-1)",
        "edge2-3(node2)",
        "node3_partial(stem, edge1-3)",
        "node3(node3_partial, edge2-3)",
    ]


@pytest.mark.parametrize(
    ("letters", "alive"),
    [
        ("33nnnn", []),  # nothing reaches node 3
        ("nn3nn3", []),  # what reaches it begins nowhere
        ("3n33nn", ["edge0-3"]),  # nodes 1 and 2 lead nowhere
        ("3n3nn3", ["edge0-1", "edge1-2", "edge2-3"]),
        ("nn3s3n", []),  # node 1 receives nothing; the skip makes no op
    ],
)
def test_edges_without_effect_are_left_out(letters: str, alive: list[str]) -> None:
    names = [line.partition("(")[0] for line in _ops(letters)]
    assert [name for name in names if name.startswith("edge")] == alive


def test_a_cell_of_zeros_is_lowered_as_one_that_hands_its_input_on() -> None:
    space = load_space("nas_bench_201")
    graphs = [space.lower(_architecture(letters)) for letters in ("nnnnnn", "nnnsnn", "33nnnn")]
    assert graphs[0] == graphs[1] == graphs[2]
    kinds = [op.kind for op in graphs[0].ops if op.name.startswith("stage2/")]
    assert kinds.count(OpKind.CONV_2D) == 3  # the reduction is there all the same


def test_equal_ops_are_not_merged() -> None:
    assert _ops("pppnns") == [
        "stem(input)",
        "edge0-1(stem)",
        "edge0-2(stem)",
        "edge1-2(edge0-1)",
        "node2(edge0-2, edge1-2)",
    ]
    # node 2 is the sum of nodes 0 and 1, and so is the first sum in node 3
    assert _ops("3sssss")[-3:] == [
        "node2(stem, edge0-1)",
        "node3_partial(stem, edge0-1)",
        "node3(node3_partial, node2)",
    ]


def test_last_normalisation_is_folded_where_a_convolution_stands_before_it() -> None:
    last = {
        letters: ONE_CELL.lower(_architecture(letters, "one_cell")).ops[-1]
        for letters in ("nnn3nn", "nnnpnn")
    }
    folded, left = last["nnn3nn"], last["nnnpnn"]
    assert (folded.kind, folded.activation) == (OpKind.CONV_2D, "relu")
    assert (left.kind, left.activation, left.inputs) == (OpKind.ADD, "relu", ("last/scale",))


def test_a_relu_is_fused_only_if_all_read_through_it() -> None:
    shape = (1, 4, 4, 8)

    def op(name: str, source: str, kind: OpKind = OpKind.CONV_2D) -> Op:
        return Op(name, kind, (source,), shape, shape)

    ops = [op("a", INPUT), op("b", "a"), op("c", "b"), op("d", "b", OpKind.AVERAGE_POOL_2D)]
    placed = place_relus(ops, {"b", "c"})
    assert [(one.name, one.inputs, one.activation) for one in placed] == [
        ("a", (INPUT,), "relu"),
        ("b", ("a",), "none"),
        ("b_relu", ("b",), "none"),
        ("c", ("b_relu",), "none"),
        ("d", ("b",), "none"),
    ]
    assert OpGraph(shape, place_relus(ops, {"a", "c"})).ops[0].inputs == (INPUT,)
    both = [*ops, op("e", INPUT)]
    assert [one.name for one in place_relus(both, {"a"})][:2] == ["input_relu", "a"]


def test_live_edges_by_arithmetic_are_those_by_walking() -> None:
    codes = np.array(list(product(range(len(EDGE_OPS)), repeat=len(EDGES))))[::7]
    for row, live in zip(codes.tolist(), _live(codes), strict=True):
        ops = {edge: EDGE_OPS[code] for edge, code in zip(EDGES, row, strict=True)}
        assert [edge in live_edges(ops) for edge in EDGES] == live.tolist()


def test_all_cells_lower_at_once_as_one_by_one() -> None:
    chosen = list(every(ONE_CELL))
    assert len(chosen) == 5**6
    batch = ONE_CELL.lower_many(chosen)
    rng = np.random.default_rng(0)
    which = rng.choice(len(chosen), 1500, replace=False)
    expected = OpBatch.of([ONE_CELL.lower(chosen[row]) for row in which])
    some = batch.rows(which)
    width = expected.live.shape[1]
    assert not some.live[:, width:].any()
    for name in ("kind", "kernel_size", "output_hwc", "first_input", "last_reader"):
        got, wanted = getattr(some, name), getattr(expected, name)
        columns = width + 1 if name == "last_reader" else width
        masked = expected.live if name != "last_reader" else np.ones_like(wanted, np.bool_)
        np.testing.assert_array_equal(got[:, :columns][masked], wanted[masked])


def test_channels_of_the_stages_can_be_others() -> None:
    space = dataclasses.replace(ONE_CELL, widths=(8, 24), cells=2)
    one = _architecture("3nnsns", "one_cell")
    graph = space.lower(one)
    assert dict(graph.endpoints).keys() == {"C0", "C1"}
    assert graph.output.output_shape == (1, 4, 4, 24)
    batch = space.lower_many([one])
    assert batch.kind[batch.live].tolist() == OpBatch.of([graph]).kind[0].tolist()


def test_input_must_be_one_image() -> None:
    with pytest.raises(ShapeError, match=r"one_cell: input_shape must be \(1, H, W, C\)"):
        ONE_CELL.for_input((32, 32, 3))


def test_a_supernet_is_refused() -> None:
    with pytest.raises(SpaceError, match=r"must name a space whose .*, but got 'nas_bench_201'\."):
        load_trainable("nas_bench_201")
