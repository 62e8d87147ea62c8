"""From matplotlib's SVG to ours: small, the same bytes every time, and readable on a dark screen as well as on a light one.

The colours of the light page are written into the elements, where every program finds them. A style sheet replaces them
where the reader prefers dark colours; its rules name the class of the picture, so they change nothing else on a page.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

SVG = "http://www.w3.org/2000/svg"
# DejaVu Sans is the widest of these, so a text that fits its box in our picture fits it in the reader's as well.
FONTS = "'DejaVu Sans',Verdana,'Segoe UI',Helvetica,Arial,sans-serif"
STYLED = "fill fill-opacity stroke stroke-width stroke-dasharray stroke-linecap".split()
STYLED += ["text-anchor", "font-size", "font-weight"]


class Colour(NamedTuple):
    """A colour on a light page, and its counterpart on a dark one."""

    light: str
    dark: str


# Tints of Okabe and Ito's blue, green, orange and vermilion. The fills differ in lightness, so they also differ in grey.
COLOURS = {
    "paper": Colour("#ffffff", "#0d1117"),
    "ink": Colour("#1f2328", "#e6edf3"),
    "soft": Colour("#5d6670", "#9aa5b1"),
    "frame": Colour("#f5f6f8", "#161b22"),
    "frame line": Colour("#dde1e6", "#2d343d"),
    "tensor": Colour("#d3e5f5", "#12344f"),
    "tensor line": Colour("#0a5c96", "#6cb8f2"),
    "learned": Colour("#b9dfcf", "#0f4232"),
    "learned line": Colour("#00694d", "#50cba2"),
    "operation": Colour("#fff4df", "#3b2d10"),
    "operation line": Colour("#945a00", "#e8b552"),
    "marked": Colour("#f8cdb6", "#5a2a12"),
    "marked line": Colour("#b5430b", "#ff9d6b"),
    "muted": Colour("#e4e7ea", "#2b323a"),
}


def tidy(source: str, about: str) -> str:
    """The SVG that matplotlib wrote, as one flat list of paths and texts with classes for their colours."""
    root = ElementTree.fromstring(source)
    _, _, width, height = root.attrib["viewBox"].split()
    parts = list(parts_of(root))
    used = sorted({name for part in parts for name in re.findall(r"\b[fs]-[a-z]+", part)})
    dark = {name: names_of(name)[1] for name in used}
    rules = "".join(f".minilm .{name}{{{names_of(name)[0]}:{colour}}}" for name, colour in dark.items())
    head = (
        f'<svg xmlns="{SVG}" class="minilm" role="img" width="{width}pt" height="{height}pt" style="max-width:100%;height:auto" '
        f'viewBox="0 0 {width} {height}" stroke-linejoin="round">\n<title>{escaped(about)}</title>\n'
        f"<style>.minilm text{{font-family:{FONTS};white-space:pre}}"
        f"@media (prefers-color-scheme:dark){{{rules}}}</style>\n"
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def names_of(name: str) -> tuple[str, str]:
    """For the class f-ink: the property that it sets, and the dark colour."""
    colour = next(colour for key, colour in COLOURS.items() if key.replace(" ", "") == name[2:])
    return {"f": "fill", "s": "stroke"}[name[0]], colour.dark


def parts_of(element: ElementTree.Element) -> Iterator[str]:
    """The paths and texts below `element`, in the order in which they are painted."""
    tag = element.tag.removeprefix(f"{{{SVG}}}")
    if tag == "path":
        yield f"<path{attributes(element)}/>"
    elif tag == "text":
        yield f"<text{attributes(element)}>{escaped(element.text or '')}</text>"
    elif tag not in ("defs", "metadata"):
        for child in element:
            yield from parts_of(child)


def attributes(element: ElementTree.Element) -> str:
    """What is kept of an element: its place, its look, and a class for each of its colours."""
    found: dict[str, str] = {name: shorter(element.attrib[name]) for name in ("d", "x", "y") if name in element.attrib}
    style = [declaration.partition(":") for declaration in element.get("style", "").split(";")]
    look = {name.strip(): value.strip() for name, _, value in style}
    if font := re.match(r"(?:(\d+) )?([\d.]+px) ", look.get("font", "")):  # how older matplotlibs write it
        look |= {name: value for name, value in zip(("font-weight", "font-size"), font.groups()) if value}
    found |= {name: shorter(look[name]) for name in STYLED if name in look}
    colours = {colour.light: key.replace(" ", "") for key, colour in COLOURS.items()}
    classes = [f"{name[0]}-{colours[found[name]]}" for name in ("fill", "stroke") if found.get(name) in colours]
    if classes:
        found["class"] = " ".join(classes)
    return "".join(f' {name}="{escaped(value)}"' for name, value in found.items())


def shorter(numbers: str) -> str:
    """The same numbers with at most one digit behind the point: a tenth of a point cannot be seen."""
    rounded = re.sub(r"-?\d+\.\d+", lambda m: f"{round(float(m[0]), 1) + 0:g}", numbers)
    return re.sub(r"\s*([MLCQz])\s*", r"\1", rounded.replace("\n", " ")).strip()


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
