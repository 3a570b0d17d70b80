"""The report of every problem: words, drawings of whole graphs, baselines, samples."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from spaces.graph import Op, OpGraph, OpKind
from spaces.menu import load_baselines, load_input_shapes, load_space, names_in
from tasks.learning.protocols import Metric
from tasks.learning.samples import Panel, Sample, label_picture
from tasks.report import ReportData, blocks, blocks_of, render
from tasks.report.baselines import compare
from tasks.report.drawing import Scale, block_times_ms, draw_blocks
from tests.tasks.made_up_reports import (
    PROBLEMS,
    detection_graphs,
    language_graphs,
    report_of,
    segmentation_graphs,
    trained,
)

HOSTILE = "</script><img src=x onerror=alert(1)>"


def text_of(page: str) -> str:
    """What a person reads."""
    body = re.sub(r"<(script|style|desc)\b.*?</\1>", " ", page, flags=re.S)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


@pytest.fixture(scope="module")
def pages() -> dict[str, tuple[ReportData, str]]:
    made = {problem: report_of(problem) for problem in PROBLEMS}
    return {problem: (data, render(data)) for problem, data in made.items()}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_page_speaks_of_its_own_metric(pages: Any, problem: str) -> None:
    data, page = pages[problem]
    assert f"{data.metric.label} in int8 on the test split" in text_of(page)
    others = {"top-1 accuracy", "mean IoU", "mAP at IoU 0.5"} - {data.metric.label}
    assert not [label for label in others if label in page]
    assert "top1" not in page.replace('"name":"top1"', "")
    assert len(page.encode()) < 3_000_000


@pytest.mark.parametrize("problem", PROBLEMS)
def test_page_loads_nothing(pages: Any, problem: str) -> None:
    _, page = pages[problem]
    sources = re.findall(r"<img[^>]* src=\"([^\"]*)\"", page)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"@import|url\((?!#)|https?://", page)


def test_further_metrics_are_columns(pages: Any) -> None:
    assert "mAP75" in text_of(pages["detection"][1])
    assert "exact match" in text_of(pages["question_answering"][1])
    assert "pixel accuracy" in text_of(pages["segmentation"][1])


def test_synthetic_data_are_called_so_on_top_and_beside_samples(pages: Any) -> None:
    data, page = pages["segmentation"]
    words = "These data are synthetic"
    assert page.index(words) < page.index("the best network")
    assert page.count('class="badge">synthetic<') == len(data.samples)
    assert words not in pages["detection"][1]


def test_skipped_data_are_counted_by_reason_with_names(pages: Any) -> None:
    text = text_of(pages["detection"][1])
    assert "25 left out or mended while reading, and why" in text  # derived: 23 and 2
    assert "23 box skipped: of no area IMG_0000.jpg" in text
    assert "left out or mended" not in text_of(pages["segmentation"][1])


@pytest.mark.parametrize(
    ("skipped", "words"),
    [
        ({"no label": 3}, "3 no label"),
        ({"no label": ["a.png", "b.png"]}, "2 no label a.png b.png"),
        ({"rule": "skip", "count": 1, "names": ["a.png"]}, "1 skip a.png"),
        ({"no label": {"count": 0, "names": []}}, None),
        ({}, None),
    ],
)
def test_skipped_data_may_be_told_in_several_ways(skipped: object, words: str | None) -> None:
    data = report_of("detection")
    text = text_of(render(dataclasses.replace(data, manifest={"counts": {}, "skipped": skipped})))
    assert (words in text) if words else ("left out or mended" not in text)


# Samples


def with_samples(samples: Sequence[Sample], most: int = 12) -> str:
    data = report_of("classification")
    return render(dataclasses.replace(data, samples=tuple(samples), most_samples=most))


def test_samples_are_shown_at_most_as_many_as_asked_for() -> None:
    made = [Sample(f"sample-{n}", (Panel("truth", note=f"note {n}"),)) for n in range(9)]
    page = with_samples(made, most=3)
    assert page.count("<figcaption>") == 3 and "note 2" in page and "note 3" not in page
    assert "No samples were asked for." in with_samples(made, most=0)


def test_pictures_arrive_unchanged() -> None:
    picture = label_picture(np.full((8, 8, 3), 77, np.uint8))
    page = with_samples([Sample("a", (Panel("truth", picture),))])
    found = re.search(r"data:image/png;base64,([^\"]+)", page)
    assert found is not None and base64.b64decode(found[1]) == picture


def test_pictures_beyond_the_limit_are_left_out_and_that_is_said() -> None:
    heavy = [Sample(str(n), (Panel("truth", bytes(900_000)),)) for n in range(5)]
    page = with_samples(heavy)
    assert page.count("<figcaption>") == 2  # derived: 2.5 MB
    assert "3 samples left out" in page
    assert len(page.encode()) < 4_000_000


def test_texts_and_captions_stay_text() -> None:
    panel = Panel(HOSTILE, None, ((HOSTILE, "right"), (HOSTILE, HOSTILE)), HOSTILE)
    bad = Sample(HOSTILE, (panel,), ((HOSTILE, 'red" onload="x'),))
    page = with_samples([bad])
    assert "<img src=x" not in page and "onload" not in re.sub(r"&[^;]*;", "", page)
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 5
    assert 'class="m-right"' in page and 'class="m-other"' in page


def test_a_legend_names_each_class_once_in_the_order_of_colours() -> None:
    late, soon = ("two", "#e69f00"), ("one", "#0072b2")
    page = with_samples([Sample("a", (), (late,)), Sample("b", (), (late, soon))])
    legend = page[page.index('class="classes-key"') :]
    assert legend.index("one") < legend.index("two")
    assert legend.count("#e69f00") == 1


# Baselines


def rivals(*networks: tuple[str, float, float | None], goal: Any = "max") -> ReportData:
    """Networks of an origin, latency and score."""
    data = report_of("detection")
    finalists = [
        dataclasses.replace(
            data.finalists[0],
            id=str(n),
            name=f"{origin} {n}",
            origin=origin,
            score_int8=score,
            cost=dataclasses.replace(data.finalists[0].cost, latency_ms=latency),
        )
        for n, (origin, latency, score) in enumerate(networks)
    ]
    metric = Metric("map50", "mAP50", goal)
    return dataclasses.replace(data, metric=metric, finalists=tuple(finalists))


def test_a_baseline_meets_the_best_searched_network_no_slower() -> None:
    """Derived: of 1.0 and 2.0 ms, the better one within each baseline's latency."""
    data = rivals(
        ("local_search", 1.0, 0.50),
        ("local_search", 2.0, 0.60),
        ("baseline", 2.0, 0.55),
        ("baseline", 1.5, 0.53),
        ("baseline", 0.5, 0.10),
    )
    fast, middle, slow = compare(data)
    assert (fast.searched, fast.gain) == (None, None)
    assert middle.searched is data.finalists[0]
    assert middle.gain == pytest.approx(-0.03)
    assert slow.searched is data.finalists[1]
    assert slow.gain == pytest.approx(0.05)
    text = text_of(render(data))
    assert "the searched front is at or above 1 of 3 baselines : \u22123.0 to +5.0 points" in (
        text.replace("baselines:", "baselines :")
    )
    assert "No searched finalist is as fast as 1 of 3 baselines." in text


