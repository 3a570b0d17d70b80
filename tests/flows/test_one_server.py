"""MLflow, Prefect and scores on one PostgreSQL: a run, and one elsewhere that finds its scores."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tasks.candidates.score_database import VARIABLE
from tests.flows.conftest import waited
from tests.postgres import Postgres

RUN = ("run", "--profile", "smoke")


def settings(postgres: Postgres) -> dict[str, str]:
    """Variables that name databases in which nothing is."""
    url = postgres.new_database()
    prefect = postgres.new_database().replace("postgresql:", "postgresql+asyncpg:")
    return {
        VARIABLE: url,
        "MLFLOW_TRACKING_URI": postgres.new_database(),
        "PREFECT_API_DATABASE_CONNECTION_URL": prefect,
    }


@pytest.mark.slow
def test_a_run_elsewhere_finds_the_scores_of_one_that_had_all_on_one_server(
    postgres: Postgres, new_checkout: Callable[[], Any]
) -> None:
    named = settings(postgres)
    here, there = new_checkout(), new_checkout()
    first = here.run(*RUN, variables=named)
    assert first.returncode == 0, first.stderr
    databases = {name: url.rpartition("/")[2] for name, url in named.items()}
    scores = "SELECT key, xmin::text FROM score ORDER BY key"
    kept = postgres.tell(databases[VARIABLE], scores)
    assert len(kept) == 6
    assert not (here.root / ".edgenas" / "store" / "candidates.db").exists()
    (runs,) = postgres.tell(databases["MLFLOW_TRACKING_URI"], "SELECT count(*) FROM runs")[0]
    assert runs > 6
    flows = "SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'"
    prefect = databases["PREFECT_API_DATABASE_CONNECTION_URL"]
    assert postgres.tell(prefect, flows) == [(7,)]
    second = there.run(*RUN, variables=named)
    assert second.returncode == 0, second.stderr
    assert postgres.tell(databases[VARIABLE], scores) == kept  # none is new, none was written anew
    assert postgres.tell(prefect, flows) == [(14,)]
    assert there.json("search", "candidates.json") == here.json("search", "candidates.json")
    assert not here.left_over() and not there.left_over()


@pytest.mark.slow
def test_a_server_that_goes_away_ends_the_run_in_one_line_and_nothing_is_lost(
    postgres: Postgres, new_checkout: Callable[[], Any]
) -> None:
    url = postgres.new_database()
    name = url.rpartition("/")[2]

    def has_table() -> bool:
        return postgres.tell(name, "SELECT to_regclass('score')") != [(None,)]

    checkout, words = new_checkout(), (*RUN, "--no-tracking")
    running = checkout.start(*words, variables={VARIABLE: url})
    try:
        assert waited(has_table, bool, 600)  # from here to the first score it takes seconds
        postgres.stop()
        _, said = running.communicate(timeout=600)
    finally:
        postgres.start()
    assert running.returncode == 2, said
    (line,) = [one for one in said.splitlines() if one.startswith("error: ")]
    assert line.startswith(f"error: {VARIABLE} must name a PostgreSQL database that answers")
    assert said.splitlines()[-1] == line and "Traceback" not in said
    (aside,) = (checkout.root / ".edgenas" / "store").glob("aside-*.json")  # what was scored
    ((key, score),) = [(row["key"], row["result"]) for row in json.loads(aside.read_text())]
    again = checkout.run(*words, variables={VARIABLE: url})
    assert again.returncode == 0, again.stderr
    stored = dict(postgres.tell(name, "SELECT key, result FROM score"))
    assert len(stored) == 6 and stored[key] == score
    assert not aside.exists()
    assert not checkout.left_over()
