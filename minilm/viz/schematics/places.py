r"""Schematics of positions: four ways to tell where a token stands, and the bias by relative position.  F21."""

import numpy as np

from minilm.formulas.positions import bucket, relative_bias as bias_of, rotate, sinusoids
from minilm.viz.schematics.kit import BOLD_LINE, Schematic

OFFSETS, PEAK = (-1, 1, -2, 2), 4.0  # as in `minilm/models/bert_start.py`: head h looks at the token at OFFSETS[h]


def positions() -> Schematic:
    r"""Four ways to say where a token stands, and the place at which each enters the model.  F21.

    Waves and a learned table are added to the embeddings; the relative bias is added to the scores; rotary positions turn
    queries and keys. The waves, the bias and the turns are computed by `minilm.formulas.positions`.
    """
    picture = Schematic(
        720, 520, "Four kinds of positions: waves, a learned table, a relative bias, and rotary positions."
    )
    panels = ((12, 12), (366, 12), (12, 266), (366, 266))
    headings = ("waves", "learned table", "relative bias", "rotary")
    places = ("added to the embeddings", "added to the embeddings", "added to the scores", "turns queries and keys")
    for (left, top), heading, place in zip(panels, headings, places):
        picture.frame(left, top, 342, 242, heading)
        picture.write(left + 330, top + 17, place, 9, align="right", colour="soft")
    waves(picture, *panels[0])
    learned(picture, *panels[1])
    diagonals(picture, *panels[2])
    turns(picture, *panels[3])
    return picture


def added(picture: Schematic, left: float, top: float, source: tuple[float, float], colour: str) -> None:
    """A table whose rows are added to the embeddings of the tokens."""
    add = picture.sign(left + 226, top + 138, "+")
    picture.arrow(source, add.left(), shape="[T, C]")
    embeddings = picture.box(left + 226, top + 76, 110, 34, "embeddings", "[B, T, C]")
    picture.arrow(embeddings.bottom(), add.top())
    block = picture.box(left + 226, top + 200, 110, 30, "first block", kind="operation")
    picture.arrow(add.bottom(), block.top(), shape="[B, T, C]")


def waves(picture: Schematic, left: float, top: float) -> None:
    table = sinusoids(8, 6)
    box = picture.cells(left + 36, top + 62, (table + 1) / 2, (18, 16))
    for n in range(8):
        picture.write(left + 28, top + 70 + 16 * n, f"{n}", 9, align="right", colour="soft")
    picture.remark(box.x, top + 207, "row t: sines and cosines", "of t, nothing is learned")
    added(picture, left, top, box.right(12), "tensor")


def learned(picture: Schematic, left: float, top: float) -> None:
    box = picture.box(left + 90, top + 126, 108, 128, kind="learned")
    for n, row in enumerate(("row 0", "row 1", "row 2", "…", "row L − 1")):
        picture.write(box.x, top + 78 + 24 * n, row, 9, box=box)
    picture.remark(box.x, top + 207, "row t of a table [L, C]:", "one vector per position")
    added(picture, left, top, box.right(12), "learned")


def diagonals(picture: Schematic, left: float, top: float) -> None:
    T = 5
    offset = np.arange(T)[None, :] - np.arange(T)[:, None]
    words = [[f"{d:+d}".replace("-", "−") if d else "0" for d in row] for row in offset]
    box = picture.cells(left + 36, top + 66, (offset == -1).astype(float), (26, 22), words, most=1.5)
    picture.remark(box.x, top + 54, "s − t  [T, S]")
    picture.remark(box.x, top + 194, "one learned number per head", "and distance: each diagonal", "has the same one")
    add = picture.sign(left + 246, top + 121, "+")
    picture.arrow(box.right(), add.left(), shape="b [T, S]")
    scores = picture.box(left + 246, top + 66, 92, 34, "Q Kᵀ / √D", "[T, S]")
    picture.arrow(scores.bottom(), add.top())
    soft = picture.box(left + 246, top + 178, 92, 30, "softmax", kind="operation")
    picture.arrow(add.bottom(), soft.top(), shape="[T, S]")


