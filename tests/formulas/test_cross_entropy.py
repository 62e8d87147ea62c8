import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas.cross_entropy import (
    cross_entropy,
    cross_entropy_as_printed,
    cross_entropy_as_printed_gradient,
    cross_entropy_gradient,
    log_softmax,
    log_softmax_gradient,
    sequence_cross_entropy,
    sequence_cross_entropy_gradient,
    smoothed,
    softmax,
    softmax_gradient,
)
from minilm.training import losses

N, K = 5, 4


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def batch(rng):
    return rng.normal(scale=3, size=(N, K)), rng.integers(K, size=N)


@pytest.mark.parametrize(
    ("ours", "gradient", "theirs"),
    [
        (softmax, softmax_gradient, lambda z: z.softmax(dim=-1)),
        (log_softmax, log_softmax_gradient, lambda z: z.log_softmax(dim=-1)),
    ],
    ids=["softmax", "log_softmax"],
)
def test_F08_softmax_and_its_gradient_equal_autograd_and_finite_differences(rng, ours, gradient, theirs):
    z, dY = rng.normal(scale=3, size=(2, 3, 4)), rng.normal(size=(2, 3, 4))
    value, by_autograd = autograd(theirs, z, upstream=dY)
    np.testing.assert_allclose(ours(z), value, atol=1e-12)
    np.testing.assert_allclose(gradient(z, dY), by_autograd, atol=1e-10)
    np.testing.assert_allclose(gradient(z, dY), finite_differences(lambda z: (ours(z) * dY).sum(), z), atol=1e-7)


def test_F08_softmax_gradient_is_the_written_out_jacobian(rng):
    z, dY = rng.normal(size=K), rng.normal(size=K)
    y_hat = softmax(z)
    np.testing.assert_allclose(softmax_gradient(z, dY), (np.diag(y_hat) - np.outer(y_hat, y_hat)) @ dY, atol=1e-12)


def test_F08_logits_of_a_thousand_overflow_nothing():
    z = np.array([[1000.0, -1000.0]])
    np.testing.assert_array_equal(softmax(z), [[1, 0]])
    np.testing.assert_array_equal(log_softmax(z), [[0, -2000]])
    assert cross_entropy(z, np.array([1])) == pytest.approx(2000)


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_F08_F11_value_and_gradient_equal_minilm_and_finite_differences(batch, smoothing):
    z, y = batch
    value, by_autograd = autograd(lambda z: losses.cross_entropy(z, torch.tensor(y), smoothing).value, z)
    assert cross_entropy(z, y, smoothing) == pytest.approx(float(value), abs=1e-12)
    gradient = cross_entropy_gradient(z, y, smoothing)
    np.testing.assert_allclose(gradient, by_autograd, atol=1e-10)
    np.testing.assert_allclose(
        gradient, finite_differences(lambda z: cross_entropy(z, y, smoothing), z, 1e-4), atol=1e-7
    )


def test_F08_value_equals_pytorch(batch):
    z, y = batch
    theirs = F.cross_entropy(torch.tensor(z), torch.tensor(y), label_smoothing=0.2)
    assert cross_entropy(z, y, 0.2) == pytest.approx(theirs.item(), abs=1e-12)


def test_F08_smoothing_makes_infinite_certainty_cost_something():
    """Without smoothing the loss keeps falling as the right logit grows; with smoothing there is a best logit."""
    y, logits = np.array([0]), [np.array([[a, 0.0, 0.0]]) for a in np.linspace(0, 12, 25)]
    plain, smooth = ([cross_entropy(z, y, e) for z in logits] for e in (0, 0.1))
    assert np.argmin(plain) == 24
    assert 0 < np.argmin(smooth) < 24
    np.testing.assert_allclose(smoothed(y, 3, 0.3), [[0.8, 0.1, 0.1]], atol=1e-15)


def test_F11_corrected_equals_autograd_and_finite_differences(rng):
    T, V = 6, 3
    y_hat, y = softmax(rng.normal(size=(T, V))), softmax(rng.normal(size=(T, V)))
    y[0] = [0, 1, 0]
    value, by_autograd = autograd(lambda p: -(torch.tensor(y) * p.log()).sum(), y_hat)
    assert sequence_cross_entropy(y_hat, y) == pytest.approx(float(value), abs=1e-12)
    gradient = sequence_cross_entropy_gradient(y_hat, y)
    np.testing.assert_allclose(gradient, by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda p: sequence_cross_entropy(p, y), y_hat)
    np.testing.assert_allclose(gradient, by_differences, atol=1e-7)


def test_F11_corrected_is_the_sum_of_F08_over_the_tokens(batch):
    z, y = batch
    y_hat, one_hot = softmax(z), np.eye(K)[y]
    assert sequence_cross_entropy(y_hat, one_hot) == pytest.approx(N * cross_entropy(z, y), abs=1e-12)
    d_logits = softmax_gradient(z, sequence_cross_entropy_gradient(y_hat, one_hot))
    np.testing.assert_allclose(d_logits, N * cross_entropy_gradient(z, y), atol=1e-12)


