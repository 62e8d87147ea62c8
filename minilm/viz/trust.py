"""Pictures of what a model may be trusted with: the deletion test, and exchanged words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, GREY, MARKERS, STYLE, Picture, Target

LINES = ("-", "--", "-.", ":", (0, (6, 1.3, 1.3, 1.3, 1.3, 1.3)))


@style.context(STYLE)
def deletion(rows: Sequence[Mapping[str, Any]], path: Target = None) -> Picture:
    """P of the model's answer while the words are deleted that a method names first: a panel for each kind of weights.

    `rows` are those of `minilm trust`. The lower a curve, the better the method. Raises InputError if there is nothing to draw.
    """
    mine = [row for row in rows if "deletions" in row]
    if not mine:
        raise InputError("There is no deletion test to draw: give rows with deletions.")
    weights = list(dict.fromkeys(row["weights"] for row in mine))
    figure = Picture(5.2 * len(weights) + 0.6, 4.6)
    axes = figure.subplots(1, len(weights), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, weights, strict=True):
        same = [row["deletions"] for row in mine if row["weights"] == name]
        for i, method in enumerate(same[0]):
            curve = np.mean([np.mean(each[method], axis=0) for each in same], axis=0)
            how = dict(color=COLOURS[i], marker=MARKERS[i], ls=LINES[i % len(LINES)])
            axis.plot(range(len(curve)), curve, label=method, **how)
        axis.set(xlabel="words deleted", title=f"{name} weights, {len(same)} seed{'s' * (len(same) > 1)}")
        axis.grid(axis="y")
    axes[0].set_ylabel("P of the first answer")
    figure.legend(handles=axes[0].lines, loc="outside lower center", ncols=3)
    return figure.written(path)


@style.context(STYLE)
def swaps(rows: Sequence[Mapping[str, Any]], path: Target = None) -> Picture:
    """How far the log-odds move when words are exchanged, with 95 % intervals: a row for each group of words.

    `rows` are those of `results.json` under "bias". Raises InputError if there is nothing to draw.
    """
    if not rows:
        raise InputError("There are no exchanged words to draw.")
    weights, groups = (list(dict.fromkeys(row[key] for row in rows)) for key in ("weights", "group"))
    figure = Picture(5.0 * len(weights) + 1.2, 3.6)
    axes = figure.subplots(1, len(weights), sharey=True, sharex=True, squeeze=False)[0]
    for axis, name in zip(axes, weights, strict=True):
        for i, when in enumerate(("before", "after")):
            for j, group in enumerate(groups):
                for row in rows:
                    if (row["weights"], row["group"], row["when"]) == (name, group, when):
                        e, y = row["shift"], j + (0.14 if i else -0.14)
                        label = f"{when} tuning all weights" if j == 0 else None
                        how: dict[str, Any] = dict(fmt=MARKERS[i], color=COLOURS[i], capsize=3, label=label)
                        axis.errorbar(e["mean"], y, xerr=[[e["mean"] - e["low"]], [e["high"] - e["mean"]]], **how)
        axis.axvline(0, color=GREY, lw=1)
        axis.set(title=f"{name} weights", xlabel="shift of the log-odds of “positive”")
        axis.set_yticks(range(len(groups)), groups)
        axis.set_ylim(len(groups) - 0.5, -0.5)
        axis.grid(axis="x")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure.written(path)
