"""Which ops map, and the compiler's reasons for those that do not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from hw.families.edge_tpu.mapping import (
    RANK,
    SECOND_SUBGRAPH,
    MappingError,
    compiler_names,
    map_ops,
    native_groups,
    on_tpu,
    refusal,
    rules_of,
)
from hw.tflite.reader import read_tflite
from hw.tflite.reasons import DATA_TYPE, NOT_SUPPORTED, UNSPECIFIED
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind

SHARED = Path(__file__).parents[2].parent / "shared" / "tflite"
needs_models = pytest.mark.skipif(not SHARED.is_dir(), reason="real models are not at hand")
CORAL = rules_of("edgetpu_compiler_16")
MAP = (1, 8, 8, 16)


def op(name, kind, inputs=(INPUT,), before=MAP, after=None):
    return Op(name, kind, inputs, before, before if after is None else after)


def chain(*kinds):
    """Ops named a, b, c ..., each reads the one before."""
    names = [chr(ord("a") + number) for number in range(len(kinds))]
    sources = [INPUT, *names]
    ops = (
        op(name, kind, (source,))
        for name, kind, source in zip(names, kinds, sources[:-1], strict=True)
    )
    return OpGraph(MAP, tuple(ops))


# --- one subgraph ------------------------------------------------------------------------------


def test_all_that_follows_an_unsupported_op_stays_on_the_host():
    graph = OpGraph(
        MAP,
        (
            op("a", OpKind.CONV_2D),
            op("b", OpKind.GELU, ("a",)),
            op("c", OpKind.CONV_2D, ("b",)),
            op("d", OpKind.CONV_2D, ("a",)),
            op("e", OpKind.ADD, ("d", "c")),
        ),
    )
    mapped = map_ops(graph, CORAL)
    assert mapped.host == (("b", NOT_SUPPORTED), ("c", SECOND_SUBGRAPH), ("e", SECOND_SUBGRAPH))
    assert mapped.subgraph == {"a": 0, "d": 0}
    assert mapped.subgraphs == 1


def test_unsupported_ops_before_the_subgraph_do_not_end_it():
    graph = chain(OpKind.CAST, OpKind.CONV_2D)
    assert map_ops(graph, CORAL).host == (("a", NOT_SUPPORTED),)
    assert on_tpu(OpBatch.of([graph]), CORAL).tolist() == [[False, True]]


def test_a_second_unsupported_op_has_a_reason_of_its_own():
    graph = chain(OpKind.CONV_2D, OpKind.GELU, OpKind.CONV_2D, OpKind.GELU)
    reasons = [reason for _, reason in map_ops(graph, CORAL).host]
    assert reasons == [NOT_SUPPORTED, SECOND_SUBGRAPH, NOT_SUPPORTED]


def test_refusals_from_outside_count():
    graph = chain(OpKind.CONV_2D, OpKind.ADD, OpKind.CONV_2D)
    mapped = map_ops(graph, CORAL, {"b": DATA_TYPE})
    assert mapped.host == (("b", DATA_TYPE), ("c", SECOND_SUBGRAPH))


def test_a_network_of_which_nothing_maps_has_no_subgraph():
    mapped = map_ops(chain(OpKind.CAST, OpKind.GELU), CORAL)
    assert mapped.subgraphs == 0 and len(mapped.host) == 2
    assert map_ops(OpGraph(MAP, ()), CORAL).subgraphs == 0


# --- several: -a -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "subgraphs"),
    [
        ("CONV_2D CONV_2D CONV_2D", [0, 0, 0]),
        ("CONV_2D GELU CONV_2D", [0, None, 1]),
        ("GELU CONV_2D GELU CONV_2D", [None, 0, None, 1]),
        # Two host ops in a row are one crossing.
        ("CONV_2D GELU CAST CONV_2D", [0, None, None, 1]),
        ("CONV_2D GELU CONV_2D CONV_2D GELU CONV_2D", [0, None, 1, 1, None, 2]),
    ],
)
def test_every_supported_op_maps_in_one_of_several_subgraphs(kinds, subgraphs):
    graph = chain(*map(OpKind, kinds.split()))
    mapped = map_ops(graph, CORAL, several=True)
    assert [mapped.subgraph.get(op.name) for op in graph.ops] == subgraphs
    assert mapped.subgraphs == len({number for number in subgraphs if number is not None})
    assert {reason for _, reason in mapped.host} <= {NOT_SUPPORTED}


def test_an_op_stands_behind_the_longest_of_its_paths():
    graph = OpGraph(
        MAP,
        (
            op("a", OpKind.CONV_2D),
            op("b", OpKind.GELU, ("a",)),
            op("c", OpKind.CONV_2D, ("b",)),
            op("d", OpKind.CONV_2D, ("a",)),  # beside b and c: with a
            op("e", OpKind.ADD, ("d", "c")),
            op("f", OpKind.GELU, ("d",)),
            op("g", OpKind.ADD, ("f", "e")),
        ),
    )
    mapped = map_ops(graph, CORAL, several=True)
    assert mapped.subgraph == {"a": 0, "c": 1, "d": 0, "e": 1, "g": 1}


@pytest.mark.parametrize("seed", range(20))
def test_subgraphs_can_be_run_one_after_the_other(seed):
    """No subgraph waits, through ops of the host, for one of its own or a later number."""
    rng = np.random.default_rng(seed)
    ops = []
    for number in range(20):
        names = [INPUT, *(done.name for done in ops)]
        sources = tuple(map(str, rng.choice(names[-4:], int(rng.integers(1, 3)))))
        kind = OpKind.GELU if rng.random() < 0.3 else OpKind.ADD
        ops.append(op(f"o{number}", kind, sources))
    mapped = map_ops(OpGraph(MAP, tuple(ops)), CORAL, several=True)
    needs = {INPUT: -1}  # the last subgraph that must have run before an op
    for one in ops:
        behind = max(needs[name] for name in one.inputs)
        here = mapped.subgraph.get(one.name)
        if here is None:
            needs[one.name] = behind
            continue
        inner = [name for name in one.inputs if mapped.subgraph.get(name) == here]
        outer = [needs[name] for name in one.inputs if name not in inner]
        assert max(outer, default=-1) < here
        needs[one.name] = here
    assert len(mapped.subgraph) + len(mapped.host) == len(ops)


# --- single ops --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "before", "after", "reason"),
    [
        (OpKind.OTHER, MAP, MAP, NOT_SUPPORTED),
        (OpKind.GELU, MAP, MAP, NOT_SUPPORTED),
        (OpKind.TFLITE_DETECTION_POSTPROCESS, MAP, MAP, NOT_SUPPORTED),
        (OpKind.SOFTMAX, (1, 20_000), (1, 20_000), UNSPECIFIED),
        (OpKind.SOFTMAX, (1, 16_000), (1, 16_000), None),
        # Published: one row only, of a softmax as of a dense layer.
        (OpKind.SOFTMAX, (1, 10, 100), (1, 10, 100), UNSPECIFIED),
        (OpKind.FULLY_CONNECTED, (1, 10, 100), (1, 10, 7), UNSPECIFIED),
        (OpKind.FULLY_CONNECTED, (1, 100), (1, 7), None),
        (OpKind.BATCH_MATMUL, (1, 4, 8, 8), (1, 4, 8, 8), NOT_SUPPORTED),
        (OpKind.ARG_MAX, MAP, (1, 8, 8), NOT_SUPPORTED),
        (OpKind.RESIZE_BILINEAR, (1, 1, 1, 256), (1, 33, 33, 256), UNSPECIFIED),
        (OpKind.RESIZE_BILINEAR, (1, 24, 24, 24), (1, 48, 48, 24), None),
        (OpKind.RESIZE_NEAREST_NEIGHBOR, (1, 256, 256, 21), (1, 512, 512, 21), UNSPECIFIED),
        (OpKind.ADD, (2, 4, 4, 4), (2, 4, 4, 4), RANK),
        (OpKind.ADD, (1, 4, 4, 4), (1, 4, 4, 4), None),
        (OpKind.CONV_2D, (1, 1024, 1024, 8), (1, 1024, 1024, 8), None),
    ],
)
def test_single_ops_are_refused_in_the_compilers_terms(kind, before, after, reason):
    assert refusal(op("x", kind, (), before, after), CORAL) == reason


@pytest.mark.parametrize("kind", [OpKind.ADD, OpKind.MUL, OpKind.SUB, OpKind.CONCATENATION])
def test_ops_on_large_tensors_map(kind):
    # A residual addition of ResNet-50 at 299x299, which published latencies show on the TPU.
    assert refusal(op("x", kind, (), (1, 75, 75, 256)), CORAL) is None
    assert refusal(op("x", kind, (), (1, 256, 256, 64)), CORAL) is None


@pytest.mark.parametrize("kind", [OpKind.MEAN, OpKind.SUM])
@pytest.mark.parametrize(
    ("window", "channels", "reason"),
    [
        # Published: google-coral/edgetpu #461; EfficientNetB0's first; ResNet-50's last.
        ((256, 128), 3, UNSPECIFIED),
        ((64, 128), 3, None),
        ((112, 112), 32, UNSPECIFIED),
        ((7, 7), 2048, None),
    ],
)
def test_a_mean_over_many_places_stays_on_the_host(kind, window, channels, reason):
    mean = Op("m", kind, (), (1, *window, channels), (1, channels), window)
    assert refusal(mean, CORAL) == reason
    assert refusal(mean, rules_of("tensor")) is None


def test_slopes_of_a_prelu_must_be_of_channels():
    slopes = {
        constant: refusal(Op("p", OpKind.PRELU, (), MAP, MAP, constant=constant), CORAL)
        for constant in ((16,), (1, 1, 16), (8, 8, 16))
    }
    assert list(slopes.values()) == [None, None, UNSPECIFIED]


def test_grouped_convolutions_of_a_file_are_refused_with_their_groups():
    graph = OpGraph(
        MAP,
        (op("a", OpKind.CONV_2D), Op("g", OpKind.CONV_2D, ("a",), MAP, MAP, (3, 3), groups=4)),
    )
    assert native_groups(graph) == {"g": f"{NOT_SUPPORTED}: a convolution with 4 groups"}


# --- rules -------------------------------------------------------------------------------------


def test_unknown_rules_are_answered_with_those_that_exist():
    with pytest.raises(
        MappingError, match=rf"one of {', '.join(compiler_names())}, but got 'gcc'"
    ):
        rules_of("gcc")


@pytest.mark.parametrize("name", compiler_names())
def test_each_file_of_rules_loads(name):
    rules = rules_of(name)
    assert {OpKind.CONV_2D, OpKind.DEPTHWISE_CONV_2D, OpKind.ADD, OpKind.SPLIT} <= rules.kinds
    assert OpKind.TFLITE_DETECTION_POSTPROCESS not in rules.kinds
    numbers = [value for value in dataclasses.asdict(rules).values() if isinstance(value, int)]
    assert len(numbers) == 8 and min(numbers) > 0
    assert all(highest > 0 for highest in rules.versions.values())
    assert rules.computed_sizes in ("refused", "mapped")


# --- a batch and its graphs --------------------------------------------------------------------

SIZED = [
    (OpKind.CONV_2D, MAP, MAP),
    (OpKind.CONV_2D, MAP, (1, 4, 4, 32)),
    (OpKind.ADD, MAP, MAP),
    (OpKind.ADD, (1, 256, 256, 17), (1, 256, 256, 17)),
    (OpKind.PRELU, MAP, MAP),
    (OpKind.MEAN, (1, 64, 128, 3), (1, 3)),
    (OpKind.MEAN, (1, 112, 112, 32), (1, 32)),
    (OpKind.SOFTMAX, (1, 16_000), (1, 16_000)),
    (OpKind.SOFTMAX, (1, 16_001), (1, 16_001)),
    (OpKind.SOFTMAX, (1, 10, 100), (1, 10, 100)),
    (OpKind.FULLY_CONNECTED, (1, 10, 100), (1, 10, 7)),
    (OpKind.RESIZE_BILINEAR, (1, 3, 3, 8), (1, 50, 3, 8)),
    (OpKind.RESIZE_BILINEAR, (1, 3, 3, 8), (1, 48, 48, 8)),
    (OpKind.RESHAPE, MAP, (1, 1024)),
    (OpKind.GELU, MAP, MAP),
    (OpKind.CAST, MAP, MAP),
]


@pytest.mark.parametrize("rules", compiler_names())
def test_a_batch_of_chains_maps_as_its_graphs_do(rules):
    """Shapes of neighbours need not fit: rules look at single ops."""
    rng = np.random.default_rng(0)
    graphs = []
    for _ in range(200):
        ops = []
        for number in range(int(rng.integers(0, 9))):
            kind, before, after = SIZED[int(rng.integers(len(SIZED)))]
            source = ops[-1].name if ops else INPUT
            more = (str(rng.choice([one.name for one in ops])),) if ops else ()
            inputs = (source, *more) if kind is OpKind.ADD else (source,)
            made = op(f"o{number}", kind, inputs, before, after)
            if kind is OpKind.MEAN:
                made = dataclasses.replace(made, kernel_size=before[1:3])
            if kind is OpKind.PRELU:
                made = dataclasses.replace(made, constant=[(16,), MAP][int(rng.integers(2))])
            ops.append(made)
        graphs.append(OpGraph(MAP, tuple(ops)))
    batch = OpBatch.of(graphs)
    told = on_tpu(batch, rules_of(rules))
    for graph, row in zip(graphs, told, strict=True):
        mapped = map_ops(graph, rules_of(rules)).subgraph
        assert [one.name in mapped for one in graph.ops] == row[: len(graph.ops)].tolist()
        assert not row[len(graph.ops) :].any()


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
    assert len(map_ops(model.graph, CORAL, dict(model.unsupported)).host) == left
