"""How sure a mean is: an interval by drawing the texts again (the bootstrap), or Student's over the seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from minilm.experiments.table import deviation

DRAWS = 2_000


class Estimate(NamedTuple):
    """A mean over texts and `fits` seeds; the 95 % interval that other texts would give; and the deviation between the seeds."""

    mean: float
    low: float
    high: float
    seeds: float
    fits: int = 1

    def written(self, form: str = "{:.3f}") -> str:
        """As tables show it: mean [low, high] ± deviation; without the deviation if there is one seed."""
        spread = f" ± {self.seeds:.3f}" if self.fits > 1 else ""
        return f"{form} [{form}, {form}]".format(self.mean, self.low, self.high) + spread


def student(values: list[float]) -> tuple[float, float, float]:
    """The mean over n seeds with its 95 % interval, mean ± t · s / √n: (mean, low, high).

    t is the 97.5 % quantile of Student's distribution with n − 1 degrees of freedom: 2.78 for five seeds. It covers what other
    seeds would give; with one seed, it is infinite.  Source: Student (1908), The Probable Error of a Mean.
    """
    n, mean = len(values), float(np.mean(values))
    half = float(stats.t.ppf(0.975, n - 1)) * deviation(values) / n**0.5 if n > 1 else float("inf")
    return mean, mean - half, mean + half


def estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """The mean of `values` [seeds, texts]. The texts are drawn again DRAWS times, with the same seeds; the interval covers the
    middle 95 % of the means.  Source: Efron (1979), Bootstrap Methods: Another Look at the Jackknife."""
    values = np.atleast_2d(np.asarray(values, dtype=float))
    each = values.mean(axis=0)
    rng = np.random.default_rng(seed)
    means = [each[rng.integers(len(each), size=len(each))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(each.mean()), float(low), float(high), deviation(values.mean(axis=1).tolist()), len(values))


def f1_interval(both: Sequence[int], sizes: Sequence[int], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval that other lines would give to an F1 over whole entities: the lines are drawn again DRAWS times.  F30.

        F1 = 2 Σ both[i] / Σ sizes[i]        both[i] = |Tᵢ ∩ Gᵢ|, sizes[i] = |Tᵢ| + |Gᵢ| of line i

    T are the true entities and G the guessed ones. A draw without any entity counts as 0.
    """
    shared, all_of_them = np.asarray(both, dtype=float), np.asarray(sizes, dtype=float)
    drawn = np.random.default_rng(seed).integers(len(shared), size=(DRAWS, len(shared)))
    f1 = 2 * shared[drawn].sum(axis=1) / np.maximum(all_of_them[drawn].sum(axis=1), 1)
    low, high = np.quantile(f1, [0.025, 0.975])
    return float(low), float(high)
