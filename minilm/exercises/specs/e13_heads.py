r"""Many heads: split, attend, merge.  F19.  30 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed
from minilm.formulas.attention import attention


def flawed(X, W, b, W_O, b_O, H, may_attend=None, wrong=frozenset()):
    *before, T, C = X.shape
    D = C // H
    b = 0 * b if "no_b" in wrong else b
    b_O = H * b_O if "bias_each" in wrong else b_O
    W_O = W_O.T if "output_transposed" in wrong else W_O
    qkv = np.split(X @ W.T + b, 3, axis=-1)
    if "v_first" in wrong:
        qkv = qkv[::-1]
    if "raw_values" in wrong:
        qkv[2] = X
    if "one_projection" in wrong:
        qkv = [qkv[0]] * 3
    if "kv_shared" in wrong:
        qkv[2] = qkv[1]
    if "order" in wrong:
        qkv = [qkv[1], qkv[0], qkv[2]]
    if "per_head" in wrong:  # reads the columns as [H, 3, D]: another order of the rows of W
        Z = np.moveaxis((X @ W.T + b).reshape(*before, T, H, 3, D), -2, 0)
        qkv = [each.reshape(*before, T, C) for each in Z]

    def split(Z):
        if "view" in wrong:
            return Z.reshape(*before, H, T, D)
        if "dh" in wrong:  # every H-th column belongs to one head
            return np.moveaxis(Z.reshape(*before, T, D, H), -1, -3)
        if "first_head" in wrong:
            return np.stack([Z[..., :D]] * H, axis=-3)
        return np.swapaxes(Z.reshape(*before, T, H, D), -2, -3)

    Q, K, V = (split(each) for each in qkv)
    if "one_query" in wrong:
        Q = np.broadcast_to(Q[..., :1, :, :], Q.shape)
    mask = None if may_attend is None else np.broadcast_to(may_attend, (*before, T, T))
    if "mask_order" in wrong and mask is not None and before:  # [B·H, T, T], with the masks of all sentences in turn
        mask = np.concatenate([mask] * H).reshape(*before, H, T, T)
    elif mask is not None:
        mask = mask[..., None, :, :]
    if "mask_one_head" in wrong and mask is not None:
        mask = mask | (np.arange(H) > 0)[:, None, None]
    if "inverted" in wrong and mask is not None:
        mask = ~mask
    if "mask_queries" in wrong and mask is not None:
        mask = np.swapaxes(mask, -1, -2)
    if "mask_first" in wrong and mask is not None and before:
        mask = mask[:1]
    if "no_mask" in wrong:
        mask = None
    heads = attention(Q * np.sqrt(D / C), K, V, mask) if "scale" in wrong else attention(Q, K, V, mask)
    if "scale_twice" in wrong:
        heads = attention(Q / np.sqrt(D), K, V, mask)
    if "reversed_heads" in wrong:
        heads = heads[..., ::-1, :, :]
    if "not_back" in wrong:
        Y = heads.reshape(*before, T, C)
    elif "merged_dh" in wrong:
        Y = np.moveaxis(heads, -3, -1).reshape(*before, T, C)
    elif "mean" in wrong:
        Y = np.concatenate([heads.mean(-3)] * H, axis=-1)
    elif "added" in wrong:
        Y = np.concatenate([heads.sum(-3)] * H, axis=-1)
    elif "last_head" in wrong:
        Y = np.concatenate([heads[..., -1, :, :]] * H, axis=-1)
    else:
        Y = np.swapaxes(heads, -2, -3).reshape(*before, T, C)
    if "residual" in wrong:
        b_O = b_O + X
    return Y if "no_output" in wrong else Y @ W_O.T + (0 if "no_bias" in wrong else b_O)


def a_head_at_a_time(X, W, b, W_O, b_O, H, may_attend=None):
    C = X.shape[-1]
    D, out = C // H, np.zeros(X.shape) + b_O
    for h in range(H):
        q, k, v = (slice(part * C + h * D, part * C + (h + 1) * D) for part in range(3))
        Y = attention(X @ W[q].T + b[q], X @ W[k].T + b[k], X @ W[v].T + b[v], may_attend)
        out = out + Y @ W_O[:, h * D : (h + 1) * D].T
    return out


def einsum(X, W, b, W_O, b_O, H, may_attend=None):
    C = X.shape[-1]
    Q, K, V = np.einsum("...tc,phdc->p...htd", X, W.reshape(3, H, C // H, C)) + b.reshape(
        3, *[1] * (X.ndim - 2), H, 1, C // H
    )
    Y = attention(Q, K, V, None if may_attend is None else may_attend[..., None, :, :])
    return np.einsum("...htd,chd->...tc", Y, W_O.reshape(C, H, C // H)) + b_O


def heads_in_the_batch(X, W, b, W_O, b_O, H, may_attend=None):
    """Heads in the batch axis, [B·H, T, D]: the mask of each sentence is repeated H times in a row."""
    B, T, C = X.shape if X.ndim == 3 else (1, *X.shape)
    Z = (X @ W.T + b).reshape(B, T, 3, H, C // H).transpose(2, 0, 3, 1, 4).reshape(3, B * H, T, C // H)
    mask = None if may_attend is None else np.repeat(np.broadcast_to(may_attend, (B, T, T)), H, axis=0)
    Y = attention(*Z, mask).reshape(B, H, T, C // H).transpose(0, 2, 1, 3)
    return (Y.reshape(B, T, C) @ W_O.T + b_O).reshape(X.shape)


def concatenated(X, W, b, W_O, b_O, H, may_attend=None):
    parts = [np.split(each, H, axis=-1) for each in np.split(X @ W.T + b, 3, axis=-1)]
    return np.concatenate([attention(*head, may_attend) for head in zip(*parts)], axis=-1) @ W_O.T + b_O


def batch(rng, *before, T, H, D, mask=None):
    C = H * D
    return {
        "X": rng.normal(size=(*before, T, C)),
        "W": rng.normal(size=(3 * C, C)) * 1.5 / np.sqrt(C),
        "b": rng.normal(size=3 * C),
        "W_O": rng.normal(size=(C, C)),
        "b_O": rng.normal(size=C),
        "H": H,
        "may_attend": mask,
    }


def ragged(T, *lengths):
    """A mask [B, 1, T]: sentence b has `lengths[b]` tokens."""
    return (np.arange(T) < np.array(lengths)[:, None])[:, None, :]


def probes(rng):
    return {
        "one sentence": batch(rng, T=5, H=2, D=3),
        "a batch": batch(rng, 2, T=4, H=3, D=2),
        "as many heads as tokens": batch(rng, 2, T=3, H=3, D=4),
        "padding, as many sentences as heads": batch(rng, 2, T=4, H=2, D=3, mask=ragged(4, 4, 2)),
        "a causal mask, the same for all sentences": batch(rng, 3, T=4, H=2, D=3, mask=np.tri(4, dtype=bool)),
        "one sentence with a causal mask": batch(rng, T=5, H=3, D=2, mask=np.tri(5, dtype=bool)),
        "a different mask for each sentence and query": batch(
            rng, 3, T=4, H=2, D=2, mask=np.eye(4, dtype=bool) | (rng.random((3, 4, 4)) < 0.5)
        ),
    }


def edges(rng):
    return {
        "a sentence of padding only": batch(rng, 2, T=3, H=2, D=2, mask=ragged(3, 3, 0)),
        "a single head": batch(rng, 2, T=3, H=1, D=4),
        "a single head and a mask": batch(rng, 2, T=3, H=1, D=4, mask=ragged(3, 2, 3)),
        "heads of one feature": batch(rng, 2, T=3, H=4, D=1),
        "one token": batch(rng, 3, T=1, H=2, D=3),
        "one sentence in a batch": batch(rng, 1, T=4, H=2, D=3, mask=ragged(4, 3)),
        "many heads": batch(rng, 2, T=3, H=8, D=2),
    }


def heads_exchanged(rng):
    """The same heads in another order, in W, b and W_O."""
    first = batch(rng, 2, T=4, H=3, D=2)
    turned = np.arange(6).reshape(3, 2)[[2, 0, 1]].ravel()
    rows = np.concatenate([turned, 6 + turned, 12 + turned])
    other = {**first, "W": first["W"][rows], "b": first["b"][rows], "W_O": first["W_O"][:, turned]}
    return {"heads": first, "the same heads in another order": other}


def tiny():
    eye = np.eye(2)
    return {
        "X": np.array([[1.0, 0.0], [0.0, 2.0]]),
        "W": np.vstack([eye, eye, [[1.0, 1.0], [1.0, -1.0]]]),
        "b": np.array([0.5, 0.0, 0.0, 1.0, 0.0, 1.0]),
        "W_O": np.array([[1.0, 2.0], [0.0, 1.0]]),
        "b_O": np.array([0.0, 3.0]),
        "H": 2,
        "may_attend": None,
    }


MISTAKES = """  key · what it looks like · a question
view · the width is split into heads by a reshape alone, without a transpose ·
    if [T, H·D] is reshaped to [H, T, D] without a transpose, whose numbers end up in head 0?
