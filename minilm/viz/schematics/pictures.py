r"""The schematic of pictures as texts: one model of pixels given the class, and its two uses.  F24."""

import numpy as np

from minilm.viz.schematics.kit import Schematic

# A three, 8 × 8 pixels, drawn for this schematic: 0 is paper, 16 is ink.
THREE = (
    *((0, 2, 10, 15, 14, 5, 0, 0), (0, 9, 13, 6, 11, 14, 0, 0), (0, 1, 0, 0, 9, 13, 0, 0), (0, 0, 2, 11, 16, 7, 0, 0)),
    *((0, 0, 1, 8, 14, 12, 0, 0), (0, 0, 0, 0, 5, 15, 3, 0), (0, 7, 3, 0, 8, 15, 2, 0), (0, 4, 14, 16, 14, 6, 0, 0)),
)


def pixels_by_class() -> Schematic:
    r"""A picture as a text: its class, then its pixels; a causal Transformer predicts each from those before.  F24.

    Below are the two uses of P(x ∣ y): drawing pictures of a class, and recognising the class of a picture by Bayes' rule.
    """
    picture = Schematic(
        740, 424, "Pixels by class: a causal Transformer over the class and the pixels draws and recognises."
    )
    picture.frame(12, 12, 716, 234, "a picture is a text: its class, then its pixels")
    cells = picture.cells(34, 82, np.array(THREE), 15)
    picture.remark(cells.x, 216, "8 × 8 pixels", "grey levels 0 to 16")
    first = [str(value) for value in THREE[0]]
    x = [262 + 76 * t for t in range(6)]
    model = picture.box((x[0] + x[-1]) / 2, 138, x[-1] - x[0] + 62, 30, "causal Transformer", kind="operation")
    for t in range(6):
        name, target = ("class 3" if t == 0 else first[t - 1], first[t]) if t < 5 else ("…", "…")
        token = picture.box(x[t], 192, 62, 28, name, kind="marked" if t == 0 else "tensor")
        label = picture.box(x[t], 82, 62, 28, target, kind="text")
        picture.arrow(token.top(), (x[t], model.bottom()[1]))
        picture.arrow((x[t], model.top()[1]), label.bottom(), shape="[V]" if t == 0 else "")
    picture.arrow((cells.right()[0], 192), (x[0] - 31, 192), shape="row by row")
    picture.remark(model.x, 54, "predicted: each pixel, from the class and all pixels before it")
    picture.remark(model.x, 222, "input_ids  [B, T]: T = 1 + 64 tokens out of V = 17 grey levels + 10 classes")
    draw(picture)
    recognise(picture)
    return picture


def draw(picture: Schematic) -> None:
    """The first use: pixel after pixel is drawn."""
    picture.frame(12, 258, 350, 154, "draw a picture of a class")
    given = picture.box(62, 330, 66, 28, "class 3", kind="marked")
    model = picture.box(158, 330, 72, 34, "Transformer", kind="operation", size=9)
    p = picture.box(240, 330, 52, 38, "p", "[V]")
    dice = picture.box(320, 330, 58, 30, "draw", kind="operation")
    for one, other in ((given, model), (model, p), (p, dice)):
        picture.arrow(one.right(), other.left())
    picture.arrow(
        dice.bottom(), (320, 376), (158, 376), model.bottom(), shape="the next pixel, 64 times", on=1, side="below"
    )


def recognise(picture: Schematic) -> None:
    """The second use: the class in front of which the picture is most probable."""
    picture.frame(378, 258, 350, 154, "recognise the class of a picture")
    classes = picture.box(436, 312, 88, 28, "class 0 … 9", kind="marked")
    pixels = picture.box(436, 358, 88, 28, "its pixels")
    model = picture.box(534, 335, 66, 34, "Transformer", kind="operation", size=9)
    log_p = picture.box(616, 335, 70, 38, "log P(x ∣ y)", "[K]", size=9)
    best = picture.box(694, 335, 58, 38, "+ log P(y)", "largest", kind="operation", size=9)
    picture.arrow(classes.right(), (490, 312), (490, 329), (501, 329))
    picture.arrow(pixels.right(), (490, 358), (490, 341), (501, 341))
    picture.arrow(model.right(), log_p.left())
    picture.arrow(log_p.right(), best.left())
    picture.remark(553, 390, "the same model reads the picture once for each class")
