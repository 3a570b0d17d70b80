"""Networks of all kinds as tables: a row a block, heads where classes are given."""

from __future__ import annotations

import pytest

from spaces.__main__ import main
from spaces.heads.network_table import rows_of, with_head
from spaces.menu import load_baselines, load_problems, load_space, names_in
from spaces.space import SpaceError

MOST_ROWS = 60
"""What fits into a terminal, more or less."""


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main(["show", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", names_in("catalog"))
def test_rows_tell_of_every_op_once_and_fit_a_terminal(name: str) -> None:
    space = load_space(name)
    point = next(iter(load_baselines(name).values()))
    graph = with_head(space.lower(point), load_problems(name)[0], 5)
    rows = list(rows_of(graph, point.values))
    macs, parameters = (sum(int(row[at].replace(",", "")) for row in rows) for at in (4, 5))
    assert (macs, parameters) == (graph.macs, graph.trainable_parameters)
    assert len(rows) <= MOST_ROWS


def test_a_detector_is_shown_with_predictors_and_post_processing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, "spaghettinet_edgetpu", "s", "--classes", "90")
    rows = {line.split()[0]: line.split() for line in lines[2:]}
    places = 20 * 20 + 10 * 10 + 5 * 5 + 3 * 3 + 3 * 3
    assert f"{3 * places}x90" in rows["scores"]
    assert "20x6" in rows["detections"]
    assert "20x20x120" in rows["c0n1/layer3"]


def test_a_transformer_has_a_row_a_block_with_its_decisions(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, "mobilebert_edgetpu", "xs")
    assert lines[0].endswith("input 384 tokens")
    blocks = [line for line in lines if line.startswith("block") and "FULLY" in line]
    assert len(blocks) == 8
    assert "bottleneck 256 ffn/channels 1024 ffn/count 4 heads 4" in blocks[0]
    total = next(line for line in lines if line.startswith("total"))
    assert total.split()[1] == "9,336,520,704"  # published: 9.4 G at 384 tokens
    assert "head of text_classification" in lines[-1]


def test_a_segmentation_network_ends_in_labels_of_the_pictures_size(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = shown(capsys, "autoseg_edgetpu", "s", "--input", "128,256,3", "--classes", "32")
    labels = next(line for line in lines if line.startswith("labels"))
    assert "128x256" in labels.split()
    assert any(line.startswith("bifpn/cell3 ") for line in lines)


@pytest.mark.parametrize("text", ["32,32,3", "0x20", "-4", "²"])
def test_language_networks_read_a_number_of_tokens(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "mobilebert_small", "s", f"--input={text}"]) == 2
    assert "--input must be a number of tokens" in capsys.readouterr().err
    assert shown(capsys, "mobilebert_small", "s", "--input", "32")[0].endswith("32 tokens")


def test_a_head_that_is_not_known_here_is_refused() -> None:
    graph = load_space("mobilebert_small").lower(load_baselines("mobilebert_small")["s"])
    with pytest.raises(SpaceError, match=r"a space of classification, .*of depth"):
        with_head(graph, "depth", 3)


def test_list_says_what_each_space_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    for line in capsys.readouterr().out.splitlines()[1:]:
        for problem in load_problems(line.split()[0]):
            assert f" {problem} " in line
