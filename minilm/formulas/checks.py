"""Input checks for the formulas. A check that fails says in one sentence what is wrong and what to do.

Every check takes the name of the variable, so that the message names the reader's own variable.
"""

import numpy as np

from minilm.errors import InputError


def check_shape(name: str, array: np.ndarray, letters: str, **sizes: int) -> None:
    """Check that the array has one axis per letter, and the given sizes: `check_shape("W_h", W_h, "H H", H=H)`.

    A letter that appears twice must have the same size both times. Raises `InputError`.
    """
    shape, axes = np.shape(array), letters.split()
    wanted = f"[{', '.join(axes)}]" + (f" with {', '.join(f'{k} = {v}' for k, v in sizes.items())}" if sizes else "")
    if len(shape) != len(axes):
        raise InputError(f"{name} has shape {list(shape)}, but must have {len(axes)} axes, {wanted}: reshape it.")
    known = dict(sizes)
    for letter, size in zip(axes, shape, strict=True):
        if known.setdefault(letter, size) != size:
            raise InputError(f"{name} has shape {list(shape)}, but must be {wanted}: axis {letter} does not fit.")


def check_not_empty(name: str, array: np.ndarray) -> None:
    """Check that the array holds at least one number. Raises `InputError`."""
    if np.size(array) == 0:
        raise InputError(
            f"{name} is empty (shape {list(np.shape(array))}): a mean over nothing has no value; give at least one example."
        )


def check_probabilities(name: str, p: np.ndarray) -> None:
    """Check that every entry lies in [0, 1]. Raises `InputError`."""
    p = np.asarray(p)
    outside = ~((p >= 0) & (p <= 1))  # NaN counts as outside too
    if outside.any():
        raise InputError(f"{name} holds {p[outside].flat[0]:g}, which is not a probability: give numbers from 0 to 1.")


def check_classes(name: str, y: np.ndarray, K: int) -> None:
    """Check that every entry is a whole number from 0 to K − 1. Raises `InputError`."""
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        raise InputError(
            f"{name} has the type {y.dtype}, but a class is an integer: give whole numbers from 0 to {K - 1}."
        )
    outside = (y < 0) | (y >= K)
    if outside.any():
        raise InputError(
            f"{name} holds the class {y[outside].flat[0]}, but there are only {K} classes: give numbers from 0 to {K - 1}."
        )
