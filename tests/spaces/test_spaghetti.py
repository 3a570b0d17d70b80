"""Nodes, edges between resolutions, and the detection spaces made of them."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from spaces.families.blocks import IBN_DW, IBN_FUSED_GROUPED, SKIP
from spaces.families.spaghetti.layers import SEPARABLE, LayerChoices
from spaces.families.spaghetti.space import Node, SpaghettiSpace
from spaces.graph import INPUT, Op, OpGraph, OpKind, ShapeError
from spaces.heads.ssd import ssd
from spaces.menu import load_baselines, load_space
from spaces.size import count_upper_bound
from spaces.space import SpaceError
from spaces.walk import architecture, prune, sample

REFERENCE = Path(__file__).parents[2].parent / "shared" / "reference"
NAMES = ("spaghettinet_edgetpu", "mobiledet_edgetpu", "detection_small", "detection_small_fine")
_IBN = LayerChoices((IBN_DW,), residual=False)


def _space(name: str) -> SpaghettiSpace:
    space = load_space(name)
    assert isinstance(space, SpaghettiSpace)
    return space


@pytest.fixture(params=NAMES)
def space(request: pytest.FixtureRequest) -> SpaghettiSpace:
    return _space(request.param)


def _tiny(*nodes: Node, outputs: tuple[str, ...] = ("top",)) -> SpaghettiSpace:
    return SpaghettiSpace("tiny", (1, 65, 40, 3), (8,), (3,), nodes, outputs)


def _chain(name: str, level: int, before: str, *layers: LayerChoices) -> Node:
    return Node(name, (level,), (16,), layers or (_IBN,), (before,))


def _top(level: int, inputs: str, *levels: int) -> Node:
    return Node("top", (level, *levels), (24,), (), (inputs,), resamples=True)


def _graph(space: SpaghettiSpace) -> OpGraph:
    return space.lower(prune(space, {}))


def _part(graph: OpGraph, prefix: str) -> list[tuple[str, OpKind, tuple[int, ...]]]:
    return [
        (op.name.removeprefix(prefix), op.kind, op.output_shape[1:])
        for op in graph.ops
        if op.name.startswith(prefix)
    ]


def test_finer_inputs_are_pooled_and_coarser_ones_enlarged_and_cropped() -> None:
    # derived: 65 x 40 -> 33 x 20 -> 17 x 10 -> 9 x 5 -> 5 x 3
    nodes = (_chain("n2", 2, "stem"), _chain("n3", 3, "n2"), _chain("n4", 4, "n3"))
    graph = _graph(_tiny(*nodes, _top(3, "stem+n3+n4")))
    assert _part(graph, "top/from_stem/") == [
        ("pool", OpKind.MAX_POOL_2D, (9, 5, 8)),
        ("conv", OpKind.CONV_2D, (9, 5, 24)),
    ]
    assert _part(graph, "top/from_n3/") == [("conv", OpKind.CONV_2D, (9, 5, 24))]
    assert _part(graph, "top/from_n4/") == [
        ("conv", OpKind.CONV_2D, (5, 3, 24)),
        ("resize", OpKind.RESIZE_NEAREST_NEIGHBOR, (10, 6, 24)),
        ("crop", OpKind.SLICE, (9, 5, 24)),
    ]
    pool = graph.op("top/from_stem/pool")
    assert (pool.kernel_size, pool.strides) == ((5, 5), (4, 4))  # as released: ratio + 1
    sums = [op for op in graph.ops if op.kind is OpKind.ADD]
    assert [(op.name, len(op.inputs), op.activation) for op in sums] == [
        ("top/sum1", 2, "none"),
        ("top/sum2", 2, "relu6"),
    ]
    assert graph.endpoints == (("P1", "top/sum2"),)


def test_nothing_is_cropped_where_sizes_fit() -> None:
    graph = _space("spaghettinet_edgetpu").lower(load_baselines("spaghettinet_edgetpu")["s"])
    crops = [op.name for op in graph.ops if op.kind is OpKind.SLICE]
    assert crops == ["c0n3/from_n5/crop"]  # 3 -> 6 -> 5; others are 5 -> 10 -> 20


@pytest.mark.parametrize("size", [(64, 64), (100, 77), (320, 192)])
def test_levels_have_the_size_of_their_stride_at_every_input(
    space: SpaghettiSpace, size: tuple[int, int]
) -> None:
    sized = space.for_input((1, *size, 3))
    levels = {node.name: node.levels[0] for node in space.nodes}
    for one in (sized.smallest(), sized.largest()):
        graph = sized.lower(one)
        assert [level for level, _ in graph.endpoints] == [
            f"P{number}" for number in range(1, len(space.outputs) + 1)
        ]
        for (_, op), name in zip(graph.endpoints, space.outputs, strict=True):
            strides = 2 ** levels[name]
            assert graph.op(op).output_shape[1:3] == tuple(-(-side // strides) for side in size)


def test_expansion_multiplies_output_channels_where_the_release_does() -> None:
    released = _space("spaghettinet_edgetpu").lower(load_baselines("spaghettinet_edgetpu")["s"])
    assert released.op("n2/layer0/expand").out_channels == 8 * 72  # ibn: of the node's width
    assert released.op("n1/layer0/expand").out_channels == 4 * 48  # fused grouped: of the input's
    mobiledet = _space("mobiledet_edgetpu").lower(load_baselines("mobiledet_edgetpu")["edgetpu"])
    assert mobiledet.op("stage4/layer0/expand").out_channels == 8 * 40


def test_separable_layers_have_no_activation_or_normalisation_between() -> None:
    graph = _space("spaghettinet_edgetpu").lower(load_baselines("spaghettinet_edgetpu")["s"])
    depthwise, pointwise = graph.op("n4/layer1/depthwise"), graph.op("n4/layer1/pointwise")
    assert (depthwise.activation, depthwise.batch_norm, depthwise.use_bias) == ("none", 0, 0)
    assert (pointwise.activation, pointwise.batch_norm) == ("relu6", True)
    assert graph.op("n4/layer1/add").inputs == ("n4/layer1/pointwise", "n4/layer0/project")


def _published(row: dict[str, str]) -> tuple[str, object]:
    """A row of the node table as this project names it."""
    ops = {"IbnOp": IBN_DW, "IbnFusedGrouped": IBN_FUSED_GROUPED, "SepConvOp": SEPARABLE}
    values = (ops[row["op"]], row["kernel"], row["expansion"], row["groups"])
    return f"{row['node']}/layer{row['layer_index']}", (*values, row["channels"])


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the reference tables")
@pytest.mark.parametrize("size", "sml")
def test_released_nodes_are_those_of_the_table(size: str) -> None:
    with (REFERENCE / "spaghettinet_edgetpu_nodes.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model"].endswith(f"_{size}")]
    wanted = dict(_published(row) for row in rows if row["op"] != "stem_conv")
    values = load_baselines("spaghettinet_edgetpu")[size].values
    made = {}
    for name, op in values.items():
        layer = name.removesuffix("/op")
        if layer != name and op != SKIP:
            parts = (
                values.get(f"{layer}/{part}", "") for part in ("kernel", "expansion", "groups")
            )
            width = values[f"{layer.partition('/')[0]}/channels"]
            made[layer] = (op, *map(str, parts), str(width))
    assert made == wanted
    graph = _space("spaghettinet_edgetpu").lower(load_baselines("spaghettinet_edgetpu")[size])
    added = {op.name.removesuffix("/add") for op in graph.ops if op.name.endswith("/add")}
    stated = {
        f"{row['node']}/layer{row['layer_index']}" for row in rows if row["residual"] == "yes"
    }
    assert added == stated


@pytest.mark.skipif(not REFERENCE.exists(), reason="needs the reference tables")
def test_mobiledet_is_its_table() -> None:
    with (REFERENCE / "mobiledet_edgetpu_blocks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[1:]  # without the stem
    graph = _space("mobiledet_edgetpu").lower(load_baselines("mobiledet_edgetpu")["edgetpu"])
    layers: dict[str, list[Op]] = defaultdict(list)
    for op in graph.ops:
        if op.name.startswith("stage"):
            layers[op.name.rpartition("/")[0]].append(op)
    for row, ops in zip(rows, layers.values(), strict=True):
        last = next(op for op in ops if op.name.endswith("/project"))
        assert (last.variant, last.out_channels) == (row["op"], int(row["out_channels"]))
        assert max(op.kernel_size[0] for op in ops) == int(row["kernel"])
        assert max(op.strides[0] for op in ops) == int(row["stride"])
        assert (ops[-1].kind is OpKind.ADD) == (row["residual"] == "True")
        if row["expand_ratio"]:
            ratio = ops[0].out_channels / ops[0].in_channels
            assert ratio == float(row["expand_ratio"])


def test_mobiledet_has_the_published_counts() -> None:
    # published: header of ssdlite_mobiledet_edgetpu_320x320_coco_sync_4x4.config in
    # tensorflow/models: 1.53B MulAdds, 4.20M Parameters
    backbone = _space("mobiledet_edgetpu").lower(load_baselines("mobiledet_edgetpu")["edgetpu"])
    whole = ssd(backbone, 91, (3, 6, 6, 6, 6, 6))
    assert round(whole.macs / 1e9, 2) == 1.53
    assert round(whole.total_parameters / 1e6, 2) == 4.20


def test_tucker_compresses_both_ways_to_multiples_of_8() -> None:
    graph = _space("mobiledet_edgetpu").lower(load_baselines("mobiledet_edgetpu")["edgetpu"])
    # derived: 0.25 * 32 = 8; 0.75 * 16 = 12, half of 8 rounds up
    assert _part(graph, "stage1/layer0/") == [
        ("compress", OpKind.CONV_2D, (160, 160, 8)),
        ("core", OpKind.CONV_2D, (160, 160, 16)),
        ("project", OpKind.CONV_2D, (160, 160, 16)),
    ]


def test_ratios_of_equal_effect_are_one_choice() -> None:
    space = _space("mobiledet_edgetpu")
    narrow = prune(
        space, {"stage1/layer0/op": "tucker", "stage1/channels": 8, "stem/channels": 16}
    )
    choice = next(one for one in space.choices if one.name == "stage1/layer0/output_ratio")
    assert space.domain(choice, narrow.values) == (0.25,)  # 8 channels have no smaller core
    assert choice.values == (0.25, 0.75)


def test_groups_are_offered_where_they_divide() -> None:
    space = _space("spaghettinet_edgetpu")
    choice = next(one for one in space.choices if one.name == "n1/layer0/groups")
    for channels, groups in ((48, (3, 4)), (40, (4,))):
        one = prune(space, {"n0/channels": channels, "n1/layer0/op": IBN_FUSED_GROUPED})
        assert space.domain(choice, one.values) == groups


def test_levels_and_inputs_of_head_nodes_are_choices() -> None:
    space = _space("spaghettinet_edgetpu")
    values = load_baselines("spaghettinet_edgetpu")["s"].values
    finer = architecture(space, {**values, "c0n0/level": 4, "c0n3/inputs": "n4+c0n0"})
    graph = space.lower(finer)
    assert graph.op("c0n0/sum1").output_shape == (1, 20, 20, 144)
    assert graph.op("c0n3/sum1").inputs == ("c0n3/from_n4/conv", "c0n3/from_c0n0/conv")
    assert [op.kind for op in graph.ops if op.name.startswith("c0n1/from_c0n0/")] == [
        OpKind.CONV_2D  # no longer enlarged
    ]


def _sizes(graph: OpGraph) -> dict[str, tuple[int, ...]]:
    """Window, input channels of a group, and output channels, by what shares weights."""
    return {
        f"{op.name}:{op.variant}": (*op.kernel_size, op.in_channels // op.groups, op.out_channels)
        for op in graph.ops
        if op.weights
    }


def test_no_architecture_has_a_weight_beyond_the_extremes(space: SpaghettiSpace) -> None:
    most: dict[str, tuple[int, ...]] = {}
    for one in space.extremes():
        for name, size in _sizes(space.lower(one)).items():
            most[name] = tuple(map(max, size, most.get(name, size)))
    rng = np.random.default_rng(0)
    for _ in range(200):
        for name, size in _sizes(space.lower(sample(space, rng))).items():
            assert all(have <= limit for have, limit in zip(size, most[name], strict=True)), name


def test_largest_and_smallest_bound_the_space(space: SpaghettiSpace) -> None:
    least, most = (space.lower(one).macs for one in (space.smallest(), space.largest()))
    rng = np.random.default_rng(0)
    assert all(least < space.lower(sample(space, rng)).macs < most for _ in range(50))


@pytest.mark.parametrize("name", ["detection_small", "detection_small_fine"])
def test_small_spaces_can_be_trained_on_two_cores(name: str) -> None:
    space = _space(name)
    assert space.input_shape == (1, 192, 256, 3)
    least, most = (space.lower(one).macs / 1e6 for one in (space.smallest(), space.largest()))
    assert least < 20 < 150 < most < 250
    macs = {key: space.lower(one).macs / 1e6 for key, one in load_baselines(name).items()}
    for family in ("spaghetti", "depthwise"):
        sizes = [macs[f"{family}_{size}"] for size in ("xs", "s", "m", "l")]
        assert sizes == sorted(sizes)
        assert least < sizes[0] < sizes[-1] < most
    assert count_upper_bound(space) > 1e20


def test_depthwise_family_is_all_depthwise() -> None:
    space = _space("detection_small")
    for name, one in load_baselines("detection_small").items():
        ops = {str(value) for key, value in one.values.items() if key.endswith("/op")} - {SKIP}
        assert (ops == {IBN_DW}) == name.startswith("depthwise")
        assert space.lower(one).op("stem").inputs == (INPUT,)


def test_skipped_head_layers_leave_the_sum() -> None:
    name = "detection_small_fine"
    graph = _space(name).lower(load_baselines(name)["spaghetti_xs"])
    assert graph.endpoint("P1").name == "h0/sum1"


def test_finest_level_is_all_that_the_finer_space_adds() -> None:
    coarse, fine = _space("detection_small"), _space("detection_small_fine")
    for name, one in load_baselines("detection_small").items():
        graph = fine.lower(load_baselines("detection_small_fine")[name])
        kept = tuple(op for op in graph.ops if not op.name.startswith("h0/"))
        assert kept == coarse.lower(one).ops
        assert graph.endpoint("P1").output_shape[1:3] == (48, 64)


def test_every_layer_that_may_be_skipped_has_a_residual(space: SpaghettiSpace) -> None:
    for one in (space.largest(), *load_baselines(space.name).values()):
        graph = space.lower(one)
        names = {op.name for op in graph.ops}
        for node in space.nodes:
            for index, layer in enumerate(node.layers):
                place = f"{node.name}/layer{index}"
                if SKIP in layer.ops and one.values.get(f"{place}/op", SKIP) != SKIP:
                    assert f"{place}/add" in names


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ((_top(2, "stem+n9"),), r"top: inputs must be nodes before it, but got 'n9'"),
        ((_chain("top", 3, "stem"),), r"top: .* must read one node of its level or the level"),
        (
            (_chain("top", 2, "stem", LayerChoices((SKIP, IBN_DW))),),
            r"top: .* must not skip its first layer",
        ),
        (
            (_chain("n0", 2, "stem"), _top(1, "stem")),
            r"n0: a node must be an output, or be read by some node",
        ),
        ((_top(1, "stem", 2),), r"outputs must be nodes of one level, but got 'top'"),
    ],
)
def test_nodes_that_cannot_be_built_are_refused(nodes: tuple[Node, ...], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        _tiny(*nodes)


def test_input_of_another_rank_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"input_shape must be \(1, H, W, C\), but got \(1, 64\)"):
        _space("detection_small").for_input((1, 64))
