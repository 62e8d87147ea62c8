r"""One step with a key/value cache.  F18, F23.  20 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def softmax(z):
    e = np.exp(z - np.max(z))
    return e / e.sum()


def flawed(q, k, v, K, V, wrong=frozenset()):
    D, t = len(q), len(K)
    new = [k, v]
    if "swapped" in wrong:
        new = [v, k]
    if "query_stored" in wrong:
        new[0] = q
    if "scaled_key" in wrong:
        new[0] = k / np.sqrt(D)
    pairs = [(K, new[0]), (V, new[1])]
    if "in_front" in wrong:
        K1, V1 = (np.concatenate([row[None], old]) for old, row in pairs)
    elif "twice" in wrong:
        K1, V1 = (np.concatenate([old, row[None], row[None]]) for old, row in pairs)
    elif "oldest_dropped" in wrong:
        K1, V1 = (np.concatenate([old[1:], row[None]]) for old, row in pairs)
    elif "replaced" in wrong:
        K1, V1 = (np.concatenate([old[:-1], row[None]]) for old, row in pairs)
    elif "added" in wrong and t:
        K1, V1 = (old + row for old, row in pairs)
    else:
        K1, V1 = (np.concatenate([old, row[None]]) for old, row in pairs)
    seen_K, seen_V = (K, V) if "old_only" in wrong and t else (K1, V1)
    scale = {"no_root": 1.0, "no_square_root": D, "root_of_t": np.sqrt(t + 1)}
    z = seen_K @ q / next((value for key, value in scale.items() if key in wrong), np.sqrt(D))
    if "own_key_asks" in wrong:
        z = seen_K @ k / np.sqrt(D)
    if "future" in wrong:  # the mask of a whole text, applied to the only row
        z[1:] = -np.inf
    A = np.exp(z) / np.exp(z).sum() if "overflow" in wrong else softmax(z)
    if "no_softmax" in wrong:
        A = z
    if "uniform" in wrong:
        A = np.full(len(z), 1 / len(z))
    if "hardest" in wrong:
        A = np.eye(len(z))[z.argmax()]
    if "last" in wrong:
        A = np.eye(len(z))[-1]
    y = A @ (seen_K if "values_are_keys" in wrong else seen_V)
    return (y, K, V) if "not_stored" in wrong else (y, K1, V1)


MISTAKES = """  key · what it looks like · a question
old_only · the new token attends to the tokens before it, and not to itself ·
    what stands on the diagonal of a causal mask?
not_stored · y is right, but K and V come back as they were ·
    what will the next token find in the cache?
no_root · the scores are not divided by √D ·
    what happens to the softmax when D grows?
no_square_root · the scores are divided by D, not by √D ·
    how does the spread of a sum of D products grow with D?
root_of_t · the scores are divided by the root of the number of keys ·
    should a token attend less sharply because the text is long?
swapped · the new key is stored with the values, and the new value with the keys ·
    which of the two is compared with queries, and which one is added up?
query_stored · the query is stored in place of the key ·
    will anybody need this query again?
scaled_key · the key is stored after it was divided by √D, so that later steps divide it again ·
    which of the stored rows should equal k?
own_key_asks · the new key is compared with the keys, and the query is not used ·
    which of q and k asks?
values_are_keys · the weights add up keys instead of values ·
    what is the last factor in softmax(q Kᵀ/√D) V?
in_front · the new rows stand above the old ones ·
    in which order does the cache hold the tokens of the text?
twice · the new rows are stored twice ·
    how many rows should K' have?
oldest_dropped · the oldest row is dropped when a new one comes ·
    does the formula forget anything?
replaced · the new rows take the place of the newest old ones ·
    how many rows should K' have?
added · the new rows are added to all old ones, instead of standing below them ·
    how many rows should K' have?
future · all keys but the first are masked, as in row 1 of a causal mask ·
    the new token is the last one: which row of the mask belongs to it?
no_softmax · the scores are used as weights, without a softmax ·
    what do the weights of a query sum to?
uniform · all keys get the same weight ·
    does your y change when q does?
hardest · only the key with the highest score counts ·
    softmax is soft: what do the other keys get?
last · y is the value of the new token alone ·
    does your y change when V does?
overflow · exp is applied to the scores as they are ·
    what does a computer return for exp(1000)?
