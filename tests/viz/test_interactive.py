"""The pictures with sliders: deterministic, the same with and without ipywidgets, redrawn when a slider moves."""

import importlib.util
import sys
import threading
from types import ModuleType

import matplotlib
import numpy as np
import pytest

from minilm.errors import InputError
from minilm.viz import interactive
from minilm.viz.plots import Picture

WORDS = "the acting was wonderful and the story is so moving that nobody wanted to leave".split()
PIECES = {
    "temperature_and_root": lambda: interactive.temperature_and_root(S=5, largest=64),
    "hidden_words": lambda: interactive.hidden_words(WORDS),
    "bias_and_attention": lambda: interactive.bias_and_attention(T=7),
}
by_piece = pytest.mark.parametrize("made", PIECES.values(), ids=PIECES)


@pytest.fixture
def absent(monkeypatch):
    """A Python in which ipywidgets is not installed."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ipywidgets" else found(name))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    monkeypatch.setenv("MINILM_BUILD", "0")


class Control:
    """What the code uses of a widget: its options, its value, and who is told when the value changes."""

    def __init__(self, children=(), **options):
        self.children, self.told = children, []
        self.layout = ModuleType("layout")
        for name, value in options.items():
            if name != "layout":
                object.__setattr__(self, name, value)

    def observe(self, told, names):
        assert names == "value"
        self.told.append(told)

    def move(self, value):
        assert value in [option[1] for option in self.options]
        self.value = value
        for told in self.told:
            told({"new": value})


@pytest.fixture
def present(monkeypatch):
    """Widgets that need no browser, whether ipywidgets is installed or not."""
    stand_in = ModuleType("ipywidgets")
    stand_in.Image = stand_in.SelectionSlider = stand_in.VBox = Control
    monkeypatch.setitem(sys.modules, "ipywidgets", stand_in)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: stand_in if name == "ipywidgets" else found(name))
    monkeypatch.setenv("MINILM_BUILD", "0")


@by_piece
def test_without_ipywidgets_it_is_a_picture(absent, made):
    assert isinstance(made(), Picture) and made()._repr_png_() == made()._repr_png_()


@by_piece
def test_a_built_page_shows_the_picture(present, made, monkeypatch):
    with_sliders = made().children[-1].value
    monkeypatch.setenv("MINILM_BUILD", "1")
    assert isinstance(made(), Picture) and made()._repr_png_() == with_sliders


@by_piece
def test_every_slider_redraws_the_picture_and_back_again(present, made):
    *sliders, image = made().children
    first = image.value
    assert len(sliders) in (2, 3) and all(slider.description for slider in sliders)
    for slider in sliders:
        start = slider.value
        slider.move(slider.options[0][1] if slider.options[0][1] != start else slider.options[-1][1])
        assert image.value != first
        slider.move(start)
        assert image.value == first


@by_piece
def test_the_real_widgets_do_the_same(made, monkeypatch):
    pytest.importorskip("ipywidgets", reason="in the extra 'teach'; without it, the pictures stand still (2026-11-26)")
    monkeypatch.setenv("MINILM_BUILD", "0")
    *sliders, image = made().children
    first, slider = image.value, sliders[0]
    start = slider.value
    slider.value = slider.options[-1][1] if slider.options[-1][1] != start else slider.options[0][1]
    assert image.value != first
    slider.value = start
    assert image.value == first


def captured(monkeypatch, make):
    """The function that draws a piece."""
    found = []
    monkeypatch.setattr(interactive, "with_sliders", lambda draw, **sliders: found.append(draw))
    make()
    return found[0]


def test_the_scores_spread_like_the_root_of_D(monkeypatch):
    draw = captured(monkeypatch, lambda: interactive.temperature_and_root(S=400, largest=1024))
    for D in (16, 256):
        left, right = draw(D, 1.0).axes
        plain, divided = ([bar.get_height() for bar in bars] for bars in left.containers)
        assert np.std(plain) / np.sqrt(D) == pytest.approx(np.std(divided))
        assert 0.6 < np.std(divided) < 1.4  # |q|² / D is near 1
        for row, bars in zip((plain, divided), right.containers):
            e = [np.exp(z) for z in row]
            assert [bar.get_height() for bar in bars] == pytest.approx([x / sum(e) for x in e])
    cold, warm = (max(bar.get_height() for bar in draw(64, tau).axes[1].containers[1]) for tau in (0.1, 10.0))
    assert cold > 0.9 and warm < 0.01


def test_the_mask_rate_hides_more_and_never_shows_a_hidden_word_again(monkeypatch):
    words = [f"w{i}" for i in range(400)]
    draw = captured(monkeypatch, lambda: interactive.hidden_words(words))
    before: set[int] = set()
    for rate in (0, 15, 40, 100):
        texts = draw(rate, 1).axes[0].texts
        must = {i for i, text in enumerate(texts[1::2]) if text.get_text()}
        seen = [text.get_text() for text in texts[::2]]
        assert before <= must and len(must) / 400 == pytest.approx(rate / 100, abs=0.08)
        assert all(texts[2 * i + 1].get_text() == words[i] for i in must)
        assert all(seen[i] == words[i] for i in range(400) if i not in must)
        if must:
            assert sum(seen[i] == "[MASK]" for i in must) / len(must) == pytest.approx(0.8, abs=0.13)
        before = must
    with pytest.raises(InputError, match="no words to hide"):
        interactive.hidden_words([])


def test_no_two_words_overlap():
    for line in interactive.rows_of(["a" * n for n in (3, 20, 9, 60, 1, 77, 2)] + ["b"] * 40):
        assert all(right - left > 6 for (_, left), (_, right) in zip(line, line[1:]))  # "[MASK]" and a space
    numbers = [at for line in interactive.rows_of(["word"] * 30) for at, _ in line]
    assert numbers == list(range(30))


def test_a_strong_bias_decides_alone(monkeypatch):
    draw = captured(monkeypatch, lambda: interactive.bias_and_attention(T=9))
    A = draw(4.0, -1, 0.0).axes[1].images[0].get_array()
    assert A.shape == (9, 9) and np.allclose(A.sum(axis=1), 1)
    assert [row.argmax() for row in A] == [0, *range(8)]  # everybody looks at the place before
    flat = draw(0.0, 2, 0.0).axes[1].images[0].get_array()
    assert np.allclose(flat, 1 / 9)
    assert np.allclose(A[4, 2] / A[4, 3], np.exp(-4))


def test_a_slider_that_cannot_begin_there_is_named():
    with pytest.raises(InputError, match="the slider 'x' cannot begin at 3: it has the values"):
        interactive.with_sliders(lambda x: None, x=("x", (1, 2), 3))


def test_two_sliders_that_move_at_once_leave_the_last_picture_and_the_readers_settings(present):
    left, right, image = interactive.temperature_and_root(S=5, largest=64).children
    first, settings = image.value, dict(matplotlib.rcParams)
    ways = ((left, (1, 16, left.value)), (right, (0.1, 10.0, right.value)))
    threads = [threading.Thread(target=lambda s=s, way=way: [s.move(v) for v in way]) for s, way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert image.value == first and dict(matplotlib.rcParams) == settings
