"""How far a run is, read from its files: no server is asked, nothing is disturbed."""

from __future__ import annotations

import time
from typing import Any

from tasks.params import ParamsError, profile_names
from tasks.progress import duration
from tasks.session import ROOT
from tasks.stages import STAGES, timings
from tasks.workspace import Workspace, read_json

STALE_S = 60.0


def show(profile: str | None) -> None:
    """Print a line for each stage of a run.

    Raises:
        ParamsError: There is no such profile.
    """
    known = profile_names(ROOT / "params.yaml")
    if profile is not None and profile not in known:
        raise ParamsError(f"profile must be one of {', '.join(known)}, but got {profile!r}.")
    workspace = Workspace.of(profile, ROOT)
    path, seconds = workspace.state / "progress.json", timings(workspace)
    now: dict[str, Any] = read_json(path) if path.exists() else {}
    for stage in STAGES:
        print(f"{stage:<16}{_state(stage, workspace, now, seconds.get(stage))}")


def _state(stage: str, workspace: Workspace, now: dict[str, Any], seconds: float | None) -> str:
    if now.get("stage") == stage and now["done"] < now["total"]:
        return _running(now)
    if (workspace.state / f"{stage}.json").exists():
        return "done" if seconds is None else f"done in {duration(seconds)}"
    return "not yet"


def _running(now: dict[str, Any]) -> str:
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
