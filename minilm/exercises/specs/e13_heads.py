r"""Many heads: split, attend, merge.  F19."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong
from minilm.formulas.attention import attention


def flawed(X, W, b, W_O, b_O, H, may_attend=None, wrong=frozenset()):
    *before, T, C = X.shape
    D = C // H
    qkv = np.split(X @ W.T + b, 3, axis=-1)
    if "one_projection" in wrong:
        qkv = [qkv[0]] * 3
    if "kv_shared" in wrong:
        qkv[2] = qkv[1]
    if "order" in wrong:
        qkv = [qkv[1], qkv[0], qkv[2]]
    if "per_head" in wrong:  # the columns read as [H, 3, D]: another order of the rows of W
        Z = np.moveaxis((X @ W.T + b).reshape(*before, T, H, 3, D), -2, 0)
        qkv = [each.reshape(*before, T, C) for each in Z]

    def split(Z):
        if "view" in wrong:
            return Z.reshape(*before, H, T, D)
        if "dh" in wrong:  # every H-th column is a head's
            return np.moveaxis(Z.reshape(*before, T, D, H), -1, -3)
        if "first_head" in wrong:
            return np.stack([Z[..., :D]] * H, axis=-3)
        return np.swapaxes(Z.reshape(*before, T, H, D), -2, -3)

    Q, K, V = (split(each) for each in qkv)
    mask = None if may_attend is None else np.broadcast_to(may_attend, (*before, T, T))
    if "mask_order" in wrong and mask is not None and before:  # [B·H, T, T] with the masks in turns
        mask = np.concatenate([mask] * H).reshape(*before, H, T, T)
    elif mask is not None:
        mask = mask[..., None, :, :]
    if "mask_one_head" in wrong and mask is not None:
        mask = mask | (np.arange(H) > 0)[:, None, None]
    if "no_mask" in wrong:
        mask = None
    heads = attention(Q * np.sqrt(D / C), K, V, mask) if "scale" in wrong else attention(Q, K, V, mask)
    if "not_back" in wrong:
        Y = heads.reshape(*before, T, C)
    elif "merged_dh" in wrong:
        Y = np.moveaxis(heads, -3, -1).reshape(*before, T, C)
    elif "mean" in wrong:
        Y = np.concatenate([heads.mean(-3)] * H, axis=-1)
    else:
        Y = np.swapaxes(heads, -2, -3).reshape(*before, T, C)
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
    """[B·H, T, D]: each sentence's mask H times, one after the other."""
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
    """[B, 1, T]: sentence b has so many words."""
    return (np.arange(T) < np.array(lengths)[:, None])[:, None, :]


def probes(rng):
    return {
        "one sentence": batch(rng, T=5, H=2, D=3),
        "a batch": batch(rng, 2, T=4, H=3, D=2),
        "as many heads as words": batch(rng, 2, T=3, H=3, D=4),
        "padding, as many sentences as heads": batch(rng, 2, T=4, H=2, D=3, mask=ragged(4, 4, 2)),
        "a mask of its own for each sentence and query": batch(
            rng, 3, T=4, H=2, D=2, mask=np.eye(4, dtype=bool) | (rng.random((3, 4, 4)) < 0.5)
        ),
    }


def edges(rng):
    return {
        "a sentence of padding only": batch(rng, 2, T=3, H=2, D=2, mask=ragged(3, 3, 0)),
        "a single head": batch(rng, 2, T=3, H=1, D=4),
        "heads of one feature": batch(rng, 2, T=3, H=4, D=1),
        "one word": batch(rng, 3, T=1, H=2, D=3),
    }


def heads_exchanged(rng):
    """The heads in another order, in W, b and W_O alike."""
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


WORDS = "[T, H·D] read as [H, T, D] without a transpose: whose numbers stand in head 0?"
COLUMNS = "which columns belong to the first head: the first D, or every H-th?"
MASK = "[B, H, T, T]: for which of the two axes does the mask change?"
WRONG = {
    "view": ("the width is cut into heads by a reshape alone, without a transpose", WORDS),
    "not_back": ("the heads are merged by a reshape alone, without the transpose back", WORDS),
    "dh": ("the width is cut as [D, H] instead of [H, D]", COLUMNS),
    "merged_dh": ("the heads are merged as [D, H] instead of [H, D]", COLUMNS),
    "mask_order": (
        "the masks are repeated in another order than the heads",
        "B·H rows: sentence 0 in all heads first, or head 0?",
    ),
    "mask_one_head": ("the mask is used in the first head alone", MASK),
    "no_mask": ("the mask is not used", MASK),
    "one_projection": ("one projection is used for Q, K and V", "W has 3C rows: how many of them have you used?"),
    "kv_shared": ("K's projection is used for V as well", "W has 3C rows: how many of them have you used?"),
    "order": ("Q and K are exchanged", "in which order do the rows of W lie?"),
    "per_head": ("the rows of W are read head by head, each with its q, k and v", "what are the first C rows of W?"),
    "first_head": (
        "all heads read the first D columns: one projection reused for all",
        "how do two heads come to differ?",
    ),
    "scale": ("the scores are divided by √C instead of √D", "how many products does the score of one head add up?"),
    "mean": ("the heads are averaged instead of put side by side", "H heads of D numbers: how many numbers are that?"),
    "no_output": ("the output projection W_O is missing", "what can mix what the heads have found?"),
    "no_bias": ("the bias b_O is missing", "how many of the four parameters have you used?"),
}
EXERCISE = Exercise(
    target="minilm.formulas.attention.fused_self_attention",
    section=("04", "Many heads, one product"),
    task="Self-attention with H heads from one product: cut its result into Q, K and V, each of them into heads of D = C/H columns, "
    "let each head attend for itself, put the heads side by side again. X is [T, C] or [B, T, C].",
    docstring="""Y [.., T, C] for Q = K = V = X from one product, Q, K, V = X Wᵀ + b, cut into H heads.  F19.

    `W` [3·C, C] and `b` [3·C]: the rows of Q first, then K's, then V's, and in each the heads one after the other;
    `W_O` [C, C] and `b_O` [C] as in `nn.Linear`. `may_attend` broadcasts to [.., T, T], the same for all heads.""",
    returns={"Y": "sentence word feature"},
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
        "one product and its bias [.., T, 3C], cut into Q, K and V [.., T, C]",
        "each cut into heads, and the heads brought beside the batch [.., H, T, D]",
        "attention, with a mask that has an axis for the heads [.., 1, T, T]",
        "the way back [.., T, H·D], and the output projection",
    ),
    right={
        "a head at a time": a_head_at_a_time,
        "einsum": einsum,
        "heads in the batch": heads_in_the_batch,
        "concatenated": concatenated,
    },
    wrong={key: Wrong(name, question) for key, (name, question) in WRONG.items()},
    flawed=flawed,
    hints=(
        "A head is attention on D of the C columns. Instead of H small products one makes a large one and cuts it: columns 0 … D − 1 "
        "are the first head's. Words must stay words: reshape cuts the last axis, a transpose moves the heads to the front.",
        "X Wᵀ + b [.., T, 3C] → three of [.., T, C] → reshape [.., T, H, D] → swap two axes [.., H, T, D] → attention → swap back "
        "[.., T, H, D] → reshape [.., T, C] → times W_Oᵀ, plus b_O.",
        "q, k, v = split in 3;  each: reshape to (.., T, H, D), swapaxes(-2, -3);  mask gets an axis before its last two;  y = "
        "attention of the three;  swapaxes back, reshape to (.., T, C), then W_O and b_O",
    ),
)
