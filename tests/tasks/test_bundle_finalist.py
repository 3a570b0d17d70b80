"""A finalist in a folder that one ships: the example beside it says what our interpreter says."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from hw.measuring.bench import BenchError, BenchSettings, load_bench
from hw.measuring.running import plain_outputs
from hw.tflite.metadata import read_files, read_metadata
from tasks.bundle_finalist import run
from tasks.data.arrays import load_split
from tasks.data.wordpiece import WordPiece
from tasks.kinds.question_answering import row_of
from tasks.learning.interpreter import dequantize, predict, signature_of
from tasks.learning.parity import compared
from tasks.learning.problem import open_problem
from tasks.run.params import Params
from tasks.run.progress import SilentProgress
from tasks.run.workspace import (
    Workspace,
    read_json,
    sha256_file,
    write_bytes,
    write_json,
    write_npz,
)
from tasks.shipping import frigate, intervals
from tasks.shipping.card import Licence
from tasks.shipping.finalist import BundleError, find
from tests.prepared import prepared
from tests.samples import SMALL, VOCABULARY, small_space

LETTERS = "abcdefghijklmnopqrstuvwxyz"[: VOCABULARY - 4]
TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *LETTERS)
QUESTION, TEXT = "A b zz", "C d, e f G h"
NAME = "0123456789ab"
SLOW = {"segmentation", "text_classification"}
"""Their parts are in the others, too."""

pytestmark = pytest.mark.usefixtures("tensorflow")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A workspace with one finalist of random weights, and its parameters."""
    made: dict[str, Any] = {}

    def make(name: str) -> Any:
        if name not in made:
            made[name] = _finished(name, tmp_path_factory.mktemp(name))
        return made[name]

    return make


def _finished(name: str, base: Path) -> tuple[Params, Workspace]:
    from spaces.trainable.keras_model import build_model
    from tasks.learning.exported import network_of
    from tasks.learning.quantization import export_post_training

    workspace = prepared(name, base)
    space = small_space(name)
    point = space.smallest()
    params = Params.model_validate({"problem": {"name": name}, "space": {"name": point.space}})
    problem = open_problem(params.problem, workspace)
    if len(SMALL[name][1]) == 2:
        write_bytes(workspace.data / "vocabulary.txt", "".join(f"{t}\n" for t in TOKENS).encode())
    graph, arrays = problem.complete(space.lower(point)), load_split(workspace, "train")
    network = network_of(build_model(graph, outputs=problem.trained), graph, problem)
    folder = workspace.finalists / NAME
    write_bytes(
        folder / "int8.tflite", export_post_training(network, problem.inputs(arrays, graph))
    )
    if decoding := problem.decoding(graph):
        write_npz(folder / "decoding.npz", decoding)
    write_json(folder / "architecture.json", {"space": point.space, **point.values})
    held = load_split(workspace, "validation")
    outputs = predict(folder / "int8.tflite", problem.inputs(held, graph), problem.deployed)
    scores = problem.score(outputs, held, graph)
    metrics = {
        f"{k}_{kind}": v for k, v in scores.items() for kind in ("float", "ptq", "qat", "int8")
    }
    write_json(
        folder / "metrics.json", {"id": NAME, "name": "small", "quantized_by": "ptq", **metrics}
    )
    return params, workspace


def _bundle(made: Any, out: Path) -> Path:
    params, workspace = made
    licence = Licence("MIT", None, "somebody")
    return run(NAME[:4], out, params, None, workspace, licence, out.parent, SilentProgress())


def _sample(name: str, workspace: Workspace, folder: Path) -> tuple[list[str], dict[str, Any]]:
    """What an example is given, and the same as prepared arrays."""
    length = SMALL[name][1][-1]
    if name == "text_classification":
        piece = WordPiece(TOKENS)
        ids = (piece.start, *piece.encode([TEXT])[0].ids[: length - 2], piece.end)
        return [TEXT], {"tokens": np.array([[*ids, *[0] * (length - len(ids))]], np.int32)}
    if name == "question_answering":
        return [QUESTION, TEXT], _question(length)
    arrays = {key: array[:1] for key, array in load_split(workspace, "validation").items()}
    Image.fromarray(arrays["images"][0]).save(folder / "sample.png")
    return [str(folder / "sample.png")], arrays


