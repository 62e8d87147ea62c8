"""The grokking experiment: its sums, its network against NumPy, and what its predictions would reject.  F36."""

import numpy as np
import pytest
import torch

from minilm.experiments.emergence import grokking
from minilm.experiments.emergence.grokking import (
    DECAY,
    KNOWN,
    MORE,
    NO_DECAY,
    SCRAMBLED,
    SIZE,
    UNSEEN,
    UNSEEN_AT,
    Clock,
    accuracy,
    all_sums,
    fit,
    size,
    split,
)
from minilm.experiments.emergence.grokking_judged import PREDICTIONS

P = 7


def new(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_F36_every_sum_is_there_once_and_no_mirror_of_it():
    sums = all_sums(P, new())
    pairs = list(zip(sums.a.tolist(), sums.b.tolist(), strict=True))
    assert sorted(pairs) == [(a, b) for a in range(P) for b in range(a, P)]
    assert all(answer == (a + b) % P for (a, b), answer in zip(pairs, sums.answers.tolist(), strict=True))
    learned, held_out = split(sums, 0.5)
    assert (len(learned.a), len(held_out.a)) == (14, 14)
    asked = [
        {frozenset(pair) for pair in zip(part.a.tolist(), part.b.tolist(), strict=True)} for part in (learned, held_out)
    ]
    assert not asked[0] & asked[1]
    assert pairs != list(zip(*(column.tolist() for column in all_sums(P, new(1))[:2]), strict=True))


def test_F36_scrambled_answers_are_the_same_answers_of_other_sums():
    right, scrambled = all_sums(23, new()), all_sums(23, new(), scrambled=True)
    assert torch.equal(right.a, scrambled.a) and sorted(right.answers.tolist()) == sorted(scrambled.answers.tolist())
    assert (right.answers == scrambled.answers).double().mean() < 0.15


@torch.no_grad()
def test_F36_the_network_is_its_formula_and_cannot_tell_a_from_b():
    model, sums = Clock(P, 5, 11, new()), all_sums(P, new())
    e, W1, c1, W2, c2 = (parameter.double().numpy() for parameter in model.parameters())
    x = e[sums.a.numpy()] + e[sums.b.numpy()]
    z = np.maximum(x @ W1.T + c1, 0) @ W2.T + c2
    np.testing.assert_allclose(model(sums.a, sums.b), z, atol=1e-6)
    torch.testing.assert_close(model(sums.a, sums.b), model(sums.b, sums.a), rtol=0, atol=0)
    assert accuracy(model, sums) == pytest.approx(np.mean(z.argmax(axis=1) == sums.answers.numpy()))
    assert size(model) == pytest.approx(np.sqrt(sum((part**2).sum() for part in (e, W1, c1, W2, c2))), rel=1e-6)


def test_F36_a_grokking_record_has_its_curve_and_repeats_bit_for_bit(monkeypatch):
    monkeypatch.setattr(grokking, "P", P)
    monkeypatch.setattr(grokking, "STEPS", 300)
    first, again, other = (fit(DECAY, seed) for seed in (0, 0, 1))
    assert {**first, "seconds": 0} == {**again, "seconds": 0} and first["curve"] != other["curve"]
    assert first["curve"][0]["step"] == 1 and first["curve"][-1]["step"] == 300 and first[KNOWN] == 1.0
    assert (UNSEEN_AT in first) == any(point[UNSEEN] >= 0.9 for point in first["curve"])
    assert fit(DECAY, 0)[SIZE] < fit(NO_DECAY, 0)[SIZE]


def record(arm: str, known: int, unseen: int, start: float = 0.0, end: float = 1.0, weights: float = 40.0) -> dict:
    """`known`, `unseen`: the steps at which the accuracies rise; a held-out accuracy rises from `start` to `end`."""
    steps = (1, 50, 100, 200, 500, 1_000, 2_000, 4_000)
    curve = [
        {"step": step, KNOWN: float(step >= known), UNSEEN: end if step >= unseen else start, SIZE: weights}
        for step in steps
    ]
    return {"arm": arm, KNOWN: 1.0, UNSEEN: curve[-1][UNSEEN], SIZE: weights, "curve": curve}


GOOD = {
    DECAY: (100, 2_000),
    NO_DECAY: (100, 9_999, 0.0, 1.0, 100.0),
    MORE: (100, 500),
    SCRAMBLED: (100, 9_999, 0.02),
}
FAILURES = [
    (NO_DECAY, (500, 9_999, 0.0, 1.0, 100.0)),
    (DECAY, (200, 1_000)),
    (DECAY, (100, 2_000, 0.06)),
    (NO_DECAY, (100, 4_000, 0.0, 0.2, 100.0)),
    (MORE, (100, 2_000)),
    (SCRAMBLED, (100, 4_000, 0.0, 0.1)),
    (DECAY, (100, 2_000, 0.0, 1.0, 60.0)),
]


def records(arm: str = "", changed: tuple = ()) -> list[dict]:
    """Two seeds of every arm; the second of one arm is changed."""
    return [record(name, *given) for name, given in GOOD.items()] + [
        record(name, *(changed if name == arm else given)) for name, given in GOOD.items()
    ]


def test_F36_the_predictions_of_grokking_come_true_where_they_should():
    assert all(prediction.judge(records()).held for prediction in PREDICTIONS)
    assert len(FAILURES) == len(PREDICTIONS)


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_F36_each_prediction_of_grokking_fails_by_a_single_seed(number):
    found = PREDICTIONS[number].judge(records(*FAILURES[number]))
    assert not found.held and found.figures


def test_F36_a_network_that_never_learns_fails_and_says_never():
    found = PREDICTIONS[1].judge(records(DECAY, (9_999, 9_999)))
    assert not found.held and found.figures == "held out: 2,000, never; learned from: 100, never"
