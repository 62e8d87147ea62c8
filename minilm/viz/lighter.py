"""Lighter models in one picture: accuracy against bytes and against milliseconds."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, MARKERS, STYLE, Picture, Target


@style.context(STYLE)
def lighter(results: Mapping[str, Sequence[Mapping[str, Any]]], path: Target = None) -> Picture:
    """A row for each kind of weights: on the left accuracy over megabytes (of the compressed file), on the right over
    milliseconds per text. `results` are those of `minilm bench lighter`. Raises InputError if there is nothing to draw."""
    if not results:
        raise InputError("There are no lighter models to draw.")
    figure = Picture(10.5, 3.7 * len(results) + 0.9)
    axes = figure.subplots(len(results), 2, squeeze=False, sharey="row")
    families = list(dict.fromkeys(row["family"] for rows in results.values() for row in rows))
    handles: dict[str, Any] = {}
    for (left, right), (name, rows) in zip(axes, results.items(), strict=True):
        for i, family in enumerate(families):
            mine = [row for row in rows if row["family"] == family]
            how: dict[str, Any] = dict(color=COLOURS[i], marker=MARKERS[i], ms=8, lw=1)
            y = [row["accuracy"]["mean"] for row in mine]
            joined = "-" if family in ("weights", "heads") else ""
            for axis, x in ((left, [row["zipped"] / 1e6 for row in mine]), (right, [r["milliseconds"] for r in mine])):
                (handles[family],) = axis.plot(x, y, ls=joined, **how)
        left.set(xlabel="megabytes, compressed", ylabel="accuracy", title=f"{name} weights")
        right.set(xlabel="milliseconds per text")
        for axis in (left, right):
            axis.set_xlim(left=0)
            axis.grid(True)
    named = {"none": "nothing left out", "weights": "smallest weights left out", "heads": "heads left out"}
    figure.legend(list(handles.values()), [named.get(f, f) for f in handles], loc="outside lower center", ncols=3)
    return figure.written(path)
