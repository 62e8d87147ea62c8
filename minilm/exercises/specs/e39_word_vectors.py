r"""Word vectors by counting: PPMI and its singular vectors.  F34.  40 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


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
    P_w = 1.0 if "no_words" in wrong else P_w
    P_c = 1.0 if "no_contexts" in wrong else P_c
    ratio = P / (P_w * P_c)
    for key, other in {
        "sum": P / (P_w + P_c),
        "upside_down": P_w * P_c / np.where(P > 0, P, 1),
        "contexts_times": P / P_w * P_c,
        "root": P / np.sqrt(P_w * P_c),
        "fixed": P / (P_w * n.sum(0) ** 0.75 / (n.sum(0) ** 0.75).sum()),
        "symmetric": (P + P.T) / 2 / (P_w * P_c),
    }.items():
        ratio = other if key in wrong else ratio
    if "no_log" in wrong:
        return np.where(P > 0, ratio, 0)
    if "minus_1" in wrong:
        return np.where(P > 0, np.maximum(ratio - 1, 0), 0)
    if "difference" in wrong:
        return np.maximum(P - P_w * P_c, 0)
    if "base_10" in wrong:
        ratio = np.where(P > 0, ratio ** (1 / np.log(10)), ratio)
    if "shifted" in wrong:
        ratio = ratio / 5
    if "normalised" in wrong:
        return np.where(P > 0, np.maximum(np.log(ratio), 0) / -np.log(P), 0)
    if "weighted" in wrong:
        return np.where(P > 0, P * np.maximum(np.log(ratio), 0), 0)
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
    if "whole_root" in wrong:
        return np.sqrt(np.abs(U[:, :C] * S[:C]))
    if "length_1" in wrong:
        E = U[:, :C] * np.sqrt(S[:C])
        return E / np.linalg.norm(E, axis=1, keepdims=True)
    if "gram" in wrong:
        U, S, _ = np.linalg.svd(M.T @ M)
    if "centred" in wrong:
        U, S, _ = np.linalg.svd(M - M.mean(0))
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
    """How often two words met, divided by how often chance predicts it."""
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
    _, S, Vt = np.linalg.svd(M.T)  # in the transpose, the columns belong to the words
    return Vt[:C].T @ np.diag(np.sqrt(S[:C]))


def run(made, n, smoothing, M, C):
    E = made.word_vectors(M, C)
    if np.shape(E) != (len(M), C):
        return {"ppmi": made.ppmi(n, smoothing), "E": E}
    return {
        "ppmi": made.ppmi(n, smoothing),
        "E Eᵀ": E @ E.T,
    }  # the signs of E's columns are arbitrary, but E Eᵀ does not depend on them


def counts(rng, V, C, smoothing=0.75, zeros=0.3):
    """Not symmetric (for example, the words to the right of a word), so that mixing up rows and columns shows."""
    n = rng.gamma(0.7, 4.0, size=(V, V)) * (rng.random((V, V)) > zeros)
    n[np.arange(V), rng.permutation(V)] += 1.0  # every word occurs
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
        "many words": counts(rng, 30, 5, zeros=0.8),
        "counts of a thousandth": {**(few := counts(rng, 5, 2)), "n": few["n"] * 1e-3},
        "counts of a million": {**(many := counts(rng, 5, 3)), "n": many["n"] * 1e6},
        "a single word": {"n": np.ones((1, 1)), "smoothing": 0.75, "M": np.full((1, 1), 2.0), "C": 1},
    }


def scaled(rng):
    once = counts(rng, 5, 2)
    return {"n": once, "ten times n": {**once, "n": 10 * once["n"]}}


MISTAKES = """  key · what it looks like · a question
swapped · the marginals are swapped: those of the contexts come from the rows, those of the words from the columns ·
    n[w, c]: over which axis do you sum to count the word w?
rows_twice · both marginals are taken from the rows ·
    which axis of n belongs to the contexts?
keepdims · P(w) has lost its second axis, so it is lined up with the contexts ·
    [V, V] divided by [V]: with which axis does NumPy line up the [V]?
counts · the joint counts are not divided by their sum ·
    if the text were ten times as long, would two words be ten times closer?
unsmoothed · the contexts are not smoothed: α is ignored ·
    a pair met once by accident: how large is its value without α?
on_words · the words are smoothed instead of the contexts ·
    which should α make look more frequent, rare words or rare contexts?
after · the probabilities are raised to α and no longer sum to 1 ·
    what do your P_α(c) sum to?
old_sum · n to the power α is divided by the sum without α ·
    what do your P_α(c) sum to?
negative · negative values are kept ·
    what does the first P of PPMI stand for?
log_0 · two words that never met get the value −∞ ·
    what is log 0, and can a singular value decomposition handle it?
never_seen · a word that was never seen gets NaN ·
    its probability is 0 and so are its counts: what is 0 / 0?
