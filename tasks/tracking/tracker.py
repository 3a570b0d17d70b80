"""The only door to MLflow: a search as one parent run, its candidates as runs below it.

MLflow is a mirror here. What counts is in the workspace's files, so nothing is ever read back from
MLflow, everything may be written twice, and :meth:`Tracker.sync` repairs what a kill left out.
"""

from __future__ import annotations

import math
import queue
import threading
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, final

from tasks.tracking.client_run_store import ClientRunStore
from tasks.tracking.model_registry import (
    FinalistModel,
    RegisteredVersion,
    register_finalist,
    registered_name,
)
from tasks.tracking.run_store import CANDIDATE_TAG, PARENT_TAG, RunNote, RunStore
from tasks.tracking.sqlite_run_store import SqliteRunStore
from tasks.tracking.tracking_store import Store, TrackingStoreError, prepare_store
from tasks.tracking.tracking_view import view_fragment

__all__ = [
    "FinalistModel",
    "Mirror",
    "RegisteredVersion",
    "Store",
    "Tracker",
    "TrackingError",
    "TrackingStoreError",
    "candidate_note",
    "experiment_name",
    "prepare_store",
    "register_finalist",
    "registered_name",
]

RUN_KEY_TAG = "edgenas.run_key"
CANDIDATE_PARAMS = (
    "depth",
    "mean_kernel",
    "mean_expansion",
    "share_dw",
    "share_fused",
    "share_grouped",
    "mean_width",
)
_NO_METRICS = frozenset({*CANDIDATE_PARAMS, "trial", "generation"})
"""Numbers that describe a candidate; all others are results: scores, costs, place on the front."""
_INHERITED_TAGS = ("space", "device", "problem")
_STATUS = {"done": "FINISHED", "infeasible": "FINISHED", "failed": "FAILED"}
_CHUNK = 64
"""Candidates in one transaction: long enough to spread its cost, short beside 60 s of patience."""

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]


class TrackingError(RuntimeError):
    """The mirror in MLflow is incomplete; the search itself is not affected."""


