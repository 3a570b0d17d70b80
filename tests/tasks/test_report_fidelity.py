"""What the page shows of the gate, the rungs and the linear floor."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.candidates.judgement import Fidelity
from tasks.report import Gate, ReportData, gate_of, render, rungs_of
from tasks.report.scatter import MARKS, draw_pairs, ticks
from tasks.write_report import _fidelity_notes
from tests.tasks.made_up_reports import as_candidates, fidelity_files, report
from tests.tasks.test_report_page import Page

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


def part(page: str, name: str) -> str:
    """The block of that id in the section on fidelity; empty where there is none."""
    section = page.partition('<section id="fidelity"')[2].partition("</section>")[0]
    after = section.partition(f'<div id="{name}">')[2]
    return after.partition('<div id="rungs">')[0]


def with_files(found: dict[str, Any], records: list[dict[str, Any]]) -> ReportData:
    return dataclasses.replace(
        report(),
        gate=gate_of(Fidelity.of(found), as_candidates(records)),
        rungs=rungs_of(Fidelity.of(found), as_candidates(records)),
    )


def marks(svg: str) -> list[tuple[str, str, float, float, str]]:
    """Class, shape, place and words of each mark of a drawing."""
    pattern = (
        r'<path class="mark (\S+)" d="([^"]+)" transform="translate\((\S+) (\S+)\)">'
        r"<title>([^<]+)"
    )
    return [(c, d, float(x), float(y), t) for c, d, x, y, t in re.findall(pattern, svg)]


def gate(count: int = 8) -> Gate:
    found, records = fidelity_files(count)
    made = gate_of(Fidelity.of(found), as_candidates(records))
    assert made is not None
    return made


def test_every_kind_of_op_has_a_mark_and_a_colour_of_its_own() -> None:
    data = with_files(*fidelity_files(8))
    found = marks(part(render(data), "gate"))
    assert len(found) == 8
    looks = {(colour, shape) for colour, shape, *_ in found}
    assert len(looks) == len({c for c, _ in looks}) == len({s for _, s in looks}) == len(MARKS)
    assert "depthwise_0, depthwise: " in found[0][4]


def test_marks_stand_where_their_scores_say() -> None:
    pairs = gate().pairs
    found = marks(draw_pairs(pairs, "", "x", "y"))
    order_x = sorted(range(8), key=lambda i: pairs[i].before)
    order_y = sorted(range(8), key=lambda i: -pairs[i].after)
    assert sorted(range(8), key=lambda i: found[i][2]) == order_x
    assert sorted(range(8), key=lambda i: found[i][3]) == order_y


def test_figures_of_the_gate_are_beside_it() -> None:
    text = Page(part(render(with_files(*fidelity_files(8))), "gate")).text
    for words in (
        "Shared weights are not believed : MACs alone order them as well",
        "0.21 (\u22120.36 to 0.71)",
        "tau of MACs alone 0.36",
        "ceiling: tau of a perfect score 0.92",
        "bias, fused (3 networks) +17.0 \u00b1 3.0 points",
    ):
        assert words in text


def test_without_a_supernet_there_is_no_gate_and_no_empty_frame() -> None:
    found, records = fidelity_files(0, promoted=())
    page = render(with_files(found, records))
    assert gate_of(Fidelity.of(found), as_candidates(records)) is None
    assert part(page, "gate") == part(page, "rungs") == ""
    assert "pairs-plot" not in page.partition("</style>")[2]


def test_a_gate_that_could_train_too_few_says_so_without_a_picture() -> None:
    found, records = fidelity_files(0)
    found["gate"] = {"networks": 2, "passed": False, "reasons": ["too few (2)"], "points": []}
    block = part(render(with_files(found, records)), "gate")
    assert "too few (2)" in block
    assert "<svg" not in block and "Kendall" not in block


def test_unknown_scores_are_left_out() -> None:
    found, records = fidelity_files(8, promoted=(6,))
    found["gate"]["points"][0]["score"] = None
    found["gate"]["points"][1]["trained"] = float("nan")
    records[2]["top1"] = None
    records[3]["lower_rungs"] = [float("inf")]
    data = with_files(found, records)
    assert data.gate is not None
    ids = [record["id"] for record in records]
    assert [pair.id for pair in data.gate.pairs] == ids[2:8]
    assert [pair.id for pair in data.rungs[0].pairs] == [ids[0], ids[1], ids[4], ids[5]]
    page = render(data).partition('<section id="fidelity"')[2].partition("</section>")[0]
    assert len(marks(page)) == 10
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b", page)


def test_each_rung_is_drawn_with_both_its_trainings() -> None:
    found, records = fidelity_files(0, promoted=(9, 4))
    first, second = rungs_of(Fidelity.of(found), as_candidates(records))
    assert (len(first.pairs), len(second.pairs)) == (9, 4)
    reached = records[0]
    assert (first.pairs[0].before, first.pairs[0].after) == tuple(reached["lower_rungs"])
    assert (second.pairs[0].before, second.pairs[0].after) == (
        reached["lower_rungs"][1],
        reached["top1"],
    )
    block = part(render(with_files(found, records)), "rungs")
    assert block.count("<svg") - block.count('aria-hidden="true"') == 2
    assert "trained for 6 epochs" in block and "trained for 18 epochs" in block
    assert "Kendall tau 0.64; of MACs alone 0.49; 9 candidates." in block


def test_a_first_rung_by_shared_weights_is_called_so() -> None:
    found, records = fidelity_files(0, promoted=(6,))
    shared = [{**record, "evaluator": "shared", "epochs": None} for record in records]
    (rung,) = rungs_of(Fidelity.of({**found, "evaluator": "shared"}), as_candidates(shared))
    assert (rung.before, rung.after) == ("by shared weights", "trained for 6 epochs")


@pytest.mark.parametrize("promoted", [0, 1, 2])
def test_a_rung_of_few_candidates_is_told_and_not_drawn(promoted: int) -> None:
    found, records = fidelity_files(0, promoted=(promoted,))
    block = part(render(with_files(found, records)), "rungs")
    assert "too few to compare" in block
    assert "<svg" not in block


def test_equal_scores_and_the_edges_of_the_scale_are_drawn() -> None:
    pairs = [dataclasses.replace(one, before=1.0, after=0.0) for one in gate().pairs]
    found = marks(draw_pairs(pairs, "", "x", "y"))
    assert len({(x, y) for _, _, x, y, _ in found}) == 1
    assert all(0.0 <= tick <= 1.0 for tick in ticks((-0.01, 1.01), 6))


@pytest.mark.parametrize("rungs", [0, 1])
def test_longer_trainings_are_spoken_of_where_there_were_some(rungs: int) -> None:
    found, _ = fidelity_files(0, promoted=(6,) * rungs)
    assert ("trained anew" in " ".join(_fidelity_notes(Fidelity.of(found)))) is bool(rungs)


# The floor


def best_at(score: float, floor: float | None) -> ReportData:
    data = report()
    finalists = tuple(dataclasses.replace(f, score_int8=score) for f in data.finalists)
    return dataclasses.replace(data, finalists=finalists, linear_floor=floor)


def test_the_plot_knows_the_floor_and_the_page_says_what_it_is() -> None:
    page = Page(render(best_at(0.9, 0.493)))
    assert page.data["linear_floor"] == 0.493
    assert page.data["is_below_floor"] is False
    assert "what a linear model of the same data reaches on the test split, 49.3" in page.text
    assert "does not beat" not in page.text


@pytest.mark.parametrize("score", [0.493, 0.3])
def test_a_floor_that_is_not_beaten_is_the_first_thing_said(score: float) -> None:
    page = render(best_at(score, 0.493))
    assert Page(page).data["is_below_floor"] is True
    head = Page(page.partition("<nav")[0].partition("<body>")[2]).text
    assert "The best network does not beat a linear model of the same data" in head
    assert "Do not ship it" in head and "below the linear floor" in head


def test_data_without_a_linear_model_have_no_floor() -> None:
    page = Page(render(best_at(0.3, None)))
    assert page.data["linear_floor"] is None
    assert not re.search("linear (floor|model)", page.text)


@pytest.mark.skipif(BROWSER is None, reason="needs a browser of the Chromium family")
@pytest.mark.parametrize(("floor", "below"), [(0.493, False), (0.95, True)])
def test_the_line_of_the_floor_is_at_its_value(floor: float, below: bool, tmp_path: Path) -> None:
    """The browser draws it; its place is read off between two ticks of the axis."""
    page = tmp_path / "page.html"
    page.write_text(render(best_at(0.9, floor)), "utf-8")
    command = [
        str(BROWSER),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
        *(f"--user-data-dir={tmp_path / 'home'}", "--virtual-time-budget=2000", "--dump-dom"),
        page.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    chart = dom.partition('<svg id="chart"')[2].partition("</svg>")[0]
    line = re.search(r'<path class="floor( unbeaten)?" d="M\S+ (\S+)H', chart)
    assert line is not None
    assert (line[1] is not None) is below
    axis = re.findall(r'y="(\S+)" text-anchor="end">(\d+)</text>', chart)
    (y0, v0), (y1, v1) = ((float(y) - 4, float(v)) for y, v in (axis[0], axis[-1]))
    assert float(line[2]) == pytest.approx(
        y0 + (100 * floor - v0) / (v1 - v0) * (y1 - y0), abs=0.2
    )
    assert f"linear floor {100 * floor:.1f}\u202f%" in chart
