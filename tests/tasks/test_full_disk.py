"""A disk that fills up: one line that says so, and what was there before stays whole."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spaces.families.ibn.space import IbnSpace
from spaces.menu import load_space
from spaces.walk import sample
from tasks import finetune_qat, prepare_dataset
from tasks.candidates.candidate import Candidate
from tasks.candidates.finishing import finished
from tasks.candidates.score_database import SqliteFile
from tasks.candidates.score_store import ScoreStore
from tasks.learning.training import Checkpoint
from tasks.run.params import DataParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, WorkspaceError, read_json

_BYTES = 1_000_000
FULL = "the disk must have room for .*, but it is full"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of one megabyte."""
    size = f"size={_BYTES}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(tmp_path)]
    try:
        refused = subprocess.run(mount, capture_output=True, check=False).returncode
    except OSError:
        refused = 1
    if refused:
        pytest.skip("mounting a small disk is not permitted here")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(disk: Path, left: int = 0) -> None:
    """Take all room but ``left`` bytes."""
    room = os.statvfs(disk)
    (disk / "ballast").write_bytes(b"\0" * (room.f_bavail * room.f_bsize - left))


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} - {"ballast"}


def test_prepared_data_appears_whole_or_not_at_all(disk: Path) -> None:
    params = DataParams(image_size=64)  # 1797 pictures of 4 kB
    with pytest.raises(WorkspaceError, match=FULL):
        prepare_dataset.run(params, Workspace.of(None, disk), SilentProgress())
    assert names(disk) == {"artifacts"}


def test_the_last_checkpoint_stays(disk: Path) -> None:
    checkpoint = Checkpoint(disk / "state.npz", every=1)
    checkpoint.save(1, lambda: {"weights": np.ones(1000)})
    with pytest.raises(WorkspaceError, match=FULL):
        checkpoint.save(2, lambda: {"weights": np.ones(_BYTES)})
    assert checkpoint.load()[0] == 1
    assert names(disk) == {"state.npz"}


def test_scores_are_kept_up_to_the_last_that_fitted(disk: Path) -> None:
    space = load_space("mobilenet_edgetpu_v2_small")
    assert isinstance(space, IbnSpace)
    rng = np.random.default_rng(0)
    store = ScoreStore(SqliteFile(disk / "scores.db"), {"a": 1})
    fill(disk, left=200_000)
    scored = []
    with pytest.raises(WorkspaceError, match=FULL):
        while True:
            point = sample(space, rng)
            store.put(point, {"top1": len(scored) / 1000})
            scored.append(point)
    assert len(scored) > 10
    (disk / "ballast").unlink()
    store = ScoreStore(SqliteFile(disk / "scores.db"), {"a": 1})
    assert [store.get(point) for point in scored] == [
        {"top1": n / 1000} for n in range(len(scored))
    ]


def test_a_store_that_cannot_be_created_says_why(disk: Path) -> None:
    fill(disk)
    with pytest.raises(WorkspaceError, match=FULL):
        ScoreStore(SqliteFile(disk / "scores.db"), {"a": 1})


def test_finalists_of_before_stay_until_the_new_ones_are_whole(disk: Path) -> None:
    workspace = Workspace.of(None, disk)
    for folder, size in ((workspace.finalists / "old", 10), (_finished(workspace), 300_000)):
        folder.mkdir(parents=True)
        (folder / "weights.npz").write_bytes(b"\0" * size)
    fill(disk, left=100_000)
    with pytest.raises(WorkspaceError, match=FULL):
        finetune_qat._publish(workspace, ["new"])
    assert (workspace.finalists / "old" / "weights.npz").read_bytes() == b"\0" * 10
    assert not (workspace.finalists / "new").exists()


def _finished(workspace: Workspace) -> Path:
    return finished(workspace, Candidate("new", {}))


def test_room_made_again_is_all_it_takes(disk: Path) -> None:
    workspace = Workspace.of(None, disk)
    fill(disk, left=50_000)
    params = DataParams(image_size=8)
    with pytest.raises(WorkspaceError, match=FULL):
        prepare_dataset.run(params, workspace, SilentProgress())
    (disk / "ballast").unlink()
    manifest = prepare_dataset.run(params, workspace, SilentProgress())
    assert read_json(workspace.data / "manifest.json") == manifest
