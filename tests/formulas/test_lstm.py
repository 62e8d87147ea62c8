import numpy as np
import pytest
import torch
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas.lstm import lstm, lstm_gates, lstm_gradients, sigmoid
from minilm.layers.recurrent import LSTMCell, Recurrent

T, I, H = 6, 3, 4


@pytest.fixture
def rng():
    return np.random.default_rng(6)


def weights(rng, T=T):
    """x, h0, c0, W_x, W_h, b."""
    return tuple(rng.normal(size=shape) for shape in ((T, I), (H,), (H,), (4 * H, I), (4 * H, H), (4 * H,)))


def library(x, h0, c0, W_x, W_h, b):
    """h and c of every step, [2, T, H], computed by the library's cell with these weights."""
    cell, h, c, both = LSTMCell(I, H), h0[None], c0[None], []
    for x_t in x:
        h, c = torch.func.functional_call(cell, {"W_x": W_x, "W_h": W_h, "b": b}, (x_t[None], h, c))
        both.append(torch.cat([h, c]))
    return torch.stack(both, dim=1)


def test_F15_states_and_gradients_equal_the_library(rng):
    arguments, upstream = weights(rng), rng.normal(size=(2, T, H))
    value, *gradients = autograd(library, *arguments, upstream=upstream)
    np.testing.assert_allclose(lstm(*arguments), value, atol=1e-10)
    for ours, theirs in zip(lstm_gradients(*arguments, *upstream), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_F15_gradients_equal_finite_differences(rng):
    arguments, (dh, dc) = list(weights(rng)), rng.normal(size=(2, T, H))
    for i, ours in enumerate(lstm_gradients(*arguments, dh, dc)):

        def value(changed, i=i):
            h, c = lstm(*arguments[:i], changed, *arguments[i + 1 :])
            return (h * dh).sum() + (c * dc).sum()

        np.testing.assert_allclose(ours, finite_differences(value, arguments[i]), atol=1e-7)


def test_F15_equals_the_gradient_by_hand_that_trains(rng):
    """`minilm/layers/recurrent.py` implements the same derivation a second time, for a batch."""
    (x, _, _, W_x, W_h, b), dh, zeros = weights(rng), rng.normal(size=(T, H)), np.zeros(H)
    layer = Recurrent("lstm", I, H).double()
    names = [f"cells.0.{name}" for name in ("W_x", "W_h", "b")]

    def states(x, *tensors):
        return torch.func.functional_call(layer, dict(zip(names, tensors)), (x[None],))[0][0]

    value, *gradients = autograd(states, x, W_x, W_h, b, upstream=dh)
    np.testing.assert_allclose(lstm(x, zeros, zeros, W_x, W_h, b)[0], value, atol=1e-10)
    dx, _, _, *others = lstm_gradients(x, zeros, zeros, W_x, W_h, b, dh)
    for ours, theirs in zip((dx, *others), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def test_F15_an_open_forget_gate_carries_memory_and_gradient_unchanged(rng):
    x, h0, c0, W_x, W_h, _ = weights(rng, T=100)
    shut, open_, any_ = np.full(H, -800.0), np.full(H, 800.0), np.zeros(H)
    b = np.concatenate([shut, open_, any_, any_])  # i = 0, f = 1: nothing enters the memory and nothing is lost
    _, c = lstm(x, h0, c0, W_x, W_h, b)
    np.testing.assert_array_equal(c, np.tile(c0, (100, 1)))
    dc = np.zeros((100, H))
    dc[-1] = rng.normal(size=H)
    _, _, dc0, *_ = lstm_gradients(x, h0, c0, W_x, W_h, b, np.zeros((100, H)), dc)
    np.testing.assert_array_equal(dc0, dc[-1])  # after a hundred steps: F09 cannot do this


def test_F15_gates_are_those_of_the_formula(rng):
    arguments = weights(rng)
    gates, (h, c) = lstm_gates(*arguments), lstm(*arguments)
    i, f, g, o = gates.transpose(1, 0, 2)
    assert gates.shape == (T, 4, H)
    np.testing.assert_allclose(c, f * np.vstack([arguments[2], c[:-1]]) + i * g, atol=1e-12)
    np.testing.assert_allclose(h, o * np.tanh(c), atol=1e-12)
    assert gates[:, [0, 1, 3]].min() > 0 > g.min()


def test_F15_sigmoid_does_not_overflow():
    with np.errstate(all="raise"):
        np.testing.assert_allclose(sigmoid(np.array([-1000.0, 0.0, 1000.0])), [0, 0.5, 1])
    a = np.linspace(-5, 5, 11)
    np.testing.assert_allclose(sigmoid(a), 1 / (1 + np.exp(-a)), atol=1e-15)


BAD = {
    "x": (0, np.zeros(I)),
    "no steps": (0, np.zeros((0, I))),
    "h0": (1, np.zeros((1, H))),
    "c0": (2, np.zeros(H + 1)),
    "W_x": (3, np.zeros((4 * H, I + 1))),
    "three blocks": (3, np.zeros((3 * H, I))),
    "W_h": (4, np.zeros((4 * H, H + 1))),
    "b": (5, np.zeros(H)),
    "dh": (6, np.zeros((T - 1, H))),
    "dc": (7, np.zeros((T, H + 1))),
}


@pytest.mark.parametrize("bad", BAD)
def test_F15_says_what_does_not_fit(rng, bad):
    arguments = [*weights(rng), *rng.normal(size=(2, T, H))]
    lstm_gradients(*arguments)
    place, array = BAD[bad]
    arguments[place] = array
    with pytest.raises(InputError, match=r"must be|must have|give at least one"):
        lstm_gradients(*arguments)
