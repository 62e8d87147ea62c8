"""The loss law and its experiment: a planted law, a brute-force search, the source, and what the predictions would reject.  F36."""

from itertools import product

import numpy as np
import pytest
from scipy.special import huber

from minilm.errors import InputError
from minilm.experiments.emergence import scaling
from minilm.experiments.emergence.loss_law import HUBER, Law, fit_law
from minilm.experiments.emergence.scaling import (
    ARM,
    ENTROPY,
    ERROR,
    FLOOR,
    MEASURED,
    NAIVE,
    PREDICTED,
    STEPS,
    WIDTHS,
    drawn,
    fit,
    source,
)
from minilm.experiments.emergence.scaling_judged import PREDICTIONS

PLANTED = Law(E=1.7, A=40.0, alpha=0.45, B=300.0, beta=0.55)
N, D = (
    np.array(column, dtype=float) for column in zip(*product((500, 900, 2_000, 5_000), (8e3, 2e4, 9e4)), strict=True)
)


def test_F36_a_planted_law_is_found_again():
    found = fit_law(N, D, PLANTED.loss(N, D))
    np.testing.assert_allclose(found, PLANTED, rtol=1e-3)
    assert PLANTED.loss(500, 8_000) == pytest.approx(1.7 + 40 / 500**0.45 + 300 / 8_000**0.55)


def test_F36_one_run_that_went_wrong_does_not_spoil_the_law():
    losses = PLANTED.loss(N, D)
    losses[5] *= 1.3
    assert fit_law(N, D, losses).loss(9_000, 3e5) == pytest.approx(float(PLANTED.loss(9_000, 3e5)), rel=0.01)


def test_F36_no_law_of_a_grid_fits_better():
    losses = PLANTED.loss(N, D) * np.exp(np.random.default_rng(0).normal(scale=0.01, size=len(N)))

    def cost(theta) -> float:
        E, A, alpha, B, beta = theta
        errors = [
            np.log(E + A / n**alpha + B / d**beta) - np.log(loss) for n, d, loss in zip(N, D, losses, strict=True)
        ]
        return float(sum(huber(HUBER, error) for error in errors))

    found = fit_law(N, D, losses)
    grid = product(
        np.linspace(1.2, 2.1, 7),
        np.linspace(0.2, 0.8, 7),
        np.linspace(0.2, 0.8, 7),
        (0.3, 0.6, 1, 1.7),
        (0.3, 0.6, 1, 1.7),
    )
    best = min(cost((E, a * 500**alpha, alpha, b * 8_000**beta, beta)) for E, alpha, beta, a, b in grid)
    assert cost(found) <= best and cost(found) < cost(PLANTED)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"N": N[:5], "D": D[:5], "losses": PLANTED.loss(N, D)[:5]}, "at least six runs"),
        ({"D": D[:7]}, "each with its N"),
        ({"losses": -PLANTED.loss(N, D)}, "above 0"),
        ({"losses": PLANTED.loss(N, D) * np.nan}, "finite"),
    ],
)
def test_F36_what_has_no_law_is_said(changes, words):
    with pytest.raises(InputError, match=words):
        fit_law(**{"N": N, "D": D, "losses": PLANTED.loss(N, D)} | changes)


def test_F36_the_source_has_the_statistics_that_it_claims():
    given = source(3, 12)
    P, pi = given.transitions, given.stationary
    np.testing.assert_allclose(P.sum(axis=1), 1)
    np.testing.assert_allclose(np.linalg.matrix_power(P, 4_000)[5], pi, atol=1e-9)  # wherever one starts
    entropy = -sum(pi[i] * P[i, j] * np.log(P[i, j]) for i in range(12) for j in range(12))
    assert given.entropy == pytest.approx(entropy, rel=1e-12)
    rows = drawn(given, 8_000, (0,), 7).numpy()
    counts = np.zeros((12, 12))
    np.add.at(counts, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1)
    for i in np.flatnonzero(counts.sum(axis=1) > 500):
        n = counts[i].sum()
        assert np.abs(counts[i] / n - P[i]).max() < 5 * (0.25 / n) ** 0.5
    for t in (0, 6):
        assert np.abs(np.bincount(rows[:, t], minlength=12) / 8_000 - pi).max() < 5 * (0.25 / 8_000) ** 0.5
    assert (drawn(given, 3, (5,)) == drawn(given, 3, (5,))).all() and source(4, 12).entropy != given.entropy


def test_F36_the_prediction_is_made_from_the_forty_alone(monkeypatch):
    monkeypatch.setattr(scaling, "HELD_OUT", 8)
    monkeypatch.setattr(scaling, "BATCH", 2)
    monkeypatch.setattr(scaling, "SYMBOLS", 9)
    first, again = (fit(ARM, 0, 0.005) for _ in range(2))
    assert {**first, "seconds": 0} == {**again, "seconds": 0} and len(first["runs"]) == 40
    law = fit_law(*([run[name] for run in first["runs"]] for name in ("parameters", "tokens", "loss")))
    larger = first["larger"]
    assert first[PREDICTED] == pytest.approx(float(law.loss(larger["parameters"], larger["tokens"])))
    assert first[ERROR] == pytest.approx(abs(first[PREDICTED] / first[MEASURED] - 1))
    assert larger["tokens"] == 2 * max(run["tokens"] for run in first["runs"]) == 2 * 32 * 6


def record(**changes) -> dict:
    """Forty losses that follow the planted law, or what `table` makes of them."""
    N, D = np.array([30.0 * width for width in WIDTHS]), np.array([1024.0 * steps for steps in STEPS])
    table = changes.pop("table", lambda losses: losses)(PLANTED.loss(N[None], D[:, None]))
    fitted = PLANTED.loss(N[None], D[:, None])
    runs = [{"loss": loss, "fitted": f} for loss, f in zip(table.ravel(), fitted.ravel(), strict=True)]
    good = {ERROR: 0.01, NAIVE: 0.05, MEASURED: 0.9 * table.min(), FLOOR: 1.7, ENTROPY: 1.8}
    return {"arm": ARM, "runs": runs} | good | changes


def one_worse(losses: np.ndarray) -> np.ndarray:
    losses[2, 3] *= 1.04
    return losses


def one_step_up(losses: np.ndarray) -> np.ndarray:
    losses[3, 7] = losses[3, 6] * 1.02
    return losses


FAILURES = [
    {ERROR: 0.031},
    {MEASURED: 99.0},
    {ERROR: 0.02, NAIVE: 0.015},
    {"table": one_worse},
    {"table": one_step_up},
    {FLOOR: 1.5},
]


def test_F36_the_predictions_of_the_law_come_true_where_they_should():
    assert all(prediction.judge([record(), record()]).held for prediction in PREDICTIONS)
    assert len(FAILURES) == len(PREDICTIONS)


@pytest.mark.parametrize("number", range(len(FAILURES)))
def test_F36_each_prediction_of_the_law_fails_by_a_single_seed(number):
    found = PREDICTIONS[number].judge([record(), record(**FAILURES[number])])
    assert not found.held and found.figures
