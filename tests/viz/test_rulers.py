"""Pictures of several rulers and of a loss law: every run is drawn, a name keeps its colour, and what cannot be drawn.  F36."""

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.viz.rulers import law, over_steps

X = [1, 10, 100]


def test_F36_a_name_has_the_same_colour_in_every_panel_and_every_run_a_line():
    figure = over_steps(
        {"one": {"a": [(X, X), (X, X)], "b": [(X, X)]}, "other": {"b": [(X, X)], "many": [(X, X)] * 5}}, thin="many"
    )
    left, right = (axis.get_lines() for axis in figure.axes)
    assert (len(left), len(right)) == (3, 6) and all(axis.get_xscale() == "log" for axis in figure.axes)
    assert left[0].get_color() == left[1].get_color() != left[2].get_color() == right[0].get_color()
    assert {line.get_linewidth() for line in right[1:]} == {0.7}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "many"]
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["one", "other"]


def test_F36_a_law_shows_every_run_and_the_one_that_was_left_out():
    runs = [(n, d, 3.0 - n / 100 + 10 / d, 3.0 - n / 100 + 11 / d) for d in (20, 10) for n in (7, 5, 6)]
    figure = law(runs, (12, 2.5, 2.6), floor=1.9)
    left, right = figure.axes
    points = [line for line in left.get_lines() if line.get_marker() == "o"]
    assert [sorted(line.get_xdata()) for line in points] == [[5, 6, 7]] * 2
    assert sum(len(line.get_xdata()) for line in right.get_lines() if line.get_marker() == "o") == len(runs)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["10 tokens", "20 tokens"] and labels[-1] == "entropy of the source"
    predicted = next(line for line in left.get_lines() if line.get_label() == "the forty-first, predicted")
    assert (float(np.ravel(predicted.get_xdata())[0]), float(np.ravel(predicted.get_ydata())[0])) == (12.0, 2.6)


def test_F36_the_labels_of_a_short_axis_are_powers_in_unicode():
    figure = law([(n, 10, 3.0, 3.0) for n in (6_000, 15_000)], (40_000, 2.5, 2.6))
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    labels = [text.get_text() for minor in (False, True) for text in axis.get_ticklabels(minor=minor)]
    assert "10⁴" in labels and not any("$" in label for label in labels)


def test_F36_no_rulers_and_no_runs_are_said():
    for panels in ({}, {"one": {}}, {"one": {"a": []}}):
        with pytest.raises(InputError, match="no curves"):
            over_steps(panels)
    with pytest.raises(InputError, match="no runs"):
        law([], (1, 1, 1))
