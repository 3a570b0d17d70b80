"""Where a finalist comes from: code, DVC's lock, MLflow's registry."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tasks.pipeline import dvc_pipeline
from tasks.tracking.model_registry import find_registered, registered_name
from tasks.tracking.tracking_store import existing_store

STAGE = "finetune"


def of_code(root: Path) -> dict[str, Any]:
    """The commit of a checkout, and whether files that git knows differ from it; None: no git."""
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": None if changed is None else bool(changed)}


def of_dvc(root: Path, profile: str | None, finalist: str, file: Path) -> dict[str, Any] | None:
    """What ``dvc.lock`` says of the finalists; None: nothing.

    ``same`` is whether it speaks of this very ``file``; None where DVC's cache does not tell.
    """
    lock = dvc_pipeline.file_of(profile, root).with_name("dvc.lock")
    try:
        outs = yaml.safe_load(lock.read_text())["stages"][STAGE]["outs"]
        out = next(one for one in outs if Path(one["path"]).name == "finalists")
        digest = str(out["md5"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration):
        return None
    listing = root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    same = None
    if listing.is_file():
        known = {one["relpath"]: one["md5"] for one in json.loads(listing.read_text())}
        content = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
        same = known.get(f"{finalist}/{file.name}") == content
    path = lock.relative_to(root).as_posix()
    return {"lock": path, "stage": STAGE, "path": out["path"], "md5": digest, "same": same}


def of_mlflow(root: Path, problem: str, device: str, sha256: str) -> dict[str, Any] | None:
    """The registered version that holds this very file; None: there is none."""
    store = existing_store(root)
    if store is None:
        return None
    found = find_registered(store, registered_name(problem, device), sha256)
    if found is None:
        return None
    return {
        "model": found.name,
        "version": found.version,
        "uri": f"models:/{found.name}/{found.version}",
        "run": found.run,
    }


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
