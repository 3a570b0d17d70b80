"""Servers and stores that a person names in the environment: looked at within seconds.

Their clients try for minutes before they give up, and then with a traceback. So each is asked one
small question first, one that nothing else answers by chance.
"""

from __future__ import annotations

import base64
import configparser
import importlib.metadata
import json
import os
import re
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from flows import databricks_login
from tasks.candidates import score_database
from tasks.candidates.score_database import PostgresServer, StoreError
from tasks.tracking.tracking_store import given_uri

SECONDS: Final = 8.0
"""To find out; looking up a name alone may take longer than a client's own timeout."""
_SOCKET_SECONDS: Final = 4.0
_SILENCE: Final = "silence"
_CLOUD: Final = "https://api.prefect.cloud"
_SQLITE_HEAD: Final = b"SQLite format 3\0"
_DATABASES: Final = ("postgresql", "mysql", "mssql")
_CATALOGS: Final = ("databricks-uc", "uc")  # models only, no runs


class GivenServerError(ValueError):
    """``PREFECT_API_URL`` or ``MLFLOW_TRACKING_URI`` names nothing that can be used."""


def check_prefect(url: str) -> None:
    """Refuses an address that is no Prefect API of the installed release.

    Raises:
        GivenServerError: It is none, or is silent; the message says which, and the cure.
    """
    fault = _within_seconds(lambda: _prefect_fault(url))
    if fault:
        raise GivenServerError(
            f"PREFECT_API_URL must name a Prefect server that answers, but got {fault} from "
            f"{_bare(url)}. Start that server, correct the address (it ends in /api), or unset "
            "the variable to have one started here."
        )


def check_mlflow_variables(root: Path) -> None:
    """Refuses what the environment says of MLflow and cannot be used; see :func:`check_mlflow`.

    Args:
        root: The project, whose own store needs no look.
    """
    if uri := given_uri(root):
        check_mlflow(uri)
    if uri := os.environ.get("MLFLOW_REGISTRY_URI"):  # asked at the very end of a run
        check_mlflow(uri, "MLFLOW_REGISTRY_URI")


def check_mlflow(uri: str, variable: str = "MLFLOW_TRACKING_URI") -> None:
    """Refuses a URI that is no MLflow server, and no database that can be used.

    Args:
        uri: What ``variable`` of the environment holds.
        variable: Its name, for the message.

    Raises:
        GivenServerError: It is none, or is silent; the message says which, and the cure.
    """
    of_models = variable == "MLFLOW_REGISTRY_URI"
    fault = _within_seconds(lambda: _mlflow_fault(uri, of_models=of_models))
    if fault:
        raise GivenServerError(
            f"{variable} must name an MLflow server that answers, or a database such as "
            f"sqlite:////home/me/mlflow.db, but got {fault} from {_bare(uri)}. Start or correct "
            "it, unset the variable to use the store in .edgenas, or track nothing: "
            "--no-tracking."
        )


def check_store_variable() -> None:
    """Refuses a database for scores (``EDGENAS_STORE``) that cannot be used; leaves it as it was.

    Raises:
        StoreError: It is none, is silent, or may not be written to.
    """
    if url := score_database.given():
        fault = _within_seconds(lambda: _store_fault(url))
        if fault:
            raise score_database.refused(url, fault) if fault == _SILENCE else StoreError(fault)


def _store_fault(url: str) -> str:
    """The whole line of what is wrong with a database for scores, empty if nothing is."""
    from tasks.candidates.score_store import try_out

    try:
        try_out(PostgresServer(url))
    except StoreError as error:
        return str(error)
    return ""


def _within_seconds(look: Callable[[], str]) -> str:
    """What a look finds, or that it found nothing in time."""
    found: list[str] = []

    def run() -> None:
        try:
            found.append(look())
        except ssl.SSLCertVerificationError:
            found.append("")  # clients have lists of authorities of their own
        except Exception as error:  # an address can be wrong in many ways
            found.append(f"'{' '.join(str(error).split())[:200]}'")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return found[0] if found else _SILENCE


