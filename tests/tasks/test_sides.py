"""Networks of one data set that take its pictures at different sides, from search to bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spaces.menu import load_baselines
from spaces.sided import SIDE
from spaces.space import Architecture, SpaceError
from tasks import bundle_finalist, finetune_qat, search_architectures, select_pareto, write_report
from tasks.candidates.coster import Coster
from tasks.candidates.score_database import SqliteFile
from tasks.candidates.score_store import ScoreStore
from tasks.data.arrays import load_split
from tasks.learning.first_filters import FirstFilters, components
from tasks.learning.inputs import inputs_in_batches
from tasks.learning.interpreter import predict_batches, score_file, signature_of
from tasks.learning.networks import deployed_graph, sized
from tasks.learning.pixels import scaled
from tasks.learning.problem import load_problem, open_problem
from tasks.pipeline import preflight
from tasks.run import workers
from tasks.run.manifest import DataManifest
from tasks.run.params import Params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import Workspace, read_json, read_npz, write_json
from tasks.shipping.card import Licence
from tests.prepared import prepared
from tests.samples import SMALL, opened, samples, small_space

SIDES = {"classification": (8, 16), "segmentation": (16, 32), "detection": (32, 64)}

pytestmark = pytest.mark.usefixtures("tensorflow")
problems = pytest.mark.parametrize("name", SIDES)


def _params(name: str) -> Params:
    metric = load_problem(name).metric
    return Params.model_validate(
        {
            "problem": {"name": name},
            "space": {"name": SMALL[name][0], "choices": {SIDE: list(SIDES[name])}},
            "supernet": {"steps": 0},
            "search": {"evaluator": "trained", "budget": 4, "chunk": 4, "epochs": 1, "rungs": 1},
            "finetune": {"finalists": 1, "epochs": 1, "qat_epochs": 1, "calibration_images": 8},
            "select": {"objectives": [f"{metric.name}:{metric.goal}", "latency_ms:min"]},
            "report": {"samples": 2, "other_devices": ["ethos_u55_128"]},
        }
    )


def _in_this_process(work: Callable[[Any, Any], Any], pieces: Sequence[Any], *_: object) -> Any:
    return [work(piece, lambda done, note: None) for piece in pieces]


def _ends(self: Any, name: str) -> dict[Architecture, tuple[str, str]]:
    """The lightest network at each side, and nothing that takes longer to be quantized."""
    space = self._coster.space
    return {point: ("smallest", "baseline") for point in space.at_sides(space.smallest())}


def _run(name: str, base: Path, patch: pytest.MonkeyPatch) -> tuple[Params, Workspace]:
    workspace, p, silent = prepared(name, base), _params(name), SilentProgress()
    workspace.supernet.mkdir(parents=True)
    patch.setattr(workers, "run_all", _in_this_process)
    patch.setattr(workers.Team, "run_all", lambda self, *given: _in_this_process(*given))
    patch.setattr(workers, "threads", lambda of_the_run: of_the_run)
    patch.setattr(search_architectures.Search, "_named", _ends)
    blocks = (p.problem, p.space, p.search, p.cost)
    search_architectures.run(*blocks, p.select, p.runtime, workspace, silent)
    records = read_json(workspace.search / "candidates.json")
    assert {one["architecture"][SIDE] for one in records} == set(SIDES[name])
    assert all(one["status"] == "done" for one in records)
    wanted = ("smallest", min(SIDES[name]))
    kept = [one for one in records if (one["name"], one["architecture"][SIDE]) == wanted]
    write_json(workspace.search / "candidates.json", kept)
    finetune_qat.run(*blocks, p.finetune, p.select, p.runtime, workspace, silent)
    select_pareto.run(p.problem, p.cost, p.select, workspace, silent)
    write_report.run(*(getattr(p, key) for key in type(p).model_fields), workspace, silent)
    return p, workspace


@problems
@pytest.mark.slow
def test_a_finalist_of_a_smaller_side_takes_smaller_pictures(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spaces.trainable.keras_model import build_model, set_weights
    from tasks.learning.quantization import Network, deployed_outputs

    params, workspace = _run(name, tmp_path, monkeypatch)
    problem, manifest = open_problem(params.problem, workspace), DataManifest.read(workspace)
    (folder,) = workspace.finalists.iterdir()
    least, shape = min(SIDES[name]), SMALL[name][1]
    assert read_json(folder / "architecture.json")[SIDE] == least
    graph = deployed_graph(folder, manifest, problem)
    wanted = (1, least, least * shape[2] // shape[1], 3)
    assert graph.input_shape == wanted
    for kind in ("float", "ptq", "qat", "int8"):
        found = signature_of(folder / f"{kind}.tflite")
        assert tuple(found.inputs["input"]["shape"]) == wanted
    # The file says of the pictures, as they were prepared, what the network says.
    held = load_split(workspace, "validation")
    model = build_model(graph, outputs=problem.trained)
    set_weights(model, read_npz(folder / "weights.npz"))
    network = Network(model, graph, problem.trained, problem.deployed)
    batches = inputs_in_batches(problem, held, graph)
    expected = problem.score(deployed_outputs(network, batches), held, graph)
    got = score_file(problem, folder / "float.tflite", held, graph)
    assert got == pytest.approx(expected, abs=1e-6)
    page = (workspace.report / "index.html").read_text()
    assert "data:image/png;base64," in page
    assert f"pictures of {wanted[1]}\u00d7{wanted[2]} px" in page
    assert SIDE in page
    out = tmp_path / "bundle"
    licence = Licence(None, None, None)
    bundle_finalist.run("best", out, params, None, workspace, licence, tmp_path, SilentProgress())
    card = read_json(out / "card.json")
    assert (card["reading"]["height"], card["reading"]["width"]) == wanted[1:3]
    assert card["data"]["input_shape"] == list(shape)
    assert card["made"]["architecture"][SIDE] == least


def test_files_of_a_smaller_side_say_what_the_network_says(tmp_path: Path) -> None:
    from spaces.trainable.keras_model import build_model
    from tasks.learning.quantization import (
        Network,
        deployed_outputs,
        export_float,
        export_post_training,
    )

    params, workspace = _params("classification"), prepared("classification", tmp_path)
    space = sized(params.space.name, DataManifest.read(workspace), params.space.offers)
    problem = open_problem(params.problem, workspace)
    graph = problem.complete(space.lower(space.smallest()))
    network = Network(build_model(graph), graph, problem.trained, problem.deployed)
    held = load_split(workspace, "validation")
    (expected,) = deployed_outputs(network, inputs_in_batches(problem, held, graph))
    files = export_float(network), export_post_training(network, problem.inputs(held, graph))
    for file, off in zip(files, (1e-5, 0.05), strict=True):
        assert tuple(signature_of(file).inputs["input"]["shape"]) == (1, 8, 8, 3)
        batches = inputs_in_batches(problem, held, graph)
        (found,) = predict_batches(file, batches, problem.deployed)
        np.testing.assert_allclose(found, expected, atol=off)
        assert set(score_file(problem, file, held, graph)) == {"top1"}


@problems
def test_costs_of_many_are_those_of_one_by_one(name: str, tmp_path: Path) -> None:
    params, workspace = _params(name), prepared(name, tmp_path)
    manifest, problem = DataManifest.read(workspace), open_problem(params.problem, workspace)
    coster = Coster(params.space.name, manifest, params.cost, problem, params.space.offers)
    space = coster.space
    points = [
        point
        for one in (space.smallest(), *load_baselines(space.name).values())
        for point in space.at_sides(one)  # type: ignore[attr-defined]
    ]
    names = ("latency_ms", "weight_bytes")
    many = coster.columns(points, names)
    for row, point in enumerate(points):
        for key in names:
            assert many[key][row] == pytest.approx(coster.costs(point)[key])
    for small, full in zip(points[::2], points[1::2], strict=True):
        assert coster.costs(small)["macs"] < coster.costs(full)["macs"]
    store = ScoreStore(SqliteFile(tmp_path / "scores"), {})
    store.put(points[0], {"top1": 0.5})
    assert store.get(points[1]) is None


def test_labels_of_segmentation_are_of_the_size_of_the_masks() -> None:
    problem, shape = opened("segmentation"), SMALL["segmentation"][1]
    space = small_space("segmentation").for_input((1, 16, 20, 3))
    graph, arrays = problem.complete(space.lower(space.smallest())), samples("segmentation", 2)
    assert graph.output.output_shape == shape[:3]
    assert problem.inputs(arrays, graph)["input"].shape == (2, 16, 20, 3)
    assert problem.targets(arrays, graph)["masks"].shape == (2, 32, 40)


def test_anchors_are_those_of_the_side(tmp_path: Path) -> None:
    problem, full = opened("detection"), small_space("detection")
    small = full.for_input((1, 32, 48, 3))
    graphs = [problem.complete(one.lower(full.smallest())) for one in (full, small, full)]
    anchors = [problem.decoding(graph)["anchors"] for graph in graphs]
    assert len(anchors[1]) < len(anchors[0])
    np.testing.assert_array_equal(anchors[0], anchors[2])
    arrays = samples("detection", 4)
    targets = problem.targets(arrays, graphs[1])
    assert targets["boxes"].shape == (4, len(anchors[1]), 4)


def test_first_filters_are_of_pictures_at_the_side() -> None:
    images = samples("classification", 12)["images"]
    found = FirstFilters({"images": images}).components(3, 3, (8, 8))
    np.testing.assert_array_equal(found, components(scaled(images, 8, 8), 3, 3))
    whole = FirstFilters({"images": images}).components(3, 3, (16, 16))
    np.testing.assert_array_equal(whole, components(images, 3, 3))


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ({"data": {"image_size": 32}, "space": {"choices": {SIDE: [48]}}}, "from 8 to 32"),
        ({"space": {"choices": {SIDE: ["8"]}}}, "but got '8'"),
        ({"supernet": {"steps": 10}}, "without a supernet, .* got supernet.steps: 10"),
        ({"supernet": {"steps": 0, "start_from": "x"}}, "got supernet.start_from: x"),
        ({"search": {"evaluator": "sliced"}}, "got search.evaluator: sliced"),
        ({"finetune": {"start": "slice"}}, "got finetune.start: slice"),
    ],
)
def test_what_cannot_be_searched_is_refused(blocks: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"supernet": {"steps": 0}, "space": {"choices": {SIDE: [8]}}, **blocks}
    with pytest.raises(SpaceError, match=said):
        preflight.check(Params.model_validate(given))


def test_texts_have_no_side() -> None:
    params = Params.model_validate(
        {
            "problem": {"name": "text_classification"},
            "data": {"format": "sentences"},
            "space": {"name": "mobilebert_small", "choices": {SIDE: [8]}},
            "supernet": {"steps": 0},
        }
    )
    with pytest.raises(SpaceError, match="must be offered of a space for pictures"):
        preflight.check(params)
