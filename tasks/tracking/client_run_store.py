"""Runs written through MLflow's public client: any store, any schema.

About 25 ms a run on a local database, 160 ms through a server. A process that is killed between
two calls leaves a run ``RUNNING``; ``Tracker.sync`` closes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from tasks.tracking.run_store import (
    BATCH,
    CANDIDATE_TAG,
    PARENT_TAG,
    RunNote,
    batches,
    experiment_tags,
    now_ms,
)
from tasks.tracking.tracking_store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient


@final
class ClientRunStore:
    """MLflow's public client: any store, about 25 ms a run, more through a server."""

    def __init__(self, store: Store, experiment: str, metric: str) -> None:
        """Find the experiment or create it."""
        from mlflow.tracking import MlflowClient

        self._client: MlflowClient = MlflowClient(store.uri)
        with store.lock():
            self._experiment_id = self._open_experiment(store, experiment, experiment_tags(metric))

    @property
    def experiment_id(self) -> str:
        """See :class:`RunStore`."""
        return str(self._experiment_id)

    def _open_experiment(self, store: Store, name: str, tags: Mapping[str, str]) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            location = (store.artifacts / name).as_posix() if store.is_local else None
            return str(self._client.create_experiment(name, location, dict(tags)))
        if found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        for key, value in tags.items():
            if key not in found.tags:
                self._client.set_experiment_tag(found.experiment_id, key, value)
        return str(found.experiment_id)

    def _search(self, tags: Mapping[str, str], *, deleted: bool = False) -> Iterator[Run]:
        from mlflow.entities import ViewType

        query = " AND ".join(f"tags.`{key}` = {_quote(value)}" for key, value in tags.items())
        view, token = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY, None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], query, view, 1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def find(self, tags: Mapping[str, str]) -> dict[str, str]:
        """See :class:`RunStore`."""
        return {run.info.run_id: run.info.status for run in self._search(tags)}

    def children(self, parent: str) -> dict[str, str]:
        """See :class:`RunStore`."""
        runs = self._search({PARENT_TAG: parent}, deleted=True)
        return {
            run.data.tags[CANDIDATE_TAG]: run.info.run_id
            for run in runs
            if CANDIDATE_TAG in run.data.tags
        }

    def write(self, notes: Sequence[RunNote]) -> list[str]:
        """See :class:`RunStore`; a run that is cut short is left ``RUNNING`` for a later sync."""
        known = self._known([note.run_id for note in notes if note.run_id])
        return [self._write(note, known.get(note.run_id or "")) for note in notes]

    def _known(self, run_ids: Sequence[str]) -> dict[str, Run]:
        from mlflow.entities import ViewType

        known: dict[str, Run] = {}
        for batch in batches(run_ids):
            query = "attributes.run_id IN ({})".format(", ".join(f"'{i}'" for i in batch))
            page = self._client.search_runs([self._experiment_id], query, ViewType.ALL, BATCH)
            known |= {run.info.run_id: run for run in page}
        return known

    def _write(self, note: RunNote, known: Run | None) -> str:
        if known is None:
            run = self._client.create_run(
                self._experiment_id, tags=dict(note.tags), run_name=note.name
            )
        else:
            run = known
            if run.info.lifecycle_stage != "active" and note.status:
                self._client.restore_run(run.info.run_id)
        run_id = str(run.info.run_id)
        self._log(run_id, note, run)
        if note.status == "RUNNING" and run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        elif note.status and note.status != run.info.status:
            self._client.set_terminated(run_id, note.status)
        return run_id

    def _log(self, run_id: str, note: RunNote, run: Run) -> None:
        """Log what the run does not say yet, 1,000 metrics and 100 params or tags at a time."""
        from mlflow.entities import Metric, Param, RunTag

        time_ms, data = now_ms(), run.data
        metrics = [
            Metric(key, value, time_ms, step)
            for key, points in note.series()
            if data.metrics.get(key) != points[-1][1]
            for step, value in points
        ]
        params = [Param(k, v[:6000]) for k, v in note.params.items() if k not in data.params]
        tags = [RunTag(k, v[:8000]) for k, v in note.tags.items() if data.tags.get(k) != v]
        while metrics or params or tags:
            self._client.log_batch(run_id, metrics[:800], params[:100], tags[:100])
            metrics, params, tags = metrics[800:], params[100:], tags[100:]

    def add_artifacts(self, run_id: str, folder: str, paths: Iterable[Path]) -> None:
        """See :class:`RunStore`."""
        for path in paths:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), f"{folder}/{path.name}")
            else:
                self._client.log_artifact(run_id, str(path), folder)


def _quote(text: str) -> str:
    """Text as MLflow's filter language takes it; it knows both quotation marks and no escape."""
    return f'"{text}"' if "'" in text else f"'{text}'"
