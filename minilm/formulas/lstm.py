r"""Long short-term memory, with its gradient through time derived by hand.  F15.

Letters:  T steps · I input size · H hidden size · xₜ input · hₜ state · cₜ memory · i, f, o gates · g candidate
          aₜ the arguments of σ and tanh, four blocks of H · σ logistic function · ⊙ entry by entry · δ… = ∂L/∂…
Source:   D1 §3.1 (described in words only); Hochreiter & Schmidhuber (1997), Long Short-Term Memory, with the forget gate of
          Gers, Schmidhuber & Cummins (2000), Learning to Forget.
"""

import numpy as np

from minilm.formulas.checks import check_not_empty, check_shape


def sigmoid(a: np.ndarray) -> np.ndarray:
    r"""σ(a) = 1/(1 + exp −a) = ½ (1 + tanh ½a), entry by entry: the second form cannot overflow.  F15, F16."""
    return 0.5 * (1 + np.tanh(0.5 * a))


def lstm(x: np.ndarray, h0: np.ndarray, c0: np.ndarray, W_x: np.ndarray, W_h: np.ndarray, b: np.ndarray):
    r"""The states h [T, H] and memories c [T, H].  F15.

        i, f, o = σ(W_x xₜ + W_h hₜ₋₁ + b) each,   g = tanh(W_x xₜ + W_h hₜ₋₁ + b)
        cₜ = f ⊙ cₜ₋₁ + i ⊙ g                      (no matrix multiplies cₜ₋₁ on its way to cₜ, only the gate f)
        hₜ = o ⊙ tanh cₜ

    `x` [T, I], `h0` and `c0` [H], `W_x` [4H, I], `W_h` [4H, H], `b` [4H]; the weights' rows are in the order i, f, g, o,
    one block for each letter. Raises `InputError` if the shapes do not fit or T is 0.
    """
    h, c, _ = _walk(x, h0, c0, W_x, W_h, b)
    return h, c


def lstm_gradients(x, h0, c0, W_x, W_h, b, dh: np.ndarray, dc: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    r"""δx, δh0, δc0, δW_x, δW_h, δb from `dh`, `dc` [T, H], the direct gradients of the loss for each hₜ and cₜ.  F15.

    From the last step to the first, each line is one product rule (σ′ = σ(1 − σ), tanh′ = 1 − tanh²):

        δhₜ   = dhₜ + W_hᵀ δaₜ₊₁              δcₜ  = dcₜ + δhₜ ⊙ o ⊙ (1 − tanh² cₜ) + δcₜ₊₁ ⊙ fₜ₊₁
        δa_i  = δcₜ ⊙ g ⊙ i(1 − i)            δa_f = δcₜ ⊙ cₜ₋₁ ⊙ f(1 − f)
        δa_g  = δcₜ ⊙ i ⊙ (1 − g²)            δa_o = δhₜ ⊙ tanh cₜ ⊙ o(1 − o)

    and δW_x = Σₜ δaₜ xₜᵀ, δW_h = Σₜ δaₜ hₜ₋₁ᵀ, δb = Σₜ δaₜ, δxₜ = W_xᵀ δaₜ. Along the memory, only the gate f multiplies
    the gradient. `dc` = None means zeros. Raises `InputError` as `lstm` does, and also if dh or dc has a wrong shape.
    """
    h, c, gates = _walk(x, h0, c0, W_x, W_h, b)
    dc = np.zeros(h.shape) if dc is None else dc
    for name, array in (("dh", dh), ("dc", dc)):
        check_shape(name, array, "T H", T=len(x), H=len(h0))
    h_before, c_before = np.vstack([h0, h[:-1]]), np.vstack([c0, c[:-1]])
    da, dh_later, dc_later = np.zeros((len(x), 4 * len(h0))), np.zeros(len(h0)), np.zeros(len(h0))
    for t in reversed(range(len(x))):
        (i, f, g, o), tanh_c = gates[t], np.tanh(c[t])
        dh_t = dh[t] + dh_later
        dc_t = dc[t] + dc_later + dh_t * o * (1 - tanh_c**2)
        da_i, da_f = dc_t * g * i * (1 - i), dc_t * c_before[t] * f * (1 - f)
        da_g, da_o = dc_t * i * (1 - g**2), dh_t * tanh_c * o * (1 - o)
        da[t] = np.concatenate([da_i, da_f, da_g, da_o])
        dh_later, dc_later = W_h.T @ da[t], dc_t * f
    return da @ W_x, dh_later, dc_later, da.T @ x, da.T @ h_before, da.sum(axis=0)


def lstm_gates(x, h0, c0, W_x, W_h, b) -> np.ndarray:
    r"""i, f, g, o of every step, [T, 4, H], so that you can plot which gates are open.  F15. Raises as `lstm` does."""
    return _walk(x, h0, c0, W_x, W_h, b)[2]


def _walk(x, h0, c0, W_x, W_h, b) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    check_shape("x", x, "T I")
    check_not_empty("x", x)
    check_shape("h0", h0, "H")
    H, (_, I) = len(h0), np.shape(x)
    check_shape("c0", c0, "H", H=H)
    check_shape("W_x", W_x, "4H I", **{"4H": 4 * H, "I": I})
    check_shape("W_h", W_h, "4H H", **{"4H": 4 * H, "H": H})
    check_shape("b", b, "4H", **{"4H": 4 * H})
    h, c, hs, cs, gates = h0, c0, [], [], []
    for x_t in x:
        i, f, g, o = np.split(W_x @ x_t + W_h @ h + b, 4)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
        gates.append((i, f, g, o))
    return np.stack(hs), np.stack(cs), np.array(gates)
