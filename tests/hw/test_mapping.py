"""Which ops map, and the compiler's reasons for those that do not."""

from pathlib import Path

import pytest

from hw.mapping import (
    DATA_TYPE,
    NOT_SUPPORTED,
    RANK,
    RULES,
    SECOND_SUBGRAPH,
    UNSPECIFIED,
    MappingError,
    host_ops,
    on_tpu,
    refusal,
    rules_of,
)
from hw.tflite import read_tflite
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")
CORAL = RULES["edgetpu_compiler_16"]
MAP = (1, 8, 8, 16)


def op(name, kind, inputs, before=MAP, after=MAP):
    return Op(name, kind, inputs, before, after)


def test_all_that_follows_an_unsupported_op_stays_on_the_host():
    graph = OpGraph(
        MAP,
        (
            op("a", OpKind.CONV_2D, (INPUT,)),
            op("b", OpKind.GELU, ("a",)),
            op("c", OpKind.CONV_2D, ("b",)),
            op("d", OpKind.CONV_2D, ("a",)),
        ),
    )
    assert host_ops(graph, CORAL) == (("b", NOT_SUPPORTED), ("c", SECOND_SUBGRAPH))


def test_unsupported_ops_before_the_subgraph_do_not_end_it():
    ops = (op("cast", OpKind.CAST, (INPUT,)), op("conv", OpKind.CONV_2D, ("cast",)))
    graph = OpGraph(MAP, ops)
    assert host_ops(graph, CORAL) == (("cast", NOT_SUPPORTED),)
    assert on_tpu(OpBatch.of([graph]), CORAL).tolist() == [[False, True]]


def test_refusals_from_outside_count():
    graph = OpGraph(MAP, (op("a", OpKind.CONV_2D, (INPUT,)), op("b", OpKind.ADD, ("a",))))
    assert host_ops(graph, CORAL, {"b": DATA_TYPE}) == (("b", DATA_TYPE),)


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (op("x", OpKind.TRANSPOSE, ()), NOT_SUPPORTED),
        (op("x", OpKind.OTHER, ()), NOT_SUPPORTED),
        (op("x", OpKind.TFLITE_DETECTION_POSTPROCESS, ()), NOT_SUPPORTED),
        (op("x", OpKind.SOFTMAX, (), (1, 20000), (1, 20000)), UNSPECIFIED),
        (op("x", OpKind.SOFTMAX, (), (1, 1001), (1, 1001)), None),
        (op("x", OpKind.RESIZE_BILINEAR, (), (1, 1, 1, 256), (1, 33, 33, 256)), UNSPECIFIED),
        (op("x", OpKind.RESIZE_BILINEAR, (), (1, 24, 24, 24), (1, 48, 48, 24)), None),
        (op("x", OpKind.ADD, (), (2, 4, 4, 4), (2, 4, 4, 4)), RANK),
        (op("x", OpKind.ADD, (), (1, 4, 4, 4), (1, 4, 4, 4)), None),
    ],
)
def test_single_ops_are_refused_in_the_compilers_terms(candidate, reason):
    assert refusal(candidate, CORAL) == reason


def test_unknown_rules_are_answered_with_those_that_exist():
    with pytest.raises(MappingError, match="one of edgetpu_compiler_16, tensor, but got 'gcc'"):
        rules_of("gcc")


@needs_models
@pytest.mark.parametrize(
    ("name", "left"),
    # Published: ops beside the custom op in the compiled twin of each file.
    [
        ("deeplabv3_mnv2_dm05_pascal_quant", 8),
        ("movenet_single_pose_lightning_ptq", 59),
        ("keras_lstm_mnist_ptq", 0),
        ("mobilenet_v1_0.25_128_quant", 0),
        ("bright_64x64", 0),
        ("split_concat", 0),
    ],
)
def test_as_many_ops_stay_on_the_host_as_in_the_compiled_twin(name, left):
    model = read_tflite(SHARED / f"{name}.tflite")
    compiled = read_tflite(SHARED / f"{name}_edgetpu.tflite")
    assert len(compiled.graph.ops) - 1 == left
    assert len(host_ops(model.graph, CORAL, dict(model.unsupported))) == left
