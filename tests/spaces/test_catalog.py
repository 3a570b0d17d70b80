"""The published networks are points of our spaces, to the last parameter."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spaces.families.ibn.space import IbnSpace
from spaces.graph import OpGraph, OpKind
from spaces.heads.classification import classification
from spaces.heads.segmentation import segmentation
from spaces.heads.ssd import ssd
from spaces.menu import load_baselines, load_input_shapes, load_space
from spaces.walk import prune, sample

_GOLDENS = Path(__file__).parents[1] / "golden" / "counts.csv"


def _goldens() -> list[dict[str, str]]:
    with _GOLDENS.open(newline="") as file:
        return list(csv.DictReader(file))


_HEADS: dict[str, Callable[[OpGraph], OpGraph]] = {
    "": lambda backbone: classification(backbone, 1001),
    "none": lambda backbone: backbone,
    # COCO's 90 classes and background; 3 anchors on the finest level, 6 on others
    "ssd": lambda backbone: ssd(backbone, 91, (3, *[6] * (len(backbone.endpoints) - 1))),
    "segmentation_32": lambda backbone: segmentation(backbone, 32, (512, 512), "none"),
    "segmentation_151": lambda backbone: segmentation(backbone, 151, (512, 512), "none"),
}


def _network(space_name: str, baseline: str, head: str | None = None) -> OpGraph:
    space = load_space(space_name)
    shape = load_input_shapes(space_name).get(baseline)
    space = space.for_input(shape) if shape else space
    return _HEADS[head or ""](space.lower(load_baselines(space_name)[baseline]))


@pytest.mark.parametrize(
    "golden", _goldens(), ids=lambda g: f"{g['space']}-{g['baseline']}-{g['head']}"
)
def test_counts_of_published_networks_match(golden: dict[str, str]) -> None:
    graph = _network(golden["space"], golden["baseline"], golden["head"])
    assert graph.trainable_parameters == int(golden["trainable_parameters"])
    if golden["total_parameters"]:
        assert graph.total_parameters == int(golden["total_parameters"])
    if golden["macs"]:
        assert graph.macs == int(golden["macs"])


def test_every_golden_is_labelled_and_sourced() -> None:
    for golden in _goldens():
        assert golden["kind"] in {"derived", "published", "frozen"}
        assert golden["source"]


@pytest.mark.parametrize(
    ("width", "macs_m"), [(0.35, 59), (0.5, 97), (0.75, 209), (1.0, 300), (1.3, 509), (1.4, 582)]
)
def test_macs_of_mobilenet_v2_match_the_published_millions(width: float, macs_m: int) -> None:
    # published: tensorflow.org, tf.keras.applications.mobilenet_v2; cut to whole millions there
    graph = _network("mobilenet_v2", f"w{width}")
    assert graph.macs / 1e6 == pytest.approx(macs_m, abs=1)


@pytest.mark.parametrize(("width", "macs_m"), [("dm0.75", 624), ("dm1", 990)])
def test_macs_of_mobilenet_edgetpu_v1_match_the_published_millions(
    width: str, macs_m: int
) -> None:
    # published: tensorflow/models, official/projects/edgetpu/vision/README.md
    assert _network("mobilenet_edgetpu_v1", width).macs / 1e6 == pytest.approx(macs_m, rel=0.005)


@pytest.mark.parametrize(
    ("baseline", "millions", "gmacs", "paper"),
    [
        ("conv_s", 3.77, 0.2, (3.8, 0.2)),
        ("conv_m", 9.72, 1.1, (9.2, 1.0)),
        ("conv_l", 32.59, 6.4, (31, 5.9)),
    ],
)
def test_sizes_of_mobilenet_v4_match_the_published(
    baseline: str, millions: float, gmacs: float, paper: tuple[float, float]
) -> None:
    """Published: tables and model cards of timm, 1000 classes; beside them the paper's."""
    space, name = load_space("mobilenet_v4"), "mobilenet_v4"
    space = space.for_input(load_input_shapes(name).get(baseline, space.input_shape))
    graph = classification(space.lower(load_baselines(name)[baseline]), 1000)
    assert round(graph.trainable_parameters / 1e6, 2) == millions
    assert round(graph.macs / 1e9, 1) == gmacs
    sizes = (graph.trainable_parameters / 1e6, graph.macs / 1e9)
    assert sizes == pytest.approx(paper, rel=0.085)


