"""A run that somebody cancels at Prefect's page or by its API ends, as after Ctrl-C.

Runs of a schedule or a worker are ended by the process that started them. One that a person
started has nobody who would look at what Prefect's database says of it, so it looks itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.runtime import flow_run
from prefect.states import Cancelled

EVERY_S: Final = 3.0
_BY_RUNNER: Final = "PREFECT__FLOW_RUN_ID"
"""Set in runs whose process somebody else watches."""
_cancelled: set[UUID] = set()


@contextmanager
def ended_if_cancelled() -> Iterator[None]:
    """Interrupt the block once Prefect says that its flow run shall be cancelled."""
    identity = flow_run.id
    if identity is None or _BY_RUNNER in os.environ:
        yield
        return
    over = threading.Event()
    args = (UUID(str(identity)), over)
    thread = threading.Thread(target=_watch, args=args, name="cancelling", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def told_as_cancelled() -> Iterator[None]:
    """Around flows: a run that was interrupted for this is shown as cancelled, not as crashed."""
    try:
        yield
    finally:
        while _cancelled:
            state = Cancelled(message="Cancelled by a person.")  # type: ignore[var-annotated]
            with get_client(sync_client=True) as client:
                client.set_flow_run_state(_cancelled.pop(), state, force=True)


def _watch(identity: UUID, over: threading.Event) -> None:
    while not over.wait(EVERY_S):
        try:
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(identity).state
        except Exception:  # a server that is busy or gone is no reason to end
            continue
        if state is not None and state.type in (StateType.CANCELLING, StateType.CANCELLED):
            if not over.is_set():
                _cancelled.add(identity)
                print("The run was cancelled. The same command takes it up.", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGINT)
            return
