"""Made-up scenes of real things: handwritten digits of scikit-learn on textured backgrounds.

One to three digits a scene, 20 to 32 pixels large, on a ground of clouds and stripes; half of the
scenes are grey, half coloured. Digits do not cover each other, but their boxes may overlap. Only
0, 1, 2, 3 and 4 occur: few enough to be learned in minutes. Which handwriting may occur depends on
the split: no scene of test holds a digit that train has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.data.dataset import Box, Pixels, Split

DIGITS = ("0", "1", "2", "3", "4")
SIDE = 64  # pixels of a scene
COUNTS: dict[Split, int] = {"train": 600, "validation": 120, "test": 120}
_SHARES: dict[Split, tuple[float, float]] = {  # of the handwriting, from .. to
    "train": (0.0, 0.7),
    "validation": (0.7, 0.85),
    "test": (0.85, 1.0),
}
_SEEDS: dict[Split, int] = {"train": 1, "validation": 2, "test": 3}
_INK = 0.5  # opacity from which a pixel belongs to the digit
_MOST = 3  # digits in a scene
_SCALES = (2.5, 4.0)  # times the 8x8 pixels that a digit has
_CONTRASTS = (100.0, 120.0)  # grey levels between a digit and what is behind it
_TRIES = 30  # places tried for a digit before it is left out

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture with what is in it.

    Attributes:
        picture: uint8 [SIDE, SIDE, 3], or [SIDE, SIDE] where it is grey.
        owner: Which digit a pixel belongs to, int64 [SIDE, SIDE]; -1: the ground.
        labels: What each digit is, an index into DIGITS.
    """

    picture: Pixels
    owner: NDArray[np.int64]
    labels: tuple[int, ...]

    @property
    def mask(self) -> Pixels:
        """Classes uint8 [SIDE, SIDE]: 0 is the ground, the others are one above their label."""
        classes = np.array([*(label + 1 for label in self.labels), 0], np.uint8)
        return classes[self.owner]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """A box around what is seen of each digit."""
        return tuple(_box(label, self.owner == number) for number, label in enumerate(self.labels))


def scenes(split: Split) -> list[Scene]:
    """The scenes of a split; the same each time."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    kept = np.flatnonzero(digits.target < len(DIGITS))
    first, last = (round(share * len(kept)) for share in _SHARES[split])
    mine = kept[first:last]
    strokes = digits.images[mine] / 16.0
    rng = np.random.default_rng(_SEEDS[split])
    return [_scene(strokes, digits.target[mine], rng) for _ in range(COUNTS[split])]


def _scene(strokes: Floats, labels: NDArray[np.int64], rng: np.random.Generator) -> Scene:
    """One scene of some of the digits."""
    grey = bool(rng.random() < 0.5)
    picture = _ground(rng, grey)
    owner = np.full((SIDE, SIDE), -1)
    placed: list[int] = []
    for _ in range(int(rng.integers(1, _MOST + 1))):
        choice = int(rng.integers(len(labels)))
        opacity = _enlarged(strokes[choice], float(rng.uniform(*_SCALES)))
        place = _free_place(owner, opacity > _INK, rng)
        if place is None:
            continue
        window = np.s_[place[0] : place[0] + len(opacity), place[1] : place[1] + len(opacity)]
        colour = _ink(picture[window], rng, grey)
        picture[window] += opacity[..., None] * (colour - picture[window])
        owner[window][opacity > _INK] = len(placed)
        placed.append(int(labels[choice]))
    pixels = np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
    return Scene(pixels[..., 0] if grey else pixels, owner, tuple(placed))


def _ground(rng: np.random.Generator, grey: bool) -> Floats:
    """A texture [SIDE, SIDE, channels]: clouds of a random size, and sometimes stripes."""
    channels = 1 if grey else 3
    cells = int(rng.integers(3, 9))
    clouds = np.stack([_resized(rng.random((cells, cells)), SIDE) for _ in range(channels)], -1)
    texture = rng.uniform(60, 196, channels) + 80 * (clouds - 0.5)
    if rng.random() < 0.5:
        across = np.indices((SIDE, SIDE)).transpose(1, 2, 0) @ rng.normal(0, 0.5, 2)
        texture = texture + 15 * np.sin(across)[..., None]
    return np.asarray(texture, np.float64)


def _free_place(
    owner: NDArray[np.int64], ink: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Where a digit covers no other; None if no such place was found."""
    for _ in range(_TRIES):
        top, left = (int(edge) for edge in rng.integers(0, SIDE - len(ink) + 1, 2))
        if (owner[top : top + len(ink), left : left + len(ink)][ink] < 0).all():
            return top, left
    return None


def _ink(behind: Floats, rng: np.random.Generator, grey: bool) -> Floats:
    """A colour [channels] that stands out from what is behind."""
    ground = float(behind.mean())
    away = rng.uniform(*_CONTRASTS)
    level = ground - away if ground > 128 else ground + away
    spread = 0.0 if grey else 40.0
    channels = behind.shape[2]
    colour: Floats = np.clip(level + rng.uniform(-spread, spread, channels), 0, 255)
    return colour


def _enlarged(stroke: Floats, scale: float) -> Floats:
    """A digit [8, 8] of 0..1 as opacity of its new size."""
    return np.clip(_resized(stroke, round(len(stroke) * scale)), 0.0, 1.0)


def _resized(values: Floats, side: int) -> Floats:
    """A square of numbers at another size, smoothly."""
    image = Image.fromarray(values.astype(np.float32))
    resized = image.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized, np.float64)


def _box(label: int, seen: NDArray[np.bool_]) -> Box:
    """The smallest box around pixels [SIDE, SIDE]."""
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    edges = (float(rows[0]), float(columns[0]), float(rows[-1] + 1), float(columns[-1] + 1))
    return Box(label, edges)
