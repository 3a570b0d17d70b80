"""How far a run is, read from its files: no server is asked, nothing is disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.learning.problem import load_problem, problems_of
from tasks.pipeline.session import ROOT
from tasks.pipeline.stages import STAGES, is_running, timings
from tasks.run.manifest import DataManifest, manifest_path
from tasks.run.params import ParamsError
from tasks.run.params_file import profile_names
from tasks.run.progress import duration
from tasks.run.workspace import Workspace, read_json
from tasks.search_architectures import SHOWN

STALE_S = 60.0
_INDENT = " " * 16
_SHOWN_MODELS = 10


def show(profile: str | None) -> None:
    """Print a line for each stage of a run, and more of the search.

    Raises:
        ParamsError: There is no such profile.
    """
    known = profile_names(ROOT / "params.yaml")
    if profile is not None and profile not in known:
        raise ParamsError(f"profile must be one of {', '.join(known)}, but got {profile!r}.")
    for line in lines(Workspace.of(profile, ROOT)):
        print(line)


def lines(workspace: Workspace) -> Iterator[str]:
    """What there is to say of a workspace."""
    path, seconds = workspace.state / "progress.json", timings(workspace)
    now: dict[str, Any] = read_json(path) if path.exists() else {}
    reached = True
    for stage in STAGES:
        begun = any(path.is_dir() for path in workspace.state.glob(f"{stage}-*"))
        done = reached and not begun and (workspace.state / f"{stage}.json").exists()
        if done:
            took = seconds.get(stage)
            text = "done" if took is None else f"done in {duration(took)}"
        else:
            text = _going(stage, now, is_running(workspace)) if reached and begun else "not yet"
        yield f"{stage:<16}{text}"
        if stage == "search" and reached:
            yield from (f"{_INDENT}{line}" for line in _search(workspace))
        reached = done


def _going(stage: str, now: Mapping[str, Any], live: bool) -> str:
    """What is known of a stage that has begun and not ended."""
    counted = str(now.get("stage", "")).split(":")[0] == stage
    if live:
        return _running(now) if counted else "starting"
    reached = f" at {now['done']} of {now['total']}" if counted else ""
    return f"stopped{reached}; the same command takes it up"


def _running(now: Mapping[str, Any]) -> str:
    """Done, time left at the pace so far, and what the stage says of itself."""
    text = f"{now['done']} of {now['total']}"
    began, first = now.get("first", [now["now"], now["done"]])
    elapsed, moved = now["now"] - began, now["done"] - first
    if elapsed > 0 and moved > 0:
        text += f", {duration((now['total'] - now['done']) * elapsed / moved)} left"
    if now["note"]:
        text += f", {now['note']}"
    silent = time.time() - now["now"]
    return f"{text} (silent for {duration(silent)})" if silent > STALE_S else text


def _search(workspace: Workspace) -> Iterator[str]:
    """Counts of candidates, and the front of a search that goes on or is done."""
    states = sorted(workspace.state.glob(f"search-*/{SHOWN}"))
    ended = workspace.search / "candidates.json"
    if states:
        shown = read_json(states[0])
    elif ended.exists():
        shown = _summary(read_json(ended))
    else:
        return
    yield f"{shown['proposed']} proposed, {shown['done']} done, {shown['failed']} failed"
    yield from _front(shown["front"], workspace)


def _summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the search itself keeps while it goes on, from its result."""
    done = sum(record["status"] == "done" for record in records)
    return {
        "proposed": len(records),
        "done": done,
        "failed": len(records) - done,
        "front": [record for record in records if record["on_pareto"]],
    }


def _front(front: Sequence[Mapping[str, Any]], workspace: Workspace) -> Iterator[str]:
    """What a front is scored by, and its best models, a line each."""
    prepared = manifest_path(workspace.data).exists()
    kind = DataManifest.read(workspace).kind if prepared else "classification"
    # Several problems may learn from such data; a front of other data is not shown.
    metrics = [load_problem(name).metric for name in problems_of(kind)]
    metric = next((m for m in metrics if any(m.name in record for record in front)), None)
    if metric is None:
        return
    scored = [record for record in front if metric.name in record]
    best = sorted(scored, key=lambda record: -float(record[metric.name]))
    if best:
        yield f"front by {metric.label}, shared weights, validation:"
    names = [str(record["name"] or record["id"]) for record in best[:_SHOWN_MODELS]]
    wide = max([len(_INDENT), *(len(name) + 1 for name in names)])
    for name, record in zip(names, best, strict=False):
        yield f"{name:<{wide}}{100 * record[metric.name]:6.2f} %{record['latency_ms']:9.3f} ms"
    if len(best) > _SHOWN_MODELS:
        yield f"and {len(best) - _SHOWN_MODELS} more on the front"
