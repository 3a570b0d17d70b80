from __future__ import annotations

import numpy as np

from spaces.batching.segments import ABSENT, SegmentTable
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind

_MAP = (1, 4, 4, 8)


def _plain(kernel: int) -> OpGraph:
    return OpGraph(_MAP, (Op("c", OpKind.CONV_2D, (INPUT,), _MAP, _MAP, (kernel, kernel)),))


def _branch() -> OpGraph:
    ops = (
        Op("a", OpKind.CONV_2D, (INPUT,), _MAP, _MAP, (5, 5)),
        Op("b", OpKind.CONV_2D, ("a",), _MAP, _MAP, (1, 1)),
        Op("sum", OpKind.ADD, ("b", INPUT), _MAP, _MAP),
        Op("end", OpKind.ADD, ("sum", "a"), _MAP, _MAP),
    )
    return OpGraph(_MAP, ops)


def _chained(*segments: OpGraph) -> OpGraph:
    """The graph that segments make behind each other."""
    ops: list[Op] = []
    for number, segment in enumerate(segments):
        names = {INPUT: ops[-1].name if ops else INPUT}
        for op in segment.ops:
            names[op.name] = f"{number}/{op.name}"
            inputs = tuple(names[name] for name in op.inputs)
            ops.append(Op(names[op.name], op.kind, inputs, _MAP, _MAP, op.kernel_size))
    return OpGraph(_MAP, tuple(ops))


def test_sequences_of_segments_are_the_graphs_they_make() -> None:
    table, segments = SegmentTable(), [OpGraph(_MAP, ()), _plain(1), _branch(), _plain(3)]
    numbers = [table.add(segment) for segment in segments]
    assert numbers[0] == ABSENT
    rng = np.random.default_rng(0)
    rows = rng.integers(len(segments), size=(50, 6))
    rows[0] = rows[-1] = 0  # networks without ops
    batch = table.batch(np.array(numbers)[rows])
    expected = OpBatch.of([_chained(*(segments[part] for part in row)) for row in rows])
    for name in ("live", "last_reader", "first_input"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name))
    assert (batch.kernel_size[batch.live] == expected.kernel_size[expected.live]).all()
    assert (batch.kind[batch.live] == expected.kind[expected.live]).all()


def test_a_batch_lists_only_ops_that_it_holds() -> None:
    table = SegmentTable()
    numbers = [table.add(_plain(kernel)) for kernel in range(1, 200)]
    batch = table.batch(np.array([[numbers[6], numbers[2]], [numbers[6], ABSENT]]))
    assert batch.distinct.kernel_size.tolist() == [[3, 3], [7, 7]]
    assert batch.index.tolist() == [[1, 0], [1, 0]]
    assert batch.live.tolist() == [[True, True], [True, False]]


def test_nothing_gives_an_empty_batch() -> None:
    assert SegmentTable().batch(np.zeros((0, 3), np.int64)).live.shape == (0, 0)
    assert SegmentTable().batch(np.zeros((2, 3), np.int64)).last_reader.tolist() == [[-1], [-1]]
