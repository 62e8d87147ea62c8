r"""The drawing kit of the schematics: one visual language for data that flows.

A square box is a tensor, a square box with a double line holds learned numbers, a rounded box computes, and an arrow
carries the shape of what flows along it. The kind of a thing is told by its outline first and by its colour second, so
that nothing is lost in print or for colour-blind readers. Coordinates are points (1/72 inch) from the top left corner.

Letters (in all schematics):  B batch · T query length · S key length · H heads, or hidden size of a recurrent cell ·
          D size of a head · C = H·D model width · F feed-forward width · V vocabulary · K classes or tags · L length of a
          table of positions · N examples · I input size
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike

from minilm.viz.plots import DOTS, FONT, STYLE, Picture
from minilm.viz.schematics import svg
from minilm.viz.schematics.geometry import Box, Point, arrow_head, shortened, with_round_corners
from minilm.viz.schematics.svg import COLOURS

SMALL, NORMAL, LARGE = 9.0, 10.5, 13.0  # the sizes of the letters, in points: shapes and remarks, names, headings
LINE, BOLD_LINE, CORNER = 1.2, 2.4, 9.0
STRONGEST = 0.5  # how opaque the colour of a cell may become, so that a number on it can be read
# kind → the colours of fill and outline, the width of the outline, and whether it is dashed
KINDS = {
    "tensor": ("tensor", "tensor line", LINE, False),
    "learned": ("learned", "learned line", LINE, False),
    "operation": ("operation", "operation line", LINE, False),
    "text": ("paper", "soft", LINE, False),
    "marked": ("marked", "marked line", BOLD_LINE, False),
    "muted": ("muted", "soft", LINE, True),
    "frame": ("frame", "frame line", LINE, False),
}


@dataclass
class Label:
    """A text in the picture, and the box in which it must stay, if there is one."""

    artist: Text
    box: Box | None


class Schematic(Picture):
    """A picture of how data flows. A notebook shows it as the value of a cell; `svg()` is its text. Sizes in points.

    `about` is one sentence for those who cannot see the picture.
    """

    def __init__(self, width: float, height: float, about: str):
        super().__init__(width / 72, height / 72)
        self.set_layout_engine("none")
        self.set_facecolor(COLOURS["paper"].light)
        self.about, self.labels, self.boxes = about, list[Label](), list[Box]()
        self.routes: list[tuple[list[Point], bool]] = []  # of the arrows, and whether they have a head
        self.page = Affine2D().scale(1 / 72, -1 / 72).translate(0, height / 72) + self.dpi_scale_trans

    # -------------------------------------------------------------------------------------------- the two formats

    def _repr_png_(self, dpi: int = DOTS) -> bytes:
        file = io.BytesIO()
        with style.context([*STYLE, {"text.hinting": "none"}]):  # so that letters are equally wide in every matplotlib
            self.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
        return file.getvalue()

    def _repr_svg_(self) -> str:
        return self.svg()

    def svg(self) -> str:
        """The picture as SVG: the same bytes every time, text as text, and other colours where the reader's screen is dark."""
        file = io.BytesIO()
        with style.context([*STYLE, {"svg.fonttype": "none", "svg.hashsalt": "minilm"}]):
            self.savefig(file, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
        return svg.tidy(file.getvalue().decode("utf-8"), self.about)

    # -------------------------------------------------------------------------------------------- shapes

    def draw_shape(self, patch: Any, fill: str, line: str, width: float, dashed: bool = False) -> None:
        patch.set(facecolor=COLOURS[fill].light if fill else "none", edgecolor=COLOURS[line].light if line else "none")
        patch.set(linewidth=width, linestyle=(0, (3, 2)) if dashed else "-", joinstyle="round", capstyle="butt")
        patch.set(transform=self.page, zorder=2)
        self.add_artist(patch)

    def box(
        self, x: float, y: float, width: float, height: float, *words: str, kind: str = "tensor", size: float = NORMAL
    ) -> Box:
        """A box of this `kind` around (x, y). The first of the `words` is its name, the others stand below it, smaller."""
        box = Box(x, y, width, height)
        corner = (x - width / 2, y - height / 2)
        if kind == "operation":
            round_corners = f"round,pad=0,rounding_size={min(CORNER, height / 2)}"
            self.draw_shape(FancyBboxPatch(corner, width, height, boxstyle=round_corners), *KINDS[kind])
        else:
            self.draw_shape(Rectangle(corner, width, height), *KINDS[kind])
        if kind == "learned":  # the double line
            inner = Rectangle((corner[0] + 2.5, corner[1] + 2.5), width - 5, height - 5)
            self.draw_shape(inner, "", "learned line", 0.7)
        self.boxes.append(box)
        self.words(x, y, *words, box=box, size=size)
        return box

    def sign(self, x: float, y: float, symbol: str, radius: float = 10) -> Box:
        """A small circle that computes: +, ⊙, ×."""
        box = Box(x, y, 2 * radius, 2 * radius)
        self.draw_shape(Circle((x, y), radius), *KINDS["operation"])
        self.boxes.append(box)
        self.write(x, y, symbol, LARGE, box=box)
        return box

    def frame(self, left: float, top: float, width: float, height: float, heading: str = "") -> None:
        """A pale panel with a heading at its top left."""
        panel = FancyBboxPatch((left, top), width, height, boxstyle=f"round,pad=0,rounding_size={CORNER}")
        self.draw_shape(panel, *KINDS["frame"])
        panel.set_zorder(0)
        if heading:
            self.write(left + 12, top + 17, heading, LARGE, bold=True, align="left")

    def cells(
        self,
        left: float,
        top: float,
        values: ArrayLike,
        cell: float | tuple[float, float] = 16,
        words: Sequence[Sequence[str]] | None = None,
        size: float = SMALL,
        most: float | None = None,
        colour: str = "tensor line",
    ) -> Box:
        """A matrix as a grid of cells: the larger the value, the stronger the colour. `words` are written into the cells.

        `most` is the value with the full colour (by default the largest). Negative values get none, and no colour is so
        strong that a text on it could not be read.
        """
        across, down = cell if isinstance(cell, tuple) else (cell, cell)
        values = np.asarray(values, dtype=float)
        rows, columns = values.shape
        scale = most or values.max() or 1
        box = Box(left + columns * across / 2, top + rows * down / 2, columns * across, rows * down)
        self.draw_shape(Rectangle((left, top), box.width, box.height), "paper", "tensor line", LINE)
        for (r, c), value in np.ndenumerate(values):
            strength = round(STRONGEST * min(max(float(value) / scale, 0), 1), 2)
            spot = Rectangle((left + c * across, top + r * down), across, down)
            self.draw_shape(spot, colour, "tensor line", 0.6)
            spot.set_facecolor((COLOURS[colour].light, strength))
            if words and words[r][c]:
                middle = Box(left + (c + 0.5) * across, top + (r + 0.5) * down, across, down)
                self.write(middle.x, middle.y, words[r][c], size, box=middle)
        self.boxes.append(box)
        return box

    def matrix(
        self,
        x: float,
        y: float,
        rows: int,
        columns: int,
        name: str,
        shape: str = "",
        kind: str = "tensor",
        cell: float = 11,
    ) -> Box:
        """A matrix in its proportions, with faint lines between its entries, its name above and its shape below."""
        box = self.box(x, y, columns * cell, rows * cell, kind=kind)
        if kind != "learned":  # the double line is enough
            left, top = x - box.width / 2, y - box.height / 2
            vertices, codes = list[Point](), list[Any]()
            for c in range(1, columns):
                vertices += [(left + c * cell, top), (left + c * cell, top + box.height)]
            for r in range(1, rows):
                vertices += [(left, top + r * cell), (left + box.width, top + r * cell)]
            codes = [Path.MOVETO, Path.LINETO] * (len(vertices) // 2)
            self.draw_shape(PathPatch(Path(vertices, codes)), "", "tensor line", 0.4)
        if name:
            self.write(x, box.top()[1] - 9, name, bold=True)
        if shape:
            self.write(x, box.bottom()[1] + 10, shape, SMALL)
        return box

    # -------------------------------------------------------------------------------------------- words

    def write(
        self,
        x: float,
        y: float,
        words: str,
        size: float = NORMAL,
        bold: bool = False,
        align: str = "center",
        colour: str = "ink",
        box: Box | None = None,
    ) -> None:
        """One line of text whose small letters are centred on the height y."""
        place: dict[str, Any] = dict(ha=align, va="baseline", transform=self.page, zorder=5, rotation_mode="anchor")
        look: dict[str, Any] = dict(size=size, family=FONT, weight="bold" if bold else "normal")
        artist = self.text(x, y + 0.36 * size, words, **place, **look, color=COLOURS[colour].light)
        artist.set_parse_math(False)
        self.labels.append(Label(artist, box))

    def words(self, x: float, y: float, *lines: str, box: Box | None = None, size: float = NORMAL) -> None:
        """Several lines around (x, y): the first one bold if others follow, the others small."""
        sizes = [size] + [SMALL] * (len(lines) - 1)
        y -= sum(1.35 * s for s in sizes) / 2
        for i, (line, s) in enumerate(zip(lines, sizes)):
            self.write(x, y + 1.35 * s / 2, line, s, bold=len(lines) > 1 and i == 0, box=box)
            y += 1.35 * s

    def remark(self, x: float, y: float, *lines: str, align: str = "center") -> None:
        """Small grey lines, the first of them at the height y."""
        for i, line in enumerate(lines):
            self.write(x, y + 13 * i, line, SMALL, align=align, colour="soft")

    # -------------------------------------------------------------------------------------------- arrows

    def arrow(
        self,
        *points: Point,
        shape: str = "",
        side: str = "",
        on: int | None = None,
        kind: str = "ink",
        width: float = LINE,
        dashed: bool = False,
        head: bool = True,
        over: bool = False,
    ) -> None:
        """An arrow through these points. `shape` stands beside its longest part, or beside the part with the number `on`.

        `side` is above, below, left or right of it. `over` interrupts the lines that it crosses, so that nobody thinks they
        meet.
        """
        colour = COLOURS[kind].light
        line = shortened(points, 6.0 + width) if head else list(points)
        path = with_round_corners(line)
        if over:
            gap = PathPatch(path, fill=False, edgecolor=COLOURS["paper"].light, linewidth=width + 7, capstyle="butt")
            gap.set(transform=self.page, zorder=1.1)
            self.add_artist(gap)
        dots = (0, (3, 2)) if dashed else "-"
        stroke = PathPatch(path, fill=False, edgecolor=colour, linewidth=width, linestyle=dots, capstyle="butt")
        stroke.set(transform=self.page, joinstyle="round", zorder=1.2 if over else 1)
        self.add_artist(stroke)
        if head:
            tip = Polygon(arrow_head(points, width), facecolor=colour, edgecolor="none", transform=self.page, zorder=3)
            self.add_artist(tip)
        self.routes.append((list(points), head))
        if shape:
            self.beside(points, shape, side, on)

    def beside(self, points: Sequence[Point], shape: str, side: str, on: int | None) -> None:
        """Write a shape beside one part of an arrow."""
        parts = list(zip(points, points[1:]))
        (x0, y0), (x1, y1) = max(parts, key=lambda part: math.dist(*part)) if on is None else parts[on]
        side = side or ("above" if abs(x1 - x0) >= abs(y1 - y0) else "right")
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        dx, dy = {"above": (0, -8), "below": (0, 9), "left": (-6, 0), "right": (6, 0)}[side]
        align = {"left": "right", "right": "left"}.get(side, "center")
        self.write(x + dx, y + dy, shape, SMALL, align=align)

    def key(self, left: float, y: float, *kinds: str) -> None:
        """The legend: what the outlines mean, from `left` at the height y."""
        names = {"tensor": "tensor", "learned": "learned numbers", "operation": "computes", "text": "text"}
        for kind in kinds:
            self.box(left + 11, y, 22, 13, kind=kind)
            self.write(left + 28, y, names[kind], SMALL, align="left", colour="soft")
            left += 46 + 5.6 * len(names[kind])
