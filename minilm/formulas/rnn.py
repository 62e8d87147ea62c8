r"""The simple recurrent network and back-propagation through time, derived by hand.  F09, F10, F12, F13, F14.

Letters:  T steps · I input size · H hidden size · V vocabulary · xₜ input · hₜ state · aₜ the argument of σ
          ŷₜ predicted probabilities · yₜ the actual token · δ… = ∂L/∂…
Source:   D1 §4.1–4.2; Elman (1990), Finding Structure in Time; Werbos (1990), Backpropagation Through Time.

The functions take one sequence at a time, so W_h hₜ₋₁ is the product of a matrix and a vector. The loss is the corrected
F11, L = −Σₜ log ŷₜ(yₜ): a sum over the steps, not a mean.
"""

from collections.abc import Callable

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.cross_entropy import log_softmax, softmax

# σ and its slope. Both slopes can be computed from the value h = σ(a), so a need not be kept.
ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "tanh": (np.tanh, lambda h: 1 - h**2),
    "relu": (lambda a: np.maximum(a, 0.0), lambda h: (h > 0).astype(float)),
}


def rnn(x: np.ndarray, h0: np.ndarray, W_h: np.ndarray, W_x: np.ndarray, b_h: np.ndarray, activation: str = "tanh"):
    r"""hₜ = σ(W_h hₜ₋₁ + W_x xₜ + b_h) for t = 1 … T: the states h [T, H].  F09.

    `x` [T, I], `h0` [H], `W_h` [H, H], `W_x` [H, I], `b_h` [H]; σ is "tanh" or, as in D1, "relu".
    Raises `InputError` if the shapes do not fit, T is 0, or σ is unknown.
    """
    _check(x, h0, W_h, W_x, b_h, activation)
    sigma, _ = ACTIVATIONS[activation]
    h, states = h0, []
    for x_t in x:
        h = sigma(W_h @ h + W_x @ x_t + b_h)
        states.append(h)
    return np.stack(states)


def rnn_gradients(x, h0, W_h, W_x, b_h, dh: np.ndarray, activation: str = "tanh") -> tuple[np.ndarray, ...]:
    r"""δx, δh0, δW_h, δW_x, δb_h from `dh` [T, H], the direct gradient of the loss for each hₜ.  F12, F13, F14: through time.

    hₜ influences the loss in two ways: directly, and through hₜ₊₁. So, from the last step to the first,

        δhₜ ← dhₜ + W_hᵀ δaₜ₊₁          (at t = T there is no second term)
        δaₜ = δhₜ ⊙ σ′(aₜ)              (1 − hₜ² for tanh, 1[hₜ > 0] for ReLU)

    and since aₜ = W_h hₜ₋₁ + W_x xₜ + b_h uses the same weights at every step, their gradients add up:

        δW_h = Σₜ δaₜ hₜ₋₁ᵀ,   δW_x = Σₜ δaₜ xₜᵀ,   δb_h = Σₜ δaₜ,   δxₜ = W_xᵀ δaₜ,   δh0 = W_hᵀ δa₁.

    Raises `InputError` as `rnn` does, and also if `dh` does not have the shape of the states.
    """
    h = rnn(x, h0, W_h, W_x, b_h, activation)
    check_shape("dh", dh, "T H", T=len(x), H=len(h0))
    _, slope = ACTIVATIONS[activation]
    da, from_later = np.zeros(h.shape), np.zeros(len(h0))
    for t in reversed(range(len(x))):
        da[t] = (dh[t] + from_later) * slope(h[t])
        from_later = W_h.T @ da[t]
    return da @ W_x, from_later, da.T @ _before(h, h0), da.T @ x, da.sum(axis=0)


def rnn_output(h: np.ndarray, W_y: np.ndarray, b_y: np.ndarray) -> np.ndarray:
    r"""ŷₜ = softmax(W_y hₜ + b_y): probabilities [T, V] for `h` [T, H], `W_y` [V, H], `b_y` [V].  F10.

    D1 writes σ here as in F09, but these are two functions: the σ of F09 acts on each number separately, softmax on the
    whole row. Raises `InputError` if the shapes do not fit.
    """
    _check_output(h, W_y, b_y)
    return softmax(h @ W_y.T + b_y)


def rnn_loss(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation: str = "tanh") -> float:
    r"""L = −Σₜ log ŷₜ(yₜ) in nats, for the actual tokens `y` [T].  F09, F10, and F11 corrected.

    Raises `InputError` as `rnn` and `rnn_output` do, and also for token ids outside the vocabulary.
    """
    h = rnn(x, h0, W_h, W_x, b_h, activation)
    _check_output(h, W_y, b_y)
    _check_words(y, len(x), len(b_y))
    return float(-log_softmax(h @ W_y.T + b_y)[np.arange(len(y)), y].sum())


