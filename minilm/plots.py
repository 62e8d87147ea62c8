r"""Pictures: the curves of a pretraining, the ladder of models, maps of attention.

Every function returns a `Figure` of its own and, given a `path`, writes it there as PNG: the same input, the same
bytes. pyplot is never imported and its settings are left as they were, so a notebook is not disturbed.

Letters:  T tokens · H heads
"""

import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path

import numpy as np
from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike

from minilm.errors import InputError

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # seven, so that the ninth line is not drawn like the first
STRONG, PALE, INK, GREY = "#0072B2", "#A9C4D6", "#222222", "#707070"
FONT = "DejaVu Sans"  # comes with matplotlib, so that pictures look the same everywhere
STYLE = [
    "default",  # first back to matplotlib's own, whatever the notebook has set
    {
        "font.family": FONT,
        "font.size": 12,
        "text.parse_math": False,  # a token may be a dollar sign
        "text.color": INK,
        "axes.titlesize": 12,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.axisbelow": True,
        "grid.color": "#E4E4E4",
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "lines.markersize": 5,
    },
]
# Families that have Chinese characters, by how their names begin; asked in this order, where the first font lacks some.
CHINESE_FONTS = (
    *("Noto Sans CJK", "Noto Sans SC", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "SimHei", "PingFang"),
    *("Hiragino Sans GB", "Heiti", "STHeiti", "Arial Unicode", "Droid Sans Fallback", "Noto Serif CJK", "SimSun"),
)
NO_FONT = "No installed font has all these characters, so the tokens are numbered in reading order (Noto Sans CJK would do)"
METRICS = {"accuracy": "accuracy", "f1": "F1"}
Rows = Sequence[Mapping[str, object]]


class Picture(Figure):
    """A figure that a notebook shows as the value of a cell without asking pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self, dpi=90)


def png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as a PNG file that names neither the program nor the hour."""
    buffer = io.BytesIO()
    with style.context(STYLE):
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.15)
    return buffer.getvalue()


def new_picture(width: float, height: float, layout: str = "constrained") -> Picture:
    """An empty figure, sizes in inches."""
    figure = Picture(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def finish(figure: Figure, path: str | os.PathLike | None) -> Figure:
    if path is not None:
        growing = Path(f"{os.fspath(path)}.growing")
        growing.write_bytes(png(figure))
        os.replace(growing, path)  # a killed run leaves the picture before, not half of this one
    return figure


def numbers(rows: Rows, key: str, where: str) -> np.ndarray:
    """What the rows hold under `key`, as floats; not-a-number, from a run that diverged, is let through as a gap."""
    if not rows:
        raise InputError(f"{where} has no rows, so there is nothing to draw: give it at least one measurement.")
    for i, row in enumerate(rows, 1):
        if key not in row:
            raise InputError(f"{where}, row {i}, has no {key!r} (it has: {', '.join(row) or 'nothing'}): add it.")
        if not isinstance(row[key], Real) or isinstance(row[key], bool):
            raise InputError(f"{where}, row {i}: {key!r} is {row[key]!r}: give a number.")
    values = np.array([float(row[key]) for row in rows])
    return np.where(np.isfinite(values), values, np.nan)


def wilson(successes: int | float, n: int, z: int | float = 1.96) -> tuple[float, float]:
    r"""Wilson's interval for a share: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) with p = successes / n.

    z = 1.96 covers 95 %. Unlike p ± z √(p(1−p)/n) it stays between 0 and 1 and does not shrink to nothing at p = 0 or 1.
    Raises InputError unless 0 ≤ successes ≤ n and n ≥ 1.  Source: Wilson (1927), JASA 22, 209–212.
    """
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"{successes} successes in {n} trials are no share: need 0 <= successes <= n and n >= 1.")
    p = successes / n
    middle = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n))


def spread(heights: Sequence[float], gap: float) -> np.ndarray:
    """Heights at least `gap` apart, in the same order, that move the given ones as little as can be (least squares)."""
    order = np.argsort(heights, kind="stable")
    blocks: list[list[float]] = []  # labels that touch share one mean: "pool adjacent violators"
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = np.empty(len(heights))
    placed[order] = [np.mean(block) for block in blocks for _ in block] + gap * np.arange(len(heights))
    return placed


