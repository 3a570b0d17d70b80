"""What is said of prepared data, on the screen and in the report."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.data import remarks
from tasks.prepare_dataset import run
from tasks.report import render
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json
from tests.tasks.made_up_reports import report_of

TORN = (
    "2 of 42 pictures of train are lost: 2 times 'picture skipped: it cannot be used', "
    "first a/torn0.png: not a picture."
)


@pytest.fixture
def manifest(tmp_path: Path) -> Any:
    """Of a set with something of everything."""
    for number in range(40):
        path = tmp_path / "set" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number // 2).save(path)
    for number in range(2):
        (tmp_path / "set" / "a" / f"torn{number}.png").write_bytes(b"x")
    (tmp_path / "set" / "README.md").write_text("x")
    params = DataParams(
        format="image_folder",
        source=str(tmp_path / "set"),
        image_size=8,
        on_unreadable="skip",
        seed=1,
    )
    workspace = Workspace.of(None, tmp_path / "run")
    run(params, workspace, SilentProgress())
    return read_json(workspace.data / "manifest.json")


def test_each_thing_that_was_lost_or_left_is_a_line(manifest: Any) -> None:
    said = remarks.lines(manifest)
    assert said[0] == TORN
    assert said[1].startswith("no pixel of train is brighter than 1")
    assert said[2] == "files left alone that are no pictures: 1."
    assert said[3].startswith("dropped from train, being in validation or test as well: ")


def test_the_flow_says_it_of_the_data_alone(
    manifest: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    remarks.tell("prepare", manifest)
    assert capsys.readouterr().out.startswith(f"prepare: {TORN}\nprepare: no pixel")
    remarks.tell("search", manifest)
    assert capsys.readouterr().out == ""


def test_the_report_warns_of_it(manifest: Any) -> None:
    data = report_of("classification")
    page = render(dataclasses.replace(data, manifest={**manifest, "counts": {}}))
    assert page.count("2 of 42 pictures of train are lost") == 1


def test_nothing_is_said_of_whole_data(manifest: Any) -> None:
    quiet = {"skipped": {}, "lost": [], "classes_missing": {}, "brightest": 255}
    assert remarks.lines(quiet) == []
    assert remarks.lines({"brightest": 0}) == []  # of a test: there is nothing to see at all


def test_reasons_that_no_loss_tells_are_lines_of_their_own(manifest: Any) -> None:
    clipped = {"box clipped: x": {"count": 3, "names": ["a", "b"]}}
    more = {**manifest, "skipped": {**manifest["skipped"], **clipped}}
    assert "3 times box clipped: x, first a." in remarks.lines(more)


def test_classes_that_differ_in_case_are_said() -> None:
    said = remarks.warnings({"classes": ["Cat", "cat", "dog", "STRASSE", "Straße"]})
    assert said == [
        "classes differ in case alone: Cat, cat.",
        "classes differ in case alone: STRASSE, Straße.",
    ]


def test_missing_classes_and_depth_are_said() -> None:
    said = remarks.warnings({"classes_missing": {"train": list("abcdefg")}, "bit_depth": 12})
    assert said[0] == "train has nothing of a, b, c, d, e and 2 more."
    assert said[1].startswith("pictures of 16 bits are taken as 12 bits") and "4,095" in said[1]
