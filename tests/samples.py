"""Problems with small made-up data, for tests: as prepared data is, but of no meaning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from spaces.graph import Shape
from spaces.menu import load_trainable
from spaces.space import TrainableSpace
from tasks.learning.problem import load_problem
from tasks.learning.protocols import Problem, Setting

VOCABULARY, CLASSES = 30, 3
WORDS = 20
"""Of a context, each of three letters and a space."""
Arrays = dict[str, Any]

SMALL: dict[str, tuple[str, Shape]] = {
    "classification": ("mobilenet_edgetpu_v2_small", (1, 16, 16, 3)),
    "segmentation": ("segmentation_small", (1, 32, 40, 3)),
    "detection": ("detection_small", (1, 64, 96, 3)),
    "text_classification": ("mobilebert_small", (1, 12)),
    "question_answering": ("mobilebert_small", (1, 28)),
}
"""A space of each problem, and a small input of it."""


def small_space(problem: str) -> TrainableSpace:
    """The space of a problem for inputs of :data:`SMALL`."""
    name, shape = SMALL[problem]
    space: Any = load_trainable(name).for_input(shape)
    if hasattr(space, "for_vocabulary"):
        types = 2 if problem == "question_answering" else 0
        space = space.for_vocabulary(VOCABULARY, types)
    sized: TrainableSpace = space
    return sized


def opened(
    name: str, shape: Shape | None = None, train: Mapping[str, Any] | None = None, **options: Any
) -> Problem:
    """A problem of three classes, with made-up samples to train on if none are given."""
    size = SMALL[name][1] if shape is None else shape
    arrays = samples(name, 12, size) if train is None else train
    classes = () if name == "question_answering" else ("apple", "bee", "cat")
    kind = load_problem(name)
    return kind(Setting(classes, size, kind.options(**options), lambda: arrays))


def samples(name: str, count: int, shape: Shape | None = None, seed: int = 0) -> Arrays:
    """Prepared arrays of a problem, random but legal."""
    rng = np.random.default_rng(seed)
    size = SMALL[name][1] if shape is None else shape
    make = {
        "classification": _labelled,
        "segmentation": _masked,
        "detection": _boxed,
        "text_classification": _sentences,
        "question_answering": _questions,
    }
    return make[name](rng, count, size)


def _images(rng: np.random.Generator, count: int, shape: Shape) -> Any:
    return rng.integers(0, 256, (count, *shape[1:]), np.uint8)


def _labelled(rng: np.random.Generator, count: int, shape: Shape) -> Arrays:
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    return {"images": _images(rng, count, shape), "labels": labels}


def _masked(rng: np.random.Generator, count: int, shape: Shape) -> Arrays:
    """Three stripes of classes, and a row of pixels to ignore."""
    masks = np.zeros((count, *shape[1:3]), np.uint8)
    masks[:] = np.arange(shape[2]) * CLASSES // shape[2]
    masks[:, -1] = 255
    return {"images": _images(rng, count, shape), "masks": masks}


def _boxed(rng: np.random.Generator, count: int, shape: Shape) -> Arrays:
    """One to three boxes a picture, one of them a crowd now and then, padded to four."""
    corners = rng.uniform(0, 0.6, (count, 4, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.15, 0.4, (count, 4, 2))], axis=-1)
    labels = rng.integers(0, CLASSES, (count, 4)).astype(np.int32)
    crowd = np.zeros((count, 4), np.bool_)
    crowd[::3, 2] = True
    missing = np.arange(4)[None] > np.arange(count)[:, None] % 3
    labels[missing], boxes[missing], crowd[missing] = -1, 0.0, False
    return {
        "images": _images(rng, count, shape),
        "boxes": boxes.astype(np.float32),
        "labels": labels,
        "crowd": crowd,
        "sizes": np.tile(np.array(shape[1:3], np.int32) * 2, (count, 1)),
    }


def _padded(rng: np.random.Generator, count: int, length: int, least: int) -> Any:
    """[CLS] words [SEP] and padding, of ``least`` words or more."""
    tokens = rng.integers(4, VOCABULARY, (count, length)).astype(np.int32)
    ends = rng.integers(least + 1, length, count)
    places = np.arange(length)[None]
    tokens = np.where(places == ends[:, None], 3, np.where(places > ends[:, None], 0, tokens))
    tokens[:, 0] = 2
    return tokens.astype(np.int32)


def _sentences(rng: np.random.Generator, count: int, shape: Shape) -> Arrays:
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    texts = np.array([f"sentence {number}" for number in range(count)])
    return {"tokens": _padded(rng, count, shape[1], 3), "labels": labels, "texts": texts}


def _questions(rng: np.random.Generator, count: int, shape: Shape) -> Arrays:
    """Three words of question, then a context of a word a token."""
    length = shape[1]
    tokens = rng.integers(4, VOCABULARY, (count, length)).astype(np.int32)
    begin, end = 5, 5 + WORDS
    tokens[:, 0], tokens[:, [4, end]], tokens[:, end + 1 :] = 2, 3, 0
    types = np.zeros((count, length), np.int32)
    types[:, begin : end + 1] = 1
    offsets = np.full((count, length, 2), -1, np.int32)
    starts = 4 * np.arange(WORDS)
    offsets[:, begin:end] = np.stack([starts, starts + 3], axis=-1)
    first = rng.integers(0, WORDS - 2, count)
    last = first + rng.integers(0, 3, count)
    contexts = [" ".join(_word(rng) for _ in range(WORDS)) for _ in range(count)]
    answers = [
        json.dumps([text[4 * one : 4 * other + 3]])
        for text, one, other in zip(contexts, first, last, strict=True)
    ]
    return {
        "tokens": tokens,
        "types": types,
        "spans": np.stack([first + begin, last + begin], axis=-1).astype(np.int32),
        "offsets": offsets,
        "contexts": np.array(contexts),
        "questions": np.array(["what is it"] * count),
        "answers": np.array(answers),
    }


def _word(rng: np.random.Generator) -> str:
    """Three consonants: no article is among them."""
    return "".join(rng.choice(list("bcdfghjklmnpqrstvwxz"), 3))
