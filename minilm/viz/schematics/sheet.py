"""All schematics on one sheet, to look through them at a glance."""

import io
import math
from collections.abc import Mapping

from matplotlib import image, style

from minilm.viz.plots import FONT, STYLE, Picture
from minilm.viz.schematics.kit import Schematic

COLUMNS, WIDTH, HEIGHT = 3, 5.2, 4.1  # of one picture, in inches


@style.context(STYLE)
def contact_sheet(pictures: Mapping[str, Schematic]) -> Picture:
    """The pictures in three columns, each under its name."""
    rows = math.ceil(len(pictures) / COLUMNS)
    sheet = Picture(COLUMNS * WIDTH, rows * HEIGHT)
    places = sheet.subplots(rows, COLUMNS, squeeze=False).flat
    for axis in places:
        axis.set_axis_off()
    for axis, (name, picture) in zip(sheet.axes, pictures.items()):
        axis.imshow(image.imread(io.BytesIO(picture._repr_png_()), format="png"), interpolation="antialiased")
        axis.set_title(name, family=FONT)
    return sheet
