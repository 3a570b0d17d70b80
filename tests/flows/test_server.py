"""A real Prefect server: it starts, answers, and ends however its owner ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import server, tether
from flows.given_servers import GivenServerError

ROOT = Path(__file__).resolve().parents[2]

# Holds a server on a database of its own and says where it is, until somebody ends it.
OWNER = """
import sys, time
from pathlib import Path
from flows import server
from flows.given_servers import GivenServerError
server.HOME = Path(sys.argv[1])
with server.prefect_server() as url:
    print(url, flush=True)
    time.sleep(600)
"""


def answers_within(url: str, wanted: bool, seconds: float) -> bool:
    """Whether ``url`` comes to answer, or to be silent, in time."""
    deadline = time.monotonic() + seconds
    while server.answers(url) is not wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes what a server exports back out of the environment after the test."""
    for name, value in server.SETTINGS.items():
        monkeypatch.setenv(name, os.environ.get(name, value))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Prefect home whose database is created by the first test that needs it."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def owner(home: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that holds a server, and the server's health address."""
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    environment.pop("PREFECT_API_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(home)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    with process:
        try:
            yield process, f"{process.stdout.readline().strip()}/health"
        finally:
            process.kill()


def test_server_ends_after_kill_9_of_its_owner(owner: tuple[subprocess.Popen[str], str]) -> None:
    process, health = owner
    assert urllib.request.urlopen(health, timeout=60).read() == b"true"
    process.kill()
    assert answers_within(health, False, seconds=60)


def test_ctrl_c_stops_the_server_before_its_owner_is_gone(
    owner: tuple[subprocess.Popen[str], str],
) -> None:
    process, health = owner
    assert server.answers(health)
    process.send_signal(signal.SIGINT)
    process.wait(120)
    assert not server.answers(health)


def test_server_is_exported_and_forgotten_after_the_block(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HOME", home)
    monkeypatch.setenv("PREFECT_HOME", str(home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with server.prefect_server() as url:
        assert os.environ["PREFECT_API_URL"] == url
        assert server.answers(f"{url}/health")
    assert "PREFECT_API_URL" not in os.environ
    assert not server.answers(f"{url}/health")


def test_a_given_server_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://example.invalid/api")
    monkeypatch.setattr(server, "check_prefect", lambda url: None)
    with server.prefect_server() as url:
        assert url == "http://example.invalid/api"


def test_a_given_server_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = f"http://{server.LOOPBACK}:{server.free_port()}/api"
    monkeypatch.setenv("PREFECT_API_URL", silent)
    expected = f"must name a Prefect server that answers, but got silence from {silent}"
    with pytest.raises(GivenServerError, match=expected), server.prefect_server():
        pass


def test_a_command_that_ends_early_is_reported_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    command = [sys.executable, "-c", "import sys; print('why'); sys.exit(3)"]
    expected = r"must answer within 60 s, but got exit status 3\. See "
    with (
        server.tethered(command, {}, log) as child,
        pytest.raises(server.ServerError, match=expected),
    ):
        server.wait_until_healthy(child, f"http://{server.LOOPBACK}:9/", log, seconds=60)
    assert log.read_text() == "why\n"


def test_a_tethered_command_that_ignores_termination_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import os, signal, time;"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(os.getpid(), flush=True);"
        "time.sleep(600)"
    )
    log = tmp_path / "log"
    with server.tethered([sys.executable, "-c", stubborn], {}, log):
        while not log.read_text():
            time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(int(log.read_text()), 0)


def test_a_tethered_command_that_is_killed_is_started_again_a_few_times(tmp_path: Path) -> None:
    command = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    log, killed = tmp_path / "log", 0
    with server.tethered([sys.executable, "-c", command], {}, log) as child:
        for count in range(1, 2 + tether.RESTARTS):
            wait_for_lines(log, count)
            killed = int(log.read_text().split()[-1])
            os.kill(killed, signal.SIGKILL)
        assert child.wait(60) == 256 - signal.SIGKILL
    assert len(log.read_text().split()) == 1 + tether.RESTARTS


def test_a_tethered_command_ends_when_its_tether_is_killed(tmp_path: Path) -> None:
    command = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    log = tmp_path / "log"
    with server.tethered([sys.executable, "-c", command], {}, log) as child:
        wait_for_lines(log, 1)
        child.kill()
        deadline = time.monotonic() + 10
        while is_alive(int(log.read_text())):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def wait_for_lines(log: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while log.read_text().count("\n") < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def server_of(child: subprocess.Popen[bytes]) -> int:
    """The process that a tether holds."""
    return int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())


def test_a_server_that_is_killed_comes_back_at_its_address(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HOME", home)
    monkeypatch.setenv("PREFECT_HOME", str(home))
    started: list[subprocess.Popen[bytes]] = []
    tethered = server.tethered

    @contextlib.contextmanager
    def noted(*arguments: Any) -> Iterator[subprocess.Popen[bytes]]:
        with tethered(*arguments) as child:
            started.append(child)
            yield child

    monkeypatch.setattr(server, "tethered", noted)
    with (
        pytest.raises(server.ServerLostError, match="must stay until it is done") as raised,
        server.serving(server.free_port(), scheduling=False) as url,
    ):
        os.kill(server_of(started[0]), signal.SIGKILL)
        assert answers_within(f"{url}/health", False, seconds=10)
        assert answers_within(f"{url}/health", True, seconds=120)
        started[0].kill()
        assert answers_within(f"{url}/health", False, seconds=10)
        httpx.get(f"{url}/health")
    assert "\n" not in str(raised.value)


def test_a_server_that_is_killed_while_it_starts_is_no_defect(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        child.kill()
        child.wait()
        with pytest.raises(server.ServerLostError, match="The same command takes up"):
            server.wait_until_healthy(child, "http://127.0.0.1:9/health", tmp_path / "log")


def test_another_failure_in_the_block_of_a_server_stays_what_it_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HOME", home)
    monkeypatch.setenv("PREFECT_HOME", str(home))
    with (
        pytest.raises(ZeroDivisionError),
        server.serving(server.free_port(), scheduling=False),
    ):
        raise ZeroDivisionError


def test_no_signal_comes_between_a_tethered_command_and_its_end() -> None:
    script = str(Path(server.__file__).with_name("tether.py"))
    command = [
        sys.executable,
        "-c",
        "import os, time; print(os.getpid(), flush=True); time.sleep(60)",
    ]
    pipe = subprocess.PIPE
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-I", script, *command],
            stdin=pipe,
            stdout=pipe,
            start_new_session=True,
        ) as owner:
            assert owner.stdin and owner.stdout
            pid = int(owner.stdout.readline())
            owner.stdin.close()  # as when the owner dies: its pipe ends, and signals follow
            while owner.poll() is None:
                owner.terminate()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_preferred_port_is_taken_only_when_free() -> None:
    free = server.free_port()
    assert server.free_port(free) == free
    with server.socket.socket() as listener:
        listener.bind((server.LOOPBACK, free))
        listener.listen()
        assert server.free_port(free) != free
