"""Workspaces with small made-up data, as the first stage leaves them."""

from __future__ import annotations

from pathlib import Path

from tasks.run.workspace import Workspace, write_json, write_npz
from tests.samples import SMALL, VOCABULARY, opened, samples

SPLITS = {"train": 24, "validation": 8}


def prepared(problem: str, base: Path) -> Workspace:
    """A workspace below ``base`` with splits of :func:`tests.samples.samples`."""
    workspace = Workspace(base / "artifacts", base / "state", base / "store")
    for seed, (split, count) in enumerate(SPLITS.items()):
        write_npz(workspace.data / f"{split}.npz", samples(problem, count, seed=seed))
    manifest = {
        "problem": problem,
        "classes": list(opened(problem).setting.classes),
        "input_shape": list(SMALL[problem][1]),
        "splits": {name: {"items": count, "sha256": str(count)} for name, count in SPLITS.items()},
    }
    if len(SMALL[problem][1]) == 2:
        types = 2 if problem == "question_answering" else 0
        manifest |= {"vocabulary_size": VOCABULARY, "token_types": types}
    write_json(workspace.data / "manifest.json", manifest)
    return workspace
