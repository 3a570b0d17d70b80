"""A saved view of MLflow's page of runs: its own columns and charts show none of a search.

The page lists runs with their duration and source, no metric. The view, under "Views" on that page
and at ``#/experiments/<id>/runs?viewStateShareKey=candidates``, shows the finished candidates with
their trade-off as a scatter plot and their shape as parallel coordinates. MLflow keeps such views
as tags of the experiment; a release that reads them differently shows its plain page instead.
"""

from __future__ import annotations

import json

VIEW_KEY = "candidates"
_SECTION = "search"
_COLUMNS = (
    "metrics.`latency_ms`",
    "metrics.`energy_mj`",
    "metrics.`peak_memory_bytes`",
    "metrics.`weight_bytes`",
    "metrics.`on_pareto`",
    "metrics.`rank`",
    "params.`depth`",
    "params.`mean_kernel`",
    "params.`mean_expansion`",
    "params.`share_dw`",
    "params.`share_fused`",
    "params.`share_grouped`",
    "params.`origin`",
    "tags.`device`",
)
_PARALLEL_PARAMS = ("depth", "mean_expansion", "share_fused")
_CREATED_MS = 1_767_225_600_000
"""A fixed date, 2026-01-01, so that the tag is the same wherever it is written."""


def view_tags(metric: str) -> dict[str, str]:
    """Experiment tags that make up the saved view of candidates scored by ``metric``."""
    view = {
        "name": "Candidates",
        "createdAt": _CREATED_MS,
        "updatedAt": _CREATED_MS,
        "state": json.dumps(_state(metric)),
    }
    return {f"mlflow.sharedViewState.{VIEW_KEY}": json.dumps(view)}


def view_fragment(experiment_id: str) -> str:
    """What follows the address of an MLflow server to open the view."""
    return (
        f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW_KEY}"
        "&workflowType=machine_learning"
    )


def _state(metric: str) -> dict[str, object]:
    return {
        "searchFilter": "tags.stage = 'search' and tags.status = 'done'",
        "orderByKey": "metrics.`rank`",
        "orderByAsc": True,
        "selectedColumns": [f"metrics.`{metric}`", *_COLUMNS],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunSections": [
            {
                "uuid": _SECTION,
                "name": "Search",
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
            }
        ],
        "compareRunCharts": [
            _scatter("latency_ms", metric),
            _scatter("peak_memory_bytes", metric),
            _chart("PARALLEL", "shape")
            | {
                "selectedParams": list(_PARALLEL_PARAMS),
                "selectedMetrics": ["latency_ms", metric],
                "showAllRuns": True,
            },
        ],
    }


def _scatter(cost: str, metric: str) -> dict[str, object]:
    return _chart("SCATTER", cost) | {
        "xaxis": {"key": cost, "type": "METRIC"},
        "yaxis": {"key": metric, "type": "METRIC"},
    }


def _chart(kind: str, name: str) -> dict[str, object]:
    return {
        "uuid": f"{_SECTION}-{name}",
        "type": kind,
        "runsCountToCompare": 100,
        "metricSectionId": _SECTION,
        "deleted": False,
        "isGenerated": False,
    }
