"""Pieces of work on somebody's own Dask cluster, instead of processes of this machine.

``EDGENAS_CLUSTER`` names its scheduler. It is in the environment and not in ``params.yaml``, as
all addresses are: it changes how long a run takes, not what comes out. A piece is the same
function and argument as in a process here (:mod:`tasks.run.workers`), has as many threads, and
reads and writes the same files, so workers must see the project under the same path.
:mod:`tasks.run.at_worker` says what happens there.

Dask is imported when the variable is set and not before.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import pickle
import platform
import queue
import re
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from tasks.run import at_worker
from tasks.run.workers import Report

if TYPE_CHECKING:
    from distributed import Client, Future

VARIABLE: Final = "EDGENAS_CLUSTER"
ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 8.0
"""Within which a scheduler and its workers must answer."""
LOOK_S: Final = 0.5
"""How often a silent scheduler is looked at."""
RETRIES: Final = 2
"""Of a piece whose process ended; where a whole worker ends, Dask itself has it done elsewhere."""
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
_TOPIC: Final = "edgenas"
_OR_HERE: Final = f"or unset {VARIABLE} to train in processes of this machine"


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
            f"got {address!r}. Correct it, {_OR_HERE}."
        )
    return address


def check(address: str, *folders: Path) -> int:
    """Refuse a cluster on which pieces would fail, or come out otherwise than here.

    Takes seconds, before any work. A small file in each of ``folders`` is written, looked for by
    the workers, and removed.

    Returns:
        How many workers there are.

    Raises:
        ClusterError: What is wrong, and the cure.
    """
    with _probes(folders) as probes, contextlib.closing(_connected(address)) as client:
        return len(_fit(client, address, probes))


def count(address: str) -> int:
    """How many workers there are now.

    Raises:
        ClusterError: No scheduler answers.
    """
    with contextlib.closing(_connected(address)) as client:
        return len(client.scheduler_info(n_workers=-1)["workers"])


@final
class Team:
    """The workers of a cluster, used as :class:`tasks.run.workers.Team` is."""

    def __init__(self, address: str) -> None:
        """``address``: of the scheduler, which is asked at the first work."""
        self._address, self._name, self._call = address, uuid.uuid4().hex, ""
        self._client: Client | None = None
        self._news: queue.SimpleQueue[tuple[str, int, Any, str]] = queue.SimpleQueue()

    def run_all(
        self,
        work: Callable[[Any, Report], Any],
        pieces: Sequence[Any],
        advanced: Callable[[int, str], None],
    ) -> list[Any]:
        """As :meth:`tasks.run.workers.Team.run_all`, each piece on the next worker that is free.

        One whose worker ends is done again on another.

        Raises:
            ClusterError: The cluster cannot be used, or went away.
            Exception: What a piece raised; the others are stopped.
        """
        if not pieces:
            return []
        futures: list[Future] = []
        try:
            client = self._started()
            futures += self._submitted(client, work, pieces)
            return self._awaited(client, futures, advanced)
        except BaseException:
            self._cancel(futures)
            raise

    def close(self) -> None:
        """Leave the cluster; processes that its workers keep for us end by themselves."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _started(self) -> Client:
        if self._client is None:
            self._client = _connected(self._address)
            _fit(self._client, self._address, {})
            news = self._news  # a client that held its team would keep it from going
            self._client.subscribe_topic(_TOPIC, lambda event: news.put(tuple(event[1])))
        return self._client

    def _submitted(
        self, client: Client, work: Callable[[Any, Report], Any], pieces: Sequence[Any]
    ) -> list[Future]:
        self._call = uuid.uuid4().hex
        order = {
            "team": self._name,
            "call": self._call,
            "topic": _TOPIC,
            "root": str(ROOT),
            "folder": os.getcwd(),
            "sums": at_worker.SUMS,
            "variables": at_worker.variables(),
            "packages": PACKAGES,
            "ours": at_worker.look(str(ROOT), (), PACKAGES),
        }
        return [
            client.submit(
                pickle.loads,
                _as_bytes(at_worker.work_on, order, number, pickle.dumps((work, piece))),
                key=f"edgenas-{self._call}-{number}",
                retries=RETRIES,
                pure=False,
            )
            for number, piece in enumerate(pieces)
        ]

    def _awaited(
        self, client: Client, futures: Sequence[Future], advanced: Callable[[int, str], None]
    ) -> list[Any]:
        call, done = self._call, dict.fromkeys(range(len(futures)), 0)
        results: dict[int, Any] = {}
        for number, future in enumerate(futures):
            future.add_done_callback(functools.partial(_put, self._news, call, number))
        while len(results) < len(futures):
            try:
                of, number, what, note = self._news.get(timeout=LOOK_S)
            except queue.Empty:
                if client.status not in ("running", "connecting"):
                    raise self._gone() from None
                continue
            if of != call:  # late, from an earlier one
                continue
            if isinstance(what, int):
                done[number] = what
                advanced(sum(done.values()), note)
            else:
                results[number] = self._opened(*self._answer(what))
        return [results[number] for number in range(len(futures))]

    def _answer(self, future: Future) -> tuple[str, Any]:
        """What :func:`tasks.run.at_worker.work_on` returned."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:  # where the worker that had it is gone, Dask has it done again
            answer: tuple[str, Any] = future.result()
        except (KilledWorker, ChildProcessError) as error:
            said = "its workers ended" if isinstance(error, KilledWorker) else str(error)
            raise ClusterError(
                f"a piece of work must fit onto a worker of {self._address}, but {said}, each "
                "time that it was tried. See the log of the worker; give each more memory, about "
                "2 GiB, or start fewer on a machine."
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise self._gone() from error
        return answer

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the scheduler at {self._address} must stay until the run is done, but it went "
            f"away. Start it again, {_OR_HERE}; the same command goes on where this ended."
        )

    def _opened(self, what: str, told: Any) -> Any:
        """The result of a piece, or its exception."""
        if what == "other":  # a worker that has come since the check
            _compare("a worker that joined", told, at_worker.look(str(ROOT), (), PACKAGES))
            raise ClusterError("code must stay as it is during a run, but changed. Run it again.")
        if what == "failed":
            error, text = pickle.loads(told)
            raise error from _ElsewhereError(text)
        return pickle.loads(told)

    def _cancel(self, futures: Sequence[Future]) -> None:
        """Have all that is left undone dropped, also what workers are at."""
        client, self._client = self._client, None
        self._name = uuid.uuid4().hex
        if client is not None:
            with contextlib.suppress(Exception):  # it may be what failed
                client.cancel(list(futures), force=True)
            with contextlib.suppress(Exception):
                client.close(timeout=2)


class _Call:
    """To unpickle it is to call the function, and gives what that returns."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._made_of = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._made_of


