import math

import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.formulas.optimizers import (
    adam_step,
    adamw_step,
    clip_by_global_norm,
    momentum_step,
    muon_step,
    orthogonalised,
    sgd_step,
    warmup_cosine,
    warmup_linear,
)
from minilm.formulas.risk import l2_gradient
from minilm.training import optimizer, schedule
from minilm.training.muon import Muon

SHAPE, STEPS, DECAY, BETAS, EPS = (4, 3), 9, 0.2, (0.8, 0.95), 1e-3
RATES = [0.1, 0.2, 0.2, 0.05, 0.0, 0.3, 0.1, 0.1, 0.01]


def drawn():
    rng = np.random.default_rng(2)
    return rng.normal(size=SHAPE), rng.normal(size=(STEPS, *SHAPE)) * np.logspace(-2, 1, 3)


def run_formulas(name):
    """θ after each step."""
    theta, gradients = drawn()
    m, v, path = np.zeros(SHAPE), np.zeros(SHAPE), []
    for t, (g, learning_rate) in enumerate(zip(gradients, RATES, strict=True), start=1):
        if name == "sgd":
            theta = sgd_step(theta, g, learning_rate)
        elif name == "sgd with l2":
            theta = sgd_step(theta, g + l2_gradient(theta, DECAY), learning_rate)
        elif name == "momentum":
            theta, m = momentum_step(theta, g, m, learning_rate, 0.7)
        elif name == "adam":
            theta, m, v = adam_step(theta, g, m, v, t, learning_rate, BETAS, EPS)
        elif name == "adam with l2":
            theta, m, v = adam_step(theta, g + l2_gradient(theta, DECAY), m, v, t, learning_rate, BETAS, EPS)
        else:
            theta, m, v = adamw_step(theta, g, m, v, t, learning_rate, DECAY, BETAS, EPS)
        path.append(theta)
    return np.array(path)


ADAM = dict(betas=BETAS, eps=EPS)
REFEREES = {
    "sgd": (optimizer.SGD, torch.optim.SGD, {}, 0),
    "sgd with l2": (optimizer.SGD, torch.optim.SGD, {}, DECAY),
    "momentum": (optimizer.SGD, torch.optim.SGD, dict(momentum=0.7), 0),
    "adam": (optimizer.Adam, torch.optim.Adam, ADAM, 0),
    "adam with l2": (optimizer.Adam, torch.optim.Adam, ADAM, DECAY),
    "adamw": (optimizer.AdamW, torch.optim.AdamW, ADAM, DECAY),
}


@pytest.mark.parametrize("name", REFEREES)
def test_F03_every_step_equals_minilms_and_pytorchs(name):
    ours, theirs, options, decay = REFEREES[name]
    start, gradients = drawn()
    parameters = [torch.tensor(start, requires_grad=True) for _ in range(2)]
    minilm = ours([{"params": parameters[:1], "weight_decay": decay}], **options)
    pytorch = theirs([parameters[1]], lr=9, weight_decay=decay, **options)
    for g, learning_rate, expected in zip(gradients, RATES, run_formulas(name), strict=True):
        for parameter in parameters:
            parameter.grad = torch.tensor(g)
        minilm.step(learning_rate)
        pytorch.param_groups[0]["lr"] = learning_rate
        pytorch.step()
        for parameter in parameters:
            np.testing.assert_allclose(parameter.detach(), expected, atol=1e-12)


def test_F03_nothing_is_changed_in_place():
    theta, (g, *_) = drawn()
    before = theta.copy(), g.copy()
    m, v = np.zeros(SHAPE), np.zeros(SHAPE)
    sgd_step(theta, g, 0.1), momentum_step(theta, g, m, 0.1), adamw_step(theta, g, m, v, 1, 0.1, 0.1)
    clip_by_global_norm([g], 0.1)
    np.testing.assert_array_equal([theta, g, m, v], [*before, np.zeros(SHAPE), np.zeros(SHAPE)])


def test_F03_momentum_adds_up_what_agrees():
    """With a constant gradient the steps become 1/(1 − μ) times as long; with an alternating one, 1/(1 + μ) times."""
    constant = alternating = m_c = m_a = np.zeros(1)
    for t in range(200):
        last = constant, alternating
        constant, m_c = momentum_step(constant, np.ones(1), m_c, 1.0, 0.9)
        alternating, m_a = momentum_step(alternating, np.full(1, (-1.0) ** t), m_a, 1.0, 0.9)
    assert abs(constant - last[0]) == pytest.approx(10)
    assert abs(alternating - last[1]) == pytest.approx(1 / 1.9)


def test_F03_adams_first_step_is_the_learning_rate_for_any_size_of_gradient():
    g = np.array([1e-3, -7.0, 1e4])
    theta, m, v = adam_step(np.zeros(3), g, np.zeros(3), np.zeros(3), 1, 0.01)
    np.testing.assert_allclose(theta, -0.01 * np.sign(g), rtol=1e-4)
    np.testing.assert_allclose(m, 0.1 * g, rtol=1e-12)  # ten times too small, which m̂ corrects


