"""Reports of every problem from made-up numbers and arrays, for tests and for looking at.

``python -m tests.tasks.made_up_reports FOLDER`` writes a page a problem there; nothing is trained.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hw.report import Bound, CostReport, OpCost
from spaces.families import blocks as ibn
from spaces.graph import INPUT, Op, OpGraph, OpKind
from spaces.heads import classification as heads
from spaces.heads import language as language_heads
from spaces.heads.segmentation import segmentation
from spaces.heads.ssd import ssd
from spaces.menu import load_baselines, load_space
from spaces.space import Architecture
from spaces.walk import sample
from tasks.candidates.judgement import Fidelity
from tasks.learning.protocols import Metric
from tasks.learning.samples import (
    Panel,
    Sample,
    draw_boxes,
    label_picture,
    legend,
    mark_span,
    paint_mask,
)
from tasks.report import (
    BASELINE,
    Candidate,
    Finalist,
    ReportData,
    StageCost,
    blocks_of,
    gate_of,
    render,
    rungs_of,
)

HOST_KINDS = (
    OpKind.MEAN,
    OpKind.ARG_MAX,
    OpKind.CAST,
    OpKind.GATHER,
    OpKind.TFLITE_DETECTION_POSTPROCESS,
)
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
        OpKind.FULLY_CONNECTED: "streaming",
        **dict.fromkeys(HOST_KINDS, "host"),
    }
    per_op = [OpCost("transfer in", "INPUT", "host", 0.061, 0.02, 0, "transfer")]
    for op in graph.ops:
        ms = 0.004 + op.macs * 8e-9 * float(rng.uniform(0.7, 1.4))
        ms *= 3.0 if op.kind is OpKind.DEPTHWISE_CONV_2D else 1.0
        per_op.append(OpCost(op.name, op.kind, "tpu", ms, 0.01, 0, kinds.get(op.kind, "movement")))
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
        host_ops=tuple(
            (op.name, f"{op.kind} over <h, w> is not mapped")
            for op in graph.ops
            if op.kind in HOST_KINDS and seed == 1
        ),
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
        made.append(Candidate.of(record | _fate(trial, amount), "top1"))
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


def fidelity_files(
    networks: int = 12, promoted: Sequence[int] = (10, 5), seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Made-up ``search/fidelity.json`` and ``search/candidates.json`` that belong together."""
    rng = np.random.default_rng(seed)
    shares = {"share_dw": 0.0, "share_fused": 0.0, "share_grouped": 0.0}
    of_kind = (("depthwise", "share_dw"), ("fused", "share_fused"), ("grouped", "share_grouped"))
    records: list[dict[str, Any]] = []
    points = []
    for index in range(max(networks, *promoted, 1)):
        kind, share = (*of_kind, ("mixed", "share_dw"))[index % 4]
        steps = [float(rng.uniform(0.4, 0.8))]
        for count in promoted:
            if index < count:
                steps.append(steps[-1] + float(rng.uniform(0.02, 0.12)))
        records.append(
            {
                "id": f"{seed * 1000 + index:012x}",
                "name": f"{kind}_{index}" if index < 4 else None,
                "rung": len(steps) - 1,
                "status": "done",
                "evaluator": "trained",
                "epochs": 2 * 3 ** (len(steps) - 1),
                "lower_rungs": steps[:-1],
                "top1": steps[-1],
                **shares,
                share: 0.5 if kind == "mixed" else 0.9,
            }
        )
        shared = steps[0] - 0.3 + 0.25 * (kind == "fused") + float(rng.normal(0, 0.05))
        points.append(
            {"id": records[-1]["id"], "kind": kind, "score": shared, "trained": steps[0]}
        )
    judged = {
        "networks": networks,
        "tau": 0.21,
        "tau_interval": [-0.36, 0.71],
        "tau_macs": 0.36,
        "tau_ceiling": 0.92,
        "bias": {
            "depthwise": {"bias": -0.08, "error": 0.03, "networks": 3},
            "fused": {"bias": 0.17, "error": 0.03, "networks": 3},
        },
        "passed": False,
        "reasons": ["MACs alone order them as well (tau 0.36, score 0.21)"],
        "points": points[:networks],
    }
    rungs = [
        {"rung": at, "candidates": count, "epochs": 2 * 3**at, "tau": 0.64, "tau_macs": 0.49}
        for at, count in enumerate(promoted, 1)
    ]
    found = {"evaluator": "trained", "training": None, "rungs": rungs}
    return {**found, "gate": judged if networks else None}, records


