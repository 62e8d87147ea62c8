"""Least squares and ridge regression against NumPy's solver, finite differences and the posterior.  F36."""

import numpy as np
import pytest
from referees import finite_differences

from minilm.formulas.prompt_regression import least_squares, penalised_error, penalised_error_gradient, ridge

D = 3


@pytest.fixture
def prompt():
    rng = np.random.default_rng(5)
    return rng.normal(size=(7, D)), rng.normal(size=7), rng.normal(size=D)


def test_F36_the_gradient_is_that_of_finite_differences(prompt):
    X, y, w = prompt
    found = penalised_error_gradient(w, X, y, 0.7)
    np.testing.assert_allclose(found, finite_differences(lambda w: penalised_error(w, X, y, 0.7), w), atol=1e-6)


def test_F36_ridge_is_where_the_gradient_is_zero_and_least_squares_its_limit(prompt):
    X, y, _ = prompt
    np.testing.assert_allclose(penalised_error_gradient(ridge(X, y, 0.7), X, y, 0.7), 0, atol=1e-12)
    np.testing.assert_allclose(penalised_error_gradient(least_squares(X, y), X, y, 0.0), 0, atol=1e-12)
    for k in (2, 7):  # fewer examples than D as well
        np.testing.assert_allclose(ridge(X[:k], y[:k], 1e-8), least_squares(X[:k], y[:k]), atol=1e-6)
        np.testing.assert_allclose(
            least_squares(X[:k], y[:k]), np.linalg.lstsq(X[:k], y[:k], rcond=None)[0], atol=1e-10
        )


def test_F36_ridge_is_least_squares_with_further_examples(prompt):
    X, y, _ = prompt  # √λ times the identity, with an answer of 0
    more, zeros = np.vstack([X, 0.7**0.5 * np.eye(D)]), np.concatenate([y, np.zeros(D)])
    np.testing.assert_allclose(ridge(X, y, 0.7), np.linalg.lstsq(more, zeros, rcond=None)[0], rtol=1e-10)
    batch = ridge(np.stack([X, -X]), np.stack([y, 2 * y]), 0.7)
    np.testing.assert_allclose(batch, [ridge(X, y, 0.7), -2 * ridge(X, y, 0.7)], rtol=1e-10)


def test_F36_no_other_penalty_has_a_smaller_expected_square():
    rng = np.random.default_rng(6)
    tau, sigma, count = 0.5, 0.8, 20_000
    X, w = rng.normal(size=(count, 4, D)), tau * rng.normal(size=(count, D))
    y = np.einsum("nkd,nd->nk", X, w) + sigma * rng.normal(size=(count, 4))
    error = {f: ((ridge(X, y, f * sigma**2 / tau**2) - w) ** 2).sum(axis=1).mean() for f in (0.4, 1.0, 2.5)}
    assert error[1.0] < error[0.4] and error[1.0] < error[2.5]
