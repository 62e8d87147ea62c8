"""Helpers for the notebooks: panels to draw on, and what a notebook says of its own results, `claim` and `agree`.

With `MINILM_FAST=1` in the environment `FAST` is true, and a notebook uses smaller sizes: it takes seconds, not a minute.
`notebooks/build.py` sets `MINILM_BUILD=1`. Only then is a claim that fails an error: readers change the notebooks, as they
should, and for them a sentence that has become false is a result like any other.
"""

import os
import re

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterMathtext
from numpy.typing import ArrayLike

from minilm.viz.plots import COLOURS, MARKERS, STYLE, Picture

FAST = os.environ.get("MINILM_FAST") == "1"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# One for each colour, because in grey the colours look alike: lengths of strokes and gaps, in widths of the line.
DASHES = ((), (5, 1.5), (6, 1.3, 1.3, 1.3), (2.2, 1.3), (6, 1.3, 1.3, 1.3, 1.3, 1.3), (9, 2), (3.5, 1.3, 1.3, 1.3), ())
HATCHES = ("", "//", "..", "\\\\", "xx")
THICK = 2.5  # points; thicker lines differ by their width


class Powers(LogFormatterMathtext):
    """Labels of a logarithmic axis, such as 10⁻³ and 2·10⁻³, in Unicode: in our pictures a dollar sign starts no formula."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        found = re.search(r"(?:(\d+)\\times)?10\^\{(-?\d+)\}", super().__call__(x, pos))
        return f"{found[1] + '·' if found[1] else ''}10{found[2].translate(RAISED)}" if found else ""


class Panel(Axes):
    """Axes that keep our style for what is drawn later: the title, the legend, a logarithmic scale."""

    def plot(self, *arguments, **options):
        """A line without a style has the dashes of its colour, and round markers become those of their colour."""
        drawn = super().plot(*arguments, **options)
        styled = {"ls", "linestyle", "marker"} & set(options) or any(isinstance(given, str) for given in arguments)
        for line in drawn:
            if line.get_color() not in COLOURS or line.get_linewidth() > THICK:
                continue
            number = COLOURS.index(line.get_color())
            if not styled and DASHES[number]:
                line.set_linestyle((0, DASHES[number]))
            elif line.get_marker() == "o" and "marker" not in options and line.get_linestyle() != "--":
                line.set_marker(MARKERS[number % len(MARKERS)])
        return drawn

    def bar(self, *arguments, **options):
        """Bars that a legend explains are hatched, if they are not of the first colour."""
        drawn = super().bar(*arguments, **options)
        colour = options.get("color")
        if "label" in options and colour in COLOURS[1 : len(HATCHES)]:
            for each in drawn:
                each.set(hatch=HATCHES[COLOURS.index(colour)], edgecolor="white", linewidth=0)
        return drawn

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


def claim(sentence: str, ok: ArrayLike) -> None:
    """Print `sentence` with a tick if `ok`, a truth value or an array of them, is true; otherwise say that it no longer is.

    Raises AssertionError if it is false while the notebook is built, and TypeError if `ok` is not made of truth values.
    """
    truths = np.asarray(ok)
    if truths.size and truths.dtype != bool:
        raise TypeError(f"claim: '{sentence}' is given {truths.dtype}, not a truth value")
    if truths.size and truths.all():
        print(f"✓ {sentence}")
    else:
        failed(f"no longer true: {sentence}")


def agree(what: str, ours: ArrayLike, theirs: ArrayLike, atol: float = 1e-10) -> None:
    """Print how close two results are, or that they have other shapes or differ by more than `atol`.

    Raises AssertionError if they differ while the notebook is built.
    """
    ours, theirs = (np.asarray(a.detach() if hasattr(a, "detach") else a, dtype=float) for a in (ours, theirs))
    if ours.shape != theirs.shape:
        return failed(f"no longer equal: {what}: the shapes {ours.shape} and {theirs.shape} differ")
    largest = float(np.abs(ours - theirs).max(initial=0))
    if not largest <= atol:
        return failed(f"no longer equal: {what}: they differ by {largest:.1e}, more than {atol:.0e}")
    print(f"{what}: equal to {largest:.0e}" if largest else f"{what}: equal to the last bit")


def failed(sentence: str) -> None:
    """Print the sentence for a reader; raise it as AssertionError while the notebook is built."""
    if os.environ.get("MINILM_BUILD") == "1":
        raise AssertionError(sentence)
    print(sentence)
