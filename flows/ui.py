"""The two pages over the project's stores: Prefect's runs and MLflow's experiments.

``python -m flows ui``, until Ctrl-C. Both listen on loopback only and show what is in `.edgenas/`,
also while a search is running.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flows.given_servers import answers, check_mlflow_variables, experiments
from flows.proxies import spare_loopback
from flows.server import (
    LOOPBACK,
    ROOT,
    SETTINGS,
    ServerError,
    free_port,
    serving,
    tethered,
    wait_until_healthy,
)
from tasks.tracking.tracking_store import Store, prepare_store
from tasks.tracking.tracking_view import view_fragment

PREFECT_PORT: Final = 4200
MLFLOW_PORT: Final = 5000
OURS: Final = "edgenas"
"""How names of the project's experiments begin."""

# Without its job runner MLflow is two processes instead of eleven; nothing here submits jobs.
MLFLOW_SETTINGS: Final[Mapping[str, str]] = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _mlflow_command(store: Store, port: int) -> list[str]:
    artifacts = store.artifacts.as_uri()
    stores = ["--backend-store-uri", store.uri, "--artifacts-destination", artifacts]
    network = ["--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "mlflow", "server", *network, *stores]


@contextmanager
def mlflow_server(store: Store, port: int) -> Iterator[str]:
    """MLflow's server over ``store`` on ``port``, healthy; yields its address.

    A store that is a server already is left to itself: its own address is the answer.

    Raises:
        ServerError: It did not come up.
    """
    if store.uri.startswith("http"):
        yield store.uri
        return
    url = f"http://{LOOPBACK}:{port}"
    log = store.folder / "server.log"
    with tethered(_mlflow_command(store, port), MLFLOW_SETTINGS, log) as child:
        wait_until_healthy(child, f"{url}/health", log)
        yield url


@contextmanager
def pages(root: Path = ROOT) -> Iterator[tuple[str, str]]:
    """Both servers; yields the address of Prefect's page and of MLflow's.

    Args:
        root: The project whose MLflow store is shown.

    Raises:
        GivenServerError: ``MLFLOW_TRACKING_URI`` names nothing that can be used.
        ServerError: One of them did not come up.
    """
    spare_loopback()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    check_mlflow_variables(root)
    store = prepare_store(root)
    prefect = serving(free_port(PREFECT_PORT), scheduling=True)
    with prefect as api, mlflow_server(store, free_port(MLFLOW_PORT)) as mlflow:
        yield api.removesuffix("/api"), mlflow


def views(mlflow: str) -> list[str]:
    """A line for each experiment of ours: its candidates, as its saved view shows them.

    From MLflow's own list an experiment opens on its overview for language models.
    """
    return [
        f"  {name}: {mlflow.rstrip('/')}/{view_fragment(identity)}"
        for name, identity in sorted(experiments(mlflow).items())
        if name.startswith(OURS)
    ]


def main() -> None:
    """Starts both servers, prints where they are and waits for Ctrl-C."""
    print("Starting the Prefect and MLflow servers (about 20 s) ...", flush=True)
    with pages() as (prefect, mlflow):
        lines = [f"Prefect  {prefect}", f"MLflow   {mlflow}", *views(mlflow), "Ctrl-C stops both."]
        print("\n".join(lines), flush=True)
        while all(answers(address) for address in (prefect, mlflow)):
            time.sleep(30)
    raise ServerError("both servers must run until Ctrl-C, but one of them ended. See .edgenas/.")
