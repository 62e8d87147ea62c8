r"""Cross-attention: the target asks, the source answers.  F18.  30 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(X, M, W_Q, W_K, W_V, may_attend=None, wrong=frozenset()):
    Q, K, V = X @ W_Q, M @ W_K, M @ W_V
    if "turned_round" in wrong:
        Q, K, V = M @ W_Q, X @ W_K, X @ W_V
    if "queries_of_source" in wrong:
        Q, K, V = M @ W_Q, X @ W_K, M @ W_V
    if "only_target" in wrong:
        K, V = X @ W_K, X @ W_V
    if "keys_of_target" in wrong and X.shape == M.shape:
        K = X @ W_K
    if "values_of_target" in wrong and X.shape == M.shape:
        V = X @ W_V
    if "both_as_keys" in wrong:
        K, V = (np.concatenate([X @ W, M @ W], axis=-2) for W in (W_K, W_V))
    if "query_weights_twice" in wrong:
        K = M @ W_Q
    if "keys_exchanged" in wrong:
        Q, K = X @ W_K, M @ W_Q
    if "keys_as_values" in wrong and W_K.shape == W_V.shape:
        V = M @ W_K
    if "no_value_weights" in wrong and W_V.shape[0] == W_V.shape[1]:
        V = M
    if "square_transposed" in wrong and W_Q.shape[0] == W_Q.shape[1]:
        Q = X @ W_Q.T
    D, C, S = Q.shape[-1], X.shape[-1], K.shape[-2]
    root = np.sqrt(D)
    for key, other in {"no_scale": 1.0, "width": np.sqrt(C), "no_root": float(D), "keys": np.sqrt(S)}.items():
        root = other if key in wrong else root
    Z = Q @ np.swapaxes(K, -1, -2) / root
    shown = np.ones(Z.shape, bool) if may_attend is None else may_attend
    fits = np.broadcast_shapes(np.shape(shown), Z.shape) == Z.shape if compatible(shown, Z) else False
    shown = np.broadcast_to(shown, Z.shape) if fits else np.ones(Z.shape, bool)
    if "inverted" in wrong and may_attend is not None:
        shown = ~shown
    if "no_mask" in wrong:
        shown = np.ones(Z.shape, bool)
    if "causal" in wrong:
        shown = shown & np.tril(np.ones(Z.shape[-2:], bool), k=max(0, Z.shape[-1] - Z.shape[-2]))
    if "after" in wrong:
        A = softmax(Z, np.ones(Z.shape, bool)) * shown
    elif "zero" in wrong:
        A = softmax(np.where(shown, Z, 0.0), np.ones(Z.shape, bool))
    elif "finite" in wrong:
        A = softmax(np.where(shown, Z, -1e9), np.ones(Z.shape, bool))
    elif "over_targets" in wrong:
        A = np.swapaxes(softmax(np.swapaxes(Z, -1, -2), np.swapaxes(shown, -1, -2)), -1, -2)
    elif "no_softmax" in wrong:
        A = np.where(shown, Z, 0.0)
    else:
        A = softmax(Z, shown)
    Y = A @ V
    if "hardest" in wrong:
        Y = np.take_along_axis(V, np.where(shown, Z, -np.inf).argmax(-1)[..., None], axis=-2) * shown.any(-1)[..., None]
    if "mean" in wrong:
        Y = Y / S
    if "residual" in wrong and Y.shape == X.shape:
        Y = Y + X
    return Y


def compatible(shown, Z):
    try:
        np.broadcast_shapes(np.shape(shown), Z.shape)
    except ValueError:
        return False
    return True


def softmax(Z, shown):
    """Zeros where a row has nothing to attend to."""
    top = np.max(Z, axis=-1, keepdims=True, where=shown, initial=-1e300)
    E = np.exp(np.where(shown, Z - top, -np.inf))
    total = E.sum(-1, keepdims=True)
    return E / np.where(total == 0, 1, total)


MISTAKES = """  key · what it looks like · a question
turned_round · the source asks and the target answers ·
    for whose tokens is there a row in the result: those of the target or those of the source?
queries_of_source · the queries are made of the source ·
    who wants to know something here, and who knows it?
only_target · keys and values are made of the target: this is self-attention ·
    where does your code use M?
keys_of_target · the keys are made of the target where both texts are equally long ·
    what is a query compared with?
values_of_target · the values are made of the target where both texts are equally long ·
    which text should the answers come from?
