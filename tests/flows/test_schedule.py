"""What can be a schedule."""

from __future__ import annotations

import pytest

from flows.schedule import ScheduleError, check_cron


def test_five_fields_are_a_schedule() -> None:
    check_cron("0 3 * * *")


@pytest.mark.parametrize("cron", ["* * *", "every day", "61 * * * *", ""])
def test_anything_else_is_refused_with_an_example(cron: str) -> None:
    with pytest.raises(ScheduleError, match=r"must be five fields .* but got .* Example: "):
        check_cron(cron)
