"""Networks with their heads, of all problems: inputs, tables, attention, labels, detections."""

import dataclasses
import math

import pytest

from hw.activations import peak_bytes
from hw.cost_model import CostModelError
from hw.device import load_device
from hw.families.edge_tpu.analytic import Analytic
from hw.families.edge_tpu.mapping import SECOND_SUBGRAPH, map_ops, rules_of
from hw.families.edge_tpu.placement import place
from hw.tflite.reasons import NOT_SUPPORTED, UNSPECIFIED
from spaces.graph import INPUT, Op, OpBatch, OpGraph, OpKind
from tests.devices import devices_of

T, C, WORDS, HEADS = 32, 64, 1000, 4
SEQUENCE, SQUARE = (1, T, C), (1, HEADS, T, T)
SCORES, MAP = (1, 8, 8, 5), (1, 16, 16, 32)


def language():
    """An embedding of tokens and their types, one attention without projections, a head."""
    split = (1, HEADS, T, C // HEADS)
    return OpGraph(
        (1, T),
        (
            Op("tokens", OpKind.GATHER, (INPUT,), (1, T), SEQUENCE, constant=(WORDS, C)),
            Op("kinds", OpKind.GATHER, ("types",), (1, T), SEQUENCE, constant=(2, C)),
            Op("x", OpKind.ADD, ("tokens", "kinds"), SEQUENCE, SEQUENCE),
            Op("dense", OpKind.FULLY_CONNECTED, ("x",), SEQUENCE, SEQUENCE),
            Op("heads", OpKind.RESHAPE, ("dense",), SEQUENCE, (1, T, HEADS, C // HEADS)),
            Op("q", OpKind.TRANSPOSE, ("heads",), (1, T, HEADS, C // HEADS), split),
            Op("k", OpKind.TRANSPOSE, ("q",), split, (1, HEADS, C // HEADS, T)),
            Op("scores", OpKind.BATCH_MATMUL, ("q", "k"), split, SQUARE),
            Op("masked", OpKind.ADD, ("scores", "mask"), SQUARE, SQUARE),
            Op("softmax", OpKind.SOFTMAX, ("masked",), SQUARE, SQUARE),
            Op("read", OpKind.BATCH_MATMUL, ("softmax", "q"), SQUARE, split),
        ),
        more_inputs=(("mask", (1, 1, 1, T)), ("types", (1, T))),
    )


def segmentation():
    """Scores, resized, compared, as 8 bits."""
    large = (1, 16, 16, 5)
    return OpGraph(
        MAP,
        (
            Op("logits", OpKind.CONV_2D, (INPUT,), MAP, SCORES, strides=(2, 2)),
            Op("resize", OpKind.RESIZE_BILINEAR, ("logits",), SCORES, large),
            Op("argmax", OpKind.ARG_MAX, ("resize",), large, large[:-1]),
            Op("labels", OpKind.CAST, ("argmax",), large[:-1], large[:-1]),
        ),
    )


def fused():
    """Scores that are compared as they are; rows and columns of labels are repeated."""
    return OpGraph(
        MAP,
        (
            Op("logits", OpKind.CONV_2D, (INPUT,), MAP, SCORES, strides=(2, 2)),
            Op("argmax", OpKind.ARG_MAX, ("logits",), SCORES, SCORES[:-1]),
            Op("columns", OpKind.GATHER, ("argmax",), SCORES[:-1], (1, 8, 16)),
            Op("rows", OpKind.GATHER, ("columns",), (1, 8, 16), (1, 16, 16)),
            Op("labels", OpKind.CAST, ("rows",), (1, 16, 16), (1, 16, 16)),
        ),
    )


def detector(detections, classes=5, anchors=64):
    """Boxes and scores of one map, and post-processing."""
    sizes = {"boxes": 4, "scores": classes}
    ops = [
        Op(name, OpKind.CONV_2D, (INPUT,), (1, 8, anchors // 8, 32), (1, 8, anchors // 8, size))
        for name, size in sizes.items()
    ]
    flat = [
        Op(f"{op.name}/flat", OpKind.RESHAPE, (op.name,), op.output_shape, (1, anchors, size))
        for op, size in zip(ops, sizes.values(), strict=True)
    ]
    last = Op(
        "detections",
        OpKind.TFLITE_DETECTION_POSTPROCESS,
        tuple(op.name for op in flat),
        flat[0].output_shape,
        (1, detections, 6),
    )
    return OpGraph((1, 8, anchors // 8, 32), (*ops, *flat, last))


@pytest.mark.parametrize("name", devices_of("edge_tpu"))
@pytest.mark.parametrize("graph", [language(), segmentation(), fused(), detector(10)])
def test_whole_graphs_have_costs_that_add_up(name, graph):
    report = Analytic(load_device(name)).estimate(graph)
    assert math.isfinite(report.latency_ms) and report.latency_ms > 0
    total = math.fsum(share.latency_ms for share in report.per_op)
    assert total == pytest.approx(report.latency_ms)
    assert report.macs == graph.macs


# --- inputs and tables -------------------------------------------------------------------------


@pytest.fixture
def tensor(round_device, changed):
    """Round numbers, with the rules of a compiler that takes all but detections."""
    return changed(round_device, "compiler", rules="tensor")


def test_all_inputs_cross_and_numbers_of_tokens_are_wide(tensor):
    placement, _ = place([language()], tensor)
    # Derived: T tokens and T types of 4 bytes, a mask of T bytes; the result as it is.
    assert placement.arriving[0] == 9 * T
    assert placement.leaving[0] == T * C


def test_labels_leave_in_32_bits_unless_they_are_cast(tensor):
    graph = segmentation()
    cut = dataclasses.replace(graph, ops=graph.ops[:-1])
    assert place([cut], tensor)[0].leaving[0] == 4 * 256
    # Derived: (1, 16, 16) is 16 rows of 16 numbers in the layout.
    assert place([graph], tensor)[0].leaving[0] == 256


def test_all_inputs_take_room_until_they_are_read():
    free = {op.name: False for op in language().ops}
    # Where the mask is added: scores, masked scores, the mask, and values that are read later.
    inner = HEADS * T * T
    assert peak_bytes(language(), free) == T * C + 2 * inner + T
    alone = OpGraph(
        (1, 8), (Op("a", OpKind.ADD, (INPUT, "b"), (1, 8), (1, 8)),), (), (("b", (1, 8)),)
    )
    assert peak_bytes(alone, {"a": False}) == 3 * 8


def test_tables_are_parameters_that_are_neither_cached_nor_streamed(tensor, changed):
    report = Analytic(tensor).estimate(language())
    dense = (C + 8) * C  # padded to 64 outputs, 8 bytes of each; a small map has 5 % more
    assert report.weight_bytes == pytest.approx((WORDS + 2) * C + dense, rel=0.05)
    tiny = changed(tensor, "chip", wide_memory_bytes=0)
    assert Analytic(tiny).estimate(language()).streamed_bytes == pytest.approx(dense, rel=0.05)


def test_tables_of_the_host_are_no_parameters_of_the_chip(round_device):
    report = Analytic(round_device).estimate(language())
    assert report.weight_bytes == 0
    assert dict(report.host_ops)["tokens"] == NOT_SUPPORTED


# --- what maps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["edgetpu_compiler_14", "edgetpu_compiler_16"])
def test_a_coral_takes_no_attention(compiler):
    reasons = dict(map_ops(language(), rules_of(compiler)).host)
    assert reasons["tokens"] == reasons["scores"] == NOT_SUPPORTED
    assert reasons["dense"] == reasons["softmax"] == UNSPECIFIED


def test_a_coral_ends_at_the_labels():
    reasons = dict(map_ops(segmentation(), rules_of("edgetpu_compiler_16")).host)
    assert reasons == {"argmax": NOT_SUPPORTED, "labels": NOT_SUPPORTED}


def test_a_tensor_leaves_detections_alone():
    rules = rules_of("tensor")
    assert not map_ops(language(), rules).host and not map_ops(segmentation(), rules).host
    assert dict(map_ops(detector(10), rules).host) == {"detections": NOT_SUPPORTED}


def test_what_stands_behind_the_host_stays_there():
    labels = Op("more", OpKind.LOGISTIC, ("labels",), (1, 16, 16), (1, 16, 16))
    graph = dataclasses.replace(segmentation(), ops=(*segmentation().ops, labels))
    reasons = dict(map_ops(graph, rules_of("edgetpu_compiler_16")).host)
    assert reasons["more"] == SECOND_SUBGRAPH


# --- detections --------------------------------------------------------------------------------


def test_post_processing_takes_time_for_scores_and_for_detections(round_device):
    """4 us a start, 20 scores a us, 10 pairs of an anchor and a detection a us."""
    for detections, classes, anchors in ((10, 5, 64), (100, 5, 64), (10, 90, 64), (10, 5, 640)):
        report = Analytic(round_device).estimate(detector(detections, classes, anchors))
        scores = anchors * (4 + classes) + 6 * detections
        expected_us = 4 + scores / 20 + anchors * detections / 10
        assert report.per_op[-1].latency_ms == pytest.approx(expected_us / 1e3)


@pytest.mark.parametrize(("detections", "published_ms"), [(10, 5.5), (100, 22.5)])
def test_post_processing_on_a_dev_board_takes_what_was_published(detections, published_ms):
    # Published: 5 to 6 and 22 to 23 ms on the CPU of Coral boards, for SpaghettiNet's 2,058
    # anchors and 91 classes.
    graph = detector(detections, classes=91, anchors=2056)
    report = Analytic(load_device("coral_dev_board")).estimate(graph)
    assert report.per_op[-1].latency_ms == pytest.approx(published_ms, rel=0.1)


# --- batches -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tensor_g1", "coral_usb3"])
@pytest.mark.parametrize("graph", [language(), detector(10)])
def test_a_batch_that_does_not_tell_enough_is_refused(name, graph):
    model = Analytic(load_device(name))
    with pytest.raises(CostModelError, match="must have one input, no detections") as caught:
        model.estimate_many(OpBatch.of([segmentation(), graph]))
    assert "in 1 of 2" in str(caught.value)


@pytest.mark.parametrize("name", devices_of("edge_tpu"))
@pytest.mark.parametrize("graph", [segmentation(), fused()])
def test_a_batch_of_segmentation_costs_what_its_rows_cost(name, graph):
    model = Analytic(load_device(name))
    columns = model.estimate_many(OpBatch.of([graph, graph]))
    report = model.estimate(graph)
    for key in ("latency_ms", "energy_mj", "peak_memory_bytes", "weight_bytes", "macs"):
        assert columns[key] == pytest.approx(getattr(report, key)), key