both_as_keys · the target may attend to itself as well as to the source ·
    there is self-attention already, one sub-layer earlier: which texts should this one see?
query_weights_twice · the keys are made with the weights of the queries ·
    what is W_K for?
keys_exchanged · the weights of queries and keys are exchanged ·
    which of the two weights belongs to the target?
keys_as_values · the values are made with the weights of the keys ·
    what is W_V for?
no_value_weights · the values are the source itself ·
    what is W_V for?
square_transposed · the weights of the queries are transposed where they are square ·
    W_Q has shape [C, D]: which axis of X has to meet which of these?
no_scale · the scores are not divided by √D ·
    what happens to the variance of q · k when D grows?
width · the scores are divided by √C, the width of the texts ·
    how many products are added up in one score?
no_root · the scores are divided by D, not by its root ·
    what happens to the variance of q · k when D grows?
keys · the scores are divided by the root of the number of keys ·
    how many products are added up in one score?
inverted · the mask is read the wrong way round ·
    what does True mean here: may be attended to, or hidden?
no_mask · the mask is never used ·
    what do the queries learn from padding?
causal · a causal mask hides the later tokens of the source ·
    the whole source is known before the first word is written: is any of it in the future?
after · the mask is applied after the softmax, so the remaining weights no longer sum to 1 ·
    when a key is hidden, what does a row of your weights sum to?
zero · hidden scores are set to 0, not to −∞ ·
    what is exp(0)?
finite · hidden scores become a large negative number, so that a source of padding only is averaged ·
    what is the softmax of a row in which every score is −1e9?
over_targets · the softmax runs over the target, not over the source ·
    which weights must sum to 1: those of one token of the target, or those of one token of the source?
no_softmax · the scores themselves are used as weights ·
    what do your weights of one query sum to?
hardest · only the source token with the highest score answers ·
    the maximum has no useful gradient: what does attention take instead?
mean · the result is divided by the length of the source ·
    the weights sum to 1 already: is another mean needed?
residual · the target is added to the result ·
    what adds the residual: attention, or the block around it?
