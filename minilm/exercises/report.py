"""What the learner reads: a few short lines, the verdict first, and a word beside every mark and colour."""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LAYERS = (
    "import and signature",
    "shape and type",
    "the tiny example",
    "values",
    "properties",
    "gradients",
    "edge cases",
    "side effects",
)
LONGEST = 16  # lines
WIDTH = 100  # columns, unless the terminal has fewer
FOLD: dict[str, Any] = {"initial_indent": "  ", "subsequent_indent": "    ", "break_long_words": False}
FOLD |= {"break_on_hyphens": False, "drop_whitespace": True, "replace_whitespace": False}
NOT_WRITTEN, NOT_FINISHED = "not written yet", "not finished yet"
ALONE = "your code "  # titles that begin like this are shown alone: the layer in which it happened says nothing
GREEN, RED, YELLOW, DIM = 32, 31, 33, 2


@dataclass(frozen=True)
class Problem:
    """What the first failing layer has found, and in which case. `explained`: the lines already name the mistake, so no
    diagnosis is needed."""

    layer: int
    lines: tuple[str, ...]
    explained: bool = False
    title: str = ""  # shown instead of the layer's title
    case: Any = None


@dataclass(frozen=True)
class Report:
    """The verdict on one exercise. `layer` is the one that failed, or the last one after a pass."""

    name: str
    passed: bool
    layer: int
    lines: tuple[str, ...]
    named: tuple[str, ...] = ()  # keys of the mistakes in `lines`: several cannot be told apart, or are a pair
    pair: bool = False
    title: str = ""
    asked: str = ""  # the key of the mistake that the question is about
    printed: tuple[str, ...] = ()  # what the learner's code printed

    @property
    def where(self) -> str:
        """Where it stopped: `layer 2 of 7: the tiny example`, or what happened if that says more."""
        if self.title.startswith(ALONE):
            return self.title
        return f"layer {self.layer} of {len(LAYERS) - 1}: {self.title or LAYERS[self.layer]}"

    def text(
        self, colour: bool = False, ask: str = "minilm exercise hint {}", following: str = "", width: int = WIDTH
    ) -> str:
        """The report as it is shown. `ask` is the command for a hint, `following` what to do after a pass."""
        paint = painter(colour)
        if self.passed:
            head = paint(f"✓ {self.name}", GREEN) + f"   passed: {self.lines[0]}"
            body = [f"  next: {following}"] if following else []
        else:
            head = paint(f"✗ {self.name}", RED) + f"   {self.where}"
            body = folded([*self.lines, f"next: {ask.format(self.name)}"], width)
        shown = [head, *body]
        left = min(4, LONGEST - len(shown) - 1)
        if self.printed and left > 0:
            shown.append(paint("  printed by your code:", DIM))
            shown += [f"    {line}" for line in self.printed[:left]]
        return "\n".join(line.rstrip() for line in shown)

    def _ipython_display_(self) -> None:
        """Show nothing when a report is the value of a notebook cell: `check` has printed it already."""

    def __str__(self) -> str:
        return self.text()


def folded(lines: list[str], width: int) -> list[str]:
    """The lines, folded at `width` columns. If there are too many, some from before the last lines are left out."""
    folds = [textwrap.wrap(line, max(width, 40), **FOLD) or [""] for line in lines]
    out = [line for fold in folds for line in fold]
    if len(out) > LONGEST - 1:
        end = sum(map(len, folds[-3:]))  # the diagnosis, the question and the next step
        keep = max(LONGEST - 2 - end, 2)
        out = [*out[:keep], "  …", *out[len(out) - end :]]
    return out


def columns(most: int = WIDTH) -> int:
    """How many columns the terminal has, at most `most`; in a file or a pipe, `most`."""
    return min(most, shutil.get_terminal_size((most, 24)).columns)


def painter(colour: bool) -> Callable[[str, int], str]:
    return lambda text, code: f"\x1b[{code}m{text}\x1b[0m" if colour else text


def may_colour() -> bool:
    """Whether to use colours: only in a terminal, without NO_COLOR, and not in an old Windows console."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM", "ConEmuANSI"))