def label_ends(axis: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each (x, y, text, colour) right of the axes, tied to its point, none upon another."""
    ends = [end for end in ends if math.isfinite(end[1])]
    axis.figure.draw_without_rendering()  # only now the height of the axes is known
    low, high = axis.get_ylim()
    line = 1.35 * axis.figure.dpi * 11 / 72
    heights = spread([y for _, y, _, _ in ends], line * (high - low) / axis.get_window_extent().height)
    tie = dict(arrowstyle="-", lw=1, shrinkA=1, shrinkB=3)
    for (x, y, text, colour), height in zip(ends, heights):
        place = dict(xytext=(1.04, height), textcoords=axis.get_yaxis_transform(), va="center", annotation_clip=False)
        axis.annotate(text, (x, y), **place, fontsize=11, arrowprops=tie | dict(color=colour))
    axis.set_ylim(low, high)


@style.context(STYLE)
def pretraining_curves(
    runs: Mapping[str, Rows], path: str | os.PathLike | None = None, unigram: int | float | None = None
) -> Figure:
    """Held-out masked-word loss (nats) and next-sentence accuracy (95 % band, `wilson`) over millions of tokens.

    `runs`: name → rows of metrics.jsonl, each with tokens, mlm_loss, nsp_accuracy, pairs and, where known, seconds.
    `unigram`: the loss of guessing from word frequencies alone, as a dotted line. Minutes stand on a second axis, or
    in the legend where there are several runs. Raises InputError if there is nothing to draw or a number is missing.
    """
    if not runs:
        raise InputError("There are no runs to draw: give at least one, name → rows of its metrics.jsonl.")
    figure = new_picture(11, 4.9)
    loss, accuracy = figure.subplots(1, 2)
    loss_ends, accuracy_ends, handles = [], [(1, 0.5, "chance", GREY)], []
    for i, (name, rows) in enumerate(runs.items()):
        x, y, share, pairs = (
            numbers(rows, key, f"run {name!r}") for key in ("tokens", "mlm_loss", "nsp_accuracy", "pairs")
        )
        x, colour = x / 1e6, COLOURS[i % len(COLOURS)]
        timed = all("seconds" in row for row in rows)
        minutes = numbers(rows, "seconds", f"run {name!r}") / 60 if timed else None
        label = f"{name} ({minutes[-1]:.1f} min)" if timed and len(runs) > 1 else name
        drawn = dict(color=colour, marker=MARKERS[i % len(MARKERS)], label=label)
        handles += loss.plot(x, y, **drawn)
        accuracy.plot(x, share, **drawn)
        low, high = np.array([wilson(s * n, int(n)) for s, n in zip(share, pairs)]).T
        accuracy.fill_between(x, low, high, color=colour, alpha=0.16, lw=0)
        loss_ends.append((x[-1], y[-1], f"{y[-1]:.2f}", colour))
        accuracy_ends.append((x[-1], share[-1], f"{share[-1]:.1%}", colour))
    if unigram is not None:
        loss.axhline(unigram, color=GREY, ls=":")
        loss_ends.append((loss.get_xlim()[1], unigram, f"unigram {unigram:.2f}", GREY))
    accuracy.axhline(0.5, color=GREY, ls=":")
    accuracy_ends[0] = (accuracy.get_xlim()[1], *accuracy_ends[0][1:])
    loss.set_title("held-out masked-word loss (nats)")
    accuracy.set_title("held-out next-sentence accuracy (95 % band)")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axis, ends in ((loss, loss_ends), (accuracy, accuracy_ends)):
        axis.grid(axis="y")
        axis.set_xlim(axis.get_xlim())
        axis.set_xlabel("tokens seen (million)")
        if timed and len(runs) == 1:
            add_minutes(axis, x, minutes)
    if len(runs) > 1:
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    label_ends(loss, loss_ends)
    label_ends(accuracy, accuracy_ends)
    return finish(figure, path)


def add_minutes(axis: Axes, x: np.ndarray, minutes: np.ndarray) -> None:
    """A second scale above the axes, with whole minutes where they fell: the pace need not be even."""
    ticks = [t for t in MaxNLocator(6).tick_values(0, minutes[-1]) if minutes[0] <= t <= minutes[-1]]
    top = axis.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks, minutes, x), [f"{t:g}" for t in ticks])
    top.set_xlabel("minutes")
