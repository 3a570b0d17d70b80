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
import os
import pickle
import queue
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

from tasks.run import at_worker
from tasks.run.scheduler import (
    OR_HERE,
    PACKAGES,
    ROOT,
    ClusterError,
    as_bytes,
    compare,
    connected,
    fit,
    ours,
)
from tasks.run.workers import Report

if TYPE_CHECKING:
    from distributed import Client, Future

LOOK_S: Final = 0.5
"""How often a silent scheduler is looked at."""
RETRIES: Final = 2
"""Of a piece whose process ended; where a whole worker ends, Dask itself has it done elsewhere."""
_TOPIC: Final = "edgenas"


def check(address: str, *folders: Path) -> int:
    """Refuse a cluster on which pieces would fail, or come out otherwise than here.

    Takes seconds, before any work. A small file in each of ``folders`` is written, looked for by
    the workers, and removed.

    Returns:
        How many workers there are.

    Raises:
        ClusterError: What is wrong, and the cure.
    """
    with _probes(folders) as probes, contextlib.closing(connected(address)) as client:
        return len(fit(client, address, probes))


def count(address: str) -> int:
    """How many workers there are now.

    Raises:
        ClusterError: No scheduler answers.
    """
    with contextlib.closing(connected(address)) as client:
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
            self._client = connected(self._address)
            fit(self._client, self._address, {})
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
            "ours": ours(),
        }
        return [
            client.submit(
                pickle.loads,
                as_bytes(at_worker.work_on, order, number, pickle.dumps((work, piece))),
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
            f"away. Start it again, {OR_HERE}; the same command goes on where this ended."
        )

    def _opened(self, what: str, told: Any) -> Any:
        """The result of a piece, or its exception."""
        if what == "other":  # a worker that has come since the check
            compare("a worker that joined", told, ours())
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


class _ElsewhereError(Exception):
    """The traceback of an exception in another process, as its cause."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _put(news: queue.SimpleQueue[Any], call: str, number: int, future: Future) -> None:
    """Say that a piece is done."""
    news.put((call, number, future, ""))


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
