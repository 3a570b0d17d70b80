"""A network: ops in an order in which they can run."""

from __future__ import annotations

from dataclasses import dataclass

from spaces.graph.op import INPUT, Op, Shape, ShapeError


@dataclass(frozen=True, slots=True)
class OpGraph:
    """Ops in topological order.

    Attributes:
        input_shape: Shape of the graph's input, batch 1.
        ops: The operations; each one reads an input or ops before it.
        endpoints: Feature levels a head may attach to, e.g. ``(("C4", "stage4/block2/add"),)``.
        more_inputs: Names and shapes of further inputs, e.g. ``(("mask", (1, 1, 1, 64)),)``.
    """

    input_shape: Shape
    ops: tuple[Op, ...]
    endpoints: tuple[tuple[str, str], ...] = ()
    more_inputs: tuple[tuple[str, Shape], ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are used twice, or before their op."""
        seen = {name for name, _ in self.inputs}
        for op in self.ops:
            missing = [name for name in op.inputs if name not in seen]
            if missing:
                raise ShapeError(
                    f"{op.name}: inputs must name ops that stand before it, but got {missing}."
                )
            if op.name in seen:
                raise ShapeError(f"{op.name}: names must be unique, but got this one twice.")
            seen.add(op.name)

    @property
    def inputs(self) -> tuple[tuple[str, Shape], ...]:
        """Names and shapes of all inputs; the first is called :data:`INPUT`."""
        return ((INPUT, self.input_shape), *self.more_inputs)

    def endpoint(self, level: str) -> Op:
        """The op at a feature level.

        Raises:
            ShapeError: The graph has no such level; the message lists those it has.
        """
        levels = dict(self.endpoints)
        if level not in levels:
            raise ShapeError(
                f"a level must be one of {', '.join(levels) or 'none'}, but got {level!r}."
            )
        return self.op(levels[level])

    @property
    def output(self) -> Op:
        """The last op."""
        if not self.ops:
            raise ShapeError("a graph must have at least one op, but got none.")
        return self.ops[-1]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all ops at batch 1."""
        return sum(op.macs for op in self.ops)

    @property
    def trainable_parameters(self) -> int:
        """Trainable parameters of all ops."""
        return sum(op.trainable_parameters for op in self.ops)

    @property
    def total_parameters(self) -> int:
        """Trainable and moving parameters of all ops."""
        return sum(op.total_parameters for op in self.ops)

    def op(self, name: str) -> Op:
        """The op of that name.

        Raises:
            KeyError: There is none.
        """
        for op in self.ops:
            if op.name == name:
                return op
        raise KeyError(name)