not_back · the heads are merged by a reshape alone, without the transpose back ·
    if [T, H·D] is reshaped to [H, T, D] without a transpose, whose numbers end up in head 0?
dh · the width is split as [D, H] instead of [H, D] ·
    which columns belong to the first head: the first D, or every H-th?
merged_dh · the heads are merged as [D, H] instead of [H, D] ·
    which columns belong to the first head: the first D, or every H-th?
mask_order · the masks are not repeated in the same order as the heads ·
    there are B·H rows: which come first, all heads of sentence 0 or head 0 of all sentences?
mask_one_head · the mask is used only in the first head ·
    the scores are [B, H, T, T]: does the mask differ between sentences or between heads?
no_mask · the mask is not used ·
    the scores are [B, H, T, T]: does the mask differ between sentences or between heads?
one_projection · the same projection is used for Q, K and V ·
    W has 3C rows: how many of them have you used?
kv_shared · the projection for K is used for V as well ·
    W has 3C rows: how many of them have you used?
order · Q and K are swapped ·
    in which order are the rows of W stored?
per_head · the rows of W are read head by head, each head with its own q, k and v ·
    what do the first C rows of W compute?
first_head · all heads read the first D columns: one projection is reused for all of them ·
    what makes one head different from another?
scale · the scores are divided by √C instead of √D ·
    how many products are added up in the score of one head?
