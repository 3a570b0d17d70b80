"""Finalists learn from a given network or from the largest; what cannot teach is told."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.graph import OpGraph
from tasks import finetune_qat
from tasks.candidates import finishing
from tasks.candidates.coster import Coster
from tasks.learning import foreign_network, teacher
from tasks.learning.interpreter import predict
from tasks.learning.optimizer import Recipe
from tasks.learning.problem import open_problem
from tasks.learning.teacher import OwnTeacher, TeacherError
from tasks.learning.training import Batches, Checkpoint, train_model
from tasks.pipeline import preflight
from tasks.pipeline.stages import STAGES, claimed, stage_named
from tasks.run import workers
from tasks.run.manifest import DataManifest
from tasks.run.params import AugmentParams, FinetuneParams, Params, ProblemParams, SearchParams
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, write_bytes, write_json
from tests.prepared import prepared
from tests.samples import SMALL, opened, samples, small_space

NAME = "classification"
SIDE = SMALL[NAME][1][1]
SPACE, PROBLEM = small_space(NAME), opened(NAME)
GRAPH = PROBLEM.complete(SPACE.lower(SPACE.smallest()))
RECIPE = Recipe(
    steps=3,
    learning_rate=0.05,
    warmup_steps=1,
    momentum=0.9,
    weight_decay=0.0,
    clip_norm=5.0,
    label_smoothing=0.0,
    seed=0,
)

pytestmark = pytest.mark.usefixtures("tensorflow")


def _model(
    classes: int = 3, side: int = SIDE, ends: str | None = None, seed: int = 0, scale: float = 0.1
) -> Any:
    """A network of Keras 2 that looks at all pixels; ``ends`` in an activation."""
    import tf_keras as keras

    entry = keras.Input((side, side, 3), name="pixels")
    kernel = keras.initializers.RandomNormal(stddev=scale, seed=seed)
    scores = keras.layers.Dense(classes, kernel_initializer=kernel)(keras.layers.Flatten()(entry))
    return keras.Model(entry, keras.layers.Activation(ends or "linear")(scores))


def _saved(model: Any, path: Path) -> Path:
    model.save(path)
    return path


def _tflite(model: Any, path: Path, kind: str = "float") -> Path:
    """Without a signature's names of this project; ``uint8``: integer pixels of -1..1."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float":
        rng = np.random.default_rng(0)
        shape = (1, *model.input_shape[1:])
        ends = [np.full(shape, end, np.float32) for end in (-1, 1)]
        seen = [*ends, *(rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(8))]
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([one] for one in seen)
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    write_bytes(path, converter.convert())
    return path


