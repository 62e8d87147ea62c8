r"""Attention and multi-head attention, with gradients derived by hand.  F18, F19.

Letters:  B batch · T query length · S key length · H heads · D size of a head · C = H·D model width
Source:   Vaswani et al. (2017), Attention Is All You Need, §3.2.

"[.., T, D]" means [T, D], [B, T, D] or [B, H, T, D]. The mask `may_attend` is boolean and broadcasts to [.., T, S]; True
means "this query may attend to this key". In multi-head attention all heads share one mask, so it has no H axis.
"""

import numpy as np
from numpy import ndarray as Array

from minilm.errors import InputError
from minilm.formulas.checks import check_not_empty, check_shape


def attention_weights(Q: Array, K: Array, may_attend: Array | None = None) -> Array:
    r"""A = softmax(Q Kᵀ / √D) [.., T, S] for queries `Q` [.., T, D] and keys `K` [.., S, D].  F18.

    Masked keys get the score −∞ *before* the softmax, so that each row is still a probability distribution over the
    remaining keys. A query that may attend to no key gets weights of 0, because its softmax would be 0/0.

    Raises InputError if the shapes do not fit, there are no keys, or the mask is not boolean.
    """
    check_attention(Q, K, None, may_attend)
    Z = Q @ np.swapaxes(K, -1, -2) / np.sqrt(Q.shape[-1])  # [.., T, S]
    may_attend = np.broadcast_to(True if may_attend is None else may_attend, Z.shape)
    largest = np.max(Z, axis=-1, keepdims=True, where=may_attend, initial=-np.finfo(float).max)
    E = np.exp(np.where(may_attend, Z - largest, -np.inf))  # subtract the largest score: exp cannot overflow
    total = E.sum(axis=-1, keepdims=True)
    return E / np.where(total == 0, 1, total)


def attention(Q: Array, K: Array, V: Array, may_attend: Array | None = None) -> Array:
    r"""Y = softmax(Q Kᵀ / √D) V [.., T, Dv] for values `V` [.., S, Dv].  F18.  A query that may attend to no key gets 0.

    Raises InputError as `attention_weights` does, and also if the number of values differs from the number of keys.
    """
    check_attention(Q, K, V, may_attend)
    return attention_weights(Q, K, may_attend) @ V


def softmax_gradient(A: Array, dA: Array) -> Array:
    r"""∂L/∂Z = A ⊙ (∂L/∂A − r),  r = Σₛ ∂L/∂Aₛ · Aₛ in each row, for A = softmax(Z) along the last axis.  F18.

    ∂Aⱼ/∂Zₛ = Aⱼ (1[j = s] − Aₛ), because Zₛ appears in the numerator of Aₛ and in the denominator of every Aⱼ. So
    ∂L/∂Zₛ = Σⱼ dAⱼ Aⱼ (1[j = s] − Aₛ) = Aₛ dAₛ − Aₛ Σⱼ dAⱼ Aⱼ. The row sum r comes from the denominator.

    Raises InputError if the two shapes differ.
    """
    if np.shape(A) != np.shape(dA):
        raise InputError(f"dA has shape {list(np.shape(dA))}, but must have the shape of A, {list(np.shape(A))}.")
    return A * (dA - (dA * A).sum(axis=-1, keepdims=True))


def attention_gradient(Q: Array, K: Array, V: Array, may_attend: Array | None, dY: Array) -> tuple[Array, Array, Array]:
    r"""∂L/∂Q, ∂L/∂K, ∂L/∂V for ∂L/∂Y = `dY` [.., T, Dv].  F18.

    Go backwards through Y = A V, A = softmax(Z), Z = Q Kᵀ/√D. For a product, the gradient of one factor is the upstream
    gradient times the other factor:
        dV = Aᵀ dY,   dA = dY Vᵀ,   dZ = A ⊙ (dA − r)   (`softmax_gradient`),   dQ = dZ K/√D,   dK = dZᵀ Q/√D.
    Masked positions need no special case: there A = 0, so dZ = 0 and no gradient flows.

    Raises InputError as `attention` does, and also if `dY` does not have the shape of Y.
    """
    Y, A = attention(Q, K, V, may_attend), attention_weights(Q, K, may_attend)
    check_like("dY", dY, Y)
    root = np.sqrt(Q.shape[-1])
    dV = np.swapaxes(A, -1, -2) @ dY  # [.., S, Dv]
    dA = dY @ np.swapaxes(V, -1, -2)  # [.., T, S]
    dZ = softmax_gradient(A, dA)
    return dZ @ K / root, np.swapaxes(dZ, -1, -2) @ Q / root, dV


def causal_mask(T: int, S: int | None = None) -> Array:
    """Mask [T, S] that is True where key s stands at or before query t.  F18.

    If S > T, the queries are the last T of the S positions.
    """
    S = T if S is None else S
    return np.tril(np.ones((T, S), dtype=bool), k=S - T)


