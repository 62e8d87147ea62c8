"""Pictures of pictures: rows of small grey images, one row for each class.  F24."""

from collections.abc import Sequence

import numpy as np
from matplotlib import style
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, GREY, STYLE, Picture, Target

CELL, GAP = 0.55, 1.25  # inches for a small image; how far apart two are, as a multiple of their side


@style.context(STYLE)
def image_rows(
    images: ArrayLike,
    names: Sequence[str],
    path: Target = None,
    title: str | None = None,
    levels: int = 17,
    given: int = 0,
) -> Picture:
    """Rows of square images [rows, n, m], each row with its name: a pixel of 0 is paper, `levels` − 1 is ink.

    An orange frame marks the first `given` pixels of each image: they were given, and the others were drawn. `given` is a
    whole number of lines. Raises InputError if the shapes do not fit or the images are not square.
    """
    images = np.asarray(images)
    rows, columns, pixels = images.shape if images.ndim == 3 else (0, 0, 0)
    side = round(pixels**0.5)
    if not images.size or rows != len(names) or side * side != pixels:
        raise InputError(
            f"the images have the shape {list(images.shape)}: give [rows, n, m], one name per row, and a square number m."
        )
    step = side * GAP
    figure = Picture(columns * CELL * GAP + 0.6, rows * CELL * GAP + (0.4 if title else 0.1))
    axis = figure.subplots()
    for r, c in np.ndindex(rows, columns):
        left, top = c * step, r * step
        axis.imshow(
            images[r, c].reshape(side, side),
            cmap="gray_r",
            vmin=0,
            vmax=levels - 1,
            extent=(left, left + side, top + side, top),
            interpolation="nearest",
        )
        axis.add_patch(Rectangle((left, top), side, side, fill=False, color=GREY, lw=0.6))
        if given:
            axis.add_patch(Rectangle((left, top), side, given // side, fill=False, color=COLOURS[1], lw=1.8, zorder=3))
    axis.set(xlim=(-0.2 * side, columns * step), ylim=(rows * step - 0.1 * side, -0.1 * side), aspect="equal")
    axis.set_yticks([r * step + side / 2 for r in range(rows)], list(names))
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.spines[:].set_visible(False)
    if title:
        axis.set_title(title)
    return figure.written(path)
