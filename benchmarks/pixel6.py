"""The published latencies on Pixel 6 (Tensor G1), and the networks that they are of.

Whole graphs: classifiers with their softmax, segmentation up to labels of 512 pixels in both ways
of the release, detectors with their predictors (and post-processing on the CPU, where a row says
so), MobileBERT with the layer that answers questions. Left out are rows of what is not int8, of a
DeepLab on MobileNet v2 that is none of our spaces, and the detectors of a configuration's header,
which are those of the zoo timed at another checkpoint.

What the rows do not say is assumed: the side of 256 at which fused labels are compared (the
release allows 128, too), COCO's 90 classes and background, three anchors at the finest level and
six at others, as the multiply-accumulates have it, and ten detections, the default of the export:
with a hundred the host would be fifty times as fast as the Cortex-A53 of a Coral board.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.networks import COCO, published
from benchmarks.published import CsvRow, read_csv
from spaces.graph import OpGraph, OpKind
from spaces.heads.language import question_answering
from spaces.heads.segmentation import Finalize, segmentation
from spaces.heads.ssd import ssd
from spaces.menu import load_baselines, load_space

FILE = "pixel6_edgetpu.csv"
SIDE, FUSED_SIDE = 512, 256
ADE20K = 32
"""Classes of the published segmentation networks."""
ANCHORS = (3, 6, 6, 6, 6)
DETECTIONS = 10
POST_PROCESSED = "CPU post-processing"


@dataclass(frozen=True, slots=True)
class Family:
    """Networks of one origin: what is left out together.

    Attributes:
        name: For people; the stem of ``model`` in the rows that are its.
        task: What its networks do.
        make: From the rest of a row's ``model`` and the row, the network.
    """

    name: str
    task: str
    make: Callable[[str, CsvRow], OpGraph]


@dataclass(frozen=True, slots=True)
class PixelRow:
    """One latency.

    Attributes:
        family, task: Names.
        name: Of the network, and what its row says of it.
        graph: What ran.
        latency_ms: Published.
    """

    family: str
    task: str
    name: str
    graph: OpGraph
    latency_ms: float


def _classifier(space: str) -> Callable[[str, CsvRow], OpGraph]:
    return lambda baseline, _: published(space, baseline)


def _segmentation(space: str) -> Callable[[str, CsvRow], OpGraph]:
    def make(words: str, _: CsvRow) -> OpGraph:
        baseline, how = words.split(" ", 1)
        graph = load_space(space).lower(load_baselines(space)[baseline])
        fused = "fused" in how
        finalize: Finalize = "argmax_resize" if fused else "resize_argmax"
        return segmentation(
            graph, ADE20K, (SIDE, SIDE), finalize, argmax_side=FUSED_SIDE if fused else None
        )

    return make


def _detector(baseline: str, row: CsvRow) -> OpGraph:
    name = "spaghettinet_edgetpu"
    graph = ssd(load_space(name).lower(load_baselines(name)[baseline]), COCO, ANCHORS, DETECTIONS)
    if POST_PROCESSED in row["device"]:
        return graph
    kept = [op for op in graph.ops if op.kind is not OpKind.TFLITE_DETECTION_POSTPROCESS]
    return OpGraph(graph.input_shape, tuple(kept))


def _language(baseline: str, _: CsvRow) -> OpGraph:
    name = "mobilebert_edgetpu"
    return question_answering(load_space(name).lower(load_baselines(name)[baseline]))


FAMILIES: Mapping[str, Family] = {
    "mobilenet_edgetpu_v1_": Family(
        "MobileNet-EdgeTPU v1", "classification", _classifier("mobilenet_edgetpu_v1")
    ),
    "mobilenet_edgetpu_v2_": Family(
        "MobileNet-EdgeTPU v2", "classification", _classifier("mobilenet_edgetpu_v2")
    ),
    "deeplabv3plus_mobilenet_edgetpuv2_": Family(
        "DeepLabV3+", "segmentation", _segmentation("deeplab_edgetpu_v2")
    ),
    "autoseg_edgetpu_": Family("Autoseg", "segmentation", _segmentation("autoseg_edgetpu")),
    "spaghettinet_edgetpu_": Family("SpaghettiNet", "detection", _detector),
    "mobilebert_edgetpu_": Family("MobileBERT", "language", _language),
    "mobilebert_": Family("MobileBERT", "language", _language),
}
"""By the beginning of ``model``; the first that fits."""


def rows_of(folder: Path) -> list[PixelRow]:
    """The rows whose network is known, int8 and not told twice."""
    counted = (row for row in read_csv(folder / FILE) if _counts(row))
    return [made for row in counted if (made := _made(row)) is not None]


def _counts(row: CsvRow) -> bool:
    return "float" not in row["precision"] and "config header" not in row["note"]


def _made(row: CsvRow) -> PixelRow | None:
    stem = next((one for one in FAMILIES if row["model"].startswith(one)), None)
    if stem is None:
        return None
    family, rest = FAMILIES[stem], row["model"].removeprefix(stem)
    after = ", post-processed" * (POST_PROCESSED in row["device"])
    return PixelRow(
        family=family.name,
        task=family.task,
        name=f"{family.name} {rest}{after}",
        graph=family.make(rest, row),
        latency_ms=float(row["latency_ms"]),
    )


def families_of(rows: Sequence[PixelRow]) -> tuple[str, ...]:
    """Names in the order of the rows."""
    return tuple(dict.fromkeys(row.family for row in rows))


def tasks_of(rows: Sequence[PixelRow]) -> tuple[str, ...]:
    """Names in the order of the rows."""
    return tuple(dict.fromkeys(row.task for row in rows))
