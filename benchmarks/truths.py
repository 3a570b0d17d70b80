"""Known truths to judge search algorithms by: a table of measured networks, and a landscape.

Both give the losses of any architecture at once, and what a search could reach at best. In a table
every network is known, and so is its front. The landscape is made up: it takes one of our own
spaces, the cost model's latency, and an accuracy by a formula over kinds and widths
(:func:`landscape`); no network was ever trained for it. Nothing but the order of algorithms should
be read from it.
"""

from __future__ import annotations

import csv
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.heads.classification import classification_many
from spaces.menu import load_baselines, load_space
from spaces.notation import parser_of
from spaces.search_support.dominance import hypervolume, is_on_front
from spaces.space import Architecture, SpaceError, Value
from spaces.walk import mutate, sample

FloatArray = NDArray[np.float64]
WORST_SHARE, COST_SHARE = 0.2, 0.8
"""The reference point: what the worst fifth scores, and this share of the largest cost."""
CLASSES = 10
DRAWN = 2000
"""Random architectures that set the reference of a landscape."""
GENERATIONS, CHILDREN = 60, 400
"""Of the long search that stands for what a landscape's space can reach."""


class Truth(Protocol):
    """Losses of all architectures of a space.

    Attributes:
        space: Whose they are.
        objectives: Names of the losses: what is maximised (its negative is the loss) first, then
            costs.
        costs: How many of the last objectives are costs, which can be computed beforehand.
        initial: Hand-made architectures of the space.
        reference: Corner of the hypervolume, [m].
        best: Losses that no search can beat, [k, m].
    """

    space: object
    objectives: tuple[str, ...]
    costs: int
    initial: tuple[Architecture, ...]
    reference: FloatArray
    best: FloatArray

    def losses(self, points: Sequence[Architecture]) -> FloatArray:
        """Losses [n, m]; NaN where a network fails."""


