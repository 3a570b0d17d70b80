"""Recipes follow from the data; what a person sets is taken as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from spaces.menu import load_trainable
from tasks.candidates import fidelity, gate
from tasks.candidates.candidate import Candidate
from tasks.candidates.workload import CORES, SECONDS_TO_BUILD_OP, epochs_within, step_seconds
from tasks.data import linear_floor
from tasks.learning import recipes
from tasks.learning.recipes import Facts
from tasks.pipeline.preflight import check
from tasks.run.params import AugmentParams, FinetuneParams, ParamsError, SupernetParams
from tasks.run.params_file import load_params

FILE = Path(__file__).parents[2] / "params.yaml"
PICTURES = Facts(texts=False, labelled=True, items=3000, side=32, mirrored=True)
TEXTS = Facts(texts=True, labelled=True, items=3000, side=0, mirrored=False)


def test_short_trainings_see_pictures_as_they_are() -> None:
    strengths = [recipes.augmentation(PICTURES, epochs) for epochs in (2, 10, 40)]
    assert [(one.flip, one.crop, one.scale) for one in strengths] == [
        (True, 0, 0.0),
        (True, 3, 0.0),
        (True, 3, 0.1),
    ]
    assert recipes.augmentation(TEXTS, 40) == AugmentParams(drop_tokens=0.1)


def test_steps_are_epochs_of_the_data_and_quantization_comes_after() -> None:
    floating = recipes.plan(PICTURES, FinetuneParams(), 40)
    assert floating.batch_size == 64
    assert floating.recipe.steps == 40 * (3000 // 64)
    quantized = recipes.quantized_plan(PICTURES, FinetuneParams(), floating)
    assert quantized.epochs == 2
    assert quantized.recipe.learning_rate < 0.1 * floating.recipe.learning_rate


def test_what_is_set_is_taken() -> None:
    given = FinetuneParams(optimizer="sgd", learning_rate=0.3, batch_size=8, dropout=0.5)
    plan = recipes.plan(PICTURES, given, 1)
    assert (plan.recipe.optimizer, plan.recipe.learning_rate) == ("sgd", 0.3)
    assert (plan.batch_size, plan.dropout) == (8, 0.5)
    supernet = recipes.supernet_plan(PICTURES, SupernetParams(steps=10, learning_rate=0.2))
    assert (supernet.recipe.steps, supernet.recipe.learning_rate) == (10, 0.2)


def test_networks_have_muon_and_the_supernet_adam_at_half_of_its_rate() -> None:
    by_muon = recipes.plan(PICTURES, FinetuneParams(), 20).recipe
    by_adam = recipes.plan(PICTURES, FinetuneParams(optimizer="adam"), 20).recipe
    supernet = recipes.supernet_plan(PICTURES, SupernetParams(steps=900)).recipe
    assert [one.optimizer for one in (by_muon, by_adam, supernet)] == ["muon", "adam", "adam"]
    assert by_muon.weight_decay == by_adam.weight_decay == supernet.weight_decay
    # derived: recipes.MUON_RATE is 2; the supernet has half of its optimiser's rate
    rates = by_muon.learning_rate, by_adam.learning_rate, supernet.learning_rate
    assert (rates[0] / rates[1], rates[1] / rates[2]) == pytest.approx((2.0, 2.0))
    by_sgd = recipes.plan(PICTURES, FinetuneParams(optimizer="sgd"), 20).recipe
    assert by_sgd.learning_rate > 10 * by_adam.learning_rate


def test_effort_lies_between_the_file_and_the_profile(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(
        "search: {budget: 1, chunk: 1, seed: 1}\n"
        "efforts: {quick: {search: {budget: 2, chunk: 2}}, slow: {search: {budget: 9}}}\n"
        "profiles: {mine: {effort: quick, search: {chunk: 3}}}\n"
    )
    found = load_params(path, "mine").search
    assert (found.budget, found.chunk, found.seed) == (2, 3, 1)
    assert load_params(path, "mine", ["effort=slow"]).search.budget == 9
    assert load_params(path, None, ["effort=slow", "search.budget=4"]).search.budget == 4
    with pytest.raises(ParamsError, match="effort must be one of quick, slow, but got 'fast'"):
        load_params(path, None, ["effort=fast"])


def test_only_texts_of_a_class_each_are_learnt_with_large_margins() -> None:
    questions = Facts(texts=True, labelled=False, items=3000, side=0, mirrored=False)
    decays = {
        facts: recipes.plan(facts, FinetuneParams(), 20).recipe.weight_decay
        for facts in (PICTURES, TEXTS, questions)
    }
    assert decays[TEXTS] > 1.5 * max(decays[PICTURES], decays[questions])


def test_no_profile_of_the_file_sets_a_learning_rate() -> None:
    assert "learning_rate: 0" not in FILE.read_text()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["search.evaluator=none"],
            "search.evaluator must be one of auto, shared, sliced, trained",
        ),
        (["search.evaluator=shared"], "shared must have a trained supernet, but got"),
        (["search.evaluator=sliced"], "sliced must have a trained supernet, but got"),
        (["finetune.start=slice"], "slice must have a trained supernet, but got"),
    ],
)
def test_what_cannot_be_scored_is_refused_at_once(overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(load_params(FILE, None, ["supernet.steps=0", *overrides]))


def test_minutes_buy_epochs() -> None:
    space = load_trainable("mobilenet_edgetpu_v2_small")
    small, large = space.lower(space.smallest()), space.lower(space.largest())
    assert step_seconds(small, 64) < step_seconds(large, 64)
    # derived: what is left after building, over 10 steps of an epoch
    left = 60 * CORES - SECONDS_TO_BUILD_OP * len(large.ops)
    expected = int(left / (10 * step_seconds(large, 64)))
    assert epochs_within(1.0, [large], 10, 64, 10**6) == expected
    assert epochs_within(1.0, [large], 10, 64, 5) == 5
    assert epochs_within(1e-6, [large], 10, 64, 5) == 1


def _striped(count: int) -> dict[str, np.ndarray]:
    """Class 1 is bright at the left, class 0 at the right."""
    images = np.random.default_rng(0).integers(0, 60, (count, 16, 16, 1), np.uint8)
    labels = (np.arange(count) % 2).astype(np.int32)
    images[labels == 1, :, 0:4] += 150
    images[labels == 0, :, 12:16] += 150
    return {"images": images, "labels": labels}


def test_linear_floor_learns_what_is_linear() -> None:
    arrays = _striped(200)
    train = {name: array[:150] for name, array in arrays.items()}
    held = {name: array[150:] for name, array in arrays.items()}
    found = linear_floor.predictions(train, held)
    assert found is not None
    assert (found == held["labels"]).mean() > 0.95
    masks = {
        "images": arrays["images"],
        "masks": (arrays["images"][..., 0] > 100).astype(np.uint8),
    }
    pixels = linear_floor.predictions(masks, masks)
    assert pixels is not None
    assert (pixels == masks["masks"]).mean() > 0.9
    tokens = np.where(np.arange(60)[:, None] % 2, [[5, 6, 0]], [[7, 8, 0]])
    texts = {"tokens": tokens, "labels": np.arange(60) % 2}
    assert (linear_floor.predictions(texts, texts) == texts["labels"]).all()
    assert linear_floor.predictions({"boxes": tokens}, {"boxes": tokens}) is None


def test_gate_believes_a_score_that_follows_the_truth_and_no_other() -> None:
    rng = np.random.default_rng(0)
    truth = np.linspace(0.4, 0.8, 16)
    kinds = ["depthwise", "fused", "grouped", "mixed"] * 4
    macs = rng.random(16)
    good = fidelity.judged(truth + rng.normal(0, 0.01, 16), truth, macs, kinds, 0.01)
    assert good.passed and good.figures is not None
    assert good.figures.tau > 0.8 > good.figures.tau_macs
    assert good.figures.tau_ceiling is not None and good.figures.tau_ceiling > 0.9
    favoured = truth + np.where(np.array(kinds) == "fused", 0.6, 0.0)
    bad = fidelity.judged(favoured, truth, macs, kinds, None)
    assert not bad.passed
    assert any("fused is favoured" in reason for reason in bad.reasons)
    by_size = fidelity.judged(rng.random(16), truth, truth, kinds, None)
    assert any("MACs alone" in reason for reason in by_size.reasons)
    flat = fidelity.judged(truth / 100, truth, macs, kinds, None)
    assert any("hardly differ" in reason for reason in flat.reasons)


def test_gate_looks_at_small_and_large_networks_of_each_kind() -> None:
    space = load_trainable("mobilenet_edgetpu_v2_small")
    weights = {}

    def latency(point: object) -> float:
        return float(weights.setdefault(point, space.lower(point).macs))  # type: ignore[arg-type]

    found = gate.networks(space, 12, 0, lambda _: True, latency)
    assert len(set(found)) == len(found) == 12
    assert found == gate.networks(space, 12, 0, lambda _: True, latency)
    uniform = [
        one for one in found if len({v for k, v in one.decisions if "/op" in k} - {"skip"}) == 1
    ]
    assert len(uniform) >= 8
    limited = gate.networks(space, 6, 0, lambda point: latency(point) < 5e6, latency)
    assert max(map(latency, limited)) < 5e6


def test_verdict_is_told_in_one_line() -> None:
    candidates = [
        Candidate(str(n), {}, metric="top1", score=0.1 * n, macs=n, share_dw=1.0)
        for n in range(1, 7)
    ]
    truth = [{"top1": 0.1 * n} for n in (1, 2, 3, 4, 6, 5)]
    found = gate.verdict(candidates, truth, "top1", truth[:2])
    line = gate.told(found)
    assert "\n" not in line and "tau 0.87" in line and "MACs 0.87" in line
    few = gate.verdict(candidates[:2], truth[:2], "top1", [])
    assert not few.passed and "too few" in gate.told(few)


def test_pictures_are_mixed_only_where_each_is_seen_often_and_has_a_class() -> None:
    def share(facts: recipes.Facts, epochs: int) -> float:
        return recipes.augmentation(facts, epochs).mix

    often = recipes.MIXED_EPOCHS
    assert (share(PICTURES, often - 1), share(PICTURES, often)) == (0.0, recipes.MIX)
    masks = dataclasses.replace(PICTURES, labelled=False)
    assert share(masks, often) == share(dataclasses.replace(PICTURES, texts=True), often) == 0.0
