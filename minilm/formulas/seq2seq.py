r"""From one text to another: cross-attention, and a distribution that copies, with gradients derived by hand.  F18, F23.

Letters:  B batch · T length of the target · S length of the source · C width · D, Dv sizes of queries and values · V vocabulary
Sources:  Vaswani et al. (2017), Attention Is All You Need, §3.2.3; See, Liu and Manning (2017), Get To The Point:
          Summarization with Pointer-Generator Networks, equations 8 and 9.

"[.., T, C]" means [T, C] or [B, T, C].
"""

import numpy as np
from numpy import ndarray as Array

from minilm.errors import InputError
from minilm.formulas.attention import attention, attention_gradient, rows, softmax_gradient
from minilm.formulas.checks import check_shape


def cross_attention(X: Array, M: Array, W_Q: Array, W_K: Array, W_V: Array, may_attend: Array | None = None) -> Array:
    r"""Y = Attention(X W^Q, M W^K, M W^V) [.., T, Dv]: the target asks, and the source answers.  F18.

    The queries are made of the target `X` [.., T, C], the keys and the values of the source `M` [.., S, C]; `W_Q` and `W_K`
    [C, D], `W_V` [C, Dv]. `may_attend` broadcasts to [.., T, S] and is False at padding of the source. No token of the source
    lies in the future, so there is no causal mask.

    Raises InputError if the shapes do not fit.
    """
    check_cross(X, M, W_Q, W_K, W_V)
    return attention(X @ W_Q, M @ W_K, M @ W_V, may_attend)


def cross_attention_gradient(
    X: Array, M: Array, W_Q: Array, W_K: Array, W_V: Array, may_attend: Array | None, dY: Array
) -> tuple[Array, Array, Array, Array, Array]:
    r"""∂L/∂ of X, M, W^Q, W^K, W^V for ∂L/∂Y = `dY` [.., T, Dv].  F18.

    With dQ, dK, dV from `attention_gradient`:  dX = dQ W^Qᵀ,  dM = dK W^Kᵀ + dV W^Vᵀ,  dW^Q = Xᵀ dQ,  dW^K = Mᵀ dK,
    dW^V = Mᵀ dV. So the encoder learns from the decoder's mistakes: dM is all that it hears of them.

    Raises InputError as `cross_attention` does, and also if `dY` does not have the shape of Y.
    """
    check_cross(X, M, W_Q, W_K, W_V)
    dQ, dK, dV = attention_gradient(X @ W_Q, M @ W_K, M @ W_V, may_attend, dY)
    x, m = rows(X), rows(M)
    return dQ @ W_Q.T, dK @ W_K.T + dV @ W_V.T, x.T @ rows(dQ), m.T @ rows(dK), m.T @ rows(dV)


def check_cross(X: Array, M: Array, W_Q: Array, W_K: Array, W_V: Array) -> None:
    batch = "B " if np.ndim(X) == 3 else ""
    check_shape("X", X, f"{batch}T C")
    known = {"C": X.shape[-1]} | ({"B": X.shape[0]} if batch else {})
    check_shape("M", M, f"{batch}S C", **known)
    check_shape("W_Q", W_Q, "C D", C=X.shape[-1])
    check_shape("W_K", W_K, "C D", C=X.shape[-1], D=W_Q.shape[1])
    check_shape("W_V", W_V, "C Dv", C=X.shape[-1])


def copy_distribution(z: Array, a: Array, g: Array, source_ids: Array) -> Array:
    r"""P [T, V],  P(w) = (1 − g) · softmax(z)_w + g · Σ_{s : x_s = w} a_s: choose from the vocabulary, or copy.  F23.

    At each of the T places, `z` [T, V] are the logits of the vocabulary, `a` [T, S] says from where in the source to copy (each row
    sums to 1), and `g` [T], from 0 to 1, says how much. `source_ids` [S] are the tokens x_s of the source. A token that stands in
    the source several times gets the sum of its weights.

    Raises InputError if the shapes do not fit, or for an id that is not in the vocabulary.
    """
    check_copy(z, a, g, source_ids)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    P = (1 - g)[:, None] * e / e.sum(axis=1, keepdims=True)
    for s, w in enumerate(source_ids):
        P[:, w] += g * a[:, s]
    return P


def copy_distribution_gradient(
    z: Array, a: Array, g: Array, source_ids: Array, dP: Array
) -> tuple[Array, Array, Array]:
    r"""∂L/∂ of z, a and g for ∂L/∂P = `dP` [T, V].  F23.

    With p = softmax(z):  dz = p ⊙ (u − Σ_w u_w p_w) for u = (1 − g) dP (`softmax_gradient`),  da_s = g · dP(x_s),  and
    dg = Σ_s a_s dP(x_s) − Σ_w p_w dP(w): the gate opens where copying would have been better.

    Raises InputError as `copy_distribution` does, and also if `dP` does not have the shape of P.
    """
    check_copy(z, a, g, source_ids)
    check_shape("dP", dP, "T V", T=z.shape[0], V=z.shape[1])
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    copied = dP[:, source_ids]  # [T, S]
    dz = softmax_gradient(p, (1 - g)[:, None] * dP)
    return dz, g[:, None] * copied, (a * copied).sum(axis=1) - (p * dP).sum(axis=1)


def check_copy(z: Array, a: Array, g: Array, source_ids: Array) -> None:
    check_shape("z", z, "T V")
    check_shape("source_ids", source_ids, "S")
    check_shape("a", a, "T S", T=len(z), S=len(source_ids))
    check_shape("g", g, "T", T=len(z))
    if len(source_ids) and not (0 <= np.min(source_ids) and np.max(source_ids) < z.shape[1]):
        wrong = next(w for w in source_ids if not 0 <= w < z.shape[1])
        raise InputError(f"source_ids has {wrong}, and the vocabulary has the {z.shape[1]} tokens from 0 on.")
