"""The picture of learning in the prompt.  F36."""

import pytest

from minilm.errors import InputError
from minilm.viz.shots import errors_by_examples


def test_F36_every_arm_and_both_baselines_are_drawn_once():
    curve = [{"step": 0, "error": 1.0}, {"step": 5, "error": 0.5}]
    base = {"least squares": [1.0, 9.0, 0.5], "ridge": [1.0, 0.7, 0.4]}
    records = [{"arm": f"arm {k % 2}", "curve": curve, "by shots": [1.0, 0.8 + k / 10, 0.6]} | base for k in range(4)]
    figure = errors_by_examples(records, "error")
    left, right = figure.axes
    assert len(left.get_lines()) == 4 and left.get_ylim() == (0, 1.25)
    drawn = {line.get_label(): list(line.get_ydata()) for line in right.get_lines()}
    assert drawn == {
        "arm 0": pytest.approx([1.0, 0.9, 0.6]),
        "arm 1": pytest.approx([1.0, 1.0, 0.6]),
        "least squares": base["least squares"],
        "ridge": base["ridge"],
    }
    with pytest.raises(InputError, match="no errors"):
        errors_by_examples([], "error")
