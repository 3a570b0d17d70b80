"""High-water marks of a batch: those of each of its graphs, whatever branches they have."""

import math
from pathlib import Path

import numpy as np
import pytest

from hw.activations import peak_bytes, peak_bytes_many
from hw.families.edge_tpu.memory import free_slots
from hw.tflite.reader import read_tflite
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind, split_grouped_convolutions

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")


def peak(graph):
    free = free_slots(OpBatch.of([graph]))[0]
    return peak_bytes(graph, {op.name: bool(free[i]) for i, op in enumerate(graph.ops)})


def random_dag(rng):
    """Ops that read anything before them; views, parts and several outputs among them."""
    size = (1, 4, 4, 8 * int(rng.integers(1, 4)))
    shapes, ops = {INPUT: size}, []
    for number in range(int(rng.integers(1, 14))):
        source, other = map(str, rng.choice(list(shapes), 2))
        shape, name = shapes[source], f"op{number}"
        wide, half = (*shape[:3], 2 * shape[3]), (*shape[:3], shape[3] // 2)
        parts = int(rng.choice([n for n in (1, 2, 4) if shape[3] % n == 0]))
        candidates = [
            Op(name, OpKind.CONV_2D, (source,), shape, wide, groups=parts),
            Op(name, OpKind.ADD, (source, other), shape, shape),
            Op(name, OpKind.RESHAPE, (source,), shape, shape),
            Op(name, OpKind.SPLIT, (source,), shape, half if shape[3] % 2 == 0 else shape),
        ]
        ops.append(candidates[int(rng.integers(4))])
        shapes[name] = ops[-1].output_shape
    return OpGraph(size, tuple(ops))


@pytest.mark.parametrize("splits", [True, False])
def test_a_batch_of_branching_graphs_peaks_as_its_rows_do(splits):
    rng = np.random.default_rng(0)
    graphs = [random_dag(rng) for _ in range(400)]
    batch = OpBatch.of(graphs)
    lowered = [split_grouped_convolutions(graph) if splits else graph for graph in graphs]
    told = peak_bytes_many(batch, free_slots(batch), splits)
    assert told.tolist() == [peak(graph) for graph in lowered]


def test_peaks_of_a_cell_whose_input_waits_for_two_readers():
    shape, wide = (1, 4, 4, 8), (1, 4, 4, 32)
    ops = (
        Op("a", OpKind.CONV_2D, (INPUT,), shape, wide),
        Op("b", OpKind.CONV_2D, ("a",), wide, shape),
        Op("c", OpKind.CONV_2D, (INPUT,), shape, shape),
        Op("d", OpKind.ADD, ("b", "c"), shape, shape),
        Op("e", OpKind.ADD, ("d", INPUT), shape, shape),
    )
    batch = OpBatch.of([OpGraph(shape, ops)])
    # Derived: at a and b, the input of 128 bytes that waits, a's 512; at b its own 128, too.
    assert peak_bytes_many(batch, free_slots(batch), False).tolist() == [128 + 512 + 128]


@needs_models
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.tflite")), ids=lambda path: path.stem)
def test_a_batch_of_a_real_file_peaks_as_its_graph_does(path):
    graph = read_tflite(path).graph
    batch = OpBatch.of([graph])
    (told,) = peak_bytes_many(batch, free_slots(batch), False).tolist()
    # A batch knows of one input: others stand for it.
    others = sum(math.prod(shape) for _, shape in graph.more_inputs)
    assert peak(graph) - others <= told <= peak(graph)
