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
from collections.abc import Iterator, Sequence

import numpy as np

from spaces import defect
from spaces.graph import Shape, ShapeError
from spaces.heads.network_table import Row, input_text, network, table, with_head
from spaces.menu import load_baselines, load_input_shapes, load_problems, load_space, names_in
from spaces.notation import read_architecture
from spaces.sided import sided
from spaces.size import count_upper_bound, estimated_count
from spaces.space import SearchSpace, SpaceError
from spaces.walk import sample


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 done, 2 bad input, 1 a defect."""
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
    except KeyboardInterrupt:
        return 130  # as shells tell it
    except Exception as error:
        print(defect.told(f"spaces {options.name}", error), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m spaces",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="name", required=True, metavar="list | show | sample")
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
    show.add_argument("--input", metavar="H,W,C", help="or number of tokens; default: published")
    show.add_argument("--classes", type=int, help="add the head of the space's problem")
    show.set_defaults(command=_show)
    draw = commands.add_parser("sample", help="random architectures")
    draw.add_argument("space", metavar="SPACE")
    draw.add_argument("-n", type=int, default=1, metavar="N", help="how many (default 1)")
    draw.add_argument("--seed", type=int, default=0, metavar="S", help="default 0")
    draw.add_argument("--csv", action="store_true", help="one column, architecture")
    draw.set_defaults(command=_sample)
    return parser


def _list(_: argparse.Namespace) -> Iterator[str]:
    rows: list[Row] = [("space", "input", "architectures", "problems", "baselines")]
    for name in names_in("catalog"):
        space = load_space(name)
        size = f"< {count_upper_bound(space):.0e}"
        baselines = " ".join(load_baselines(name))
        problems = " ".join(load_problems(name))
        rows.append((name, input_text(space.input_shape), size, problems, baselines))
    return table(rows, numbers=())


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
        shape = _input_shape(options.input, space)
    if shape is not None:
        space = space.for_input(shape)
    space = sided(space)
    chosen = read_architecture(space, options.architecture)
    graph, problem = space.lower(chosen), load_problems(space.name)[0]
    if options.classes is not None:
        return network(chosen, with_head(graph, problem, options.classes))
    hint = f"nothing that depends on classes; --classes N adds the head of {problem}"
    return iter([*network(chosen, graph), hint])


def _input_shape(text: str, space: SearchSpace) -> Shape:
    parts = text.split(",")
    wanted = len(space.input_shape) - 1
    if len(parts) != wanted or not all(part.strip().isdecimal() for part in parts):
        what = "height,width,channels" if wanted == 3 else "a number of tokens"
        raise ShapeError(f"--input must be {what}, but got {text!r}.")
    return (1, *map(int, parts))


def _choices(space: SearchSpace) -> Iterator[str]:
    rows: list[Row] = [("choice", "values")]
    rows += [(one.name, " ".join(map(str, one.values))) for one in space.choices]
    yield from table(rows, numbers=())
    yield ""
    count, error = estimated_count(space)
    yield f"architectures: about {count:.1e} (standard error {100 * error / count:.0f} %)"
    yield f"baselines: {' '.join(load_baselines(space.name))}"


if __name__ == "__main__":
    raise SystemExit(main())
