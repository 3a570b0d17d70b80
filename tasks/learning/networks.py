"""Networks for the data at hand: spaces sized for it, and graphs with the head of the problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spaces.graph import OpGraph
from spaces.menu import load_trainable
from spaces.narrowed import Offers, narrowed
from spaces.sided import parted, sided
from spaces.space import Architecture, SearchSpace, SpaceError, TrainableSpace
from tasks.learning.protocols import Head
from tasks.run.manifest import DataManifest
from tasks.run.workspace import read_json


def sized(name: str, manifest: DataManifest, choices: Offers | None = None) -> TrainableSpace:
    """A space for the data of a manifest, narrowed to ``choices``.

    Of pictures it can build an architecture at the side that it has decided, whether or not
    ``choices`` offers sides: see :mod:`spaces.sided`.

    Raises:
        SpaceError: There is no such space, its networks share no weights, or see
            :class:`spaces.narrowed.NarrowedSpace` and :class:`spaces.sided.SidedSpace`.
    """
    sides, rest = parted(choices or {})
    return sided(narrowed(fitted(load_trainable(name), manifest), rest), sides)


def fitted(space: Any, manifest: DataManifest) -> Any:
    """Any space for the inputs, and the vocabulary if there is one, of a manifest."""
    sized_space: SearchSpace = space.for_input(manifest.input_shape)
    if manifest.vocabulary_size is None:
        return sized_space
    if not hasattr(sized_space, "for_vocabulary"):
        raise SpaceError(
            f"space.name must name a space of language networks for {manifest.kind}, but "
            f"got {space.name!r}."
        )
    return sized_space.for_vocabulary(manifest.vocabulary_size, manifest.token_types)


def deployed_graph(folder: Path, manifest: DataManifest, head: Head) -> OpGraph:
    """The graph of a finalist, head included, from the architecture beside its files."""
    decisions = read_json(folder / "architecture.json")
    point = Architecture.of(decisions.pop("space"), decisions)
    return head.complete(sized(point.space, manifest).lower(point))
