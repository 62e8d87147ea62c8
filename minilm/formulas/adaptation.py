r"""Tuning a few weights: low-rank changes, their adaptive form, and adapters, with gradients derived by hand.  F32.

Letters:  N examples · in, out sizes of a layer · r rank · m size of a bottleneck · α strength of a change
          W [out, in], b [out] a trained layer that stays as it is
Sources:  Hu et al. (2021), LoRA, §4.1; Zhang et al. (2023), AdaLoRA, §3; Houlsby et al. (2019), Parameter-Efficient Transfer
          Learning for NLP, §2.1.
"""

import numpy as np
from numpy import ndarray as Array
from scipy.special import erf

from minilm.errors import InputError
from minilm.formulas.checks import check_shape


def low_rank(x: Array, W: Array, b: Array, A: Array, B: Array, alpha: float) -> Array:
    r"""y [N, out] = x Wᵀ + b + α/r · (x Aᵀ) Bᵀ for `x` [N, in], `A` [r, in], `B` [out, r].  F32.

    With B = 0 it is the trained layer. Raises InputError if the shapes do not fit.
    """
    _check_low_rank(x, W, b, A, B)
    return x @ W.T + b + alpha / len(A) * (x @ A.T) @ B.T


def low_rank_gradients(
    x: Array, W: Array, b: Array, A: Array, B: Array, alpha: float, dY: Array
) -> tuple[Array, Array, Array]:
    r"""∂L/∂x [N, in], ∂L/∂A [r, in], ∂L/∂B [out, r] from `dY` = ∂L/∂y [N, out]; W and b are frozen.  F32.

    The change is two linear maps, u = x Aᵀ and α/r · u Bᵀ. So with s = α/r:
        dB = s dYᵀ u,   du = s dY B,   dA = duᵀ x,   dx = dY W + du A.
    While B is 0, dA is 0: in the first step only B moves. Raises InputError as `low_rank` does, and if dY does not fit.
    """
    _check_low_rank(x, W, b, A, B)
    check_shape("dY", dY, "N out", N=len(x), out=len(W))
    s = alpha / len(A)
    du = s * dY @ B  # [N, r]
    return dY @ W + du @ A, du.T @ x, s * dY.T @ (x @ A.T)


def merged_weight(W: Array, A: Array, B: Array, alpha: float) -> Array:
    r"""W + α/r · B A [out, in]: the weight of one layer that computes the same as the layer with its change.  F32.

    Raises InputError if the shapes do not fit.
    """
    _check_low_rank(np.zeros((0, W.shape[1])), W, np.zeros(len(W)), A, B)
    return W + alpha / len(A) * B @ A


def adaptive(x: Array, W: Array, b: Array, P: Array, lam: Array, Q: Array, alpha: float, r: int) -> Array:
    r"""y [N, out] = x Wᵀ + b + α/r · ((x Qᵀ) ⊙ λ) Pᵀ for `P` [out, R], `lam` = λ [R], `Q` [R, in].  F32.

    R triplets are left of the r at the start. Raises InputError if the shapes do not fit.
    """
    _check_adaptive(x, W, b, P, lam, Q)
    return x @ W.T + b + alpha / r * (x @ Q.T * lam) @ P.T


def adaptive_gradients(
    x: Array, W: Array, b: Array, P: Array, lam: Array, Q: Array, alpha: float, r: int, dY: Array
) -> tuple[Array, Array, Array, Array]:
    r"""∂L/∂x [N, in], ∂L/∂P [out, R], ∂L/∂λ [R], ∂L/∂Q [R, in] from `dY` [N, out].  F32.

    With u = x Qᵀ, v = u ⊙ λ and s = α/r:  dP = s dYᵀ v,  dv = s dY P,  dλ = Σₙ dv ⊙ u,  du = dv ⊙ λ,  dQ = duᵀ x, and
    dx = dY W + du Q. A triplet with λ = 0 still has a gradient for λ, so it can come back. Raises InputError as `adaptive`
    does, and if dY does not fit.
    """
    _check_adaptive(x, W, b, P, lam, Q)
    check_shape("dY", dY, "N out", N=len(x), out=len(W))
    s, u = alpha / r, x @ Q.T  # [N, R]
    dv = s * dY @ P
    du = dv * lam
    return dY @ W + du @ Q, s * dY.T @ (u * lam), (dv * u).sum(axis=0), du.T @ x


def not_orthonormal(P: Array, Q: Array) -> tuple[float, Array, Array]:
    r"""‖PᵀP − I‖² + ‖QQᵀ − I‖² in the Frobenius norm, and its gradients 4 P (PᵀP − I) and 4 (QQᵀ − I) Q.  F32.

    It is added to the loss, so that λ stay comparable, like singular values. Raises InputError if the ranks differ.
    """
    check_shape("Q", Q, "R in", R=P.shape[1])
    p, q = P.T @ P - np.eye(P.shape[1]), Q @ Q.T - np.eye(len(Q))
    return float((p**2).sum() + (q**2).sum()), 4 * P @ p, 4 * q @ Q