def test_where_some_went_on_all_are_compared_after_the_training_that_all_have_had() -> None:
    data = rivals(("local_search", 1.0, 0.70), ("baseline", 1.0, 0.50))
    searched, baseline = data.finalists
    data = dataclasses.replace(
        data,
        finalists=(
            dataclasses.replace(searched, equal_score=0.40, epochs=30),
            dataclasses.replace(baseline, equal_score=0.45, epochs=10),
        ),
    )
    (only,) = compare(data)
    assert only.gain == pytest.approx(-0.05)
    page = render(data)
    assert "float, same training" in page
    assert "\u22125.0 points of mAP50 on validation, in floating point, after the" in text_of(page)
    assert page.count(">trained longer</span>") == 1
    assert 'title="30 epochs; it was among the better half' in page


def test_worse_than_every_baseline_is_said_so() -> None:
    data = rivals(("local_search", 2.0, 0.4), ("baseline", 2.0, 0.5), ("baseline", 3.0, 0.6))
    assert "the searched front is below both baselines" in text_of(render(data))
    faster = rivals(("local_search", 2.0, 0.4), ("baseline", 2.0, 0.5), ("baseline", 1.0, 0.6))
    assert "the searched front is below 1 of 2 baselines" in text_of(render(faster))


def test_equal_to_the_baseline_is_not_below_it() -> None:
    data = rivals(("local_search", 2.0, 0.5), ("baseline", 2.0, 0.5))
    text = text_of(render(data))
    assert "at or above the baseline : +0.0 points of mAP50" in text.replace(
        "baseline:", "baseline :"
    )


def test_where_less_is_better_less_is_gained() -> None:
    data = rivals(
        ("search", 1.0, 0.30), ("search", 1.0, 0.40), ("baseline", 1.0, 0.35), goal="min"
    )
    (only,) = compare(data)
    assert only.searched is data.finalists[0]
    assert only.gain == pytest.approx(0.05)
    assert data.best is data.finalists[0]


def test_unknown_scores_and_no_baselines_are_no_matter() -> None:
    data = rivals(("search", 1.0, None), ("baseline", 1.0, None), ("search", 0.5, 0.5))
    (only,) = compare(data)
    assert only.gain is None
    render(data)
    alone = rivals(("search", 1.0, 0.5))
    assert "Against the baselines" not in render(alone)