"""


def whole_matrix(q, k, v, K, V):
    """Attention of every row to every row that is not after it; the queries of the old tokens are not known and not needed."""
    K, V = np.vstack([K, k]), np.vstack([V, v])
    Q = np.zeros(K.shape)
    Q[-1] = q
    z = np.where(np.tri(len(K), dtype=bool), Q @ K.T / len(q) ** 0.5, -np.inf)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True) @ V)[-1], K, V


def key_by_key(q, k, v, K, V):
    """One pass over the keys with a running maximum, as fused kernels do it."""
    K, V = np.append(K, [k], axis=0), np.append(V, [v], axis=0)
    most, total, y = -np.inf, 0.0, np.zeros(len(v))
    for key, value in zip(K, V, strict=True):
        z = float(sum(a * b for a, b in zip(q, key, strict=True))) / len(q) ** 0.5
        above = max(most, z)
        shrink = np.exp(most - above)
        total, y, most = total * shrink + np.exp(z - above), y * shrink + np.exp(z - above) * value, above
    return y / total, K, V


def by_einsum(q, k, v, K, V):
    K, V = (np.concatenate((old, new.reshape(1, -1)), axis=0) for old, new in ((K, k), (V, v)))
    A = softmax(np.einsum("d,td->t", q / np.sqrt(q.size), K))
    return np.einsum("t,td->d", A, V), K, V


def split_sum(q, k, v, K, V):
    """The old keys and the new one are weighed apart, and the two parts are put together."""
    root = np.sqrt(len(q))
    old, own = K @ q / root, float(k @ q) / root
    most = max([*old.tolist(), own])
    e, e_own = np.exp(old - most), np.exp(own - most)
    return (e @ V + e_own * v) / (e.sum() + e_own), np.r_[K, [k]], np.r_[V, [v]]


def case(rng, t, D, scale=1.0):
    q, k, v = rng.normal(size=(3, D))
    K, V = rng.normal(size=(2, t, D))
    return {"q": q * scale, "k": k, "v": v, "K": K, "V": V}


def large(inputs):
    """A query that agrees with the first key, and is very long."""
    return inputs | {"q": 1e5 * inputs["K"][0]}


def tiny():
    stored = {"K": np.array([[1.0, 0.0], [0.0, 1.0]]), "V": np.array([[1.0, 2.0], [3.0, 4.0]])}
    return {"q": np.array([2.0, 1.0]), "k": np.array([1.0, 1.0]), "v": np.array([5.0, 0.0])} | stored


EXERCISE = Exercise(
    target="minilm.formulas.generation.cache_step",
    section=("17", "The cache: one query per step"),
    task="A model that writes keeps the keys K and the values V of all tokens that it has read. A new token comes with its query "
    "q, key k and value v. Compute what attention gives for it, and return the cache with the new token in it.",
    returns={"y": "feature", "K'": "token feature", "V'": "token feature"},
    tiny=tiny,
    probes=lambda rng: {
        "five tokens before": case(rng, 5, 3, 2.0),
        "more tokens, another size": case(rng, 9, 4, 2.0),
        "two tokens before": case(rng, 2, 7, 2.0),
    },
    edges=lambda rng: {
        "the first token of a text": case(rng, 0, 4),
        "scores of many thousands": large(case(rng, 6, 3)),
        "one feature": case(rng, 3, 1),
    },
    properties=(
        Property(
            "y lies between the smallest and the largest value of each feature",
            lambda rng: {"eight tokens": case(rng, 8, 5)},
            lambda out: (out[0] <= out[2].max(0) + 1e-9).all() and (out[0] >= out[2].min(0) - 1e-9).all(),
        ),
    ),
    needs=("attention",),
    forbidden=("cache_step", "scaled_dot_product_attention", "MultiHeadAttention"),
    steps=(
        "the keys and the values with those of the new token below them [t+1, D]",
        "the scores of all keys for this one query [t+1], and their softmax",
        "the weighted sum of the values [D]",
    ),
    right={
        "whole matrix": whole_matrix,
        "key by key": key_by_key,
        "einsum": by_einsum,
        "old and new apart": split_sum,
    },
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "Causal attention has one row per token, and row t looks at the keys up to t. A new token adds one row and changes none "
        "of those above it. So only one query asks, and everything else about older tokens is in the cache already.",
        "K' [t+1, D] is K with k below it, V' likewise. scores [t+1] = K' times q, over the root of D → softmax → weights [t+1] "
        "times V' → y [D]. The new token attends to itself too.",
        "K' = K and, below, k;  V' = V and, below, v;  z = each row of K' with q, over √D;  A = softmax of z;  y = A times V';  "
        "return y, K', V'",
    ),
)
