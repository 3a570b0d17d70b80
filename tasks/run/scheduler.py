"""A Dask scheduler: its address, the connection to it, and whether its workers are fit for us.

Dask is imported when there is an address and not before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import platform
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tasks.run import at_worker

if TYPE_CHECKING:
    from distributed import Client

VARIABLE: Final = "EDGENAS_CLUSTER"
ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 8.0
"""Within which a scheduler and its workers must answer."""
PACKAGES: Final = (
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "tokenizers",
)
"""Those that results depend on."""
_ADDRESS: Final = re.compile(r"(tcp|tls)://[^/\s:@]+:\d+|(tcp|tls)://\[[0-9a-fA-F:]+\]:\d+")
OR_HERE: Final = f"or unset {VARIABLE} to train in processes of this machine"


class ClusterError(ValueError):
    """A cluster that cannot be used; the message is one line, with the cure."""


def given() -> str | None:
    """The scheduler's address; None: there is no cluster.

    Raises:
        ClusterError: It is no address.
    """
    address = os.environ.get(VARIABLE)
    if not address:
        return None
    if not _ADDRESS.fullmatch(address):
        raise ClusterError(
            f"{VARIABLE} must be the address of a Dask scheduler, such as tcp://host:8786, but "
            f"got {address!r}. Correct it, {OR_HERE}."
        )
    return address


def connected(address: str) -> Client:
    """A client of the scheduler.

    Raises:
        ClusterError: None answers.
    """
    from distributed import Client

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # we say ourselves what is wrong
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other versions, which is looked at below
            return Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{VARIABLE} must name a Dask scheduler that answers within {SECONDS:.0f} s, but got "
            f"silence from {address}. Start it (dask scheduler), correct the address, {OR_HERE}."
        ) from error


def fit(client: Client, address: str, probes: Mapping[str, str]) -> list[str]:
    """The addresses of the workers, if all are fit.

    Raises:
        ClusterError: There are none, or one is not.
    """
    known = client.scheduler_info(n_workers=-1)["workers"]
    if not known:
        raise ClusterError(
            f"the cluster at {address} must have workers, but has none. Start some (dask worker "
            f"{address} --nworkers 4 --nthreads 1), {OR_HERE}."
        )
    for worker, facts in known.items():
        if facts["nthreads"] != 1:
            raise ClusterError(
                "each worker must have one thread, for TensorFlow's threads are set for a whole "
                f"process, but {worker} has {facts['nthreads']}. Start it with --nthreads 1, and "
                "as many --nworkers as there are cores."
            )
    # What is ours travels as byte code, which another Python must not be given.
    for worker, version in _asked(client, platform.python_version_tuple).items():
        _same_python(worker, ".".join(version[:2]))
    here = ours() | {"probes": dict(probes)}
    question = as_bytes(at_worker.look, str(ROOT), [*probes], PACKAGES)
    for worker, theirs in _asked(client, pickle.loads, question).items():
        compare(worker, theirs, here)
    return list(known)


def ours() -> dict[str, Any]:
    """What :func:`tasks.run.at_worker.look` finds here."""
    return at_worker.look(str(ROOT), (), PACKAGES)


def compare(worker: str, theirs: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse a worker that is not as we are.

    Raises:
        ClusterError: In what it differs.
    """
    _same_python(worker, theirs["python"])
    for path, text in here["probes"].items():
        if theirs["probes"][path] != text:
            raise ClusterError(
                f"workers must see {Path(path).parent}, but {worker} does not. Put the project on "
                "a file system that all of them have under the same path."
            )
    for name, version in here["packages"].items():
        got = theirs["packages"][name]
        if got != version:
            raise ClusterError(
                f"workers must have {name} {version}, as here, but {worker} has {got or 'none'}. "
                "Install requirements.lock there, and start it by that environment."
            )
    if theirs["code"] != here["code"]:
        raise ClusterError(
            f"workers must find the code of this run in {ROOT}, but {worker} finds another. Put "
            "the project on a file system that all of them have under the same path."
        )


def _same_python(worker: str, version: str) -> None:
    here = ".".join(platform.python_version_tuple()[:2])
    if version != here:
        raise ClusterError(
            f"workers must run Python {here}, as here, but {worker} runs {version}. Start it by "
            "an environment made from requirements.lock with that Python."
        )


def _asked(client: Client, question: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """What each worker answers, within seconds.

    Raises:
        ClusterError: One of them is silent, or cannot answer.
    """
    found: list[dict[str, Any]] = []

    def ask() -> None:
        with contextlib.suppress(Exception):  # nobody waits any more, and the client is closed
            found.append(client.run(question, *arguments, on_error="return"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    answers = found[0] if found else {"one of them": TimeoutError("silence")}
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ClusterError(
                f"workers must answer within {SECONDS:.0f} s, but got {answer!r} from {worker}. "
                f"Restart it, {OR_HERE}."
            )
    return answers


class _Call:
    """To unpickle it is to call the function, and gives what that returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._made_of = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._made_of


def as_bytes(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A call of a function of :mod:`tasks.run.at_worker`, for ``pickle.loads`` to make.

    All that Dask sees of it is bytes and a function of Python's own. Had it the function, it would
    pickle that by its name, which neither scheduler nor workers know.
    """
    import cloudpickle

    cloudpickle.register_pickle_by_value(at_worker)
    made: bytes = cloudpickle.dumps(_Call(function, *arguments))
    return made
