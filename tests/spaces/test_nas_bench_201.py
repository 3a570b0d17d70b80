"""The public space, by what its authors publish of it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from spaces.catalog.nas_bench_201 import BASELINES, SPACE, parse
from spaces.heads.classification import classification
from spaces.size import count_upper_bound
from spaces.space import SpaceError

TABLE = Path(__file__).parents[2].parent / "shared" / "measurements" / "nas_bench_201.csv"
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


def test_size_is_the_published_one() -> None:
    assert count_upper_bound(SPACE) == 15_625


def test_counts_of_the_largest_network_are_the_published_ones() -> None:
    # published: 220.12 million MACs and 1.531546 million parameters, ten classes
    graph = classification(SPACE.lower(BASELINES["all_conv_3x3"]), 10)
    assert round(graph.macs / 1e6, 2) == 220.12
    assert graph.trainable_parameters == 1_531_546


def test_usual_strings_are_read() -> None:
    assert parse(RESNET) == BASELINES["resnet"]
    assert parse(f"{RESNET}\n") == BASELINES["resnet"]
    assert parse("resnet") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("|", "must be written as"),
        ("|nor_conv_3x3~0|", "must be written as"),
        (RESNET.replace("~2", "~1"), "must be written as"),
        (RESNET.replace("~2", "~x"), "must be written as"),
        (f"{RESNET}+|none~0|", "must be written as"),
        (RESNET.replace("skip_connect~2", "none~2|none~2"), "must be written as"),
    ],
)
def test_what_is_no_cell_is_refused(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        parse(text)


def test_operations_that_do_not_exist_are_refused_when_lowered() -> None:
    unknown = parse(RESNET.replace("none~0", "nor_conv_5x5~0"))
    assert unknown is not None
    with pytest.raises(SpaceError, match="edge0-2 must be one of none, skip_connect"):
        SPACE.lower_many([unknown])


@pytest.mark.skipif(not TABLE.is_file(), reason="measurements are not at hand")
def test_measured_cells_are_read() -> None:
    with TABLE.open() as file:
        texts = [row["architecture"] for row in csv.DictReader(file)]
    cells = [parse(text) for text in texts]
    assert None not in cells
    assert len(set(cells)) == len(set(texts))
