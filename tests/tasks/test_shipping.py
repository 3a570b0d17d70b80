"""What a bundle is made of: examples that stand alone, intervals, a card in words."""

from __future__ import annotations

import ast
import math
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tasks.data.pictures import decode
from tasks.data.wordpiece import WordPiece, trained_vocabulary
from tasks.learning.interpreter import Signature
from tasks.learning.problem import problem_names
from tasks.shipping.examples import wordpiece
from tasks.shipping.examples.pictures import prepared
from tasks.shipping.intervals import bootstrap, wilson
from tasks.shipping.written import FOLDER, example, for_android
from tests.samples import opened, samples

ALLOWED = {
    *("__future__", "argparse", "collections", "json", "pathlib", "typing", "unicodedata"),
    *("numpy", "PIL", "ai_edge_litert", "tflite_runtime"),
}


@pytest.mark.parametrize("problem", [*problem_names(), "one_that_nobody_wrote"])
def test_an_example_imports_the_runtime_numpy_and_pillow_alone(problem: str) -> None:
    tree = ast.parse(example(problem))
    names = [one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
    for one in ast.walk(tree):
        names += [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
    assert {str(name).split(".")[0] for name in names} <= ALLOWED
    assert [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.name == "main"]


def test_every_problem_has_an_example_of_its_own() -> None:
    assert set(problem_names()) <= {path.stem for path in FOLDER.glob("*.py")}


def test_words_become_the_tokens_that_were_learned() -> None:
    letters = [chr(n) for n in (*range(1, 0x250), *range(0x300, 0x460), 0x1E9E, 0x2028, 0x4E16)]
    draw = random.Random(0)
    texts = ["Café naïve, it's 5 o'clock!", "x" * 120 + " y", "e\u0301le\u0300ve \ufeff你好", ""]
    texts += ["".join(draw.choices(letters, k=draw.randint(1, 40))) for _ in range(500)]
    vocabulary = trained_vocabulary(texts[:200], 400)
    shipped = wordpiece.WordPiece(vocabulary)
    for text, each in zip(texts, WordPiece(vocabulary).encode(texts), strict=True):
        expected = [(n, *at) for n, at in zip(each.ids, each.offsets, strict=True)]
        assert shipped.encode(text) == expected, repr(text)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(
    ("name", "mode", "exif"),
    [
        *(("a.png", mode, 1) for mode in ("L", "RGB", "RGBA", "LA", "P", "1")),
        *(("a.jpg", "RGB", tag) for tag in (1, 3, 6, 8)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_prepared_as_they_were_for_learning(
    tmp_path: Any, name: str, mode: str, exif: int, fit: Any, channels: Any
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 61, 4), np.uint8)
    pixels[..., 1] = np.arange(61)
    tags = Image.Exif()
    tags[0x0112] = exif
    Image.fromarray(pixels).convert(mode).save(tmp_path / name, exif=tags)
    decoded = decode(tmp_path / name, (16, 24), fit, channels)
    assert decoded.pixels is not None, decoded.reason
    reading = {"height": 16, "width": 24, "channels": channels, "fit": fit}
    expected = decoded.pixels.astype(np.float32) / np.float32(127.5) - np.float32(1.0)
    assert prepared(str(tmp_path / name), reading).tobytes() == expected.tobytes()


def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Any) -> None:
    (tmp_path / "words.png").write_text("no picture")
    for name in ("words.png", "absent.png"):
        with pytest.raises(SystemExit, match=f"{name}: must be a picture, but got: .*{name}"):
            prepared(str(tmp_path / name), {"height": 16, "width": 24})


def test_kotlin_knows_the_numbers_of_the_file() -> None:
    quantized = {"dtype": np.int8, "quantization": (0.5, -3)}
    plain = {"dtype": np.int32, "quantization": (0.0, 0)}
    output = {"probabilities": {"shape": [1, 7], **quantized}}
    reading = {"height": 16, "width": 24, "channels": 3, "fit": "pad"}
    picture = Signature({"input": {"shape": [1, 16, 24, 3], **quantized}}, output)
    text = for_android(picture, reading)
    assert "@" not in text
    assert 'Output("probabilities", 7, 0.5f, -3)' in text
    assert "WIDTH = 24" in text
    words = {"input": {"shape": [1, 12], **plain}, "mask": {"shape": [1, 1, 1, 12], **quantized}}
    text = for_android(Signature(words, output), {})
    assert "@" not in text
    assert "LENGTH = 12" in text and "HAS_TYPES = false" in text


def test_intervals_of_shares_are_wilsons() -> None:
    # Derived: the bounds are where the share lies Z standard errors of theirs away.
    for share, count in ((0.9, 50), (0.5, 7), (1.0, 20)):
        one = wilson(share, count)
        for bound in (one.low, one.high):
            if 0 < bound < 1:
                error = math.sqrt(bound * (1 - bound) / count)
                assert abs(bound - share) == pytest.approx(1.959964 * error, rel=1e-6)


def test_intervals_by_drawing_hold_the_value_and_shrink() -> None:
    problem = opened("question_answering")
    widths = []
    for count in (12, 48):
        arrays = samples("question_answering", count)
        logits = np.zeros((*arrays["tokens"].shape, 2), np.float32)
        for row, (first, last) in enumerate(arrays["spans"][: count // 2]):
            logits[row, first, 0] = logits[row, last, 1] = 9.0
        graph: Any = None
        one = bootstrap(problem, (logits,), arrays, graph)["f1"]
        assert one.low < problem.score((logits,), arrays, graph)["f1"] < one.high
        widths.append(one.high - one.low)
    assert widths[1] < widths[0]
