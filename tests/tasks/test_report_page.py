"""The report page: whole, safe, small, the same for the same data."""

from __future__ import annotations

import dataclasses
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from spaces.families import blocks as ibn
from spaces.graph import INPUT, OpGraph, split_grouped_convolutions
from tasks.candidates.carried import Carried
from tasks.learning.parity import Parity
from tasks.learning.protocols import Metric
from tasks.report import (
    Bias,
    Block,
    Candidate,
    Gate,
    Pair,
    ReportData,
    Rung,
    StageCost,
    blocks_of,
    render,
)
from tasks.report.payload import payload
from tests.tasks.made_up_reports import OPS, network, report

HOSTILE = "</script><script>alert('x')</script><!-- \" & {{data}} $& \u2028"


class Page(HTMLParser):
    """Tags, attributes and text of a page; data of scripts apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)

    @property
    def data(self) -> dict[str, Any]:
        """What the script of the page reads."""
        loaded: dict[str, Any] = json.loads(self.scripts[0])
        return loaded

    @property
    def text(self) -> str:
        """All text, white space folded."""
        return " ".join(" ".join(self.words).split())


def test_every_candidate_is_embedded_with_its_decisions() -> None:
    data = report()
    embedded = Page(render(data)).data
    assert [row[0] for row in embedded["candidates"]] == [c.id for c in data.candidates]
    decisions = embedded["decisions"]
    for candidate, row in zip(data.candidates, decisions["rows"], strict=True):
        read = {
            name: values[index]
            for name, values, index in zip(
                decisions["names"], decisions["values"], row, strict=True
            )
            if index >= 0
        }
        assert read == {name: str(value) for name, value in candidate.architecture.items()}


def test_same_data_give_same_page() -> None:
    assert render(report()) == render(report())


def test_nothing_is_loaded_from_anywhere() -> None:
    text = render(report())
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "poster", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)|https?://|fetch\(|XMLHttpRequest|import\(", text)
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'")


def hostile(data: ReportData) -> ReportData:
    """The same report with markup wherever a person may have put a name."""
    first, *others = data.candidates
    bad = dataclasses.replace(
        first,
        name=HOSTILE,
        origin=HOSTILE,
        reason=HOSTILE,
        status="failed",
        architecture={HOSTILE: HOSTILE},
    )
    finalists = tuple(
        dataclasses.replace(
            one,
            id=HOSTILE,
            name=HOSTILE,
            split=HOSTILE,
            file=HOSTILE,
            blocks=tuple(
                dataclasses.replace(b, stage=HOSTILE, name=HOSTILE, kind=HOSTILE)
                for b in one.blocks
            ),
            cost=dataclasses.replace(one.cost, device=HOSTILE, host_ops=((HOSTILE, HOSTILE),)),
        )
        for one in data.finalists
    )
    return dataclasses.replace(
        data,
        title=HOSTILE,
        problem=HOSTILE,
        metric=Metric(HOSTILE, HOSTILE, "max"),
        device=HOSTILE,
        method=HOSTILE,
        candidates=(bad, *others),
        finalists=finalists,
        stages=(StageCost(HOSTILE, 1.0, HOSTILE),),
        manifest={"counts": {HOSTILE: {HOSTILE: 3}}, HOSTILE: {HOSTILE: HOSTILE}},
        params={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        commands=(HOSTILE,),
        notes=(HOSTILE,),
        machine=HOSTILE,
        code_digest=HOSTILE,
        gate=Gate(
            pairs=tuple(Pair(HOSTILE, HOSTILE, HOSTILE, 0.1 * n, 0.5) for n in range(4)),
            tau=0.1,
            tau_interval=None,
            tau_macs=None,
            tau_ceiling=None,
            biases=(Bias(HOSTILE, 0.1, 0.1, 4),),
            passed=False,
            reasons=(HOSTILE,),
        ),
        rungs=(Rung(1, HOSTILE, HOSTILE, (), None, None),),
    )


def test_hostile_names_stay_text() -> None:
    harmless, attacked = Page(render(report())), Page(render(hostile(report())))
    assert len(attacked.scripts) == len(harmless.scripts) == 2
    assert attacked.scripts[1] == harmless.scripts[1]
    assert attacked.data["finalists"][0]["name"] == HOSTILE
    assert "alert('x')" in attacked.text
    assert not any(name.startswith("on") for _, a in attacked.tags for name in a)


def test_failed_candidates_are_listed_with_reasons() -> None:
    page = Page(render(report(120)))
    assert "loss is not finite" in page.text
    assert "peak_memory_bytes must be at most 8388608, but got 9216000." in page.text


def test_all_candidates_may_fail() -> None:
    data = report(8)
    failed = tuple(
        dataclasses.replace(c, status="failed", reason="no memory", score=None, latency_ms=None)
        for c in data.candidates
    )
    page = Page(render(dataclasses.replace(data, candidates=failed, finalists=())))
    assert "8 candidates without a result" in page.text
    assert page.data["best"] is None


def test_empty_report_says_what_is_missing() -> None:
    data = dataclasses.replace(
        report(),
        candidates=(),
        finalists=(),
        stages=(),
        manifest={},
        params={},
        versions={},
        commands=(),
        notes=(),
    )
    text = Page(render(data)).text
    assert "there is no finalist" in text
    assert "The manifest has no counts." in text


def test_missing_interval_is_called_no_calibration() -> None:
    data = report()
    bare = tuple(
        dataclasses.replace(
            one, cost=dataclasses.replace(one.cost, latency_interval_ms=None, per_op=())
        )
        for one in data.finalists
    )
    text = Page(render(dataclasses.replace(data, finalists=bare))).text
    assert text.count("no calibration") >= len(bare)


def test_missing_metrics_are_dashes_and_not_zero() -> None:
    data = report()
    first = dataclasses.replace(
        data.finalists[0], score_float=None, score_ptq=None, score_int8=None, supernet_score=None
    )
    page = Page(render(dataclasses.replace(data, finalists=(first,))))
    assert page.data["finalists"][0]["score_int8"] is None
    assert "0.0\u202f%" not in page.text


@pytest.mark.parametrize(
    ("method", "words"),
    [("analytic", "estimated, not measured"), ("measured", "measured on the device")],
)
def test_summary_says_how_the_costs_came_about(method: str, words: str) -> None:
    assert words in Page(render(dataclasses.replace(report(), method=method))).text


def test_synthetic_data_and_missing_test_split_are_pointed_out() -> None:
    manifest = {"counts": {"train": {"a": 3}, "validation": 2}, "synthetic": True}
    text = Page(render(dataclasses.replace(report(), manifest=manifest))).text
    assert "These data are synthetic" in text
    assert "There is no test split" in text


def test_best_finalist_keeps_to_the_target() -> None:
    data = report()
    slow = dataclasses.replace(
        data.finalists[0],
        score_int8=0.999,
        cost=dataclasses.replace(data.finalists[0].cost, latency_ms=50.0),
    )
    data = dataclasses.replace(data, finalists=(slow, *data.finalists[1:]))
    assert data.best is not None and data.best.score_int8 != 0.999
    alone = dataclasses.replace(data, finalists=(slow,))
    assert alone.best == slow
    assert "above the target of 2.00 ms" in Page(render(alone)).text


def test_page_of_500_candidates_is_small() -> None:
    assert len(render(report(500)).encode()) < 600_000


def test_candidate_record_must_have_an_id() -> None:
    with pytest.raises(ValueError, match=r"must have id and architecture, but got none of \['id'"):
        Candidate.of({"architecture": {}}, "top1")


def test_blocks_name_their_kind() -> None:
    """Derived: the kinds are those the blocks were made of."""
    for op in (*OPS, *ibn.UIB_OPS, ibn.CONV_PAIR):
        groups, start = 32 if "grouped" in op else None, 3 if op in ibn.START_DW_OPS else 1
        block = ibn.Block("stage1/block0", op, 16, 3, 1, 4, groups, start_kernel_size=start)
        ops = ibn.lower_block(block, (INPUT, (1, 8, 8, 16)))
        (drawn,) = blocks_of(OpGraph((1, 8, 8, 16), tuple(ops)))
        assert drawn == Block(
            stage="stage1",
            name="stage1/block0",
            kind=op,
            kernel=1 if op == ibn.IBN_FFN else 3,
            expansion=None if op == ibn.CONV_PAIR else 4.0,
            groups=2 if "grouped" in op else 1,
            in_channels=16,
            out_channels=16,
            in_size=(8, 8),
            out_size=(8, 8),
            macs=sum(one.macs for one in ops),
            parameters=sum(one.trainable_parameters for one in ops),
            residual=op != ibn.CONV_PAIR,
        )


def test_block_of_a_projection_alone_is_a_convolution() -> None:
    project = ibn.convolution("stage1/block0/project", (INPUT, (1, 8, 8, 16)), 24)
    (drawn,) = blocks_of(OpGraph((1, 8, 8, 16), (project,)))
    assert (drawn.kind, drawn.expansion) == ("conv", None)


def test_stem_and_head_stand_outside_the_stages() -> None:
    drawn = blocks_of(network(0))
    assert (drawn[0].kind, drawn[0].stage) == ("stem", "stem")
    assert [b.name for b in drawn if b.stage == "head"] == ["top", "pool", "logits"]
    assert drawn[-1].out_size == (1, 1)


def test_blocks_account_for_all_macs() -> None:
    graph = network(1)
    assert sum(block.macs for block in blocks_of(graph)) == graph.macs


def test_split_group_convolutions_draw_as_one() -> None:
    graph = network(2)
    assert any(block.groups > 1 for block in blocks_of(graph))
    assert blocks_of(split_grouped_convolutions(graph)) == blocks_of(graph)


def test_parity_is_a_row_a_bench_and_a_reason_where_there_is_none() -> None:
    rows = (
        Parity("host_cpu", 64, {"p": 0.0157}, {"p": 0.001}, {"p": 4.0}, 0.984, 0.91, 0.92),
        Parity("coral_board", 64, reason="a device must be attached <now>, but got none."),
    )
    text = " ".join(Page(render(dataclasses.replace(report(), parity=rows))).words)
    for words in ("0.0157", "98.4", "91.0", "92.0", "attached <now>"):
        assert words in text
    assert "Whether benches say the same" not in render(report())


def test_other_chips_are_columns_and_a_file_that_does_not_run_says_so() -> None:
    data = report()
    latencies = (None, *(float(n) for n in range(1, len(data.finalists))))
    chip = Carried("ethos_u55_128", latencies, 40, 0.77, 6, 4, 0.93)
    text = " ".join(Page(render(dataclasses.replace(data, elsewhere=(chip,)))).words)
    for words in ("ethos_u55_128", "does not run there", "0.77", "4 of 6 (40 candidates)", "93.0"):
        assert words in text
    assert "On another chip" not in render(data)


def test_chips_that_decide_have_their_fronts_and_those_on_all_of_them_are_named() -> None:
    data = report()
    count = len(data.finalists)
    latencies = (None, *(float(n) for n in range(1, count)))
    ethos = Carried(
        "ethos_u55_128",
        latencies,
        decides=True,
        target_latency_ms=1.5,
        on_front=(False, True, True, *[False] * (count - 3)),
    )
    only_told = Carried("tensor_g1", (1.0,) * count, on_front=(True,) * count)
    candidates = tuple(
        dataclasses.replace(one, elsewhere={"ethos_u55_128/latency_ms": float(1 + at)})
        for at, one in enumerate(data.candidates)
    )
    data = dataclasses.replace(
        data,
        candidates=candidates,
        elsewhere=(ethos, only_told),
        front_here=(True, True, *[False] * (count - 2)),
    )
    page = render(data)
    text = " ".join(Page(page).words)
    name = data.finalists[1].name
    assert f"On the front of each of them is {name}, of {count} finalists." in text
    assert "On each chip" in text and "ethos_u55_128, at most 1.50 ms" in text
    section = page[page.index("On each chip") :].partition("</table>")[0]
    rows = section.partition("<tbody>")[2].split("<tr>")[1 : count + 1]
    # Derived: a square a chip; all have that of the one that is only told of and decides nothing.
    assert [row.count("\u25a0") for row in rows] == [2, 3, 2, *[1] * (count - 3)]
    assert [">yes<" in row for row in rows] == [False, True, *[False] * (count - 2)]
    assert ['class="over"' in row for row in rows[1:3]] == [False, True]
    told = json.loads(payload(data))
    assert [one["field"] for one in told["devices"]] == ["ethos_u55_128/latency_ms"]
    at = told["fields"].index("ethos_u55_128/latency_ms")
    assert [row[at] for row in told["candidates"]] == [1.0 + n for n in range(len(candidates))]
    assert told["finalists"][2]["ethos_u55_128/latency_ms"] == 2.0
    assert json.loads(payload(report()))["devices"] == []