absolute · negative values lose their sign instead of becoming 0 ·
    do two words that avoid each other belong together?
plus_one · 1 is added before the logarithm ·
    two words meet exactly as often as chance predicts: what should their value be?
base_2 · the logarithm has base 2 ·
    which base does the log in the formula have?
no_root · the square root of the singular values is missing ·
    how much longer than the others is the first direction in your vectors?
no_values · the singular values are left out ·
    should the last direction weigh as much as the first?
squared · the singular values are squared; their root should be taken ·
    which power of S does the formula have?
contexts · the vectors belong to the contexts, not to the words ·
    M = U S Wᵀ: which of U and W has a row for each word?
rows · the first C rows of U are taken instead of its columns ·
    U is [V, V]: which part of it belongs to one word?
smallest · the C smallest singular values are taken ·
    in which order does svd return them?
no_words · the quotient lacks the words' probabilities ·
    two words meet exactly as often as chance predicts: what should their value be?
no_contexts · the quotient lacks the contexts' probabilities ·
    two words meet exactly as often as chance predicts: what should their value be?
contexts_times · the contexts' probabilities are multiplied, or their logarithm added, instead of divided or subtracted ·
    two words meet exactly as often as chance predicts: what should their value be?
sum · the two probabilities are added instead of multiplied ·
    how likely are two independent events together?
upside_down · the quotient is upside down ·
    should two words that meet often have a large value or a small one?
root · the root of the two probabilities' product is taken ·
    two words meet exactly as often as chance predicts: what should their value be?
fixed · α is a constant of your own, not the argument ·
    where does your code use the argument smoothing?
symmetric · n is made symmetric first ·
    n[w, c]: is it the same as n[c, w] for all words?
no_log · the logarithm is missing ·
    two words meet exactly as often as chance predicts: what should their value be?
minus_1 · 1 is subtracted instead of taking the logarithm ·
    two words meet twice as often as chance predicts: what should their value be?
difference · the probabilities are subtracted instead of divided ·
    the docstring compares two probabilities: as a difference, or as a quotient?
base_10 · the logarithm has base 10 ·
    which base does the log in the formula have?
shifted · a constant is subtracted from every value (shifted PPMI) ·
    two words meet twice as often as chance predicts: what should their value be?
normalised · the values are divided by −log P(w, c) (normalised PMI) ·
    the formula has one logarithm: how many has your code?
weighted · the values are multiplied by P(w, c) ·
    what stands in front of the logarithm in the formula?
whole_root · the root is taken of U as well ·
    U √S: what exactly is under the root?
length_1 · the vectors are brought to length 1 ·
    should a word that was never seen have a vector as long as the others?
gram · the vectors are computed from MᵀM, which belongs to the contexts ·
    M Mᵀ = U S² Uᵀ: which product belongs to the words?
centred · the mean of each column is subtracted first ·
    the formula is M = U S Wᵀ: where is a mean in it?
"""

EXERCISE = Exercise(
    target="minilm.formulas.word_vectors.ppmi",
    also=("minilm.formulas.word_vectors.word_vectors",),
    section=("03", "Words by the company they keep"),
    task="Turn counts of which words occur together into word vectors. Write two functions, each of which is checked "
    "on its own inputs: one computes how much more often two words meet than chance predicts (rows are words, "
    "columns their contexts), the other computes vectors of C numbers that express this.",
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
        "the words' probabilities P(w) [V, 1] from the rows; the contexts' P_α(c) [V] from the columns, to the power α and "
        "renormalised",
        "the log of the quotient where two words have met; 0 where it is negative and where they have not met",
    ),
    right={
        "pair by pair": {"ppmi": pair_by_pair, "word_vectors": by_eigenvectors},
        "sums of logarithms": {"ppmi": by_logarithms, "word_vectors": column_by_column},
        "against what chance expects": {"ppmi": by_expectation, "word_vectors": diagonal},
    },
    wrong=listed(
        MISTAKES,
        having,
        families=dict.fromkeys(("no_words", "no_contexts", "contexts_times", "sum", "root"), "nearly all 0"),
    ),
    hints=(
        "If two words met only by chance, P(w, c) would be P(w)·P(c). The logarithm of the quotient says how far they are from "
        "that; only the positive part is kept. The singular vectors then say the same with fewer numbers.",
        "n [V, V] → P = n over its sum; P_w [V, 1]: the row sums of P; P_c [V]: the column sums of n to the power α, over their "
        "own sum; log of P / (P_w · P_c), clipped at 0, and 0 where n is 0. M = U S Wᵀ → the first C columns of U times the "
        "roots of the first C of S.",
        "P = n/sum;  Pw = P's row sums, as a column;  Pc = (column sums)^α over their sum;  where P > 0: max(0, "
        "log(P/(Pw·Pc))), else 0;  E = (first C columns of U) · sqrt(first C of S)",
    ),
)
