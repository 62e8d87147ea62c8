"""Pictures pixel by pixel: value and gradient with two referees, Bayes by brute force, histograms by a loop and by scikit-learn."""

import itertools

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from sklearn.naive_bayes import CategoricalNB

from minilm.errors import InputError
from minilm.formulas.pixels import (
    bits_per_pixel,
    class_probabilities,
    histogram_log_probabilities,
    log_probability,
    log_probability_gradient,
    pixel_histograms,
)

N, M, G, K = 7, 5, 4, 3


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pictures(rng):
    return rng.integers(G, size=(N, M)), rng.integers(K, size=N)


def test_F24_value_and_gradient_equal_autograd_and_finite_differences(rng, pictures):
    x, _ = pictures
    z, upstream = rng.normal(size=(N, M, G)), rng.normal(size=N)

    def theirs(z):
        return torch.log_softmax(z, -1).gather(-1, torch.tensor(x)[..., None])[..., 0].sum(1)

    value, gradient = autograd(theirs, z, upstream=upstream)
    np.testing.assert_allclose(log_probability(z, x), value, atol=1e-12)
    np.testing.assert_allclose(log_probability_gradient(z, x, upstream), gradient, atol=1e-12)
    tried = finite_differences(lambda z: float(upstream @ log_probability(z, x)), z)
    np.testing.assert_allclose(log_probability_gradient(z, x, upstream), tried, atol=1e-8)


def test_F24_the_product_is_a_distribution_over_all_pictures(rng):
    """Logits that depend on the pixels before; the probabilities of all G^m pictures sum to 1."""
    levels, m = 3, 4
    tables = [rng.normal(size=(levels**i, levels)) for i in range(m)]
    every = np.array(list(itertools.product(range(levels), repeat=m)))
    before = np.cumsum(every * levels ** np.arange(m), axis=1) - every * levels ** np.arange(m)
    z = np.stack([tables[i][before[:, i]] for i in range(m)], axis=1)
    assert np.exp(log_probability(z, every)).sum() == pytest.approx(1, abs=1e-12)


def test_F24_bits_per_pixel_of_a_model_that_knows_nothing(pictures):
    x, _ = pictures
    assert bits_per_pixel(log_probability(np.zeros((N, M, G)), x), M) == pytest.approx(2.0, abs=1e-12)
    assert bits_per_pixel(np.array([-8, -16]) * np.log(2), 4) == pytest.approx(3.0, abs=1e-12)


def test_F24_bayes_equals_the_rule_written_out(rng):
    log_p, prior = rng.normal(-4, 2, size=(N, K)), np.array([0.5, 0.2, 0.3])
    expected = np.zeros((N, K))
    for i in range(N):
        joint = [np.exp(log_p[i, k]) * prior[k] for k in range(K)]
        expected[i] = np.array(joint) / sum(joint)
    np.testing.assert_allclose(class_probabilities(log_p, prior), expected, atol=1e-12)
    np.testing.assert_allclose(class_probabilities(log_p - 5000, prior), expected, atol=1e-9)  # nothing underflows


def test_F24_the_histograms_equal_a_loop_and_naive_bayes_of_scikit_learn(pictures, rng):
    x, y = pictures
    y[:K] = np.arange(K)
    P = pixel_histograms(x, y, G, K, 0.7)
    for k, i, v in itertools.product(range(K), range(M), range(G)):
        n = sum(1 for row, c in zip(x, y, strict=True) if c == k and row[i] == v)
        assert P[k, i, v] == pytest.approx((n + 0.7) / ((y == k).sum() + 0.7 * G), abs=1e-12)
    others = rng.integers(G, size=(11, M))
    theirs = CategoricalNB(alpha=0.7, min_categories=G).fit(x, y)
    ours = class_probabilities(histogram_log_probabilities(P, others), np.bincount(y) / N)
    np.testing.assert_allclose(ours, theirs.predict_proba(others), atol=1e-10)
    summed = histogram_log_probabilities(P, others)
    assert summed.shape == (11, K)
    assert summed[4, 1] == pytest.approx(sum(np.log(P[1, i, others[4, i]]) for i in range(M)), abs=1e-12)


def test_F24_without_classes_there_is_one_histogram_per_pixel(pictures):
    x, _ = pictures
    P = pixel_histograms(x, np.zeros(N, int), G, 1, 1e-9)
    np.testing.assert_allclose(P[0, 2], np.bincount(x[:, 2], minlength=G) / N, atol=1e-8)


X, Y = np.zeros((2, 3), int), np.zeros(2, int)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: log_probability(np.zeros((2, 3)), X), "z has shape"),
        (lambda: log_probability(np.zeros((2, 4, 5)), X), "x has shape"),
        (lambda: log_probability(np.zeros((2, 3, 5)), X + 5), "holds the class 5"),
        (lambda: log_probability(np.zeros((0, 3, 5)), X[:0]), "x is empty"),
        (lambda: log_probability_gradient(np.zeros((2, 3, 5)), X, np.zeros(3)), "upstream has shape"),
        (lambda: bits_per_pixel(np.zeros(0), 3), "log_p is empty"),
        (lambda: bits_per_pixel(np.zeros(2), 0), "at least one pixel"),
        (lambda: class_probabilities(np.zeros((2, 3)), np.ones(2) / 2), "prior has shape"),
        (lambda: class_probabilities(np.zeros((2, 3)), np.array([0, 0.5, 0.5])), "numbers above 0 that sum to 1"),
        (lambda: class_probabilities(np.zeros((2, 3)), np.ones(3)), "numbers above 0 that sum to 1"),
        (lambda: pixel_histograms(X, Y[:1], 4, 2), "y has shape"),
        (lambda: pixel_histograms(X, Y + 2, 4, 2), "y holds the class 2"),
        (lambda: pixel_histograms(X, Y, 4, 2, 0), "s is 0"),
        (lambda: pixel_histograms(X[:0], Y[:0], 4, 2), "x is empty"),
        (lambda: histogram_log_probabilities(np.ones((2, 4, 5)), X), "x has shape"),
        (lambda: histogram_log_probabilities(np.ones((2, 3, 5)), X + 9), "x holds the class 9"),
    ],
)
def test_F24_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
