import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas.binary_cross_entropy import (
    binary_cross_entropy,
    binary_cross_entropy_gradient,
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_gradient,
    loss,
    parameter_gradient,
    parameter_gradient_from_logits,
    sigmoid,
    sigmoid_gradient,
)
from minilm.training import losses

N, n = 7, 3


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def z(rng):
    return rng.normal(scale=2, size=N)


@pytest.fixture(params=["hard", "soft"])
def y(request, rng):
    return rng.integers(2, size=N).astype(float) if request.param == "hard" else rng.uniform(size=N)


def test_F04_sigmoid_and_its_gradient_equal_autograd_and_finite_differences(rng):
    z, dY = rng.normal(scale=3, size=(4, 3)), rng.normal(size=(4, 3))
    value, by_autograd = autograd(torch.sigmoid, z, upstream=dY)
    np.testing.assert_allclose(sigmoid(z), value, atol=1e-15)
    np.testing.assert_allclose(sigmoid_gradient(z, dY), by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda z: (sigmoid(z) * dY).sum(), z)
    np.testing.assert_allclose(sigmoid_gradient(z, dY), by_differences, atol=1e-7)
    with np.errstate(all="raise", under="ignore"):
        np.testing.assert_array_equal(sigmoid(np.array([-1000.0, 0, 1000])), [0, 0.5, 1])


def test_F04_the_loss_of_one_example_by_hand():
    np.testing.assert_allclose(loss(np.array([0.25, 0.25]), np.array([1, 0])), [np.log(4), np.log(4 / 3)], atol=1e-15)


def test_F04_certain_and_right_costs_nothing_certain_and_wrong_infinitely_much():
    np.testing.assert_array_equal(loss(np.array([1.0, 0, 1, 0]), np.array([1, 0, 0, 1])), [0, 0, np.inf, np.inf])


def test_F05_value_and_gradient_equal_pytorch_and_finite_differences(z, y):
    y_hat = sigmoid(z)
    value, by_autograd = autograd(lambda p: F.binary_cross_entropy(p, torch.tensor(y)), y_hat)
    assert binary_cross_entropy(y_hat, y) == pytest.approx(float(value), abs=1e-12)
    gradient = binary_cross_entropy_gradient(y_hat, y)
    np.testing.assert_allclose(gradient, by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda p: binary_cross_entropy(p, y), y_hat, 1e-6)
    np.testing.assert_allclose(gradient, by_differences, atol=1e-7)


def test_F05_on_logits_equals_minilm_and_finite_differences(z, y):
    value, by_autograd = autograd(lambda z: losses.binary_cross_entropy(z, torch.tensor(y)).value, z)
    assert binary_cross_entropy_with_logits(z, y) == pytest.approx(float(value), abs=1e-12)
    assert binary_cross_entropy_with_logits(z, y) == pytest.approx(binary_cross_entropy(sigmoid(z), y), abs=1e-12)
    gradient = binary_cross_entropy_with_logits_gradient(z, y)
    np.testing.assert_allclose(gradient, by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda z: binary_cross_entropy_with_logits(z, y), z)
    np.testing.assert_allclose(gradient, by_differences, atol=1e-7)


def test_F05_on_probabilities_overflows_where_logits_do_not():
    """σ(40) rounds to 1, so the printed form gives ∞, and its slope is −∞ times a derivative of 0. From the logit the loss
    is 40.
    """
    z, y, x = np.array([40.0]), np.array([0.0]), np.array([[1.0, 2.0]])
    y_hat = sigmoid(z)
    assert y_hat[0] == 1
    assert binary_cross_entropy(y_hat, y) == np.inf
    assert binary_cross_entropy_with_logits(z, y) == pytest.approx(40)
    dM = (y_hat * (1 - y_hat))[:, None] * x
    assert np.isnan(parameter_gradient(y_hat, y, dM)).all()
    np.testing.assert_allclose(parameter_gradient_from_logits(z, y, x), [1, 2], atol=1e-12)


def test_F06_as_printed_is_right_and_simplifies(rng, y):
    """Any differentiable model M(x) will do; here the logit is a tanh network, so it is not linear in its parameters."""
    x, theta = rng.normal(size=(N, 2)), rng.normal(size=n)

    def logit(theta, tanh=np.tanh):
        return theta[2] * tanh(x[:, 0] * theta[0] + x[:, 1] * theta[1])

    h = np.tanh(x @ theta[:2])
    dz = np.column_stack([theta[2] * (1 - h**2) * x[:, 0], theta[2] * (1 - h**2) * x[:, 1], h])  # [N, n]
    y_hat = sigmoid(logit(theta))
    dM = (y_hat * (1 - y_hat))[:, None] * dz

    def torch_risk(theta):
        a, b = (torch.tensor(column) for column in x.T)
        z = theta[2] * torch.tanh(a * theta[0] + b * theta[1])
        return losses.binary_cross_entropy(z, torch.tensor(y)).value

    _, by_autograd = autograd(torch_risk, theta)
    by_differences = finite_differences(lambda theta: binary_cross_entropy(sigmoid(logit(theta)), y), theta)
    for gradient in (parameter_gradient(y_hat, y, dM), parameter_gradient_from_logits(logit(theta), y, dz)):
        np.testing.assert_allclose(gradient, by_autograd, atol=1e-10)
        np.testing.assert_allclose(gradient, by_differences, atol=1e-7)


HALF = np.array([0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: loss(np.zeros(0), np.zeros(0)), "y_hat is empty"),
        (lambda: loss(HALF, np.array([0, 2])), "y holds 2"),
        (lambda: loss(HALF[:, None], HALF), "y_hat has shape"),
        (lambda: binary_cross_entropy(np.array([0.5, 1.1]), HALF), "y_hat holds 1.1"),
        (lambda: binary_cross_entropy(np.array([0.5, np.nan]), HALF), "y_hat holds nan"),
        (lambda: binary_cross_entropy_gradient(HALF, np.zeros(3)), "y has shape"),
        (lambda: binary_cross_entropy_with_logits(np.zeros(0), np.zeros(0)), "z is empty"),
        (lambda: binary_cross_entropy_with_logits(HALF, np.array([-1, 0])), "y holds -1"),
        (lambda: binary_cross_entropy_with_logits_gradient(HALF, np.zeros((2, 1))), "y has shape"),
        (lambda: parameter_gradient(HALF, HALF, np.zeros((3, 2))), "dM has shape"),
        (lambda: parameter_gradient_from_logits(HALF, HALF, np.zeros(2)), "dz has shape"),
    ],
)
def test_F04_F05_F06_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
