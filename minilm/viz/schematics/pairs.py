"""Pictures and captions in one space.  F35."""

import numpy as np

from minilm.formulas.contrastive import similarities
from minilm.viz.schematics.kit import Schematic

PICTURES = ("a seven", "a three", "a one", "a zero")
CAPTIONS = ("“a thin seven”", "“a bold three”", "“a one”", "“the number zero”")


def two_towers() -> Schematic:
    r"""A tower for pictures and one for texts, and the matrix S of all similarities: the diagonal belongs together.  F35."""
    picture = Schematic(
        740, 362, "Two towers: pictures and captions become vectors, and every picture is compared with every caption."
    )
    picture.frame(12, 12, 446, 338, "a batch of N pairs")
    rows = [92 + 62 * n for n in range(4)]
    for n, y in enumerate(rows):
        picture.box(66, y, 84, 30, PICTURES[n], kind="marked")
        picture.box(394, y, 112, 30, CAPTIONS[n], kind="text", size=9)
    left = picture.box(152, 185, 48, 216, "picture", "tower", kind="operation", size=9)
    right = picture.box(304, 185, 44, 216, "text", "tower", kind="operation", size=9)
    u, v = picture.box(206, 185, 34, 60, "u", "[N, D]"), picture.box(254, 185, 34, 60, "v", "[N, D]")
    for y in rows:
        picture.arrow((108, y), (left.left()[0], y))
        picture.arrow((338, y), (right.right()[0], y))
    picture.arrow(left.right(), u.left())
    picture.arrow(right.left(), v.right())
    picture.remark(66, 62, "pixels  [N, m]")
    picture.remark(394, 62, "input_ids  [N, T]")
    picture.remark(230, 322, "both of length 1:  û = u/‖u‖,  v̂ = v/‖v‖")
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(4, 6))
    S = similarities(vectors + 0.5 * rng.normal(size=(4, 6)), vectors, 5.0)
    picture.frame(474, 12, 254, 338, "S = s · û v̂ᵀ  [N, N]")
    cells = picture.cells(513, 92, S, 44, words=[[f"{value:.1f}".replace("-", "−") for value in row] for row in S])
    picture.remark(cells.x, 62, "columns: captions, rows: pictures")
    picture.remark(cells.x, 306, "the diagonal belongs together:", "L = ½ (CE of rows + CE of columns)")
    return picture