def _trained(by: Any, **changes: Any) -> tuple[dict[str, Any], Any]:
    """Weights and losses of the smallest network after a few steps."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model, get_weights

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = build_model(GRAPH, outputs=PROBLEM.trained)
    batches = Batches(PROBLEM, samples(NAME, 24), 8, 0, AugmentParams(flip=True, crop=1))
    losses = train_model(
        model,
        GRAPH,
        PROBLEM,
        batches,
        dataclasses.replace(RECIPE, **changes),
        Checkpoint(Path("never"), every=10**9),
        SilentProgress(),
        by,
    )
    return get_weights(model), losses


def _differ(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


# -- what is learned ----------------------------------------------------------------------------


def test_teacher_changes_what_is_learned_and_its_probabilities_are_logits(tmp_path: Path) -> None:
    logits = OwnTeacher(_saved(_model(), tmp_path / "a.keras"), PROBLEM)
    likely = OwnTeacher(_saved(_model(ends="softmax"), tmp_path / "b.keras"), PROBLEM)
    other = OwnTeacher(_saved(_model(seed=1), tmp_path / "c.keras"), PROBLEM)
    alone, by_logits, by_likely, by_other = (
        _trained(one)[0] for one in (None, logits, likely, other)
    )
    assert _differ(by_logits, by_likely) < 1e-4
    assert _differ(by_logits, alone) > 1e-3 < _differ(by_logits, by_other)


def test_loss_is_half_the_labels_and_half_the_teachers() -> None:
    seen: list[Any] = []

    class Fixed:
        def __call__(self, batch: Any, graph: OpGraph) -> Any:
            seen.append(batch)
            return (np.tile(np.float32([[2.0, 0.0, -2.0]]), (len(batch["labels"]), 1)),)

    _, alone = _trained(None, steps=1)
    _, taught = _trained(Fixed(), steps=1)
    # The first step's outputs are those of the untrained network, which begins even.
    powers = np.exp([2.0, 0.0, -2.0])
    outputs = _first_outputs(seen[0])
    log = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
    imitated = -(powers / powers.sum() * log).sum(axis=1).mean()
    assert taught[0] == pytest.approx(0.5 * alone[0] + 0.5 * imitated, rel=1e-4)


def _first_outputs(batch: Any) -> Any:
    """Logits of the network at random, in training."""
    import tf_keras as keras

    from spaces.trainable.keras_model import build_model

    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = build_model(GRAPH, outputs=PROBLEM.trained)
    return model(PROBLEM.inputs(batch, GRAPH)["input"], training=True).numpy()


def test_detectors_imitate_where_anchors_agree() -> None:
    problem, arrays = opened("detection"), samples("detection", 4)
    space = small_space("detection")
    graph = problem.complete(space.lower(space.smallest()))
    rng = np.random.default_rng(0)
    ends = {op.name: op.output_shape[1:] for op in graph.ops}
    known = tuple(
        rng.normal(0, 1, (4, *ends[name])).astype(np.float32) for name in problem.trained
    )
    targets = problem.targets(arrays, graph)

    def imitated(outputs: tuple[Any, ...]) -> float:
        whole = float(problem.distill(targets, known, outputs))
        return whole - 0.5 * float(problem.loss(targets, outputs, 0.0))

    assert imitated(known) == pytest.approx(0.0, abs=1e-4)
    assert imitated((known[0], known[1] + 1)) > 0.1 < imitated((known[0] + 1, known[1]))
    sure = tuple((known[0], 1 / (1 + np.exp(-known[1]))))
    for one, other in zip(problem.taught(sure, graph), known, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


# -- a person's own files -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
@pytest.mark.parametrize("kind", ["keras", "saved_model", "float", "uint8", "int8"])
def test_each_kind_of_file_gives_the_logits_of_its_network(kind: str, tmp_path: Path) -> None:
    model = _model(scale=0.02)
    path = {
        "keras": lambda: _saved(model, tmp_path / "a.keras"),
        "saved_model": lambda: _saved(model, tmp_path / "folder"),
    }.get(kind, lambda: _tflite(model, tmp_path / "a.tflite", kind))()
    arrays = samples(NAME, 5)
    teacher.check_file(str(path))
    (found,) = OwnTeacher(path, PROBLEM)(arrays, GRAPH)
    expected = model(PROBLEM.inputs(arrays, GRAPH)["input"]).numpy()
    slack = 0.05 * np.abs(expected).max() if "int8" in kind else 1e-4
    np.testing.assert_allclose(found, expected, atol=slack)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_file_of_keras_3_is_read(tmp_path: Path) -> None:
    import keras

    entry = keras.Input((SIDE, SIDE, 3))
    model = keras.Model(entry, keras.layers.Dense(3)(keras.layers.Flatten()(entry)))
    model.save(tmp_path / "a.keras")
    arrays = samples(NAME, 5)
    (found,) = OwnTeacher(tmp_path / "a.keras", PROBLEM)(arrays, GRAPH)
    inputs = PROBLEM.inputs(arrays, GRAPH)["input"]
    np.testing.assert_allclose(found, np.asarray(model(inputs)), atol=1e-4)


def test_pictures_are_resized_for_it(tmp_path: Path) -> None:
    own = OwnTeacher(_saved(_model(side=2 * SIDE), tmp_path / "a.keras"), PROBLEM)
    flat = {**samples(NAME, 2), "images": np.full((2, SIDE, SIDE, 3), 90, np.uint8)}
    (found,) = own(flat, GRAPH)
    large = np.full((2, 2 * SIDE, 2 * SIDE, 3), 90 / 127.5 - 1, np.float32)
    expected = foreign_network.open_network(tmp_path / "a.keras")({"pixels": large})
    np.testing.assert_allclose(found, *expected.values(), atol=1e-4)


@pytest.mark.parametrize(("pixels", "factor"), [("0..1", 1 / 255), ("0..255", 1.0)])
def test_range_of_pixels_is_found_by_the_labels(
    pixels: str, factor: float, tmp_path: Path
) -> None:
    # Three grounds, told apart by a network that is right in its own range and in no other.
    levels = np.array([20.0, 120.0, 220.0])
    arrays: dict[str, Any] = {
        "images": np.repeat(levels.astype(np.uint8), 4)[:, None, None, None]
        * np.ones((1, SIDE, SIDE, 3), np.uint8),
        "labels": np.repeat(np.arange(3, dtype=np.int32), 4),
    }
    model, count = _model(), SIDE * SIDE * 3
    own = levels * factor
    sharp = 8 / (own[1] - own[0]) ** 2
    # derived: -sharp * (x - level)^2 up to what all classes have in common, x the mean pixel
    weights = np.tile(2 * sharp * own / count, (count, 1)), -sharp * own**2
    model.set_weights(weights)
    taught = OwnTeacher(_saved(model, tmp_path / "a.keras"), PROBLEM)
    taught.settle(arrays, GRAPH)
    assert taught.pixels == pixels
    assert (taught(arrays, GRAPH)[0].argmax(axis=1) == arrays["labels"]).all()


def test_masks_of_labels_and_scores_of_any_size_teach_segmentation() -> None:
    problem = opened("segmentation")
    labels = np.arange(12).reshape(1, 3, 4) % 3
    (soft,) = problem.taught((labels.astype(np.uint8),), GRAPH)
    assert soft.shape == (1, 3, 4, 3) and (soft.argmax(axis=-1) == labels).all()
    scores = np.random.default_rng(0).normal(0, 1, (1, 5, 7, 3)).astype(np.float32)
    np.testing.assert_array_equal(problem.taught((scores,), GRAPH)[0], scores)


def test_texts_are_cut_and_padded_for_it(tmp_path: Path) -> None:
    import tf_keras as keras

    problem, arrays = opened("text_classification"), samples("text_classification", 4)
    space = small_space("text_classification")
    graph = problem.complete(space.lower(space.smallest()))
    for length in (8, 20):
        entry = keras.Input((length,), dtype="int32")
        embedded = keras.layers.Embedding(30, 3)(entry)
        model = keras.Model(entry, keras.layers.GlobalAveragePooling1D()(embedded))
        path = _saved(model, tmp_path / f"{length}.keras")
        (found,) = OwnTeacher(path, problem)(arrays, graph)
        tokens = np.zeros((4, length), np.int32)
        tokens[:, : min(12, length)] = arrays["tokens"][:, :length]
        np.testing.assert_allclose(found, model(tokens).numpy(), atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_files_made_here_teach(name: str, tmp_path: Path) -> None:
    from spaces.trainable.keras_model import build_model
    from tasks.learning.exported import network_of
    from tasks.learning.quantization import deployed_outputs, export_float

    problem, space, arrays = opened(name), small_space(name), samples(name, 3)
    graph = problem.complete(space.lower(space.smallest()))
    network = network_of(build_model(graph, outputs=problem.trained), graph, problem)
    write_bytes(tmp_path / "a.tflite", export_float(network))
    taught = OwnTeacher(tmp_path / "a.tflite", problem)(arrays, graph)
    inputs = problem.inputs(arrays, graph)
    if name == "segmentation":
        (labels,) = deployed_outputs(network, [inputs])
        assert (taught[0].argmax(axis=-1) == labels).mean() > 0.99
        return
    fed = [inputs[one] for one, _ in graph.inputs]
    expected = network.model(fed if len(fed) > 1 else fed[0], training=False)
    listed = expected if isinstance(expected, list) else [expected]
    for one, other in zip(taught, listed, strict=True):
        # Logits differ by what softmax takes away.
        if name.endswith("classification"):
            other = other - np.log(np.exp(other).sum(axis=-1, keepdims=True))
        np.testing.assert_allclose(one, other, atol=1e-3)


# -- refusals -----------------------------------------------------------------------------------


def test_what_is_no_network_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"no network at all")
    (tmp_path / "b.keras").write_bytes(b"no network at all")
    (tmp_path / "c.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for name, expected in {
        "none.keras": "must exist, but there is no ",
        "a.tflite": "must be TensorFlow Lite, but ",
        "b.keras": "must be a Keras file, but ",
        "c.onnx": "must be a .tflite, a .keras or the folder of a SavedModel, but got ",
        "folder": "must be a SavedModel, but ",
    }.items():
        params = Params(finetune=FinetuneParams(teacher=str(tmp_path / name)))
        with pytest.raises(TeacherError, match=re.escape(f"finetune.teacher {expected}")) as told:
            preflight.check(params)
        assert "\n" not in str(told.value)
    for fine in (None, "largest"):
        preflight.check(Params(finetune=FinetuneParams(teacher=fine)))


def test_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 64)
    with pytest.raises(TeacherError, match="must be readable, but") as told:
        OwnTeacher(path, PROBLEM)
    assert "\n" not in str(told.value)


def test_other_classes_and_other_tasks_are_refused_before_training(tmp_path: Path) -> None:
    workspace = prepared(NAME, tmp_path)
    problem = open_problem(ProblemParams(), workspace)

    def refused(path: Path) -> str:
        params = Params(finetune=FinetuneParams(teacher=str(path)))
        manifest = DataManifest.read(workspace)
        coster = Coster(params.space.name, manifest, params.cost, problem)
        with pytest.raises(TeacherError) as told:
            preflight.check_teacher(params, coster, problem, workspace)
        assert "\n" not in str(told.value)
        return str(told.value)

    wrong = _tflite(_model(classes=5), tmp_path / "a.tflite")
    assert "must put out scores of 3 classes, [n, 3], but got [n, 5]" in refused(wrong)
    import tf_keras as keras

    entry = keras.Input((SIDE, SIDE, 3))
    masks = _saved(keras.Model(entry, keras.layers.Conv2D(3, 1)(entry)), tmp_path / "b.keras")
    assert f"but got [n, {SIDE}, {SIDE}, 3]" in refused(masks)
    entry = keras.Input((7,))
    table = _saved(keras.Model(entry, keras.layers.Dense(3)(entry)), tmp_path / "c.keras")
    assert "must take pictures [n, height, width, 3], but got [None, 7]" in refused(table)
    preflight.check_teacher(
        Params(finetune=FinetuneParams(teacher=str(_saved(_model(), tmp_path / "d.keras")))),
        Coster(SPACE.name, DataManifest.read(workspace), Params().cost, problem),
        problem,
        workspace,
    )


@pytest.mark.parametrize("name", ["detection", "question_answering"])
def test_outputs_of_another_shape_are_refused(name: str) -> None:
    problem, space = opened(name), small_space(name)
    graph = problem.complete(space.lower(space.smallest()))
    ends = {op.name: op.output_shape[1:] for op in graph.ops}
    right = tuple(np.zeros((2, *ends[one]), np.float32) for one in problem.trained)
    assert len(problem.taught(right, graph)) == len(right)
    for wrong in (right[:-1], (*right[:-1], right[-1][:, :-1]), (*right[:-1], right[-1][..., :1])):
        with pytest.raises(ValueError, match="must put out"):
            problem.taught(wrong, graph)


# -- finalists ----------------------------------------------------------------------------------


def _finalists(workspace: Workspace, given: str | None) -> dict[str, Any]:
    """Two finalists; their floating-point outputs by id, the larger one's first."""
    points = [SPACE.largest(), SPACE.smallest()]
    manifest = DataManifest.read(workspace)
    coster = Coster(SPACE.name, manifest, Params().cost, PROBLEM)
    records = [
        {
            "id": point.id,
            "name": None,
            "origin": "local_search",
            "architecture": point.values,
            "status": "done",
            "reason": None,
            "rank": 0,
            "top1": 0.5,
            **coster.costs(point),
        }
        for point in points
    ]
    write_json(workspace.search / "candidates.json", records)
    p = Params(
        finetune=FinetuneParams(
            finalists=2, epochs=1, qat_epochs=1, calibration_images=8, teacher=given
        )
    )
    outcome = finetune_qat.run(
        p.problem,
        p.space,
        SearchParams(calibration_images=8),
        p.cost,
        p.finetune,
        p.select,
        p.runtime,
        workspace,
        SilentProgress(),
    )
    assert outcome["teacher"] == given
    inputs = PROBLEM.inputs(samples(NAME, 6, seed=9), GRAPH)
    return {
        point.id: predict(
            workspace.finalists / point.id / "float.tflite", inputs, ("probabilities",)
        )[0]
        for point in points
    }


