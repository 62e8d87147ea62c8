import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas.rnn import (
    norms_through_time,
    rnn,
    rnn_gradients,
    rnn_loss,
    rnn_loss_gradients,
    rnn_loss_gradients_as_printed,
    rnn_loss_gradients_repaired_as_printed,
    rnn_output,
)
from minilm.layers.recurrent import CELLS, RNNCell

T, I, H, V = 6, 3, 4, 5
KINDS = {"tanh": "rnn", "relu": "rnn-relu"}  # σ and the library's name for such a cell
both = pytest.mark.parametrize("activation", KINDS)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def weights(rng, I=I, H=H, V=V, T=T):
    """x, y, h0, W_h, W_x, b_h, W_y, b_y: the letters of F09 and F10, and the actual tokens y."""
    shapes = (T, I), (H,), (H, H), (H, I), (H,), (V, H), (V,)
    x, *others = (rng.normal(size=shape) for shape in shapes)
    return x, rng.integers(V, size=T), *others


def library_states(kind):
    """h [T, H] of the library's cell, with the weights of the formula."""

    def states(x, h0, W_h, W_x, b_h):
        cell = CELLS[kind](x.shape[1], len(h0))
        h, hs = h0[None], []
        for x_t in x:
            parameters = {"W_x": W_x, "W_h": W_h, "b": b_h}
            h = torch.func.functional_call(cell, parameters, (x_t[None], h))
            hs.append(h[0])
        return torch.stack(hs)

    return states


