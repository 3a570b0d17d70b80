"""The report page: whole, safe, small, the same for the same data."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from hw.report import Bound, CostReport, OpCost
from spaces import blocks as ibn
from spaces.graph import INPUT, Op, OpGraph, OpKind, split_grouped_convolutions
from tasks.problem import Metric
from tasks.report_page import (
    Block,
    Candidate,
    Finalist,
    ReportData,
    StageCost,
    blocks_of,
    render,
)

HOSTILE = "</script><script>alert('x')</script><!-- \" & {{data}} $& \u2028"
OPS = (ibn.IBN_DW, ibn.IBN_FUSED, ibn.IBN_GROUPED, ibn.IBN_FUSED_GROUPED)


def network(seed: int) -> OpGraph:
    """A small network with all kinds of blocks, stem, top, pool and logits."""
    rng = np.random.default_rng(seed)
    ops = [ibn.convolution("stem", (INPUT, (1, 32, 32, 3)), 16, 3, 1, activation="relu")]
    for stage, width in enumerate((24, 48, 96), 1):
        for index in range(int(rng.integers(1, 4)) + (stage > 1)):
            op = OPS[(seed + stage + index) % 4]
            block = ibn.Block(
                name=f"stage{stage}/block{index}",
                op=op,
                out_channels=width,
                kernel_size=int(rng.choice([3, 5])) if op == ibn.IBN_DW else 3,
                strides=1 if index else 2,
                expansion=int(rng.choice([2, 4])),
                channels_per_group=16 if op == ibn.IBN_GROUPED else None,
            )
            if op == ibn.IBN_FUSED_GROUPED:
                expanded = ops[-1].out_channels * block.expansion
                block = dataclasses.replace(block, channels_per_group=expanded // 4)
            ops.extend(ibn.lower_block(block, (ops[-1].name, ops[-1].output_shape)))
    ops.append(ibn.convolution("top", (ops[-1].name, ops[-1].output_shape), 256))
    ops.append(Op("pool", OpKind.MEAN, ("top",), ops[-1].output_shape, (1, 256)))
    ops.append(Op("logits", OpKind.FULLY_CONNECTED, ("pool",), (1, 256), (1, 10)))
    return OpGraph((1, 32, 32, 3), tuple(ops))


def cost_of(graph: OpGraph, seed: int) -> CostReport:
    """Made-up costs that look like real ones."""
    rng = np.random.default_rng(seed)
    kinds: dict[OpKind, Bound] = {
        OpKind.CONV_2D: "compute",
        OpKind.DEPTHWISE_CONV_2D: "movement",
        OpKind.ADD: "movement",
        OpKind.MEAN: "host",
        OpKind.FULLY_CONNECTED: "streaming",
    }
    per_op = [OpCost("transfer in", "INPUT", "host", 0.061, 0.02, 0, "transfer")]
    for op in graph.ops:
        ms = 0.004 + op.macs * 8e-9 * float(rng.uniform(0.7, 1.4))
        ms *= 3.0 if op.kind is OpKind.DEPTHWISE_CONV_2D else 1.0
        per_op.append(OpCost(op.name, op.kind, "tpu", ms, 0.01, 0, kinds[op.kind]))
    per_op.append(OpCost("fixed", "CALL", "host", 0.11, None, 0, "transfer"))
    latency = math.fsum(op.latency_ms for op in per_op)
    return CostReport(
        device="coral_usb3",
        method="analytic",
        latency_ms=latency,
        latency_interval_ms=(0.86 * latency, 1.21 * latency) if seed % 2 else None,
        first_inference_ms=9.0,
        energy_mj=None if seed == 3 else 1.7 * latency,
        peak_memory_bytes=int(rng.integers(40_000, 300_000)),
        weight_bytes=graph.trainable_parameters,
        streamed_bytes=0 if seed % 3 else 81_920,
        macs=graph.macs,
        host_ops=(("pool", "MEAN over <h, w> is not mapped"),) if seed == 1 else (),
        per_op=tuple(per_op),
    )


def stretched(cost: CostReport, latency_ms: float) -> CostReport:
    """The same report with all times scaled to a sum of ``latency_ms``."""
    factor = latency_ms / cost.latency_ms
    interval = cost.latency_interval_ms
    return dataclasses.replace(
        cost,
        latency_ms=latency_ms,
        latency_interval_ms=interval and (interval[0] * factor, interval[1] * factor),
        per_op=tuple(
            dataclasses.replace(op, latency_ms=op.latency_ms * factor) for op in cost.per_op
        ),
    )


def candidates_of(amount: int, seed: int = 0) -> tuple[Candidate, ...]:
    """Made-up candidates along a curve of diminishing returns, a few of them failed."""
    rng = np.random.default_rng(seed)
    made = []
    for trial in range(amount):
        latency = float(np.exp(rng.normal(0.1, 0.5)))
        origin = ("random", "local_search")[int(trial > amount * 0.45)]
        top1 = 0.66 + 0.13 * math.tanh(0.9 * latency) + 0.05 * math.log(latency + 0.5)
        top1 += float(rng.normal(0.015 if origin == "local_search" else -0.01, 0.018))
        shares = rng.dirichlet([2, 2, 1])
        record: dict[str, Any] = {
            "id": f"{int(rng.integers(16**12)):012x}",
            "architecture": decisions_of(rng),
            "name": None,
            "origin": origin,
            "status": "done",
            "reason": None,
            "trial": trial,
            "generation": trial // 40,
            "top1": min(top1, 0.99),
            "latency_ms": latency,
            "peak_memory_bytes": int(60_000 * latency * rng.uniform(0.7, 1.4)) + 20_000,
            "weight_bytes": int(400_000 * latency * rng.uniform(0.5, 1.5)),
            "streamed_bytes": 0,
            "macs": int(38e6 * latency * rng.uniform(0.6, 1.5)),
            "parameters": int(390_000 * latency),
            "energy_mj": 1.6 * latency,
            "depth": int(rng.integers(4, 9)),
            "mean_kernel": float(rng.uniform(3, 5)),
            "mean_expansion": float(rng.uniform(2, 4)),
            "share_dw": float(shares[0]),
            "share_fused": float(shares[1]),
            "share_grouped": float(shares[2]),
            "mean_width": float(rng.uniform(24, 96)),
            "on_pareto": False,
            "rank": int(rng.integers(0, 9)),
        }
        made.append(Candidate.from_record(record | _fate(trial, amount), "top1"))
    return tuple(made)


def _fate(trial: int, amount: int) -> dict[str, Any]:
    names = ["depthwise_s", "depthwise_m", "fused_s", "fused_m", "edgetpu_v2_s", "edgetpu_v2_m"]
    if trial < len(names):
        return {"origin": "baseline", "name": names[trial]}
    if trial == len(names):
        return {"origin": "largest", "latency_ms": 5.3, "top1": 0.86}
    if trial == len(names) + 1:
        return {"origin": "smallest", "latency_ms": 0.31, "top1": 0.61}
    if trial % 41 == 0:
        reason = "peak_memory_bytes must be at most 8388608, but got 9216000."
        return {"status": "infeasible", "reason": reason}
    if trial % 57 == 0:
        return {"status": "failed", "reason": "loss is not finite", "top1": math.nan}
    return {}


def decisions_of(rng: np.random.Generator) -> Mapping[str, object]:
    """Decisions of three stages."""
    decisions: dict[str, object] = {"stem/channels": 16, "stem/kernel": 3, "top/channels": 256}
    for stage in (1, 2, 3):
        decisions[f"stage{stage}/channels"] = int(rng.choice([24, 48, 96]))
        for block in range(int(rng.integers(1, 4))):
            op = OPS[int(rng.integers(4))]
            prefix = f"stage{stage}/block{block}"
            decisions |= {f"{prefix}/op": op, f"{prefix}/kernel": 3, f"{prefix}/expansion": 4}
            if "grouped" in op:
                decisions[f"{prefix}/channels_per_group"] = int(rng.choice([16, 32]))
    return decisions


def finalists_of(candidates: tuple[Candidate, ...], amount: int = 4) -> tuple[Finalist, ...]:
    """The first plain candidates, as if they had been trained."""
    done = [c for c in candidates if c.status == "done" and c.name is None and c.score]
    done = sorted(done, key=lambda c: -(c.score or 0.0) + 0.06 * (c.latency_ms or 0.0))[:amount]
    finalists = []
    for seed, one in enumerate(sorted(done, key=lambda c: c.latency_ms or 0.0)):
        graph = network(seed)
        cost = stretched(cost_of(graph, seed), float(one.latency_ms or 1.0))
        top1 = float(one.score or 0.0) + 0.03 - 0.006 * seed
        finalists.append(
            Finalist(
                id=one.id,
                name=f"net_{'abcdefgh'[seed % 8]}",
                score_float=top1 + 0.009,
                score_ptq=top1 - 0.03 - 0.01 * seed,
                score_int8=top1 if seed != 2 else top1 - 0.015,
                split="test",
                cost=cost,
                blocks=blocks_of(graph),
                file=f"artifacts/finalists/{one.id}/int8.tflite",
                file_bytes=int(1.3 * cost.weight_bytes),
                supernet_score=one.score,
            )
        )
    return tuple(finalists)


def report(amount: int = 60, seed: int = 0) -> ReportData:
    """A rich report."""
    candidates = candidates_of(amount, seed)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship")
    counts = {
        "train": {name: 360 + 9 * i for i, name in enumerate(classes)},
        "validation": {name: 90 + i for i, name in enumerate(classes)},
        "test": {name: 100 for name in classes},
    }
    return ReportData(
        title="Networks for pictures of ten kinds on a Coral accelerator",
        problem="classification of cifar10",
        metric=Metric("top1", "top-1 accuracy", "max"),
        device="coral_usb3",
        method="analytic",
        target_latency_ms=2.0,
        candidates=candidates,
        finalists=finalists_of(candidates),
        stages=(
            StageCost("prepare", 3.2, "5,000 images read, 12 duplicates dropped"),
            StageCost("train_supernet", 912.0, "2,400 steps of 64 images, sandwich of 4 subnets"),
            StageCost("search", 204.5, f"{amount} candidates on 900 images each"),
            StageCost("finetune", 655.0, "4 networks, 600 float and 200 QAT steps each"),
            StageCost("select", 1.1, "front of 4 networks and 6 baselines"),
            StageCost("report", None, "this page"),
        ),
        manifest={
            "counts": counts,
            "sha256": "9f2c" * 16,
            "split_rule": "by hash of the image, 80 / 20 of the training part",
            "seed": 0,
            "duplicates": {"within": 12, "across": 0},
            "synthetic": False,
        },
        params={
            "data.name": "cifar10",
            "search.algorithm": "local_search",
            "search.candidates": amount,
            "search.seed": 0,
            "supernet.learning_rate": 0.05,
            "finetune.qat_steps": 200,
            "target.latency_ms": 2.0,
        },
        versions={"python": "3.11.9", "tensorflow": "2.21.0", "numpy": "2.1.3"},
        commands=("git checkout 1f2e3d4", "make setup", "python -m flows run --profile default"),
        notes=(
            "Accuracy of candidates is from shared weights.",
            "Latency is an estimate; the profile coral_usb3 has no calibration for this chip.",
        ),
        machine="2 CPU threads",
        code_digest="sha256:5be1c0ffee",
    )


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
        Candidate.from_record({"architecture": {}}, "top1")


def test_blocks_name_their_kind() -> None:
    """Derived: the kinds are those the blocks were made of."""
    for op in OPS:
        block = ibn.Block("stage1/block0", op, 16, 3, 1, 4, 32 if "grouped" in op else None)
        ops = ibn.lower_block(block, (INPUT, (1, 8, 8, 16)))
        (drawn,) = blocks_of(OpGraph((1, 8, 8, 16), tuple(ops)))
        assert drawn == Block(
            stage="stage1",
            name="stage1/block0",
            kind=op,
            kernel=3,
            expansion=4.0,
            groups=2 if "grouped" in op else 1,
            in_channels=16,
            out_channels=16,
            in_size=(8, 8),
            out_size=(8, 8),
            macs=sum(one.macs for one in ops),
            parameters=sum(one.trainable_parameters for one in ops),
            residual=True,
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
