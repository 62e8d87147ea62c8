"""The judge of the exercises notices mistakes that pass, wrong names and correct styles that are rejected."""

from dataclasses import replace

import numpy as np

from minilm.exercises.catalogue import load
from minilm.exercises.quality.judge import judge, misnamed_pairs
from minilm.exercises.spec import Wrong
from minilm.formulas.cross_entropy import softmax

SOFTMAX = load("softmax")


def test_a_mistake_that_passes_is_a_lapse():
    exercise = replace(SOFTMAX, wrong={"fine": Wrong("nothing is wrong", "is it?", code=softmax)})
    judged = judge(exercise, [3])
    assert judged.rejected == judged.named == 0 and judged.lapses == ["softmax: the mistake fine passes (seed 3)"]


def test_a_mistake_that_cannot_be_told_from_another_is_a_lapse_unless_they_are_declared_one_family():
    twin = Wrong("the same once more", "is it?", code=SOFTMAX.mistake("axis_0")["softmax"])
    wrong = {"axis_0": SOFTMAX.wrong["axis_0"], "twin": twin}
    judged = judge(replace(SOFTMAX, wrong=wrong), [0])
    assert judged.rejected == 2 and judged.named == 0
    assert "softmax: the mistake axis_0 is called axis_0, twin (seed 0)" in judged.lapses[0]
    together = {key: replace(mistake, family="first axis") for key, mistake in wrong.items()}
    assert judge(replace(SOFTMAX, wrong=together), [0]).lapses == []


def test_a_right_style_that_is_refused_is_a_lapse():
    judged = judge(replace(SOFTMAX, wrong={}, right={"zeros": np.zeros_like, "right": softmax}), [0])
    assert judged.accepted == 1 and "the right style 'zeros' is refused (seed 0)" in judged.lapses[0]


def test_no_pair_of_mistakes_is_given_a_name_that_it_does_not_deserve():
    """The pairs of a function and of a class; of the latter, with a third of its mistakes. `minilm exercise quality` takes all."""
    adamw = load("adamw")
    for exercise in (SOFTMAX, replace(adamw, wrong=dict([*adamw.wrong.items()][::3]))):
        count, misnamed = misnamed_pairs(exercise)
        assert count >= 10 and misnamed == []


def test_a_pair_under_a_wrong_name_is_seen(monkeypatch):
    monkeypatch.setattr("minilm.exercises.diagnosis.common", lambda found: ("no_max",))
    count, misnamed = misnamed_pairs(SOFTMAX)
    assert count and any("softmax: whole_sum with axis_0 is called no_max (seed 0)" == line for line in misnamed), (
        misnamed
    )
