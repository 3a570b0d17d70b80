"""The ops of a block compute what MobileBERT computes, and are what a converter leaves of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spaces.families.language.transformer import (
    LAYER_NORM,
    MASK,
    MASKED,
    NO_NORM,
    NONE,
    TYPES,
    Block,
    Embedding,
    lower_block,
    lower_embedding,
)
from spaces.graph import INPUT, Op, OpGraph, OpKind, ShapeError

LENGTH, HIDDEN, WIDTH, HEADS, WIDE, FFNS = 7, 12, 8, 2, 10, 2
PADDING = 2
Array = NDArray[np.float64]
Arrays = dict[str, Any]
SOURCE = (INPUT, (1, LENGTH, HIDDEN))


def _block(normalisation: str = NO_NORM, last: bool = False) -> Block:
    return Block("block0", WIDTH, HEADS, WIDE, FFNS, normalisation, last)


def _mask() -> Array:
    return np.where(np.arange(LENGTH) < LENGTH - PADDING, 0.0, MASKED).reshape(1, 1, 1, LENGTH)


def test_block_has_the_weights_and_macs_of_the_paper() -> None:
    ops = lower_block(Block("b", 128, 4, 512, 4), ("x", (1, 384, 512)))
    # derived: the bottleneck's two entries and its exit, value, query, key and output of
    # attention, four feed-forward networks
    entries, attention = 3 * 512 * 128, 512 * 128 + 3 * 128 * 128
    matrices = entries + attention + 4 * 2 * 128 * 512
    assert sum(op.weights for op in ops if not op.constant) == matrices
    # derived: scores and reading are two products of 4 heads of 32 channels
    assert sum(op.macs for op in ops) == 384 * matrices + 2 * 384 * 384 * 128


def test_embedding_sees_its_neighbours_at_the_cost_of_the_joined_dense_layer() -> None:
    ops = {op.name: op for op in lower_embedding(Embedding(384, 30522, 2, 128, 512))}
    # derived: three embeddings of 128 to 512 channels, with bias
    assert ops["embedding/trigram"].trainable_parameters == 3 * 128 * 512 + 512
    assert sum(op.macs for op in ops.values()) == 384 * 3 * 128 * 512
    tables = {name: op.constant for name, op in ops.items() if len(op.constant) == 2}
    assert tables == {
        "embedding/token": (30522, 128),
        "embedding/type": (2, 512),
        "embedding/position": (384, 512),
    }


def test_embedding_without_types_does_not_ask_for_them() -> None:
    ops = lower_embedding(Embedding(16, 100, 0, 8, 12))
    assert {name for op in ops for name in op.inputs if "/" not in name} == {INPUT}


def test_every_residual_branch_ends_in_a_project_beside_its_add() -> None:
    ops = {op.name: op for op in lower_block(_block(), SOURCE)}
    sums = {name.removesuffix("add") for name in ops if name.endswith("/add")}
    assert sums == {"block0/", "block0/attention/", "block0/ffn0/", "block0/ffn1/"}
    for name in sums:
        assert ops[f"{name}add"].inputs[0] == f"{name}project"


def test_heads_must_divide_the_bottleneck() -> None:
    with pytest.raises(ShapeError, match=r"b: heads must divide .* heads=3, bottleneck=8"):
        lower_block(Block("b", 8, 3, 10, 1), SOURCE)


def test_normalisation_costs_no_op_where_dense_layers_can_take_it() -> None:
    kinds = {
        how: Counter(op.kind for op in lower_block(_block(how), SOURCE))
        for how in (NONE, NO_NORM, LAYER_NORM)
    }
    # derived: behind attention, the first feed-forward network, and the block
    assert kinds[NO_NORM] - kinds[NONE] == {OpKind.MUL: 3, OpKind.ADD: 3}
    # derived: six places standardise with two means, two subtractions (one squared), a root and
    # a product; and the entry of the bottleneck is scaled, too, for its residual
    assert kinds[LAYER_NORM] - kinds[NO_NORM] == {
        OpKind.MEAN: 12,
        OpKind.SQUARED_DIFFERENCE: 6,
        OpKind.SUB: 6,
        OpKind.RSQRT: 6,
        OpKind.MUL: 7,
        OpKind.ADD: 1,
    }
    names = {op.name for op in lower_block(_block(last=True), SOURCE)}
    assert not names & {"block0/norm/scale", "block0/norm/offset"}


# -- against the formulas of the paper ------------------------------------------------------------


def _draw(op: Op, rng: np.random.Generator, spread: float = 0.5) -> Arrays:
    from spaces.trainable.tensor_ops import weight_shapes

    return {part: rng.normal(0, spread, shape) for part, shape in weight_shapes(op).items()}


def _run(graph: OpGraph, inputs: Arrays, weights: dict[str, Arrays]) -> Array:
    """The graph's output under the meaning that all kinds have in this project."""
    import tensorflow as tf

    from spaces.trainable.tensor_ops import activate, compute

    tensors: dict[str, Any] = {name: tf.constant(value) for name, value in inputs.items()}
    for op in graph.ops:
        mine = {part: tf.constant(value) for part, value in weights[op.name].items()}
        result = compute(op, [tensors[name] for name in op.inputs], mine)
        tensors[op.name] = activate(op, result)
    return np.asarray(tensors[graph.output.name])


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    result: Array = powers / powers.sum(-1, keepdims=True)
    return result