def test_blocks_of_mobilenet_v4_are_those_of_the_release() -> None:
    """Published: the comments of the release's table beside each block of Conv-S; counts of M."""
    ops = load_baselines("mobilenet_v4")["conv_s"].values
    names = [value for name, value in ops.items() if name.startswith("stage4/") and "op" in name]
    assert names == ["ibn_extra_dw"] * 2 + ["ibn_dw"] * 4 + ["skip"]
    graph = _network("mobilenet_v4", "conv_m")
    starts = [op for op in graph.ops if op.name.endswith("/start_depthwise")]
    middles = [op for op in graph.ops if op.name.endswith("/depthwise")]
    assert (len(starts), len(middles)) == (17, 13)
    assert {op.activation for op in starts} == {"none"}
    assert {op.strides for op in starts} == {(1, 1)}
    # The fused block and the first one of each later stage.
    assert [op.name for op in graph.ops if op.strides == (2, 2)] == [
        "stem", "stage1/block0/expand", *(f"stage{n}/block0/depthwise" for n in (2, 3, 4))
    ]  # fmt: skip
    assert [op.output_shape for op in graph.ops[-5:-2]] == [
        (1, 1, 1, 960), (1, 1, 1, 1280), (1, 1280)
    ]  # fmt: skip


def test_blocks_of_released_small_network_match_the_release() -> None:
    # derived from the release: group convolutions stand at 1.1 (3 groups), 2.1 and 2.3 (4 groups)
    graph = _network("mobilenet_edgetpu_v2", "s")
    grouped = {op.name: op.groups for op in graph.ops if op.groups > 1}
    assert grouped == {
        "stage2/block1/expand": 3,
        "stage3/block1/expand": 4,
        "stage3/block3/expand": 4,
    }


def test_first_released_block_is_a_projection_alone() -> None:
    graph = _network("mobilenet_edgetpu_v2", "tiny")
    names = [op.name for op in graph.ops if op.name.startswith("stage1/")]
    assert names == ["stage1/block0/project"]
    assert "stage1/block0/kernel" not in load_baselines("mobilenet_edgetpu_v2")["tiny"].values


@pytest.mark.parametrize("stage", range(1, 8))
@pytest.mark.parametrize("op", ["ibn_dw", "ibn_fused", "ibn_grouped", "ibn_fused_grouped"])
def test_every_op_is_offered_at_every_stage(stage: int, op: str) -> None:
    space = load_space("mobilenet_edgetpu_v2")
    pattern = f"stage{stage}/block0/op"
    chosen = prune(space, {pattern: op, "stem/channels": 64})
    assert space.lower(chosen).op(f"stage{stage}/block0/project")


def test_released_residual_switched_off_in_v1_stays_off() -> None:
    graph = _network("mobilenet_edgetpu_v1", "dm1")
    assert not [op for op in graph.ops if op.name == "stage5/block0/add"]
    assert graph.op("stage5/block1/add").kind is OpKind.ADD


def test_reference_family_is_depthwise_only() -> None:
    space = load_space("mobilenet_v2")
    rng = np.random.default_rng(0)
    for _ in range(20):
        graph = space.lower(sample(space, rng))
        dense = [op for op in graph.ops if op.kind is OpKind.CONV_2D and op.kernel_size > (1, 1)]
        assert [op.name for op in dense] == ["stem"]
        assert {op.activation for op in graph.ops} == {"relu6", "none"}


def test_small_reference_family_keeps_resolution_twice() -> None:
    space = load_space("mobilenet_v2_small")
    graph = space.lower(load_baselines("mobilenet_v2_small")["w0.25"])
    assert graph.input_shape == (1, 32, 32, 3)
    assert graph.output.output_shape == (1, 4, 4, 1280)


@pytest.mark.parametrize("size", [224, 240, 300])
def test_endpoints_are_five_levels_at_every_input_size(size: int) -> None:
    space = load_space("efficientnet_edgetpu").for_input((1, size, size, 3))
    assert isinstance(space, IbnSpace)
    graph = space.lower(load_baselines("efficientnet_edgetpu")["s"])
    assert [level for level, _ in graph.endpoints] == ["C1", "C2", "C3", "C4", "C5"]
