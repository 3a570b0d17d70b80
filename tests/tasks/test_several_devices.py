"""Several devices in one search: limits hold on each, and each may have an objective."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.search_support.proposals import Infeasible
from spaces.space import Architecture
from spaces.walk import architecture, sample
from tasks.candidates import objectives
from tasks.candidates.candidate import Candidate
from tasks.candidates.coster import Coster
from tasks.candidates.objectives import ObjectiveError
from tasks.candidates.other_devices import latency_on
from tasks.evaluators.shared import Shared
from tasks.run.manifest import DataManifest
from tasks.run.params import (
    CostParams,
    Params,
    ProblemParams,
    RuntimeParams,
    SearchParams,
    SelectParams,
    SpaceParams,
)
from tasks.run.params_file import load_params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, write_json, write_npz
from tasks.search_architectures import run
from tasks.tracking.tracker import candidate_note
from tests.samples import SMALL, opened, small_space

ROOT = Path(__file__).parents[2]
SPACE, PROBLEM = small_space("classification"), opened("classification")
NAME, SHAPE = SMALL["classification"][:2]
ETHOS = "ethos_u55_128"
THERE = f"{ETHOS}/latency_ms"
MANIFEST = {
    "problem": "classification",
    "input_shape": list(SHAPE),
    "classes": list(PROBLEM.setting.classes),
    "splits": {"train": {"images": 4, "sha256": "0"}, "validation": {"images": 2, "sha256": "1"}},
}


def _score(self: Shared, point: Architecture) -> dict[str, float]:
    """Rises with the parameters."""
    parameters = SPACE.lower(point).total_parameters
    return {"top1": parameters / (parameters + 3e5) + int(point.id[:4], 16) / 2**24}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setattr(Shared, "score", _score)
    made = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    write_json(made.data / "manifest.json", MANIFEST)
    write_npz(made.supernet / "weights.npz", {"w": np.zeros(1)})
    return made


def _cost(**given: Any) -> CostParams:
    return CostParams.model_validate({"device": "coral_dev_board", **given})


def _search(
    workspace: Workspace,
    cost: CostParams,
    goals: tuple[str, ...] = ("top1:max", "latency_ms:min"),
) -> list[dict[str, Any]]:
    run(
        ProblemParams(),
        SpaceParams(name=NAME),
        SearchParams(budget=16, chunk=5, evaluator="shared"),
        cost,
        SelectParams(objectives=goals),
        RuntimeParams(),
        workspace,
        SilentProgress(),
    )
    records: list[dict[str, Any]] = read_json(workspace.search / "candidates.json")
    return records


def _exact(record: dict[str, Any], device: str) -> float:
    graph = PROBLEM.complete(SPACE.lower(architecture(SPACE, record["architecture"])))
    model = load_cost_model("analytic", load_device(device))
    return model.estimate(graph).known_latency_ms


def test_every_candidate_has_its_latency_on_each_device_and_keeps_both_limits(
    workspace: Workspace,
) -> None:
    free = _search(workspace, _cost(devices={ETHOS: {}}))
    assert all(one[THERE] == _exact(one, ETHOS) for one in free)
    assert all(one["latency_ms"] == _exact(one, "coral_dev_board") for one in free)
    assert {"latency_ms", THERE} <= set(read_json(workspace.search / "front.json")["largest"])
    # The limits are those of different networks, so that each of them alone lets others through.
    here, there = (sorted(one[name] for one in free)[8] for name in ("latency_ms", THERE))
    limits = {"target_latency_ms": here, "devices": {ETHOS: {"target_latency_ms": there}}}
    kept = _search(workspace, _cost(**limits))
    assert len(kept) == 16
    assert all(one["latency_ms"] <= here and one[THERE] <= there for one in kept)
    only_here = [one for one in free if one["latency_ms"] <= here]
    only_there = [one for one in free if one[THERE] <= there]
    assert max(one[THERE] for one in only_here) > there
    assert max(one["latency_ms"] for one in only_there) > here


def test_an_objective_on_another_device_makes_the_front(workspace: Workspace) -> None:
    cost = _cost(devices={ETHOS: {}})

    def fronts(goals: tuple[str, ...], name: str) -> tuple[set[str], set[str]]:
        """Who is said to be on the front, and who is, reckoned one by one."""
        found = _search(workspace, cost, goals)
        best = {
            one["id"]
            for one in found
            if not any(
                other["top1"] >= one["top1"] and other[name] <= one[name] and other is not one
                for other in found
            )
        }
        return {one["id"] for one in found if one["on_pareto"]}, best

    said, best = fronts(("top1:max", f"{THERE}:min"), THERE)
    assert said == best
    said_here, best_here = fronts(("top1:max", "latency_ms:min"), "latency_ms")
    assert said_here == best_here != best
    assert 0 < read_json(workspace.search / "front.json")["hypervolume"] < 1


@pytest.mark.slow
def test_a_limit_that_nothing_holds_on_another_device_is_named(workspace: Workspace) -> None:
    cost = _cost(devices={ETHOS: {"target_latency_ms": 1e-4}})
    with pytest.raises(
        Infeasible, match=rf"satisfy {THERE} <= 0\.0001, but got none .* seen being {THERE} 0\."
    ) as caught:
        _search(workspace, cost)
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)


def test_without_other_devices_no_record_changes(workspace: Workspace) -> None:
    records = _search(workspace, _cost())
    assert not [name for one in records for name in one if "/" in name and name != "architecture"]
    assert not [
        name for name in read_json(workspace.search / "front.json")["largest"] if "/" in name
    ]


def test_costs_of_many_come_from_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    coster = Coster(NAME, DataManifest.of(MANIFEST), _cost(devices={ETHOS: {}}), PROBLEM)
    points = [sample(coster.space, np.random.default_rng(n)) for n in range(20)]
    exact = {name: [coster.costs(one)[name] for one in points] for name in ("latency_ms", THERE)}
    monkeypatch.setattr(coster, "costs", lambda point: pytest.fail("one by one"))
    found = coster.columns(points, ("latency_ms", THERE))
    for name, values in exact.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9)


def test_a_candidate_is_read_as_it_was_written_and_mlflow_gets_a_metric() -> None:
    one = Candidate("a", {}, score=0.5, metric="top1", latency_ms=1.0, elsewhere={THERE: 0.25})
    told = one.told()
    assert told[THERE] == 0.25 == one.value(THERE)
    assert Candidate.of(told, "top1") == one
    assert one.value("tensor_g1/latency_ms") is None
    assert one.scored({"top1": 0.7}).value(THERE) == 0.25
    validation = pytest.importorskip("mlflow.utils.validation")
    note = candidate_note("parent", told, {}, {})
    assert note.metrics[THERE] == (0.25,)
    for name in note.metrics:
        validation._validate_metric_name(name)


def test_objectives_elsewhere_must_be_of_a_named_device() -> None:
    goals = (f"{THERE}:min",)
    (found,) = objectives.parse(goals, "classification", [THERE])
    assert (found.name, found.goal) == (THERE, "min")
    with pytest.raises(ObjectiveError, match=rf"Name {ETHOS} in cost.devices"):
        objectives.parse(goals, "classification", [])
    assert latency_on("boards/mine.yaml") == "mine/latency_ms"


def test_devices_of_an_overlay_take_the_place_of_those_below(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "cost: {devices: {tensor_g1: {target_latency_ms: 2.0}}}\n"
        "profiles: {other: {cost: {devices: {ethos_u55_128: }}}, same: {}}\n"
    )

    def devices(*settings: str, profile: str = "same") -> dict[str, Any]:
        found: dict[str, Any] = load_params(path, profile, settings).model_dump()["cost"]
        return dict(found["devices"])

    assert devices() == {"tensor_g1": {"target_latency_ms": 2.0}}
    assert devices(profile="other") == {ETHOS: {"target_latency_ms": None}}
    assert devices("cost.devices={}") == {}
    assert devices("cost.devices.tensor_g1.target_latency_ms=1.5") == {
        "tensor_g1": {"target_latency_ms": 1.5}
    }
    assert set(devices(f"cost.devices.{ETHOS}={{}}")) == {"tensor_g1", ETHOS}


def test_parameters_with_devices_come_back_from_what_is_written() -> None:
    params = Params(cost=_cost(devices={ETHOS: {"target_latency_ms": 1.0}, "tensor_g1": {}}))
    assert Params.model_validate(params.model_dump()) == params
    assert hash(params.cost) == hash(params.model_copy().cost)
