"""Flow runs that were killed: Prefect would show them as running for ever."""

from __future__ import annotations

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed


def close_killed_runs(profile: str | None) -> int:
    """Marks the runs of a profile that seem to be going on as crashed; returns how many.

    To be called by the owner of the profile's workspace, so that none of them can be alive, and
    on a server that this checkout has for itself.
    """
    running = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
    closed = 0
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(state=running)):
            asked = run.parameters.get("spec") or run.parameters  # of a stage, or of all
            if asked.get("profile") == profile:
                crashed = Crashed(message="Its process was killed.")  # type: ignore[var-annotated]
                client.set_flow_run_state(run.id, crashed, force=True)
                closed += 1
    return closed