def rnn_loss_gradients(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation: str = "tanh") -> tuple[np.ndarray, ...]:
    r"""δx, δh0, δW_h, δW_x, δb_h, δW_y, δb_y of `rnn_loss` (a token id has no gradient).  F12, F13, F14 corrected.

    With zₜ = W_y hₜ + b_y, softmax and cross-entropy together give δzₜ = ŷₜ − onehot(yₜ) [V]. It follows that

        δW_y = Σₜ δzₜ hₜᵀ,   δb_y = Σₜ δzₜ,   and for each state  dhₜ = W_yᵀ δzₜ,

    which `rnn_gradients` carries back through σ and through time. Raises `InputError` as `rnn_loss` does.
    """
    h = rnn(x, h0, W_h, W_x, b_h, activation)
    _check_words(y, len(x), len(b_y))
    dz = rnn_output(h, W_y, b_y)  # [T, V]
    dz[np.arange(len(y)), y] -= 1
    return *rnn_gradients(x, h0, W_h, W_x, b_h, dz @ W_y, activation), dz.T @ h, dz.sum(axis=0)


def rnn_loss_gradients_as_printed(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation: str = "tanh"):
    r"""Σₜ Σᵢ (yₜ(i) − yₜ(i)) hₜ₋₁, the same with xₜ and with 1: shapes [H], [I], [].  F12, F13, F14, as D1 §4.2 prints them.

    A number minus itself is zero, so all three are exactly zero for every network, input and label `y`; the formula never
    uses the label. Also, a sum over i times a vector is a vector, but the gradient of W_h is a matrix [H, H].
    """
    h = rnn(x, h0, W_h, W_x, b_h, activation)
    y_hat = rnn_output(h, W_y, b_y)
    factor = (y_hat - y_hat).sum(axis=1)  # [T]
    return factor @ _before(h, h0), factor @ x, factor.sum()


def rnn_loss_gradients_repaired_as_printed(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation: str = "tanh"):
    r"""Σₜ (ŷₜ − yₜ) hₜ₋₁ᵀ, the same with xₜᵀ and with 1: shapes [V, H], [V, I], [V].  F12, F13, F14 in the kindest reading.

    Here we read the first y as the prediction ŷ, and the sum over i as one row for each i. It is still not the gradient:
    W_yᵀ, σ′ and the path through time are missing, so it has V rows instead of H. (With hₜ instead of hₜ₋₁ the first one
    would be δW_y.) If you sum over i, as printed, it is zero again, because ŷₜ and yₜ both sum to 1.
    """
    h = rnn(x, h0, W_h, W_x, b_h, activation)
    _check_words(y, len(x), len(b_y))
    error = rnn_output(h, W_y, b_y)
    error[np.arange(len(y)), y] -= 1
    return error.T @ _before(h, h0), error.T @ x, error.sum(axis=0)


def norms_through_time(x, h0, W_h, W_x, b_h, dh_T: np.ndarray, activation: str = "tanh"):
    r"""‖hₜ‖ and ‖δhₜ‖ for t = 0 … T, each [T + 1], if the loss depends directly on the last state only; `dh_T` [H].  F09.

    δhₜ₋₁ = W_hᵀ (σ′(aₜ) ⊙ δhₜ), so T factors W_hᵀ diag(σ′) are multiplied in a row. tanh keeps ‖hₜ‖ below √H and every
    slope at or below 1. ReLU keeps slopes at or below 1 too, but does not bound ‖hₜ‖.
    Raises `InputError` as `rnn` does, and also if `dh_T` does not have the shape of a state.
    """
    h = rnn(x, h0, W_h, W_x, b_h, activation)
    check_shape("dh_T", dh_T, "H", H=len(h0))
    _, slope = ACTIVATIONS[activation]
    dh = [dh_T]
    for h_t in h[::-1]:
        dh.append(W_h.T @ (slope(h_t) * dh[-1]))
    return np.linalg.norm(np.vstack([h0, h]), axis=1), np.linalg.norm(dh[::-1], axis=1)


def _before(h: np.ndarray, h0: np.ndarray) -> np.ndarray:
    """hₜ₋₁ for t = 1 … T."""
    return np.vstack([h0, h[:-1]])


def _check(x, h0, W_h, W_x, b_h, activation) -> None:
    if activation not in ACTIVATIONS:
        raise InputError(f"the activation {activation!r} is not known: choose one of {', '.join(ACTIVATIONS)}.")
    check_shape("x", x, "T I")
    check_not_empty("x", x)
    check_shape("h0", h0, "H")
    H, (_, I) = len(h0), np.shape(x)
    check_shape("W_h", W_h, "H H", H=H)
    check_shape("W_x", W_x, "H I", H=H, I=I)
    check_shape("b_h", b_h, "H", H=H)


def _check_output(h, W_y, b_y) -> None:
    check_shape("h", h, "T H")
    check_shape("b_y", b_y, "V")
    check_shape("W_y", W_y, "V H", V=len(b_y), H=np.shape(h)[1])


def _check_words(y, T: int, V: int) -> None:
    check_shape("y", y, "T", T=T)
    check_classes("y", y, V)
