"""Spaces of language networks: lengths, vocabularies, and how large shared weights become."""

from __future__ import annotations

import numpy as np
import pytest

from spaces.families.language.space import SEQUENCE, LanguageSpace
from spaces.graph import ShapeError
from spaces.menu import load_baselines, load_space, load_trainable
from spaces.walk import architecture, prune, sample, step

SPACES = ["mobilebert_edgetpu", "mobilebert_small"]


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> LanguageSpace:
    loaded = load_space(request.param)
    assert isinstance(loaded, LanguageSpace)
    return loaded


# published: "# Ops" in official/projects/edgetpu/nlp/README.md of tensorflow/models, and derived
# from its experiments/*.yaml: weights of all matrices and tables, with 512 positions
RELEASED = {
    "baseline": (24_420_608, 8_682_209_280),
    "m": (50_766_080, 18_798_870_528),
    "s": (38_183_168, 13_967_032_320),
    "xs": (26_910_976, 9_336_520_704),
    "xxs": (9_380_096, 2_227_175_424),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_networks_have_their_weights_and_macs(name: str) -> None:
    space, baseline = load_space("mobilebert_edgetpu"), load_baselines("mobilebert_edgetpu")[name]
    weights, macs = RELEASED[name]
    graph = space.lower(baseline)
    assert (graph.input_shape, graph.macs) == ((1, 384), macs)
    whole = space.for_input((1, 512)).lower(baseline)  # the release keeps all 512 positions
    assert sum(op.weights for op in whole.ops if len(op.constant) != 1) == weights


@pytest.mark.parametrize(("name", "millions"), [("m", 50.9), ("s", 38.3), ("xs", 27.1)])
def test_released_networks_have_the_published_parameters(name: str, millions: float) -> None:
    # published: the README of the release, in millions
    space = load_space("mobilebert_edgetpu").for_input((1, 512))
    graph = space.lower(load_baselines("mobilebert_edgetpu")[name])
    assert graph.trainable_parameters / 1e6 == pytest.approx(millions, rel=0.005)


def test_sequence_is_a_share_of_the_longest_one(space: LanguageSpace) -> None:
    longest = space.for_input((1, 50))
    lengths = {
        percent: longest.lower(prune(longest, {SEQUENCE: percent})).input_shape
        for percent in (50, 75, 100)
    }
    # derived: 25 and 37.5, rounded up to a multiple of 8; the whole is not rounded
    assert lengths == {50: (1, 32), 75: (1, 40), 100: (1, 50)}


def test_shares_that_come_to_one_length_are_one_architecture() -> None:
    space = load_space("mobilebert_edgetpu").for_input((1, 12))
    choice = space.choices[0]
    # derived: 25 % and 50 % are 8 tokens, 75 % and 100 % all 12
    assert (choice.name, space.domain(choice, {})) == (SEQUENCE, (50, 100))


@pytest.mark.parametrize("longest", [1, 8, 9, 32, 100, 513])
def test_baselines_are_legal_at_every_length(space: LanguageSpace, longest: int) -> None:
    sized = space.for_input((1, longest))
    for one in load_baselines(space.name).values():
        assert sized.lower(architecture(sized, one.values)).input_shape == (1, longest)


def test_types_are_asked_for_where_there_are_any(space: LanguageSpace) -> None:
    shapes = {}
    for types in (0, 2):
        sized = space.for_input((1, 16)).for_vocabulary(77, types)
        graph = sized.lower(sized.largest())
        assert graph.op("embedding/token").constant == (77, space.embedding)
        shapes[types] = dict(graph.inputs)
    assert shapes[0] == {"input": (1, 16), "mask": (1, 1, 1, 16)}
    assert shapes[2] == shapes[0] | {"types": (1, 16)}


@pytest.mark.parametrize("shape", [(1, 32, 32, 3), (1,), (2, 16), (1, 0)])
def test_input_must_be_a_sequence(space: LanguageSpace, shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=rf"{space.name}: input_shape must be \(1, T\), but got"):
        space.for_input(shape)


@pytest.mark.parametrize(("rows", "types"), [(0, 0), (100, 1), (100, -2)])
def test_vocabulary_must_have_rows(space: LanguageSpace, rows: int, types: int) -> None:
    with pytest.raises(ShapeError, match=rf"rows={rows}, types={types}"):
        space.for_vocabulary(rows, types)


def test_blocks_that_are_left_out_have_nothing_to_decide(space: LanguageSpace) -> None:
    smallest, largest = space.smallest().values, space.largest().values
    counts = (min(space.block_counts), max(space.block_counts))
    for values, count in zip((smallest, largest), counts, strict=True):
        named = {name.partition("/")[0] for name in values if name.startswith("block")}
        assert named - {"blocks"} == {f"block{number}" for number in range(count)}


def test_shorter_networks_are_the_beginning_of_longer_ones(space: LanguageSpace) -> None:
    longer = space.largest()
    shorter = step(space, longer, "blocks", min(space.block_counts))
    names = [[op.name for op in space.lower(one).ops] for one in (shorter, longer)]
    last = f"block{min(space.block_counts) - 1}/add"
    until = [one[: one.index(last) + 1] for one in names]
    assert until[0] == until[1]


def test_heads_change_neither_weights_nor_macs(space: LanguageSpace) -> None:
    graphs = [
        space.lower(step(space, space.largest(), "block0/heads", heads))
        for heads in (min(space.head_counts), max(space.head_counts))
    ]
    assert len({graph.macs for graph in graphs}) == 1
    assert len({graph.trainable_parameters for graph in graphs}) == 1


def test_small_space_is_trainable_on_two_cores() -> None:
    space = load_trainable("mobilebert_small").for_input((1, 32))
    graph = space.lower(space.largest())
    assert graph.macs / 32 < 0.5e6  # a token


def test_smallest_and_largest_bound_the_costs(space: LanguageSpace) -> None:
    rng = np.random.default_rng(0)
    bounds = [space.lower(one).macs for one in (space.smallest(), space.largest())]
    for _ in range(20):
        assert bounds[0] <= space.lower(sample(space, rng)).macs <= bounds[1]
