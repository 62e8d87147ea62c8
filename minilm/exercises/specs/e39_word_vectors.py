r"""Word vectors by counting: PPMI and its singular vectors.  F34."""

import re
from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


def flawed_ppmi(n, smoothing=0.75, wrong=frozenset()):
    P, n_c = n / n.sum(), n.sum(axis=0)
    P_w = P.sum(axis=1, keepdims=True)
    if "counts" in wrong:
        P = n
    if "swapped" in wrong:
        P_w, n_c = P.sum(axis=0)[:, None], n.sum(axis=1)
    if "rows_twice" in wrong:
        n_c = n.sum(axis=1)
    if "keepdims" in wrong:
        P_w = P_w[:, 0]
    P_c = n_c if "unsmoothed" in wrong else n_c**smoothing
    P_c = P_c / (n_c.sum() if "old_sum" in wrong else P_c.sum())
    if "after" in wrong:
        P_c = (n_c / n_c.sum()) ** smoothing
    if "on_words" in wrong:
        P_w, P_c = P_w**smoothing / (P_w**smoothing).sum(), n_c / n_c.sum()
    ratio = P / (P_w * P_c)
    pmi = np.log1p(ratio) if "plus_one" in wrong else np.log2(ratio) if "base_2" in wrong else np.log(ratio)
    if "negative" in wrong:
        return np.where(P > 0, pmi, 0)
    if "log_0" in wrong:
        return np.where(P > 0, np.maximum(pmi, 0), pmi)
    if "never_seen" in wrong:
        return np.maximum(pmi, 0)
    if "absolute" in wrong:
        return np.where(P > 0, abs(pmi), 0)
    return np.where(P > 0, np.maximum(pmi, 0), 0)


def flawed_vectors(M, C, wrong=frozenset()):
    U, S, Wt = np.linalg.svd(M)
    if "contexts" in wrong:
        U = Wt.T
    if "rows" in wrong:
        return U[:C].T * np.sqrt(S[:C])
    if "smallest" in wrong:
        return U[:, -C:] * np.sqrt(S[-C:])
    root = S[:C] if "no_root" in wrong else S[:C] ** 2 if "squared" in wrong else np.sqrt(S[:C])
    return U[:, :C] if "no_values" in wrong else U[:, :C] * root


def having(*wrong):
    wrong = frozenset(wrong)
    return {"ppmi": partial(flawed_ppmi, wrong=wrong), "word_vectors": partial(flawed_vectors, wrong=wrong)}


def pair_by_pair(n, smoothing=0.75):
    M, n_w, n_c = np.zeros(n.shape), n.sum(1), n.sum(0) ** smoothing
    for w, c in np.argwhere(n > 0):
        M[w, c] = max(0.0, np.log(n[w, c] * n_c.sum() / (n_w[w] * n_c[c])))
    return M


def by_logarithms(n, smoothing=0.75):
    def log(x):
        return np.log(np.maximum(x, 1e-300))

    n_c = n.sum(0) ** smoothing
    pmi = log(n) - log(n.sum(1))[:, None] - log(n_c) + np.log(n_c.sum())
    return np.clip(pmi, 0, None) * (n > 0)


def by_expectation(n, smoothing=0.75):
    """How often two words met, over how often chance would have it."""
    share = n.sum(0) ** smoothing
    chance = np.outer(n.sum(1), share / share.sum())
    return np.log(np.maximum(np.divide(n, chance, out=np.ones(n.shape), where=n > 0), 1))


def by_eigenvectors(M, C):
    """M Mᵀ = U S² Uᵀ."""
    values, U = np.linalg.eigh(M @ M.T)
    return U[:, ::-1][:, :C] * np.maximum(values[::-1][:C], 0) ** 0.25


def column_by_column(M, C):
    U, S, _ = np.linalg.svd(M, full_matrices=False)
    return np.stack([-U[:, c] * S[c] ** 0.5 for c in range(C)], axis=1)


def diagonal(M, C):
    _, S, Vt = np.linalg.svd(M.T)  # the words are on the other side of the transpose
    return Vt[:C].T @ np.diag(np.sqrt(S[:C]))


def run(made, n, smoothing, M, C):
    E = made.word_vectors(M, C)
    if np.shape(E) != (len(M), C):
        return {"ppmi": made.ppmi(n, smoothing), "E": E}
    return {
        "ppmi": made.ppmi(n, smoothing),
        "E Eᵀ": E @ E.T,
    }  # the signs of E's columns are arbitrary, not those of E Eᵀ


def counts(rng, V, C, smoothing=0.75, zeros=0.3):
    """Not symmetric: the words to the right of a word, say. So rows and columns cannot be taken for each other."""
    n = rng.gamma(0.7, 4.0, size=(V, V)) * (rng.random((V, V)) > zeros)
    n[np.arange(V), rng.permutation(V)] += 1.0  # every word was seen
    return {"n": n, "smoothing": smoothing, "M": rng.gamma(1.0, size=(V, V)), "C": C}


def probes(rng):
    return {
        "seven words": counts(rng, 7, 3),
        "another smoothing": counts(rng, 5, 2, smoothing=0.4),
        "all pairs have met": counts(rng, 6, 4, zeros=0.0),
    }


