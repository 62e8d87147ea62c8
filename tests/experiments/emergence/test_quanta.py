"""The quanta experiment: its questions against a loop, its losses, and what its predictions would reject.  F36."""

from itertools import product

import numpy as np
import pytest
import torch
from judged import true_where_they_should
from torch.nn import functional as F

from minilm.experiments.emergence import quanta
from minilm.experiments.emergence.quanta import (
    ALIKE,
    BITS,
    LEARNED,
    MEAN,
    PARITY,
    SKILLS,
    ZIPFIAN,
    chosen_bits,
    fit,
    frequencies,
    loss_of_each,
    network,
    questions,
)
from minilm.experiments.emergence.quanta_judged import PREDICTIONS, learned_at, slope


def test_F36_labels_are_the_parity_of_the_bits_of_the_skill():
    bits, rng = chosen_bits(3), np.random.default_rng(0)
    asked = questions(rng.integers(SKILLS, size=200), bits, rng)
    for x, y, skill in zip(asked.x.tolist(), asked.y.tolist(), asked.skill.tolist(), strict=True):
        assert x[:SKILLS] == [float(k == skill) for k in range(SKILLS)]
        assert y == sum(x[SKILLS + i] == 1 for i in bits[skill]) % 2
    assert set(asked.x[:, SKILLS:].flatten().tolist()) == {-1.0, 1.0}


def test_F36_no_two_bits_of_a_skill_say_anything_about_its_label():
    rng = np.random.default_rng(1)
    bits = chosen_bits(0)
    asked = questions(np.zeros(40_000, dtype=int), bits, rng)
    assert abs(asked.y.double().mean() - 0.5) < 0.013  # five standard deviations
    first, second = (asked.x[:, SKILLS + i] for i in bits[0][:2])
    for one, other in product((-1, 1), repeat=2):
        share = asked.y[(first == one) & (second == other)].double().mean()
        assert abs(share - 0.5) < 0.03


def test_F36_skills_have_their_own_bits_and_the_frequencies_of_zipf():
    bits = chosen_bits(5)
    assert bits.shape == (SKILLS, PARITY) and len({tuple(row) for row in bits.tolist()}) == SKILLS
    assert all(len(set(row)) == PARITY and max(row) < BITS for row in bits.tolist())
    p = frequencies(1.4, 5)
    assert p.sum() == pytest.approx(1) and p[0] / p[3] == pytest.approx(4**1.4)
    assert frequencies(0.0, 4).tolist() == [0.25] * 4


@torch.no_grad()
def test_F36_the_loss_of_a_skill_is_the_mean_over_its_examples():
    model, rng = network(0), np.random.default_rng(2)
    asked = questions(rng.permutation(np.repeat(np.arange(SKILLS), 3)), chosen_bits(0), rng)
    found = loss_of_each(model, asked)
    for k in range(SKILLS):
        mine = asked.skill == k
        assert found[k] == pytest.approx(float(F.cross_entropy(model(asked.x[mine]), asked.y[mine])), rel=1e-5)


def test_F36_a_quanta_record_repeats_bit_for_bit(monkeypatch):
    monkeypatch.setattr(quanta, "TESTS", 4)
    first, again, other = (fit(ZIPFIAN, seed, 0.005) for seed in (0, 0, 1))
    assert {**first, "seconds": 0} == {**again, "seconds": 0} and first["curve"] != other["curve"]
    last = first["curve"][-1]
    assert last["step"] == 40 and first[MEAN] == pytest.approx(frequencies() @ np.array(last["skills"]), abs=1e-3)
    assert first[LEARNED] == sum(loss < 0.5 * np.log(2) for loss in last["skills"])
    assert fit(ALIKE, 0, 0.005)[MEAN] == pytest.approx(np.log(2), abs=0.1)


STEPS = np.unique(np.geomspace(1, 10_000, 200).round())


def record(arm: str, power: float = 1.0, steepness: float = 8.0, shuffled: bool = False) -> dict:
    """Skills that fall as 1/(1 + (step/t)^steepness) at t = P^(−power) times a constant; with ALIKE, all at once."""
    p = frequencies() if arm == ZIPFIAN else frequencies(0.0)
    t = 100 * (p / p.max()) ** -power
    if shuffled:
        t = np.roll(t, 8)
    losses = np.log(2) / (1 + (STEPS[:, None] / t) ** steepness)
    curve = [
        {"step": step, MEAN: float(p @ each), "skills": each.tolist()} for step, each in zip(STEPS, losses, strict=True)
    ]
    return {"arm": arm, "curve": curve}


FAILURES = [
    (ZIPFIAN, dict(steepness=2.0)),
    (ZIPFIAN, dict(power=0.1)),
    (ZIPFIAN, dict(shuffled=True)),
    (ZIPFIAN, dict(power=0.6)),
    (ALIKE, dict(steepness=2.0)),
]


def records(arm: str = "", **changes) -> list[dict]:
    return [record(name) for name in (ZIPFIAN, ALIKE)] + [
        record(name, **(changes if name == arm else {})) for name in (ZIPFIAN, ALIKE)
    ]


def test_F36_the_predictions_of_quanta_come_true_where_they_should_and_each_fails_by_a_single_seed():
    true_where_they_should(PREDICTIONS, records, FAILURES)


def test_F36_a_slope_is_found_again_and_too_few_skills_have_none():
    assert slope(record(ZIPFIAN, power=0.8)) == pytest.approx(0.8, abs=0.05)
    nothing = record(ZIPFIAN)
    for point in nothing["curve"]:
        point["skills"] = [np.log(2)] * SKILLS
    assert np.isinf(learned_at(nothing)).all() and np.isnan(slope(nothing))
    assert not any(PREDICTIONS[number].judge([nothing]).held for number in (0, 1, 2, 3))
