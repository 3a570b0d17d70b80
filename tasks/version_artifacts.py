"""Puts the outcome of a run under DVC, as ``dvc repro`` would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tasks.pipeline import dvc_pipeline, named_files
from tasks.pipeline.stages import STAGES
from tasks.run.params import Params
from tasks.run.workspace import WorkspaceError


def run(root: Path, profile: str | None, params: Params) -> str:
    """Record what a run made in ``dvc.lock``, and copy it to DVC's cache and default remote.

    Returns:
        What was done, in words; a checkout without git or DVC is left alone, and so is a profile
        that has no ``dvc.yaml``. What depends on things that DVC does not know is not recorded.

    Raises:
        WorkspaceError: DVC failed; its last line is given.
    """
    if not (root / ".dvc").is_dir() or not (root / ".git").exists():
        return "not under DVC: this is no git checkout"
    if "DVC_STAGE" in os.environ:
        return "left to the dvc repro that runs this stage"
    file = dvc_pipeline.file_of(profile, root)
    if profile is not None and not file.exists():
        return f"not under DVC: python -m flows dvc --profile {profile} puts it there"
    try:
        for stage in STAGES:
            dvc_pipeline.check(stage, profile, params, root)
    except dvc_pipeline.PipelineError as error:
        return f"not recorded in dvc.lock: {error}"
    targets = [file.relative_to(root).as_posix(), *_added(root, params)]
    _dvc(root, "commit", "--quiet", "--force", *targets)
    _dvc(root, "push", "--quiet", *targets)
    return "recorded in dvc.lock, pushed to the default remote"


def _added(root: Path, params: Params) -> list[str]:
    """Files of ``dvc add`` for what parameters name: a person's data, as it was read."""
    named = {place for stage in STAGES for place in named_files.places(stage, params).values()}
    files = sorted(f"{place.as_posix()}.dvc" for place in named)
    return [file for file in files if (root / file).is_file()]


def _dvc(root: Path, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise WorkspaceError(
            f"dvc {words[0]} must succeed in {root}, but got: {lines[-1]} Run it by hand to see "
            "more."
        )
