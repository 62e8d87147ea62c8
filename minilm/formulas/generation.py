r"""Writing with a language model: one step of attention with a key/value cache, and beam search.  F18, F23.

Letters:  t tokens read before · D size of a head · V vocabulary · K beams · N most tokens to write · α length penalty
Sources:  Shazeer (2019), Fast Transformer Decoding, §2 (incremental attention); Wu et al. (2016), Google's Neural Machine
          Translation System, §7 (beam search with a length penalty).
"""

from collections.abc import Callable

import numpy as np
from numpy import ndarray as Array

from minilm.errors import InputError
from minilm.formulas.attention import attention
from minilm.formulas.checks import check_shape

Text = tuple[int, ...]


def cache_step(q: Array, k: Array, v: Array, K: Array, V: Array) -> tuple[Array, Array, Array]:
    r"""y [D] = softmax(q K'ᵀ / √D) V',  K' [t+1, D] = K with k below it,  V' likewise: returns y, K', V'.  F18.

    `q`, `k`, `v` [D] belong to the new token, `K`, `V` [t, D] to those before it. y is the last row of causal attention over
    all t + 1 tokens. The other rows are not needed again, and K and V do not change, because no token sees a later one. So
    a step costs t + 1 products of two vectors, where reading the text again costs (t + 1)². There is no gradient: a cache is
    for using a model, not for training it.

    Raises InputError if the shapes do not fit.
    """
    check_shape("q", q, "D")
    check_shape("k", k, "D", D=len(q))
    check_shape("v", v, "D", D=len(q))
    check_shape("K", K, "t D", D=len(q))
    check_shape("V", V, "t D", t=len(K), D=len(q))
    K, V = np.concatenate([K, k[None]]), np.concatenate([V, v[None]])
    return attention(q[None], K, V)[0], K, V


def length_normalised(log_p: float, n: int, alpha: float) -> float:
    r"""Σᵢ log pᵢ / n^α for a text of `n` tokens whose sum is `log_p`.  F23, generation.

    Every token makes the sum smaller, so without a penalty (α = 0) short texts win; α = 1 is the mean per token.
    """
    return log_p / n**alpha


def beam_search(
    log_p: Callable[[Text], Array], K: int, N: int, alpha: float = 1.0, end: int | None = None
) -> list[tuple[Text, float]]:
    r"""The K best texts that the search finds, with their scores, the best first.  F23, generation.

    `log_p(text)` [V] are the logarithms of P(next token ∣ text). Every step continues each of the K texts by every token and
    keeps the K best of these K·V. A text is finished with the token `end` or with its N-th token. With K = 1 this is greedy;
    with K ≥ all texts that there are, it finds the best one.

    Raises InputError unless K and N are at least 1.
    """
    if min(K, N) < 1:
        raise InputError(f"beam search needs at least 1 beam and 1 token, not {K} and {N}.")
    running: list[tuple[float, Text]] = [(0.0, ())]
    finished: list[tuple[float, Text]] = []
    for n in range(1, N + 1):
        steps = [(total, text, log_p(text)) for total, text in running]
        longer = [(total + float(z[w]), (*text, w)) for total, text, z in steps for w in range(len(z))]
        longer.sort(key=lambda pair: -pair[0])
        over = [(total, text) for total, text in longer[:K] if text[-1] == end or n == N]
        finished += [(length_normalised(total, n, alpha), text) for total, text in over]
        running = [pair for pair in longer if pair[1][-1] != end][:K]
    finished.sort(key=lambda pair: -pair[0])
    return [(text, score) for score, text in finished[:K]]
