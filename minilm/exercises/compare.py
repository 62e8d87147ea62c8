"""Compare two outcomes, without ever broadcasting one to the other, and say where they differ, with names for the axes.

Distances are in units of the tolerance, atol + rtol·|expected|: up to 1, two numbers count as equal.
"""

from typing import Any

import numpy as np

from minilm.exercises.running import Outcome
from minilm.exercises.spec import Exercise

WIDTH = 78  # columns of an array in a message
SLOPE_ATOL, SLOPE_RTOL = 1e-6, 1e-5  # finite differences are accurate to about seven digits


def deviations(a: np.ndarray, b: np.ndarray, atol: float, rtol: float) -> np.ndarray:
    """|a − b| in units of the tolerance, entry by entry; inf where one is NaN or infinite and the other does not equal it."""
    if a.dtype.kind not in "fciub" or b.dtype.kind not in "fciub":
        return np.where(a.astype(str) == b.astype(str), 0.0, np.inf)
    if a.dtype.kind in "iub" and b.dtype.kind in "iub":
        return np.where(a == b, 0.0, np.inf)
    a, b = (x.astype(complex if x.dtype.kind == "c" else float) for x in (a, b))
    with np.errstate(all="ignore"):
        away = np.abs(a - b) / (atol + rtol * np.maximum(np.abs(a), np.abs(b)))
    equal = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(equal, 0.0, np.where(np.isfinite(a) & np.isfinite(b), away, np.inf))


def distance(exercise: Exercise, a: Outcome, b: Outcome, slopes: bool = False) -> float:
    """The largest deviation between two outcomes: 0 for two errors of the same type, inf between an error and a value."""
    if a.error or b.error:
        return 0.0 if a.error.split(":")[0] == b.error.split(":")[0] else np.inf
    if len(a.outputs) != len(b.outputs) or any(x.shape != y.shape for x, y in zip(a.arrays, b.arrays)):
        return np.inf
    tolerance = (SLOPE_ATOL, SLOPE_RTOL) if slopes else (exercise.atol, exercise.rtol)
    return max((float(deviations(x, y, *tolerance).max(initial=0)) for x, y in zip(a.arrays, b.arrays)), default=0.0)


def matches(exercise: Exercise, a: Outcome, b: Outcome) -> bool:
    return distance(exercise, a, b) <= 1


def clearly_apart(exercise: Exercise, a: Outcome, b: Outcome) -> bool:
    """Whether two outcomes are so far apart that rounding cannot be the reason."""
    return distance(exercise, a, b, slopes=any(name.startswith("∂") for name in b.outputs)) >= exercise.separation


def first_difference(got: np.ndarray, expected: np.ndarray, axes: str, atol: float, rtol: float) -> str:
    """`first difference at [batch 0, query 1]: yours 0.9131, expected 0.6204  (23 of 40 differ)`, or "" when equal."""
    wrong = deviations(got, expected, atol, rtol) > 1
    if not wrong.any():
        return ""
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    yours, theirs = two_numbers(got[index], expected[index])
    if not index:
        return f"yours {yours}, expected {theirs}"
    names = axis_names(axes, len(index)) if axes else [""] * len(index)
    place = ", ".join(f"{axis} {i}".strip() for axis, i in zip(names, index))
    return (
        f"first difference at [{place}]: yours {yours}, expected {theirs}  ({int(wrong.sum())} of {wrong.size} differ)"
    )


def axis_names(axes: str, count: int) -> list[str]:
    """The last `count` of the names; leading axes without a name are numbered."""
    names = axes.split()[-count:] if count else []
    return [f"axis {i}:" for i in range(count - len(names))] + names


def shape(shape: tuple[int, ...], axes: str = "") -> str:
    """[batch 3, key 5] if the names of the axes are known, else [3, 5]; "[] (one number)" if there are no axes."""
    if not shape:
        return "[] (one number)"
    if not axes:
        return str(list(shape))
    return "[" + ", ".join(f"{axis} {size}" for axis, size in zip(axis_names(axes, len(shape)), shape)) + "]"


def two_numbers(a: Any, b: Any) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to tell them apart, but at least four."""
    for digits in range(4, 17):
        pair = number(a, digits), number(b, digits)
        if pair[0] != pair[1]:
            break
    return pair


def number(x: Any, digits: int = 4) -> str:
    """A NumPy number as text."""
    return f"{x + 0.0:.{digits}g}" if x.dtype.kind == "f" else str(x)  # shows −0 as 0


def brief(value: object, width: int = WIDTH) -> str:
    """A value on one line, cut off where it gets too long."""
    if isinstance(value, np.ndarray) and value.ndim:
        shown = np.array2string(value, separator=", ", formatter={"float_kind": number}, threshold=60)
        text = " ".join(shown.split())
        text = text.replace("[ ", "[")
    elif isinstance(value, np.ndarray | np.generic):
        text = number(np.asarray(value)[()])
    else:
        text = f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= width else text[: width - 2] + " …"
