"""A network as a table for people: a row for each of its blocks, heads included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from spaces.graph import Op, OpGraph, Shape, Trait
from spaces.heads import classification as heads
from spaces.heads import language as language_heads
from spaces.heads.segmentation import segmentation
from spaces.heads.ssd import ssd
from spaces.space import Architecture, SpaceError

Row = tuple[str, ...]
_ANCHORS, _DETECTIONS = 3, 20  # as params.yaml begins with
_HEADS: Mapping[str, Callable[[OpGraph, int], OpGraph]] = {
    "classification": heads.classification,
    "segmentation": lambda graph, classes: segmentation(
        graph, classes, (graph.input_shape[1], graph.input_shape[2])
    ),
    "detection": lambda graph, classes: ssd(
        graph, classes, [_ANCHORS] * len(graph.endpoints), _DETECTIONS
    ),
    "text_classification": language_heads.text_classification,
}


def with_head(graph: OpGraph, problem: str, classes: int) -> OpGraph:
    """A network of a space with what depends on the classes, as ``params.yaml`` begins with.

    Raises:
        SpaceError: Heads of this problem are not known here.
        ShapeError: Too few or too many classes.
    """
    if problem not in _HEADS:
        raise SpaceError(
            f"--classes must be for a space of {', '.join(_HEADS)}, but got one of {problem}."
        )
    return _HEADS[problem](graph, classes)


def rows_of(graph: OpGraph, values: Mapping[str, object]) -> Iterator[Row]:
    """A row for each block: name, op, detail, output, MACs, parameters.

    Args:
        graph: Of an architecture, with or without a head.
        values: The decisions of the architecture.
    """
    tokens = len(graph.input_shape) == 2

    def block(op: Op) -> str:
        return _block(op.name.split("/"), values, tokens)

    for name, ops in groupby(graph.ops, key=block):
        yield _row(name, tuple(ops), values)


def network(chosen: Architecture, graph: OpGraph) -> Iterator[str]:
    """All lines about a network but hints."""
    rows: list[Row] = [("block", "op", "detail", "output", "MACs", "parameters")]
    rows += rows_of(graph, chosen.values)
    total = ("total", "", "", "", f"{graph.macs:,}", f"{graph.trainable_parameters:,}")
    yield f"{chosen.space} {chosen.id}, input {input_text(graph.input_shape)}"
    yield from table([*rows, total], numbers=(4, 5))
    if graph.total_parameters != graph.trainable_parameters:
        yield f"{graph.total_parameters:,} parameters with the moving ones of batch normalisation"


def _block(parts: Sequence[str], values: Mapping[str, object], tokens: bool) -> str:
    """The block to which an op belongs, by the parts of its name."""
    pair = "/".join(parts[:2])
    if f"{pair}/op" in values:
        return pair
    if parts[0] == "head":  # of a detector: boxes of all levels, then classes of all levels
        return "/".join(parts[:3])
    if tokens or len(parts) < 3 or parts[1].startswith("from_"):
        return parts[0]
    return pair


def _row(name: str, ops: tuple[Op, ...], values: Mapping[str, object]) -> Row:
    decided = values.get(f"{name}/op")
    return (
        name,
        str(decided) if decided is not None else _kinds(ops),
        _details(name, ops, values),
        shape_text(ops[-1].output_shape),
        f"{sum(op.macs for op in ops):,}",
        f"{sum(op.trainable_parameters for op in ops):,}",
    )


def _kinds(ops: tuple[Op, ...]) -> str:
    """The kind of the dearest op, and how many there are beside it."""
    dearest = max(ops, key=lambda op: op.macs)
    return str(dearest.kind) if len(ops) == 1 else f"{dearest.kind} and {len(ops) - 1} more"


def _details(name: str, ops: tuple[Op, ...], values: Mapping[str, object]) -> str:
    """Window, stride, expansion and groups of a block; the decisions of what is no block."""
    decided = f"{name}/op" in values
    windows = [op for op in ops if Trait.WINDOWED in op.kind.traits]
    if not decided and len(ops) > 1:
        return _decisions(name, values)
    if not windows:
        return ""
    groups = max(op.groups for op in windows)
    sides = [str(op.kernel_size[0]) for op in windows if op.kernel_size > (1, 1)]
    parts = [f"k{'+'.join(sides) or 1}", f"s{max(op.strides for op in windows)[0]}"]
    if f"{name}/expansion" in values:
        parts.append(f"e{values[f'{name}/expansion']}")
    if groups > 1:
        parts.append(f"g{groups}")
    return " ".join(parts)


def _decisions(name: str, values: Mapping[str, object]) -> str:
    """Decisions below a name that are not those of blocks below it."""
    own = {key.removeprefix(f"{name}/"): value for key, value in values.items()}
    blocks = {key.partition("/")[0] for key in own if key.endswith("/op")}
    return " ".join(
        f"{key} {value}"
        for key, value in own.items()
        if f"{name}/{key}" in values and key.partition("/")[0] not in blocks
    )


def shape_text(shape: Shape) -> str:
    """Without the batch.

    >>> shape_text((1, 32, 48, 3))
    '32x48x3'
    """
    return "x".join(map(str, shape[1:]))


def input_text(shape: Shape) -> str:
    """What a network reads.

    >>> input_text((1, 384)), input_text((1, 32, 32, 1))
    ('384 tokens', '32x32x1')
    """
    return f"{shape[1]} tokens" if len(shape) == 2 else shape_text(shape)


def table(rows: Iterable[Row], numbers: tuple[int, ...]) -> Iterator[str]:
    """Aligned columns; those in ``numbers`` to the right."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        cells = (
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()
