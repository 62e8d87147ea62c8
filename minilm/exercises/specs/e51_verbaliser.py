r"""A verbaliser: words that stand for labels.  F33.  20 minutes, easy."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_sum(z):
    return np.logaddexp.reduce(z, axis=1)


def flawed(z, words, prior=None, wrong=frozenset()):
    scores = z
    if "over_vocabulary" in wrong:
        scores = softmax(z)
    if "log_softmax" in wrong:
        scores = z - log_sum(z)[:, None]
    if "shifted" in wrong:
        scores = np.roll(scores, 1, axis=1)
    parts = [scores[:, list(row)] for row in words]
    if "first_word" in wrong:
        columns = [part[:, 0] for part in parts]
    elif "last_word" in wrong:
        columns = [part[:, -1] for part in parts]
    elif "sum" in wrong:
        columns = [part.sum(axis=1) for part in parts]
    elif "largest" in wrong:
        columns = [part.max(axis=1) for part in parts]
    elif "smallest" in wrong:
        columns = [part.min(axis=1) for part in parts]
    elif "log_sum_exp" in wrong:
        columns = [log_sum(part) for part in parts]
    elif "median" in wrong:
        columns = [np.median(part, axis=1) for part in parts]
    elif "all_words" in wrong:
        columns = [part.sum(axis=1) / sum(map(len, words)) for part in parts]
    elif "most_words" in wrong:
        columns = [part.sum(axis=1) / max(map(len, words)) for part in parts]
    elif "range" in wrong:
        columns = [scores[:, min(row) : max(row) + 1].mean(axis=1) for row in words]
    elif "mean_of_texts" in wrong:
        columns = [np.full(len(z), part.mean()) for part in parts]
    elif "label_number" in wrong:
        columns = [scores[:, k] for k in range(len(words))]
    else:
        columns = [part.mean(axis=1) for part in parts]
    out = np.stack(columns, axis=1)
    if "reversed" in wrong:
        out = out[:, ::-1]
    if prior is not None:
        if "plus_prior" in wrong:
            out = out + prior
        elif "divided" in wrong:
            out = out / prior
        elif "log_prior" in wrong:
            out = out - np.log(np.abs(prior))
        elif "softmax_prior" in wrong:
            out = out - softmax(prior[None])[0]
        elif "prior_twice" in wrong:
            out = out - 2 * prior
        elif "mean_prior" in wrong:
            out = out - prior.mean()
        elif "prior_before" in wrong:
            out = out - prior / np.array([len(row) for row in words])
        elif "no_prior" not in wrong:
            out = out - prior
    if "softmax" in wrong:
        out = softmax(out)
    if "centred" in wrong:
        out = out - out.mean(axis=1, keepdims=True)
    return out


MISTAKES = """  key · what it looks like · a question
over_vocabulary · the words get probabilities of the whole vocabulary, not logits ·
    is a probability a logit?
log_softmax · the words get log-probabilities of the whole vocabulary, not logits ·
    which softmax follows these logits, and over what does it run?
shifted · the token before each word is taken ·
    the tokens are counted from 0: which column belongs to token w?
first_word · only the first word of each label counts ·
    what do the other words of a label do in your code?
last_word · only the last word of each label counts ·
    what do the other words of a label do in your code?
sum · the logits of a label's words are added, not averaged ·
    a label has three words and the other one: which does your code prefer?
largest · the largest logit among a label's words is taken ·
    what do the other words of a label do in your code?
smallest · the smallest logit among a label's words is taken ·
    what do the other words of a label do in your code?
log_sum_exp · the probabilities of a label's words are added, not their logits averaged ·
    a label has three words and the other one: which does your code prefer?
median · the median of a label's logits is taken ·
    of two words that are alike and one that is not: how much does the third one count?
all_words · every label is divided by the number of all words ·
    by what must the sum of a label's own words be divided to become their mean?
most_words · every label is divided by the largest number of words ·
    by what must the sum of a label's own words be divided to become their mean?
range · all tokens from the first to the last word are averaged ·
    do the tokens between two words belong to the label?
mean_of_texts · all texts get the same logits ·
    should one text change what another one gets?
label_number · the tokens 0, 1, 2 … are taken for the labels ·
    where does your code use the tokens of the words?
reversed · the labels are in the reverse order ·
    which column should the words of the first label give?
plus_prior · the prior is added ·
    a label that is likely in every text: should that count for it or be taken off?
divided · the logits are divided by the prior ·
    which operation on logits is a division of probabilities?
log_prior · the logarithm of the prior is taken off ·
    is the prior a probability, or a logit already?
