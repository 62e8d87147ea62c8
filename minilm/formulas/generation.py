r"""Writing with a language model: one step of attention with a key/value cache, and beam search.  F18, F23.

Letters:  t tokens read before · D size of a head · V vocabulary · K beams · R texts · z logits · N most tokens to write ·
          α length penalty
Sources:  Shazeer (2019), Fast Transformer Decoding, §2 (incremental attention); Wu et al. (2016), Google's Neural Machine
          Translation System, §7 (beam search with a length penalty).
"""

from collections.abc import Callable

import numpy as np
from numpy import ndarray as Array

from minilm.errors import InputError
from minilm.formulas.attention import attention
from minilm.formulas.checks import check_shape
from minilm.formulas.cross_entropy import log_softmax

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


def beam_step(total: Array, z: Array, K: int) -> tuple[Array, Array, Array]:
    r"""score(r, w) = Σ_r + log softmax(z_r)(w): the K best of R texts, each longer by one of V tokens.  F23, generation.

    `total` [R] are the sums Σ_r of the logarithms of the texts so far, and `z` [R, V] the logits of what follows each of them.
    Returns the K best scores, the best first, and for each of them the number r of its text and the token w: all [K].
    Raises InputError if the shapes do not fit, or K is not from 1 to R·V.
    """
    check_shape("total", total, "R")
    check_shape("z", z, "R V", R=len(total))
    if not 1 <= K <= np.size(z):
        raise InputError(f"{K} beams were asked for, but there are {np.size(z)} texts to choose from.")
    scores = (total[:, None] + log_softmax(z)).reshape(-1)  # [R·V]
    best = np.argsort(-scores, kind="stable")[:K]
    r, w = np.divmod(best, np.shape(z)[1])
    return scores[best], r, w


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
        totals, z = np.array([total for total, _ in running]), np.stack([log_p(text) for _, text in running])
        longer = [(float(s), (*running[r][1], int(w))) for s, r, w in zip(*beam_step(totals, z, z.size), strict=True)]
        over = [(total, text) for total, text in longer[:K] if text[-1] == end or n == N]
        finished += [(length_normalised(total, n, alpha), text) for total, text in over]
        running = [pair for pair in longer if pair[1][-1] != end][:K]
    finished.sort(key=lambda pair: -pair[0])
    return [(text, score) for score, text in finished[:K]]
