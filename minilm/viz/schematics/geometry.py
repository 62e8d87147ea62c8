"""Boxes, and the lines of arrows. All sizes in points."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.path import Path

Point = tuple[float, float]


class Box(NamedTuple):
    """A box by its centre and its size, with the points at which arrows begin and end."""

    x: float
    y: float
    width: float
    height: float

    def left(self, dy: float = 0) -> Point:
        return self.x - self.width / 2, self.y + dy

    def right(self, dy: float = 0) -> Point:
        return self.x + self.width / 2, self.y + dy

    def top(self, dx: float = 0) -> Point:
        return self.x + dx, self.y - self.height / 2

    def bottom(self, dx: float = 0) -> Point:
        return self.x + dx, self.y + self.height / 2


def shortened(points: Sequence[Point], by: float) -> list[Point]:
    """The points, with the last one moved back, so that a line ends inside its head and not at the tip."""
    (x0, y0), (x, y) = points[-2:]
    share = 1 - by / math.hypot(x - x0, y - y0)
    return [*points[:-1], (x0 + share * (x - x0), y0 + share * (y - y0))]


def with_round_corners(points: Sequence[Point], radius: float = 6) -> Path:
    """The polyline through the points, with its corners rounded."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:]):
        for other in (before, after):
            share = min(0.5, radius / math.dist(corner, other))
            cut = (corner[0] + share * (other[0] - corner[0]), corner[1] + share * (other[1] - corner[1]))
            vertices += [cut] if other is before else [corner, cut]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    return Path([*vertices, points[-1]], [*codes, Path.LINETO])


def arrow_head(points: Sequence[Point], width: float) -> list[Point]:
    """The triangle at the end of an arrow whose line has this width."""
    (x0, y0), (x, y) = points[-2:]
    length = math.hypot(x - x0, y - y0)
    u, v = (x - x0) / length, (y - y0) / length  # the direction
    long, wide = 6.5 + width, 2.6 + 0.6 * width
    back = (x - long * u, y - long * v)
    return [(x, y), (back[0] - wide * v, back[1] + wide * u), (back[0] + wide * v, back[1] - wide * u)]