@pytest.mark.slow
def test_largest_finalist_comes_first_and_teaches_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, ...]] = []

    def in_this_process(work: Any, pieces: Sequence[Any], *_: object) -> None:
        order.append(tuple(record["id"] for record, *_ in pieces))
        for piece in pieces:
            work(piece, lambda done, note: None)

    monkeypatch.setattr(workers, "run_all", in_this_process)
    monkeypatch.setattr(workers, "threads", lambda of_the_run: of_the_run)
    monkeypatch.setattr(
        finishing.Trainer,
        "_quantize_aware",
        lambda self, network, ranges, *_: _ptq(network, ranges),
    )
    large, small = SPACE.largest().id, SPACE.smallest().id
    alone = _finalists(prepared(NAME, tmp_path / "alone"), None)
    assert order == [(small, large)] or order == [(large, small)]
    order.clear()
    taught = _finalists(prepared(NAME, tmp_path / "taught"), "largest")
    assert order == [(large,), (small,)]
    np.testing.assert_array_equal(taught[large], alone[large])
    assert np.abs(taught[small] - alone[small]).max() > 1e-5


def _ptq(network: Any, ranges: Any) -> bytes:
    """Stands in for the quantization-aware training, which takes long."""
    from tasks.learning.quantization import export_post_training

    return export_post_training(network, ranges)


def test_stage_is_done_anew_when_the_teacher_changes(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "artifacts", tmp_path / "state", tmp_path / "store")
    for name in STAGES:
        write_json(workspace.root / stage_named(name).writes / "out.json", {"made by": name})
    path = tmp_path / "a.tflite"
    params = Params(finetune=FinetuneParams(teacher=str(path)))

    def keys() -> dict[str, str]:
        found = {}
        for name in STAGES:
            with claimed(name, params, workspace) as claim:
                found[name] = claim.key
        return found

    path.write_bytes(b"one")
    before = keys()
    assert keys() == before
    path.write_bytes(b"two")
    assert [name for name, key in keys().items() if key != before[name]] == ["finetune"]