def as_candidates(records: Sequence[Mapping[str, Any]]) -> list[Candidate]:
    """Objects of ``search/candidates.json`` as the page reads them."""
    return [Candidate.of({"architecture": {}, **record}, "top1") for record in records]


def report(amount: int = 60, seed: int = 0) -> ReportData:
    """A rich report."""
    candidates = candidates_of(amount, seed)
    found, records = fidelity_files()
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
        linear_floor=0.493,
        gate=gate_of(Fidelity.of(found), as_candidates(records)),
        rungs=rungs_of(Fidelity.of(found), as_candidates(records)),
    )


# Every problem

KINDS_OF_FILE = ("float", "int8")
THINGS = ("mug", "lamp", "chair", "plant", "book", "clock", "shoe", "ball")


def classification_graphs() -> list[OpGraph]:
    """Networks of the small classification space, the first two by people."""
    space = load_space("mobilenet_edgetpu_v2_small")
    return [heads.classification(space.lower(point), len(THINGS)) for point in _points(space.name)]


def segmentation_graphs() -> list[OpGraph]:
    """The same of the segmentation space."""
    space = load_space("segmentation_small")
    return [
        segmentation(space.lower(point), 4, (128, 128), "argmax_resize")
        for point in _points(space.name)
    ]


def detection_graphs() -> list[OpGraph]:
    """The same of the detection space."""
    space, graphs = load_space("detection_small"), []
    for point in _points(space.name):
        graph = space.lower(point)
        graphs.append(ssd(graph, 3, [3] * len(graph.endpoints)))
    return graphs


def language_graphs(classes: int | None) -> list[OpGraph]:
    """The same of the language space; without classes, answers in a text."""
    space, graphs = load_space("mobilebert_small"), []
    for point in _points(space.name):
        graph = space.lower(point)
        graphs.append(
            language_heads.question_answering(graph)
            if classes is None
            else language_heads.text_classification(graph, classes)
        )
    return graphs


@functools.cache
def _points(name: str) -> list[Architecture]:
    """Two baselines and four random ones."""
    rng = np.random.default_rng(1)
    baselines = list(load_baselines(name).values())[:2]
    return [*baselines, *(sample(load_space(name), rng) for _ in range(4))]


def trained(graphs: Sequence[OpGraph], metric: str, more: Sequence[str]) -> tuple[Finalist, ...]:
    """Finalists of these networks; the first two are baselines."""
    finalists = []
    for seed, graph in enumerate(graphs):
        cost = cost_of(graph, seed)
        score = 0.62 + 0.06 * math.log(1 + 3 * cost.known_latency_ms) + 0.02 * (seed > 1)
        by_kind = {"float": score + 0.006, "ptq": score - 0.05, "int8": score}
        finalists.append(
            Finalist(
                id=f"{seed:012x}",
                name=f"baseline_{'sm'[seed]}" if seed < 2 else f"net_{seed}",
                score_float=by_kind["float"],
                score_ptq=by_kind["ptq"],
                score_int8=by_kind["int8"],
                split="test",
                cost=cost,
                blocks=blocks_of(graph),
                file=f"artifacts/finalists/{seed:012x}/int8.tflite",
                file_bytes=int(1.3 * cost.weight_bytes),
                supernet_score=score - 0.04,
                origin=BASELINE if seed < 2 else "local_search",
                more={
                    kind: {name: value * 0.7 for name in more} for kind, value in by_kind.items()
                },
            )
        )
    return tuple(finalists)