def padding_mask(attention_mask: Array) -> Array:
    """Mask [B, S] (True for tokens, False for padding) → [B, 1, S]: every query may attend to the tokens.  F18."""
    check_shape("attention_mask", attention_mask, "B S")
    return attention_mask[:, None, :]


def multi_head_attention(
    Q: Array, K: Array, V: Array, W_Q: Array, W_K: Array, W_V: Array, W_O: Array, may_attend: Array | None = None
) -> Array:
    r"""Y = Concat(head₁ … head_H) W^O [.., T, C],  headᵢ = Attention(Q Wᵢ^Q, K Wᵢ^K, V Wᵢ^V).  F19, as printed.

    `Q` [.., T, C], `K` and `V` [.., S, C]; `W_Q`, `W_K` [H, C, D], `W_V` [H, C, Dv]; `W_O` [H·Dv, C]. Self-attention is
    the case Q = K = V. Raises InputError if the shapes do not fit.
    """
    check_heads(Q, K, V, W_Q, W_K, W_V, W_O)
    heads = [attention(Q @ W_Q[i], K @ W_K[i], V @ W_V[i], may_attend) for i in range(len(W_Q))]  # each [.., T, Dv]
    return np.concatenate(heads, axis=-1) @ W_O


def multi_head_attention_gradient(
    Q: Array, K: Array, V: Array, W_Q: Array, W_K: Array, W_V: Array, W_O: Array, may_attend: Array | None, dY: Array
) -> tuple[Array, ...]:
    r"""∂L/∂ of Q, K, V, W^Q, W^K, W^V, W^O for ∂L/∂Y = `dY` [.., T, C].  F19.

    dW^O = Concatᵀ dY. Each head receives its own columns of dConcat = dY W^Oᵀ, and `attention_gradient` turns them into
    dq for its q = Q Wᵢ^Q; hence dWᵢ^Q = Qᵀ dq. All heads read the same Q, so dQ is the sum of their dq Wᵢ^Qᵀ; K and V
    work the same way. In self-attention the gradient of X is dQ + dK + dV.
    Raises InputError as `multi_head_attention` does, and also if `dY` does not have the shape of Y.
    """
    check_heads(Q, K, V, W_Q, W_K, W_V, W_O)
    check_like("dY", dY, Q)
    inputs, weights = (Q, K, V), (W_Q, W_K, W_V)
    d_inputs, d_weights = [np.zeros(X.shape) for X in inputs], [np.zeros(W.shape) for W in weights]
    per_head = np.split(dY @ W_O.T, len(W_Q), axis=-1)  # H arrays [.., T, Dv]
    heads = []
    for i, d_head in enumerate(per_head):
        q, k, v = (X @ W[i] for X, W in zip(inputs, weights))
        heads.append(attention(q, k, v, may_attend))
        for j, d in enumerate(attention_gradient(q, k, v, may_attend, d_head)):
            d_inputs[j] += d @ weights[j][i].T
            d_weights[j][i] = rows(inputs[j]).T @ rows(d)
    return *d_inputs, *d_weights, rows(np.concatenate(heads, axis=-1)).T @ rows(dY)


def stack_heads(W_Q: Array, W_K: Array, W_V: Array) -> Array:
    r"""Stack the 3·H small matrices [C, D] into one W [3·C, C], so that X Wᵀ holds Q, K and V of all heads.  F19.

    This works because column block i of X [W₁ … W_H] is X Wᵢ. Raises InputError unless all three have shape [H, C, D].
    """
    check_shape("W_Q", W_Q, "H C D")
    for name, W in (("W_K", W_K), ("W_V", W_V)):
        check_shape(name, W, "H C D", **dict(zip("HCD", W_Q.shape)))
    return np.concatenate([np.swapaxes(W, 1, 2).reshape(-1, W.shape[1]) for W in (W_Q, W_K, W_V)])


def fused_self_attention(
    X: Array, W: Array, b: Array, W_O: Array, b_O: Array, H: int, may_attend: Array | None = None
) -> Array:
    r"""Multi-head self-attention Y [.., T, C] with one product, Q, K, V = X Wᵀ + b, which is then cut into H heads.  F19.

    `W` [3·C, C] and `b` [3·C] are laid out as in `nn.Linear`, and so are `W_O` [C, C] (the transpose of the printed W^O)
    and `b_O` [C]. Raises InputError if the shapes do not fit, or if C is not divisible by H.
    """
    Q, K, V = project(X, W, b, W_O, b_O, H)
    return merge_heads(attention(Q, K, V, for_heads(may_attend))) @ W_O.T + b_O


