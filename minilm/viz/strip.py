"""A strip of pictures: what a model guesses for masked sentences, from its first step to its last.  F25."""

from collections.abc import Sequence
from textwrap import wrap

import numpy as np
from matplotlib import style
from matplotlib.patches import Rectangle

from minilm.errors import InputError
from minilm.viz.plots import INK, STYLE, Picture, Target, fonts_for

COLUMNS, GUESSES = 6, 3
CELL, TEXT, ROW = 1.35, 3.1, 0.86  # inches


def chosen_steps(steps: Sequence[int], most: int = COLUMNS) -> list[int]:
    """At most `most` of the steps: the first, the last, and some between. Most is learned early, so these lie closer together
    at the beginning."""
    if len(steps) <= most:
        return list(steps)
    places = np.unique(np.round((len(steps) - 1) * np.linspace(0, 1, most) ** 1.5).astype(int))
    return [steps[place] for place in places]


@style.context(STYLE)
def strip(rows: Sequence[dict], path: Target = None, title: str = "What the model guesses for [MASK]") -> Picture:
    """A row for each [MASK], a column for each of up to six measurements, and in each cell the three best guesses.

    `rows` are those of `training/watching.py`. A bar behind each guess is as long as its probability. Raises InputError if
    there is nothing to draw, if a [MASK] was not measured at every step, or if no installed font has all the characters.
    """
    masks = list(dict.fromkeys((row["text"], row["mask"]) for row in rows))
    steps = sorted({row["step"] for row in rows})
    cells = {(row["text"], row["mask"], row["step"]): row["guesses"] for row in rows}
    if not rows or len(cells) != len(masks) * len(steps):
        raise InputError("There is no strip to draw: give the rows of watched.jsonl, all sentences at every step.")
    families = fonts_for("".join(text for text, _ in masks) + "".join(g[0] for row in rows for g in row["guesses"]))
    if families is None:
        raise InputError(
            "No installed font has all the characters of these sentences: install one, for example Noto Sans CJK."
        )
    columns = chosen_steps(steps)
    width, height = TEXT + CELL * len(columns), 0.75 + ROW * len(masks)
    figure = Picture(width, height)
    axis = figure.subplots()
    axis.set(xlim=(0, width), ylim=(height, 0))
    axis.axis("off")
    axis.text(0.05, 0.2, title, weight="bold", va="center", family=families)
    for j, step in enumerate(columns):
        axis.text(TEXT + CELL * j, 0.58, f"step {step:,}", va="center", size=10, color=INK)
    for i, (text, mask) in enumerate(masks):
        top = 0.75 + ROW * i
        axis.plot([0, width], [top, top], color="#D8D8D8", lw=0.8)
        several = f" ({mask})" if sum(text == other for other, _ in masks) > 1 else ""
        said = "\n".join(wrapped(text + several))
        axis.text(0.05, top + ROW / 2, said, va="center", size=10, family=families)
        for j, step in enumerate(columns):
            for k, (token, p) in enumerate(cells[text, mask, step][:GUESSES]):
                x, y = TEXT + CELL * j, top + 0.08 + 0.24 * k
                axis.add_patch(Rectangle((x, y + 0.02), (CELL - 0.12) * p, 0.2, color="#9CC7E3", lw=0))
                axis.text(x + 0.04, y + 0.12, token, va="center", size=9.5, family=families)
                axis.text(x + CELL - 0.14, y + 0.12, f"{p:.0%}", va="center", ha="right", size=8.5, color="#4A4A4A")
    return figure.written(path)


def wrapped(text: str) -> list[str]:
    """The lines of a sentence beside its cells; Chinese has no spaces to break at, and its characters are twice as wide."""
    wide = sum(ord(character) > 0x2E80 for character in text)
    return wrap(text, 20 if wide > len(text) / 4 else 36, break_long_words=True)
