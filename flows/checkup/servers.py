"""Servers that a person named in the environment; without one, what ours need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows.checkup.finding import Finding, bad, good
from flows.given_servers import (
    GivenServerError,
    check_mlflow_variables,
    check_prefect,
    check_store_variable,
)
from flows.proxies import spare_loopback
from flows.server import ServerError, free_port
from tasks.candidates import score_database
from tasks.run import cluster, scheduler
from tasks.tracking.tracking_store import given_uri


def look(root: Path) -> Iterator[Finding]:
    """All at the same time: each may be silent for seconds."""
    spare_loopback()
    looks = (_prefect, _mlflow, _store, _cluster)
    with ThreadPoolExecutor(len(looks)) as pool:
        found = pool.map(lambda ask: ask(root), looks)
        yield from filter(None, found)


def _prefect(root: Path) -> Finding:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return _own("Prefect")
    try:
        check_prefect(url)
    except GivenServerError as error:
        return _told(error)
    return good("servers", "Prefect: that of PREFECT_API_URL answers")


def _mlflow(root: Path) -> Finding:
    try:
        check_mlflow_variables(root)
    except GivenServerError as error:
        return _told(error)
    if given_uri(root):
        return good("servers", "MLflow: that of MLFLOW_TRACKING_URI can be used")
    return good("servers", "MLflow: the store in .edgenas, without a server")


def _store(root: Path) -> Finding | None:
    """None: there is none, so scores are in a file here, which is looked at as one."""
    if score_database.given() is None:
        return None
    try:
        check_store_variable()
    except score_database.StoreError as error:
        return _told(error)
    return good("servers", f"scores: the database of {score_database.VARIABLE} can be used")


def _cluster(root: Path) -> Finding | None:
    """None: there is none, so processes of this machine do the work."""
    try:
        address = scheduler.given()
        if address is None:
            return None
        count = cluster.check(address)
    except scheduler.ClusterError as error:
        return _told(error)
    said = f"Dask: the cluster of {scheduler.VARIABLE} has {count} workers, as they must be"
    return good("servers", said)


def _own(name: str) -> Finding:
    try:
        free_port()
    except ServerError as error:
        return bad("servers", f"{name}: {error}.", "allow programs to listen on 127.0.0.1.")
    return good("servers", f"{name}: each run has its own, on loopback")


def _told(error: ValueError) -> Finding:
    """What is wrong, and the cure that the message ends with."""
    said, _, cure = str(error).partition(". ")
    return bad("servers", f"{said}.", cure)
