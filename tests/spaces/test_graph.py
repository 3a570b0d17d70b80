from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spaces.graph import (
    INPUT,
    Op,
    OpBatch,
    OpGraph,
    OpKind,
    ShapeError,
    split_grouped_convolutions,
)
from spaces.heads.classification import classification, classification_many

_IN, _OUT = (1, 14, 14, 48), (1, 14, 14, 192)


def _convolution(groups: int = 1, name: str = "c", source: str = INPUT) -> Op:
    return Op(name, OpKind.CONV_2D, (source,), _IN, _OUT, (3, 3), groups=groups, batch_norm=True)


def test_groups_must_divide_channels() -> None:
    with pytest.raises(
        ShapeError, match=r"c: groups must divide .* groups=5\. Choose one of 1, 2"
    ):
        _convolution(groups=5)


def test_grouped_convolution_is_cheaper_by_its_groups() -> None:
    # derived: 14 * 14 positions * 3 * 3 * (48 / 3) * 192
    assert _convolution(3).macs == 14 * 14 * 9 * 16 * 192 == _convolution(1).macs // 3


def test_depthwise_and_dense_counts() -> None:
    # derived: a filter of 9 a channel, its scale and offset; 10 * 4 weights and 4 biases
    depthwise = Op("d", OpKind.DEPTHWISE_CONV_2D, (INPUT,), _IN, _IN, (3, 3), batch_norm=True)
    dense = Op("f", OpKind.FULLY_CONNECTED, (INPUT,), (1, 10), (1, 4), use_bias=True)
    assert (depthwise.macs, depthwise.trainable_parameters) == (14 * 14 * 9 * 48, 48 * 11)
    assert depthwise.total_parameters == 48 * 13
    assert (dense.macs, dense.trainable_parameters) == (40, 44)


def test_split_group_convolution_keeps_macs_and_weights() -> None:
    graph = OpGraph(_IN, (_convolution(3),))
    split = split_grouped_convolutions(graph)
    kinds = [op.kind for op in split.ops]
    assert kinds == [OpKind.SPLIT, *[OpKind.CONV_2D] * 3, OpKind.CONCATENATION]
    assert (split.macs, split.total_parameters) == (graph.macs, graph.total_parameters)
    assert split.output.name == "c"


def test_ops_must_read_what_stands_before() -> None:
    with pytest.raises(
        ShapeError, match=r"inputs must name ops .* before it, but got \['later'\]"
    ):
        OpGraph(_IN, (_convolution(source="later"),))


def test_names_must_be_unique() -> None:
    with pytest.raises(ShapeError, match="c: names must be unique"):
        OpGraph(_IN, (_convolution(), _convolution()))


def test_batch_pads_short_graphs_with_dead_slots() -> None:
    short = OpGraph(_IN, (_convolution(),))
    long = classification(short, 7)
    batch = OpBatch.of([short, long])
    assert batch.live.tolist() == [[True, False, False, False], [True] * 4]
    assert batch.output_hwc[1, 2].tolist() == [1, 1, 7]
    assert batch.index[0].tolist() == [0, 0, 0, 0]


def test_batch_lists_equal_ops_once() -> None:
    twice = OpGraph(_IN, (_convolution(name="a"), _convolution(name="b")))
    batch = OpBatch.of([twice, OpGraph(_IN, (_convolution(3),)), twice])
    assert batch.distinct.groups.tolist() == [1, 3]
    assert batch.groups[batch.live].tolist() == [1, 1, 3, 1, 1]
    rows = batch.rows(np.array([1, 1]))
    assert rows.groups[rows.live].tolist() == [3, 3]


def test_batch_tells_who_reads_what_last() -> None:
    a, b = _convolution(name="a"), _convolution(name="b")
    total = Op("sum", OpKind.ADD, ("b", "a"), _OUT, _OUT)
    branch, chain = OpGraph(_IN, (a, b, total)), OpGraph(_IN, (a,))
    batch = OpBatch.of([branch, chain, OpGraph(_IN, (dataclasses.replace(a, inputs=()),))])
    # derived: b reads the input last, the sum reads both; what nobody reads has its own slot
    assert batch.last_reader.tolist() == [[1, 2, 2, 2], [0, 0, 1, 2], [-1, 0, 1, 2]]
    assert batch.first_input.tolist() == [[0, 0, 2], [0, 0, 0], [-1, 0, 0]]


def test_batch_of_nothing_has_no_slots() -> None:
    assert OpBatch.of([]).kind.shape == (0, 0)


def test_head_pools_classifies_and_normalises() -> None:
    backbone = OpGraph(_IN, (_convolution(),), (("C4", "c"),))
    graph = classification(backbone, 10)
    assert [op.name for op in graph.ops[1:]] == ["pool", "logits", "probabilities"]
    # derived: a weight for every pair of channel and class, and a bias for every class
    assert graph.trainable_parameters - backbone.trainable_parameters == 192 * 10 + 10
    assert graph.macs - backbone.macs == 192 * 10
    assert graph.output.output_shape == (1, 10)
    assert graph.endpoints == backbone.endpoints


def test_heads_of_a_batch_are_those_of_its_graphs() -> None:
    chain = (_convolution(name="a"), Op("b", OpKind.CONV_2D, ("a",), _OUT, _IN, (3, 3)))
    graphs = [OpGraph(_IN, chain[:1]), OpGraph(_IN, chain), OpGraph(_IN, chain[:1])]
    expected = OpBatch.of([classification(graph, 7) for graph in graphs])
    batch = classification_many(OpBatch.of(graphs), 7)
    for name in ("live", "first_input", "last_reader"):
        assert getattr(batch, name).tolist() == getattr(expected, name).tolist()
    for name in ("kind", "input_hwc", "output_hwc", "kernel_size", "strides", "groups"):
        got, wanted = getattr(batch, name), getattr(expected, name)
        assert got[batch.live].tolist() == wanted[expected.live].tolist()
    assert classification_many(OpBatch.of([]), 7).live.shape == (0, 3)


def test_head_of_a_batch_needs_what_a_head_needs() -> None:
    batch = OpBatch.of([OpGraph(_IN, (_convolution(),))])
    with pytest.raises(ShapeError, match="classes must be at least 2, but got 1"):
        classification_many(batch, 1)
    with pytest.raises(ShapeError, match="at least one op"):
        classification_many(OpBatch.of([OpGraph(_IN, ())]), 7)


def test_head_needs_two_classes_and_a_feature_map() -> None:
    backbone = OpGraph(_IN, (_convolution(),))
    with pytest.raises(ShapeError, match="classes must be at least 2, but got 1"):
        classification(backbone, 1)
    with pytest.raises(ShapeError, match="must end in a feature map"):
        classification(classification(backbone, 2), 2)