def turns(picture: Schematic, left: float, top: float) -> None:
    length = 56
    for i, (name, letter, place, vector) in enumerate((("q", "t", 1, (1.0, 0.1)), ("k", "s", 2, (0.98, -0.25)))):
        x, y = left + 84 + 168 * i, top + 136
        picture.arrow((x - 62, y), (x + 66, y), kind="soft", width=0.7, head=False)
        picture.arrow((x, y + 30), (x, y - 44), kind="soft", width=0.7, head=False)
        turned = rotate(np.array([vector]), np.array([place]))[0]
        for (u, v), label, dashed in ((vector, name, True), (turned, f"{name} turned", False)):
            tip = (x + length * u, y - length * v)
            if dashed:
                picture.arrow((x, y), tip, kind="soft", dashed=True)
                picture.write(tip[0] + 7, tip[1] + (0 if i else -2), label, 9, align="left", colour="soft")
            else:
                picture.arrow((x, y), tip, kind="tensor line", width=BOLD_LINE)
                picture.write(tip[0], tip[1] - 10, label, 9, bold=True)
        picture.write(x, top + 46, f"turned by {letter}·ω   ({letter} = {place})", 9)
    picture.remark(
        left + 171,
        top + 190,
        "Each pair of features of q and k turns; values do not.",
        "The score (turned q) · (turned k) depends on s − t alone.",
    )
    picture.write(left + 171, top + 222, "q, k  [B, H, T, D]: the shapes stay the same", 9)


def relative_bias() -> Schematic:
    r"""The bias b[h, s − t] of four heads as matrices, added to the scores Q Kᵀ / √D before the softmax.  F21.

    Each matrix is constant along its diagonals, because the bias depends on s − t alone. Here the heads have peaks at −1, +1,
    −2 and +2, as our models start; training may change them. The matrices are computed by
    `minilm.formulas.positions.relative_bias` from a table of 32 buckets.
    """
    T, H, cell = 6, len(OFFSETS), 18
    table = np.zeros((32, H))
    table[bucket(np.array(OFFSETS)), np.arange(H)] = PEAK
    bias = bias_of(table, T, T)  # [H, T, S]
    picture = Schematic(
        720, 376, "The relative bias of four heads: constant along diagonals, added to the scores of the head."
    )
    source = picture.box(62, 132, 88, 60, "table", "[buckets, H]", kind="learned")
    picture.remark(62, 178, "one number for each", "bucket of distances", "s − t and each head")
    names = ("the token before", "the token after", "two before", "two after")
    for h, (offset, name) in enumerate(zip(OFFSETS, names)):
        left = 166 + 140 * h
        x = left + T * cell / 2
        picture.write(x, 24, f"head {h + 1}", 13, bold=True)
        sign = f"{offset:+d}".replace("-", "−")
        picture.write(x, 43, f"peak at s − t = {sign}", 9, colour="soft")
        picture.write(x, 57, name, 9, colour="soft")
        box = picture.cells(left, 78, bias[h], cell, [[f"{b:.0f}" if b else "" for b in row] for row in bias[h]])
        if h == 0:
            picture.arrow(source.right(), box.left(), shape="b")
            picture.write(left - 8, 87, "t ↓", 9, align="right", colour="soft")
            picture.write(left - 8, 70, "s →", 9, align="right", colour="soft")
        add = picture.sign(x, 236, "+")
        picture.arrow(box.bottom(), add.top(), shape="[T, S]")
        scores = picture.box(x - 54, 236, 52, 34, "Q Kᵀ/√D", "[T, S]", size=9)
        picture.arrow(scores.right(), add.left())
        soft = picture.box(x, 292, 84, 28, "softmax", kind="operation")
        picture.arrow(add.bottom(), soft.top(), shape="[T, S]")
        picture.arrow(soft.bottom(), (x, 346))
        picture.write(x, 356, "weights  [T, S]", 9)
    return picture