softmax_prior · the softmax of the prior is taken off ·
    is the prior a probability, or a logit already?
prior_twice · the prior is taken off twice ·
    what should be left of a text whose logits are exactly the prior?
mean_prior · all labels lose the same, the mean of the prior ·
    what does a softmax do if all logits lose the same number?
prior_before · the prior is divided by the number of words ·
    is the prior that of a label, or that of a word?
no_prior · the prior is not used ·
    where does your code use prior?
softmax · a softmax is applied to the result ·
    are these logits, or probabilities?
centred · the mean of each row is taken off ·
    softmax would not notice, but is it what the formula says?
"""


def loops(z, words, prior=None):
    out = np.zeros((len(z), len(words)))
    for n in range(len(z)):
        for k, row in enumerate(words):
            total = 0.0
            for w in row:
                total += z[n, w]
            out[n, k] = total / len(row) - (0.0 if prior is None else prior[k])
    return out


def matrix(z, words, prior=None):
    """A matrix [V, K] that averages."""
    M = np.zeros((z.shape[1], len(words)))
    for k, row in enumerate(words):
        np.add.at(M[:, k], row, 1 / len(row))
    return z @ M - np.zeros(len(words)) if prior is None else z @ M - prior


def reduceat(z, words, prior=None):
    sizes = np.array([len(row) for row in words])
    flat = np.concatenate([np.asarray(row) for row in words])
    sums = np.add.reduceat(np.take(z, flat, axis=1), np.cumsum(sizes) - sizes, axis=1)
    shift = 0 if prior is None else np.asarray(prior)[np.newaxis]
    return sums / sizes - shift


def in_torch(z, words, prior=None):
    import torch

    t = torch.from_numpy(z)
    found = torch.cat([t.index_select(1, torch.tensor(row)).mean(1, keepdim=True) for row in words], 1)
    return (found if prior is None else found.sub(torch.from_numpy(prior))).numpy()


def made(rng, N, V, words, prior=True, scale=1.0):
    return {
        "z": scale * rng.normal(size=(N, V)),
        "words": words,
        "prior": rng.normal(size=len(words)) + 2.0 if prior else None,
    }


def probes(rng):
    return {
        "labels with one, two and four words": made(rng, 4, 11, [[7], [9, 2], [5, 1, 8, 3]]),
        "two labels with three words each": made(rng, 5, 9, [[8, 1, 4], [2, 6, 5]]),
        "no prior": made(rng, 3, 8, [[6, 2], [7, 1, 4]], prior=False),
        "as many texts as labels": made(rng, 3, 7, [[2, 4, 6], [5], [3, 1]]),
    }


def edges(rng):
    return {
        "a single text": made(rng, 1, 6, [[3], [5, 1]]),
        "logits of thousands": made(rng, 3, 7, [[4, 2], [6]], scale=1e3),
        "every token is a word": made(rng, 2, 4, [[3, 1], [0, 2]]),
    }


EXERCISE = Exercise(
    target="minilm.formulas.prompts.verbaliser_logits",
    section=("23", "Words that stand for labels"),
    task="A pretrained model has guessed which word stands at [MASK]: z holds its logits for all V tokens. Every label has "
    "words, given as lists of tokens. Compute one logit per label: the mean of the logits of its words, less the label's prior.",
    returns={"logits": "text label"},
    tiny=lambda: {"z": np.array([[0.0, 1.0, 3.0, -2.0, 6.0]]), "words": [[1, 2], [4]], "prior": np.array([0.5, 2.0])},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "a text whose logits are all equal gets equal logits for all labels",
            lambda rng: {"no prior": {"z": np.full((2, 7), 1.5), "words": [[1], [2, 5], [0, 3, 4]], "prior": None}},
            lambda logits: bool(np.abs(logits - 1.5).max() < 1e-12),
        ),
    ),
    forbidden=("verbaliser_logits",),
    steps=(
        "for every label: the columns of its words, and their mean",
        "the columns of all labels side by side [N, K], and the prior taken off, if there is one",
    ),
    right={"loops": loops, "a matrix": matrix, "reduceat": reduceat, "torch": in_torch},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "The head for masked words is a classifier with V classes. You need only those few classes whose words stand for a "
        "label, and one number per label.",
        "z [N, V] → for label k the columns words[k] [N, n_k] → their mean [N] → all K side by side [N, K] → minus prior [K], "
        "which NumPy takes off every row.",
        "for each label:  average z over the columns of its words, row by row;  put these averages next to each other;  if a "
        "prior is given, take it off",
    ),
)
