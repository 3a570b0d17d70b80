"""What grows without end where runs follow each other, and what of it may go.

``python -m flows prune --keep N`` tells, ``--yes`` removes. What stays, always: results in
``artifacts/`` and ``runs/``, what they were made of, registered models with the runs that they
came from, runs that go on, and whatever a ``dvc.lock`` of any commit names.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flows import prefect_history
from tasks.run.disk import bytes_of, said
from tasks.run.params_file import profile_names
from tasks.tracking import retention
from tasks.tracking.tracking_store import STORE_FOLDER

LOGS: Final = Path(".edgenas") / "log"
STATES: Final = Path(".edgenas") / "state" / "runs"
_GC: Final = ("gc", "--workspace", "--all-commits", "--all-experiments", "--force")


class PruneError(ValueError):
    """Something cannot be removed."""


@dataclass(frozen=True, slots=True)
class Old:
    """What may go of one kind.

    Attributes:
        what: In a few words.
        bytes: About how many.
        remove: Removes it.
    """

    what: str
    bytes: int
    remove: Callable[[], None]


def check_keep(keep: int) -> None:
    """Refuse to keep nothing.

    Raises:
        PruneError: ``keep`` is below 1.
    """
    if keep < 1:
        raise PruneError(
            f"--keep must be at least 1, the newest run of each name, but got {keep}."
        )


def plan(root: Path, keep: int) -> list[Old]:
    """What may go, kind by kind; nothing is touched.

    Args:
        root: The project.
        keep: How many of a kind stay: runs of a name in MLflow and Prefect, reports of defects.

    Raises:
        PruneError: ``keep`` is below 1.
    """
    check_keep(keep)
    return [*_runs(root, keep), *_flows(root, keep), *_files(root, keep), *_states(root)]


def remove(old: Sequence[Old]) -> list[str]:
    """Remove it; says what could not be, a line each."""
    left = []
    for one in old:
        try:
            one.remove()
        except Exception as error:  # a busy database, a folder of somebody else's
            left.append(f"{one.what}: left, for {' '.join(str(error).split())}")
    return left


def told(old: Sequence[Old], *, removed: bool) -> list[str]:
    """A line for each, and the sum."""
    width = max((len(one.what) for one in old), default=0)
    lines = [f"{one.what:<{width}}  {said(one.bytes):>9}" for one in old]
    if not old:
        return ["Nothing is old enough to go."]
    done = "are gone" if removed else "would go; --yes removes it"
    return [*lines, f"About {said(sum(one.bytes for one in old))} {done}."]


def collect_in_dvc(root: Path, *, dry: bool) -> str:
    """Let DVC remove from its cache what no commit, experiment or file here names.

    The remote, which others may use, is left alone.

    Raises:
        PruneError: DVC failed.
    """
    cache = root / ".dvc" / "cache"
    before = bytes_of(cache)
    command = [sys.executable, "-m", "dvc", *_GC, *(["--dry"] if dry else [])]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise PruneError(f"dvc gc must succeed in {root}, but got: {lines[-1]}")
    counts = [line for line in done.stdout.splitlines() if line.startswith("Removed")]
    if dry:
        return f"DVC's cache  {said(before)}; {counts[0] if counts else 'nothing would go'}"
    return f"DVC's cache  {said(before - bytes_of(cache))} of {said(before)} are gone"


def _runs(root: Path, keep: int) -> Iterator[Old]:
    old = retention.old_runs(root, keep)
    if old is not None and old.runs:
        what = f"MLflow: {old.parents} searches, {len(old.runs) - old.parents} runs below searches"
        size = old.bytes + sum(map(bytes_of, old.folders))
        yield Old(what, size, lambda: retention.remove(root, old))


def _flows(root: Path, keep: int) -> Iterator[Old]:
    old = prefect_history.old_flows(root, keep)
    if old is not None and old.runs:
        what = f"Prefect: {old.flows} flow runs with their stages"
        yield Old(what, old.bytes, lambda: prefect_history.remove(root, old))


def _files(root: Path, keep: int) -> Iterator[Old]:
    """Reports of defects, and the copy of a database that was upgraded."""
    defects = sorted((root / LOGS).glob("defect-*.txt"))[:-keep]
    if defects:
        size = sum(map(bytes_of, defects))
        yield Old(f"{LOGS}: {len(defects)} reports of defects", size, lambda: _unlink(defects))
    backup = root / STORE_FOLDER / "mlflow.db.before-upgrade"
    if backup.exists() and (root / STORE_FOLDER / "prepared.json").exists():
        yield Old(f"{backup.name}", bytes_of(backup), lambda: _unlink([backup]))


def _states(root: Path) -> Iterator[Old]:
    """What a run would go on from, of profiles that are no more and have no results."""
    if not (root / "params.yaml").is_file():
        return
    known = profile_names(root / "params.yaml")
    gone = [
        path
        for path in sorted((root / STATES).glob("*"))
        if path.name not in known and not (root / "runs" / path.name).exists()
    ]
    if gone:
        names = ", ".join(path.name for path in gone)
        size = sum(map(bytes_of, gone))
        yield Old(f"{STATES}: of profiles that are no more ({names})", size, lambda: _rmtree(gone))


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _rmtree(paths: Sequence[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