@final
class Tracker:
    """Writes the runs of one experiment.

    Methods may be called from any thread, one at a time for each parent.
    """

    def __init__(self, store: Store, experiment: str, metric: str = "top1") -> None:
        """Open the experiment, creating it where it does not exist.

        Args:
            store: where to write.
            experiment: its name, see :func:`experiment_name`.
            metric: what its candidates are scored by; the columns of its page show it.
        """
        self._store = store
        self._book = _open_run_store(store, experiment, metric)
        self._children: dict[str, dict[str, str]] = {}
        self._inherited: dict[str, dict[str, str]] = {}

    @property
    def page(self) -> str:
        """What follows a server's address (``mlflow server``) to see the candidates compared."""
        return view_fragment(self._book.experiment_id)

    def start_run(
        self, name: str, params: Mapping[str, object], tags: Mapping[str, str], *, run_key: str
    ) -> str:
        """Begin a parent run or take up the one of the same key.

        The newest run of the key is taken up, finished or not; other ``RUNNING`` ones, left by a
        process that was killed, are closed. Params that the run has already keep their value.

        Args:
            name: shown name.
            params: settings of the search, logged as text.
            tags: ``space``, ``device`` and ``problem`` among them are repeated on each candidate.
            run_key: identity of the search, for instance a digest of its parameters.

        Returns:
            The run id, for the other methods.
        """
        texts = {key: _text(value) for key, value in params.items() if value is not None}
        with self._store.lock():
            found = self._book.find({RUN_KEY_TAG: run_key})
            run_id = next(iter(found), None)
            stale = [i for i, status in found.items() if status == "RUNNING" and i != run_id]
            first = RunNote(
                key=uuid.uuid4().hex,
                run_id=run_id,
                name=name,
                status="RUNNING",
                params=texts,
                tags={**tags, RUN_KEY_TAG: run_key, "stage": "all"},
            )
            closing = [RunNote(key="", run_id=i, status="KILLED") for i in stale]
            parent = self._book.write([first, *closing])[0]
        self._inherited[parent] = {key: tags[key] for key in _INHERITED_TAGS if key in tags}
        return parent

    def log_candidates(self, parent: str, records: Sequence[Mapping[str, object]]) -> None:
        """Write a run for each candidate record below ``parent``, changing those that exist."""
        inherited = self._inherited.get(parent, {})
        known = self._known_children(parent)
        for start in range(0, len(records), _CHUNK):
            chunk = records[start : start + _CHUNK]
            notes = [candidate_note(parent, record, inherited, known) for record in chunk]
            ids = self._book.write(notes)
            known.update(
                {str(record["id"]): run_id for record, run_id in zip(chunk, ids, strict=True)}
            )

    def update_front(
        self, parent: str, ids_on_front: Collection[str], ranks: Mapping[str, int]
    ) -> None:
        """Set ``on_pareto`` and ``rank`` of all candidates of ``parent`` at the end of a search.

        Args:
            parent: run id of the search.
            ids_on_front: candidate ids of the Pareto front.
            ranks: candidate id to rank, 0 on the front; candidates without one keep theirs.
        """
        front = frozenset(ids_on_front)
        notes = [
            RunNote(
                key=_child_key(parent, candidate),
                run_id=run_id,
                metrics={
                    "on_pareto": (float(candidate in front),),
                    **({"rank": (float(ranks[candidate]),)} if candidate in ranks else {}),
                },
                tags={"on_pareto": _text(candidate in front)},
            )
            for candidate, run_id in self._known_children(parent).items()
        ]
        self._book.write(notes)

    def log_stage(
        self,
        parent: str,
        stage: str,
        metrics: Mapping[str, float | Sequence[float] | None],
        params: Mapping[str, object],
        artifacts: Iterable[Path] = (),
        tags: Mapping[str, object] | None = None,
    ) -> None:
        """Write a stage's results on the parent run: ``<stage>/<metric>``, ``<stage>.<param>``.

        Args:
            parent: run id of the search.
            stage: name of the stage; also the artifact folder.
            metrics: numbers, or series of numbers by step (epochs); unknown ones are ``None``.
            params: settings of the stage.
            artifacts: files or folders to copy.
            tags: words to filter searches by, as ``<stage>.<tag>``; they replace older ones.
        """
        note = RunNote(
            key="",
            run_id=parent,
            metrics={f"{stage}/{k}": _series(v) for k, v in metrics.items() if v is not None},
            params={f"{stage}.{k}": _text(v) for k, v in params.items() if v is not None},
            tags={f"{stage}.{k}": _text(v) for k, v in (tags or {}).items() if v is not None},
        )
        self._book.write([note])
        self._book.add_artifacts(parent, stage, artifacts)

    def finish(self, parent: str, status: RunStatus = "FINISHED") -> None:
        """Close the parent run."""
        self._book.write([RunNote(key="", run_id=parent, status=status)])

    def sync(self, parent: str, records: Sequence[Mapping[str, object]]) -> None:
        """Make the runs below ``parent`` agree with the candidates file after a kill.

        Missing and deleted runs are written, others corrected; ``RUNNING`` left-overs that the
        file does not know are closed as ``KILLED``.
        """
        self._children.pop(parent, None)
        self.log_candidates(parent, records)
        written = {self._children[parent][str(record["id"])] for record in records}
        left = self._book.find({PARENT_TAG: parent})
        self._book.write(
            [
                RunNote(key="", run_id=run_id, status="KILLED")
                for run_id, status in left.items()
                if status == "RUNNING" and run_id not in written
            ]
        )

    def _known_children(self, parent: str) -> dict[str, str]:
        if parent not in self._children:
            self._children[parent] = self._book.children(parent)
        return self._children[parent]


def experiment_name(problem: str) -> str:
    """The experiment of a problem: scores of two problems cannot be compared in one table.

    >>> experiment_name("classification"), experiment_name("detection")
    ('edgenas', 'edgenas-detection')
    """
    return "edgenas" if problem == "classification" else f"edgenas-{problem}"


def _open_run_store(store: Store, experiment: str, metric: str) -> RunStore:
    """Take the quicker of the two books that the store admits.

    Raises:
        TrackingStoreError: It is a person's own, and MLflow cannot use it.
    """
    if store.is_local and SqliteRunStore.knows(store.database):
        return SqliteRunStore(store, experiment, metric)
    try:
        return ClientRunStore(store, experiment, metric)
    except Exception as error:  # each kind of store has errors of its own
        if store.is_local or isinstance(error, TimeoutError):
            raise
        raise TrackingStoreError(
            f"MLFLOW_TRACKING_URI must name a store that MLflow {version('mlflow')} can use, but "
            f"got: {error}. Correct it, or unset it to use the store in .edgenas."
        ) from error


