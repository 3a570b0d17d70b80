"""A loss as a function of features, learned from few and noisy examples.

A Gaussian process whose kernel is part linear, part smooth (RBF), by scikit-learn. Shares, length
scale and noise are the most likely ones of a small grid: an optimiser is slower, and with a dozen
examples finds whatever it likes.

Source: Rasmussen and Williams 2006, "Gaussian Processes for Machine Learning", chapter 5.
"""

from __future__ import annotations

import functools
from itertools import product
from typing import Any, final

import numpy as np

from spaces.space import FloatArray

LINEAR_SHARES = (0.0, 0.5)
LENGTHS = (0.7, 1.2, 2.0)
"""In units of the root mean square distance of the examples from their mean."""
NOISES = (0.01, 0.1, 0.5)
"""Variance of the noise over that of the losses."""
GROWTH = 1.3
"""The kernel is chosen anew when there are so many times more examples."""


@final
class Surrogate:
    """A model of one loss; it depends on the examples alone, and on when it was shown how many."""

    def __init__(self) -> None:
        self._kernel = (LINEAR_SHARES[-1], LENGTHS[1], NOISES[1])
        self._chosen_at = 0.0
        self._model: Any = None
        self._centre, self._scale = np.zeros(0), 1.0

    def fit(self, rows: FloatArray, losses: FloatArray) -> None:
        """Learn ``losses`` [n] of ``rows`` [n, d]."""
        with _one_thread().limit(limits=1):
            self._fit(rows, losses)

    def _fit(self, rows: FloatArray, losses: FloatArray) -> None:
        self._centre = rows.mean(axis=0)
        spread = float(((rows - self._centre) ** 2).sum(axis=1).mean())
        self._scale = spread**0.5 or 1.0
        scaled = self._scaled(rows)
        if len(rows) >= GROWTH * self._chosen_at:
            self._chosen_at = len(rows)
            grid = {one: _fitted(one, scaled, losses) for one in _GRID}
            self._kernel = max(grid, key=lambda one: grid[one].log_marginal_likelihood_value_)
            self._model = grid[self._kernel]
        else:
            self._model = _fitted(self._kernel, scaled, losses)

    def predict(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the losses of ``rows`` [n, d] without noise, [n] each."""
        with _one_thread().limit(limits=1):
            mean, deviation = self._model.predict(self._scaled(rows), return_std=True)
        return mean, deviation

    def mean(self, rows: FloatArray) -> FloatArray:
        """As :meth:`predict`, the mean alone, which is much faster."""
        with _one_thread().limit(limits=1):
            mean: FloatArray = self._model.predict(self._scaled(rows))
        return mean

    def _scaled(self, rows: FloatArray) -> FloatArray:
        scaled: FloatArray = (rows - self._centre) / self._scale
        return scaled


@functools.cache
def _one_thread() -> Any:
    """Limits linear algebra to one thread.

    For so few rows several wait for each other, much longer on a busy machine, and how many there
    are changes last digits.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


_GRID = tuple(product(LINEAR_SHARES, LENGTHS, NOISES))


def _fitted(kernel: tuple[float, float, float], rows: FloatArray, losses: FloatArray) -> Any:
    # Here, since it takes a second that those who choose another algorithm need not wait.
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

    share, length, noise = kernel
    covariance = ConstantKernel(1 - share) * RBF(length)
    if share:
        linear = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
        covariance += ConstantKernel(share) * linear
    model = GaussianProcessRegressor(covariance, alpha=noise, optimizer=None, normalize_y=True)
    return model.fit(rows, losses)
