"""What each word says of the classes by itself: a linear model, added to a network's logits.

Few texts suffice for such a model. Where classes are few it is ahead of a small network that is
trained from scratch, and both together are ahead of either (docs/learning.md). It is fitted once,
and not trained with the network, which would then lean on it: what it says of the texts that it
was fitted to is nearly always right.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

PADDING = 0
STRENGTH = 2.0
"""Times the margins of the linear model are added to the logits of a network. From 1 to 4 the
accuracy changes by 1.3 points at most (docs/learning.md)."""
REGULARISATION = 1 / 64
"""C of the support vector machine. Texts are not scaled to one length, which a table cannot do:
of 1/16, 1/64, 1/256 this is the best or within 1.1 points of it on eight parts of CLINC150."""


def word_scores(
    tokens: NDArray[Any], labels: NDArray[Any], rows: int, classes: int
) -> NDArray[np.float32]:
    """A table [rows, classes] whose mean over the tokens of a text is added to its logits.

    A linear support vector machine on counts of words, each weighted by its rarity (Sparck Jones
    1972). It has no bias: the token that begins every text stands for it. Padding and words that
    train does not have say nothing.

    Args:
        tokens: Of train [n, T], numbers below ``rows``.
        labels: Of train [n], below ``classes``.
        rows: Words of the vocabulary.
        classes: Of the data.
    """
    from scipy.sparse import csr_matrix
    from sklearn.svm import LinearSVC

    count, length = tokens.shape
    table = np.zeros((rows, classes), np.float32)
    if len(np.unique(labels)) < 2:
        return table
    words = np.asarray(tokens, np.int64).reshape(-1)
    texts = np.repeat(np.arange(count), length)[words != PADDING]
    words = words[words != PADDING]
    counts = csr_matrix((np.ones(len(words)), (texts, words)), (count, rows))
    rarity = 1.0 + np.log((1.0 + count) / (1.0 + counts.getnnz(axis=0)))
    machine = LinearSVC(C=REGULARISATION, fit_intercept=False, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # not converged: good enough all the same
        machine.fit(counts.multiply(rarity).tocsr(), labels)
    margins = machine.coef_ * rarity
    if len(margins) == 1:  # of two classes the second one's alone is told
        margins = np.concatenate([-margins, margins])
    table[:, machine.classes_] = STRENGTH * length * margins.T
    return table
