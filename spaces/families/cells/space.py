"""The spaces of NAS-Bench-201; :mod:`spaces.families.cells.cell` draws its networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from spaces.batching.codes import Encoder
from spaces.families.cells.cell import (
    EDGE_OPS,
    EDGES,
    Draft,
    draw_cell,
    draw_last,
    draw_reduction,
    draw_stem,
    edge_name,
    place_relus,
)
from spaces.families.cells.table import CellTable
from spaces.graph import INPUT, OpBatch, OpGraph, Shape, ShapeError
from spaces.space import Architecture, Choice, Decisions, Value
from spaces.walk import decisions_of


@final
@dataclass(frozen=True, slots=True)
class CellSpace:
    """All cells of four nodes and five operations, in networks of three stages.

    Attributes:
        name: Module name in ``spaces/catalog``.
        input_shape: (1, H, W, C).
        widths: Channels of the stages; each but the first begins with a reduction.
        cells: Of a stage.
        choices: The operation of each edge; derived.
    """

    name: str
    input_shape: Shape
    widths: tuple[int, ...] = (16, 32, 64)
    cells: int = 5

    choices: tuple[Choice, ...] = field(init=False, repr=False, compare=False)
    _encoder: Encoder = field(init=False, repr=False, compare=False)
    _table: CellTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the choices."""
        choices = tuple(Choice(edge_name(edge), EDGE_OPS) for edge in EDGES)
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "_encoder", Encoder(choices))
        table = CellTable(self.input_shape, self.widths, self.cells)
        object.__setattr__(self, "_table", table)

    def domain(self, choice: Choice, decided: Decisions) -> tuple[Value, ...]:
        """Every edge may be anything, whatever the others are."""
        return choice.values

    def lower(self, architecture_: Architecture) -> OpGraph:
        """The backbone as a graph; endpoints C0, C1, C2 name the outputs of the stages.

        Raises:
            SpaceError: The architecture is not one of this space.
        """
        decisions = decisions_of(self, architecture_)
        ops = {edge: str(decisions[edge_name(edge)]) for edge in EDGES}
        draft, endpoints = Draft(INPUT, self.input_shape), []
        end = draw_stem(draft, INPUT, self.widths[0])
        for number, channels in enumerate(self.widths, 1):
            if number > 1:
                end = draw_reduction(draft, f"stage{number}/reduction", end, channels)
            for cell in range(self.cells):
                end = draw_cell(draft, f"stage{number}/cell{cell}", end, ops, channels)
            endpoints.append((f"C{number - 1}", end))
        draw_last(draft, end)
        placed = place_relus(draft.ops, draft.rectified)
        return OpGraph(self.input_shape, placed, tuple(endpoints))

    def lower_many(self, architectures: Sequence[Architecture]) -> OpBatch:
        """Graphs of many architectures as columns.

        Raises:
            SpaceError: An architecture is not one of this space.
        """
        codes = self._encoder.encode(architectures)
        known = codes is not None and bool((codes > 0).all())
        if codes is None or not known or any(one.space != self.name for one in architectures):
            return OpBatch.of(
                [self.lower(one) for one in architectures]
            )  # which says what is wrong
        return self._table.batch(codes - 1)

    def for_input(self, input_shape: Shape) -> CellSpace:
        """The same space for inputs (1, H, W, C).

        Raises:
            ShapeError: The input is not of rank 4.
        """
        if len(input_shape) != 4 or input_shape[0] != 1 or min(input_shape) < 1:
            raise ShapeError(
                f"{self.name}: input_shape must be (1, H, W, C), but got {input_shape}."
            )
        return dataclasses.replace(self, input_shape=input_shape)
