"""What the formulas ask of their input, said in one sentence when it does not hold.

Every check takes the name that the formula gives the letter, so that the message speaks of the reader's own variable.
"""

import numpy as np

from minilm.errors import InputError


def check_shape(name: str, array: np.ndarray, letters: str, **sizes: int) -> None:
    """`check_shape("W_h", W_h, "H H", H=H)`: as many axes as letters, and each letter that is given has its size.

    A letter that stands twice must have one size. Raises `InputError`.
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
    """At least one number. Raises `InputError`."""
    if np.size(array) == 0:
        raise InputError(
            f"{name} is empty (shape {list(np.shape(array))}): a mean over nothing has no value; give at least one example."
        )


def check_probabilities(name: str, p: np.ndarray) -> None:
    """Every entry in [0, 1]. Raises `InputError`."""
    p = np.asarray(p)
    outside = ~((p >= 0) & (p <= 1))  # NaN too
    if outside.any():
        raise InputError(f"{name} holds {p[outside].flat[0]:g}, which is no probability: give numbers from 0 to 1.")


def check_classes(name: str, y: np.ndarray, K: int) -> None:
    """Every entry a whole number from 0 to K − 1. Raises `InputError`."""
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        raise InputError(
            f"{name} has the type {y.dtype}, but classes are counted: give whole numbers from 0 to {K - 1}."
        )
    outside = (y < 0) | (y >= K)
    if outside.any():
        raise InputError(
            f"{name} holds the class {y[outside].flat[0]}, but there are {K}: give numbers from 0 to {K - 1}."
        )
