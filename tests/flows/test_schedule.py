"""What can be a schedule, and what one does."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flows.schedule import ScheduleError, check_cron


def test_five_fields_are_a_schedule() -> None:
    check_cron("0 3 * * *")


@pytest.mark.parametrize("cron", ["* * *", "every day", "61 * * * *", ""])
def test_anything_else_is_refused_with_an_example(cron: str) -> None:
    with pytest.raises(ScheduleError, match=r"must be five fields .* but got .* Example: "):
        check_cron(cron)


def ended(root: Path) -> list[str]:
    """End states of the flow's scheduled runs, in order."""
    query = (
        "SELECT state_type FROM flow_run JOIN flow ON flow.id = flow_id "
        "WHERE flow.name = 'edge_nas' AND state_type IN ('COMPLETED', 'FAILED', 'CRASHED') "
        "ORDER BY end_time"
    )
    with closing(sqlite3.connect(root / ".edgenas" / "prefect" / "prefect.db", timeout=60)) as db:
        return [row[0] for row in db.execute(query)]


@pytest.mark.slow
def test_scheduled_runs_follow_each_other_and_use_what_there_is(checkout: Any) -> None:
    log = checkout.root / "schedule.log"
    with log.open("w") as output:
        process = checkout.start(
            *("schedule", "--cron", "* * * * *", "--profile", "smoke", "--keep", "2"),
            stdout=output,
            stderr=output,
        )
        deadline = time.monotonic() + 900
        while len(ended(checkout.root)) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, log.read_text()
            time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 0  # Ctrl-C is how a schedule ends
    said = log.read_text()
    assert ended(checkout.root)[:2] == ["COMPLETED", "COMPLETED"], said
    assert len(re.findall(r"nothing changed, kept", said)) >= 6
    assert len(re.findall(r"Pruned    about .* of old runs, 2 of each name stay", said)) == 2
    assert "Traceback" not in said
    assert checkout.left_over() == []