def _prefect_fault(url: str) -> str:
    """What is wrong with a Prefect API, empty if nothing is."""
    if urlsplit(url).scheme not in ("http", "https"):
        return "no address of HTTP"
    headers: dict[str, str] = json.loads(os.environ.get("PREFECT_CLIENT_CUSTOM_HEADERS") or "{}")
    if auth := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = _basic(auth)
    elif key := os.environ.get("PREFECT_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    if url.startswith(_CLOUD):  # it is compatible with every client, and says no version
        return _answer(f"{url.rstrip('/')}/health", headers)[0]
    fault, version = _answer(f"{url.rstrip('/')}/admin/version", headers)
    if fault:
        return fault
    if not isinstance(version, str):
        return "an answer that is none of Prefect's"
    ours = importlib.metadata.version("prefect")
    same = version.split(".")[0] == ours.split(".")[0]
    return "" if same else f"Prefect {version} while {ours} is installed here"


def _mlflow_fault(uri: str, *, of_models: bool) -> str:
    """What is wrong with a URI of runs or of models, empty if nothing is."""
    scheme = uri if uri in ("databricks", *_CATALOGS) else urlsplit(uri).scheme.lower()
    kind = scheme.split("+")[0]
    if kind in ("http", "https"):
        return _mlflow_server_fault(uri)
    if kind == "sqlite":
        return _sqlite_fault(uri)
    if kind in _DATABASES:
        return _database_fault(uri)
    plugins = {p.name for p in importlib.metadata.entry_points(group="mlflow.tracking_store")}
    if kind in plugins:
        return ""
    if kind in _CATALOGS and not of_models:
        return "a catalogue of models, where MLflow keeps no runs,"
    if kind == "uc" and not (served := uri.partition(":")[2]).startswith("databricks"):
        return "" if answers(served) else "silence"
    if kind in ("databricks", *_CATALOGS):
        return _databricks_fault(uri.removeprefix("uc:"))
    if kind in ("", "file") and os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() == "true":
        return ""
    if kind in ("", "file"):
        return "a folder, where MLflow keeps no runs any more,"
    return f"the scheme {kind!r}, which MLflow does not know,"


def experiments(url: str) -> dict[str, str]:
    """Ids of a server's first experiments by name; empty where it does not tell."""
    _, answer = _experiments(url, _mlflow_login(os.environ), 100)
    found = answer.get("experiments", []) if isinstance(answer, dict) else []
    return {one["name"]: one["experiment_id"] for one in found}


def _experiments(url: str, login: Mapping[str, str], count: int) -> tuple[str, Any]:
    """What :func:`_answer` says of a search that every server of MLflow understands."""
    headers = {"Content-Type": "application/json", **login}
    body = json.dumps({"max_results": count}).encode()
    return _answer(f"{url.rstrip('/')}/api/2.0/mlflow/experiments/search", headers, body)


def _mlflow_server_fault(uri: str) -> str:
    """What is wrong with a server that should be MLflow's."""
    fault, answer = _experiments(uri, _mlflow_login(os.environ), 1)
    if fault.startswith(("401", "403")) and os.environ.get("MLFLOW_TRACKING_AUTH"):
        return ""  # a plugin of MLflow logs in
    if not fault and not isinstance(answer, dict):
        return "an answer that is none of MLflow's"
    return fault


def _databricks_fault(uri: str) -> str:
    """What is wrong with a workspace of Databricks."""
    if databricks_login.is_inside():
        return ""
    try:
        login = databricks_login.login_of(uri, os.environ)
    except databricks_login.DatabricksError as error:
        return str(error)
    if login.token is None:  # OAuth, a cloud's own, ...: the client finds it
        return "" if answers(login.host) else f"silence of {_bare(login.host)}"
    fault, answer = _experiments(login.host, {"Authorization": f"Bearer {login.token}"}, 1)
    if not fault and not isinstance(answer, dict):
        fault = "an answer that is none of MLflow's"
    return fault and f"{fault} of {_bare(login.host)}"


def answers(url: str) -> bool:
    """Whether something speaks HTTP at ``url``, be it an error."""
    try:
        with urllib.request.urlopen(url, timeout=_SOCKET_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, HTTPException, ValueError):
        return False


def _mlflow_login(environment: Mapping[str, str]) -> dict[str, str]:
    """The header by which MLflow's own client logs in."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    stored = configparser.ConfigParser(interpolation=None)
    try:
        stored.read(Path("~/.mlflow/credentials").expanduser())
    except (OSError, RuntimeError, configparser.Error):  # no home, or a broken file
        pass
    known = dict(stored["mlflow"]) if "mlflow" in stored else {}
    name, word = (
        environment.get(key) or known.get(key.lower())
        for key in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    )
    return {"Authorization": _basic(f"{name}:{word}")} if name and word else {}


def _sqlite_fault(uri: str) -> str:
    """What is wrong with a database file."""
    path = Path(unquote(uri.split(":///", 1)[1].split("?")[0])) if ":///" in uri else Path()
    if path.name in ("", ":memory:"):
        return "a database in memory, which worker processes do not share,"
    if not path.parent.is_dir():
        return f"no folder {path.parent}"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return "a place that cannot be written to,"
    if not path.exists():
        return ""
    if not path.is_file():
        return "no file"
    with path.open("rb") as file:
        head = file.read(len(_SQLITE_HEAD))
    return "" if head in (b"", _SQLITE_HEAD) else "a file that is no SQLite database"


def _database_fault(uri: str) -> str:
    """What is wrong with a database server, as its driver says."""
    from sqlalchemy import create_engine

    try:
        with create_engine(uri).connect():
            return ""
    except ModuleNotFoundError as error:
        return f"a database whose Python module {error.name} is not installed"
    except Exception as error:  # each driver has errors of its own
        return f"'{' '.join(str(error).split())[:200]}'"


def _answer(url: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[str, Any]:
    """What is wrong with an answer, empty if nothing is; and the answer as JSON."""
    request = urllib.request.Request(url, body, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=_SOCKET_SECONDS) as answer:
            return "", json.loads(answer.read(1_000_000))
    except urllib.error.HTTPError as error:
        hint = ": it wants a key or a password" if error.code in (401, 403) else ""
        return f"{error.code} {error.reason}{hint}", None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise error.reason from None
        return "silence", None
    except (json.JSONDecodeError, UnicodeDecodeError):
        return "an answer that is no JSON", None
    except (OSError, HTTPException):
        return "silence", None


def _basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _bare(url: str) -> str:
    """An address without the password that may be in it."""
    return re.sub(r"//[^/@]*@", "//", url)
