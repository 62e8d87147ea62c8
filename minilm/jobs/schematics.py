"""Write the schematics as files: one SVG and one PNG for each, and all of them on one sheet."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from minilm.errors import InputError
from minilm.files.atomic import replace_bytes, write_text
from minilm.viz.schematics import SCHEMATICS
from minilm.viz.schematics.sheet import contact_sheet

SHEET = "contact-sheet.png"


@dataclass(frozen=True)
class SchematicsOptions:
    """Write the schematics of the notebooks as SVG and PNG, and all of them on one sheet (contact-sheet.png)."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Which ones, by name; all of them if none is named."""
    out: Path = Path("minilm-schematics")
    """The folder for the files; it is created if it does not exist."""
    png: bool = True
    """Write PNG and the sheet as well; --no-png writes the SVG alone, as in data/schematics."""

    def __post_init__(self):
        for name in self.names:
            if name not in SCHEMATICS:
                near = difflib.get_close_matches(name, SCHEMATICS, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise InputError(f"there is no schematic '{name}'{hint} (the schematics are {', '.join(SCHEMATICS)}).")


def schematics(options: SchematicsOptions = SchematicsOptions(), say: Callable[[str], None] = print) -> list[Path]:  # noqa: B008
    """Write the files and return their paths. Raises InputError if `out` is a file."""
    if options.out.exists() and not options.out.is_dir():
        raise InputError(f"{options.out} is a file: give --out the name of a folder.")
    options.out.mkdir(parents=True, exist_ok=True)
    pictures = {name: SCHEMATICS[name]() for name in dict.fromkeys(options.names or SCHEMATICS)}
    paths = [options.out / f"{name}.svg" for name in pictures]
    for path, picture in zip(paths, pictures.values()):
        write_text(path, picture.svg())
        if options.png:
            paths.append(path.with_suffix(".png"))
            replace_bytes(paths[-1], picture._repr_png_())
    if options.png:
        paths.append(options.out / SHEET)
        contact_sheet(pictures).written(paths[-1])
    what = f"as SVG and PNG, and all of them in {SHEET}" if options.png else "as SVG"
    say(f"{options.out}: {len(pictures)} schematics {what}.")
    return paths