def test_baselines_are_marked_in_table_and_plot(pages: Any) -> None:
    _, page = pages["detection"]
    rows = re.findall(r"<tr><th scope=\"row\" data-value=\"([^\"]*)\">(.*?)</th>", page)
    assert [name for name, inside in rows if ">baseline</span>" in inside] == [
        "baseline_s",
        "baseline_m",
    ]
    assert page.count('"baseline":true') == 2 and page.count('"baseline":false') == 4


# Drawings of whole graphs


@pytest.mark.parametrize("name", names_in("catalog"))
def test_networks_of_every_space_are_drawn_in_few_boxes_that_account_for_everything(
    name: str,
) -> None:
    space = load_space(name)
    for label, point in load_baselines(name).items():
        sized = space.for_input(load_input_shapes(name).get(label, space.input_shape))
        graph = sized.lower(point)
        drawn = blocks_of(graph)
        assert 3 <= len(drawn) <= blocks.MOST_BOXES, label
        assert sum(block.macs for block in drawn) == graph.macs
        assert sum(block.parameters for block in drawn) == graph.trainable_parameters
        assert sorted(op for block in drawn for op in block.ops) == sorted(
            op.name for op in graph.ops
        )
        assert len({block.name for block in drawn}) == len(drawn)


@pytest.mark.parametrize(
    "graphs", [detection_graphs, segmentation_graphs, lambda: language_graphs(5)]
)
def test_time_of_every_op_is_in_the_bar_of_a_box(graphs: Any) -> None:
    for one in trained(graphs(), "x", ()):
        by_box = block_times_ms(one)
        named = {op for block in one.blocks for op in block.ops}
        expected = sum(op.latency_ms for op in one.cost.per_op if op.op in named)
        assert sum(by_box.values()) == pytest.approx(expected)
        assert min(by_box.values()) > 0


def test_a_feature_pyramid_is_a_bar_a_level() -> None:
    graph = segmentation_graphs()[0]
    (cell,) = [block for block in blocks_of(graph) if block.name == "bifpn/cell0"]
    assert cell.kind == "pyramid"
    sizes = [side for side, _ in cell.levels]
    assert len(sizes) > 1 and sizes == sorted(sizes, reverse=True)
    (one,) = trained([graph], "x", ())
    svg = draw_blocks(one, Scale.of([one]))
    pyramids = sum(len(block.levels) or 1 for block in one.blocks if block.kind == "pyramid")
    assert svg.count('class="box k-pyramid"') == pyramids
    assert f"{sizes[0]}…{sizes[-1]}" in svg


def test_parts_of_a_detector_are_named() -> None:
    drawn = blocks_of(detection_graphs()[0])
    head = [block.name for block in drawn if block.stage == "head"]
    assert head[:2] == ["head/P1", "head/P2"] and head[-1] == "detections"
    # A list of boxes is no map: it would tower over all others.
    assert next(block for block in drawn if block.name == "boxes").out_size == (1, 1)


def test_parts_of_a_language_network_are_named_and_measured_in_tokens() -> None:
    (one, *_) = trained(language_graphs(None), "x", ())
    kinds = [block.kind for block in one.blocks]
    assert kinds[0] == "embedding" and {"attention", "ffn"} <= set(kinds)
    assert {block.out_size for block in one.blocks[:-1]} == {(64, 1)}
    svg = draw_blocks(one, Scale.of([one]))
    assert ">tokens<" in svg and "64 to 64 tokens" in svg and "pixels" not in svg


def test_labels_of_pixels_are_a_map_of_one_number() -> None:
    last = blocks_of(segmentation_graphs()[0])[-1]
    assert (last.kind, last.out_size, last.out_channels) == ("labels", (128, 128), 1)


def test_a_kind_that_nobody_foresaw_is_shown_by_its_name() -> None:
    shape = (1, 8, 8, 4)
    ops = [
        Op("stem", OpKind.CONV_2D, ("input",), shape, shape, (3, 3)),
        Op("odd1/x/norm", OpKind.L2_NORMALIZATION, ("stem",), shape, shape),
    ]
    data = report_of("segmentation")
    one = dataclasses.replace(data.finalists[0], blocks=blocks_of(OpGraph(shape, tuple(ops))))
    page = render(dataclasses.replace(data, finalists=(one,)))
    assert "l2 normalization" in text_of(page) and 'class="box k-other"' in page


def test_a_thousand_ops_without_order_are_drawn_all_the_same() -> None:
    shape = (1, 8, 8, 4)
    names = [f"node_{chr(97 + n % 26)}_{n}" for n in range(1000)]
    ops = [
        Op(name, OpKind.CONV_2D, (before,), shape, shape)
        for before, name in zip(["input", *names], names, strict=False)
    ]
    drawn = blocks_of(OpGraph(shape, tuple(ops)))
    assert len(drawn) <= blocks.MOST_BOXES
    assert sum(block.macs for block in drawn) == 1000 * 8 * 8 * 16  # derived: 1x1, 4 to 4
