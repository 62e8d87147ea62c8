"""Pictures with sliders for the notebooks: the softmax of scores, hidden words, and a bias by relative position.

Each function returns a picture with its sliders in Jupyter, if `ipywidgets` (in the extra `teach`) is installed. Otherwise, and
while the notebooks are built (`MINILM_BUILD=1`, so that a page without Python shows something), it returns the picture alone,
at the values where the sliders begin. The same values give the same picture.
"""

import importlib.util
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib import style

from minilm.errors import InputError
from minilm.viz.plots import COLOURS, STYLE, Picture
from minilm.viz.teaching import panels

# JupyterLab lets each slider call us in a thread of its own, and matplotlib's style is one for all threads: one at a time.
DRAWING = threading.Lock()
Slider = tuple[str, Sequence[Any], Any]  # what stands beside it, the values that it can take, and the first one


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z) / Σ exp(z) over the last axis; scores of −inf get weight 0."""
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def with_sliders(draw: Callable[..., Picture], **sliders: Slider) -> Any:
    """`draw(name=value, …)` with a slider for each name: (label, values, first value). Returns a widget or a `Picture`.

    Raises InputError if a first value is not among the values.
    """
    for name, (_, values, start) in sliders.items():
        if start not in values:
            raise InputError(f"the slider '{name}' cannot begin at {start}: it has the values {list(values)}.")
    first = {name: start for name, (_, _, start) in sliders.items()}
    if os.environ.get("MINILM_BUILD") == "1" or not importlib.util.find_spec("ipywidgets"):
        return draw(**first)
    ipywidgets = importlib.import_module("ipywidgets")  # it has no types, and may be absent
    image = ipywidgets.Image(value=draw(**first)._repr_png_(), format="png")
    image.layout.max_width = "100%"
    made = {
        name: ipywidgets.SelectionSlider(
            options=[(f"{value:g}" if isinstance(value, int | float) else str(value), value) for value in values],
            value=start,
            description=label,
            style={"description_width": "16em"},
            layout={"width": "34em"},
        )
        for name, (label, values, start) in sliders.items()
    }

    def redraw(_: object) -> None:
        with DRAWING:  # the values are read inside, so the last picture is that of the last values
            image.value = draw(**{name: slider.value for name, slider in made.items()})._repr_png_()

    for slider in made.values():
        slider.observe(redraw, names="value")
    return ipywidgets.VBox([*made.values(), image])


def temperature_and_root(S: int = 8, largest: int = 1024, seed: int = 0) -> Any:
    """One row of scores q·k (F18) and its weights: softmax(q·k / τ) beside softmax(q·k / (√D τ)). Sliders: D and τ.

    `q` [D] and `S` keys `k` [S, D] are the first D of `largest` normal numbers, drawn once from `seed`.
    """
    rng = np.random.default_rng(seed)
    q, k = rng.normal(size=largest), rng.normal(size=(S, largest))

    def draw(D: int, temperature: float) -> Picture:
        scores = k[:, :D] @ q[:D]
        rows = {"as they are": scores / temperature, "divided by √D": scores / np.sqrt(D) / temperature}
        picture, (left, right) = panels(1, 2, width=9.5, height=3.4)
        for at, ((name, row), colour) in enumerate(zip(rows.items(), COLOURS)):
            places, A = np.arange(1, S + 1) + 0.4 * at - 0.2, softmax(row)
            left.bar(places, row, 0.4, color=colour, label=name)  # so that it is hatched as on the right
            keys = np.exp(-(A * np.log(np.maximum(A, 1e-300))).sum())
            right.bar(places, A, 0.4, color=colour, label=f"{name}: like {keys:.1f} keys")
        left.axhline(0, color="black", lw=0.8)
        left.set(title=f"Scores, D = {D}, temperature {temperature:g}", xlabel="key", ylabel="score")
        right.set(
            title="Weights: their softmax", xlabel="key", ylabel="weight", ylim=(0, 1.45), yticks=np.linspace(0, 1, 5)
        )
        for axis in (left, right):
            axis.set_xticks(range(1, S + 1))
        right.legend(loc="upper center", fontsize=10)
        return picture

    sizes = [D for D in (1, 4, 16, 64, 256, 1024, 4096) if D <= largest]
    return with_sliders(
        draw,
        D=("size of a query, D", sizes, min(64, sizes[-1])),
        temperature=("temperature τ", (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0), 1.0),
    )


def hidden_words(words: Sequence[str], seed: int = 2) -> Any:
    """Which words of a text are hidden at a mask rate (F25), what the model sees, and what it must guess. Sliders: rate, draw.

    One number u per word decides: it is chosen if u < rate. Of the chosen words 80 % become [MASK], 10 % another word of the
    text and 10 % stay. Raises InputError if there are no words.
    """
    if not words:
        raise InputError("there are no words to hide: give a list of at least one word.")

    def draw(rate: int, number: int) -> Picture:
        rng = np.random.default_rng([seed, number])
        u, kind, other = rng.random(len(words)), rng.random(len(words)), rng.integers(len(words), size=len(words))
        chosen = u < rate / 100
        lines = list(rows_of(words))
        with style.context(STYLE):
            picture = Picture(9.5, 0.6 + 0.55 * len(lines))
            axis = picture.subplots()
        axis.set(xlim=(0, WIDTH), ylim=(0.45 - len(lines), 0.4), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        for line, row in enumerate(lines):
            for at, x in row:
                if not chosen[at]:
                    seen, colour, must = words[at], "#444444", ""
                elif kind[at] < 0.8:
                    seen, colour, must = "[MASK]", COLOURS[0], words[at]
                else:
                    seen, colour, must = words[other[at] if kind[at] < 0.9 else at], COLOURS[1], words[at]
                axis.text(
                    x, -line, seen, color=colour, family="monospace", fontsize=12, weight="bold" if must else "normal"
                )
                axis.text(x, -line - 0.4, must, color=colour, family="monospace", fontsize=10)
        title = (
            f"Mask rate {rate} %: {chosen.sum()} of {len(words)} words must be guessed (small), from the other words"
        )
        with style.context(STYLE):
            axis.set_title(title, fontsize=12, loc="left")
        return picture

    rates = (0, 5, 10, 15, 20, 30, 40, 50, 60, 80, 100)
    return with_sliders(draw, rate=("mask rate in percent", rates, 15), number=("another draw", range(1, 11), 1))


WIDTH = 84  # characters in a line of `hidden_words`


def rows_of(words: Sequence[str]) -> list[list[tuple[int, int]]]:
    """The lines into which the words are broken: for each word its number and the column at which it begins."""
    lines: list[list[tuple[int, int]]] = [[]]
    x = 0
    for at, word in enumerate(words):
        size = max(len(word), len("[MASK]")) + 1
        if lines[-1] and x + size > WIDTH:
            lines.append([])
            x = 0
        lines[-1].append((at, x))
        x += size
    return lines


def bias_and_attention(T: int = 16, seed: int = 0) -> Any:
    """A bias by relative position s − t, and the attention that it makes: softmax over s of content + bias. Three sliders.

    The bias is −strength · |s − t − centre|; the content, scores as two words have them, is normal numbers times a factor.
    """
    content = np.random.default_rng(seed).normal(size=(T, T))
    t, s = np.arange(T)[:, None], np.arange(T)
    distances = np.arange(1 - T, T)

    def draw(strength: float, centre: int, words: float) -> Picture:
        A = softmax(words * content - strength * np.abs(s - t - centre))
        picture, (left, right) = panels(1, 2, width=10.5, height=3.8)
        left.plot(distances, -strength * np.abs(distances - centre), "o-", ms=3, color=COLOURS[0])
        left.set(title="Bias: added to the score", xlabel="s − t: the key's place minus the query's", ylabel="bias")
        left.set_ylim(-max(4, strength * (T + 3)), 1 + strength)  # at least 4 high, so that a weak bias looks weak
        image = right.imshow(A, cmap="Blues", vmin=0, vmax=1)
        picture.colorbar(image, ax=right, label="weight")
        inside = (np.abs(s - t - centre) <= 1) * A
        right.set(
            title=f"{inside.sum() / T:.0%} of the weight within 1 of the centre", xlabel="key s", ylabel="query t"
        )
        ticks = range(0, T, max(1, T // 4))
        right.set_xticks(ticks, [str(tick + 1) for tick in ticks])
        right.set_yticks(ticks, [str(tick + 1) for tick in ticks])
        return picture

    return with_sliders(
        draw,
        strength=("strength of the bias", (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0), 0.5),
        centre=("centre: −1 is the word before", (-3, -2, -1, 0, 1, 2, 3), -1),
        words=("what the words say", (0.0, 0.5, 1.0, 2.0, 4.0), 1.0),
    )