def _as_bytes(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A call of a function of :mod:`tasks.run.at_worker`, for ``pickle.loads`` to make.

    All that Dask sees of it is bytes and a function of Python's own. Had it the function, it would
    pickle that by its name, which neither scheduler nor workers know.
    """
    import cloudpickle

    cloudpickle.register_pickle_by_value(at_worker)
    made: bytes = cloudpickle.dumps(_Call(function, *arguments))
    return made


class _ElsewhereError(Exception):
    """The traceback of an exception in another process, as its cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _put(news: queue.SimpleQueue[Any], call: str, number: int, future: Future) -> None:
    """Say that a piece is done."""
    news.put((call, number, future, ""))


def _connected(address: str) -> Client:
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
            f"silence from {address}. Start it (dask scheduler), correct the address, {_OR_HERE}."
        ) from error


def _fit(client: Client, address: str, probes: Mapping[str, str]) -> list[str]:
    """The addresses of the workers, if all are fit.

    Raises:
        ClusterError: There are none, or one is not.
    """
    known = client.scheduler_info(n_workers=-1)["workers"]
    if not known:
        raise ClusterError(
            f"the cluster at {address} must have workers, but has none. Start some (dask worker "
            f"{address} --nworkers 4 --nthreads 1), {_OR_HERE}."
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
    ours = at_worker.look(str(ROOT), (), PACKAGES) | {"probes": dict(probes)}
    question = _as_bytes(at_worker.look, str(ROOT), [*probes], PACKAGES)
    for worker, theirs in _asked(client, pickle.loads, question).items():
        _compare(worker, theirs, ours)
    return list(known)


def _compare(worker: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Refuse a worker that is not as we are.

    Raises:
        ClusterError: In what it differs.
    """
    _same_python(worker, theirs["python"])
    for path, text in ours["probes"].items():
        if theirs["probes"][path] != text:
            raise ClusterError(
                f"workers must see {Path(path).parent}, but {worker} does not. Put the project on "
                "a file system that all of them have under the same path."
            )
    for name, version in ours["packages"].items():
        got = theirs["packages"][name]
        if got != version:
            raise ClusterError(
                f"workers must have {name} {version}, as here, but {worker} has {got or 'none'}. "
                "Install requirements.lock there, and start it by that environment."
            )
    if theirs["code"] != ours["code"]:
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
        found.append(client.run(question, *arguments, on_error="return"))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    answers = found[0] if found else {"one of them": TimeoutError("silence")}
    for worker, answer in answers.items():
        if isinstance(answer, BaseException):
            raise ClusterError(
                f"workers must answer within {SECONDS:.0f} s, but got {answer!r} from {worker}. "
                f"Restart it, {_OR_HERE}."
            )
    return answers


@contextlib.contextmanager
def _probes(folders: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Small files in folders that workers must see, by path, for as long as the block."""
    text = uuid.uuid4().hex
    paths = [folder.absolute() / f".cluster-{text}.tmp" for folder in folders]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        yield {str(path): text for path in paths}
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
