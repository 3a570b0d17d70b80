"""What DVC is told of a stage: ``dvc.yaml`` must name all that it depends on.

DVC runs a stage again when one of the deps or parameters of its file changed. What parameters name
(:mod:`tasks.pipeline.named_files`) can be a dep only once it is known, so a stage that lacks one is refused
before it runs for DVC, which would not see the file change. That comes in time: to name another
file a parameter must change, and then the stage does run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tasks.pipeline import named_files
from tasks.run.params import Params


class PipelineError(ValueError):
    """A file of DVC that does not say what a stage depends on."""


def check(name: str, params: Params, root: Path) -> None:
    """Refuse a stage that reads what is not among its deps; one that DVC does not have will do.

    Raises:
        PipelineError: The first file that is missing, and the cure.
    """
    stage = _stage(root / "dvc.yaml", name)
    if stage is None:
        return
    deps = [root / dep for dep in stage.get("deps") or ()]
    for parameter, place in named_files.places(name, params).items():
        if not any(_is_below(root / place, dep) for dep in deps):
            raise PipelineError(
                f"stage {name} of dvc.yaml must have {place} among its deps, for {parameter} "
                "names it, but has not: DVC would not see it change. Add it there."
            )


def _is_below(place: Path, dep: Path) -> bool:
    """Whether a file or folder is a dep, or in one."""
    return place.resolve().is_relative_to(dep.resolve())


def _stage(path: Path, name: str) -> dict[str, Any] | None:
    """What a file of DVC says of a stage; None where it has none of that name."""
    try:
        tree = yaml.safe_load(path.read_text()) if path.exists() else {}
        return dict(tree["stages"][name])
    except (yaml.YAMLError, KeyError, TypeError):  # DVC itself tells what is wrong with it
        return None
