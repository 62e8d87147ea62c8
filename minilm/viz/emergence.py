"""Pictures of the emergence lab: a loss that falls while heads find their job, and their attention as a film.  F36."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, STYLE, Picture, Target

FRAMES = 6


@style.context(STYLE)
def losses_and_scores(curves: Sequence[Mapping], loss: str, scores: Sequence[str], path: Target = None) -> Picture:
    """On top, the loss of every model over its steps, a colour for each arm; below, on the same axis, the scores of heads.

    `curves`: for every model "arm", "step" and a list under `loss`; a model without the `scores` is left out below. Raises
    InputError if there is nothing to draw.
    """
    if not curves:
        raise InputError("There are no curves to draw: give at least one model with its steps and losses.")
    figure = Picture(8.5, 6.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    arms = list(dict.fromkeys(curve["arm"] for curve in curves))
    for curve in curves:
        number = arms.index(curve["arm"])
        first = curve is next(c for c in curves if c["arm"] == curve["arm"])
        dash = ("-", "--", "-.", ":")[number % 4]
        upper.plot(curve["step"], curve[loss], color=COLOURS[number], ls=dash, label=curve["arm"] if first else None)
    shown = [curve for curve in curves if all(score in curve for score in scores)]
    for place, score in enumerate(scores):
        for curve in shown:
            label = f"{score}, best head" if curve is shown[0] else None
            lower.plot(
                curve["step"],
                curve[score],
                color=COLOURS[max(4, len(arms)) + place],
                ls=("-", "--")[place % 2],
                label=label,
            )
    upper.set_title(f"{loss} (nats)")
    upper.set_ylim(bottom=0)
    lower.set(xlabel="step", ylim=(0, 1.02))
    lower.set_title("mean attention of the best head" + (f" ({shown[0]['arm']})" if shown else ""))
    for axis in (upper, lower):
        axis.grid(axis="y")
    handles = [
        line for axis in (upper, lower) for line in axis.get_lines() if not str(line.get_label()).startswith("_")
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure.written(path)


@style.context(STYLE)
def attention_film(
    rows: Mapping[str, Sequence[tuple[int, ArrayLike]]], path: Target = None, loss: Sequence[float] = ()
) -> Picture:
    """Maps of attention [T, T] of some heads, a row for each, a column for each of up to six moments of the training.

    `rows`: name → (step, weights) in order. The moments are those between which the `loss` (one per moment) falls by about
    the same amount, so that the change can be seen. Raises InputError if there is nothing to draw or the rows do not fit.
    """
    lengths = {len(frames) for frames in rows.values()}
    if len(lengths) != 1 or 0 in lengths or (len(loss) and {len(loss)} != lengths):
        raise InputError("There is no film to draw: give at least one head, and the same moments for all of them.")
    chosen = (
        moments(loss)
        if len(loss)
        else sorted({*np.linspace(0, lengths.pop() - 1, FRAMES).round().astype(int).tolist()})
    )
    figure = Picture(1.75 * len(chosen) + 0.6, 1.95 * len(rows) + 0.5)
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for row, (name, frames) in enumerate(rows.items()):
        for axis, place in zip(axes[row], chosen, strict=True):
            step, weights = frames[place]
            axis.imshow(np.asarray(weights), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if row == 0:
                said = f"step {step:,}" + (f"\n{loss[place]:.2f} nats" if len(loss) else "")
                axis.set_title(said, fontsize=10, fontweight="normal")
        axes[row, 0].set_ylabel(name.replace(", ", ",\n"), fontsize=9)
    figure.supxlabel("key (the place that is looked at)  ·  rows of a map: query", fontsize=9)
    return figure.written(path)


def moments(loss: Sequence[float], most: int = FRAMES) -> list[int]:
    """At most `most` indices: the first, the last, and those where the loss has first fallen by equal parts between them."""
    low = np.minimum.accumulate(np.asarray(loss, dtype=float))
    wanted = np.linspace(low[0], low[-1], most)[1:-1]
    between = [int(np.flatnonzero(low <= level)[0]) for level in wanted]
    return sorted({0, *between, len(low) - 1})