"""


def loops(X, M, W_Q, W_K, W_V, may_attend=None):
    *B, T, _ = X.shape
    S = M.shape[-2]
    may = np.ones((*B, T, S), bool) if may_attend is None else np.broadcast_to(may_attend, (*B, T, S))
    out = np.zeros((*B, T, W_V.shape[1]))
    for place in np.ndindex(*B, T):
        source = M[place[:-1]]
        seen = np.flatnonzero(may[place])
        if len(seen):
            scores = np.array([(X[place] @ W_Q) @ (source[s] @ W_K) for s in seen]) / W_Q.shape[1] ** 0.5
            shares = np.exp(scores - scores.max())
            out[place] = sum(share * (source[s] @ W_V) for share, s in zip(shares / shares.sum(), seen))
    return out


def einsum(X, M, W_Q, W_K, W_V, may_attend=None):
    scores = np.einsum("...tc,cd,ed,...se->...ts", X, W_Q, W_K, M) * W_Q.shape[1] ** -0.5
    hidden = np.zeros(scores.shape, bool) if may_attend is None else ~np.broadcast_to(may_attend, scores.shape)
    scores = np.where(hidden, -np.inf, scores)
    top = scores.max(-1, keepdims=True)
    shares = np.exp(scores - np.where(np.isfinite(top), top, 0.0))
    shares = shares / np.maximum(shares.sum(-1, keepdims=True), 1e-300)
    return np.einsum("...ts,...sc,cv->...tv", shares, M, W_V)


def values_last(X, M, W_Q, W_K, W_V, may_attend=None):
    """Mix the source first, and multiply by W_V afterwards."""
    logs = X @ (W_Q @ W_K.T / np.sqrt(W_K.shape[1])) @ np.swapaxes(M, -1, -2)
    with np.errstate(divide="ignore"):
        logs = logs + (0.0 if may_attend is None else np.log(np.asarray(may_attend, float)))
    biggest = np.maximum(logs.max(-1, keepdims=True), -1e200)
    weights = np.exp(logs - biggest)
    whole = weights.sum(-1, keepdims=True)
    return (np.divide(weights, whole, out=np.zeros_like(weights), where=whole > 0) @ M) @ W_V


def made(rng, *B, T, S, C, D, Dv, mask=None):
    shapes = ((*B, T, C), (*B, S, C), (C, D), (C, D), (C, Dv))
    inputs = dict(zip(("X", "M", "W_Q", "W_K", "W_V"), (rng.normal(size=shape) for shape in shapes)))
    return {**inputs, "may_attend": mask}


def lengths(*each, S):
    """Sources of these lengths: the mask [B, 1, S]."""
    return (np.arange(S) < np.array(each)[:, None])[:, None]


def padded(rng):
    inputs = made(rng, 3, T=4, S=6, C=5, D=3, Dv=7, mask=lengths(6, 4, 1, S=6))
    inputs["M"][1, 4:] *= 1e3
    return inputs


def probes(rng):
    return {
        "two texts of different lengths": made(rng, T=3, S=5, C=4, D=6, Dv=7),
        "a batch with padding of a thousand": padded(rng),
        "all sizes equal": made(rng, 4, T=4, S=4, C=4, D=4, Dv=4),
        "a source that is shorter than the target": made(rng, 2, T=7, S=2, C=3, D=8, Dv=5, mask=lengths(2, 1, S=2)),
        "equally long, with a mask": made(rng, 2, T=5, S=5, C=3, D=6, Dv=3, mask=lengths(3, 5, S=5)),
    }


def edges(rng):
    large = made(rng, T=2, S=3, C=4, D=5, Dv=2)
    large["X"] = large["X"] * 1e3
    return {
        "scores of thousands": large,
        "a source of padding only": made(rng, 2, T=3, S=4, C=2, D=5, Dv=3, mask=lengths(4, 0, S=4)),
        "one token each": made(rng, T=1, S=1, C=3, D=2, Dv=4),
        "a mask for every token of the target": made(
            rng, 2, T=3, S=4, C=5, D=2, Dv=6, mask=np.arange(4) <= np.array([[0], [2], [3]]) + np.zeros((2, 1, 1), int)
        ),
    }


def shuffled(rng):
    first = made(rng, T=3, S=5, C=4, D=6, Dv=2)
    return {"a source": first, "the same source in another order": {**first, "M": first["M"][[2, 0, 4, 1, 3]]}}


def other_padding(rng):
    first = padded(rng)
    other = {**first, "M": np.where(np.swapaxes(first["may_attend"], 1, 2), first["M"], 7.0)}
    return {"a batch": first, "other vectors where the source is padding": other}


EXERCISE = Exercise(
    target="minilm.formulas.seq2seq.cross_attention",
    section=("19", "Cross-attention: the target asks, the source answers"),
    task="Write the layer that connects the two halves of a translation model. Every token of the target `X` [.., T, C] makes a "
    "query; every token of the source `M` [.., S, C] makes a key and a value. `may_attend` is False at padding of the source; a "
    "query that may attend to nothing gets zeros. You may call `attention` of `minilm.formulas.attention`, which you know from "
    "exercise 10.",
    returns={"Y": "batch target feature"},
    tiny=lambda: {
        "X": np.array([[1.0, 0.0]]),
        "M": np.array([[2.0, 0.0], [0.0, 2.0]]),
        "W_Q": np.eye(2),
        "W_K": np.eye(2),
        "W_V": np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]),
        "may_attend": None,
    },
    probes=probes,
    edges=edges,
    properties=(
        Property("the order of the source makes no difference", shuffled, lambda a, b: abs(a - b).max() < 1e-9),
        Property("padding of the source has no influence", other_padding, lambda a, b: abs(a - b).max() < 1e-9),
    ),
    needs=("attention", "padding_mask"),
    forbidden=(
        "cross_attention",
        "attention_weights",
        "multi_head_attention",
        "scaled_dot_product_attention",
    ),
    steps=(
        "the queries [.., T, D] from the target; the keys [.., S, D] and the values [.., S, Dv] from the source",
        "the scores [.., T, S], divided by √D; −∞ at padding",
        "the softmax over the source, with zeros where nothing may be attended to; then the mixture of the values",
    ),
    right={"loops": loops, "einsum": einsum, "the values last": values_last},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "It is attention as you know it, and only the places where Q, K and V come from are new. Ask who is looking for "
        "something (the token that is to be written) and where the answer lies (in the text that was read).",
        "X [.., T, C] times W_Q → queries [.., T, D];  M [.., S, C] times W_K and W_V → keys [.., S, D], values [.., S, Dv];  "
        "queries times keys transposed, over √D → [.., T, S] → mask, softmax along S → times values → [.., T, Dv].",
        "scores = queries @ (keys, last two axes swapped) / root of D;  where the mask is False: −∞;  weights = softmax over the "
        "last axis (rows of −∞ alone become 0);  answer = weights @ values",
    ),
)
