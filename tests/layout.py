"""What is ugly in a schematic, found from the boxes around its texts as the renderer draws them."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg

from minilm.viz.schematics.geometry import Box, Point
from minilm.viz.schematics.kit import Label, Schematic

Area = tuple[float, float, float, float]  # left, top, right, bottom, in points from the top left corner


def faults(picture: Schematic) -> Iterator[str]:
    """One sentence for every text that overlaps something, or leaves its box or the picture, and for every arrow through a box."""
    with style.context({"text.hinting": "none"}):
        areas = [area_of(picture, label) for label in picture.labels]
    words = [label.artist.get_text() for label in picture.labels]
    boxes = [(box, shrunk(edges(box), 1)) for box in picture.boxes]
    width, height = picture.get_size_inches() * 72
    for label, area, text in zip(picture.labels, areas, words):
        if not inside(area, (4, 4, width - 4, height - 4)):
            yield f"{text!r} leaves the picture"
        if label.box is not None and not inside(area, shrunk(edges(label.box), 1)):
            yield f"{text!r} leaves its box"
        for box, border in boxes:
            at_home = label.box is not None and inside(shrunk(edges(label.box), 1), edges(box))
            if overlap(area, border) and not at_home:
                yield f"{text!r} runs into the box at ({box.x:.0f}, {box.y:.0f})"
    for (one, text), (other, next_text) in combinations(zip(areas, words), 2):
        if overlap(one, other):
            yield f"{text!r} and {next_text!r} overlap"
    for route, head in picture.routes:
        for part in zip(route, route[1:]):
            for area, text in zip(areas, words):
                if crosses(*part, area):
                    yield f"an arrow runs through {text!r}"
            for box, border in boxes:
                if head and crosses(*part, shrunk(border, 2)):
                    yield f"an arrow runs through the box at ({box.x:.0f}, {box.y:.0f})"


def area_of(picture: Schematic, label: Label) -> Area:
    """The area of the letters of a text. (The renderer's box is a line of text high, with room for g and Ä.)"""
    canvas = picture.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    extent = label.artist.get_window_extent(canvas.get_renderer())
    (left, bottom), (right, top) = picture.page.inverted().transform([(extent.x0, extent.y0), (extent.x1, extent.y1)])
    return left, top + 1.5, right, bottom - 1.5


def edges(box: Box) -> Area:
    return box.x - box.width / 2, box.y - box.height / 2, box.x + box.width / 2, box.y + box.height / 2


def shrunk(area: Area, by: float) -> Area:
    return area[0] + by, area[1] + by, area[2] - by, area[3] - by


def inside(one: Area, other: Area) -> bool:
    return one[0] >= other[0] and one[1] >= other[1] and one[2] <= other[2] and one[3] <= other[3]


def overlap(one: Area, other: Area) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def crosses(start: Point, end: Point, area: Area) -> bool:
    """Whether the line from `start` to `end` has a point inside the area (Liang and Barsky's clipping)."""
    first, last = 0.0, 1.0
    for axis in (0, 1):
        way = end[axis] - start[axis]
        low, high = area[axis] - start[axis], area[axis + 2] - start[axis]
        if way == 0:
            if not low < 0 < high:
                return False
            continue
        enter, leave = sorted((low / way, high / way))
        first, last = max(first, enter), min(last, leave)
    return first < last
