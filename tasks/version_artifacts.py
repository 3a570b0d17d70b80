"""Puts the outcome of a default run under DVC, as ``dvc repro`` would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tasks.pipeline import dvc_pipeline
from tasks.pipeline.stages import STAGES
from tasks.run.params import Params
from tasks.run.workspace import WorkspaceError


def run(root: Path, params: Params) -> str:
    """Record ``artifacts/`` in ``dvc.lock``, and copy it to DVC's cache and default remote.

    Returns:
        What was done, in words; a checkout without git or DVC is left alone, and a run that
        depends on what ``dvc.yaml`` does not name is not recorded.

    Raises:
        WorkspaceError: DVC failed; its last line is given.
    """
    if not (root / ".dvc").is_dir() or not (root / ".git").exists():
        return "not under DVC: this is no git checkout"
    if "DVC_STAGE" in os.environ:
        return "left to the dvc repro that runs this stage"
    try:
        for stage in STAGES:
            dvc_pipeline.check(stage, params, root)
    except dvc_pipeline.PipelineError as error:
        return f"not recorded in dvc.lock: {error}"
    _dvc(root, "commit", "--quiet", "--force")
    _dvc(root, "push", "--quiet")
    return "recorded in dvc.lock, pushed to the default remote"


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
