"""A supernet begins with another run's weights, as far as name and shape agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import train_supernet
from tasks.learning.problem import open_problem
from tasks.learning.shared_weights import new_supernet
from tasks.learning.start_from import StartError
from tasks.pipeline import preflight
from tasks.pipeline.stages import STAGES, claimed, stage_named
from tasks.run.params import Params, ProblemParams, SupernetParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import (
    Workspace,
    WorkspaceError,
    read_json,
    read_npz,
    write_json,
    write_npz,
)
from tests.prepared import prepared
from tests.samples import SMALL

NAME, SPACE = "classification", SMALL["classification"][0]

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return prepared(NAME, tmp_path / "mine")


def _other(folder: Path, workspace: Workspace, **changes: Any) -> dict[str, Any]:
    """Weights of another run, of the same space; those of ``changes`` replaced."""
    net = new_supernet(SPACE, open_problem(ProblemParams(), workspace), workspace, seed=7)
    weights: dict[str, Any] = net.state() | changes
    write_npz(folder / "supernet" / "weights.npz", weights)
    write_json(folder / "supernet" / "supernet.json", {"space": SPACE})
    return weights


def _begun(workspace: Workspace, given: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The weights with which a training begins, and its outcome."""
    first: dict[str, Any] = {}

    def train(net: Any, *_: object) -> Any:
        first.update(net.state())
        return np.zeros((1, 2))

    monkeypatch.setattr("tasks.learning.sandwich.train_supernet", train)
    p = Params(supernet=SupernetParams(steps=1, start_from=str(given)))
    outcome = train_supernet.run(
        p.problem, p.space, p.supernet, p.cost, p.runtime, workspace, SilentProgress()
    )
    return {"weights": first, "outcome": outcome}


@pytest.mark.parametrize("place", [".", "supernet", "supernet/weights.npz"])
def test_backbone_is_taken_by_name_and_shape_and_heads_are_not(
    place: str, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = new_supernet(SPACE, open_problem(ProblemParams(), workspace), workspace, 0).state()
    heads = {name for name in fresh if name.startswith("logits/")}
    assert heads == {"logits/kernel", "logits/bias"}
    # The widest kernel is of another size there, and one more is known there alone.
    odd = max(fresh.keys() - heads, key=lambda name: fresh[name].size)
    changes = {odd: np.ones((1, 2), np.float32), "elsewhere/kernel": np.ones(3, np.float32)}
    theirs = _other(tmp_path / "theirs", workspace, **changes)
    found = _begun(workspace, tmp_path / "theirs" / place, monkeypatch)
    assert found["weights"].keys() == fresh.keys()
    for name, value in found["weights"].items():
        source = fresh if name in heads or name == odd else theirs
        np.testing.assert_array_equal(value, source[name], err_msg=name)
    assert any((fresh[name] != theirs[name]).any() for name in fresh.keys() - heads - {odd})
    # derived
    left = heads | {odd}
    expected = sum(value.size for name, value in fresh.items() if name not in left)
    total = sum(value.size for value in fresh.values())
    summary = read_json(workspace.supernet / "supernet.json")
    for told in (found["outcome"], summary):
        assert (told["parameters_taken"], told["parameters"]) == (expected, total)


def test_weights_of_another_space_are_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "theirs"
    # Heads alone are of no use, even if they fit.
    net = new_supernet(SPACE, open_problem(ProblemParams(), workspace), workspace, 0).state()
    heads = {name: value for name, value in net.items() if name.startswith("logits/")}
    write_npz(folder / "supernet" / "weights.npz", {**heads, "x/kernel": np.ones(3, np.float32)})
    write_json(folder / "supernet" / "supernet.json", {"space": "mobilenet_v9"})
    expected = rf"of the space {SPACE}, but got weights of another space \(mobilenet_v9\) in "
    with pytest.raises(StartError, match=expected) as told:
        _begun(workspace, folder, monkeypatch)
    assert "\n" not in str(told.value)
    (folder / "supernet" / "supernet.json").unlink()
    with pytest.raises(StartError, match=r"another space \(not known\)"):
        _begun(workspace, folder, monkeypatch)


def test_own_and_damaged_weights_are_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _other(workspace.root, workspace)
    with pytest.raises(StartError, match="must name another run, but got this one's own"):
        _begun(workspace, workspace.root, monkeypatch)
    _other(tmp_path / "theirs", workspace)
    file = tmp_path / "theirs" / "supernet" / "weights.npz"
    content = bytearray(file.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)
    file.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"must be an \.npz of plain arrays"):
        _begun(workspace, file, monkeypatch)


@pytest.mark.parametrize(
    ("given", "steps", "expected"),
    [
        ("nowhere", 1, "there is none at nowhere. If DVC keeps it"),
        ("runs:/1/supernet", 1, "MLflow keeps no weights of supernets: give the folder"),
        ("text.npz", 1, "must be an .npz of weights, but text.npz is not"),
        ("text.npz", 0, "must be followed by a training, but got supernet.steps=0"),
    ],
)
def test_what_cannot_be_begun_with_is_refused_at_once(
    given: str, steps: int, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.npz").write_text("no weights")
    params = Params(supernet=SupernetParams(steps=steps, start_from=given))
    with pytest.raises(StartError, match=re.escape(expected)) as told:
        preflight.check(params)
    assert "\n" not in str(told.value)


def test_stage_is_done_anew_when_the_weights_change(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    for name in STAGES:
        write_json(workspace.root / stage_named(name).writes / "out.json", {"made by": name})
    file = tmp_path / "theirs" / "supernet" / "weights.npz"
    params = Params(supernet=SupernetParams(start_from=str(tmp_path / "theirs")))

    def key() -> str:
        with claimed("train_supernet", params, workspace) as claim:
            return claim.key

    write_npz(file, {"w": np.zeros(1)})
    before = key()
    write_npz(file, read_npz(file))
    assert key() == before
    write_npz(file, {"w": np.ones(1)})
    assert key() != before
