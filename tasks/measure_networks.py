"""Networks of a space on a bench: chosen, written with random weights, measured, kept as rows.

Beside the profile that is to be fitted, ``my.yaml``, lie ``my.networks/``, the files, and
``my.rows.csv``, a row each as soon as it is known. What was measured is not measured again; a
network that failed is a row with its reason, and is tried again by the next call.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hw.device import load_device
from hw.family import family_of
from hw.measuring.bench import BenchError, BenchSettings, load_bench
from hw.protocols import Bench
from hw.tflite.model import TfliteError
from spaces.menu import load_space
from spaces.space import Architecture, SearchSpace
from tasks.candidates.architecture_table import TableError, read_table
from tasks.candidates.design import chosen
from tasks.learning.problem import default_classes, problem_of_space
from tasks.learning.protocols import Problem
from tasks.learning.random_file import random_file
from tasks.run import workers
from tasks.run.workspace import write_bytes

COLUMNS = ("tflite", "latency_ms", "failed", "bench", "device", "architecture")
FAILURES = 5
"""Networks that fail one after the other before any is measured: then it is the bench."""
WORDS = 300
"""Characters of a reason."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """What a bench said of one network.

    Attributes:
        tflite: The file, relative to the table.
        latency_ms: None: it failed.
        failed: Why; empty: it did not.
        bench: Which, and with how many threads.
        device: Profile from which the networks were chosen.
        architecture: As JSON.
    """

    tflite: str
    latency_ms: float | None
    failed: str
    bench: str
    device: str
    architecture: str

    @property
    def cells(self) -> tuple[str, ...]:
        """In the order of :data:`COLUMNS`."""
        latency = "" if self.latency_ms is None else f"{self.latency_ms:.6f}"
        return self.tflite, latency, self.failed, self.bench, self.device, self.architecture


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure, and where it is kept.

    Attributes:
        space: Its name.
        bench: Its name.
        device: Profile to choose by, and to compile for.
        count: Networks.
        seed: Of the choice and of weights.
        classes: Of the head; None: as published networks of the space had.
        settings: Of the bench.
        folder: Of the files.
        table: Of the rows.
    """

    space: str
    bench: str
    device: str
    count: int
    seed: int
    classes: int | None
    settings: BenchSettings
    folder: Path
    table: Path

    @property
    def how(self) -> str:
        """The bench as rows name it."""
        threads = self.settings.threads
        return self.bench if threads == 1 else f"{self.bench} with {threads} threads"


def beside(target: Path) -> tuple[Path, Path]:
    """Folder of networks and table of rows that go with a profile.

    >>> [path.name for path in beside(Path("boards/my.yaml"))]
    ['my.networks', 'my.rows.csv']
    """
    return target.with_suffix(".networks"), target.with_suffix(".rows.csv")


def run(plan: Plan, tell: Tell) -> tuple[Row, ...]:
    """Measure what is missing of those networks that tell most, and say how it goes.

    Returns:
        Rows of ``plan.count`` networks, measured now or before, those that failed among them.

    Raises:
        BenchError: There is no such bench, it is not at hand, or it measures nothing.
        TableError: Rows that are there are of something else, or cannot be written.
        DesignError, DeviceError, SpaceError, CalibrationError: See there.
    """
    return measured(plan, chosen_points(plan), tell)


def chosen_points(plan: Plan) -> tuple[Architecture, ...]:
    """Networks that tell most: see :mod:`tasks.candidates.design`."""
    space, problem = opened(plan.space, plan.classes)
    return chosen(space, problem, load_device(plan.device), plan.count, plan.seed)


def measured(plan: Plan, points: Sequence[Architecture], tell: Tell) -> tuple[Row, ...]:
    """Rows of these networks; see :func:`run`."""
    bench = load_bench(plan.bench, plan.settings)
    missing = bench.missing()
    if missing is not None:
        raise BenchError(f"{missing}, but got none.")
    known = {row.tflite: row for row in _kept(plan)}
    wanted = {_relative(path): (point, path) for point, path in written(plan, points)}
    todo = [one for name, one in wanted.items() if name not in known]
    done = len(wanted) - len(todo)
    tell(f"{len(wanted)} networks of {plan.space}, {done} measured before: {plan.table}")
    failures = 0
    for row in _answers(bench, plan, todo):
        _append(plan.table, row)
        known[row.tflite] = row
        done += 1
        failures += bool(row.failed)
        what = row.failed or f"{row.latency_ms:.4f} ms"
        tell(f"{done} of {len(wanted)}: {Path(row.tflite).name}: {what}")
        if failures >= FAILURES and all(one.failed for one in known.values()):
            raise BenchError(
                f"{plan.bench} must measure some of the networks, but got none of the first "
                f"{failures}: {row.failed}"
            )
    return tuple(known[name] for name in wanted)


