"""The likelihood is maximised; its gradient has two referees; minimising it, as D2 prints, never ends."""

import math

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from scipy.stats import multinomial

from minilm.errors import InputError
from minilm.formulas.likelihood import (
    largest_probability_as_printed,
    largest_probability_as_printed_gradient,
    likelihood,
    log_likelihood,
    log_likelihood_gradient,
    maximise,
    minimise_as_printed,
    most_likely,
)
from minilm.training import losses

K, N = 5, 13


@pytest.fixture
def theta():
    return np.random.default_rng(1).normal(size=K)


@pytest.fixture
def x():
    return np.random.default_rng(2).choice(K, size=N, p=(0.4, 0.3, 0.15, 0.1, 0.05))


def test_F37_value_and_gradient_equal_autograd_and_finite_differences(theta, x):
    value, gradient = autograd(lambda t: torch.log_softmax(t, 0)[torch.tensor(x)].sum(), theta)
    assert log_likelihood(theta, x) == pytest.approx(float(value), abs=1e-12)
    np.testing.assert_allclose(log_likelihood_gradient(theta, x), gradient, atol=1e-12)
    tried = finite_differences(lambda t: log_likelihood(t, x), theta)
    np.testing.assert_allclose(log_likelihood_gradient(theta, x), tried, atol=1e-8)


def test_F37_the_likelihood_of_counts_is_the_multinomials_without_its_factor(theta, x):
    n = np.bincount(x, minlength=K)
    arrangements = math.lgamma(N + 1) - sum(math.lgamma(each + 1) for each in n)
    p = np.exp(theta) / np.exp(theta).sum()
    assert log_likelihood(theta, x) == pytest.approx(multinomial.logpmf(n, N, p) - arrangements, abs=1e-10)
    assert likelihood(theta, x) == pytest.approx(np.prod(p[x]), rel=1e-12)


def test_F37_the_library_loss_is_minus_its_mean(theta, x):
    logits = torch.tensor(theta).expand(N, K)
    assert losses.cross_entropy(logits, torch.tensor(x)).value.item() == pytest.approx(-log_likelihood(theta, x) / N)


def test_F37_counting_is_the_maximum(x):
    best = most_likely(x, K)
    assert best.sum() == pytest.approx(1) and (best == [np.mean(x == k) for k in range(K)]).all()
    seen = np.unique(x)
    inner = np.log(best[seen])
    renamed = np.searchsorted(seen, x)  # without outcomes that never occurred, whose logits would be −∞
    np.testing.assert_allclose(log_likelihood_gradient(inner, renamed), 0, atol=1e-12)
    rng = np.random.default_rng(3)
    for _ in range(200):
        elsewhere = inner + rng.normal(scale=rng.choice([0.01, 1.0]), size=len(seen))
        assert log_likelihood(elsewhere, renamed) <= log_likelihood(inner, renamed) + 1e-12


def test_F37_maximising_finds_the_counts(theta):
    x = np.repeat(np.arange(K), (5, 4, 2, 1, 1))
    path = maximise(theta, x, 3.0, 600)
    rising = [log_likelihood(each, x) for each in path]
    assert (np.diff(rising) >= -1e-12).all()
    p = np.exp(path[-1]) / np.exp(path[-1]).sum()
    np.testing.assert_allclose(p, most_likely(x, K), atol=1e-6)
    assert (path[0] == theta).all() and len(path) == 601


