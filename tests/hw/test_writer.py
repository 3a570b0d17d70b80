"""Files of random weights, written without a converter: of the graph's ops, and runnable."""

import dataclasses

import numpy as np
import pytest

from hw.tflite.reader import parse_tflite
from hw.tflite.writer import UnwritableError, unwritable, written
from spaces.graph import INPUT, Op, OpGraph, OpKind, split_grouped_convolutions
from spaces.graph.batch import op_row
from spaces.menu import load_space
from spaces.walk import sample
from tasks.learning.problem import problem_of_space

SPACES = ("mobilenet_edgetpu_v2_small", "mobilenet_v2_small", "detection_small")


def networks(name, count, seed=0):
    space, rng = load_space(name), np.random.default_rng(seed)
    return [space.lower(sample(space, rng)) for _ in range(count)]


def rows(graph):
    """What laws see of ops; a bias, which all deployed convolutions have, is not among it."""
    return [op_row(op) for op in graph.ops]


def outputs(data):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    pixels = np.random.default_rng(0).integers(-128, 128, entry["shape"]).astype(np.int8)
    interpreter.set_tensor(entry["index"], pixels)
    interpreter.invoke()
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


@pytest.mark.parametrize("name", SPACES)
def test_a_file_holds_the_ops_of_its_graph_and_runs(name):
    for graph in networks(name, 2):
        data = written(graph, 1, splits_groups=True)
        model = parse_tflite(data, "written")
        model.check_quantized()
        assert rows(model.graph) == rows(split_grouped_convolutions(graph))
        assert model.graph.macs == graph.macs
        assert all(len(np.unique(one)) > 9 for one in outputs(data))


def test_groups_stay_whole_where_they_are_not_to_be_split():
    graph = next(
        one
        for one in networks("mobilenet_edgetpu_v2_small", 20)
        if any(op.groups > 1 for op in one.ops)
    )
    assert rows(parse_tflite(written(graph, 0, False), "whole").graph) == rows(graph)
    whole, split = outputs(written(graph, 0, False)), outputs(written(graph, 0, True))
    assert [one.shape for one in whole] == [one.shape for one in split]


def test_chance_is_that_of_the_seed():
    (graph,) = networks("mobilenet_v2_small", 1)
    assert written(graph, 3, True) == written(graph, 3, True) != written(graph, 4, True)


def test_resizes_joins_and_a_classifier():
    small, large = (1, 4, 4, 8), (1, 8, 8, 8)
    ops = (
        Op("stem", OpKind.CONV_2D, (INPUT,), (1, 8, 8, 3), large, (3, 3), activation="relu6"),
        Op("pool", OpKind.MAX_POOL_2D, ("stem",), large, small, (2, 2), (2, 2)),
        Op("up", OpKind.RESIZE_BILINEAR, ("pool",), small, large),
        Op("nearest", OpKind.RESIZE_NEAREST_NEIGHBOR, ("pool",), small, large),
        Op("join", OpKind.CONCATENATION, ("up", "nearest"), large, (1, 8, 8, 16)),
        Op("flat", OpKind.RESHAPE, ("join",), (1, 8, 8, 16), (1, 1024)),
        Op("logits", OpKind.FULLY_CONNECTED, ("flat",), (1, 1024), (1, 10), use_bias=True),
        Op("end", OpKind.LOGISTIC, ("logits",), (1, 10), (1, 10)),
    )
    graph = OpGraph((1, 8, 8, 3), ops)
    data = written(graph, 0, True)
    assert rows(parse_tflite(data, "made").graph) == rows(graph)
    assert outputs(data)[0].shape == (1, 10)


def test_what_is_not_written_is_named():
    (graph,) = networks("nas_bench_201", 1)
    assert "RELU" in unwritable(graph)
    with pytest.raises(UnwritableError, match=r"must be made of ops .*CONV_2D.*, but got .*RELU"):
        written(graph, 0, True)
    (fine,) = networks("mobilenet_v2_small", 1)
    assert unwritable(fine) == ()
    assert unwritable(dataclasses.replace(fine, more_inputs=(("mask", (1, 8)),)))


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
def test_a_converter_makes_the_same_calls(tmp_path):
    from spaces.trainable.keras_model import build_model
    from tasks.learning.quantization import (
        Network,
        export_post_training,
        split_grouped_convolutions,
    )

    space = load_space("mobilenet_edgetpu_v2_small")
    problem = problem_of_space(space, 3)
    graph = problem.complete(networks(space.name, 1)[0])
    ranges = {"input": np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)}
    model = build_model(graph, outputs=problem.trained)
    network = Network(model, graph, problem.trained, problem.deployed)
    converted = split_grouped_convolutions(export_post_training(network, ranges))
    one, other = (
        parse_tflite(data, "made").graph for data in (converted, written(graph, 0, True))
    )
    assert rows(one) == rows(other)
    assert one.macs == other.macs
