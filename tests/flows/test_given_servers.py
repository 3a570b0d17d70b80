"""Servers and stores that a person names: each is found out in seconds, in one line."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import sqlite3
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows import __main__ as cli
from flows import given_servers
from flows.given_servers import GivenServerError, check_mlflow, check_prefect
from tasks.tracking import tracker as tracking
from tasks.tracking import tracking_store

Serve = Callable[..., str]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's keys, and no proxies."""
    keys = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING", "MLFLOW_TRACKING_TOKEN")
    for name in (*keys, *(name for name in os.environ if name.startswith("DATABRICKS_"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers each path with a status and a text, and yields its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(answers: dict[str, tuple[int, str]], seen: list[Any] | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                if seen is not None:
                    seen.append((self.path, dict(self.headers)))
                status, text = answers.get(self.path, (404, "<html>not here</html>"))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


WORD = "open sesame"
VERSION = "/api/admin/version"
SEARCH = "/api/2.0/mlflow/experiments/search"
OURS = json.dumps(importlib.metadata.version("prefect"))


def test_servers_of_the_right_kind_are_let_through(serve: Serve) -> None:
    check_prefect(serve({VERSION: (200, OURS)}) + "/api")
    check_mlflow(serve({SEARCH: (200, "{}")}))
    check_mlflow(serve({f"/mlflow{SEARCH}": (200, '{"experiments": []}')}) + "/mlflow/")


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ((404, ""), "got 404 Not Found from http://127.0.0.1:"),
        ((503, ""), "got 503 Service Unavailable from"),
        ((401, ""), "got 401 Unauthorized: it wants a key or a password from"),
        ((200, "<html>hello</html>"), "got an answer that is no JSON from"),
        ((200, "true"), "got an answer that is none of Prefect's from"),
        ((200, '"0.15.1"'), "got Prefect 0.15.1 while"),
    ],
)
def test_what_is_no_prefect_is_told(serve: Serve, answer: tuple[int, str], fault: str) -> None:
    with pytest.raises(GivenServerError) as caught:
        check_prefect(serve({VERSION: answer}) + "/api")
    said = str(caught.value)
    assert fault in said and said.startswith("PREFECT_API_URL must name a Prefect server that")
    assert "\n" not in said and "unset the variable" in said


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ((404, ""), "got 404 Not Found from http://127.0.0.1:"),
        ((403, ""), "got 403 Forbidden: it wants a key or a password from"),
        ((200, "<html>hello</html>"), "got an answer that is no JSON from"),
        ((200, "[]"), "got an answer that is none of MLflow's from"),
    ],
)
def test_what_is_no_mlflow_is_told(serve: Serve, answer: tuple[int, str], fault: str) -> None:
    with pytest.raises(GivenServerError) as caught:
        check_mlflow(serve({SEARCH: answer}))
    said = str(caught.value)
    assert fault in said and "\n" not in said and "--no-tracking" in said


def test_keys_and_passwords_are_shown_to_the_server_and_to_nobody_else(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    url = serve({VERSION: (200, OURS), SEARCH: (200, "{}")}, seen)
    monkeypatch.setenv("PREFECT_API_KEY", "key")
    check_prefect(f"{url}/api")
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = 50%\n"
    )
    check_mlflow(url)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "token")
    check_mlflow(url)
    sent = [headers.get("Authorization") for _, headers in seen]
    assert sent == ["Bearer key", "Basic bWU6NTAl", "Bearer token"]
    with pytest.raises(GivenServerError) as caught:
        check_mlflow(f"postgres://me:{WORD}@nowhere/db")
    assert WORD not in str(caught.value)


