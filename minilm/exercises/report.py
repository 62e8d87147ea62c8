"""What the learner reads: at most twelve lines, the verdict first, and a word beside every mark and colour."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

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
LONGEST = 12  # lines
GREEN, RED, YELLOW, DIM = 32, 31, 33, 2


@dataclass(frozen=True)
class Problem:
    """What the first failing layer has found. `explained`: the lines already name the mistake, so no diagnosis is needed."""

    layer: int
    lines: tuple[str, ...]
    explained: bool = False
    title: str = ""  # shown instead of the layer's title


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
    printed: tuple[str, ...] = ()  # what the learner's code printed

    def text(self, colour: bool = False, ask: str = "minilm exercise hint {}", following: str = "") -> str:
        """The report as it is shown. `ask` is the command for a hint, `following` what to do after a pass."""
        paint = painter(colour)
        if self.passed:
            head = paint(f"✓ {self.name}", GREEN) + f"   passed: {self.lines[0]}"
            body = [f"  next: {following}"] if following else []
        else:
            title = self.title or LAYERS[self.layer]
            head = paint(f"✗ {self.name}", RED) + f"   layer {self.layer} of {len(LAYERS) - 1}: {title}"
            body = [f"  {line}" for line in self.lines]
            hint = f"next: {ask.format(self.name)}"
            body = [*body[:-1], f"{body[-1]}     {hint}"] if self.named else [*body, f"  {hint}"]
        shown = [head, *body][:LONGEST]
        room = min(4, LONGEST - len(shown) - 1)
        if self.printed and room > 0:
            shown.append(paint("  printed by your code:", DIM))
            shown += [f"    {line}" for line in self.printed[:room]]
        return "\n".join(line.rstrip() for line in shown)

    def _ipython_display_(self) -> None:
        """Show nothing when a report is the value of a notebook cell: `check` has printed it already."""

    def __str__(self) -> str:
        return self.text()


def painter(colour: bool) -> Callable[[str, int], str]:
    return lambda text, code: f"\x1b[{code}m{text}\x1b[0m" if colour else text


def may_colour() -> bool:
    """Whether to use colours: only in a terminal, without NO_COLOR, and not in an old Windows console."""
    if os.environ.get("NO_COLOR") or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return os.name != "nt" or any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM", "ConEmuANSI"))
