r"""Word vectors by counting (PPMI and SVD) and by prediction (skip-gram with negative sampling).  F34.

Letters:  V vocabulary · C width of a vector · T words of a text · N pairs · K negatives per pair · n counts
Sources:  Levy and Goldberg (2014), Neural Word Embedding as Implicit Matrix Factorization; Mikolov et al. (2013),
          Distributed Representations of Words and Phrases and their Compositionality, §2.2.
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape


def cooccurrences(w: np.ndarray, V: int, window: int = 5) -> np.ndarray:
    r"""n [V, V]: every two words of the text `w` [T] at a distance d ≤ `window` add 1/d, in both directions.  F34.

    Raises InputError for an id outside 0 … V − 1 or a window below 1.
    """
    check_shape("w", w, "T")
    check_classes("w", w, V)
    if window < 1:
        raise InputError(f"window is {window}, but a word needs neighbours: give 1 or more.")
    n = np.zeros((V, V))
    for d in range(1, window + 1):
        np.add.at(n, (w[:-d], w[d:]), 1 / d)
    return n + n.T


def ppmi(n: np.ndarray, smoothing: float = 0.75) -> np.ndarray:
    r"""max(0, log P(w, c) / (P(w) P_α(c))) [V, V] from counts `n` [V, V], P_α(c) = n_c^α / Σ n_c'^α.  F34.

    It measures how much more often two words co-occur than chance predicts; it is 0 where they co-occur as often as
    chance predicts, less often, or never (log 0 = −∞). α = `smoothing` < 1 makes rare contexts look more frequent;
    otherwise a pair that met once by accident gets the largest value. Raises InputError if a count is negative or all are 0.
    """
    check_shape("n", n, "V V")
    if not (np.asarray(n) >= 0).all() or not np.any(n):
        raise InputError("n must hold counts of 0 or more, with at least one above 0: here no two words ever met.")
    P = n / n.sum()
    P_w = P.sum(axis=1, keepdims=True)  # [V, 1]
    P_c = n.sum(axis=0) ** smoothing / (n.sum(axis=0) ** smoothing).sum()  # [V]
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0: words never met; 0/0: a word never seen
        pmi = np.log(P / (P_w * P_c))
    return np.where(P > 0, np.maximum(pmi, 0), 0)


def word_vectors(M: np.ndarray, C: int) -> np.ndarray:
    r"""E = U·√S [V, C] from the C largest singular values of `M` = U S Wᵀ [V, V].  F34.

    U·S would make E Eᵀ the best rank-C approximation of M Mᵀ. √S keeps the first few directions, which mostly encode
    frequency, from drowning the rest. The signs of the columns are arbitrary, so compare E Eᵀ and never E itself.
    Raises InputError unless 1 ≤ C ≤ V.
    """
    check_shape("M", M, "V V")
    if not 1 <= C <= len(M):
        raise InputError(f"C is {C}, but {len(M)} words allow vectors of 1 to {len(M)} numbers.")
    U, S, _ = np.linalg.svd(M)
    return U[:, :C] * np.sqrt(S[:C])


def neighbours(E: np.ndarray, w: int, n: int = 5) -> list[tuple[int, float]]:
    r"""The `n` words with the largest cosine eᵤ·e_w / (‖eᵤ‖ ‖e_w‖) to word `w`, as (word, cosine), best first.  F34.

    `E` is [V, C]. A word with the vector 0 was never seen and is never a neighbour. Raises InputError for w outside 0 … V − 1.
    """
    check_shape("E", E, "V C")
    check_classes("w", np.asarray(w), len(E))
    length = np.linalg.norm(E, axis=1)
    if length[w] == 0:
        return []
    with np.errstate(invalid="ignore"):
        cosine = np.where(length > 0, E @ E[w] / (length * length[w]), -np.inf)
    cosine[w] = -np.inf
    nearest = [u for u in np.argsort(-cosine, kind="stable")[:n] if cosine[u] > -np.inf]
    return [(int(u), float(cosine[u])) for u in nearest]


def skip_gram_loss(E: np.ndarray, O: np.ndarray, w: np.ndarray, c: np.ndarray, k: np.ndarray) -> float:
    r"""−1/N Σ [log σ(o_c · e_w) + Σⱼ log σ(−o_kⱼ · e_w)]: tell a true context c of w from K random words.  F34.

    `E` [V, C] holds the vectors of the words, and `O` [V, C] those of the same words as contexts. `w` [N] and `c` [N] are
    pairs that co-occurred, `k` [N, K] the negatives. log σ(x) = −log(1 + e⁻ˣ) is computed with `logaddexp`, which cannot
    overflow. Raises InputError for shapes that do not fit or an id outside 0 … V − 1.
    """
    true, false = _scores(E, O, w, c, k)
    return float((np.logaddexp(0, -true) + np.logaddexp(0, false).sum(axis=1)).mean())


def skip_gram_loss_gradients(
    E: np.ndarray, O: np.ndarray, w: np.ndarray, c: np.ndarray, k: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""∂L/∂E [V, C] and ∂L/∂O [V, C] of `skip_gram_loss`.  F34.

    Each score x = o·e is one logistic regression, with the slope σ(x) − 1 for a true context and σ(x) for a negative
    (F06); then ∂x/∂e = o and ∂x/∂o = e. `np.add.at` adds up all contributions to a word that occurs more than once.
    """
    true, false = _scores(E, O, w, c, k)
    d_true = (_sigmoid(true) - 1) / len(w)  # [N]
    d_false = _sigmoid(false) / len(w)  # [N, K]
    dE, dO = np.zeros(E.shape), np.zeros(O.shape)
    np.add.at(dE, w, d_true[:, None] * O[c] + np.einsum("nk,nkc->nc", d_false, O[k]))
    np.add.at(dO, c, d_true[:, None] * E[w])
    np.add.at(dO, k, d_false[..., None] * E[w][:, None])
    return dE, dO


def _scores(E: np.ndarray, O: np.ndarray, w: np.ndarray, c: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """o_c · e_w [N] and o_k · e_w [N, K]."""
    check_shape("E", E, "V C")
    V, C = E.shape
    check_shape("O", O, "V C", V=V, C=C)
    check_shape("w", w, "N")
    check_not_empty("w", w)
    check_shape("c", c, "N", N=len(w))
    check_shape("k", k, "N K", N=len(w))
    for name, ids in (("w", w), ("c", c), ("k", k)):
        check_classes(name, ids, V)
    return (O[c] * E[w]).sum(axis=1), np.einsum("nkc,nc->nk", O[k], E[w])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """1/(1 + e⁻ˣ), written so that exp never gets a positive argument."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)