def test_F37_minimising_as_printed_drives_the_loss_to_infinity(theta):
    x = np.repeat(np.arange(K), (5, 4, 2, 1, 1))
    steps = 500
    path = minimise_as_printed(theta, x, 8.0, steps)
    loss = np.array([-log_likelihood(each, x) / len(x) for each in path])
    assert (np.diff(loss) > 0).all()  # every step makes it worse
    assert loss[-1] > 900 and likelihood(path[-1], x) == 0
    late = np.diff(loss)[steps // 2 :]
    assert late.max() - late.min() < 1e-9 and late.mean() > 0.1  # and the steps never become smaller
    p = np.exp(path[-1] - path[-1].max())
    assert p[0] == 0 and p[1:].max() == 1  # the outcome that occurred most often is impossible now


def test_F37_one_step_is_the_gradient_with_its_sign(theta, x):
    g = log_likelihood_gradient(theta, x)
    np.testing.assert_allclose(maximise(theta, x, 0.3, 1)[1], theta + 0.3 * g / N, atol=1e-12)
    np.testing.assert_allclose(minimise_as_printed(theta, x, 0.3, 1)[1], theta - 0.3 * g / N, atol=1e-12)


def test_F37_large_logits_and_many_examples_stay_finite():
    theta, x = np.array([1e3, -1e3, 0.0]), np.zeros(5000, int)
    assert log_likelihood(theta, x) == 0 and likelihood(theta, x) == 1
    assert log_likelihood(-theta, x) == pytest.approx(-5000 * 2000) and likelihood(-theta, x) == 0


def test_F25_F26_the_printed_maximum_and_its_gradient_equal_autograd_and_finite_differences():
    z = np.random.default_rng(5).normal(size=(7, 4))
    value, gradient = autograd(lambda z: torch.softmax(z, 1).max(1).values.mean(), z)
    assert largest_probability_as_printed(z) == pytest.approx(float(value), abs=1e-12)
    np.testing.assert_allclose(largest_probability_as_printed_gradient(z), gradient, atol=1e-12)
    tried = finite_differences(largest_probability_as_printed, z)
    np.testing.assert_allclose(largest_probability_as_printed_gradient(z), tried, atol=1e-8)


def test_F26_maximised_as_printed_a_model_becomes_certain_and_learns_nothing():
    """Two features, one of which is the answer; a linear model that starts out preferring the other one."""
    rng = np.random.default_rng(6)
    y = rng.integers(2, size=400)
    X = np.stack([2 * y - 1, rng.choice([-1, 1], size=400)], axis=1).astype(float)
    start = np.array([[0.0, 0.0], [-0.1, 0.1]])  # [features, classes]
    learned = {}
    for name in ("as printed", "likelihood"):
        W = start.copy()
        for _ in range(2000):
            z = X @ W
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            wanted = largest_probability_as_printed_gradient(z) if name == "as printed" else (np.eye(2)[y] - p) / 400
            W = W + X.T @ wanted
        z = X @ W
        learned[name] = largest_probability_as_printed(z), np.mean(z.argmax(axis=1) == y)
    assert learned["as printed"][0] > 0.99 and abs(learned["as printed"][1] - 0.5) < 0.06
    assert learned["likelihood"][0] > 0.99 and learned["likelihood"][1] == 1


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: log_likelihood(np.zeros((2, 3)), np.zeros(4, int)), "theta has shape"),
        (lambda: log_likelihood(np.zeros(3), np.zeros((4, 1), int)), "x has shape"),
        (lambda: log_likelihood_gradient(np.zeros(3), np.zeros(0, int)), "x is empty"),
        (lambda: log_likelihood(np.zeros(3), np.array([0, 3])), "holds the class 3"),
        (lambda: most_likely(np.array([0.5]), 3), "a class is an integer"),
        (lambda: most_likely(np.zeros(0, int), 3), "x is empty"),
        (lambda: maximise(np.zeros(3), np.array([0]), 0, 1), "learning_rate is 0"),
        (lambda: minimise_as_printed(np.zeros(3), np.array([0]), -1.0, 1), "the sign belongs to the formula"),
        (lambda: maximise(np.zeros(3), np.zeros(0, int), 1.0, 1), "x is empty"),
        (lambda: largest_probability_as_printed(np.zeros(3)), "z has shape"),
        (lambda: largest_probability_as_printed(np.zeros((0, 3))), "z is empty"),
        (lambda: largest_probability_as_printed_gradient(np.zeros((0, 3))), "z is empty"),
    ],
)
def test_F37_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