mean · the heads are averaged instead of concatenated ·
    H heads with D numbers each: how many numbers is that in total?
no_output · the output projection W_O is missing ·
    which step can mix the results of the heads?
no_bias · the bias b_O is missing ·
    how many of the four parameters have you used?
bias_each · every head adds the bias b_O once more ·
    if all heads return 0, what should come out?
no_b · the bias b of the first product is missing ·
    how many of the four parameters have you used?
output_transposed · W_O is not transposed ·
    `W_O` is stored as in nn.Linear: which axis of it belongs to the output?
v_first · the rows of W are read as V, K, Q ·
    in which order are the rows of W stored?
raw_values · the values are X itself, without a projection ·
    W has 3C rows: what are the last C of them for?
one_query · all heads use the queries of the first head ·
    what makes one head different from another?
inverted · the mask is read the wrong way round ·
    what does True mean: may be attended to, or hidden?
mask_queries · the mask is transposed: it hides queries instead of keys ·
    may_attend broadcasts to [.., T, T]: which of the two axes belongs to the keys?
mask_first · the mask of the first sentence is used for all of them ·
    are the sentences of a batch equally long?
scale_twice · the scores are divided by √D twice ·
    which function divides by √D already?
reversed_heads · the heads are concatenated in reverse order ·
    which columns of the concatenation belong to the first head?
added · the heads are added up instead of concatenated ·
    H heads with D numbers each: how many numbers is that in total?
last_head · the result of the last head stands in the place of all heads ·
    H heads with D numbers each: how many numbers is that in total?
residual · X is added to the output ·
    what adds the residual: attention, or the block around it?
"""
EXERCISE = Exercise(
    target="minilm.formulas.attention.fused_self_attention",
    section=("05", "Many heads, one product"),
    task="Self-attention with H heads from one matrix product: split its result into Q, K and V, split each of these into heads "
    "of D = C/H columns, let each head attend on its own, and concatenate the heads again. X is [T, C] or [B, T, C].",
    docstring="""Self-attention Y [.., T, C] of X [.., T, C] with H heads, from one product: Q, K, V = X Wᵀ + b.  F19.

    `W` [3·C, C] and `b` [3·C]: first the rows for Q, then those for K, then those for V, each of them head by head.
    `W_O` [C, C] and `b_O` [C] are as in `nn.Linear`. `may_attend`, [T, T], [.., T, T] or [.., 1, T], is the same for all heads.""",
    returns={"Y": "sentence token feature"},
    tiny=tiny,
    probes=probes,
    edges=edges,
    properties=(Property("the order of the heads does not matter", heads_exchanged, lambda a, b: np.allclose(a, b)),),
    needs=("attention", "padding_mask"),
    given=("minilm.formulas.attention.attention",),
    forbidden=(
        "fused_self_attention",
        "multi_head_attention",
        "split_heads",
        "merge_heads",
        "project",
        "MultiheadAttention",
    ),
    steps=(
        "one product plus its bias [.., T, 3C], split into Q, K and V [.., T, C]",
        "split each of them into heads, and move the head axis next to the batch [.., H, T, D]",
        "attention, with a mask that has an axis for the heads [.., 1, T, T]",
        "the way back to [.., T, H·D], and the output projection",
    ),
    right={
        "a head at a time": a_head_at_a_time,
        "einsum": einsum,
        "heads in the batch": heads_in_the_batch,
        "concatenated": concatenated,
    },
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "A head is attention on D of the C columns. Instead of H small products, compute one large product and split it: "
        "columns 0 … D − 1 belong to the first head. Each token must keep its own numbers, so reshape only the last axis, and "
        "then move the heads to the front with a transpose.",
        "X Wᵀ + b [.., T, 3C] → three of [.., T, C] → reshape [.., T, H, D] → swap two axes [.., H, T, D] → attention → swap "
        "back [.., T, H, D] → reshape [.., T, C] → times W_Oᵀ, plus b_O.",
        "q, k, v = split in 3;  each: reshape to (.., T, H, D), swapaxes(-2, -3);  mask gets an axis before its last two;  y = "
        "attention of the three;  swapaxes back, reshape to (.., T, C), then W_O and b_O",
    ),
)
