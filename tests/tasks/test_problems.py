"""What every problem promises: its loss, score, targets and samples, by cases that are known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.graph import OpBatch, OpColumns, OpKind
from spaces.walk import sample
from tasks.learning import anchors, categories
from tasks.learning.problem import load_problem, open_problem, problem_names
from tasks.learning.protocols import Problem, ProblemError, completed
from tasks.problems.question_answering import best_span, f1
from tasks.problems.segmentation import confusion
from tasks.run.params import ProblemParams
from tasks.run.workspace import Workspace, write_json
from tests.samples import CLASSES, SMALL, WORDS, opened, samples, small_space

COUNT = 6
SURE = 30.0
"""A score that leaves no doubt."""

pytestmark = pytest.mark.usefixtures("tensorflow")


@dataclasses.dataclass(frozen=True)
class Known:
    """A problem with samples for which outputs are known.

    Attributes:
        trained: Outputs that the loss likes best.
        best, worst: Outputs of the deployed network that score most and least.
        guess: Outputs of the trained ops that know nothing.
    """

    problem: Problem
    graph: Any
    arrays: dict[str, Any]
    trained: tuple[Any, ...]
    best: tuple[Any, ...]
    worst: tuple[Any, ...]
    guess: tuple[Any, ...]

    @property
    def targets(self) -> Any:
        return self.problem.targets(self.arrays, self.graph)

    def loss(self, outputs: tuple[Any, ...], smoothing: float = 0.0) -> float:
        return float(self.problem.loss(self.targets, outputs, smoothing))

    def score(self, outputs: tuple[Any, ...]) -> dict[str, float]:
        return self.problem.score(outputs, self.arrays, self.graph)


def _one_hot(labels: Any, classes: int) -> Any:
    return np.eye(classes, dtype=np.float32)[labels]


def _labelled(problem: Problem, arrays: Any, graph: Any) -> dict[str, Any]:
    right = _one_hot(arrays["labels"], CLASSES)
    wrong = _one_hot((arrays["labels"] + 1) % CLASSES, CLASSES)
    return {
        "trained": (SURE * right,),
        "best": (right,),
        "worst": (wrong,),
        "guess": (np.zeros_like(right),),
    }


def _masked(problem: Problem, arrays: Any, graph: Any) -> dict[str, Any]:
    masks = np.where(arrays["masks"] == 255, 0, arrays["masks"]).astype(np.uint8)
    right = _one_hot(masks, CLASSES)
    return {
        "trained": (SURE * right,),
        "best": (masks,),
        "worst": (((masks + 1) % CLASSES).astype(np.uint8),),
        "guess": (np.zeros_like(right),),
    }


def _boxed(problem: Problem, arrays: Any, graph: Any) -> dict[str, Any]:
    targets = problem.targets(arrays, graph)
    there = targets["labels"] >= 0
    right = _one_hot(np.where(there, targets["labels"], 0), CLASSES) * there[..., None]
    boxes = targets["boxes"]
    return {
        "trained": (boxes, SURE * (2 * right - 1)),
        "best": (boxes, right),
        "worst": (boxes, np.zeros_like(right)),
        "guess": (np.zeros_like(boxes), np.zeros_like(right)),
    }


def _spanned(problem: Problem, arrays: Any, graph: Any) -> dict[str, Any]:
    count, length = arrays["tokens"].shape
    logits = np.zeros((count, length, 2), np.float32)
    elsewhere = np.zeros_like(logits)
    for row, (first, last) in enumerate(arrays["spans"]):
        logits[row, first, 0] = logits[row, last, 1] = SURE
        away = 5 if first > 5 else last + 1  # a word that is none of the answer
        elsewhere[row, away] = SURE
    return {
        "trained": (logits,),
        "best": (logits,),
        "worst": (elsewhere,),
        "guess": (np.zeros_like(logits),),
    }


OUTPUTS: dict[str, Callable[..., dict[str, Any]]] = {
    "classification": _labelled,
    "segmentation": _masked,
    "detection": _boxed,
    "text_classification": _labelled,
    "question_answering": _spanned,
}


def _known(name: str, arrays: dict[str, Any] | None = None, **options: Any) -> Known:
    found = samples(name, COUNT) if arrays is None else arrays
    if name == "detection":
        found = _apart(found)
    problem = opened(name, train=found, **options)
    space = small_space(name)
    largest = {} if name != "question_answering" else {"sequence/percent": 100}
    point = space.largest()
    assert all(point.values.get(key) == value for key, value in largest.items())
    graph = problem.complete(space.lower(point))
    return Known(problem, graph, found, **OUTPUTS[name](problem, found, graph))


def _apart(arrays: dict[str, Any]) -> dict[str, Any]:
    """Boxes that do not overlap: one a quarter of the picture."""
    corner = np.array([[0.05, 0.05], [0.05, 0.55], [0.55, 0.05], [0.55, 0.55]])
    boxes = np.concatenate([corner, corner + np.array([0.35, 0.3])], axis=1).astype(np.float32)
    return {**arrays, "boxes": np.where(arrays["labels"][..., None] >= 0, boxes, 0.0)}


@pytest.fixture(params=SMALL)
def known(request: pytest.FixtureRequest) -> Known:
    return _known(request.param)


def test_all_problems_are_under_test() -> None:
    assert set(SMALL) == set(OUTPUTS) == set(problem_names())


# -- loss ---------------------------------------------------------------------------------------


def test_loss_of_perfect_outputs_is_near_its_least(known: Known) -> None:
    assert 0 <= known.loss(known.trained) < 1e-3
    rng = np.random.default_rng(0)
    noisy = tuple((one + rng.normal(0, 20, one.shape)).astype(np.float32) for one in known.trained)
    assert known.loss(noisy) > known.loss(known.trained)


@pytest.mark.parametrize("name", ["classification", "text_classification"])
def test_loss_of_guessing_a_class_is_told(name: str) -> None:
    known = _known(name)
    # derived
    assert known.problem.chance_loss == pytest.approx(math.log(3))
    assert known.loss(known.guess) == pytest.approx(math.log(3), rel=1e-5)


def test_loss_of_guessing_pixels_is_told() -> None:
    known = _known("segmentation")
    counted = known.arrays["masks"] != 255
    sizes = np.array([(known.arrays["masks"] == c).sum() for c in range(CLASSES)])
    # derived: each class gets a third of every pixel
    both, total = sizes / 3, counted.sum()
    index = both / (sizes + total / 3 - both)
    expected = math.log(3) + 1 - index.mean()
    assert known.loss(known.guess) == pytest.approx(expected, rel=1e-4)
    assert known.problem.chance_loss == pytest.approx(math.log(3) + 1)
    assert known.loss(known.guess) <= known.problem.chance_loss


def test_loss_of_guessing_a_token_is_told() -> None:
    known = _known("question_answering")
    # derived: only the words of the context can be an answer
    assert known.loss(known.guess) == pytest.approx(math.log(WORDS), rel=1e-5)
    assert known.problem.chance_loss == pytest.approx(math.log(28))


def test_most_anchors_are_background_which_the_first_bias_knows() -> None:
    known = _known("detection")
    assert known.problem.chance_loss is None
    (boxes, scores), first = known.guess, np.float32(-math.log(99))
    assert known.loss((boxes, scores + first)) < known.loss((boxes, scores))


def test_smoothing_spreads_its_mass_over_all_classes() -> None:
    logits = np.log(np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], np.float32))
    found = categories.cross_entropy(np.array([2, 0], np.int32), logits, 0.3)
    # derived: 0.3 / 3 everywhere, and 0.7 more at the label
    rows = [
        0.1 * math.log(0.2) + 0.1 * math.log(0.3) + 0.8 * math.log(0.5),
        0.8 * math.log(0.6) + 0.1 * math.log(0.3) + 0.1 * math.log(0.1),
    ]
    assert float(found) == pytest.approx(-sum(rows) / 2, rel=1e-5)


def test_loss_of_segmentation_is_of_the_resized_scores() -> None:
    known = _known("segmentation")
    (right,) = known.trained
    coarse = right[:, ::4, ::4]
    assert coarse.shape != right.shape
    assert 0 < known.loss((coarse,)) < known.loss(known.guess)


# -- score --------------------------------------------------------------------------------------


def test_score_of_perfect_outputs_is_1_and_of_the_worst_0(known: Known) -> None:
    name = known.problem.metric.name
    best, worst = known.score(known.best), known.score(known.worst)
    assert next(iter(best)) == name
    assert best[name] == pytest.approx(1.0)
    assert worst[name] == pytest.approx(0.0)
    assert all(0 <= value <= 1 for value in (*best.values(), *worst.values()))


def test_pixels_to_ignore_do_not_count() -> None:
    known = _known("segmentation")
    ignored = known.arrays["masks"] == 255
    assert ignored.any()
    logits = np.where(ignored[..., None], SURE * np.eye(3, dtype=np.float32)[2], *known.trained)
    assert known.loss((logits,)) == pytest.approx(known.loss(known.trained), abs=1e-6)
    labels = np.where(ignored, 2, *known.best).astype(np.uint8)
    assert known.score((labels,)) == known.score(known.best)


def test_mean_iou_is_over_the_classes_that_occur() -> None:
    masks = np.array([[[0, 0, 1, 255]]], np.uint8)
    labels = np.array([[[0, 1, 1, 2]]], np.uint8)
    # derived: rows are the truth, columns what was said
    assert confusion(labels, masks, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    found = opened("segmentation").score((labels,), {"masks": masks}, None)  # type: ignore[arg-type]
    # derived: 1 of 2 in both classes; the third occurs nowhere
    assert found == pytest.approx({"mean_iou": 0.5, "pixel_accuracy": 2 / 3})


def test_crowds_are_neither_to_be_found_nor_wrong() -> None:
    arrays = _apart(samples("detection", COUNT))
    crowd = np.zeros_like(arrays["crowd"])
    crowd[2, 2] = True
    assert arrays["labels"][2, 2] >= 0
    known = _known("detection", {**arrays, "crowd": crowd})
    assert known.score(known.best)["map50"] == pytest.approx(1.0)
    labels = known.targets["labels"]
    assert (labels[2] == anchors.IGNORED).any()


# -- spans --------------------------------------------------------------------------------------


def test_best_span_goes_forward_and_is_no_longer_than_allowed() -> None:
    scores = np.zeros((5, 2))
    scores[3, 0], scores[1, 1] = 9.0, 9.0  # the two best ends are in the wrong order
    scores[4, 1], scores[0, 0] = 1.0, 1.0
    # derived: 3 to 4 has 10, 0 to 1 has 10, too; the first of equals is taken
    assert best_span(scores, 5) == (0, 1)
    scores[4, 1] = 2.0
    assert best_span(scores, 5) == (3, 4)
    assert best_span(scores, 1) == (1, 1)  # derived: 9 at one token: 3 or 1, the first
    far = np.zeros((6, 2))
    far[0, 0], far[5, 1], far[2, 1] = 5.0, 5.0, 1.0
    assert best_span(far, 6) == (0, 5)
    assert best_span(far, 5) == (0, 2)


def test_f1_counts_words_without_case_articles_and_marks() -> None:
    # derived: 2 shared of 2 and 4 words
    assert f1("The Eiffel, tower", "an eiffel tower of Paris") == pytest.approx(4 / 6)
    assert f1("", "word") == 0.0
    assert f1("the", "a") == 1.0  # nothing but articles: both are empty


def test_answers_that_were_cut_off_are_not_learned() -> None:
    arrays = samples("question_answering", COUNT)
    spans = arrays["spans"].copy()
    spans[0], spans[1] = (-1, -1), (5, 40)
    known = _known("question_answering")
    targets = known.problem.targets({**arrays, "spans": spans}, known.graph)
    assert targets["known"].tolist() == [0, 0, 1, 1, 1, 1]
    (logits,) = known.guess
    spoiled = logits.copy()
    spoiled[:2, 7] = SURE
    losses = [float(known.problem.loss(targets, (one,), 0.0)) for one in (logits, spoiled)]
    assert losses[0] == pytest.approx(losses[1])
    lost = {**arrays, "spans": np.full_like(spans, -1)}
    assert float(known.problem.loss(known.problem.targets(lost, known.graph), (spoiled,), 0)) == 0


def test_answers_are_words_of_the_context_whatever_scores_the_question_has() -> None:
    known = _known("question_answering")
    (logits,) = known.best
    shouted = logits.copy()
    shouted[:, 1] = 10 * SURE  # a word of the question
    assert known.score((shouted,)) == known.score(known.best)
    assert known.score((shouted,))["exact_match"] == 1.0


def test_shorter_networks_read_the_beginning() -> None:
    arrays = samples("question_answering", COUNT)
    problem, space = opened("question_answering"), small_space("question_answering")
    short = problem.complete(space.lower(space.smallest()))
    length = short.input_shape[1]
    assert length < arrays["tokens"].shape[1]
    for name, array in problem.inputs(arrays, short).items():
        assert array.shape == (COUNT, *dict(short.inputs)[name][1:])
    targets = problem.targets(arrays, short)
    np.testing.assert_array_equal(targets["known"], arrays["spans"][:, 1] < length)
    logits = np.zeros((COUNT, length, 2), np.float32)
    assert np.isfinite(float(problem.loss(targets, (logits,), 0.0)))
    assert 0 <= problem.score((logits,), arrays, short)["f1"] <= 1


# -- distillation -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in SMALL if name != "detection"])
def test_nothing_is_nearer_to_the_teacher_than_its_own_outputs(name: str) -> None:
    known, rng = _known(name), np.random.default_rng(0)
    (shape,) = [one.shape for one in known.trained]
    teacher = (rng.normal(0, 1, shape).astype(np.float32),)

    def imitated(outputs: tuple[Any, ...]) -> float:
        """Without the share that the labels have."""
        whole = float(known.problem.distill(known.targets, teacher, outputs))
        shared = name in ("segmentation", "question_answering")
        return whole - 0.5 * known.loss(outputs) if shared else whole

    least = imitated(teacher)
    for scale in (0.1, 1.0, 5.0):
        other = (teacher[0] + rng.normal(0, scale, shape).astype(np.float32),)
        assert imitated(other) > least
    # derived: the entropy of the teacher
    if name.endswith("classification"):
        powers = np.exp(teacher[0]) / np.exp(teacher[0]).sum(axis=-1, keepdims=True)
        assert least == pytest.approx(-(powers * np.log(powers)).sum(axis=-1).mean(), rel=1e-4)


def test_detectors_of_other_anchors_learn_from_labels_alone() -> None:
    known = _known("detection")
    fewer = tuple(one[:, 1:] for one in known.trained)
    found = known.problem.distill(known.targets, fewer, known.guess)
    assert float(found) == pytest.approx(known.loss(known.guess))


def test_coarser_students_learn_from_a_finer_teacher() -> None:
    known = _known("segmentation")
    (fine,) = known.trained
    student = (fine[:, ::2, ::2],)
    assert np.isfinite(float(known.problem.distill(known.targets, (fine,), student)))


# -- graphs -------------------------------------------------------------------------------------


def test_inputs_are_what_the_graph_reads(known: Known) -> None:
    read = known.problem.inputs(known.arrays, known.graph)
    assert set(read) == {name for name, _ in known.graph.inputs}
    for name, shape in known.graph.inputs:
        assert read[name].shape == (COUNT, *shape[1:])
    if "images" in known.arrays:
        assert read["input"].min() >= -1 and read["input"].max() <= 1
    else:
        padding = known.arrays["tokens"] == 0
        np.testing.assert_array_equal(read["mask"][:, 0, 0] == -16.0, padding)


def test_targets_can_be_stacked_with_their_inputs(known: Known) -> None:
    assert {len(one) for one in known.targets.values()} == {COUNT}
    assert not any(one.dtype == np.float64 for one in known.targets.values())


def test_host_ops_stand_behind_the_deployed_ones(known: Known) -> None:
    names = [op.name for op in known.graph.ops]
    assert {*known.problem.trained, *known.problem.deployed} <= set(names)
    host = [op for op in known.graph.ops if op.kind is OpKind.TFLITE_DETECTION_POSTPROCESS]
    assert len(host) == (known.problem.name == "detection")
    assert all(set(op.inputs) == {*known.problem.deployed} for op in host)


@pytest.mark.parametrize("name", SMALL)
def test_many_graphs_are_completed_as_one_by_one(name: str) -> None:
    problem, space = opened(name), small_space(name)
    rng = np.random.default_rng(0)
    chosen = [sample(space, rng) for _ in range(12)]
    expected = OpBatch.of([problem.complete(space.lower(one)) for one in chosen])
    found = completed(problem, space, chosen)
    for field in dataclasses.fields(OpColumns):
        got, wanted = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(got[found.live], wanted[expected.live])


def test_decoding_is_what_boxes_are_relative_to(known: Known) -> None:
    decoding = known.problem.decoding(known.graph)
    if known.problem.name != "detection":
        assert decoding == {}
        return
    (boxes,) = (op for op in known.graph.ops if op.name == "boxes")
    assert decoding["anchors"].shape == boxes.output_shape[1:]


# -- people -------------------------------------------------------------------------------------


def test_samples_are_shown_with_what_each_file_made_of_them(known: Known) -> None:
    outputs = {"float": known.best, "int8": known.worst}
    shown = known.problem.samples(known.arrays, outputs, known.graph)
    assert len({one.name for one in shown}) == len(shown) == COUNT
    for one in shown:
        captions = [panel.caption for panel in one.panels]
        assert captions[-3:] == ["truth", "float", "int8"]
        assert all(panel.picture or panel.text or panel.note for panel in one.panels)
        if "images" in known.arrays:
            assert (one.panels[0].picture or b"").startswith(b"\x89PNG")
        assert one.panels[-1] != dataclasses.replace(one.panels[-2], caption="int8")


# -- choice -------------------------------------------------------------------------------------


def test_unknown_problem_lists_what_there_is() -> None:
    with pytest.raises(ProblemError, match=r"one of classification, .*, but got 'depth'"):
        load_problem("depth")


def test_data_of_another_problem_is_refused(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path / "state", tmp_path / "store")
    manifest = {"problem": "detection", "classes": ["a"], "input_shape": [1, 32, 32, 3]}
    manifest["splits"] = {}
    write_json(workspace.data / "manifest.json", manifest)
    with pytest.raises(ProblemError, match="is for detection, but got 'segmentation'"):
        open_problem(ProblemParams(name="segmentation"), workspace)
    opened_one = open_problem(ProblemParams(name="detection"), workspace)
    assert opened_one.setting.classes == ("a",)