def smoothed_importance(w: Array, dw: Array, mean: Array, spread: Array, beta: float) -> tuple[Array, Array]:
    r"""Ī ← β Ī + (1 − β) |w ∂L/∂w| and U ← β U + (1 − β) | |w ∂L/∂w| − Ī |, entry by entry.  F32.

    The importance of an entry is Ī · U. Raises InputError if the shapes differ.
    """
    for name, array in (("dw", dw), ("mean", mean), ("spread", spread)):
        if np.shape(array) != np.shape(w):
            raise InputError(
                f"{name} has shape {list(np.shape(array))}, but must have the shape of w, {list(np.shape(w))}."
            )
    now = np.abs(w * dw)
    mean = beta * mean + (1 - beta) * now
    return mean, beta * spread + (1 - beta) * np.abs(now - mean)


def triplet_scores(P: Array, lam: Array, Q: Array) -> Array:
    r"""S [R] = s(λᵢ) + mean of column i of s(P) + mean of row i of s(Q), from the importances of all entries.  F32.

    Raises InputError if the shapes do not fit.
    """
    check_shape("lam", lam, "R", R=P.shape[1])
    check_shape("Q", Q, "R in", R=P.shape[1])
    return lam + P.mean(axis=0) + Q.mean(axis=1)


def adapter(h: Array, W_down: Array, b_down: Array, W_up: Array, b_up: Array) -> Array:
    r"""h + gelu(h W↓ᵀ + b↓) W↑ᵀ + b↑ [N, out] for `h` [N, out], `W_down` [m, out], `W_up` [out, m].  F32.

    gelu(a) = a Φ(a), with the normal distribution's Φ. If W↑ and b↑ are 0, nothing changes. Raises InputError if the shapes
    do not fit.
    """
    _check_adapter(h, W_down, b_down, W_up, b_up)
    a = h @ W_down.T + b_down  # 1. down to m numbers
    g = a * 0.5 * (1 + erf(a / np.sqrt(2)))  # 2. the activation, without which the two maps would be one
    return h + g @ W_up.T + b_up  # 3. up again, beside the old vector


def adapter_gradients(
    h: Array, W_down: Array, b_down: Array, W_up: Array, b_up: Array, dY: Array
) -> tuple[Array, Array, Array, Array, Array]:
    r"""∂L/∂h and the gradients of W↓, b↓, W↑, b↑ from `dY` [N, out].  F32.

    gelu′(a) = Φ(a) + a φ(a) with the density φ. dW↑ = dYᵀ g, db↑ = Σ dY, dg = dY W↑, da = dg ⊙ gelu′(a), dW↓ = daᵀ h,
    db↓ = Σ da, and dh = dY + da W↓: the first term is the way past the adapter. Raises InputError as `adapter` does, and if
    dY does not fit.
    """
    _check_adapter(h, W_down, b_down, W_up, b_up)
    check_shape("dY", dY, "N out", N=len(h), out=len(W_up))
    a = h @ W_down.T + b_down
    phi = 0.5 * (1 + erf(a / np.sqrt(2)))
    da = dY @ W_up * (phi + a * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi))
    return dY + da @ W_down, da.T @ h, da.sum(axis=0), dY.T @ (a * phi), dY.sum(axis=0)


def _check_low_rank(x: Array, W: Array, b: Array, A: Array, B: Array) -> None:
    check_shape("W", W, "out in")
    check_shape("x", x, "N in", **{"in": W.shape[1]})
    check_shape("b", b, "out", out=len(W))
    check_shape("A", A, "r in", **{"in": W.shape[1]})
    check_shape("B", B, "out r", out=len(W), r=len(A))
    if not len(A):
        raise InputError("A has rank 0: give it at least one row.")


def _check_adaptive(x: Array, W: Array, b: Array, P: Array, lam: Array, Q: Array) -> None:
    check_shape("W", W, "out in")
    check_shape("x", x, "N in", **{"in": W.shape[1]})
    check_shape("b", b, "out", out=len(W))
    check_shape("P", P, "out R", out=len(W))
    check_shape("lam", lam, "R", R=P.shape[1])
    check_shape("Q", Q, "R in", R=P.shape[1], **{"in": W.shape[1]})


def _check_adapter(h: Array, W_down: Array, b_down: Array, W_up: Array, b_up: Array) -> None:
    check_shape("h", h, "N out")
    check_shape("W_down", W_down, "m out", out=h.shape[1])
    check_shape("b_down", b_down, "m", m=len(W_down))
    check_shape("W_up", W_up, "out m", out=h.shape[1], m=len(W_down))
    check_shape("b_up", b_up, "out", out=h.shape[1])
