"""What a stage's key has beside parameters and code: the problem, and a person's own data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.pipeline.stages import STAGES, claimed, stage_named
from tasks.run.params import Params
from tasks.run.workspace import Workspace, write_json


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    for name in STAGES:
        write_json(made.root / stage_named(name).writes / "out.json", {"made by": name})
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats" / "a.png").write_bytes(b"12")
    return folder


def key(name: str, workspace: Workspace, **blocks: object) -> str:
    with claimed(name, Params.model_validate(blocks), workspace) as claim:
        return claim.key


@pytest.mark.parametrize("change", [{"name": "detection"}, {"detections": 7}, {"anchors": 2}])
def test_all_stages_but_the_first_know_the_problem(
    change: dict[str, object], workspace: Workspace
) -> None:
    changed = [
        name for name in STAGES if key(name, workspace, problem=change) != key(name, workspace)
    ]
    assert changed == list(STAGES[1:])  # of the first the format of the data decides


def change_nothing(folder: Path) -> None:
    list(folder.iterdir())


def add(folder: Path) -> None:
    (folder / "cats" / "b.png").write_bytes(b"1")


def take(folder: Path) -> None:
    (folder / "cats" / "a.png").unlink()


def rename(folder: Path) -> None:
    (folder / "cats").rename(folder / "dogs")


def overwrite(folder: Path) -> None:
    path = folder / "cats" / "a.png"
    before = path.stat()
    path.write_bytes(b"21")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [change_nothing, add, take, rename, overwrite])
def test_own_data_is_read_again_when_it_changed(
    change: object, workspace: Workspace, source: Path
) -> None:
    data = {"format": "image_folder", "source": str(source)}
    before = {name: key(name, workspace, data=data) for name in STAGES}
    assert callable(change)
    change(source)
    changed = [name for name in STAGES if key(name, workspace, data=data) != before[name]]
    assert changed == ([] if change is change_nothing else ["prepare"])


def test_a_source_that_is_a_file_and_a_vocabulary_are_looked_at(
    workspace: Workspace, tmp_path: Path
) -> None:
    table, words = tmp_path / "mine.csv", tmp_path / "vocab.txt"
    data = {"format": "csv_text", "source": str(table), "vocabulary": str(words)}
    keys = {key("prepare", workspace, data=data)}
    for path in (table, words, table):
        with path.open("a") as file:
            file.write("more\n")
        keys.add(key("prepare", workspace, data=data))
    assert len(keys) == 4


def test_a_source_that_is_a_name_is_no_file(workspace: Workspace) -> None:
    data = {"format": "keras", "source": "mnist"}
    assert key("prepare", workspace, data=data) == key("prepare", workspace, data=data)