def _layer_norm(x: Array) -> Array:
    result: Array = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True))
    return result


def _mobilebert(x: Array, weights: dict[str, Arrays], standard: Callable[[Array], Array]) -> Array:
    """One block by the paper, with x [T, hidden]; queries hold the root of a head's channels."""

    def dense(name: str, x: Array) -> Array:
        one = weights[f"block0/{name}"]
        return np.asarray(x @ one["kernel"] + one["bias"])

    def norm(name: str, x: Array) -> Array:
        x = standard(x)
        if f"block0/{name}/scale" not in weights:
            return x
        scale, offset = (weights[f"block0/{name}/{part}"] for part in ("scale", "offset"))
        return np.asarray(x * scale["constant"] + offset["constant"])

    narrow = norm("input/norm", dense("input", x))
    shared = norm("shared/norm", dense("shared", x))
    query, key = dense("attention/query", shared), dense("attention/key", shared)
    value, read = dense("attention/value", x), np.empty((LENGTH, WIDTH))
    for head in np.split(np.arange(WIDTH), HEADS):
        root = np.sqrt(len(head))
        scores = (root * query[:, head]) @ key[:, head].T / root + _mask()[0, 0]
        read[:, head] = _softmax(scores) @ value[:, head]
    y = norm("attention/norm", dense("attention/project", read) + narrow)
    for number in range(FFNS):
        wide = np.maximum(dense(f"ffn{number}/expand", y), 0)
        y = norm(f"ffn{number}/norm", dense(f"ffn{number}/project", wide) + y)
    return norm("norm", dense("project", y) + x)


@pytest.mark.usefixtures("tensorflow")
@pytest.mark.parametrize("normalisation", [NONE, NO_NORM, LAYER_NORM])
def test_block_computes_what_the_paper_does(normalisation: str) -> None:
    rng = np.random.default_rng(0)
    ops = tuple(lower_block(_block(normalisation), SOURCE))
    graph = OpGraph(SOURCE[1], ops, (), ((MASK, (1, 1, 1, LENGTH)),))
    weights = {op.name: _draw(op, rng) for op in ops}
    x = rng.normal(size=SOURCE[1])
    got = _run(graph, {INPUT: x, MASK: _mask()}, weights)
    standard = _layer_norm if normalisation == LAYER_NORM else np.asarray
    np.testing.assert_allclose(got[0], _mobilebert(x[0], weights, standard), rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("tensorflow")
def test_padding_is_not_read() -> None:
    rng = np.random.default_rng(0)
    ops = tuple(lower_block(_block(), SOURCE))
    graph = OpGraph(SOURCE[1], ops, (), ((MASK, (1, 1, 1, LENGTH)),))
    weights = {op.name: _draw(op, rng, 0.1) for op in ops}  # scores of some units, as trained
    one = rng.normal(size=SOURCE[1])
    other = one.copy()
    other[:, -PADDING:] += rng.normal(size=(1, PADDING, HIDDEN))
    results = [_run(graph, {INPUT: x, MASK: _mask()}, weights) for x in (one, other)]
    tokens = [result[:, :-PADDING] for result in results]
    np.testing.assert_allclose(tokens[0], tokens[1], atol=1e-4)  # exp(-16) is 1e-7


@pytest.mark.usefixtures("tensorflow")
def test_trigram_is_a_dense_layer_on_three_neighbours() -> None:
    rng = np.random.default_rng(0)
    ops = tuple(lower_embedding(Embedding(LENGTH, 20, 2, 4, HIDDEN)))
    graph = OpGraph((1, LENGTH), ops, (), ((TYPES, (1, LENGTH)),))
    weights = {op.name: _draw(op, rng) for op in ops}
    tokens, types = rng.integers(0, 20, (1, LENGTH)), rng.integers(0, 2, (1, LENGTH))
    got = _run(graph, {INPUT: tokens, TYPES: types}, weights)[0]
    found = weights["embedding/token"]["constant"][tokens[0]]
    padded = np.pad(found, ((1, 1), (0, 0)))
    joined = np.concatenate([padded[:-2], padded[1:-1], padded[2:]], axis=1)
    trigram = weights["embedding/trigram"]
    hidden = joined @ trigram["kernel"].reshape(12, HIDDEN) + trigram["bias"]
    hidden += weights["embedding/type"]["constant"][types[0]]
    hidden += weights["embedding/position"]["constant"]
    hidden *= weights["embedding/norm/scale"]["constant"]
    np.testing.assert_allclose(got, hidden + weights["embedding/norm/offset"]["constant"])
