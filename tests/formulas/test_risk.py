import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch import nn

from minilm.errors import InputError
from minilm.formulas.binary_cross_entropy import loss as yes_or_no, sigmoid
from minilm.formulas.risk import (
    argmin,
    early_stopping,
    empirical_risk,
    empirical_risk_gradient,
    gradient_descent,
    l2,
    l2_gradient,
    largest_safe_rate,
    polynomial,
    polynomial_gradient,
    squared_error,
    squared_error_gradient,
)
from minilm.training import losses
from minilm.training.early_stopping import EarlyStopping

N = 6


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    return rng.uniform(-1, 1, size=N), rng.normal(size=N)


def risk_of(data):
    return lambda theta: empirical_risk(theta, *data, polynomial, squared_error)


def gradient_of(data):
    return lambda theta: empirical_risk_gradient(theta, *data, polynomial, polynomial_gradient, squared_error_gradient)


def test_F01_risk_and_gradient_equal_autograd_and_finite_differences(data):
    theta = np.array([0.3, -1.2, 0.7, 2.0])

    def theirs(theta):
        x, y = map(torch.tensor, data)
        return torch.mean((sum(theta[k] * x**k for k in range(4)) - y) ** 2)

    value, by_autograd = autograd(theirs, theta)
    assert risk_of(data)(theta) == pytest.approx(float(value), abs=1e-12)
    np.testing.assert_allclose(gradient_of(data)(theta), by_autograd, atol=1e-10)
    np.testing.assert_allclose(gradient_of(data)(theta), finite_differences(risk_of(data), theta), atol=1e-7)


def test_F01_parts_of_the_chain_equal_autograd_and_finite_differences(data):
    x, y = data
    dY = np.random.default_rng(4).normal(size=N)
    _, by_autograd = autograd(lambda p: (p - torch.tensor(y)) ** 2, x, upstream=dY)
    np.testing.assert_allclose(squared_error_gradient(y, x) * dY, by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda p: (squared_error(y, p) * dY).sum(), x)
    np.testing.assert_allclose(squared_error_gradient(y, x) * dY, by_differences, atol=1e-7)
    theta = np.array([0.3, -1.2, 0.7])
    _, by_autograd = autograd(lambda t: sum(t[k] * torch.tensor(x) ** k for k in range(3)), theta, upstream=dY)
    np.testing.assert_allclose(dY @ polynomial_gradient(x, theta), by_autograd, atol=1e-10)
    by_differences = finite_differences(lambda t: (polynomial(x, t) * dY).sum(), theta)
    np.testing.assert_allclose(dY @ polynomial_gradient(x, theta), by_differences, atol=1e-7)


def test_F01_is_the_mean_of_any_loss_over_any_model():
    """With the loss of F04 and a logistic model, F01 becomes F05."""
    x, y, theta = np.array([-1.0, 0.5, 2.0]), np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.8])
    ours = empirical_risk(theta, x, y, lambda x, theta: sigmoid(polynomial(x, theta)), lambda y, p: yes_or_no(p, y))
    theirs = losses.binary_cross_entropy(torch.tensor(polynomial(x, theta)), torch.tensor(y)).value
    assert ours == pytest.approx(float(theirs), abs=1e-12)


def test_F02_the_search_ends_where_least_squares_does(data):
    path = gradient_descent(gradient_of(data), np.zeros(3), 0.3, 1500)
    expected, *_ = np.linalg.lstsq(np.vander(data[0], 3, increasing=True), data[1], rcond=None)
    np.testing.assert_allclose(path[-1], expected, atol=1e-8)
    risks = [risk_of(data)(theta) for theta in path[:50]]
    assert (np.diff(risks) < 0).all()


def test_F02_argmin_by_looking_everywhere_agrees_with_the_search(data):
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 41), np.linspace(-2, 2, 41)), axis=-1).reshape(-1, 2)
    found = gradient_descent(gradient_of(data), np.zeros(2), 0.3, 500)[-1]
    assert np.abs(found).max() < 2
    np.testing.assert_allclose(argmin(risk_of(data), grid), found, atol=0.1)


