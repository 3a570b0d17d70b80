"""What Prefect and MLflow cost a search: the search stage with them over the same without.

    python -m benchmarks.tracking_overhead --json tracking_overhead.json     # minutes on two cores
    python -m benchmarks.tracking_overhead --workspace artifacts --rounds 5

Both sides do the same real search: the supernet scores every candidate, the cost model costs it,
and the candidate store is empty at the start. With: the flow ``search`` of ``flows.edge_nas``
below a Prefect server, a Prefect task for each chunk, a run in MLflow for each candidate, and the
stage's lock and digests. Without: ``tasks.search_architectures.run``, a plain call.

Each search is a process of its own in a fresh copy of one prepared project. The clock runs from
the call of the search to its return. Outside it, on both sides: process start and imports,
TensorFlow's included; with tracking also the start of the server, the opening of the MLflow run
and the subflow before, as in the whole pipeline (reported apart as ``start_s``). Inside it, on
both sides: loading the supernet and tracing it. The two take turns at going first. Both must
propose and score the same candidates, or it fails.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.results import ROOT, Result, machine, said, save, spread, warn_if_busy
from tasks.run.workspace import read_json, sha256_file, write_json

PACKAGES = ("tensorflow", "prefect", "mlflow")
SIDES = ("plain", "tracked")
RESULT = Path("result.json")


def _import_tensorflow() -> None:
    """What a search imports when it scores its first candidate."""
    import spaces.trainable.supernet
    import tasks.learning.training

    del spaces, tasks


def run_plain(overrides: Sequence[str]) -> dict[str, float]:
    """The search stage as one call, in the current folder."""
    from tasks import search_architectures
    from tasks.pipeline.session import open_session
    from tasks.run.spec import RunSpec

    began = time.perf_counter()
    session = open_session(RunSpec(None, tuple(overrides), tracking=False))
    _import_tensorflow()
    p, start = session.params, time.perf_counter()
    search_architectures.run(
        p.problem,
        p.space,
        p.search,
        p.cost,
        p.select,
        p.runtime,
        session.workspace,
        session.progress,
    )
    return {"search_s": time.perf_counter() - start, "start_s": start - began}


def run_tracked(overrides: Sequence[str]) -> dict[str, float]:
    """The search stage as a flow, tracked, in the current folder."""
    from flows.server import prefect_server

    began = time.perf_counter()
    with prefect_server():
        from prefect import flow

        from flows.edge_nas import run_stage
        from tasks.pipeline.session import open_session
        from tasks.run.spec import RunSpec

        @flow(name="overhead")
        def stages() -> dict[str, float]:
            session = open_session(RunSpec(None, tuple(overrides)))
            run_stage("prepare", session)
            _import_tensorflow()
            start = time.perf_counter()
            run_stage("search", session)
            return {"search_s": time.perf_counter() - start, "start_s": start - began}

        return stages()


def run_prepare(overrides: Sequence[str]) -> dict[str, float]:
    """Data and a supernet, in the current folder."""
    from tasks import prepare_dataset, train_supernet
    from tasks.pipeline.session import open_session
    from tasks.run.spec import RunSpec

    session = open_session(RunSpec(None, tuple(overrides), tracking=False))
    p, workspace, progress = session.params, session.workspace, session.progress
    prepare_dataset.run(p.data, workspace, progress)
    train_supernet.run(p.problem, p.space, p.supernet, p.cost, p.runtime, workspace, progress)
    return {}


CHILDREN = {"plain": run_plain, "tracked": run_tracked, "prepare": run_prepare}


def child(side: str, overrides: Sequence[str]) -> None:
    """One piece of work in this process; leaves its times in ``result.json``."""
    write_json(RESULT, CHILDREN[side](list(overrides)))


def environment(project: Path) -> dict[str, str]:
    """A project's own stores, whatever the caller's environment says."""
    foreign = ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "DVC_STAGE")
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    home = project / ".edgenas" / "prefect"
    return {**kept, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home)}


def python(project: Path, *arguments: str) -> None:
    """Run Python in a project.

    Raises:
        RuntimeError: It failed; the end of what it printed is given.
    """
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=project, env=environment(project), capture_output=True, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RuntimeError(f"{' '.join(arguments[:4])} must succeed, but got:\n{tail}")


def prepare(project: Path, workspace: Path | None, overrides: Sequence[str], steps: int) -> None:
    """A project with data, a supernet and empty databases, to copy from."""
    (project / ".edgenas" / "prefect").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", project)
    if workspace is None:
        training = (f"supernet.steps={steps}", "supernet.warmup_steps=1")
        python(project, *_child("prepare", [*overrides, *training]))
    else:
        for folder in ("data", "supernet"):
            shutil.copytree(workspace / folder, project / "artifacts" / folder)
    python(project, "-m", "flows.server")
    code = "from pathlib import Path; from tasks.tracking.tracking_store import prepare_store; "
    python(project, "-c", code + "prepare_store(Path())")


def _child(side: str, overrides: Sequence[str]) -> list[str]:
    return ["-m", "benchmarks.tracking_overhead", "--child", side, "--set", *overrides]


def search_once(template: Path, side: str, overrides: Sequence[str]) -> dict[str, Any]:
    """One search in a fresh copy of the template; the copy is removed."""
    project = template.with_name(side)
    shutil.copytree(template, project)
    try:
        python(project, *_child(side, overrides))
        found = project / "artifacts" / "search" / "candidates.json"
        return {
            **read_json(project / RESULT),
            "candidates": len(read_json(found)),
            "scored": _rows(project / ".edgenas" / "store" / "candidates.db", "score"),
            "mlflow_runs": _rows(project / ".edgenas" / "mlflow" / "mlflow.db", "runs"),
            "digest": sha256_file(found),
        }
    finally:
        shutil.rmtree(project)


def _rows(database: Path, table: str) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0])


def check(pair: Mapping[str, Mapping[str, Any]]) -> None:
    """Make sure that both sides did the same work, and the tracked one tracked it.

    Raises:
        RuntimeError: Candidates differ, were not all scored, or are not all in MLflow.
    """
    plain, tracked = pair["plain"], pair["tracked"]
    if plain["digest"] != tracked["digest"]:
        raise RuntimeError("both searches must find the same candidates, but they differ")
    if not plain["scored"] == tracked["scored"] == plain["candidates"]:
        raise RuntimeError(f"every candidate must be scored anew, but got {json.dumps(pair)}")
    if tracked["mlflow_runs"] != tracked["candidates"] + 1:
        raise RuntimeError(f"every candidate must be in MLflow, but got {json.dumps(tracked)}")


def measure(template: Path, rounds: int, overrides: Sequence[str]) -> Result:
    """All rounds."""
    pairs: list[dict[str, dict[str, Any]]] = []
    for number in range(rounds):
        order = SIDES if number % 2 == 0 else SIDES[::-1]
        pair = {side: search_once(template, side, overrides) for side in order}
        check(pair)
        pairs.append(pair)
        plain, tracked = (pair[side]["search_s"] for side in SIDES)
        print(
            f"  round {number + 1}: plain {plain:.2f} s, tracked {tracked:.2f} s, "
            f"ratio {tracked / plain:.3f}",
            flush=True,
        )
    spreads = {side: spread([pair[side]["search_s"] for pair in pairs]) for side in SIDES}
    ratios = [pair["tracked"]["search_s"] / pair["plain"]["search_s"] for pair in pairs]
    count = pairs[0]["plain"]["candidates"]
    extra = spreads["tracked"]["median"] - spreads["plain"]["median"]
    return {
        "rounds": pairs,
        "candidates": count,
        "plain_s": spreads["plain"],
        "tracked_s": spreads["tracked"],
        "ratio": spread(ratios),
        "ratio_of_medians": spreads["tracked"]["median"] / spreads["plain"]["median"],
        "extra_ms_per_candidate": 1e3 * extra / count,
        "tracked_start_s": spread([pair["tracked"]["start_s"] for pair in pairs]),
        "plain_start_s": spread([pair["plain"]["start_s"] for pair in pairs]),
    }


def parser() -> argparse.ArgumentParser:
    """The options."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.tracking_overhead",
        description="Wall time of a search with Prefect and MLflow over the same without.",
    )
    top.add_argument(
        "--workspace",
        type=Path,
        metavar="DIR",
        help="with data/ and supernet/, e.g. artifacts; without it a small one is made",
    )
    top.add_argument("--rounds", type=int, default=5)
    top.add_argument("--budget", type=int, help="candidates; default: that of params.yaml")
    top.add_argument("--steps", type=int, default=30, help="of the small supernet (default 30)")
    top.add_argument("--set", dest="overrides", nargs="*", default=[], metavar="KEY=VALUE")
    top.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    top.add_argument("--json", type=Path, metavar="OUT")
    return top


def main() -> None:
    """Measure, print, write."""
    options = parser().parse_args()
    if options.child:
        child(options.child, options.overrides)
        return
    warn_if_busy()
    about = machine(PACKAGES)
    overrides = ["search.evaluator=shared", *options.overrides]
    if options.budget:
        overrides.append(f"search.budget={options.budget}")
    with tempfile.TemporaryDirectory(prefix="edgenas-") as folder:
        template = Path(folder) / "template"
        print("preparing data, supernet and databases ...", flush=True)
        prepare(template, options.workspace, overrides, options.steps)
        result = measure(template, options.rounds, overrides)
    print(f"plain     {said(result['plain_s'])} s")  # type: ignore[arg-type]
    print(f"tracked   {said(result['tracked_s'])} s")  # type: ignore[arg-type]
    print(f"ratio     {said(result['ratio'], 3)}")  # type: ignore[arg-type]
    print(f"extra     {result['extra_ms_per_candidate']:.1f} ms a candidate")
    print(f"before the clock: tracked {said(result['tracked_start_s'])} s")  # type: ignore[arg-type]
    save(options.json, {"machine": about, "overrides": overrides, **result})


if __name__ == "__main__":
    main()
