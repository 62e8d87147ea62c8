r"""Schematics of the Transformer block: post-norm and pre-norm.  F20."""

from minilm.viz.schematics.geometry import Box, Point
from minilm.viz.schematics.kit import BOLD_LINE, Schematic


def block_orders() -> Schematic:
    r"""The two orders of the block, side by side.  F20.

    post-norm (BERT):  x ← Norm(x + Attention(x));   x ← Norm(x + FFN(x))
    pre-norm:          x ← x + Attention(Norm(x));   x ← x + FFN(Norm(x)), and one more norm after the last block
    """
    picture = Schematic(
        700, 560, "The Transformer block in its two orders: post-norm on the left, pre-norm on the right."
    )
    for left, heading, words in (
        (16, "post-norm (BERT)", "Norm(x + branch(x)): the norm stands in the path of x"),
        (358, "pre-norm", "x + branch(Norm(x)): nothing stands in the path of x"),
    ):
        picture.frame(left, 12, 326, 536, heading)
        picture.remark(left + 12, 48, words, align="left")
    last = sub_layers(picture, 128, post=True)
    picture.arrow(last.bottom(), (128, 532), shape="[B, T, C]  to the next block")
    last = sub_layers(picture, 470, post=False)
    final = picture.box(470, 494, 96, 28, "Norm", kind="operation")
    picture.arrow(last.bottom(), final.top(), width=BOLD_LINE, shape="[B, T, C]")
    picture.arrow(final.bottom(), (470, 534))
    picture.remark(530, 488, "once, after the", "last block", align="left")
    return picture


def sub_layers(picture: Schematic, x: float, post: bool) -> Box:
    """Draw attention and the feed-forward network, each with its residual and its norm. Returns the last box."""
    side, before = x + 110, None
    names = (("attention", "mixes the tokens"), ("feed-forward", "C → F → C, each token alone"))
    start: Point = (x, 66)
    for i, (name, does) in enumerate(names):
        top = 100 + 190 * i
        if post:
            branch = picture.box(x, top + 25, 150, 40, name, does, kind="operation")
            add = picture.sign(x, top + 90, "+")
            norm = picture.box(x, top + 135, 96, 28, "Norm", kind="operation")
            fork = top - 18
            picture.arrow(start, branch.top(), shape="[B, T, C]", side="left")
            picture.arrow(branch.bottom(), add.top())
            picture.arrow((x, fork), (side, fork), (side, add.y), add.right(), width=BOLD_LINE)
            picture.arrow(add.bottom(), norm.top())
            start, before = norm.bottom(), norm
        else:
            norm = picture.box(x + 0, top + 5, 96, 28, "Norm", kind="operation")
            branch = picture.box(x, top + 58, 150, 40, name, does, kind="operation")
            add = picture.sign(x, top + 118, "+")
            fork = top - 24
            picture.arrow(start, norm.top(), shape="[B, T, C]", side="left")
            picture.arrow(norm.bottom(), branch.top())
            picture.arrow(branch.bottom(), add.top())
            picture.arrow((x, fork), (side, fork), (side, add.y), add.right(), width=BOLD_LINE)
            start, before = add.bottom(), add
        picture.remark(side + 8, (fork + add.y) / 2 - 6, "x itself,", "unchanged", align="left")
    assert before is not None
    return before
