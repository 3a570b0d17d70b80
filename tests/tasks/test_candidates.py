"""Numbers describe a candidate."""

from __future__ import annotations

from hw.cost_model import load_cost_model
from hw.device import load_device
from spaces.families.blocks import IBN_DW, IBN_FUSED, IBN_GROUPED, SKIP
from spaces.heads.classification import classification
from spaces.menu import load_space
from spaces.space import Architecture
from spaces.walk import prune
from tasks.candidates.records import costs, describe, digest

SPACE = load_space("mobilenet_edgetpu_v2_small")


def test_digest_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2, None]}) == digest({"b": [2, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert digest("a", "b") != digest("ab")
    assert len(digest("a")) == 64


def _described() -> Architecture:
    decisions: dict[str, int | str] = {
        "stem/channels": 16,
        "stage[12]/channels": 32,
        "stage3/channels": 64,
        "*/op": IBN_DW,
        "*/expansion": 2,
        "*/kernel": 3,
        "stage1/block0/kernel": 5,
        "stage1/block1/op": IBN_FUSED,
        "stage2/block0/op": IBN_GROUPED,
        "stage2/block0/expansion": 4,
        "stage2/block0/channels_per_group": 32,
        "stage2/block1/op": SKIP,
        "stage3/block1/op": SKIP,
    }
    return prune(SPACE, decisions)


def test_description_is_of_the_live_blocks() -> None:
    # derived: four blocks; dw 5, fused 3, grouped 3 of expansion 4, dw 3
    assert describe(classification(SPACE.lower(_described()), 10)) == {
        "depth": 4,
        "mean_kernel": 3.5,
        "mean_expansion": 2.5,
        "mean_width": (32 + 32 + 32 + 64) / 4,
        "share_dw": 0.5,
        "share_fused": 0.25,
        "share_grouped": 0.25,
    }


def test_costs_are_those_of_the_report_and_counts_of_the_graph() -> None:
    graph = classification(SPACE.lower(_described()), 10)
    report = load_cost_model("analytic", load_device("coral_usb3")).estimate(graph)
    found = costs(graph, report)
    assert found["latency_ms"] == report.latency_ms > 0
    assert found["weight_bytes"] == report.weight_bytes > 0
    assert (found["macs"], found["parameters"]) == (graph.macs, graph.trainable_parameters)
    assert set(found) == {
        "latency_ms",
        "energy_mj",
        "peak_memory_bytes",
        "weight_bytes",
        "streamed_bytes",
        "macs",
        "parameters",
    }