def written(plan: Plan, points: Sequence[Architecture]) -> Iterator[tuple[Architecture, Path]]:
    """Files of networks, made where they are not there yet."""
    space, problem = opened(plan.space, plan.classes)
    device = load_device(plan.device)
    splits = family_of(device).splits_groups(device)
    classes = len(problem.setting.classes)
    for point in points:
        path = plan.folder / f"{point.id}-{classes}.tflite"
        if not path.is_file():
            graph = problem.complete(space.lower(point))
            data = random_file(problem, graph, int(point.id[:8], 16), splits)
            try:
                plan.folder.mkdir(parents=True, exist_ok=True)
                write_bytes(path, data)
            except OSError as error:
                raise TableError(
                    f"{plan.folder}: must be a folder to write to, but got: {error.strerror}."
                ) from None
        yield point, path


def opened(space_name: str, classes: int | None) -> tuple[SearchSpace, Problem]:
    """A space, and the problem whose head its networks get."""
    space = load_space(space_name)
    head = default_classes(space) if classes is None else classes
    return space, problem_of_space(space, head)


def _answers(bench: Bench, plan: Plan, todo: Sequence[tuple[Architecture, Path]]) -> Iterator[Row]:
    """As they are done: several at once where nothing is timed."""

    def one(item: tuple[Architecture, Path]) -> Row:
        point, path = item
        latency, why = None, ""
        try:
            report = bench.measure(path)
            latency = None if report.latency_ms is None else round(report.latency_ms, 6)
            if latency is None:
                told = f": {report.host_ops[0][1]}" if report.host_ops else " told"
                why = f"must have a latency, but got none{told}"
        except (BenchError, TfliteError) as error:
            why = " ".join(str(error).split())[:WORDS]
        return Row(_relative(path), latency, why, plan.how, plan.device, point.to_json())

    if not bench.concurrent:
        yield from map(one, todo)
        return
    team = ThreadPoolExecutor(workers.count(max(len(todo), 1)))
    try:
        yield from team.map(one, todo)
    finally:
        team.shutdown(cancel_futures=True)


def _relative(path: Path) -> str:
    return Path(path.parent.name, path.name).as_posix()


def _kept(plan: Plan) -> list[Row]:
    """Rows of the table that need not be measured again; those that failed are taken out of it.

    Raises:
        TableError: They are no such rows, or of another bench, device or space.
    """
    if not plan.table.is_file() or plan.table.read_bytes().count(b"\n") < 2:
        return []
    table = read_table(plan.table)
    if table.columns != COLUMNS:
        raise TableError(
            f"{plan.table}: columns must be {','.join(COLUMNS)}, but got "
            f"{','.join(table.columns)}. Name another --out."
        )
    rows = []
    for number, (tflite, latency, failed, bench, device, text) in enumerate(table.rows):
        space = Architecture.from_json(text).space
        if (bench, device, space) != (plan.how, plan.device, plan.space):
            raise table.error(
                number,
                "bench",
                f"must be of {plan.how}, {plan.device} and {plan.space}, but got {bench}, "
                f"{device} and {space}. Name another --out.",
            )
        if not failed:
            value = table.number(number, "latency_ms", latency)
            rows.append(Row(tflite, value, "", bench, device, text))
    if len(rows) < len(table.rows):
        _write(plan.table, rows)
    return rows


def _append(path: Path, row: Row) -> None:
    try:
        new = not path.is_file() or not path.read_bytes().strip()
        with path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(COLUMNS)
            writer.writerow(row.cells)
    except OSError as error:
        raise TableError(f"{path}: must be writable, but got: {error.strerror}.") from None


def _write(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(row.cells for row in rows)
    write_bytes(path.resolve(), text.getvalue().encode())
