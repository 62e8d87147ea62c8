"""A picture of learning in the prompt: how the error falls over the training, and how with the examples in the prompt.  F36."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, GREY, INK, MARKERS, STYLE, Picture, Target

DASHES = ("-", "--", "-.", ":", (0, (6, 1.3, 1.3, 1.3)))


@style.context(STYLE)
def errors_by_examples(records: Sequence[Mapping[str, Any]], error: str, path: Target = None) -> Picture:
    """Left, the `error` of every model over its steps; right, by the number of examples in the prompt, the mean over the seeds
    of every arm beside least squares and ridge regression.

    `records`: "arm", "curve" (with "step" and the `error`), and a list under "by shots", "least squares" and "ridge". The
    last two are those of the first arm. Raises InputError if there is nothing to draw.
    """
    if not records:
        raise InputError("There are no errors to draw: give at least one record of a model.")
    figure = Picture(10.5, 4.8)
    left, right = figure.subplots(1, 2, sharey=True)
    arms = list(dict.fromkeys(record["arm"] for record in records))
    for number, arm in enumerate(arms):
        mine = [record for record in records if record["arm"] == arm]
        how: dict[str, Any] = dict(color=COLOURS[number % len(COLOURS)], ls=DASHES[number % len(DASHES)])
        for record in mine:
            steps = [point["step"] for point in record["curve"]]
            left.plot(steps, [point[error] for point in record["curve"]], **how, lw=1.5)
        mean = np.mean([record["by shots"] for record in mine], axis=0)
        right.plot(range(len(mean)), mean, **how, marker=MARKERS[number % len(MARKERS)], markersize=4, label=arm)
    first = [record for record in records if record["arm"] == arms[0]]
    for name, dash, colour in (("least squares", ":", GREY), ("ridge", "-", INK)):
        mean = np.mean([record[name] for record in first], axis=0)
        right.plot(range(len(mean)), mean, color=colour, ls=dash, lw=1.5, label=name)
    highest = max(float(np.mean([r["by shots"] for r in records if r["arm"] == arm], axis=0).max()) for arm in arms)
    left.set(title=error, xlabel="step", ylabel="mean square", ylim=(0, 1.25 * highest))
    right.set(title="at the end, by the examples in the prompt", xlabel="examples before the question")
    for axis in (left, right):
        axis.grid(axis="y")
    figure.legend(handles=right.get_lines(), loc="outside lower center", ncols=3)
    return figure.written(path)
