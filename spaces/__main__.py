"""Look at search spaces without TensorFlow.

python -m spaces list
python -m spaces show SPACE                     its choices and baselines
python -m spaces show SPACE ARCHITECTURE        a network, block by block
python -m spaces sample SPACE -n 5 --seed 0     random architectures, one JSON text a line
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import numpy as np

from spaces.graph import Op, OpGraph, Shape, ShapeError
from spaces.heads import classification
from spaces.notation import read_architecture
from spaces.space import (
    Architecture,
    SearchSpace,
    SpaceError,
    count_upper_bound,
    load_baselines,
    load_input_shapes,
    load_space,
    names_in,
    sample,
)

Row = tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 2 bad input."""
    options = _parser().parse_args(arguments)
    try:
        for line in options.command(options):
            print(line)
        sys.stdout.flush()
    except (SpaceError, ShapeError, PermissionError) as error:
        print(f"spaces: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, e.g. head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spaces",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="list | show | sample")
    listing = commands.add_parser("list", help="the search spaces")
    listing.set_defaults(command=_list)
    show = commands.add_parser("show", help="a space, or a network as a table")
    show.add_argument("space", metavar="SPACE")
    show.add_argument(
        "architecture",
        metavar="ARCHITECTURE",
        nargs="?",
        help="name of a baseline, JSON, the usual text of the space, or a file that holds it",
    )
    show.add_argument("--input", metavar="H,W,C", help="input shape; default: the published one")
    show.add_argument("--classes", type=int, help="add a classification head")
    show.set_defaults(command=_show)
    draw = commands.add_parser("sample", help="random architectures")
    draw.add_argument("space", metavar="SPACE")
    draw.add_argument("-n", type=int, default=1, metavar="N", help="how many (default 1)")
    draw.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    draw.add_argument("--csv", action="store_true", help="one column, architecture")
    draw.set_defaults(command=_sample)
    return parser


def _list(_: argparse.Namespace) -> Iterator[str]:
    rows: list[Row] = [("space", "input", "architectures", "baselines")]
    for name in names_in("catalog"):
        space = load_space(name)
        size = f"< {count_upper_bound(space):.0e}"
        baselines = " ".join(load_baselines(name))
        rows.append((name, _shape(space.input_shape), size, baselines))
    return _table(rows, numbers=())


def _sample(options: argparse.Namespace) -> Iterator[str]:
    if options.n < 1 or options.seed < 0:
        raise SpaceError(
            f"-n must be at least 1 and --seed at least 0, but got {options.n}, {options.seed}."
        )
    space, rng = load_space(options.space), np.random.default_rng(options.seed)
    texts = (sample(space, rng).to_json() for _ in range(options.n))
    if not options.csv:
        yield from texts
        return
    yield "architecture"
    for text in texts:
        yield '"' + text.replace('"', '""') + '"'


def _show(options: argparse.Namespace) -> Iterator[str]:
    space = load_space(options.space)
    if options.architecture is None:
        return _choices(space)
    shape = load_input_shapes(options.space).get(options.architecture)
    if options.input is not None:
        shape = _input_shape(options.input)
    if shape is not None:
        space = space.for_input(shape)
    chosen = read_architecture(space, options.architecture)
    graph = space.lower(chosen)
    if options.classes is not None:
        graph = classification(graph, options.classes)
    return _network(chosen, graph, head=options.classes is not None)


def _input_shape(text: str) -> Shape:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ShapeError(f"--input must be height,width,channels, but got {text!r}.")
    return (1, *map(int, parts))


def _choices(space: SearchSpace) -> Iterator[str]:
    rows: list[Row] = [("choice", "values")]
    rows += [(one.name, " ".join(map(str, one.values))) for one in space.choices]
    yield from _table(rows, numbers=())
    yield ""
    yield f"baselines: {' '.join(load_baselines(space.name))}"


def _network(chosen: Architecture, graph: OpGraph, head: bool) -> Iterator[str]:
    rows: list[Row] = [("block", "op", "detail", "output", "MACs", "parameters")]
    for name, ops in groupby(graph.ops, key=lambda op: op.name.rpartition("/")[0] or op.name):
        rows.append(_row(name, tuple(ops), chosen))
    total = ("total", "", "", "", f"{graph.macs:,}", f"{graph.trainable_parameters:,}")
    yield f"{chosen.space} {chosen.id}, input {_shape(graph.input_shape)}"
    yield from _table([*rows, total], numbers=(4, 5))
    yield f"{graph.total_parameters:,} parameters with the moving ones of batch normalisation"
    if not head:
        yield "backbone only; --classes N adds the classification head"


def _row(name: str, ops: tuple[Op, ...], chosen: Architecture) -> Row:
    values = chosen.values
    kernel, groups = max(op.kernel_size for op in ops), max(op.groups for op in ops)
    strides = max(op.strides for op in ops)[0]
    parts = [f"k{kernel[0]}", f"s{strides}"]
    if f"{name}/expansion" in values:
        parts.append(f"e{values[f'{name}/expansion']}")
    if groups > 1:
        parts.append(f"g{groups}")
    return (
        name,
        str(values.get(f"{name}/op", ops[0].kind)),
        " ".join(parts),
        _shape(ops[-1].output_shape),
        f"{sum(op.macs for op in ops):,}",
        f"{sum(op.trainable_parameters for op in ops):,}",
    )


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape[1:]))


def _table(rows: Iterable[Row], numbers: tuple[int, ...]) -> Iterator[str]:
    """Aligned columns; those in ``numbers`` to the right."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        cells = (
            cell.rjust(width) if index in numbers else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


if __name__ == "__main__":
    raise SystemExit(main())