@both
def test_F09_states_equal_the_library_and_so_do_the_gradients(rng, activation):
    x, _, *cell = weights(rng)
    arguments, dh = (x, *cell[:4]), rng.normal(size=(T, H))
    value, *gradients = autograd(library_states(KINDS[activation]), *arguments, upstream=dh)
    np.testing.assert_allclose(rnn(*arguments, activation), value, atol=1e-10)
    for ours, theirs in zip(rnn_gradients(*arguments, dh, activation), gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@both
def test_F12_F13_F14_through_time_equal_finite_differences(rng, activation):
    x, _, *cell = weights(rng)
    arguments, dh = [x, *cell[:4]], rng.normal(size=(T, H))
    for i, ours in enumerate(rnn_gradients(*arguments, dh, activation)):

        def value(changed, i=i):
            return (rnn(*arguments[:i], changed, *arguments[i + 1 :], activation) * dh).sum()

        np.testing.assert_allclose(ours, finite_differences(value, arguments[i]), atol=1e-7)


def test_F10_is_a_softmax_of_each_row(rng):
    h, W_y, b_y = rng.normal(size=(T, H)), rng.normal(size=(V, H)), rng.normal(size=V)
    theirs = (torch.tensor(h) @ torch.tensor(W_y).T + torch.tensor(b_y)).softmax(dim=-1)
    np.testing.assert_allclose(rnn_output(h, W_y, b_y), theirs, atol=1e-12)
    np.testing.assert_allclose(rnn_output(1e4 * h, W_y, b_y).sum(axis=1), 1)  # exp does not overflow


@both
def test_F12_F13_F14_of_the_loss_equal_autograd_and_finite_differences(rng, activation):
    x, y, *others = weights(rng)

    def loss(x, h0, W_h, W_x, b_h, W_y, b_y):
        h = library_states(KINDS[activation])(x, h0, W_h, W_x, b_h)
        return F.cross_entropy(F.linear(h, W_y, b_y), torch.tensor(y), reduction="sum")

    value, *gradients = autograd(loss, x, *others)
    assert rnn_loss(x, y, *others, activation) == pytest.approx(float(value), abs=1e-10)
    ours, arguments = rnn_loss_gradients(x, y, *others, activation), [x, *others]
    for i, (mine, theirs) in enumerate(zip(ours, gradients, strict=True)):

        def changed(a, i=i):
            x, *others = (*arguments[:i], a, *arguments[i + 1 :])
            return rnn_loss(x, y, *others, activation)

        np.testing.assert_allclose(mine, theirs, atol=1e-10)
        np.testing.assert_allclose(mine, finite_differences(changed, arguments[i]), atol=1e-7)


@both
def test_F12_F13_F14_as_printed_are_exactly_zero_and_ignore_the_label(rng, activation):
    x, y, *others = weights(rng)
    printed = rnn_loss_gradients_as_printed(x, y, *others, activation)
    true = rnn_loss_gradients(x, y, *others, activation)[2:5]
    assert [np.shape(g) for g in printed] == [(H,), (I,), ()]  # none has the shape of its parameter
    assert all(np.all(g == 0) for g in printed)
    assert all(np.linalg.norm(g) > 0.1 for g in true)
    again = rnn_loss_gradients_as_printed(x, (y + 1) % V, *others, activation)
    assert all(np.array_equal(a, b) for a, b in zip(printed, again, strict=True))
    other_answer = rnn_loss_gradients(x, (y + 1) % V, *others, activation)[2:5]
    assert all(np.linalg.norm(a - b) > 0.1 for a, b in zip(true, other_answer, strict=True))


def test_F12_F13_F14_repaired_do_not_fit_the_weights_and_sum_to_zero(rng):
    x, y, *others = weights(rng)
    repaired = rnn_loss_gradients_repaired_as_printed(x, y, *others)
    true = rnn_loss_gradients(x, y, *others)[2:5]
    assert [g.shape for g in repaired] == [(V, H), (V, I), (V,)]
    assert [g.shape for g in true] == [(H, H), (H, I), (H,)]
    for g in repaired:
        assert np.linalg.norm(g) > 0.1
        np.testing.assert_allclose(g.sum(axis=0), 0, atol=1e-12)  # Σᵢ as it is printed


def test_F12_F13_F14_repaired_are_another_direction_where_the_shape_fits(rng):
    def angles_and_errors(trial):
        x, y, *others = weights(trial, H=5, V=5, T=8)
        pairs = zip(rnn_loss_gradients_repaired_as_printed(x, y, *others), rnn_loss_gradients(x, y, *others)[2:5])
        return [
            (
                (g * true).sum() / np.linalg.norm(g) / np.linalg.norm(true),
                np.linalg.norm(g - true) / np.linalg.norm(true),
            )
            for g, true in pairs
        ]

    cosines, errors = np.array([angles_and_errors(trial) for trial in rng.spawn(200)]).transpose(2, 1, 0)
    assert np.all(np.abs(cosines.mean(axis=1)) < 0.1)  # on average a right angle, no better than chance
    assert np.all((cosines < 0).mean(axis=1) > 0.35)  # the step often goes uphill
    assert np.all(np.median(errors, axis=1) > 0.5)


def test_F12_repaired_is_the_gradient_of_the_output_weights_one_step_late(rng):
    x, y, h0, *others = weights(rng)
    repaired = rnn_loss_gradients_repaired_as_printed(x, y, h0, *others)[0]
    dW_y = rnn_loss_gradients(x, y, h0, *others)[5]
    h = rnn(x, h0, *others[:3])
    error = rnn_output(h, *others[3:]) - np.eye(V)[y]
    np.testing.assert_allclose(error.T @ h, dW_y, atol=1e-12)
    np.testing.assert_allclose(repaired, error.T @ np.vstack([h0, h[:-1]]), atol=1e-12)
    assert np.abs(repaired - dW_y).max() > 0.1


@both
def test_F09_gradient_norms_are_those_of_autograd(rng, activation):
    x, _, *cell = weights(rng)
    arguments, dh_T = (x, *cell[:4]), rng.normal(size=H)
    of_state, of_gradient = norms_through_time(*arguments, dh_T, activation)
    assert of_gradient[-1] == pytest.approx(np.linalg.norm(dh_T))
    for t in range(T):  # δhₜ is the δh0 of the sequence that starts after t
        h_t = rnn(*arguments, activation)[t - 1] if t else arguments[1]
        upstream = np.vstack([np.zeros((T - t - 1, H)), dh_T])
        _, _, dh_t, *_ = autograd(library_states(KINDS[activation]), x[t:], h_t, *arguments[2:], upstream=upstream)
        assert of_gradient[t] == pytest.approx(np.linalg.norm(dh_t), abs=1e-10)
        assert of_state[t] == pytest.approx(np.linalg.norm(h_t), abs=1e-12)


def norms_of_100_steps(activation, gain, seed):
    """The norms of the last state and of the first gradient, for 64 untrained units with weights from N(0, gain²/64)."""
    rng, H = np.random.default_rng(seed), 64
    W_h, W_x = gain * rng.normal(size=(H, H)) / np.sqrt(H), rng.normal(size=(H, I)) / np.sqrt(I)
    x, dh_T = rng.normal(size=(100, I)), rng.normal(size=H) / np.sqrt(H)
    of_state, of_gradient = norms_through_time(x, np.zeros(H), W_h, W_x, np.zeros(H), dh_T, activation)
    return of_state[-1], of_gradient[0]


@pytest.mark.parametrize("seed", range(5))
def test_F09_relu_lets_the_state_grow_without_bound_where_tanh_holds_it(seed):
    (tanh_state, tanh_gradient), (relu_state, relu_gradient) = (norms_of_100_steps(a, 2.0, seed) for a in KINDS)
    assert tanh_state < np.sqrt(64)  # each of the 64 numbers lies within ±1
    assert relu_state > 1e6 * tanh_state
    assert relu_gradient > 1e6 * tanh_gradient


@pytest.mark.parametrize("seed", range(5))
def test_F09_gradient_vanishes_for_both_when_the_weights_are_small(seed):
    for activation in KINDS:
        of_state, of_gradient = norms_of_100_steps(activation, 0.9, seed)
        assert of_gradient < 1e-12 < 1 < of_state


BAD = {
    "x": dict(x=np.zeros(I)),
    "no steps": dict(x=np.zeros((0, I))),
    "h0": dict(h0=np.zeros(H + 1)),
    "W_h": dict(W_h=np.zeros((H, H + 1))),
    "W_x": dict(W_x=np.zeros((H, I + 1))),
    "b_h": dict(b_h=np.zeros((H, 1))),
    "W_y": dict(W_y=np.zeros((V, H + 1))),
    "b_y": dict(b_y=np.zeros(V + 1)),
    "y": dict(y=np.zeros(T - 1, dtype=int)),
    "a word outside": dict(y=np.full(T, V)),
    "activation": dict(activation="sigmoid"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("function", [rnn_loss, rnn_loss_gradients])
def test_F09_says_what_does_not_fit(rng, bad, function):
    names = "x", "y", "h0", "W_h", "W_x", "b_h", "W_y", "b_y"
    good = dict(zip(names, weights(rng)))
    function(**good)
    with pytest.raises(InputError, match=r"give|must be|must have|choose"):
        function(**(good | BAD[bad]))


def test_F09_upstream_gradients_must_fit(rng):
    x, _, *cell = weights(rng)
    with pytest.raises(InputError, match="dh has shape"):
        rnn_gradients(x, *cell[:4], np.zeros((T, H + 1)))
    with pytest.raises(InputError, match="dh_T has shape"):
        norms_through_time(x, *cell[:4], np.zeros(H + 1))


def test_F09_the_library_takes_tanh_unless_told_otherwise():
    assert RNNCell(I, H).activation is torch.tanh
