r"""Pictures: the curves of a pretraining, the ladder of models, maps of attention.

Each function returns a new `Figure` and, given a `path`, also writes it there as PNG; the same input gives the same bytes.
pyplot is never imported, and matplotlib's settings stay as they were, so that the reader's own plots do not change.

Letters:  T tokens · H heads · L layers
"""

import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from minilm.errors import InputError

# Okabe and Ito's colours, which the colour-blind can tell apart, without the yellow that is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # seven, so that the ninth line is not drawn like the first
STRONG, PALE, INK, GREY = "#4C9CC9", "#C3D3DE", "#222222", "#707070"
FONT = "DejaVu Sans"  # comes with matplotlib, so that pictures look the same everywhere
SETTINGS: dict[str, Any] = dict.fromkeys(["axes.spines.top", "axes.spines.right", "legend.frameon"], False)
SETTINGS |= {"font.family": FONT, "font.size": 12, "axes.titlesize": 12, "axes.titleweight": "bold"}
SETTINGS |= {"axes.titlelocation": "left", "axes.axisbelow": True, "grid.color": "#E4E4E4", "lines.linewidth": 2}
# matplotlib's defaults, then ours; a dollar sign starts no formula, because a token may be one
STYLE: list[str | dict[str, Any]] = ["default", SETTINGS | {"text.parse_math": False}]
# How the names of font families with Chinese characters begin. They are tried in this order when FONT lacks a character.
CHINESE_FONTS = (
    *("Noto Sans CJK", "Noto Sans SC", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "SimHei", "PingFang"),
    *("Hiragino Sans GB", "Heiti", "STHeiti", "Arial Unicode", "Droid Sans Fallback", "Noto Serif CJK", "SimSun"),
)
DOTS = 150  # per inch, in a notebook and in a file
STEPS, MOST_IN_KEY = (5, 10, 20, 50, 100, 200, 500), 150
NO_FONT = "No installed font has all of these characters, so the tokens are numbered in reading order."
CURVES = {
    "mlm_loss": "held-out masked-word loss (nats)",
    "nsp_accuracy": "held-out next-sentence accuracy (95 % band)",
    "loss": "held-out loss per token (nats)",
}
Rows = Sequence[Mapping[str, Any]]
Target = str | os.PathLike | None


class Picture(Figure):
    """A figure that a notebook shows as the value of a cell without pyplot. Sizes in inches."""

    def __init__(
        self, width: int | float, height: int | float, layout: Literal["constrained", "compressed"] = "constrained"
    ):
        super().__init__(figsize=(width, height), layout=layout)
        FigureCanvasAgg(self)

    def _repr_png_(self, dpi: int = DOTS) -> bytes:
        file = io.BytesIO()  # the metadata name no program and no time, so that the bytes stay the same
        with style.context(STYLE):
            self.savefig(file, format="png", dpi=dpi, metadata={"Software": None}, bbox_inches="tight", pad_inches=0.15)
        return file.getvalue()

    def written(self, path: Target) -> "Picture":
        if path is not None:
            growing = Path(f"{os.fspath(path)}.growing")
            growing.write_bytes(self._repr_png_())
            os.replace(growing, path)  # a run that is killed leaves the previous picture, not half of this one
        return self


def numbers(rows: Rows, key: str, where: str) -> np.ndarray:
    """What the rows hold under `key`, as floats; infinity, from a run that diverged, becomes a gap (NaN)."""
    if not rows:
        raise InputError(f"{where} has no rows, so there is nothing to draw: give it at least one.")
    for i, row in enumerate(rows, 1):
        if not isinstance(row.get(key), int | float | np.number):
            raise InputError(f"{where}, row {i}, needs a number under {key!r}; it has {dict(row)}.")
    return np.array([row[key] if math.isfinite(row[key]) else math.nan for row in rows], dtype=float)


def wilson(successes: int | float, n: int, z: int | float = 1.96) -> tuple[float, float]:
    r"""Wilson's interval for a share: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n) with p = successes / n.

    z = 1.96 covers 95 %. Unlike p ± z √(p(1−p)/n) it stays within 0 and 1 and does not shrink to nothing at p = 0 or 1.
    Raises InputError unless 0 ≤ successes ≤ n and n ≥ 1.  Source: Wilson (1927), JASA 22, 209–212.
    """
    if n < 1 or not 0 <= successes <= n:
        raise InputError(f"{successes} successes in {n} trials are no share: need 0 <= successes <= n and n >= 1.")
    p = successes / n
    middle, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return max(0.0, (middle - half) / (1 + z**2 / n)), min(1.0, (middle + half) / (1 + z**2 / n))


