r"""The gated recurrent unit in both published forms, with gradients through time derived by hand.  F16.

Letters:  T steps · I input size · H hidden size · xₜ input · hₜ state · r reset gate · z update gate · n candidate
          aₜ = W_x xₜ + b · uₜ = W_h hₜ₋₁ + b_h, three blocks of H each · σ logistic function · ⊙ entry by entry
Sources:  D1 §3.1 (described in words only); Cho et al. (2014), Learning Phrase Representations, equations 5–8, where the
          reset comes before the product; in PyTorch, cuDNN and `minilm/layers/recurrent.py` it comes after the product.

Chung et al. (2014) exchange z and 1 − z. It is the same gate under another name, because σ(−a) = 1 − σ(a).
"""

import numpy as np

from minilm.formulas.checks import check_not_empty, check_shape
from minilm.formulas.lstm import sigmoid


def gru(x: np.ndarray, h0: np.ndarray, W_x: np.ndarray, W_h: np.ndarray, b: np.ndarray, b_h: np.ndarray) -> np.ndarray:
    r"""The states h [T, H] of a GRU that resets after the product, as PyTorch and this library do.  F16.

        r, z = σ(a + W_h hₜ₋₁ + b_h) each,   n = tanh(a + r ⊙ (W_h hₜ₋₁ + b_h)),   hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁

    `x` [T, I], `h0` [H], `W_x` [3H, I], `W_h` [3H, H], `b` and `b_h` [3H], rows in the order r, z, n. The second bias is
    inside r ⊙ (…), so it cannot be merged with the first. Raises `InputError` if the shapes do not fit or T is 0.
    """
    return _walk(x, h0, W_x, W_h, b, b_h)[0]


