import numpy as np
import pytest
import torch
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas.gru import gru, gru_gradients, gru_reset_before, gru_reset_before_gradients
from minilm.layers.recurrent import GRUCell

T, I, H = 6, 3, 4


@pytest.fixture
def rng():
    return np.random.default_rng(8)


def weights(rng):
    """x, h0, W_x, W_h, b, b_h."""
    return tuple(rng.normal(size=shape) for shape in ((T, I), (H,), (3 * H, I), (3 * H, H), (3 * H,), (3 * H,)))


def library(x, h0, W_x, W_h, b, b_h):
    """h [T, H] of the library's cell, which resets after the product."""
    cell, h, hs = GRUCell(I, H), h0[None], []
    for x_t in x:
        h = torch.func.functional_call(cell, {"W_x": W_x, "W_h": W_h, "b": b, "b_h": b_h}, (x_t[None], h))
        hs.append(h[0])
    return torch.stack(hs)


def cho(x, h0, W_x, W_h, b):
    """Equations 5 to 8 of Cho et al. in PyTorch, with one matrix per letter, as printed in the paper."""
    (W_r, W_z, W), (U_r, U_z, U), (b_r, b_z, b_n) = W_x.chunk(3), W_h.chunk(3), b.chunk(3)
    h, hs = h0, []
    for x_t in x:
        r = torch.sigmoid(W_r @ x_t + U_r @ h + b_r)
        z = torch.sigmoid(W_z @ x_t + U_z @ h + b_z)
        candidate = torch.tanh(W @ x_t + U @ (r * h) + b_n)
        h = z * h + (1 - z) * candidate
        hs.append(h)
    return torch.stack(hs)


FORMS = {"after": (gru, gru_gradients, library, 6), "before": (gru_reset_before, gru_reset_before_gradients, cho, 5)}
both = pytest.mark.parametrize("form", FORMS)


@both
def test_F16_states_and_gradients_equal_autograd(rng, form):
    forward, gradients, referee, count = FORMS[form]
    arguments, dh = weights(rng)[:count], rng.normal(size=(T, H))
    value, *theirs = autograd(referee, *arguments, upstream=dh)
    np.testing.assert_allclose(forward(*arguments), value, atol=1e-10)
    for ours, other in zip(gradients(*arguments, dh), theirs, strict=True):
        np.testing.assert_allclose(ours, other, atol=1e-10)


@both
def test_F16_gradients_equal_finite_differences(rng, form):
    forward, gradients, _, count = FORMS[form]
    arguments, dh = list(weights(rng)[:count]), rng.normal(size=(T, H))
    for i, ours in enumerate(gradients(*arguments, dh)):

        def value(changed, i=i):
            return (forward(*arguments[:i], changed, *arguments[i + 1 :]) * dh).sum()

        np.testing.assert_allclose(ours, finite_differences(value, arguments[i]), atol=1e-7)


def test_F16_the_two_forms_are_two_functions(rng):
    *arguments, b_h = weights(rng)
    after, before = gru(*arguments, np.zeros_like(b_h)), gru_reset_before(*arguments)
    assert np.abs(after - before).max() > 0.1
    wide_open = [a.copy() for a in arguments]
    wide_open[-1][:H] = 800.0  # r = 1: nothing is reset, so the place of the reset does not matter
    np.testing.assert_allclose(gru(*wide_open, np.zeros_like(b_h)), gru_reset_before(*wide_open), atol=1e-12)


@both
def test_F16_a_shut_update_gate_carries_state_and_gradient_unchanged(rng, form):
    forward, gradients, _, count = FORMS[form]
    arguments, dh = list(weights(rng)[:count]), np.zeros((T, H))
    arguments[4][H : 2 * H] = 800.0  # z = 1
    dh[-1] = rng.normal(size=H)
    np.testing.assert_array_equal(forward(*arguments), np.tile(arguments[1], (T, 1)))
    np.testing.assert_array_equal(gradients(*arguments, dh)[1], dh[-1])


BAD = {
    "x": (0, np.zeros(I)),
    "no steps": (0, np.zeros((0, I))),
    "h0": (1, np.zeros((1, H))),
    "W_x": (2, np.zeros((3 * H, I + 1))),
    "W_h": (3, np.zeros((4 * H, H))),
    "b": (4, np.zeros(H)),
    "dh": (-1, np.zeros((T - 1, H))),
}


@both
@pytest.mark.parametrize("bad", BAD)
def test_F16_says_what_does_not_fit(rng, form, bad):
    _, gradients, _, count = FORMS[form]
    arguments = [*weights(rng)[:count], rng.normal(size=(T, H))]
    gradients(*arguments)
    place, array = BAD[bad]
    arguments[place] = array
    with pytest.raises(InputError, match=r"must be|must have|give at least one"):
        gradients(*arguments)


def test_F16_the_second_bias_must_fit(rng):
    *arguments, _ = weights(rng)
    with pytest.raises(InputError, match="b_h has shape"):
        gru(*arguments, np.zeros(H))
