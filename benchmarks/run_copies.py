"""One small run in a copy of this checkout, and all of it that must not change by kills."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any, final

from benchmarks.end_to_end import FOREIGN
from benchmarks.results import ROOT
from tasks.pipeline.stages import STAGES
from tasks.run.scheduler import VARIABLE
from tasks.run.workspace import sha256_file
from tests.flows.conftest import SMOKE, SPACE

PROFILE = "smoke"
SETTINGS = (
    "supernet.steps=10",
    "supernet.checkpoint_steps=2",
    "search.evaluator=trained",
    "search.epochs=1",
    "search.rungs=1",
)
NOT_OURS = (*FOREIGN, "EDGENAS_", "TF_CPP_")
TIMED = "report/index.html"
"""The only file that shows how long stages took."""


@final
class Copy:
    """A copy of this checkout in which the run is done."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / ".edgenas" / "state" / "runs" / PROFILE

    def command(self) -> list[str]:
        """The one that is given again and again."""
        return [sys.executable, "-m", "flows", "run", "--profile", PROFILE, "--set", *SETTINGS]

    def start(self, log: Path, address: str | None) -> subprocess.Popen[bytes]:
        """Begin the run, or take it up."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(NOT_OURS)}
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command(),
                cwd=self.root,
                env=environment | ({} if address is None else {VARIABLE: address}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def done(self) -> list[str]:
        """Stages that are."""
        return [name for name in STAGES if (self.state / f"{name}.json").exists()]

    def begun(self) -> list[str]:
        """Stages that are begun and not done."""
        return [name for name in STAGES if any(self.state.glob(f"{name}-*"))]

    def watch_scores(self) -> None:
        """Make the store of scores write down each that is handed in, also a second time."""
        store = self.root / ".edgenas" / "store"
        store.mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(store / "candidates.db")) as db, db:
            db.execute(
                "CREATE TABLE score (key TEXT PRIMARY KEY, context TEXT, architecture TEXT, "
                "result TEXT)"
            )
            db.execute("CREATE TABLE handed (key TEXT)")
            db.execute(
                "CREATE TRIGGER watch BEFORE INSERT ON score "
                "BEGIN INSERT INTO handed VALUES (new.key); END"
            )

    def _rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        path = self.root / ".edgenas" / database
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as db:
            return sorted(db.execute(query).fetchall())

    def outcome(self) -> dict[str, Any]:
        """All that must be the same whether a run was disturbed or not."""
        folder = self.root / "runs" / PROFILE
        files = {
            str(path.relative_to(folder)): sha256_file(path)
            for path in folder.rglob("*")
            if path.is_file() and str(path.relative_to(folder)) != TIMED
        }
        child = "SELECT run_uuid FROM tags WHERE key = 'candidate_id'"
        mlflow = "mlflow/mlflow.db"
        going = "state_type NOT IN ('COMPLETED', 'CRASHED', 'FAILED')"
        return {
            "files": files,
            "scores": self._rows("store/candidates.db", "SELECT * FROM score"),
            "handed in": self._rows("store/candidates.db", "SELECT key FROM handed"),
            "runs of candidates in MLflow": self._rows(
                mlflow,
                "SELECT t.value, r.status FROM tags t JOIN runs r ON r.run_uuid = t.run_uuid "
                "WHERE t.key = 'candidate_id'",
            ),
            "metrics of candidates in MLflow": self._rows(
                mlflow,
                "SELECT t.value, m.key, m.value FROM tags t JOIN latest_metrics m ON "
                "m.run_uuid = t.run_uuid WHERE t.key = 'candidate_id'",
            ),
            "searches in MLflow": self._rows(
                mlflow, f"SELECT status FROM runs WHERE run_uuid NOT IN ({child})"
            ),
            "models in MLflow": self._rows(
                mlflow, "SELECT name, COUNT(*) FROM model_versions GROUP BY name"
            ),
            "flow runs that go on in Prefect": self._rows(
                "prefect/prefect.db", f"SELECT name FROM flow_run WHERE {going}"
            ),
            "stages that are begun": self.begun(),
            "drafts": [str(path) for path in folder.rglob(".*.tmp")],
        }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In what an outcome is not as it must be; of files their names.

    >>> differences({"files": {"a": "1"}, "drafts": []}, {"files": {"a": "2"}, "drafts": []})
    ['files: a']
    """
    names = [name for name in wanted if found[name] != wanted[name]]
    files = [
        name
        for name in sorted({*found["files"], *wanted["files"]})
        if found["files"].get(name) != wanted["files"].get(name)
    ]
    return [f"files: {', '.join(files)}" if name == "files" else name for name in names]


def copy_checkout(target: Path) -> None:
    """Copy what git keeps or would keep of this checkout, and add the small run of the tests."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    (target / "spaces" / "catalog" / f"{PROFILE}.py").write_text(SPACE)
    with (target / "params.yaml").open("a") as params:
        params.write(f"\n  {PROFILE}: {json.dumps(SMOKE)}\n")
