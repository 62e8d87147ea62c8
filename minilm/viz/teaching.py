"""Helpers for the notebooks: panels to draw on, and a printed sentence when two results agree.

With `MINILM_FAST=1` in the environment `FAST` is true, and a notebook uses smaller sizes: it takes seconds, not a minute.
"""

import os
import re

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterMathtext
from numpy.typing import ArrayLike

from minilm.viz.plots import STYLE, Picture

FAST = os.environ.get("MINILM_FAST") == "1"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Powers(LogFormatterMathtext):
    """Labels of a logarithmic axis, such as 10⁻³ and 2·10⁻³, in Unicode: in our pictures a dollar sign starts no formula."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        found = re.search(r"(?:(\d+)\\times)?10\^\{(-?\d+)\}", super().__call__(x, pos))
        return f"{found[1] + '·' if found[1] else ''}10{found[2].translate(RAISED)}" if found else ""


class Panel(Axes):
    """Axes that keep our style for what is drawn later: the title, the legend, a logarithmic scale."""

    def set_title(self, *arguments, **options):
        with style.context(STYLE):
            return super().set_title(*arguments, **options)

    def legend(self, *arguments, **options):
        pane = {"legend.frameon": True, "legend.edgecolor": "none"}  # lines do not run through its text
        with style.context([*STYLE, pane]):
            return super().legend(*arguments, **options)

    def set_xscale(self, value, **options) -> None:
        super().set_xscale(value, **options)
        self.label_powers(self.xaxis)

    def set_yscale(self, value, **options) -> None:
        super().set_yscale(value, **options)
        self.label_powers(self.yaxis)

    def label_powers(self, axis) -> None:
        if axis.get_scale() == "log":
            axis.set_major_formatter(Powers())
            axis.set_minor_formatter(Powers(labelOnlyBase=False, minor_thresholds=(1, 0.4)))


def panels(rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 3.4, **options):
    """A picture and its axes, side by side: `picture, (left, right) = panels(1, 2)`; end the cell with `picture`.

    `options` are those of `Figure.subplots` (sharex, sharey, squeeze, width_ratios …). Sizes in inches.
    """
    with style.context(STYLE):
        picture = Picture(width, height)
        return picture, picture.subplots(rows, columns, subplot_kw={"axes_class": Panel}, **options)


def agree(what: str, ours: ArrayLike, theirs: ArrayLike, atol: float = 1e-10) -> None:
    """Assert that two results have the same shape and differ by at most `atol`, and print how close they are."""
    ours, theirs = (np.asarray(a.detach() if hasattr(a, "detach") else a, dtype=float) for a in (ours, theirs))
    assert ours.shape == theirs.shape, f"{what}: shapes {ours.shape} and {theirs.shape} differ"
    largest = float(np.abs(ours - theirs).max())
    assert largest <= atol, f"{what}: they differ by {largest:.1e}, more than {atol:.0e}"
    print(f"{what}: equal to {largest:.0e}" if largest else f"{what}: equal to the last bit")
