r"""A distribution that copies.  F23.  25 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(z, a, g, source_ids, wrong=frozenset()):
    T, V = z.shape
    p = np.exp(z - z.max(1, keepdims=True))
    p = p / p.sum(1, keepdims=True)
    if "no_shift" in wrong:
        with np.errstate(over="ignore", invalid="ignore"):
            p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    if "one_softmax" in wrong:
        p = np.exp(z - z.max())
        p = p / p.sum()
    if "over_places" in wrong:
        p = np.exp(z - z.max(0))
        p = p / p.sum(0)
    if "logits" in wrong:
        p = z
    if "uniform" in wrong:
        p = np.full(z.shape, 1 / V)
    weights = a
    if "softmax_again" in wrong:
        weights = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    if "mean_pointer" in wrong:
        weights = np.broadcast_to(a.mean(0), a.shape)
    if "hard" in wrong:
        weights = np.eye(a.shape[1])[a.argmax(1)]
    copied = np.zeros((T, V))
    if "last_wins" in wrong:
        copied[:, source_ids] = weights
    elif "lost_repeats" in wrong:
        for w in set(source_ids.tolist()):
            copied[:, w] = weights[:, np.flatnonzero(source_ids == w)[0]]
    elif "largest" in wrong:
        for s, w in enumerate(source_ids):
            copied[:, w] = np.maximum(copied[:, w], weights[:, s])
    elif "mean_of_repeats" in wrong:
        for w in set(source_ids.tolist()):
            copied[:, w] = weights[:, source_ids == w].mean(1)
    elif "places" in wrong:
        copied[:, : min(V, a.shape[1])] = weights[:, : min(V, a.shape[1])]
    elif "shifted" in wrong:
        for s, w in enumerate(source_ids):
            copied[:, (w + 1) % V] += weights[:, s]
    else:
        for s, w in enumerate(source_ids):
            copied[:, w] += weights[:, s]
    gate = g[:, None]
    if "one_gate" in wrong:
        gate = np.full((T, 1), g.mean())
    if "half" in wrong:
        gate = np.full((T, 1), 0.5)
    if "sigmoid" in wrong:
        gate = 1 / (1 + np.exp(-gate))
    if "swapped" in wrong:
        gate = 1 - gate
    if "hard_gate" in wrong:
        gate = (gate > 0.5).astype(float)
    if "both_whole" in wrong:
        return p + copied
    if "sum_of_both" in wrong:
        return p + gate * copied
    if "gate_once" in wrong:
        return (1 - gate) * p + copied
    if "only_copied" in wrong:
        return gate * copied
    if "only_vocabulary" in wrong:
        return (1 - gate) * p
    if "product" in wrong:
        mixed = p ** (1 - gate) * (copied + 1e-12) ** gate
        return mixed / mixed.sum(1, keepdims=True)
    if "overwritten" in wrong:
        out = (1 - gate) * p
        out[:, source_ids] = (gate * copied)[:, source_ids]
        return out
    if "masked" in wrong:
        out = (1 - gate) * p * (copied > 0) + gate * copied
        return out / np.where(out.sum(1, keepdims=True) == 0, 1, out.sum(1, keepdims=True))
    if "renormalised" in wrong:
        out = p + gate * copied
        return out / out.sum(1, keepdims=True)
    return (1 - gate) * p + gate * copied


MISTAKES = """  key · what it looks like · a question
last_wins · a token that stands in the source several times gets only its last weight ·
    P[:, ids] = a writes to the same column several times: what is left of the first writing?
lost_repeats · a token that stands in the source several times gets only its first weight ·
    where do the other weights of the pointer go?
largest · a token that stands in the source several times gets its largest weight ·
    two places point to the same word with 0.3 each: how likely is this word to be copied?
mean_of_repeats · a token that stands in the source several times gets the mean of its weights ·
    two places point to the same word with 0.3 each: how likely is this word to be copied?
places · the weights are added to the tokens 0, 1, 2 …: the places in the source are taken for tokens ·
    which token of the vocabulary stands at place s of the source?
shifted · the weights are added to the token after the one that is meant ·
    the tokens are counted from 0: which column belongs to token w?
softmax_again · the weights of the pointer go through a softmax once more ·
    what does each row of `a` sum to already?
mean_pointer · all places of the target use the mean of the pointers ·
    does every word that is written copy from the same place?
hard · only the place with the largest weight is copied from ·
    where does the rest of the probability go, and what is the gradient of an argmax?
no_shift · exp is applied to the logits as they are ·
    what does a computer return for exp(1000)?
one_softmax · one softmax runs over all places of the target together ·
    what should each row of P sum to?
over_places · the softmax runs over the places of the target, not over the vocabulary ·
    what should each row of P sum to?
logits · the logits are used as probabilities ·
    can a probability be negative?
uniform · the vocabulary part is the same for all tokens ·
    where does your code use z?
one_gate · all places of the target share one gate, the mean ·
    a name is copied and the word after it is not: can they have the same gate?
half · the gate is always one half ·
    where does your code use g?
sigmoid · the gate goes through a sigmoid once more ·
    g lies between 0 and 1 already: what would a sigmoid make of 0?
swapped · g and 1 − g are exchanged ·
    with g = 1, where should the word come from?
hard_gate · the gate is rounded to 0 or 1 ·
    what is the gradient of a rounded number?
both_whole · the two parts are added without the gate ·
    what does each row of your P sum to?
