"""A text whose words are coloured by what they say for an answer: one row for each method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import style
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, INK, STYLE, Picture, Target, fonts_for

WIDTH, NAMES, LINE, SIZE = 9.5, 1.75, 0.34, 12  # inches, inches, inches, points
FOR, AGAINST = COLOURS[0], COLOURS[1]


@style.context(STYLE)
def explanations(
    words: Sequence[str], methods: Mapping[str, ArrayLike], path: Target = None, title: str = ""
) -> Picture:
    """The words once for each method: blue if a word speaks for the answer, orange if against it, and the stronger the larger
    its score is in comparison with the largest of the method.

    Raises InputError if there are no words, if a method has another number of scores, and without a font for the words.
    """
    if not words or not methods:
        raise InputError("There is nothing to draw: give words, and scores by method.")
    if (families := fonts_for("".join(words) + title)) is None:
        raise InputError("No installed font has all the characters of this text.")
    font = FontProperties(family=families, size=SIZE)
    places, lines = laid_out([TextPath((0, 0), word, prop=font).get_extents().width / 72 for word in words])
    row = LINE * lines + 0.2
    height = 0.75 + row * len(methods)
    figure = Picture(WIDTH, height)
    axis = figure.subplots()
    axis.set(xlim=(0, WIDTH), ylim=(height, 0))
    axis.axis("off")
    axis.text(0.05, 0.22, title, weight="bold", va="center", fontproperties=font)
    axis.text(NAMES, 0.22, "for it", va="center", color=FOR, weight="bold")
    axis.text(NAMES + 0.75, 0.22, "against it", va="center", color=AGAINST, weight="bold")
    for i, (name, scores) in enumerate(methods.items()):
        scores = np.asarray(scores, dtype=float)
        if scores.shape != (len(words),):
            raise InputError(f"{name} has {scores.size} scores for {len(words)} words.")
        top, largest = 0.55 + row * i, np.abs(scores).max() or 1.0
        axis.text(0.05, top + LINE / 2, name, va="center", size=10.5)
        for word, score, (x, line, width) in zip(words, scores / largest, places, strict=True):
            y = top + LINE * line
            colour = FOR if score > 0 else AGAINST
            axis.add_patch(Rectangle((x, y + 0.02), width, LINE - 0.05, color=colour, alpha=abs(score), lw=0))
            ink = "white" if abs(score) > 0.6 else INK
            axis.text(x + 0.04, y + LINE / 2, word, va="center", color=ink, fontproperties=font)
    return figure.written(path)


def laid_out(widths: Sequence[float]) -> tuple[list[tuple[float, int, float]], int]:
    """For each word its place from the left, its line and the width of its box, in inches; and the number of lines."""
    x, line, out = NAMES, 0, []
    for width in widths:
        box = width + 0.08
        if x + box > WIDTH - 0.1 and x > NAMES:
            x, line = NAMES, line + 1
        out.append((x, line, box))
        x += box + 0.05
    return out, line + 1
