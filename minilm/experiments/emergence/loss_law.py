r"""A loss law, L(N, D) = E + A/N^α + B/D^β, fitted to measured losses.  F36.

Letters:  N parameters · D tokens that are learned from · E what remains with infinitely many of both

The five numbers are those with the smallest Huber loss of log L, which one run that went wrong cannot spoil. The sum of squares
has several valleys, so the search starts from many places.

Source: Hoffmann et al. (2022), Training Compute-Optimal Large Language Models, §3.3.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from minilm.errors import InputError

HUBER = 1e-2  # relative errors above one per cent count only in proportion
EXPONENTS = (0.25, 0.5, 1.0)  # where the search starts


class Law(NamedTuple):
    """E, A, α, B and β of L(N, D) = E + A/N^α + B/D^β."""

    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, N: ArrayLike, D: ArrayLike) -> np.ndarray:
        """L(N, D) in the unit of E."""
        N, D = np.asarray(N, dtype=float), np.asarray(D, dtype=float)
        return np.asarray(self.E + self.A / N**self.alpha + self.B / D**self.beta)


def fit_law(N: ArrayLike, D: ArrayLike, losses: ArrayLike) -> Law:
    """The law that fits these runs best. Raises InputError if there are too few, or if something is not positive.

    Inside, N and D are measured in the smallest that occur, so that A and B are losses that can be compared with E.
    """
    n, d, measured = (np.asarray(column, dtype=float) for column in (N, D, losses))
    if not n.shape == d.shape == measured.shape or n.ndim != 1 or len(n) < 6:
        raise InputError("a law of five numbers needs at least six runs, each with its N, its D and its loss.")
    if not all((column > 0).all() and np.isfinite(column).all() for column in (n, d, measured)):
        raise InputError("a law needs sizes and losses that are finite and above 0.")
    n0, d0 = n.min(), d.min()

    def errors(theta: np.ndarray) -> np.ndarray:
        return np.log(Law(*theta).loss(n / n0, d / d0)) - np.log(measured)

    low, span = measured.min(), max(np.ptp(measured), 1e-6)
    found = []
    for share, alpha, beta in product((0.3, 0.7, 0.95), EXPONENTS, EXPONENTS):
        start = [share * low, span / 2, alpha, span / 2, beta]
        bounds = [1e-9, 1e-9, 1e-3, 1e-9, 1e-3], [low, 100 * span, 4, 100 * span, 4]
        found.append(least_squares(errors, start, bounds=bounds, loss="huber", f_scale=HUBER, x_scale="jac"))
    E, A, alpha, B, beta = min(found, key=lambda outcome: outcome.cost).x
    return Law(float(E), float(A * n0**alpha), float(alpha), float(B * d0**beta), float(beta))
