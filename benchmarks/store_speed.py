"""Whether a store of a million scores is as fast as one of a thousand, and candidates are ranked.

    python -m benchmarks.store_speed --json store_speed.json              # a SQLite file, minutes
    python -m benchmarks.store_speed --url postgresql://me@127.0.0.1/scratch

Rows as large as those of a search go into two stores of the same kind, ``--small`` into one and
``--large`` into the other. Then, round by round and in turn: looking up one score (``get``),
storing one durably (``put``), and a chunk of eight as a search does it (``of 8``: looked up,
stored, read back); each with a connection of its own, as everywhere. Candidates are ranked by the
project's own board, by the objectives of params.yaml: ``rank`` gives each its Pareto rank,
``front`` finds those that none dominates. Times of the store are wall seconds of one operation,
those of the board processor seconds for each candidate. Printed are times at ``--large`` over
those at ``--small``, and the front of 100,000.

A database named by ``--url`` gets two tables more, in schemas that are dropped at the end. Its
machine's disk decides how long a put takes; ratios are of one run.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import text

from benchmarks.results import Result, machine, said, save, spread, warn_if_busy
from spaces.space import Architecture
from tasks.candidates.board import Board
from tasks.candidates.candidate import Candidate
from tasks.candidates.objectives import parse
from tasks.candidates.records import digest
from tasks.candidates.score_database import Database, PostgresServer, SqliteFile
from tasks.candidates.score_store import ScoreStore

BAR = 2.0
FRONT_OF = 100_000
FRONT_SECONDS = 1.0
CHUNK = 8
KNOWN = 1_000
"""Scores that are looked up."""
FILL = {
    "sqlite": """
        WITH RECURSIVE numbered(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbered WHERE n < :n)
        INSERT INTO score SELECT key, :c, :a, :r FROM
        (SELECT lower(hex(randomblob(32))) AS key FROM numbered WHERE :n > 0 ORDER BY key)""",
    "postgresql": """
        INSERT INTO score SELECT key, :c, :a, :r FROM
        (SELECT encode(sha256(n::text::bytea), 'hex') AS key FROM generate_series(1, :n) AS n
        ORDER BY key) AS keys""",
}
"""Keys as good as any, in their order, so that pages are written once."""
CONTEXT = {"evaluator": "made up"}
OBJECTIVES = parse(("top1:max", "latency_ms:min", "weight_bytes:min"))


def architecture(number: int) -> Architecture:
    """One of as many decisions as those of a small space; another one for each number."""
    digits = {f"stage{at // 2}/block{at % 2}/kernel": number >> at & 1 for at in range(16)}
    return Architecture.of("made_up", {**digits, "number": number})


def result(number: int) -> dict[str, object]:
    """As large as that of a search."""
    return {"status": "done", "top1": number / 3e6, "loss": 1 / (1 + number)}


def filled(database: Database, count: int) -> ScoreStore:
    """A store of so many scores: :data:`KNOWN` by the store, all else by the database itself."""
    store = ScoreStore(database, CONTEXT)
    store.put_many({architecture(number): result(number) for number in range(KNOWN)})
    row = {"a": architecture(count).to_json(), "r": json.dumps(result(count)), "n": count - KNOWN}
    with database.transaction() as connection:
        connection.execute(text(FILL[connection.dialect.name]), {"c": digest(CONTEXT), **row})
    return store


@contextlib.contextmanager
def databases(url: str | None) -> Iterator[tuple[Database, Database]]:
    """Two in which nothing is."""
    if url is None:
        home = Path(".edgenas")  # not where files may be in memory
        home.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            yield SqliteFile(Path(folder, "small.db")), SqliteFile(Path(folder, "large.db"))
        return
    names = ("edgenas_small", "edgenas_large")
    whole = PostgresServer(url)
    with whole.transaction() as connection:
        for name in names:
            connection.execute(text(f"CREATE SCHEMA {name}"))
    try:
        mark = "&" if "?" in url else "?"
        parts = [f"{url}{mark}options=-csearch_path%3D{name}" for name in names]
        yield PostgresServer(parts[0]), PostgresServer(parts[1])
    finally:
        with whole.transaction() as connection:
            for name in names:
                connection.execute(text(f"DROP SCHEMA {name} CASCADE"))


def seconds(
    work: Callable[[int], object],
    numbers: Sequence[int],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """For each of some numbers."""
    start = clock()
    for number in numbers:
        work(number)
    return (clock() - start) / len(numbers)


def chunk(store: ScoreStore, number: int) -> None:
    """What a search does with a chunk of new candidates, without scoring them."""
    several = {architecture(number * CHUNK + at): result(at) for at in range(CHUNK)}
    if store.get_many(several):
        raise ValueError("candidates must be new to the store, but are not.")
    store.put_many(several)


def of_store(
    stores: Sequence[ScoreStore], rounds: int, repeats: int
) -> dict[str, list[list[float]]]:
    """Seconds of each operation on each store, round by round."""
    rng, new = np.random.default_rng(0), 10_000_000
    took: dict[str, list[list[float]]] = {name: [] for name in ("get", "put", f"of {CHUNK}")}
    for _ in range(rounds):
        found: dict[str, list[float]] = {name: [] for name in took}
        for store in stores:
            known = [int(number) for number in rng.integers(0, KNOWN, repeats)]
            fresh = range(new, new + repeats)
            found["get"].append(seconds(lambda n, s=store: s.get(architecture(n)), known))
            found["put"].append(
                seconds(lambda n, s=store: s.put(architecture(n), result(n)), fresh)
            )
            found[f"of {CHUNK}"].append(seconds(lambda n, s=store: chunk(s, n), fresh))
        new += repeats
        for name, pair in found.items():
            took[name].append(pair)
    return took


def board_of(count: int) -> Board:
    """Candidates of which the slower are the better ones, more or less."""
    rng = np.random.default_rng(count)
    latency = rng.random(count)
    score = 0.5 + 0.3 * np.log1p(9 * latency) / np.log(10) + 0.05 * rng.standard_normal(count)
    weights = 1e6 * (1 + latency) * rng.uniform(0.5, 2, count)
    board = Board(OBJECTIVES)
    board.candidates = [
        Candidate(
            id=str(at),
            architecture={},
            metric="top1",
            score=float(score[at]),
            latency_ms=float(latency[at]),
            weight_bytes=int(weights[at]),
        )
        for at in range(count)
    ]
    return board


def of_board(small: int, large: int) -> dict[str, list[list[float]]]:
    """Processor seconds for each candidate to rank them, and to find the front: one round."""
    took: dict[str, list[list[float]]] = {"rank": [[]], "front": [[]]}
    for count in (small, large):
        board, each = board_of(count), range(max(1, 20_000 // count))
        works = {"rank": lambda _, b=board: b.rank(), "front": lambda _, b=board: b.front}
        for name, work in works.items():
            took[name][0].append(seconds(work, each, time.process_time) / count)
    return took


def told(took: dict[str, list[list[float]]], counts: tuple[int, int]) -> dict[str, Result]:
    """Ratios and microseconds at the larger count, printed as well."""
    found: dict[str, Result] = {}
    for name, pairs in took.items():
        ratio = spread([late / early for early, late in pairs])
        late = spread([1e6 * late for _, late in pairs])
        found[name] = {"ratio": ratio, "us": late}
        word = "missed" if ratio["median"] > BAR else "met"
        print(
            f"{name:<6} {said(ratio)} times {counts[0]:,}'s; {said(late, 1)} us at {counts[1]:,}; "
            f"bar {BAR:g} {word}",
            flush=True,
        )
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_speed")
    parser.add_argument("--url", help="a PostgreSQL database; without it, a file here")
    parser.add_argument("--small", type=int, default=KNOWN, help=f"at least {KNOWN}")
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=50, help="of each operation in a round")
    parser.add_argument("--json", type=Path, metavar="OUT")
    options = parser.parse_args()
    warn_if_busy()
    about = machine(["sqlalchemy", "moocore"])
    counts = (options.small, options.large)
    with databases(options.url) as pair:
        start = time.perf_counter()
        stores = [filled(one, count) for count, one in zip(counts, pair, strict=True)]
        filling = time.perf_counter() - start
        print(f"filled with {sum(counts):,} scores in {filling:.0f} s", flush=True)
        found = told(of_store(stores, options.rounds, options.repeats), counts)
    fronts = None
    if options.url is None:  # the board has nothing to do with the database
        board = board_of(FRONT_OF)
        each = [seconds(lambda _: board.front, [0], time.process_time) for _ in range(3)]
        fronts = spread(each)
        print(f"front of {FRONT_OF:,} candidates: {said(fronts)} s; bar {FRONT_SECONDS:g}")
        found |= told(of_board(*counts), counts)
    save(
        options.json,
        {
            "machine": about,
            "database": "PostgreSQL" if options.url else "SQLite",
            "filled_s": filling,
            "operations": found,
            "front_s": fronts,
        },
    )


if __name__ == "__main__":
    main()
