"""Where a table of words begins: with what the training texts say of the words, not at random.

Latent semantic analysis (Deerwester et al. 1990): the right singular vectors of the matrix of
texts and words, each word weighted by its rarity. Words that stand in the same texts begin close
together, so that a rare one profits from what its neighbours learn. From scratch on CLINC150 the
smallest baseline reaches 92.2 % with it and 91.3 % without (6 epochs, one seed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spaces.graph import INPUT, OpGraph, OpKind

SPREAD = 0.05
"""Standard deviation of a table, as of a random one."""
PADDING = 0


@final
class WordVectors:
    """Tables of words for networks of one data set, each computed once.

    Args:
        arrays: Of train. Only texts with one class each have such tables: ``tokens`` [n, T] and
            ``labels`` [n].
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        labelled = "labels" in arrays and "boxes" not in arrays
        self._tokens = arrays.get("tokens") if labelled else None
        self._known: dict[tuple[int, int], NDArray[np.float32]] = {}

    def give(self, model: Any, graph: OpGraph) -> None:
        """Set the tables that a Keras model of ``graph`` looks its tokens up in, if it has any."""
        from spaces.trainable.keras_model import get_weights, layer_name, set_weights

        if self._tokens is None:
            return
        weights = get_weights(model)
        tables = {
            f"{layer_name(op.name)}:constant": op.constant
            for op in graph.ops
            if op.kind is OpKind.GATHER and op.constant and op.inputs == (INPUT,)
        }
        known = {
            name: self.table(rows, channels)
            for name, (rows, channels) in tables.items()
            if name in weights
        }
        if known:
            set_weights(model, weights | known)

    def table(self, rows: int, channels: int) -> NDArray[np.float32]:
        """One row a word [rows, channels]."""
        if (rows, channels) not in self._known:
            assert self._tokens is not None
            self._known[rows, channels] = word_vectors(self._tokens, rows, channels)
        return self._known[rows, channels]


def word_vectors(tokens: NDArray[Any], rows: int, channels: int) -> NDArray[np.float32]:
    """Vectors [rows, channels] of all words, from texts [n, T] of their numbers below ``rows``.

    Words that no text has, and channels beyond what so few texts tell apart, begin at random.
    """
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD

    rng = np.random.default_rng(0)
    table = rng.normal(0.0, SPREAD, (rows, channels)).astype(np.float32)
    texts = np.repeat(np.arange(len(tokens)), tokens.shape[1])
    words = np.asarray(tokens, np.int64).reshape(-1)
    there = np.unique(np.stack([texts, words], axis=1)[words != PADDING], axis=0)
    shape = (len(tokens), rows)
    counts = csr_matrix((np.ones(len(there), np.float32), (there[:, 0], there[:, 1])), shape)
    seen = np.asarray(counts.sum(axis=0)).ravel()
    weighted = counts.multiply(np.log(len(tokens) / (seen + 1.0)).clip(min=0.0)).tocsr()
    parts = min(channels, min(shape) - 1)
    if parts < 1 or not weighted.nnz:
        return table
    found = TruncatedSVD(parts, random_state=0).fit(weighted).components_.T
    spread = found.std()
    if spread > 0:
        table[seen > 0, :parts] = (SPREAD / spread * found)[seen > 0]
    return table