def textured(rng: np.random.Generator, height: int = 96, width: int = 128) -> Any:
    """A soft picture, uint8 [height, width, 3]."""
    coarse = rng.integers(90, 220, (height // 16, width // 16, 3)).astype(np.float32)
    soft = coarse.repeat(16, axis=0).repeat(16, axis=1)
    return np.clip(soft + rng.normal(0, 9, soft.shape), 0, 255).astype(np.uint8)


def scene(rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Discs on a background: picture, mask, boxes and labels (padded)."""
    image, side = textured(rng), (96, 128)
    mask = np.zeros(side, np.uint8)
    boxes, labels = np.zeros((6, 4), np.float32), np.full(6, -1, np.int32)
    rows, columns = np.mgrid[: side[0], : side[1]]
    for n in range(int(rng.integers(2, 6))):
        radius, kind = int(rng.integers(9, 20)), int(rng.integers(3))
        y = int(rng.integers(radius, side[0] - radius))
        x = int(rng.integers(radius, side[1] - radius))
        disc = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        image[disc] = np.clip(
            np.eye(3)[kind] * 120 + 60 + rng.normal(0, 12, (disc.sum(), 3)), 0, 255
        )
        mask[disc] = kind + 1
        edges = np.array([y - radius, x - radius, y + radius, x + radius], np.float32)
        boxes[n], labels[n] = edges / np.array([*side, *side], np.float32), kind
    mask[:3] = 255
    return image, mask, boxes, labels


def picture_samples(amount: int) -> tuple[Sample, ...]:
    """Pictures with a label."""
    rng = np.random.default_rng(2)
    made = []
    for index in range(amount):
        image, _, _, _ = scene(rng)
        truth, wrong = THINGS[index % 8], THINGS[(index + 3) % 8]
        made.append(
            Sample(
                str(index),
                (
                    Panel("truth", label_picture(image[::3, ::4]), note=truth),
                    Panel("float", text=((f"{truth} (93%)", "right"),)),
                    Panel("int8", text=((f"{wrong} (51%)", "wrong"),))
                    if index % 4 == 3
                    else Panel("int8", text=((f"{truth} (88%)", "right"),)),
                ),
            )
        )
    return tuple(made)


def mask_samples(amount: int) -> tuple[Sample, ...]:
    """Pictures with masks; the files are wrong by a few pixels."""
    rng = np.random.default_rng(3)
    classes = ("background", "cytoplasm", "nucleus", "debris")
    made = []
    for index in range(amount):
        image, mask, _, _ = scene(rng)
        panels = [Panel("picture", label_picture(image))]
        panels.append(Panel("truth", paint_mask(image, mask, classes)))
        for shift, kind in enumerate(KINDS_OF_FILE, 2):
            found = np.where(mask == 255, 0, np.roll(mask, shift, axis=1))
            note = f"{(found == mask).mean():.1%} of pixels right"
            panels.append(Panel(kind, paint_mask(image, found, classes), note=note))
        made.append(Sample(str(index), tuple(panels), legend(classes, mask.ravel())))
    return tuple(made)


def box_samples(amount: int) -> tuple[Sample, ...]:
    """Pictures with boxes; the files miss one, and find another."""
    rng = np.random.default_rng(4)
    classes = ("red cell", "white cell", "platelet")
    made = []
    for index in range(amount):
        image, _, boxes, labels = scene(rng)
        panels = [Panel("truth", draw_boxes(image, boxes, labels, None, classes))]
        for kind in KINDS_OF_FILE:
            moved = boxes + rng.normal(0, 0.012, boxes.shape).astype(np.float32)
            seen = np.where(rng.random(6) < 0.15, -1, labels)
            scores = rng.uniform(0.4, 0.99, 6)
            picture = draw_boxes(image, moved, seen, scores, classes)
            panels.append(Panel(kind, picture, note=f"{(seen >= 0).sum()} above 0.3"))
        made.append(Sample(str(index), tuple(panels), legend(classes, labels)))
    return tuple(made)


def sentence_samples(amount: int) -> tuple[Sample, ...]:
    """Sentences with a class."""
    said = "please book a table for {} people near the old harbour on friday evening"
    made = []
    for index in range(amount):
        int8 = ("cancel (41%)", "wrong") if index == 2 else ("book_table (95%)", "right")
        made.append(
            Sample(
                str(index),
                (
                    Panel("truth", text=((said.format(index + 2), ""),), note="book_table"),
                    Panel("float", text=(("book_table (97%)", "right"),)),
                    Panel("int8", text=(int8,)),
                ),
            )
        )
    return tuple(made)


def answer_samples(amount: int) -> tuple[Sample, ...]:
    """Questions with the answer marked in its text."""
    context = (
        "The lighthouse at the northern cape was finished in 1871 by a crew of forty masons. Its "
        "lamp was lit with whale oil until 1904, when the keeper Ada Brandt had it rebuilt for "
        "acetylene. Ships can see it from nineteen miles away."
    )
    asked = (
        ("Who had the lamp rebuilt?", "Ada Brandt", "keeper Ada Brandt", "Ada Brandt"),
        ("When was it finished?", "1871", "1871", "1904"),
        ("From how far can it be seen?", "nineteen miles", "nineteen miles", "nineteen miles"),
    )
    made = []
    for index in range(amount):
        question, truth, *found = asked[index % 3]
        at = context.index(truth)
        first = ((question, "question"), *mark_span(context, at, at + len(truth), "truth"))
        panels = [Panel("truth", text=first, note=truth)]
        for kind, answer in zip(KINDS_OF_FILE, found, strict=True):
            at = context.index(answer)
            mark = "right" if answer == truth else "wrong"
            text = mark_span(context, at, at + len(answer), mark, around=60)
            panels.append(Panel(kind, text=text, note=answer))
        made.append(Sample(str(index), tuple(panels)))
    return tuple(made)


def manifest_of(classes: Sequence[str], counted: str, **more: object) -> dict[str, object]:
    """As the report hands it on."""
    amounts = {"train": 900, "validation": 210, "test": 190}
    return {
        "counts": {
            split: {name: n - 17 * i for i, name in enumerate(classes)} if classes else n
            for split, n in amounts.items()
        },
        "counted": counted,
        "split_rule": "test is 0.2 of train, by class, seed 0",
        "seed": 0,
        **more,
    }


@functools.cache
def report_of(problem: str, amount: int = 60) -> ReportData:
    """A page of one of the five problems."""
    graphs, metric, more, samples, manifest, things = _of(problem)
    finalists = trained(graphs, metric.name, more)
    return dataclasses.replace(
        report(amount, seed=len(problem)),
        title=f"Networks for {problem.replace('_', ' ')}",
        problem=f"{problem.replace('_', ' ')} of made-up data",
        metric=metric,
        finalists=finalists,
        candidates=(
            *candidates_of(amount, seed=len(problem)),
            *(_candidate(one) for one in finalists),
        ),
        manifest=manifest,
        samples=samples,
        things=things,
        chosen=None,
    )


def _candidate(one: Finalist) -> Candidate:
    cost = one.cost
    return Candidate(
        id=one.id,
        architecture={},
        name=one.name if one.is_baseline else None,
        origin=one.origin,
        score=one.supernet_score,
        latency_ms=cost.latency_ms,
        peak_memory_bytes=cost.peak_memory_bytes,
        weight_bytes=cost.weight_bytes,
        macs=cost.macs,
    )


def _of(problem: str) -> Any:
    skipped = {
        "box skipped: of no area": {"count": 23, "names": [f"IMG_{n:04}.jpg" for n in range(20)]},
        "box cut at the edge of its picture": {"count": 2, "names": ["a.jpg", "b.jpg"]},
    }
    if problem == "classification":
        metric = Metric("top1", "top-1 accuracy", "max")
        data = manifest_of(THINGS, "images")
        return classification_graphs(), metric, (), picture_samples(12), data, "pictures"
    if problem == "segmentation":
        metric = Metric("mean_iou", "mean IoU", "max")
        data = manifest_of(("background", "cytoplasm", "nucleus"), "pixels", synthetic=True)
        more = ("pixel_accuracy",)
        return segmentation_graphs(), metric, more, mask_samples(6), data, "pictures"
    if problem == "detection":
        metric = Metric("map50", "mAP at IoU 0.5", "max")
        names = ("red cell", "white cell", "platelet")
        data = manifest_of(names, "boxes", skipped=skipped)
        return detection_graphs(), metric, ("map", "map75"), box_samples(6), data, "pictures"
    if problem == "text_classification":
        metric = Metric("accuracy", "accuracy", "max")
        data = manifest_of([f"intent_{n}" for n in range(40)], "texts")
        return language_graphs(12), metric, (), sentence_samples(6), data, "texts"
    metric = Metric("f1", "F1", "max")
    data = manifest_of((), "texts", synthetic=True, vocabulary_size=812)
    return language_graphs(None), metric, ("exact_match",), answer_samples(5), data, "texts"


PROBLEMS = (
    "classification",
    "segmentation",
    "detection",
    "text_classification",
    "question_answering",
)

if __name__ == "__main__":
    for chosen in PROBLEMS:
        Path(sys.argv[1], f"{chosen}.html").write_text(render(report_of(chosen)), "utf-8")