@final
class Table:
    """Every network of a space with its measured values; those that are missing fail."""

    def __init__(self, path: Path, space: str, maximize: str, minimize: Sequence[str]) -> None:
        """Read columns ``architecture``, ``maximize`` and ``minimize`` of a CSV file.

        Raises:
            SpaceError: A column is missing, no row is complete, or an architecture is not of
                ``space``.
        """
        self.space = load_space(space)
        self.objectives, self.costs = (maximize, *minimize), len(minimize)
        self.initial = tuple(load_baselines(space).values())
        self._rows = self._read(path)
        losses = np.array(list(self._rows.values()))
        if not len(losses):
            raise SpaceError(f"{path}: a table must have a complete row, but got none.")
        self.reference = reference_of(losses)
        self.best = np.unique(losses[is_on_front(losses)], axis=0)

    def _read(self, path: Path) -> dict[Architecture, tuple[float, ...]]:
        parse, rows = parser_of(self.space), {}
        with path.open(newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            needed = ("architecture", *self.objectives)
            missing = [name for name in needed if name not in (lines.fieldnames or ())]
            if missing:
                raise SpaceError(
                    f"{path}: a table must have columns {', '.join(needed)}, but got "
                    f"{', '.join(lines.fieldnames or ['none'])}. Name others with --maximize and "
                    "--minimize."
                )
            for line in lines:
                values = [_number(line[name]) for name in self.objectives]
                # A cost of -1 is how public tables write a network that does not compile.
                if all(map(math.isfinite, values)) and min(values[1:], default=1.0) >= 0:
                    rows[parse(line["architecture"])] = (-values[0], *values[1:])
        return rows

    def losses(self, points: Sequence[Architecture]) -> FloatArray:
        """Looked up."""
        failed = (math.nan,) * len(self.objectives)
        return np.array([self._rows.get(point, failed) for point in points])


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def reference_of(losses: FloatArray) -> FloatArray:
    """The corner up to which hypervolume counts: see ``WORST_SHARE`` and ``COST_SHARE``."""
    score = np.quantile(losses[:, 0], 1 - WORST_SHARE)
    return np.array([score, *(COST_SHARE * losses[:, 1:].max(axis=0))])


@final
class Landscape:
    """A space of inverted bottlenecks, costed by the cost model, scored by :func:`landscape`."""

    def __init__(self, space: str, minimize: Sequence[str], device: str, seed: int = 0) -> None:
        """As if its networks had been trained; ``seed`` draws what the formula leaves open."""
        self.space = load_space(space)
        self.objectives, self.costs = ("accuracy", *minimize), len(minimize)
        self.initial = tuple(load_baselines(space).values())
        self._model = load_cost_model("analytic", load_device(device))
        self._seed = seed
        self._rows: dict[Architecture, tuple[float, ...]] = {}
        rng = np.random.default_rng([seed, 1])
        drawn = self.losses([sample(self.space, rng) for _ in range(DRAWN)])
        self.reference = reference_of(drawn)
        self.best = self._long_search(rng)

    def losses(self, points: Sequence[Architecture]) -> FloatArray:
        """Computed once for each architecture."""
        new = [point for point in dict.fromkeys(points) if point not in self._rows]
        if new:
            batch = classification_many(self.space.lower_many(new), CLASSES)
            columns = self._model.estimate_many(batch)
            scores = [-landscape(point.values, self._seed) for point in new]
            costs = [columns[name] for name in self.objectives[1:]]
            self._rows |= zip(new, zip(scores, *costs, strict=True), strict=True)
        return np.array([self._rows[point] for point in points])

    def _long_search(self, rng: np.random.Generator) -> FloatArray:
        """The front of some twenty thousand architectures bred from the front."""
        front = list(self.initial) + [sample(self.space, rng) for _ in range(CHILDREN)]
        for _ in range(GENERATIONS):
            parents = rng.integers(len(front), size=CHILDREN)
            changes = rng.integers(1, 4, size=CHILDREN)
            children = [
                mutate(self.space, front[int(one)], rng, int(count))
                for one, count in zip(parents, changes, strict=True)
            ]
            front = list(dict.fromkeys([*front, *children]))
            kept = is_on_front(self.losses(front))
            front = [point for point, stays in zip(front, kept, strict=True) if stays]
        return self.losses(front)


# What each kind of block is worth in the landscape, before its width; and beside a depthwise one.
_KINDS = {"ibn_dw": 1.0, "ibn_fused": 1.25, "ibn_grouped": 1.1, "ibn_fused_grouped": 1.15}


def landscape(decisions: Mapping[str, Value], seed: int) -> float:
    """A made-up accuracy in per cent of a network of inverted bottlenecks.

    Each block is worth its kind, times ``log2`` of its stage's width, times ``(expansion / 4) **
    0.3``, 1.06 times with kernel 5, and 0.7 times the block before it in the stage. A block whose
    kind is another than that of the block before it loses or wins up to some 5 %, and so does each
    kind at each place and width: those parts are drawn by ``seed`` once for the whole landscape,
    and make it rugged. Stem and top add a tenth of ``log2`` of their width. A stage that widens
    more than threefold costs 0.6. Accuracy saturates as ``92 - 60 exp(-worth / 14)``.
    """
    worth = 0.1 * sum(
        math.log2(float(decisions[name]))
        for name in ("stem/channels", "top/channels")
        if decisions.get(name)
    )
    before = width = 0
    share, kind_before, stage_before = 1.0, "", ""
    for name in (name for name in sorted(decisions) if name.endswith("/op")):
        stage, block = name.split("/")[:2]
        if stage != stage_before:
            before, width = width, int(decisions[f"{stage}/channels"])
            worth -= 0.6 * (before > 0 and width > 3 * before)
            share, stage_before = 1.0, stage
        kind = str(decisions[name])
        if kind not in _KINDS:
            continue
        place = f"{stage}/{block}"
        value = _KINDS[kind] * math.log2(width) * (int(decisions[f"{place}/expansion"]) / 4) ** 0.3
        value *= 1.06 if decisions.get(f"{place}/kernel") == 5 else 1.0
        value *= 1 + 0.05 * (_drawn(seed, kind_before, kind) + _drawn(seed, place, kind, width))
        worth += share * value
        share, kind_before = 0.7 * share, kind
    return 92 - 60 * math.exp(-worth / 14)


def _drawn(*key: object) -> float:
    """A number that looks normally distributed, always the same for the same key."""
    parts = [zlib.crc32(repr((*key, draw)).encode()) / 2**32 for draw in range(4)]
    return (sum(parts) - 2) * math.sqrt(3)


def ratio(truth: Truth, losses: FloatArray) -> float:
    """Hypervolume of ``losses`` [n, m] over the attainable one."""
    return hypervolume(losses, truth.reference) / hypervolume(truth.best, truth.reference)
