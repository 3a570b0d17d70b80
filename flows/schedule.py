"""Serves the flow on a schedule from this machine, until Ctrl-C.

``python -m flows schedule --cron "0 3 * * *"``. A worker that somebody keeps running
takes its schedule from `prefect.yaml` instead.
"""

from __future__ import annotations

import dataclasses
import os

from flows.server import ROOT, prefect_server
from tasks.run.spec import RunSpec


class ScheduleError(ValueError):
    """The schedule cannot be read."""


def check_cron(cron: str) -> None:
    """Refuses what Prefect would not take as a schedule.

    Raises:
        ScheduleError: ``cron`` is no cron expression.
    """
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=cron)
    except ValueError as error:
        raise ScheduleError(
            f"--cron must be five fields (minute hour day month weekday), but got {cron!r}. "
            'Example: "0 3 * * *" is every night at three.'
        ) from error


def serve(cron: str, spec: RunSpec, keep: int | None = None) -> None:
    """Starts a run whenever ``cron`` says so, one at a time; returns on Ctrl-C.

    Args:
        cron: Five fields, UTC.
        spec: What to run.
        keep: How many old runs of each name stay after each run; None: all.

    Raises:
        ScheduleError: ``cron`` is no cron expression.
    """
    # A scheduled run is a process that imports the flow by its module path.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    with prefect_server(scheduling=True) as url:
        check_cron(cron)
        from prefect.types.entrypoint import EntrypointType

        from flows.edge_nas import edge_nas

        said = f"Serving edge-nas/{spec.name} at {cron!r} (UTC) through {url}. Ctrl-C stops."
        print(said, flush=True)
        edge_nas.serve(
            name=spec.name,
            cron=cron,
            parameters={
                **dataclasses.asdict(spec),
                "overrides": list(spec.overrides),
                "keep": keep,
            },
            limit=1,
            print_starting_message=False,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
