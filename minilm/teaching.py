"""What every notebook needs and no lesson is about: panels to draw on, and a sentence when two results agree.

With `MINILM_FAST=1` in the environment `FAST` is true and a notebook takes smaller sizes: seconds instead of a minute.
"""

import os

import numpy as np
from matplotlib import style
from numpy.typing import ArrayLike

from minilm.plots import STYLE, Picture

FAST = os.environ.get("MINILM_FAST") == "1"


def panels(rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 3.4, **options):
    """A picture and its axes, side by side: `picture, (left, right) = panels(1, 2)`; end the cell with `picture`.

    `options` are those of `Figure.subplots` (sharex, sharey, squeeze, width_ratios …). Sizes in inches.
    """
    with style.context(STYLE):
        picture = Picture(width, height)
        return picture, picture.subplots(rows, columns, **options)


def agree(what: str, ours: ArrayLike, theirs: ArrayLike, atol: float = 1e-10) -> None:
    """Assert that two results are equal to `atol`, and say how close they are. Shapes must be the same."""
    ours, theirs = (np.asarray(a.detach() if hasattr(a, "detach") else a, dtype=float) for a in (ours, theirs))
    assert ours.shape == theirs.shape, f"{what}: shapes {ours.shape} and {theirs.shape} differ"
    largest = float(np.abs(ours - theirs).max())
    assert largest <= atol, f"{what}: they differ by {largest:.1e}, more than {atol:.0e}"
    print(f"{what}: equal to {largest:.0e}" if largest else f"{what}: equal to the last bit")
