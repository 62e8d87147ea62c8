"""Which part of the source each token of a translation looks at, as a picture.  F18, cross-attention."""

from collections.abc import Sequence

import numpy as np
from matplotlib import style
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.viz.plots import FONT, STYLE, Picture, Target, fonts_for

CELL = 0.34  # inches
NO_FONT = "(A number such as #5 stands for the fifth token, which no installed font has.)"


@style.context(STYLE)
def alignment_map(
    source: Sequence[str], target: Sequence[str], weights: ArrayLike, path: Target = None, title: str = ""
) -> Picture:
    """A heat map of `weights` [T, S]: row = a token that is written, column = a token of the source. Darker is more.

    A token that no installed font has is shown by its number. Raises InputError for another shape.
    """
    A = np.asarray(weights, dtype=float)
    if A.ndim != 2 or A.shape != (len(target), len(source)) or not A.size:
        raise InputError(
            f"weights of shape {list(A.shape)} do not fit {len(target)} tokens that are written and {len(source)} of the source."
        )
    figure = Picture(CELL * len(source) + 2.6, CELL * len(target) + 2.2)
    axis = figure.subplots()
    image = axis.imshow(A, cmap="Blues", vmin=0, vmax=A.max() or 1, interpolation="nearest", aspect="equal")
    missing = False
    for side, tokens, set_ticks in (("source", source, axis.set_xticks), ("target", target, axis.set_yticks)):
        fonts = fonts_for("".join(tokens))
        names = [token if fonts or fonts_for(token) else f"#{i}" for i, token in enumerate(tokens, 1)]
        missing = missing or names != list(tokens)
        rotation = 90 if side == "source" else 0
        set_ticks(range(len(names)), names, fontfamily=fonts or [FONT], fontsize=11, rotation=rotation)
    axis.tick_params(length=0)
    axis.spines[:].set(visible=True, color="#C8C8C8")
    axis.set_xlabel("source: token looked at")
    axis.set_ylabel("token that is written")
    if missing:
        axis.set_xlabel(f"source: token looked at\n\n{NO_FONT}", fontsize=10)
    if title:
        axis.set_title(title)
    figure.colorbar(image, ax=axis, shrink=0.8).set_label("weight")
    return figure.written(path)
