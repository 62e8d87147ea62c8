"""Learning in the prompt: its prompts, its baselines against NumPy, its model, and what its predictions would reject.  F36."""

import numpy as np
import pytest
import torch
from judged import true_where_they_should

from minilm.experiments.emergence import in_context
from minilm.experiments.emergence.in_context import (
    EIGHT,
    ERROR,
    FAR,
    FEW,
    NOISE,
    ONE,
    OWN,
    SHOTS,
    SHUFFLED,
    THIRTY_TWO,
    THREE,
    TO_LEAST_SQUARES,
    TO_RIDGE,
    D,
    K,
    errors,
    fit,
    model_errors,
    new_model,
    prompts,
    regression,
    tasks_of,
)
from minilm.experiments.emergence.in_context_judged import PREDICTIONS


def test_F36_prompts_have_the_variance_and_the_noise_that_the_text_says():
    given = prompts(20_000, (0,))
    x, y = (a.double().numpy() for a in given)
    assert x.shape == (20_000, K, D) and abs(x.mean()) < 0.01 and x.var() == pytest.approx(1, abs=0.01)
    assert y.var() == pytest.approx(1 + NOISE**2, abs=0.03)
    w = np.linalg.pinv(x) @ y[..., None]  # K > D: what is left over has K − D degrees of freedom
    rest = ((y[..., None] - x @ w) ** 2).sum(axis=(1, 2)) / (K - D)
    assert rest.mean() == pytest.approx(NOISE**2, rel=0.03)
    again, other = prompts(20_000, (0,)), prompts(20_000, (1,))
    assert torch.equal(given.y, again.y) and not torch.equal(given.y, other.y)
    assert prompts(20_000, (0,), deviation=2.0).y.var() == pytest.approx(4 + NOISE**2, rel=0.03)


def test_F36_prompts_about_given_tasks_are_about_them():
    tasks = tasks_of(3, seed=5)
    x, y = (a.double().numpy() for a in prompts(500, (2,), tasks))
    w = (np.linalg.pinv(x) @ y[..., None])[..., 0] * D**0.5
    nearest = ((w[:, None] - tasks[None]) ** 2).sum(axis=2).argmin(axis=1)
    rest = y - np.einsum("bkd,bd->bk", x, tasks[nearest]) / D**0.5
    assert rest.var() == pytest.approx(NOISE**2, rel=0.1) and set(nearest) == {0, 1, 2}


def test_F36_shuffled_prompts_have_the_same_numbers_and_nothing_between_them():
    given, shuffled = prompts(5_000, (3,)), prompts(5_000, (3,), shuffled=True)
    assert torch.equal(given.x, shuffled.x)
    assert torch.equal(given.y.sort(dim=0).values, shuffled.y.sort(dim=0).values)
    assert errors(regression(shuffled, 1.0), shuffled)[SHOTS] > 1.25 > 2 * errors(regression(given, 1.0), given)[SHOTS]


def test_F36_least_squares_and_ridge_are_those_of_numpy():
    given = prompts(5, (4,))
    x, y = (a.double().numpy() for a in given)
    penalty = NOISE**2 * D
    found, ridge = regression(given), regression(given, penalty)
    assert (found[:, 0] == 0).all() and (ridge[:, 0] == 0).all()
    for b in range(5):
        for k in range(1, K):
            w = np.linalg.lstsq(x[b, :k], y[b, :k], rcond=None)[0]
            assert found[b, k] == pytest.approx(x[b, k] @ w, rel=1e-6, abs=1e-9)
            # ridge is least squares with D further examples: √λ times the identity, with an answer of 0
            X = np.vstack([x[b, :k], penalty**0.5 * np.eye(D)])
            w = np.linalg.lstsq(X, np.concatenate([y[b, :k], np.zeros(D)]), rcond=None)[0]
            assert ridge[b, k] == pytest.approx(x[b, k] @ w, rel=1e-9)


def test_F36_no_other_penalty_is_better_than_that_of_the_prior():
    given = prompts(20_000, (5,))
    best = errors(regression(given, NOISE**2 * D), given)
    for factor in (0.25, 4.0):
        other = errors(regression(given, factor * NOISE**2 * D), given)
        assert (other[1:] > best[1:]).all()