def _question(length: int) -> dict[str, Any]:
    from tasks.data.dataset import QuestionSample

    piece = WordPiece(TOKENS)
    asked, text = piece.encode([QUESTION, TEXT])
    sample = QuestionSample("a", QUESTION, TEXT, ("C",), 0)
    row = row_of(sample, asked, text, piece, length)
    tokens, types = np.zeros((1, length), np.int32), np.zeros((1, length), np.int32)
    tokens[0, : len(row.tokens)] = row.tokens
    types[0, row.question_tokens : len(row.tokens)] = 1
    return {"tokens": tokens, "types": types}


def _alone(script: Path, words: list[str], folder: Path) -> str:
    """Run an example where there is nothing but the runtime, NumPy and Pillow."""
    links = folder / "packages"
    links.mkdir()
    for name in ("numpy", "PIL", "ai_edge_litert"):
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        package = Path(spec.origin).parent
        for one in (package, *package.parent.glob(f"{package.name}.libs")):
            (links / one.name).symlink_to(one)
    for one in (links / "PIL").resolve().parent.glob("pillow.libs"):
        (links / one.name).symlink_to(one)
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv[1]); del sys.argv[:2]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(links), str(script), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in sorted(SMALL)]
)
def test_the_example_says_what_our_interpreter_says(
    name: str,
    finished: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intervals, "RESAMPLES", 5)
    params, workspace = made = finished(name)
    bundle = _bundle(made, tmp_path / "bundle")
    words, arrays = _sample(name, workspace, tmp_path)
    raw = tmp_path / "raw.npz"
    said = _alone(bundle / "run.py", [*words, "--raw", str(raw)], tmp_path)
    problem = open_problem(params.problem, workspace)
    file = workspace.finalists / NAME / "int8.tflite"
    graph = problem.complete(small_space(name).lower(small_space(name).smallest()))
    expected = predict(file, problem.inputs(arrays, graph), problem.deployed)
    details = signature_of(file).outputs
    with np.load(raw) as outputs:
        got = [dequantize(outputs[one], details[one]) for one in problem.deployed]
    assert [one.tobytes() for one in got] == [one.tobytes() for one in expected]
    if name == "question_answering":
        assert said.strip() and said.strip() in TEXT
    if name == "segmentation":
        assert (np.asarray(Image.open(tmp_path / "labels.png")) == expected[0][0]).all()
    _check_card(bundle, file)


def _check_card(bundle: Path, file: Path) -> None:
    """It is of its form, and true of the files beside it."""
    card = read_json(bundle / "card.json")
    jsonschema.validate(card, json.loads((bundle / "card.schema.json").read_text()))
    for name, told in card["files"].items():
        assert told["sha256"] == sha256_file(bundle / name)
    assert card["source_sha256"] == sha256_file(file)
    shipped = (bundle / "int8.tflite").read_bytes()
    metadata = read_metadata(shipped)
    assert metadata is not None and metadata.licence == "MIT"
    assert [one.name for one in metadata.inputs] == [one["name"] for one in card["inputs"]]
    assert file.read_bytes() in shipped
    for name, content in read_files(shipped).items():
        assert (bundle / name).read_bytes() == content
    named = {one.name for part in (*metadata.inputs, *metadata.outputs) for one in part.files}
    assert named == set(read_files(shipped))
    assert {one["bench"] for one in card["parity"]} >= {"host_cpu"}
    assert all(one["reason"] is None for one in card["parity"] if one["bench"] == "host_cpu")
    readme = (bundle / "README.md").read_text()
    assert "None" not in readme and "{" not in readme
    assert card["made"]["parameters_hold"] is False


