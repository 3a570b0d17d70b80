"""What a linear model reaches on the same data in seconds: the floor that a network must beat.

Pictures: 100 principal components of the pixels at 16x16 and a logistic regression. Texts: counts
of tokens and pairs of them weighted by rarity (TF-IDF) and a linear support vector machine. Masks:
a logistic regression of each pixel's colours and its neighbourhood's. Boxes and answers have no
linear model of that kind.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
SIDE, COMPONENTS = 16, 100
PIXELS = 60_000
"""Of train, that the regression of masks is fitted to."""
IGNORE = 255


def predictions(train: Arrays, held: Arrays) -> NDArray[Any] | None:
    """What the linear model says of ``held`` after ``train``; None: the data has no such model.

    Returns:
        Labels [n], or masks [n, H, W].
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged, constant columns: a floor all the same
        if "masks" in train:
            return _masks(train, held)
        if "boxes" in train or "labels" not in train:
            return None
        if "tokens" in train:
            return _texts(train, held)
        return labels_of(small(train["images"]), train["labels"], small(held["images"]))


def labels_of(
    features: NDArray[np.float32], labels: NDArray[Any], held: NDArray[np.float32]
) -> NDArray[Any]:
    """Labels [m] of pictures ``held`` by the linear model of others; both as of :func:`small`."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    parts = min(COMPONENTS, len(features) - 1, features.shape[1])
    model = make_pipeline(
        PCA(parts, random_state=0), StandardScaler(), LogisticRegression(C=0.1, max_iter=200)
    )
    found: NDArray[Any] = model.fit(features, labels).predict(held)
    return found


def small(images: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Pictures [H, W, C] as rows of at most 16x16 mean colours, 0..1, one after the other."""
    return np.stack([_row(image) for image in images])


def _row(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    from PIL import Image

    side = (min(SIDE, image.shape[1]), min(SIDE, image.shape[0]))
    plain = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    pixels = np.asarray(plain.resize(side, Image.Resampling.BOX))
    return (pixels.reshape(-1) / 255.0).astype(np.float32)


def _texts(train: Arrays, held: Arrays) -> NDArray[Any]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    def words(tokens: NDArray[Any]) -> list[str]:
        return [" ".join(map(str, row[row > 0])) for row in tokens]

    counts = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\d+", sublinear_tf=True)
    model = make_pipeline(counts, LinearSVC(random_state=0))
    found: NDArray[Any] = model.fit(words(train["tokens"]), train["labels"]).predict(
        words(held["tokens"])
    )
    return found


def _masks(train: Arrays, held: Arrays) -> NDArray[Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    rng = np.random.default_rng(0)
    ends = np.cumsum([np.count_nonzero(mask != IGNORE) for mask in train["masks"]])
    # Of all pixels that count, as if they lay in one row: which pictures hold those, and where.
    chosen = np.sort(rng.choice(ends[-1], min(PIXELS, ends[-1]), replace=False))
    owners = np.searchsorted(ends, chosen, side="right")
    rows, labels = [], []
    for owner in np.unique(owners):
        mask, image = train["masks"][owner].reshape(-1), train["images"][owner]
        counted = np.flatnonzero(mask != IGNORE)
        places = counted[chosen[owners == owner] - (ends[owner] - len(counted))]
        rows.append(_neighbourhood(image)[places])
        labels.append(mask[places])
    model = make_pipeline(
        StandardScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=200)
    )
    model.fit(np.concatenate(rows), np.concatenate(labels))
    found = [model.predict(_neighbourhood(one)) for one in held["images"]]
    return np.stack(found).reshape(held["masks"].shape)


def _neighbourhood(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of each pixel [H * W, 2 C]: its colours, and the mean of the 5x5 around it."""
    from scipy.ndimage import uniform_filter

    pixels: NDArray[Any] = image.astype(np.float32) / 255.0
    around = uniform_filter(pixels, (5, 5, 0))
    channels = 2 * image.shape[-1]
    return np.concatenate([pixels, around], axis=-1).reshape(-1, channels)