def test_F36_the_model_sees_the_examples_before_and_not_its_own_answer():
    model, (x, y) = new_model(2, seed=1).eval(), prompts(3, (6,))
    with torch.no_grad():
        before = model(x, y)
        for k in (4, K - 1):
            changed = y.clone()
            changed[:, k] += 1
            after = model(x, changed)
            assert torch.allclose(before[:, : k + 1], after[:, : k + 1], atol=1e-6)
            assert k == K - 1 or (before[:, k + 1 :] - after[:, k + 1 :]).abs().min(dim=1).values.max() > 1e-5
        changed = x.clone()
        changed[:, 4] += 1
        assert ((model(changed, y) - before)[:, 4].abs() > 1e-4).all()


def test_F36_the_error_of_a_model_is_the_mean_square_by_examples():
    model, given = new_model(1, seed=2), prompts(7, (7,))
    with torch.no_grad():
        said = model.eval()(*given)
    expected = [((said[:, k] - given.y[:, k]) ** 2).mean().item() for k in range(K)]
    np.testing.assert_allclose(model_errors(model, given), expected, rtol=1e-5)


def test_F36_the_same_seed_gives_the_same_record(monkeypatch):
    monkeypatch.setattr(in_context, "HELD_OUT", 16)
    monkeypatch.setattr(in_context, "BATCH", 4)
    first, again, other = (fit(EIGHT, seed, 0.01) for seed in (0, 0, 1))
    assert {k: v for k, v in first.items() if k != "seconds"} == {k: v for k, v in again.items() if k != "seconds"}
    assert first[ERROR] != other[ERROR] and first[OWN] != first[ERROR]
    assert [point["step"] for point in first["curve"]] == [0, 1, 2, 3, 4]
    ratio = first["by shots"][SHOTS] / first["least squares"][SHOTS]
    assert first[TO_LEAST_SQUARES] == pytest.approx(ratio) and first[FEW] == first["by shots"][2]


def record(arm: str, **changes) -> dict:
    error = {THREE: 0.5, ONE: 1.2, THIRTY_TWO: 0.6, EIGHT: 1.0, SHUFFLED: 1.3}[arm]
    to_least_squares = {THREE: 0.9, ONE: 2.2, THIRTY_TWO: 1.1, EIGHT: 1.8, SHUFFLED: 2.3}[arm]
    base = {"least squares": [1.2, 1.1, 1.1] + 10 * [0.55], "ridge": [1.2, 1.0, 0.9] + 10 * [0.45]}
    out = {"arm": arm, ERROR: error, FEW: 0.95, TO_LEAST_SQUARES: to_least_squares, TO_RIDGE: 1.2, FAR: 1.4}
    return out | base | ({OWN: 0.45} if arm in (EIGHT, THIRTY_TWO) else {}) | changes


def records(arm: str = "", **changes) -> list[dict]:
    """Two seeds of every arm; the second of one arm with these changes."""
    arms = (THREE, ONE, THIRTY_TWO, EIGHT, SHUFFLED)
    return [record(name) for name in arms] + [record(name, **(changes if name == arm else {})) for name in arms]


FAILURES = [
    (THREE, {TO_LEAST_SQUARES: 1.11}),
    (THREE, {TO_RIDGE: 1.26}),
    (THREE, {FEW: 1.15}),
    (ONE, {TO_LEAST_SQUARES: 1.9}),
    (EIGHT, {OWN: 0.52}),
    (THIRTY_TWO, {ERROR: 0.54}),
    (THREE, {FAR: 1.05}),
    (SHUFFLED, {ERROR: 1.0}),
]


def test_F36_the_predictions_come_true_where_they_should_and_each_fails_by_a_single_seed():
    true_where_they_should(PREDICTIONS, records, FAILURES)


def test_F36_memorising_needs_both_halves():
    assert not PREDICTIONS[4].judge(records(EIGHT, **{TO_LEAST_SQUARES: 1.4})).held