def gru_gradients(x, h0, W_x, W_h, b, b_h, dh: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""δx, δh0, δW_x, δW_h, δb, δb_h from `dh` [T, H], the direct gradient of the loss for each hₜ.  F16.

    hₜ₋₁ influences hₜ in two ways, through z ⊙ hₜ₋₁ and through u = W_h hₜ₋₁ + b_h. From the last step to the first:

        δhₜ  = dhₜ + zₜ₊₁ ⊙ δhₜ₊₁ + W_hᵀ δuₜ₊₁
        δa_n = δhₜ ⊙ (1 − z) ⊙ (1 − n²)
        δa_z = δhₜ ⊙ (hₜ₋₁ − n) ⊙ z(1 − z)
        δa_r = δa_n ⊙ u_n ⊙ r(1 − r)
        δu   = (δa_r, δa_z, δa_n ⊙ r)

    and δW_x = Σₜ δaₜ xₜᵀ, δb = Σₜ δaₜ, δW_h = Σₜ δuₜ hₜ₋₁ᵀ, δb_h = Σₜ δuₜ, δxₜ = W_xᵀ δaₜ.
    Raises `InputError` as `gru` does, and also if `dh` does not have the shape of the states.
    """
    h, kept = _walk(x, h0, W_x, W_h, b, b_h)
    check_shape("dh", dh, "T H", T=len(x), H=len(h0))
    h_before, later = np.vstack([h0, h[:-1]]), np.zeros(len(h0))
    da, du = np.zeros((2, len(x), 3 * len(h0)))
    for t in reversed(range(len(x))):
        (r, z, n, u_n), dh_t = kept[t], dh[t] + later
        da_n = dh_t * (1 - z) * (1 - n**2)
        da_z = dh_t * (h_before[t] - n) * z * (1 - z)
        da_r = da_n * u_n * r * (1 - r)
        da[t], du[t] = np.concatenate([da_r, da_z, da_n]), np.concatenate([da_r, da_z, da_n * r])
        later = z * dh_t + W_h.T @ du[t]
    return da @ W_x, later, da.T @ x, du.T @ h_before, da.sum(axis=0), du.sum(axis=0)


def gru_reset_before(x: np.ndarray, h0: np.ndarray, W_x: np.ndarray, W_h: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""The states h [T, H] of a GRU that resets before the product: Cho's form.  F16.

        r, z = σ(a + W_h hₜ₋₁) each,   n = tanh(a + W_h (r ⊙ hₜ₋₁)),   hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁

    Shapes are as in `gru`, but one bias is enough here. Each step needs two products with W_h instead of one, because r
    must be known before the second. Raises `InputError` if the shapes do not fit or T is 0.
    """
    return _walk_reset_before(x, h0, W_x, W_h, b)[0]


def gru_reset_before_gradients(x, h0, W_x, W_h, b, dh: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""δx, δh0, δW_x, δW_h, δb from `dh` [T, H].  F16, Cho's form.

    δhₜ, δa_n and δa_z are as in `gru_gradients`. With s = r ⊙ hₜ₋₁ and W_h cut into W_r, W_z, W_n:

        δs = W_nᵀ δa_n,   δa_r = δs ⊙ hₜ₋₁ ⊙ r(1 − r),   δhₜ₋₁ = z ⊙ δhₜ + W_rᵀ δa_r + W_zᵀ δa_z + r ⊙ δs,

    and since W_n is multiplied by s, δW_n = Σₜ δa_n sₜᵀ, while δW_r and δW_z use hₜ₋₁ᵀ.
    Raises `InputError` as `gru_reset_before` does, and also if `dh` does not have the shape of the states.
    """
    h, kept = _walk_reset_before(x, h0, W_x, W_h, b)
    H = len(h0)
    check_shape("dh", dh, "T H", T=len(x), H=H)
    h_before, later, da = np.vstack([h0, h[:-1]]), np.zeros(H), np.zeros((len(x), 3 * H))
    for t in reversed(range(len(x))):
        (r, z, n), dh_t = kept[t], dh[t] + later
        da_n = dh_t * (1 - z) * (1 - n**2)
        da_z = dh_t * (h_before[t] - n) * z * (1 - z)
        ds = W_h[2 * H :].T @ da_n
        da_r = ds * h_before[t] * r * (1 - r)
        da[t] = np.concatenate([da_r, da_z, da_n])
        later = z * dh_t + W_h[: 2 * H].T @ da[t, : 2 * H] + r * ds
    s = kept[:, 0] * h_before
    dW_h = np.vstack([da[:, : 2 * H].T @ h_before, da[:, 2 * H :].T @ s])
    return da @ W_x, later, da.T @ x, dW_h, da.sum(axis=0)


def _walk(x, h0, W_x, W_h, b, b_h) -> tuple[np.ndarray, np.ndarray]:
    _check(x, h0, W_x, W_h, b=b, b_h=b_h)
    h, hs, kept = h0, [], []
    for x_t in x:
        (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(W_x @ x_t + b, 3), np.split(W_h @ h + b_h, 3)
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        n = np.tanh(a_n + r * u_n)
        h = (1 - z) * n + z * h
        hs.append(h)
        kept.append((r, z, n, u_n))
    return np.stack(hs), np.array(kept)


def _walk_reset_before(x, h0, W_x, W_h, b) -> tuple[np.ndarray, np.ndarray]:
    _check(x, h0, W_x, W_h, b=b)
    (W_r, W_z, W_n), h, hs, kept = np.split(W_h, 3), h0, [], []
    for x_t in x:
        a_r, a_z, a_n = np.split(W_x @ x_t + b, 3)
        r, z = sigmoid(a_r + W_r @ h), sigmoid(a_z + W_z @ h)
        n = np.tanh(a_n + W_n @ (r * h))
        h = (1 - z) * n + z * h
        hs.append(h)
        kept.append((r, z, n))
    return np.stack(hs), np.array(kept)


def _check(x, h0, W_x, W_h, **biases) -> None:
    check_shape("x", x, "T I")
    check_not_empty("x", x)
    check_shape("h0", h0, "H")
    H, (_, I) = len(h0), np.shape(x)
    check_shape("W_x", W_x, "3H I", **{"3H": 3 * H, "I": I})
    check_shape("W_h", W_h, "3H H", **{"3H": 3 * H, "H": H})
    for name, bias in biases.items():
        check_shape(name, bias, "3H", **{"3H": 3 * H})
