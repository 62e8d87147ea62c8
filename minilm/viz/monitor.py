"""The picture of a stream that is watched: the share of negative texts of each topic, and the alarm that adds up."""

from collections.abc import Mapping

import numpy as np
from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, GREY, STYLE, Picture, Target

DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@style.context(STYLE)
def trend(
    shares: Mapping[str, np.ndarray],
    statistics: Mapping[str, np.ndarray],
    h: float,
    surge: int,
    topic: str,
    alarm: int | None,
    path: Target = None,
) -> Picture:
    """Two panels over the texts of a stream: the moving share of negative texts of each topic, and its statistic S with the
    threshold.

    `surge` is the first text of the planted surge, `topic` where it is, `alarm` the text that rang (None: none did). Where a
    share is NaN, nothing is drawn. Raises InputError if there is no topic, or more than can be told apart.
    """
    if not 0 < len(shares) <= len(DASHES) or list(shares) != list(statistics):
        raise InputError(
            f"the trend of 1 to {len(DASHES)} topics can be drawn, each with its statistic, not {len(shares)}."
        )
    figure = Picture(9, 6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for i, name in enumerate(shares):
        look = dict(color=COLOURS[i], ls=DASHES[i], lw=2.2 if name == topic else 1.2, label=name)
        texts = np.arange(1, len(shares[name]) + 1)
        upper.plot(texts, shares[name], **look)
        lower.plot(texts, statistics[name], **look)
    last = len(next(iter(shares.values())))
    for axis in (upper, lower):
        axis.axvspan(surge + 1, last, color=GREY, alpha=0.15, lw=0)
        if alarm is not None:
            axis.axvline(alarm + 1, color="black", lw=1)
        axis.grid(axis="y")
    upper.set(ylim=(0, 1), title="share of negative texts among the last 50 of each topic")
    when = f"the alarm rings after {alarm - surge + 1} texts" if alarm is not None else "no alarm rings"
    lower.set(
        xlabel=f"text (grey: the planted surge in “{topic}”; {when})", title="CUSUM of each topic, and its threshold"
    )
    lower.axhline(h, color="black", ls=":", lw=1)
    lower.set(xlim=(1, last), ylim=(0, None))
    figure.legend(handles=list(upper.lines[: len(shares)]), loc="outside right center")
    return figure.written(path)
