"""The strip: what is in which cell; only your eyes can judge how it looks."""

import pytest
from matplotlib.patches import Rectangle

from minilm.errors import InputError
from minilm.viz import strip as module
from minilm.viz.strip import CELL, COLUMNS, TEXT, chosen_steps, strip


def rows(steps, texts=("it was [MASK] .", "a [MASK] film")):
    guesses = [["good", 0.5], ["bad", 0.25], ["the", 0.125], ["fourth", 0.06]]
    return [{"step": step, "text": text, "mask": 1, "guesses": guesses} for step in steps for text in texts]


def test_each_cell_has_three_guesses_and_bars_as_long_as_their_probability():
    figure = strip(rows((0, 10)))
    (axis,) = figure.axes
    said = [text.get_text() for text in axis.texts]
    assert said.count("good") == said.count("bad") == said.count("the") == 4 and "fourth" not in said
    assert {"step 0", "step 10", "50%", "25%", "12%", "it was [MASK] ."} <= set(said)
    bars = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    assert [round(bar.get_width() / (CELL - 0.12), 3) for bar in bars[:3]] == [0.5, 0.25, 0.125]
    assert {round(bar.get_x(), 3) for bar in bars} == {round(TEXT, 3), round(TEXT + CELL, 3)}


@pytest.mark.parametrize("count", [1, 2, 6, 7, 13, 100])
def test_the_columns_are_the_first_the_last_and_some_between(count):
    steps = [500 * i for i in range(count)]
    chosen = chosen_steps(steps)
    assert chosen == sorted(set(chosen)) and set(chosen) <= set(steps) and len(chosen) == min(count, COLUMNS)
    assert chosen[0] == 0 and chosen[-1] == steps[-1]
    gaps = [b - a for a, b in zip(chosen, chosen[1:])]
    assert count < 12 or gaps[0] < gaps[-1]


def test_two_masks_of_a_sentence_are_two_rows():
    both = [row | {"mask": mask} for mask in (1, 2) for row in rows((0, 5), ("[MASK] was [MASK]",))]
    said = [text.get_text() for text in strip(both).axes[0].texts]
    assert "[MASK] was [MASK] (1)" in said and "[MASK] was [MASK] (2)" in said


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    for wrong in ([], rows((0, 5))[:-1]):
        with pytest.raises(InputError, match="There is no strip to draw"):
            strip(wrong)
    monkeypatch.setattr(module, "fonts_for", lambda text: None)
    with pytest.raises(InputError, match="No installed font"):
        strip(rows((0,)))


def test_the_picture_is_written(tmp_path):
    strip(rows((0, 10)), tmp_path / "strip.png")
    assert (tmp_path / "strip.png").read_bytes().startswith(b"\x89PNG")