def test_F11_an_impossible_word_costs_infinitely_much_and_others_nothing():
    y_hat = np.array([[1.0, 0.0]])
    assert sequence_cross_entropy(y_hat, np.array([[0.0, 1.0]])) == np.inf
    assert sequence_cross_entropy(y_hat, np.array([[1.0, 0.0]])) == 0
    assert sequence_cross_entropy_gradient(y_hat, np.array([[0.0, 1.0]]))[0, 1] == -np.inf


def test_F11_as_printed_falls_as_a_wrong_answer_grows_confident():
    """The label is class 1, and the model becomes more and more certain of class 0. A loss has to rise then."""
    wrong = np.array([0.5, 0.6, 0.8, 0.9, 0.99, 0.9999])
    printed = [cross_entropy_as_printed(np.array([[p, 1 - p]])) for p in wrong]
    right = [sequence_cross_entropy(np.array([[p, 1 - p]]), np.array([[0, 1]])) for p in wrong]
    assert (np.diff(printed) < 0).all()
    assert (np.diff(right) > 0).all()
    sure_and_wrong, unsure_and_right = np.array([[0.98, 0.02]]), np.array([[0.4, 0.6]])
    assert cross_entropy_as_printed(sure_and_wrong) == pytest.approx(0.0980, abs=1e-4)
    assert cross_entropy_as_printed(unsure_and_right) == pytest.approx(0.6730, abs=1e-4)


def test_F11_as_printed_has_autograds_gradient(rng):
    z = rng.normal(size=(5, 3))
    value, by_autograd = autograd(lambda z: -(z.softmax(-1) * z.log_softmax(-1)).sum(), z)
    assert cross_entropy_as_printed(softmax(z)) == pytest.approx(float(value), abs=1e-12)
    np.testing.assert_allclose(cross_entropy_as_printed_gradient(z), by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda z: cross_entropy_as_printed(softmax(z)), z)
    np.testing.assert_allclose(cross_entropy_as_printed_gradient(z), by_differences, atol=1e-7)


def test_F11_descending_the_printed_loss_ends_in_certainty_and_chance(rng):
    """400 examples, 4 classes, random initial logits: the loss goes to 0, but the accuracy stays that of guessing."""
    z, y = rng.normal(size=(400, 4)), rng.integers(4, size=400)
    before, z_true = (z.argmax(axis=1) == y).mean(), z.copy()
    for _ in range(300):
        z = z - 1.0 * cross_entropy_as_printed_gradient(z)
        z_true = z_true - 400.0 * cross_entropy_gradient(z_true, y)
    assert cross_entropy_as_printed(softmax(z)) / 400 < 0.02
    assert (z.argmax(axis=1) == y).mean() == before == pytest.approx(0.25, abs=0.05)
    assert cross_entropy(z, y) > 3
    assert cross_entropy(z_true, y) < 0.02
    assert (z_true.argmax(axis=1) == y).mean() == 1


ONE_ROW = np.array([[0.5, 0.5]])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: softmax(np.zeros((2, 0))), "z is empty"),
        (lambda: log_softmax(np.zeros(0)), "z is empty"),
        (lambda: softmax_gradient(np.zeros(3), np.zeros(2)), r"dY has shape \[2\]"),
        (lambda: log_softmax_gradient(np.zeros(3), np.zeros((1, 3))), r"dY has shape \[1, 3\]"),
        (lambda: cross_entropy(np.zeros((0, 2)), np.zeros(0, int)), "z is empty"),
        (lambda: cross_entropy(np.zeros(2), np.zeros(2, int)), "z has shape"),
        (lambda: cross_entropy(np.zeros((2, 3)), np.zeros(3, int)), "y has shape"),
        (lambda: cross_entropy(np.zeros((2, 3)), np.array([0, 3])), "the class 3"),
        (lambda: cross_entropy(np.zeros((2, 3)), np.array([0, -100])), "the class -100"),
        (lambda: cross_entropy(np.zeros((2, 3)), np.array([0.0, 1.0])), "float64"),
        (lambda: cross_entropy_gradient(np.zeros((1, 2)), np.array([0]), 1.5), "smoothing is 1.5"),
        (lambda: sequence_cross_entropy(ONE_ROW, np.array([[0.0, 2.0]])), "y holds 2"),
        (lambda: sequence_cross_entropy(ONE_ROW * 3, ONE_ROW), "y_hat holds 1.5"),
        (lambda: sequence_cross_entropy_gradient(ONE_ROW, np.ones((1, 3))), "y has shape"),
        (lambda: cross_entropy_as_printed(np.zeros((0, 2))), "y_hat is empty"),
        (lambda: cross_entropy_as_printed(-ONE_ROW), "y_hat holds -0.5"),
        (lambda: cross_entropy_as_printed_gradient(np.zeros((0, 2))), "z is empty"),
    ],
)
def test_F08_F11_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