def spread(heights: Sequence[float], gap: float) -> np.ndarray:
    """Heights in the same order, at least `gap` apart and as close to the given ones as possible (least squares)."""
    order = np.argsort(heights, kind="stable")
    blocks: list[list[float]] = []  # labels that touch share one mean: "pool adjacent violators"
    for rank, i in enumerate(order):
        blocks.append([heights[i] - rank * gap])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = np.array([np.mean(block) for block in blocks for _ in block]) + gap * np.arange(len(heights))
    return placed[np.argsort(order)]


def label_ends(axis: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write the text of each (x, y, text, colour) to the right of the axes, with a line to its point and without overlaps."""
    ends = [end for end in ends if math.isfinite(end[1])]
    axis.set(xlim=axis.get_xlim(), ylim=axis.get_ylim())  # the limits are fixed from here on
    figure = axis.figure
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # only now is the height of the axes known
    row = 1.35 * 11 / 72 * figure.dpi / axis.get_window_extent().height * np.ptp(axis.get_ylim())
    for (x, y, text, colour), height in zip(ends, spread([y for _, y, _, _ in ends], row)):
        place: dict[str, Any] = dict(
            xytext=(1.04, height), textcoords=axis.get_yaxis_transform(), va="center", annotation_clip=False
        )
        tie = dict(arrowstyle="-", lw=1, shrinkA=1, shrinkB=3, relpos=(0, 0.5), color=colour)
        axis.annotate(text, (x, y), **place, fontsize=11, arrowprops=tie)


def reached(rows: Rows, level: int | float, x: str = "step", y: str = "mlm_loss") -> float | None:
    """The x at which a falling curve of measurements first reaches `level`, on the straight line between two of them.

    A loss falls ever more slowly, so it lies below that line: the x is a little too late rather than too early. None if no
    measurement is so low. Raises InputError for a missing number.
    """
    xs, ys = numbers(rows, x, "the run"), numbers(rows, y, "the run")
    low = np.flatnonzero(ys <= level)
    if not low.size:
        return None
    i = int(low[0])
    if i == 0 or not ys[i - 1] > level:  # the first measurement, or one after a gap
        return float(xs[i])
    return float(xs[i - 1] + (xs[i] - xs[i - 1]) * (ys[i - 1] - level) / (ys[i - 1] - ys[i]))


@style.context(STYLE)
def pretraining_curves(
    runs: Mapping[str, Rows],
    path: Target = None,
    unigram: int | float | None = None,
    curves: Sequence[str] = ("mlm_loss", "nsp_accuracy"),
    until: str | None = None,
) -> Picture:
    """Held-out masked-word loss (nats) and next-sentence accuracy (95 % band: `wilson`) over millions of tokens.

    `runs`: name → rows of metrics.jsonl, each with tokens, mlm_loss, nsp_accuracy, pairs and, where known, seconds.
    `curves`: which figures to draw, side by side, if not those two (see `CURVES`).
    `unigram`: the loss of guessing by word frequency alone, a dotted line. Minutes stand on a second scale, or in
    the legend where there are several runs. `until` names a run whose final loss is drawn across, with the place where each
    of the others reaches it. Raises InputError if there is nothing to draw or a number is missing.
    """
    if not runs:
        raise InputError("There are no runs to draw: give at least one, name → rows of its metrics.jsonl.")
    figure = Picture(5.5 * len(curves), 4.9)
    axes = figure.subplots(1, len(curves), squeeze=False)[0]
    ends: list[list] = [[] for _ in curves]
    for i, (name, rows) in enumerate(runs.items()):
        x, *values = (numbers(rows, key, f"run {name!r}") for key in ("tokens", *curves))
        x, colour, timed = x / 1e6, COLOURS[i % len(COLOURS)], all("seconds" in row for row in rows)
        minutes = numbers(rows, "seconds", f"run {name!r}") / 60 if timed else None
        for axis, key, y, end in zip(axes, curves, values, ends):
            axis.plot(x, y, color=colour, marker=MARKERS[i % len(MARKERS)])
            end.append((x[-1], y[-1], f"{y[-1]:.1%}" if key == "nsp_accuracy" else f"{y[-1]:.2f}", colour))
            if key == "nsp_accuracy":
                pairs = numbers(rows, "pairs", f"run {name!r}")
                band = np.array([wilson(s * n, int(n)) for s, n in zip(y, pairs)])
                axis.fill_between(x, *band.T, color=colour, alpha=0.16, lw=0)
            if minutes is not None and len(runs) == 1:
                whole = [t for t in MaxNLocator(6).tick_values(0, minutes[-1]) if minutes[0] <= t <= minutes[-1]]
                top = axis.secondary_xaxis("top", xlabel="minutes")  # where each minute fell, since the pace may vary
                top.set_xticks(np.interp(whole, minutes, x), [f"{t:g}" for t in whole])
        axes[0].lines[-1].set_label(f"{name} ({minutes[-1]:.1f} min)" if minutes is not None else name)
    if len(runs) > 1:
        figure.legend(handles=list(axes[0].lines), loc="outside lower center", ncols=2)
    if until is not None:
        mark_crossings(axes[0], runs, until, curves[0])
    for axis, key, end in zip(axes, curves, ends):
        axis.set_title(CURVES[key])
        level, text = (0.5, "chance") if key == "nsp_accuracy" else (unigram, "unigram {:.2f}")
        if key == "nsp_accuracy":
            axis.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
            axis.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g}%")
        if level is not None:
            axis.axhline(level, color=GREY, ls=":")
            end.append((axis.get_xlim()[1], float(level), text.format(level), GREY))
        axis.grid(axis="y")
        axis.set_xlabel("tokens seen (million)")
        label_ends(axis, end)
    return figure.written(path)


def mark_crossings(axis: Axes, runs: Mapping[str, Rows], until: str, key: str) -> None:
    """A line across at the final loss of the run `until`, and where the others reach it: after which step and minute."""
    if until not in runs:
        raise InputError(f"There is no run {until!r} to compare with: choose one of {', '.join(map(repr, runs))}.")
    level = float(runs[until][-1][key])
    axis.axhline(level, color=GREY, ls="--", lw=1)
    for i, (name, rows) in enumerate(runs.items()):
        tokens, step, seconds = (reached(rows, level, x, key) for x in ("tokens", "step", "seconds"))
        if name != until and tokens is not None and step is not None and seconds is not None:
            text = f"{level:.2f} after step {step:,.0f}, {seconds / 60:.1f} min"
            axis.plot(tokens / 1e6, level, "o", color=COLOURS[i % len(COLOURS)], mfc="white", ms=9, zorder=3)
            axis.annotate(text, (tokens / 1e6, level), (10, 12 + 16 * i), textcoords="offset points", fontsize=11)


@style.context(STYLE)
def ladder(rows: Rows, path: Target = None, metric: str = "accuracy", title: str | None = None) -> Picture:
    """The models side by side: mean over the seeds, each seed as a dot, ± one standard deviation (n − 1) as a whisker.

    `rows`: one for each model, number of labels and seed, with keys model, labels and the `metric` (accuracy or f1, 0
    to 1). One number of labels gives bars in the order of first appearance, several give one line a model over the
    labels; models with "pretrained" in their name stand out. Raises InputError for no rows or a missing number.
    """
    labels, values = numbers(rows, "labels", "the ladder"), numbers(rows, metric, "the ladder")
    if not all("model" in row for row in rows):
        raise InputError("A row of the ladder has no 'model': let every row name its model.")
    models, scores = np.array([str(row["model"]) for row in rows]), {}
    for name in dict.fromkeys(models):
        mine = [(n, values[(models == name) & (labels == n)]) for n in np.unique(labels[models == name])]
        scores[name] = [(n, seeds, seeds.mean(), seeds.std(ddof=min(1, len(seeds) - 1))) for n, seeds in mine]
    sizes, metric = np.unique(labels), {"f1": "F1"}.get(metric, metric)
    return (bars if len(sizes) == 1 else lines)(scores, sizes, metric, title).written(path)


def bars(scores: dict[str, list[tuple]], sizes: np.ndarray, metric: str, title: str | None) -> Picture:
    figure = Picture(10, 1.5 + 0.46 * len(scores))
    axis = figure.subplots()
    for i, (name, [(_, seeds, mean, std)]) in enumerate(scores.items()):
        axis.barh(i, mean, height=0.7, color=STRONG if "pretrained" in name else PALE)
        if len(seeds) > 1:
            axis.errorbar(mean, i + 0.2, xerr=std, color=INK, lw=1.5)
            axis.plot(seeds, i + np.linspace(-0.25, 0.05, len(seeds)), "o", color="white", mec=INK, ms=4.5)
        text, reach = f"{mean:.3f}" + f" ± {std:.3f}" * (len(seeds) > 1), max(seeds.max(), mean + std)
        axis.annotate(text, (reach, i), (8, 0), textcoords="offset points", va="center", annotation_clip=False)
    axis.set(ylim=(len(scores) - 0.5, -0.5), xlim=(0, min(1.0, axis.get_xlim()[1])))  # the first model on top
    axis.set_yticks(range(len(scores)), scores)
    axis.grid(axis="x")
    axis.set(title=title or f"{metric} with {sizes[0]:,.0f} labels")
    axis.set(xlabel=metric + " (dots: seeds, whisker: standard deviation)" * bool(axis.lines))
    return figure


def lines(scores: dict[str, list[tuple]], sizes: np.ndarray, metric: str, title: str | None) -> Picture:
    figure = Picture(10, max(5.0, 1.8 + 0.3 * len(scores)))
    axis, ends = figure.subplots(), []
    for i, (name, points) in enumerate(scores.items()):
        colour = COLOURS[(i - 1) % len(COLOURS)]  # the first row, which the others should beat, is grey
        aside = 1.012 ** (i - (len(scores) - 1) / 2)  # whiskers stand beside each other
        x, y, std = zip(*[(n * aside, mean, std) for n, _, mean, std in points])
        drawn: dict[str, Any] = dict(
            color=colour, marker=MARKERS[i % len(MARKERS)], lw=3 if "pretrained" in name else 1.6
        )
        axis.errorbar(x, y, yerr=std, elinewidth=1.2, **drawn)
        ends.append((x[-1], y[-1], f"{name}  {y[-1]:.3f}", colour))
    axis.set(xscale="log", xlabel="labels", title=title or f"{metric} (mean and standard deviation over seeds)")
    close = [later < 1.5 * size for size, later in pairwise([*sizes, np.inf])]  # two numbers there would overlap
    axis.set_xticks(sizes, ["" if hidden else f"{size:,.0f}" for size, hidden in zip(sizes, close, strict=True)])
    axis.minorticks_off()
    axis.grid(axis="y")
    label_ends(axis, ends)
    return figure


def fonts_for(text: str) -> list[str] | None:
    """Fonts that together have every character of `text`: matplotlib's own and, if needed, one more. None if there are none."""
    installed = sorted({font.name for font in font_manager.fontManager.ttflist})
    more = [name for start in CHINESE_FONTS for name in installed if name.startswith(start)]
    for families in ([FONT], *([FONT, name] for name in more)):
        paths = [font_manager.findfont(FontProperties(family=name)) for name in families]
        if {ord(c) for c in text} <= {code for path in paths for code in font_manager.get_font(path).get_charmap()}:
            return families
    return None


def tick_labels(tokens: Sequence[str], room: float) -> tuple[list[int], list[str], dict, str]:
    """The places, the labels, their text options and a note, for an axis with `room` for letters of that many points.

    If no font has all the characters, the tokens are numbered, because boxes all look alike. If there is no room, every
    fifth one is numbered (or tenth, or twentieth …, so that numbers do not touch), and the note is the key to all of them, as
    long as a key can be read.
    """
    fonts = fonts_for("".join(tokens))
    words = [word if fonts else f"{i} {word}" if fonts_for(word) else f"{i}" for i, word in enumerate(tokens, 1)]
    how, note = dict(fontfamily=fonts or [FONT], fontsize=room), "" if fonts else NO_FONT
    if room >= 5:
        return list(range(len(words))), words, how, note
    step = next((step for step in STEPS if step * room >= 8), STEPS[-1])
    places = [0, *range(step - 1, len(words), step)]
    key = "   ".join(f"{i}\u00a0{word}" for i, word in enumerate(words, 1))
    if len(words) > MOST_IN_KEY:
        key = f"The {len(words)} tokens are too many to be named here; they are numbered in reading order."
    return places, [f"{i + 1}" for i in places], how | dict(fontsize=9), note or key


def largest_in_blocks(weights: np.ndarray, k: int) -> np.ndarray:
    """The largest weight in each block of k × k cells, [T, T] → [⌈T/k⌉, ⌈T/k⌉]; the blocks at the edges may be smaller."""
    T = len(weights)
    padded = np.pad(weights, (0, -T % k), constant_values=-np.inf)
    return padded.reshape(len(padded) // k, k, -1, k).max(axis=(1, 3))


@style.context(STYLE)
def attention_maps(
    tokens: Sequence[str], layers: Sequence[ArrayLike], path: Target = None, title: str | None = None, side: float = 0.0
) -> Picture:
    """Heat maps of attention, a row for each layer and a column for each head, all on one scale of colour from 0 up.

    `layers`: weights [H, T, T] of each layer; row = the token that looks, column = the token looked at. Words stand
    along the outer edge, or numbers where words would be too small to read or no installed font has them. `side` is the
    size of a map in inches; if it is not given, the map is as large as words need and a page allows. If a weight would be
    smaller than two dots, each cell shows the largest of several weights, and the picture says so. Raises InputError
    if there are no tokens or layers, or for another shape.
    """
    weights, T = [np.asarray(layer, dtype=float) for layer in layers], len(tokens)
    if not weights or not T:
        raise InputError("There is no attention to draw: give at least one token and one layer of weights.")
    for i, layer in enumerate(weights, 1):
        if layer.ndim != 3 or layer.shape != (len(weights[0]), T, T) or not layer.size:
            right = f"heads x {T} x {T} for {T} tokens, and as many heads as layer 1"
            raise InputError(f"Layer {i} has weights of shape {layer.shape}: give {right}.")
    L, H, top = len(weights), len(weights[0]), max(map(np.max, weights)) or 1
    side = side or min(max(0.22 * T, min(2.4, 14 / H)), 20 / H)
    figure = Picture(side * H + 2, side * 1.1 * L + 1.6, "compressed")
    axes, size = figure.subplots(L, H, squeeze=False), min(16.0, max(11.0, 0.85 * (side * H + 2)))
    places, words, how, note = tick_labels(tokens, min(size, 0.8 * 72 * side / T))
    k = math.ceil(2 * T / (DOTS * side))
    if k > 1:
        note = f"Each cell shows the largest of {k} × {k} weights. {note}"
    end = -(-T // k) * k - 0.5
    for (i, j), axis in np.ndenumerate(axes):
        cells = largest_in_blocks(weights[i][j], k)
        image = axis.imshow(
            cells, cmap="Blues", vmin=0, vmax=top, interpolation="nearest", extent=(-0.5, end, end, -0.5)
        )
        axis.set(xlim=(-0.5, T - 0.5), ylim=(T - 0.5, -0.5))
        axis.spines[:].set(visible=True, color="#C8C8C8")
        axis.tick_params(length=0)
        axis.set_xticks(places if i == L - 1 else [], words if i == L - 1 else [], **how, rotation=90)
        axis.set_yticks(places if j == 0 else [], words if j == 0 else [], **how)
        for label in axis.get_xticklabels():
            if len(label.get_text()) == 1 and not label.get_text().isascii():
                label.set_rotation(0)  # one Chinese character stands upright
        named = dict(fontsize=min(size, 6.2 * side), fontweight="normal", loc="center")
        axis.set_title(f"layer {i + 1} · head {j + 1}" * (L * H > 1), **named)
    figure.colorbar(image, ax=axes, aspect=15 * L, pad=0.02, fraction=0.04).set_label("weight", size=size)
    write_around(figure, note, title or "", how["fontfamily"], size)
    return figure.written(path)


def write_around(figure: Picture, note: str, title: str, fonts: list[str], size: float) -> None:
    """Write what rows and columns are, the note and the title, close to the finished maps."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    inches, box, panels = figure.get_size_inches(), figure.get_tightbbox(), [a.get_position() for a in figure.axes[:-1]]
    (left, low), (_, high) = (box.p0 - 0.1) / inches, (box.p1 + 0.1) / inches
    x, y = (panels[0].x0 + panels[-1].x1) / 2, (panels[0].y1 + panels[-1].y0) / 2
    below = "token looked at\n\n" + textwrap.fill(note, int(inches[0] * 115 / size))
    figure.text(x, low, below.strip(), ha="center", va="top", fontfamily=fonts, fontsize=size)
    figure.text(left, y, "token that looks", ha="right", va="center", rotation=90, fontsize=size)
    if found := fonts_for(title):
        figure.text(x, high, title, ha="center", fontfamily=found, fontsize=size)


def head_map(tokens: Sequence[str], weights: ArrayLike, path: Target = None, title: str | None = None) -> Picture:
    """One head in large: `weights` [T, T], row = the token that looks. With up to 12 tokens the weights stand in the cells.

    Raises InputError if there are no tokens, or for another shape.
    """
    weights, T = np.asarray(weights, dtype=float), len(tokens)
    figure = attention_maps(tokens, [weights[None]], title=title, side=max(3.0, 0.36 * T))
    for (i, j), weight in np.ndenumerate(weights if T <= 12 else weights[:0]):
        how: dict[str, Any] = dict(color="white" if weight > 0.6 * weights.max() else INK, fontsize=9, fontfamily=FONT)
        figure.axes[0].text(j, i, f"{weight:.2f}".removeprefix("0"), ha="center", va="center", **how)
    return figure.written(path)
