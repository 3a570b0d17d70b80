"""A finalist of a run, found by what people call it, with all that is needed to tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from spaces.graph import OpGraph
from tasks.candidates.chosen import Selection
from tasks.data.arrays import has_split
from tasks.learning.interpreter import Signature, signature_of
from tasks.learning.networks import deployed_graph
from tasks.learning.problem import open_problem
from tasks.learning.protocols import Problem
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.workspace import Workspace, read_json

BEST: Final = "best"
_SHORTEST: Final = 4  # letters of an id that may stand for it
_OPTIONS: Final = {"detection": ("detections",), "question_answering": ("answer_tokens",)}
"""Of the block ``problem``: what reading the outputs asks for."""
_EXAMPLES: Final = {
    "text_classification": '"a text"',
    "question_answering": '"a question" "a text"',
}


class BundleError(ValueError):
    """A finalist that is not there, or a folder that is."""


@dataclass(frozen=True, slots=True)
class Finalist:
    """A finalist, its run, and its problem with the prepared data."""

    id: str
    folder: Path
    params: Params
    profile: str | None
    workspace: Workspace
    problem: Problem
    manifest: DataManifest
    graph: OpGraph
    signature: Signature

    @property
    def file(self) -> Path:
        """The one to deploy."""
        return self.folder / "int8.tflite"

    @property
    def split(self) -> str:
        """The one that the report tells of."""
        return "test" if has_split(self.workspace, "test") else "validation"


def find(name: str, workspace: Workspace) -> str:
    """The id of a finalist.

    Raises:
        BundleError: There is none of that id or name, or nothing was trained to its end.
    """
    folders = sorted(workspace.finalists.glob("*/metrics.json"))
    names = {path.parent.name: read_json(path).get("name") for path in folders}
    if not names:
        raise BundleError(
            f"finalists must have been trained before one is bundled, but there are none in "
            f"{workspace.finalists}. Run the search first: make search."
        )
    if name == BEST and Selection.exists(workspace):
        return Selection.read(workspace).best
    alike = [one for one in names if one.startswith(name)] if len(name) >= _SHORTEST else []
    found = [one for one in names if name in (one, names[one])] or alike
    if len(found) != 1:
        known = ", ".join(f"{one} ({also})" if also else one for one, also in names.items())
        raise BundleError(f"ID must be one of {known}, or {BEST}, but got {name!r}.")
    return found[0]


def opened(name: str, params: Params, profile: str | None, workspace: Workspace) -> Finalist:
    """The finalist of that name.

    Raises:
        BundleError: There is none.
    """
    identity = find(name, workspace)
    folder = workspace.finalists / identity
    manifest = DataManifest.read(workspace)
    problem = open_problem(params.problem, workspace)
    return Finalist(
        identity,
        folder,
        params,
        profile,
        workspace,
        problem,
        manifest,
        deployed_graph(folder, manifest, problem),
        signature_of(folder / "int8.tflite"),
    )


def reading_of(one: Finalist) -> dict[str, Any]:
    """What an example needs to know of inputs and outputs, by problem."""
    shape, name = one.graph.input_shape, one.problem.name
    own = one.problem.setting.options
    options = {key: getattr(own, key) for key in _OPTIONS.get(name, ())}
    words = {"example": _EXAMPLES.get(name, "picture.jpg"), **options}
    if len(shape) == 2:
        return {"sequence_length": shape[1], **words}
    _, height, width, channels = shape
    fit = one.manifest.told.get("fit", one.params.data.fit)
    of_pictures = {"height": height, "width": width, "channels": channels, "fit": fit}
    return {**of_pictures, "bit_depth": one.manifest.told.get("bit_depth", 8), **words}
