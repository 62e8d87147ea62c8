"""Pictures of the emergence lab with several panels over one axis: the same runs, measured by several rulers.  F36."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, STYLE, Picture, Target
from minilm.viz.teaching import Powers

Line = tuple[ArrayLike, ArrayLike]  # x and y
DASHES = ("-", "--", "-.", ":")


@style.context(STYLE)
def over_steps(
    panels: Mapping[str, Mapping[str, Sequence[Line]]], path: Target = None, x: str = "step", thin: str = ""
) -> Picture:
    """A panel for each title, side by side; in it a colour for each name, a line for each run. The x axis is logarithmic.

    A name has the same colour in every panel. Lines of the name `thin` are thin and grey, because they are many. Raises
    InputError if there is nothing to draw.
    """
    if not panels or not all(any(lines for lines in named.values()) for named in panels.values()):
        raise InputError("There are no curves to draw: give at least one panel, and at least one run in each.")
    names = [name for name in dict.fromkeys(name for named in panels.values() for name in named) if name != thin]
    figure = Picture(4.3 * len(panels) + 0.4, 4.0)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    handles = {}
    for axis, (title, named) in zip(axes, panels.items(), strict=True):
        logarithmic(axis)
        axis.set_title(title)
        axis.set_xlabel(x)
        axis.grid(axis="y")
        for name, lines in named.items():
            number = 0 if name == thin else names.index(name)
            look: dict = dict(color=COLOURS[number % len(COLOURS)], ls=DASHES[number % len(DASHES)], lw=1.8)
            look = dict(color="#9A9A9A", ls="-", lw=0.7, zorder=1) if name == thin else look
            for xs, ys in lines:
                handles[name] = axis.plot(np.asarray(xs), np.asarray(ys), **look)[0]
    figure.legend(handles=list(handles.values()), labels=list(handles), loc="outside lower center", ncols=3)
    return figure.written(path)


@style.context(STYLE)
def law(
    runs: Sequence[tuple[float, float, float, float]],
    larger: tuple[float, float, float],
    path: Target = None,
    floor: float | None = None,
) -> Picture:
    """Left, the loss over the parameters, a colour for each number of tokens, with the fitted law as a line and the larger model.
    Right, the fitted losses against the measured ones.

    `runs`: parameters, tokens, measured loss and fitted loss of each; `larger`: parameters, measured loss and predicted loss of
    the model that was left out; `floor`, the loss that no model can fall below. Raises InputError if there are no runs.
    """
    if not runs:
        raise InputError("There are no runs to draw: give at least one with its sizes and losses.")
    figure = Picture(9.0, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    table = np.array(runs, dtype=float)
    for number, tokens in enumerate(sorted(set(table[:, 1].tolist()))):
        mine = table[table[:, 1] == tokens]
        mine = mine[np.argsort(mine[:, 0])]
        colour = COLOURS[number % len(COLOURS)]
        left.plot(mine[:, 0], mine[:, 2], "o", color=colour, ms=5, label=f"{tokens:,.0f} tokens")
        left.plot(mine[:, 0], mine[:, 3], color=colour, lw=1.2)
        right.plot(mine[:, 2], mine[:, 3], "o", color=colour, ms=4)
    size, measured, predicted = larger
    left.plot([size], [predicted], "D", mfc="none", color="#222222", ms=9, label="the forty-first, predicted")
    left.plot([size], [measured], "*", color="#222222", ms=9, label="the forty-first, measured")
    right.plot([measured], [predicted], "*", color="#222222", ms=9)
    if floor is not None:
        left.axhline(floor, color="#707070", lw=1, ls=":", label="entropy of the source")
    both = np.concatenate([table[:, 2], table[:, 3], [measured, predicted]])
    right.plot([both.min(), both.max()], [both.min(), both.max()], color="#707070", lw=1)
    logarithmic(left)
    left.set(xlabel="parameters")
    left.set_title("loss (nats per token)")
    right.set(xlabel="measured loss")
    right.set_title("loss by the law")
    figure.legend(loc="outside lower center", ncols=3)
    return figure.written(path)


def logarithmic(axis: Axes) -> None:
    """Make the x axis logarithmic, with labels such as 10³ and, where there is room, 2·10³."""
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(Powers())
    axis.xaxis.set_minor_formatter(Powers(labelOnlyBase=False, minor_thresholds=(1, 0.4)))