def test_F02_the_search_from_near_the_goal_needs_fewer_steps(data):
    """This is the reason for pretraining."""
    goal = gradient_descent(gradient_of(data), np.zeros(3), 0.3, 1500)[-1]

    def steps_from(start):
        distance = np.linalg.norm(gradient_descent(gradient_of(data), start, 0.3, 1500) - goal, axis=1)
        return np.argmax(distance < 1e-3)

    assert steps_from(goal + 0.01) < steps_from(goal + 1.0) / 1.5


def test_F03_one_step_is_the_printed_line(data):
    theta = np.array([0.5, -0.5])
    path = gradient_descent(gradient_of(data), theta, 0.1, 1)
    np.testing.assert_array_equal(path, [theta, theta - 0.1 * gradient_of(data)(theta)])


def test_F03_above_two_over_the_largest_curvature_the_search_climbs(data):
    features = np.vander(data[0], 2, increasing=True)
    limit = largest_safe_rate(2 * features.T @ features / N)
    below, above = (
        [risk_of(data)(t) for t in gradient_descent(gradient_of(data), np.ones(2), share * limit, 200)[[0, -1]]]
        for share in (0.99, 1.01)
    )
    assert below[1] < below[0]
    assert above[1] > above[0]


def test_F03_l2_equals_minilm_and_finite_differences():
    theta = np.random.default_rng(1).normal(size=(3, 2))
    value, by_autograd = autograd(lambda t: 0.3 * losses.l2([t]), theta)
    assert l2(theta, 0.3) == pytest.approx(float(value), abs=1e-12)
    np.testing.assert_allclose(l2_gradient(theta, 0.3), by_autograd, atol=1e-10)
    np.testing.assert_allclose(l2_gradient(theta, 0.3), finite_differences(lambda t: l2(t, 0.3), theta), atol=1e-7)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("curve", "patience", "expected"),
    [
        ([3, 2, 1, 0.5], 1, (3, 3)),
        ([3, 1, 2, 2, 0], 2, (1, 3)),  # the best loss, at the end, is never seen
        ([3, 1, 2, 2, 0], 3, (4, 4)),
        ([1, 1, 1, 1], 2, (0, 2)),  # equally good is not better
        ([NAN, 2, NAN, NAN, 1], 2, (1, 3)),
        ([INF, 5, 6], 2, (1, 2)),
        ([2, 3], 5, (0, 1)),
    ],
)
def test_F03_early_stopping_equals_minilm(curve, patience, expected):
    assert early_stopping(np.array(curve), patience) == expected
    model, stopping = nn.Linear(1, 1), EarlyStopping(patience, mode="min")
    for last, loss in enumerate(curve):
        nn.init.constant_(model.weight, float(last))
        stopping.update(float(loss), model)
        if stopping.should_stop:
            break
    stopping.restore(model)
    assert (int(model.weight), last) == expected


def zeros(*shape):
    return np.zeros(shape)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: empirical_risk(zeros(2), zeros(0), zeros(0), polynomial, squared_error), "y is empty"),
        (lambda: empirical_risk(zeros(2), zeros(4), zeros(4, 1), polynomial, squared_error), "loss.* has shape"),
        (lambda: empirical_risk(zeros(2, 1), zeros(4), zeros(4), polynomial, squared_error), "theta has shape"),
        (lambda: polynomial(zeros(4, 1), zeros(2)), "x has shape"),
        (
            lambda: empirical_risk_gradient(
                zeros(2), zeros(4), zeros(4), polynomial, lambda x, theta: zeros(4, 3), squared_error_gradient
            ),
            "dP.* has shape",
        ),
        (lambda: gradient_descent(lambda t: t, zeros(2), 0.0, 1), "rate is 0"),
        (lambda: gradient_descent(lambda t: zeros(3), zeros(2), 0.1, 1), r"gradient has shape \[3\]"),
        (lambda: argmin(lambda t: 0, zeros(0, 2)), "thetas is empty"),
        (lambda: largest_safe_rate(zeros(2, 3)), "curvature has shape"),
        (lambda: largest_safe_rate(zeros(2, 2)), "no valley"),
        (lambda: l2(zeros(2), -1), "decay is -1"),
        (lambda: l2_gradient(zeros(2), NAN), "decay is nan"),
        (lambda: early_stopping(zeros(0), 1), "losses is empty"),
        (lambda: early_stopping(zeros(2), 0), "patience is 0"),
        (lambda: early_stopping(np.array([NAN, NAN]), 3), "none of the losses"),
    ],
)
def test_F01_F02_F03_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