@pytest.mark.parametrize("check", [check_prefect, check_mlflow])
def test_nobody_there_is_told_at_once(check: Callable[[str], None]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/api"
        with pytest.raises(GivenServerError, match=f"got silence from {url}"):
            check(url)


@pytest.mark.parametrize("check", [check_prefect, check_mlflow])
def test_somebody_who_never_answers_is_told_in_time(
    check: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_servers, "SECONDS", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        began = time.monotonic()
        with pytest.raises(GivenServerError, match="got silence from"):
            check(f"http://127.0.0.1:{listener.getsockname()[1]}/api")
        assert time.monotonic() - began < 2
    assert given_servers.SECONDS < 10


@pytest.mark.parametrize("url", ["127.0.0.1:4200/api", "ftp://x/api", "sqlite:///a.db"])
def test_prefect_has_an_address_of_http(url: str) -> None:
    with pytest.raises(GivenServerError, match="got no address of HTTP from"):
        check_prefect(url)


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("file:./mlruns", "a folder, where MLflow keeps no runs any more"),
        ("./mlruns", "a folder, where MLflow keeps no runs any more"),
        ("mlfow://x", "the scheme 'mlfow', which MLflow does not know"),
        ("sqlite:///nowhere/mlflow.db", "no folder nowhere"),
        ("sqlite:///text.db", "a file that is no SQLite database"),
        ("sqlite:///folder", "no file"),
        ("sqlite://", "a database in memory"),
        ("sqlite:///:memory:", "a database in memory"),
        ("postgresql+nobody://x/y", "nobody"),
        ("http://[bad", "'Invalid IPv6 URL'"),
    ],
)
def test_stores_that_mlflow_cannot_use_are_told(
    uri: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("hello, this is a text")
    (tmp_path / "folder").mkdir()
    with pytest.raises(GivenServerError) as caught:
        check_mlflow(uri)
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_named() -> None:
    if "psycopg2" in sys.modules or importlib.util.find_spec("psycopg2"):
        pytest.skip("it is installed here")
    with pytest.raises(GivenServerError, match="module psycopg2 is not installed"):
        check_mlflow(f"postgresql://me:{WORD}@127.0.0.1/mlflow")


def test_stores_that_mlflow_can_use_are_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.execute("CREATE TABLE a (b)")
    check_mlflow(f"sqlite:///{tmp_path}/old.db")
    check_mlflow(f"sqlite:///{tmp_path}/new.db")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    check_mlflow(f"file:{tmp_path}")


CONFIGURATION = """
[DEFAULT]
host = {url}
token = {word}
[oauth]
host = {url}
auth_type = databricks-cli
[empty]
cluster_id = 1
"""


def test_a_workspace_of_databricks_is_asked_with_its_token(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Any] = []
    url = serve({SEARCH: (200, "{}")}, seen)
    (tmp_path / ".databrickscfg").write_text(CONFIGURATION.format(url=url, word="word"))
    check_mlflow("databricks")
    check_mlflow("databricks://DEFAULT")
    check_mlflow("databricks-uc", "MLFLOW_REGISTRY_URI")
    assert [headers["Authorization"] for _, headers in seen] == 3 * ["Bearer word"]
    check_mlflow("databricks://oauth")  # whose login its client knows: it is there, that is all
    assert seen[-1][0] == "/" and "Authorization" not in seen[-1][1]
    monkeypatch.setenv("DATABRICKS_TOKEN", "other")
    check_mlflow("databricks")
    assert seen[-1][1]["Authorization"] == "Bearer other"
    check_mlflow("databricks://DEFAULT")
    assert seen[-1][1]["Authorization"] == "Bearer word"  # what is named counts


@pytest.mark.parametrize(
    ("uri", "fault"),
    [
        ("databricks", "got no workspace (neither DATABRICKS_HOST nor a host in"),
        ("databricks://empty", "got no profile empty with a host in"),
        ("databricks://nobody", "got no profile nobody with a host in"),
        ("databricks-uc", "got a catalogue of models, where MLflow keeps no runs, from"),
        ("uc:http://127.0.0.1:1", "got a catalogue of models, where MLflow keeps no runs, from"),
    ],
)
def test_a_workspace_that_nobody_named_is_told_before_its_client_looks_for_it(
    uri: str, fault: str, tmp_path: Path
) -> None:
    text = CONFIGURATION.replace("host = {url}\ntoken = {word}\n", "")
    (tmp_path / ".databrickscfg").write_text(text)
    with pytest.raises(GivenServerError) as caught:
        check_mlflow(uri)
    assert fault in str(caught.value) and "\n" not in str(caught.value)


def test_a_workspace_that_refuses_or_is_silent_is_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", url := serve({SEARCH: (403, "")}))
    monkeypatch.setenv("DATABRICKS_TOKEN", "word")
    with pytest.raises(GivenServerError, match=f"it wants a key or a password of {url}"):
        check_mlflow("databricks")
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.setenv("DATABRICKS_HOST", "http://127.0.0.1:1")
    with pytest.raises(GivenServerError, match=r"got silence of http://127.0.0.1:1 from"):
        check_mlflow("databricks")
    with pytest.raises(GivenServerError, match=r"got silence from uc:http://127.0.0.1:1"):
        check_mlflow("uc:http://127.0.0.1:1", "MLFLOW_REGISTRY_URI")
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "15.4")
    check_mlflow("databricks")  # inside, there is no need of a login


def test_experiments_of_a_server_are_listed_with_their_ids(serve: Serve) -> None:
    told = [{"experiment_id": "1", "name": "edgenas"}, {"experiment_id": "0", "name": "Default"}]
    url = serve({SEARCH: (200, json.dumps({"experiments": told}))})
    assert given_servers.experiments(url) == {"edgenas": "1", "Default": "0"}
    assert given_servers.experiments(serve({})) == {}
    assert given_servers.experiments("http://127.0.0.1:1") == {}


def test_the_projects_own_store_is_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_store.given_uri(tmp_path) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/.edgenas/mlflow/mlflow.db")
    assert tracking_store.given_uri(tmp_path) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mine")
    assert tracking_store.given_uri(tmp_path) == "http://mine"


def test_a_dead_registry_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    given_servers.check_mlflow_variables(tmp_path)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "file:./models")
    with pytest.raises(GivenServerError, match="MLFLOW_REGISTRY_URI must name an MLflow server"):
        given_servers.check_mlflow_variables(tmp_path)


def test_a_store_that_breaks_when_it_is_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Detected out-of-date database schema")

    monkeypatch.setattr(tracking, "ClientRunStore", fail)
    store = tracking_store.Store("sqlite:///x.db", tmp_path, is_local=False)
    with pytest.raises(tracking.TrackingStoreError, match=r"MLFLOW_TRACKING_URI .*out-of-date"):
        tracking.Tracker(store, "edgenas")
    own = tracking_store.Store("sqlite:///x.db", tmp_path, is_local=True)
    with pytest.raises(RuntimeError, match="out-of-date"):  # ours: a defect
        tracking.Tracker(own, "edgenas")


def test_a_dead_store_is_refused_before_a_server_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    module = types.ModuleType("flows.server")
    module.prefect_server = lambda: pytest.fail("a server was started")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.server", module)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert cli.main(["run", "--profile", "tiny"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: MLFLOW_TRACKING_URI must name an MLflow server that answers")
    assert said.count("\n") == 1
