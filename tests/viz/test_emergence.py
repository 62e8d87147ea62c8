"""The pictures of the emergence lab: which moments a film shows, and what cannot be drawn.  F36."""

import numpy as np
import pytest

from minilm.errors import InputError
from minilm.viz.emergence import attention_film, losses_and_scores, moments


def test_F36_a_film_shows_where_the_loss_falls():
    loss = [4.0] * 10 + [3.0, 2.0, 1.0, 0.0] + [0.0] * 10
    chosen = moments(loss)
    assert chosen[0] == 0 and chosen[-1] == 23 and {10, 11, 12, 13} <= set(chosen) | {13} and len(chosen) <= 6
    assert sum(9 <= place <= 13 for place in chosen) >= 3
    assert moments([2.0]) == [0] and moments([1.0, 1.0, 1.0]) == [0, 2]
    noisy = [4.0, 4.2, 3.9, 4.1, 2.0, 2.2, 0.1]
    assert moments(noisy) == sorted(set(moments(noisy)))


def test_F36_what_cannot_be_drawn_is_said():
    with pytest.raises(InputError, match="no curves"):
        losses_and_scores([], "loss", ())
    square = np.eye(3)
    for rows, loss in (
        ({}, ()),
        ({"a": []}, ()),
        ({"a": [(0, square)], "b": []}, ()),
        ({"a": [(0, square)]}, (1.0, 2.0)),
    ):
        with pytest.raises(InputError, match="no film"):
            attention_film(rows, loss=loss)


def test_F36_every_moment_of_a_film_says_its_step_and_its_loss_once():
    frames = [(10 * k, np.eye(3)) for k in range(4)]
    figure = attention_film({"one": frames, "other": frames}, loss=(3.0, 2.0, 1.0, 0.0))
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [f"step {10 * k}\n{3 - k:.2f} nats" for k in range(4)] + [""] * 4


@pytest.mark.parametrize("arms", [4, 5])
def test_F36_no_arm_has_the_colour_of_a_score(arms):
    curves = [{"arm": f"arm {k}", "step": [0, 1], "loss": [2.0, 1.0]} for k in range(arms)]
    figure = losses_and_scores([curves[0] | {"a": [0, 1], "b": [1, 0]}, *curves[1:]], "loss", ("a", "b"))
    colours = [line.get_color() for axis in figure.axes for line in axis.get_lines()]
    assert len(colours) == len(set(colours)) == arms + 2
