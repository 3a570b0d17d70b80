"""The Prefect server that a run talks to: somebody's, or one of our own for as long as we need it.

One server for a run and all its worker processes: left alone, Prefect starts one in every process.
This module imports Prefect late, because Prefect reads its settings when it is imported.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from flows.given_servers import answers, check_prefect
from flows.proxies import spare_loopback

ROOT: Final = Path(__file__).resolve().parents[1]
HOME: Final = ROOT / ".edgenas" / "prefect"
START_SECONDS: Final = 180.0  # a fresh database on a busy machine; a migrated one takes 5
DRAIN_SECONDS: Final = 10.0
LOOPBACK: Final = "127.0.0.1"

# None of these changes a result. What the environment already holds stands.
SETTINGS: Final[Mapping[str, str]] = {
    "PREFECT_HOME": str(HOME),
    "PREFECT_LOGGING_SETTINGS_PATH": str(ROOT / "flows" / "logging.yml"),
    # Its internal loggers ask this and not the file; events that are lost are no concern of ours.
    "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    # Both understand the word; neither may phone from a machine that is not theirs.
    "DO_NOT_TRACK": "true",
}


class ServerError(RuntimeError):
    """Our own Prefect server did not come up."""


class ServerLostError(ValueError):
    """Our own Prefect server did not stay; the message is one line, with the cure."""


def free_port(preferred: int = 0) -> int:
    """A loopback port nobody listens on: ``preferred`` if it is free, else any."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError(f"a loopback port must be free, but got none on {LOOPBACK}")


@contextmanager
def tethered(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A child process that ends with the block, or with this process, however that ends.

    Args:
        command: What to run; it must not fork into another process group.
        environment: Added to this process's environment.
        log: Takes what the command prints, replaced each time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tether = Path(__file__).with_name("tether.py")
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-I", str(tether), *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield child
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.wait()


def wait_until_healthy(
    child: subprocess.Popen[bytes], url: str, log: Path, seconds: float = START_SECONDS
) -> None:
    """Returns when ``url`` answers.

    Raises:
        ServerError: The child ended by itself, or the time is up.
        ServerLostError: The child was killed.
    """
    deadline = time.monotonic() + seconds
    while not answers(url):
        status = child.poll()
        if status is not None and status < 0:
            raise _lost(log)
        if status is not None or time.monotonic() > deadline:
            got = "silence" if status is None else f"exit status {status}"
            raise ServerError(
                f"{url} must answer within {seconds:.0f} s, but got {got}. See {log}."
            )
        time.sleep(0.05)


def _lost(log: Path) -> ServerLostError:
    return ServerLostError(
        "the Prefect server that a run starts must stay until it is done, but it was killed, or "
        f"crashed; see {log}. The same command takes up where this ended."
    )


def _command(port: int) -> list[str]:
    """Uvicorn on Prefect's own application: ``prefect server start``, without its shell."""
    application = "prefect.server.api.server:create_app"
    options = ["--host", LOOPBACK, "--port", str(port), "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", "--factory", application, *options]


def _server_settings(port: int, *, scheduling: bool) -> dict[str, str]:
    """Settings of the server alone. Scheduling brings the page and every background service."""
    settings = {
        "PREFECT_API_URL": f"http://{LOOPBACK}:{port}/api",
        "PREFECT_UI_STATIC_DIRECTORY": str(HOME / "ui"),
        "PREFECT__SERVER_FINAL": "1",
    }
    if not scheduling:
        settings |= {"PREFECT__SERVER_EPHEMERAL": "1", "PREFECT_UI_ENABLED": "0"}
    return settings


@contextmanager
def serving(port: int, *, scheduling: bool) -> Iterator[str]:
    """A Prefect server of our own on ``port``, healthy; yields its API address.

    Args:
        port: A free loopback port.
        scheduling: Whether the page and the services that start scheduled runs come along.

    Raises:
        ServerError: It did not come up.
        ServerLostError: It was killed before, or went away and the block failed for that.
    """
    url = f"http://{LOOPBACK}:{port}/api"
    log = HOME / "server.log"
    with tethered(_command(port), _server_settings(port, scheduling=scheduling), log) as child:
        wait_until_healthy(child, f"{url}/health", log)
        try:
            yield url
        except Exception as error:
            if child.poll() is None and not _is_of_network(error):
                raise
            raise _lost(log) from error


def _is_of_network(error: BaseException) -> bool:
    """Whether a server did not answer, which ours does as long as it lives."""
    import httpx

    return isinstance(error, httpx.TransportError)


def _reload_settings() -> None:
    """Makes a Prefect that is imported already read the environment again."""
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


def _drain() -> None:
    """Hands the last events and log lines to the server; a client cut off from it waits 30 s."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
    APILogWorker.drain_all(timeout=DRAIN_SECONDS)


@contextmanager
def _exported(url: str) -> Iterator[None]:
    os.environ["PREFECT_API_URL"] = url
    _reload_settings()
    try:
        yield
    finally:
        _drain()
        del os.environ["PREFECT_API_URL"]
        _reload_settings()


@contextmanager
def prefect_server(*, scheduling: bool = False) -> Iterator[str]:
    """The address of a Prefect API that answers, exported to this process and its children.

    The server named by ``PREFECT_API_URL`` if there is one; otherwise a server of our own, which
    ends with the block. Import Prefect inside the block, not before.

    Raises:
        GivenServerError: ``PREFECT_API_URL`` names no Prefect server that answers.
        ServerError: Our own server did not come up.
    """
    spare_loopback()
    logging.raiseExceptions = False  # what cannot be logged, for the server is away, is dropped
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    url = os.environ.get("PREFECT_API_URL")
    if url:
        check_prefect(url)
        yield url
        return
    with serving(free_port(), scheduling=scheduling) as url, _exported(url):
        yield url


def main() -> None:
    """Creates or migrates the database, so that the first run need not."""
    with prefect_server():
        print(f"Prefect database ready in {HOME}")


if __name__ == "__main__":
    main()