def fused_self_attention_gradient(
    X: Array, W: Array, b: Array, W_O: Array, b_O: Array, H: int, may_attend: Array | None, dY: Array
) -> tuple[Array, ...]:
    r"""∂L/∂ of X, W, b, W_O, b_O for ∂L/∂Y = `dY` [.., T, C].  F19.

    A linear map Y = X Wᵀ + b has the gradients dX = dY W, dW = dYᵀ X, and db = Σ dY over all positions. Here there are
    two such maps with `attention_gradient` between them.
    Raises InputError as `fused_self_attention` does, and also if `dY` does not have the shape of Y.
    """
    Q, K, V = project(X, W, b, W_O, b_O, H)
    check_like("dY", dY, X)
    concat = merge_heads(attention(Q, K, V, for_heads(may_attend)))
    d_heads = split_heads(dY @ W_O, H)
    d_qkv = np.concatenate([merge_heads(d) for d in attention_gradient(Q, K, V, for_heads(may_attend), d_heads)], -1)
    return d_qkv @ W, rows(d_qkv).T @ rows(X), rows(d_qkv).sum(0), rows(dY).T @ rows(concat), rows(dY).sum(0)


def project(X, W, b, W_O, b_O, H: int) -> list[Array]:
    """Check all shapes, then return Q, K and V of all heads, each [.., H, T, D]."""
    check_shape("X", X, "T C" if np.ndim(X) == 2 else "B T C")
    C = X.shape[-1]
    if H < 1 or C % H:
        raise InputError(f"width {C} is not divisible by {H} heads: choose a multiple of {H}.")
    for name, array, wanted in (("W", W, "3C C"), ("b", b, "3C"), ("W_O", W_O, "C C"), ("b_O", b_O, "C")):
        check_shape(name, array, wanted, **{"3C": 3 * C, "C": C})
    return [split_heads(each, H) for each in np.split(X @ W.T + b, 3, axis=-1)]


def split_heads(X: Array, H: int) -> Array:
    """[.., T, C] → [.., H, T, D]: cut the width into heads, and move the head axis in front of T.  F19."""
    return np.swapaxes(X.reshape(*X.shape[:-1], H, X.shape[-1] // H), -2, -3)


def merge_heads(X: Array) -> Array:
    """[.., H, T, D] → [.., T, H·D]: undo `split_heads`. This is the Concat of the formula.  F19."""
    X = np.swapaxes(X, -2, -3)  # [.., T, H, D]
    return X.reshape(*X.shape[:-2], -1)


def for_heads(may_attend: Array | None) -> Array | None:
    """[.., T, S] → [.., 1, T, S]: add a head axis, so that all heads share the mask."""
    return None if may_attend is None else np.expand_dims(np.atleast_2d(may_attend), -3)


def rows(X: Array) -> Array:
    """[.., T, C] → [·, C], so that one matrix product sums over the positions of all sequences."""
    return X.reshape(-1, X.shape[-1])


def check_attention(Q: Array, K: Array, V: Array | None, may_attend: Array | None) -> None:
    batch = {2: "", 3: "B ", 4: "B H "}.get(np.ndim(Q), "B ")
    check_shape("Q", Q, f"{batch}T D")
    *before, T, D = Q.shape
    known = dict(zip(batch.split(), before))
    check_shape("K", K, f"{batch}S D", **known, D=D)
    check_not_empty("Q", Q)
    check_not_empty("K", K)
    S = K.shape[-2]
    if V is not None:
        check_shape("V", V, f"{batch}S Dv", **known, S=S)
    if may_attend is not None and np.asarray(may_attend).dtype != bool:
        raise InputError(
            f"may_attend has the type {np.asarray(may_attend).dtype}, but a mask is boolean: True where a query may attend."
        )
    try:
        fits = may_attend is None or np.broadcast_shapes(np.shape(may_attend), (*before, T, S)) == (*before, T, S)
    except ValueError:
        fits = False
    if may_attend is not None and not fits:
        raise InputError(f"may_attend has shape {list(np.shape(may_attend))}, but must broadcast to {[*before, T, S]}.")


def check_heads(Q, K, V, W_Q, W_K, W_V, W_O) -> None:
    check_shape("W_Q", W_Q, "H C D")
    H, C, D = W_Q.shape
    check_shape("W_K", W_K, "H C D", H=H, C=C, D=D)
    check_shape("W_V", W_V, "H C Dv", H=H, C=C)
    check_shape("W_O", W_O, "H·Dv C", **{"H·Dv": H * W_V.shape[2], "C": C})
    batch = "B " if np.ndim(Q) == 3 else ""
    for name, X, letters in (("Q", Q, "T C"), ("K", K, "S C"), ("V", V, "S C")):
        check_shape(name, X, batch + letters, C=C)


def check_like(name: str, array: Array, Y: Array) -> None:
    if np.shape(array) != Y.shape:
        raise InputError(f"{name} has shape {list(np.shape(array))}, but must have the shape of Y, {list(Y.shape)}.")