def candidate_note(
    parent: str,
    record: Mapping[str, object],
    inherited: Mapping[str, str],
    known: Mapping[str, str],
) -> RunNote:
    """Turn a candidate record into a run: few typed params, stable metrics, tags to filter by.

    Args:
        parent: run id of the search.
        record: a record of ``search/candidates.json``.
        inherited: tags repeated from the parent.
        known: candidate id to run id of those that exist.

    Raises:
        ValueError: the status is none of done, failed, infeasible.
    """
    candidate, status = str(record["id"]), record.get("status")
    if status not in _STATUS:
        raise ValueError(
            f"status must be one of {', '.join(_STATUS)}, but got {status!r} "
            f"in candidate {candidate}; repair or remove that record"
        )
    origin = {"origin": str(record["origin"])} if record.get("origin") else {}
    optional = ("name", "reason", "trial", "generation")
    return RunNote(
        key=_child_key(parent, candidate),
        run_id=known.get(candidate),
        name=_run_name(record),
        status=_STATUS[str(status)],
        params=origin
        | {k: _short(v) for k in CANDIDATE_PARAMS if (v := record.get(k)) is not None},
        metrics={
            k: (float(v),)
            for k, v in record.items()
            if k not in _NO_METRICS and isinstance(v, int | float) and math.isfinite(v)
        },
        tags={
            PARENT_TAG: parent,
            CANDIDATE_TAG: candidate,
            "stage": "search",
            "status": str(status),
            "on_pareto": _text(bool(record.get("on_pareto"))),
            **inherited,
            **origin,
            **{k: str(v) for k in optional if (v := record.get(k)) is not None},
        },
    )


def _child_key(parent: str, candidate: str) -> str:
    return f"{parent}/{candidate}"


def _run_name(record: Mapping[str, object]) -> str:
    """Baseline name, or short id, depth and op mix in percent: ``3fa9c1 d12 dw60 fu40``.

    MLflow's column shows some twenty characters.
    """
    if record.get("name"):
        return str(record["name"])
    short = str(record["id"])[:6]
    if record.get("status") != "done":
        return f"{short} {record.get('status')}"
    shares = {
        label: value
        for label, key in (("dw", "dw"), ("fu", "fused"), ("gr", "grouped"))
        if isinstance(value := record.get(f"share_{key}"), int | float) and value > 0
    }
    mix = " ".join(f"{label}{100 * value:.0f}" for label, value in shares.items())
    depth = "" if record.get("depth") is None else f"d{record['depth']}"
    return " ".join(part for part in (short, depth, mix) if part)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: object) -> str:
    """Three digits: a chart has an axis for each param, and few values on it can be read."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _series(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else (float(value),)


@final
class Mirror:
    """A thread that writes candidates, so that the one that evaluates them never waits.

    A failing store does not stop a search: the error is kept and raised by :meth:`close`.
    """

    def __init__(self, tracker: Tracker, parent: str, *, pause_s: float = 0.5) -> None:
        """Start the thread; it gathers records for ``pause_s`` before it writes them."""
        self._tracker, self._parent, self._pause_s = tracker, parent, pause_s
        self._records: queue.SimpleQueue[Mapping[str, object]] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def put(self, record: Mapping[str, object]) -> None:
        """Hand over a copy of a candidate record; returns at once.

        Raises:
            TrackingError: the mirror is closed.
        """
        if self._closing.is_set():
            raise TrackingError("records must come before close(), but got one after it")
        self._records.put(dict(record))

    def close(self) -> None:
        """Write what is left and end the thread.

        Raises:
            TrackingError: something could not be written; ``Tracker.sync`` repairs it.
        """
        self._closing.set()
        self._thread.join()
        if self._error is not None:
            raise TrackingError(
                "all candidates must reach MLflow, but the mirror got "
                f"{type(self._error).__name__}: {self._error}; synchronise the run again"
            ) from self._error

    def __enter__(self) -> Self:
        """Give the mirror itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; while another error is on its way, the mirror's own stays silent."""
        try:
            self.close()
        except TrackingError:
            if error is None:
                raise

    def _work(self) -> None:
        while True:
            last = self._closing.wait(self._pause_s)
            records = [self._records.get() for _ in range(self._records.qsize())]
            if records and self._error is None:
                try:
                    self._tracker.log_candidates(self._parent, records)
                except Exception as error:
                    self._error = error
            if last:
                return