def test_F03_l2_hardly_decays_where_adam_sees_large_gradients_and_adamw_does():
    """Gradients with mean 0, of size 0.01 in the first row and 10 in the second; 200 steps, averaged over 500 parameters."""
    noise = np.random.default_rng(0).choice([-1.0, 1.0], size=(200, 2, 500)) * [[0.01], [10.0]]
    with_l2 = decoupled = np.ones((2, 500))
    memories = [(np.zeros((2, 500)), np.zeros((2, 500))) for _ in range(2)]
    for t, g in enumerate(noise, start=1):
        with_l2, *memories[0] = adam_step(with_l2, g + l2_gradient(with_l2, 0.1), *memories[0], t, 0.01)
        decoupled, *memories[1] = adamw_step(decoupled, g, *memories[1], t, 0.01, 0.1)
    small, large = with_l2.mean(axis=1)
    assert small < 0.2  # the gradient is nearly all decay, so the decay gets full steps
    assert large == pytest.approx(0.98, abs=0.01)  # divided by 10 like the rest, the decay drowns
    np.testing.assert_allclose(decoupled.mean(axis=1), (1 - 0.01 * 0.1) ** 200, atol=0.02)  # 0.82 for both


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_F03_clipping_equals_minilms_and_pytorchs(max_norm):
    rng = np.random.default_rng(4)
    gradients = [rng.normal(size=shape) for shape in [(3, 2), (5,), (2, 1, 4)]]
    ours, norm = clip_by_global_norm(gradients, max_norm)
    for clip in (optimizer.clip_gradients, torch.nn.utils.clip_grad_norm_):
        parameters = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
        for parameter, g in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(g)
        assert norm == pytest.approx(float(clip(parameters, max_norm)), abs=1e-12)
        for parameter, g in zip(parameters, ours, strict=True):
            np.testing.assert_allclose(g, parameter.grad, atol=1e-12)
    assert math.sqrt(sum((g**2).sum() for g in ours)) == pytest.approx(min(norm, max_norm), rel=1e-5)


@pytest.mark.parametrize("w", [0.0, 0.05, 0.3])
def test_F03_schedules_equal_minilms(w):
    for p in np.linspace(0, 1, 41):
        assert warmup_linear(p, w) == pytest.approx(schedule.warmup_linear(p, w), abs=1e-15)
        assert warmup_cosine(p, w, 0.1) == pytest.approx(schedule.warmup_cosine(p, w, 0.1), abs=1e-15)
    assert (warmup_linear(w, w), warmup_cosine(w, w)) == (1, 1)
    assert warmup_linear(1, w) == 0
    assert warmup_cosine(1, w, 0.1) == pytest.approx(0.1)


A, B = np.zeros(2), np.zeros(3)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sgd_step(A, B, 0.1), r"g has shape \[3\]"),
        (lambda: sgd_step(A, A, -0.1), "rate is -0.1"),
        (lambda: momentum_step(A, A, B, 0.1), r"m has shape \[3\]"),
        (lambda: momentum_step(A, A, A, 0.1, 1.0), "momentum is 1"),
        (lambda: adam_step(A, A, A, B, 1, 0.1), r"v has shape \[3\]"),
        (lambda: adam_step(A, A, A, A, 0, 0.1), "t is 0"),
        (lambda: adam_step(A, A, A, A, 1, 0.1, (1.0, 0.9)), "beta 1 is 1"),
        (lambda: adam_step(A, A, A, A, 1, 0.1, (0.9, -1)), "beta 2 is -1"),
        (lambda: adamw_step(A, A, A, A, 1, 0.1, -0.5), "decay is -0.5"),
        (lambda: adamw_step(A, A, A, A, 1, -1, 0.1), "rate is -1"),
        (lambda: clip_by_global_norm([], 1.0), "no gradients"),
        (lambda: clip_by_global_norm([A], 0.0), "max_norm is 0"),
        (lambda: warmup_linear(1.2), "p is 1.2"),
        (lambda: warmup_linear(0.5, 1.0), "w is 1"),
        (lambda: warmup_cosine(0.5, 0.1, 2.0), "floor is 2"),
    ],
)
def test_F03_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()


@pytest.mark.parametrize("shape", [(5, 3), (3, 4)])
def test_F03_muon_is_what_trains(shape):
    rng = np.random.default_rng(4)
    theta, m = rng.normal(size=shape), np.zeros(shape)
    parameter = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    ours = Muon([{"params": [parameter], "matrices": 1, "weight_decay": DECAY}], momentum=0.7)
    for learning_rate in RATES:
        g = rng.normal(size=shape)
        theta, m = muon_step(theta, g, m, learning_rate, DECAY, 0.7)
        parameter.grad = torch.from_numpy(g)
        ours.step(learning_rate)
        np.testing.assert_allclose(parameter.detach().numpy(), theta, rtol=0, atol=1e-9)


def test_F03_what_muon_refuses():
    square = np.eye(2)
    for call, message in (
        (lambda: orthogonalised(np.ones(3)), "only a matrix"),
        (lambda: muon_step(square, square, square, 0.1, decay=-1), "decay is -1"),
        (lambda: muon_step(square, square, square, 0.1, momentum=1), "momentum is 1"),
        (lambda: muon_step(square, np.ones((3, 2)), square, 0.1), "g has shape"),
        (lambda: muon_step(square, square, square, -0.1), "uphill"),
    ):
        with pytest.raises(InputError, match=message):
            call()
