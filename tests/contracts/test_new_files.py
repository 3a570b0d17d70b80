"""An algorithm, a format and a device, added as a stranger would: one file each, nothing else.

The files lie in a temporary folder, which counts as one more place of that sort of thing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml

import spaces.search
import tasks.formats
from hw.cost_model import load_cost_model
from hw.device import dump_device, load_device
from spaces.menu import load_algorithm, load_space, load_trainable
from tasks import prepare_dataset
from tasks.data.arrays import load_split
from tasks.run.manifest import DataManifest
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace

FILE = Path(__file__).parents[2] / "params.yaml"
ALGORITHM = '''
"""Random search that counts how often it was asked."""

from spaces.search.random_search import RandomSearch


class Counting(RandomSearch):
    """See above."""

    asked = 0

    def ask(self):
        self.asked += 1
        return super().ask()


ALGORITHM = Counting
'''
FORMAT = '''
"""A class and a text a line, parted by a bar."""

from tasks.data.dataset import RawData, TextSample

KIND = "text_classification"


def read(source):
    """The lines of ``train.txt`` and ``validation.txt``."""
    root = source.path("a folder with train.txt")
    rows = {
        split: [line.split("|", 1) for line in (root / f"{split}.txt").read_text().splitlines()]
        for split in ("train", "validation")
    }
    classes = tuple(sorted({label for label, _ in rows["train"]}))
    splits = {
        split: tuple(
            TextSample(f"{split}/{number}", classes.index(label), text)
            for number, (label, text) in enumerate(found)
        )
        for split, found in rows.items()
    }
    return RawData(root.name, classes, splits, kind=KIND)
'''
Add = Callable[[ModuleType, str, str], None]


@pytest.fixture
def add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Add]:
    """Put one file into a folder of things."""
    made: list[tuple[ModuleType, str]] = []

    def one(package: ModuleType, name: str, source: str) -> None:
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        made.append((package, name))

    yield one
    for package, name in made:
        sys.modules.pop(f"{package.__name__}.{name}", None)
        vars(package).pop(name, None)


def test_a_search_algorithm_is_one_file(add: Add) -> None:
    add(spaces.search, "counting", ALGORITHM)
    params = load_params(FILE, None, ["search.algorithm=counting"])
    factory: Any = load_algorithm(params.search.algorithm)
    space = load_space(params.space.name)
    search = factory(space, np.random.default_rng(0), ("error", "latency_ms"))
    trials = [search.ask() for _ in range(5)]
    assert len({trial.architecture for trial in trials}) == search.asked == 5


def test_a_data_format_is_one_file(add: Add, tmp_path: Path) -> None:
    add(tasks.formats, "bars", FORMAT)
    source = tmp_path / "mine"
    source.mkdir()
    for split in ("train", "validation"):
        lines = (f"{('no', 'yes')[n % 2]}|say {split} {n} times\n" for n in range(40))
        (source / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    given = ["data.format=bars", f"data.source={source}", "data.test_fraction=0.0"]
    params = load_params(FILE, "text_classification", given)
    workspace = Workspace(tmp_path / "results", tmp_path / "state", tmp_path)
    prepare_dataset.run(params.data, workspace, SilentProgress())
    manifest = DataManifest.read(workspace)
    assert (manifest.classes, manifest.kind) == (("no", "yes"), "text_classification")
    assert manifest.splits["train"].items == 40
    np.testing.assert_array_equal(load_split(workspace, "train")["labels"], np.arange(40) % 2)


def test_a_device_of_a_known_chip_is_one_file(tmp_path: Path) -> None:
    known = load_device("coral_usb2")
    content = yaml.safe_load(dump_device(known))
    content["summary"] = "a board of mine, at the end of a long wire"
    content["link"]["fixed_ms"] |= {"value": 9.0, "source": "measured by me"}
    path = tmp_path / "my_board.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    params = load_params(FILE, None, [f"cost.device={path}"])
    mine = load_device(params.cost.device)
    assert mine.name == "my_board"
    space = load_trainable(params.space.name)
    graph = space.lower(space.smallest())
    ours, theirs = (load_cost_model("analytic", one).estimate(graph) for one in (mine, known))
    assert ours.latency_ms > theirs.latency_ms + 5
