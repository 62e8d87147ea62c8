r"""Three machines of two parts: what the parts are worth singly says little about the whole.  F36."""

from minilm.viz.schematics.geometry import Box
from minilm.viz.schematics.kit import Schematic

WORTH = {"sum": ("1", "1", "2"), "chain": ("2", "2", "2"), "spare": ("0", "0", "2")}


def parts_and_whole() -> Schematic:
    r"""A sum, a chain and a spare part, with d(S) = L(without S) − L of each part and of both.  F36."""
    picture = Schematic(
        752,
        268,
        "Three machines of two parts. In a sum, each part is worth 1 and both are worth 2; in a chain, each part is worth 2 and so "
        "are both; with a spare part, each is worth 0 and both are worth 2.",
    )
    headings = {
        "sum": "Sum: each adds its share",
        "chain": "Chain: one feeds the other",
        "spare": "Spare: either is enough",
    }
    for number, (name, heading) in enumerate(headings.items()):
        left = 12 + 246 * number
        picture.frame(left, 12, 236, 244, heading)
        x, y = picture.box(left + 28, 104, 32, 32, "x"), picture.box(left + 208, 104, 32, 32, "y")
        if name == "chain":
            a, b = (picture.box(left + at, 104, 42, 38, part, kind="operation") for at, part in ((85, "A"), (151, "B")))
            picture.arrow(x.right(), a.left())
            picture.arrow(a.right(), b.left())
            picture.arrow(b.right(), y.left())
        else:
            side_by_side(picture, left, x, y, "+" if name == "sum" else "or")
        rows = [[f"d({part})", value] for part, value in zip(("A", "B", "A, B"), WORTH[name], strict=True)]
        for row, (part, value) in enumerate(rows):
            picture.write(left + 84, 178 + 24 * row, part, align="right")
            picture.cells(
                left + 96, 168 + 24 * row, [[float(value)]], (22 * max(float(value), 0.8), 20), [[value]], most=3
            )
    return picture


def side_by_side(picture: Schematic, left: float, x: Box, y: Box, symbol: str) -> None:
    """Two parts that get the same, and a sign where what they say comes together."""
    a, b = (picture.box(left + 94, at, 42, 34, part, kind="operation") for at, part in ((78, "A"), (130, "B")))
    sign = picture.sign(left + 156, 104, symbol, radius=12)
    for part in (a, b):
        picture.arrow(x.right(), (left + 58, x.y), (left + 58, part.y), part.left())
        picture.arrow(part.right(), (sign.x, part.y), sign.top() if part is a else sign.bottom())
    picture.arrow(sign.right(), y.left())