def edges(rng):
    unseen = counts(rng, 5, 5)
    unseen["n"][:, 1] = unseen["n"][1] = 0.0
    return {
        "a word that was never seen": unseen,
        "no smoothing": counts(rng, 4, 1, smoothing=1.0),
        "a single word": {"n": np.ones((1, 1)), "smoothing": 0.75, "M": np.full((1, 1), 2.0), "C": 1},
    }


def scaled(rng):
    once = counts(rng, 5, 2)
    return {"n": once, "ten times n": {**once, "n": 10 * once["n"]}}


MISTAKES = """  key · what it looks like · a question
swapped · the marginals are exchanged: contexts are shared out by rows, words by columns ·
    n[w, c]: along which axis does one sum to count the word w?
rows_twice · both marginals are taken from the rows ·
    where in n does a context stand?
keepdims · P(w) stands along the contexts: it has lost its axis ·
    [V, V] divided by [V]: which axis does NumPy put beside it?
counts · the joint counts are not divided by their sum ·
    does ten times the text make two words ten times closer?
unsmoothed · the contexts are not smoothed: α is left out ·
    a pair that met once by accident: how large is its value without α?
on_words · the smoothing is on the words instead of the contexts ·
    which of the two is it that α should make look commoner?
after · probabilities are raised to α and do not sum to 1 any more ·
    what do your P_α(c) sum to?
old_sum · n to the power α is divided by the sum without α ·
    what do your P_α(c) sum to?
negative · negative values are kept ·
    what does the first P of PPMI stand for?
log_0 · two words that never met have the value −∞ ·
    what is log 0, and what can a singular value decomposition do with it?
never_seen · a word that was never seen has NaN ·
    its share is 0 and so are its counts: what is 0 / 0?
absolute · negative values have lost their sign instead of being 0 ·
    two words that avoid each other: do they belong together?
plus_one · 1 is added before the logarithm ·
    two words that meet as often as chance has it: what should their value be?
base_2 · the logarithm has the base 2 ·
    which base has log in the formula?
no_root · the square root of the singular values is missing ·
    how much longer than the others is the first direction of yours?
no_values · the singular values are left out ·
    should the last direction weigh as much as the first?
squared · the singular values are squared instead of their root being taken ·
    which power of S stands in the formula?
contexts · the vectors are those of the contexts, not of the words ·
    M = U S Wᵀ: which of U and W has a row for each word?
rows · the first C rows of U are taken instead of its columns ·
    U is [V, V]: where is the vector of a word?
smallest · the C smallest singular values are taken ·
    in which order does svd give them?
"""

EXERCISE = Exercise(
    target="minilm.formulas.word_vectors.ppmi",
    also=("minilm.formulas.word_vectors.word_vectors",),
    section=("03", "Words by the company they keep"),
    task="From counts of which words meet to vectors, in two functions, each checked on inputs of its own: how much oftener "
    "than by chance two words meet (rows: words, columns: their contexts), and the vectors that say it with C numbers.",
    returns={"ppmi": "word context", "E Eᵀ": "word word"},
    tiny=lambda: {
        "n": np.array([[0.0, 4.0], [1.0, 3.0]]),
        "smoothing": 0.5,
        "M": np.array([[0.0, 4.0], [1.0, 0.0]]),
        "C": 1,
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property("no value is negative", lambda rng: {"n": counts(rng, 6, 2)}, lambda out: (out[0] >= 0).all()),
        Property("ten times the text changes nothing", scaled, lambda a, b: np.allclose(a[0], b[0])),
    ),
    steps=(
        "the joint probabilities P(w, c) [V, V]: all of them sum to 1",
        "the words' share P(w) [V, 1] from the rows, the contexts' P_α(c) [V] from the columns, to the power α and shared out "
        "anew",
        "log of the quotient where two words have met, 0 where it is negative and where they have not",
    ),
    right={
        "pair by pair": {"ppmi": pair_by_pair, "word_vectors": by_eigenvectors},
        "sums of logarithms": {"ppmi": by_logarithms, "word_vectors": column_by_column},
        "against what chance expects": {"ppmi": by_expectation, "word_vectors": diagonal},
    },
    wrong={
        key: Wrong(name, question, having(key))
        for key, name, question in re.findall(r"(\w+) · (.+) ·\n +(.+)", MISTAKES)
    },
    hints=(
        "If two words met by chance alone, P(w, c) would be P(w)·P(c). The logarithm of the quotient says how far they are "
        "from that; only the positive part is kept. The singular vectors then say the same in fewer numbers.",
        "n [V, V] → P = n over its sum; P_w [V, 1] its rows' sums; columns' sums of n to the power α, over their own sum: P_c "
        "[V]; log of P / (P_w · P_c), clipped at 0, and 0 where n is 0. M = U S Wᵀ → the first C columns of U times the roots "
        "of the first C of S.",
        "P = n/sum;  Pw = P's row sums, as a column;  Pc = (column sums)^α over their sum;  where P > 0: max(0, "
        "log(P/(Pw·Pc))), else 0;  E = (first C columns of U) · sqrt(first C of S)",
    ),
)
