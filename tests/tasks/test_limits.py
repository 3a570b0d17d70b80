"""The networks that a supernet is trained for, by the family and by what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from hw.cost_model import load_cost_model
from hw.device import DeviceError, load_device
from spaces.menu import load_baselines
from spaces.space import Architecture
from spaces.walk import sample
from tasks.candidates.limits import cost_limits, reach
from tasks.candidates.records import costs
from tasks.run.params import CostParams
from tests.samples import SMALL, opened, small_space

SPACE, PROBLEM = small_space("classification"), opened("classification")


def _costs(point: Architecture, cost: CostParams) -> Mapping[str, Any]:
    graph = PROBLEM.complete(SPACE.lower(point))
    model = load_cost_model(cost.method, load_device(cost.device))
    return costs(graph, model.estimate(graph))


def test_limits_bear_the_names_of_costs() -> None:
    assert cost_limits(CostParams()) == {}
    asked = CostParams(target_latency_ms=2.5, max_weight_bytes=1000)
    assert cost_limits(asked) == {"latency_ms": 2.5, "weight_bytes": 1000.0}
    assert set(cost_limits(asked)) <= set(_costs(SPACE.smallest(), asked))


def test_without_limits_the_family_bounds_and_no_device_is_asked() -> None:
    found = reach(SPACE, CostParams(device="nothing_of_that_name"), PROBLEM)
    name = SMALL["classification"][0]
    most = max(PROBLEM.complete(SPACE.lower(one)).macs for one in load_baselines(name).values())
    assert set(found.limits) == {"macs", "parameters"}
    assert found.limits["macs"] == 3 * most
    assert found.largest() == SPACE.largest()
    with pytest.raises(DeviceError):
        reach(SPACE, CostParams(device="nothing_of_that_name", max_weight_bytes=1), PROBLEM)


def test_teacher_and_drawn_networks_keep_limits_on_both_devices() -> None:
    ethos = load_cost_model("analytic", load_device("ethos_u55_128"))
    own = load_cost_model("analytic", load_device("coral_usb3"))

    def latencies(point: Architecture) -> tuple[float, float]:
        graph = PROBLEM.complete(SPACE.lower(point))
        return own.estimate(graph).known_latency_ms, ethos.estimate(graph).known_latency_ms

    low, high = latencies(SPACE.smallest()), latencies(SPACE.largest())
    here, there = (a + 0.1 * (b - a) for a, b in zip(low, high, strict=True))
    devices = {"ethos_u55_128": {"target_latency_ms": there}}
    asked = CostParams.model_validate({"target_latency_ms": here, "devices": devices})
    assert cost_limits(asked) == {"latency_ms": here, "ethos_u55_128/latency_ms": there}
    alone = CostParams.model_validate({"device": "nothing_of_that_name", "devices": devices})
    rng = np.random.default_rng(0)
    for cost, limit in ((asked, here), (alone, np.inf)):  # without a limit no device is asked
        found = reach(SPACE, cost, PROBLEM)
        for one in (found.largest(), *(found.sample(rng) for _ in range(10))):
            assert latencies(one)[0] <= limit
            assert latencies(one)[1] <= there


@pytest.mark.parametrize("name", ["latency_ms", "weight_bytes"])
def test_teacher_and_drawn_networks_keep_what_was_asked_for(name: str) -> None:
    low, high = (_costs(one, CostParams())[name] for one in (SPACE.smallest(), SPACE.largest()))
    limit = low + 0.1 * (high - low)
    key = {"latency_ms": "target_latency_ms", "weight_bytes": "max_weight_bytes"}[name]
    asked = CostParams.model_validate({key: int(limit) if name == "weight_bytes" else limit})
    found, rng = reach(SPACE, asked, PROBLEM), np.random.default_rng(0)
    assert set(found.limits) == {"macs", "parameters", name}
    teacher = found.largest()
    assert teacher not in (SPACE.largest(), SPACE.smallest())
    drawn = [found.sample(rng) for _ in range(20)]
    assert all(_costs(one, asked)[name] <= limit for one in (teacher, *drawn))
    assert len(set(drawn)) > 10
    assert not all(_costs(sample(SPACE, rng), asked)[name] <= limit for _ in range(40))