def test_frigates_file_finds_what_we_find(finished: Callable[[str], Any], tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    params, workspace = finished("detection")
    folder = workspace.finalists / NAME
    anchors = np.load(folder / "decoding.npz")["anchors"]
    content = (folder / "int8.tflite").read_bytes()
    made = frigate.as_frigate_reads(content, signature_of(content), anchors, 3, 10)
    interpreter = Interpreter(model_content=made)
    interpreter.allocate_tensors()
    (source,) = interpreter.get_input_details()
    assert source["dtype"] == np.uint8
    problem = open_problem(params.problem, workspace)
    arrays = {key: array[:2] for key, array in load_split(workspace, "validation").items()}
    space = small_space("detection")
    graph = problem.complete(space.lower(space.smallest()))
    outputs = predict(content, problem.inputs(arrays, graph), problem.deployed)
    for image, ours in zip(arrays["images"], problem.detections(outputs, graph), strict=True):
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        boxes, labels, scores, count = (
            interpreter.get_tensor(one["index"])[0] for one in interpreter.get_output_details()
        )
        assert count == 10
        # Pixels are rounded in another place: a step of quantization of scores and of boxes.
        assert scores == pytest.approx(ours.scores[:10], abs=3 / 256)
        assert set(labels) <= set(range(3))
        near = np.abs(boxes[:, None] - ours.boxes[None]).max(axis=2).min(axis=1)
        assert np.median(near) < 0.01


def test_what_is_not_there_or_is_there_is_refused_in_one_line(
    finished: Callable[[str], Any], tmp_path: Path
) -> None:
    _, workspace = made = finished("question_answering")
    (tmp_path / "there").mkdir()
    with pytest.raises(BundleError, match=r"there must not exist yet, but it does\. Remove"):
        _bundle(made, tmp_path / "there")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="under must be a folder that can be made, but got"):
        _bundle(made, tmp_path / "file" / "under")
    with pytest.raises(BundleError, match=rf"one of {NAME} \(small\), or best, but got '01'"):
        find("01", workspace)
    assert find("small", workspace) == find(NAME, workspace) == NAME
    empty = Workspace(tmp_path / "none", tmp_path / "state")
    with pytest.raises(BundleError, match=r"must have been trained .* none in .*finalists\."):
        find("best", empty)


class _Off:
    """A bench whose numbers are a step too large, and one sample of another class."""

    summary = "off by one"

    def missing(self) -> None:
        return None

    def measure(self, tflite: Path) -> Any:
        raise NotImplementedError

    def outputs(self, tflite: Path, samples: Any) -> Any:
        (outputs,) = plain_outputs(tflite, samples, BenchSettings())
        off = np.minimum(outputs.astype(int) + 1, 127).astype(np.int8)
        off[0] = -128
        off[0, (outputs[0].argmax() + 1) % len(off[0])] = 127
        return (off,)


class _Broken(_Off):
    def outputs(self, tflite: Path, samples: Any) -> Any:
        raise BenchError("a device must be attached, but got none.")


def test_parity_tells_how_far_a_bench_is_off(finished: Callable[[str], Any]) -> None:
    params, workspace = finished("classification")
    problem = open_problem(params.problem, workspace)
    space, arrays = small_space("classification"), load_split(workspace, "validation")
    graph = problem.complete(space.lower(space.smallest()))
    file = workspace.finalists / NAME / "int8.tflite"
    benches = {"same": load_bench("host_cpu", BenchSettings()), "off": _Off(), "none": _Broken()}
    same, off, none = compared(problem, file, arrays, graph, benches)  # type: ignore[arg-type]
    assert (same.samples, same.reason) == (8, "")
    assert same.steps["probabilities"] <= 16
    assert off.mean["probabilities"] >= 7 / 8 * 0.9 / 256
    assert off.largest["probabilities"] > 1 / 256
    assert off.equal_labels == 7 / 8
    assert off.reference == same.reference and off.metric is not None
    assert (none.reason, none.metric) == ("a device must be attached, but got none.", None)
