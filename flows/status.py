"""How far a run is, read from its files: no server is asked, nothing is disturbed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tasks.candidates.candidate import Candidate, read_candidates
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
        proposed, done, failed = (shown[key] for key in ("proposed", "done", "failed"))
        front = [Candidate.of(one) for one in shown["front"]]
    elif ended.exists():
        found = read_candidates(workspace)
        proposed, done = len(found), sum(one.is_done for one in found)
        failed, front = proposed - done, [one for one in found if one.on_pareto]
    else:
        return
    yield f"{proposed} proposed, {done} done, {failed} failed"
    yield from _front(front, workspace)


def _front(front: Sequence[Candidate], workspace: Workspace) -> Iterator[str]:
    """What a front is scored by, and its best models, a line each.

    Several problems may learn from such data; a front of other data is not shown.
    """
    prepared = manifest_path(workspace.data).exists()
    kind = DataManifest.read(workspace).kind if prepared else "classification"
    metrics = [load_problem(name).metric for name in problems_of(kind)]
    scores = {metric: _scores(front, metric.name) for metric in metrics}
    metric = next((metric for metric, found in scores.items() if found), None)
    if metric is None:
        return
    best = sorted(scores[metric], key=lambda pair: -pair[0])
    yield f"front by {metric.label}, shared weights, validation:"
    shown = best[:_SHOWN_MODELS]
    wide = max([len(_INDENT), *(len(one.label) + 1 for _, one in shown)])
    for score, one in shown:
        yield f"{one.label:<{wide}}{100 * score:6.2f} %{one.latency_ms or 0.0:9.3f} ms"
    if len(best) > _SHOWN_MODELS:
        yield f"and {len(best) - _SHOWN_MODELS} more on the front"


def _scores(front: Sequence[Candidate], metric: str) -> list[tuple[float, Candidate]]:
    """Those that have a score of a metric, with it."""
    pairs = ((one.value(metric), one) for one in front)
    return [(score, one) for score, one in pairs if score is not None]