sum_of_both · the vocabulary keeps its whole probability, and what is copied comes on top ·
    what does each row of your P sum to?
gate_once · what is copied is not multiplied by the gate ·
    with g = 0, how much should be copied?
only_copied · the part of the vocabulary is missing ·
    how likely is a word that does not stand in the source?
only_vocabulary · the part that is copied is missing ·
    where does your code use source_ids?
product · the two parts are multiplied (a weighted mean of the logarithms) ·
    a word that is not in the source has the copied probability 0: what does a product make of it?
overwritten · a word of the source loses what the vocabulary gives it ·
    a word can be chosen from the vocabulary and copied: do the two chances exclude each other?
masked · only words of the source keep a probability ·
    how likely is a word that does not stand in the source?
renormalised · what is copied is added to the whole vocabulary, and the sum is divided out afterwards ·
    with g = 1, how much is left of the vocabulary?
"""


def loops(z, a, g, source_ids):
    T, V = z.shape
    out = np.zeros((T, V))
    for t in range(T):
        weights = [float(np.exp(logit - max(z[t]))) for logit in z[t]]
        for w in range(V):
            out[t, w] = (1 - g[t]) * weights[w] / sum(weights)
        for s, w in enumerate(source_ids):
            out[t, w] += g[t] * a[t, s]
    return out


def one_hot(z, a, g, source_ids):
    hot = np.equal.outer(source_ids, np.arange(z.shape[1])).astype(float)  # [S, V]
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    return np.exp(log_p) * (1 - g[:, None]) + (g[:, None] * a) @ hot


def add_at(z, a, g, source_ids):
    e = np.exp(z - np.amax(z, 1)[:, None])
    out = e * ((1 - g) / e.sum(1))[:, None]
    np.add.at(out.T, source_ids, (a * g[:, None]).T)
    return out


def counted(z, a, g, source_ids):
    """Row by row, by `bincount`."""
    e = np.exp(z - z.max(axis=-1)[:, np.newaxis])
    rows = [np.bincount(source_ids, weights=row, minlength=z.shape[1]) for row in a]
    share = e / np.sum(e, axis=-1)[:, np.newaxis]
    return share + g[:, np.newaxis] * (np.reshape(rows, z.shape) - share)


def made(rng, T, S, V, ids=None):
    a = rng.random((T, S)) + 0.05
    return {
        "z": rng.normal(scale=1.5, size=(T, V)),
        "a": a / a.sum(1, keepdims=True),
        "g": rng.uniform(0.15, 0.45, T) + 0.4 * (rng.random(T) < 0.5),
        "source_ids": rng.integers(V, size=S) if ids is None else np.array(ids),
    }


def probes(rng):
    return {
        "a token that stands twice in the source": made(rng, 3, 4, 7, [5, 2, 5, 0]),
        "every token different": made(rng, 4, 3, 6, [4, 1, 3]),
        "more places in the source than tokens": made(rng, 5, 9, 4),
        "a square": made(rng, 5, 5, 5),
        "the same token everywhere": made(rng, 2, 6, 3, [1] * 6),
    }


def edges(rng):
    large = made(rng, 3, 4, 5)
    large["z"] = large["z"] * 1e3
    shut, opened = made(rng, 3, 2, 4), made(rng, 3, 2, 4)
    shut["g"], opened["g"] = np.zeros(3), np.ones(3)
    return {
        "logits of thousands": large,
        "a gate that is shut": shut,
        "a gate that is open": opened,
        "a source of one token": made(rng, 2, 1, 3),
        "a vocabulary of one token": made(rng, 2, 3, 1, [0, 0, 0]),
        "a target of one token": made(rng, 1, 3, 5),
    }


EXERCISE = Exercise(
    target="minilm.formulas.seq2seq.copy_distribution",
    section=("19", "Copying what need not be translated"),
    task="Names, numbers and placeholders are the same in both languages. Compute the distribution of a model that may copy: at "
    "each place of the target, 1 − g of the probability is that of the vocabulary, softmax(z), and g of it goes to the tokens of "
    "the source, in the shares `a`. A token may stand in the source several times.",
    returns={"P": "place token"},
    tiny=lambda: {
        "z": np.array([[0.0, 0.0, 0.0, 0.0]]),
        "a": np.array([[0.5, 0.3, 0.2]]),
        "g": np.array([0.6]),
        "source_ids": np.array([2, 0, 2]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "every row sums to 1",
            lambda rng: {"some places": made(rng, 4, 5, 6)},
            lambda P: abs(P.sum(1) - 1).max() < 1e-9 and P.min() >= 0,
        ),
    ),
    needs=("softmax",),
    forbidden=("copy_distribution", "softmax"),
    steps=(
        "the softmax of the logits, row by row, so that exp cannot overflow; 1 − g of it",
        "for every place of the source: g times its weight, added to the column of its token",
    ),
    right={"loops": loops, "one-hot": one_hot, "np.add.at": add_at, "bincount": counted},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "There are two ways to get to a word: choose it from the vocabulary, or copy it from a place of the source where it "
        "stands. The probability of the word is the sum over all these ways.",
        "p = softmax of z along V [T, V], times (1 − g) [T, 1];  then the column w = source_ids[s] of P gets g · a[:, s] [T] more, "
        "for every s. Assignment by index keeps only the last of several writings to one column.",
        "P = (1 − g, as a column) times softmax of z;  for each place s of the source, with its token w:  column w of P grows by "
        "g times column s of a",
    ),
)
