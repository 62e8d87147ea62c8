"""When curves on a logarithmic axis are measured, and how sudden they are.  F36."""

import numpy as np
from numpy.typing import ArrayLike


def moments(steps: int, count: int) -> list[int]:
    """Up to `count` steps from 1 to the last, evenly spaced on a logarithmic axis; fewer where several would be the same."""
    return sorted({round(steps ** (k / (count - 1))) for k in range(count)})


def width_of_change(steps: ArrayLike, values: ArrayLike, before: float, after: float) -> float:
    """How many times as many steps it takes to have changed by 80 % as to have changed by 20 %: 1 for a jump.

    The change is that from `before` to `after`. The steps of 20 and 80 % lie on straight lines between the measurements, on an
    axis of log(step), where the curve is first there. Infinity if it never comes so far.
    """
    change = (np.asarray(values, dtype=float) - before) / (after - before)
    at = [first_crossing(np.log(np.asarray(steps, dtype=float)), change, level) for level in (0.2, 0.8)]
    return float(np.exp(at[1] - at[0])) if at[1] < np.inf else np.inf


def first_crossing(x: np.ndarray, y: np.ndarray, level: float) -> float:
    """The x at which the straight lines between the points first reach this level; infinity if they never do."""
    over = np.flatnonzero(y >= level)
    if not len(over):
        return np.inf
    i = int(over[0])
    return float(x[i] if i == 0 else x[i - 1] + (level - y[i - 1]) / (y[i] - y[i - 1]) * (x[i] - x[i - 1]))
