r"""Perplexity, and the loss of a language model.  F23.  25 minutes, medium."""

from dataclasses import replace
from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed
from minilm.formulas.cross_entropy import log_softmax


def flawed_loss(z, w, mask=None, wrong=frozenset()):
    B, T, _ = z.shape
    mask = w > 0 if "no_mask_0" in wrong and mask is None else mask
    mask = np.ones((B, T), bool) if mask is None or "padding" in wrong else mask
    logs = z if "no_softmax" in wrong else log_softmax(z)
    if "axis_0" in wrong:
        logs = log_softmax(z.T).T
    if "no_log" in wrong:
        logs = np.exp(logs)
    if "log_of_softmax" in wrong:
        logs = np.log(np.exp(z) / np.exp(z).sum(-1, keepdims=True))
    if "epsilon" in wrong:
        logs = np.log(np.exp(logs) + 1e-9)
    guessed, use = np.roll(w, -1, axis=1), np.roll(mask, -1, axis=1)
    use[:, -1] = False
    if "first" in wrong:  # the last row of z predicts the first word
        use[:, -1] = mask[:, 0]
    if "unshifted" in wrong:
        guessed, use = w, mask.copy()
    if "twice" in wrong:
        guessed, use = np.roll(w, -2, axis=1), np.roll(mask, -2, axis=1)
        use[:, -2:] = False
    if "mask_unshifted" in wrong:
        use = mask.copy()
        use[:, -1] = False
    if "word_0" in wrong:
        use = use & (guessed > 0)
    if "mask_prefix" in wrong:  # only the number of words is looked at, not where they are
        use = np.arange(T) < mask.sum(1)[:, None] - 1
    if "before_too" in wrong:  # the row that predicts must count as well
        use = use & mask
    losses = -np.take_along_axis(logs, guessed[..., None], axis=2)[..., 0] * use
    if "base_2" in wrong:
        losses = losses / np.log(2)
    if "minus" in wrong:
        losses = -losses
    if "own_answer" in wrong:
        losses = -logs.max(-1) * use
    if "exp" in wrong:
        return float(np.exp(losses.sum() / use.sum()))
    if "by_mask" in wrong:
        return float(losses.sum() / mask.sum())
    if "sequences" in wrong:
        kept = use.any(axis=1)
        return float((losses.sum(1)[kept] / use.sum(1)[kept]).mean())
    if "all_places" in wrong:
        return float(losses.sum() / (B * (T - 1)))
    return float(losses.sum() / (1 if "sum" in wrong else use.sum()))


def flawed_perplexity(p, wrong=frozenset()):
    if "product" in wrong:
        return float(np.prod(p) ** (-1 / len(p)))
    p = p + 1e-10 if "plus" in wrong else p
    if "mean_inverse" in wrong:
        return float(np.mean(1 / p))
    if "no_exp" in wrong:
        return float(-np.log(p).mean())
    if "two_to" in wrong:
        return float(2 ** (-np.log(p).mean()))
    if "log_10" in wrong:
        return float(np.exp(-np.log10(p).mean()))
    if "bits_p" in wrong:
        return float(-np.log2(p).mean())
    if "n_less_1" in wrong:
        return float(np.exp(-np.log(p).sum() / max(len(p) - 1, 1)))
    if "entropy" in wrong:
        return float(np.exp(-(p * np.log(p)).sum()))
    if "mean_p" in wrong:
        return float(1 / np.mean(p))
    total = np.log2(p).sum() if "log_2" in wrong else np.log(p).sum()
    if "per_text" in wrong:
        return float(np.exp(-total))
    return float(np.exp(total / len(p) if "sign" in wrong else -total / len(p)))


def having(*wrong):
    wrong = frozenset(wrong)
    return {"causal_loss": partial(flawed_loss, wrong=wrong), "perplexity": partial(flawed_perplexity, wrong=wrong)}


MISTAKES = """  key · what it looks like · a question
sequences · the mean is taken per sequence and then over the sequences, instead of over all words ·
    one row has 2 words, another 200: how much should each single word weigh?
base_2 · the loss has base 2 and is in bits ·
    exp(loss) should be the perplexity: which logarithm does exp undo?
log_2 · perplexity combines the logarithm to base 2 with exp to base e ·
    is exp(log₂ 8) equal to 8?
first · the first word is scored as well, with the last row of z ·
    which row of z could have read what comes before the first word?
mask_unshifted · `mask` is read at the row that predicts, not at the word that is predicted ·
    the last word of a short row is followed by padding: should this word's row count as a prediction?
unshifted · row t is scored on word t, which it has already read ·
    what has row t read, and which word should it predict?
sum · the losses are summed, not averaged ·
    is a longer text a worse one?
no_softmax · the logits are used as log-probabilities ·
    does exp of a row of logits sum to 1?
product · perplexity multiplies the probabilities before it takes the root ·
    what does a computer return for 0.1 to the power of 400?
mean_p · perplexity is one over the mean probability ·
    the probability of a text is a product: which kind of mean fits a product?
per_text · perplexity is computed for the whole text, not per word ·
    what happens to your result if the text is twice as long?
sign · the minus sign is missing from the exponent ·
    can a perplexity be below 1?
axis_0 · the softmax runs along the first axis instead of the last ·
    which axis of z holds the vocabulary?
no_log · the loss is minus the probability, without the logarithm ·
    how much does your loss punish a model that gives the right word the probability 0?
log_of_softmax · the softmax is computed first, without subtracting the maximum, and then its logarithm ·
    what is exp(1000) on a computer?
epsilon · a small number is added inside the logarithm of the loss ·
    if the model is certain and wrong, by how much does your loss differ from the true one?
minus · the minus sign of the loss is missing ·
    the logarithm of a probability is negative: should a loss be negative?
own_answer · the loss is taken at the word that the model finds most likely ·
    if another word had come, should the loss be the same?
word_0 · the words with the id 0 are left out, as if they were padding ·
    how is padding marked here: by an id, or by `mask`?
no_mask_0 · without a mask, the words with the id 0 are taken for padding ·
    which words count if there is no mask?
mask_prefix · only the number of words in `mask` is used, not where they are ·
    which words count if the mask is False at the beginning of a row?
before_too · a word counts only if the word before it counts, too ·
    the mask is True at the word that is predicted: does it matter what it is at the row that predicts?
exp · this is the perplexity, not the loss ·
    exp(loss) is the perplexity: which of the two is asked for?
by_mask · the sum is divided by the number of words, the first one of each row included ·
    how many words of a row of five are predicted?
mean_inverse · perplexity is the mean of one over each probability ·
    the probability of a text is a product: which kind of mean fits a product?
plus · perplexity adds a small number to the probabilities ·
    how surprised is a model by a word to which it gave the probability 0?
no_exp · perplexity lacks the exp at the end ·
    a model gives every word the probability 1/8: what is its perplexity?
two_to · perplexity combines the natural logarithm with powers of 2 ·
    is 2 to the power of ln 8 equal to 8?
log_10 · perplexity combines the logarithm to base 10 with exp to base e ·
    is exp(log₁₀ 8) equal to 8?
bits_p · this is the entropy in bits per word, not the perplexity ·
    a model gives every word the probability 1/8: what is its perplexity?
n_less_1 · perplexity divides by one word less than there are ·
    how many probabilities are in p?
entropy · perplexity weighs every logarithm with its probability ·
    each word of the text really came once: how much should each of them weigh?
"""
IN_15 = """  key · what it looks like · a question
padding · padding is counted as words ·
    what is `mask` for, and where do you use it?
all_places · the sum is divided by all positions, not by the words that count ·
    if half of a batch is padding, is the model twice as good?
twice · the labels are shifted by two words ·
    where in your program are the labels shifted, and does it happen only once?
"""
SECTIONS = ("Padding that counts", "Shifted twice")


def word_by_word(z, w, mask=None):
    total, N = 0.0, 0
    for b in range(len(w)):
        for t in range(1, w.shape[1]):
            if mask is None or mask[b, t]:
                row = z[b, t - 1]
                total += row.max() + np.log(np.exp(row - row.max()).sum()) - row[w[b, t]]
                N += 1
    return float(total / N)


def by_slices(z, w, mask=None):
    z, w = z[:, :-1], w[:, 1:]
    use = np.ones(w.shape) if mask is None else mask[:, 1:].astype(float)
    losses = np.logaddexp.reduce(z, axis=-1) - np.take_along_axis(z, w[..., None], -1)[..., 0]
    return np.average(losses, weights=use)


def by_onehot(z, w, mask=None):
    keep = np.full(w.shape, True) if mask is None else mask
    rows = z[:, :-1][keep[:, 1:]]  # [N, V]
    words = np.eye(z.shape[2])[w[:, 1:][keep[:, 1:]]]
    rows = rows - rows.max(axis=1, keepdims=True)
    return -np.einsum("nv,nv->", words, rows - np.log(np.exp(rows).sum(1))[:, None]) / len(rows)


def surprise_by_surprise(p):
    total = 0.0
    for each in p:
        total += -np.log2(each)
    return 2 ** (total / len(p))  # bits and powers of two: any base will do if both use it


def geometric_mean(p):
    return float(np.prod(p ** (-1 / len(p))))


def run(made, z, w, mask, p):
    return {"loss": made.causal_loss(z, w, mask), "perplexity": made.perplexity(p)}


def text(rng, *lengths, V, n=6, all_count=False):
    B, T = len(lengths), max(lengths)
    mask = None if all_count else np.arange(T) < np.array(lengths)[:, None]
    words = rng.integers(V, size=(B, T))
    words[0, 1] = 0 if all_count else words[0, 1]  # 0 is an id like any other
    return {
        "z": rng.normal(scale=2, size=(B, T, V)),
        "w": words,
        "mask": mask,
        "p": rng.uniform(0.05, 0.9, size=n),
    }


def probes(rng):
    only = text(rng, 7, 7, V=4)
    only["mask"] = np.array([[0, 0, 0, 1, 1, 0, 0], [1, 1, 1, 0, 0, 1, 1]], dtype=bool)
    return {
        "rows of different lengths": text(rng, 6, 3, 5, V=9),
        "every word counts": text(rng, 5, 5, V=7, n=4, all_count=True),
        "only some words count": only,
        "as many words as rows": text(rng, 4, 2, 3, 4, V=4, n=9),
        "a row of one word, and one of none": text(rng, 1, 5, 0, 4, V=6, n=3),
    }


def edges(rng):
    large = text(rng, 4, 3, V=6)
    return {
        "logits of a thousand": large | {"z": large["z"] * 1e3},
        "a text of two thousand words": text(rng, 3, 2, V=5, n=2000),
        "a word with the probability 0": text(rng, 2, V=3) | {"p": np.array([0.5, 0.0, 0.5])},
        "one row": text(rng, 5, V=4, n=1),
        "the word 0": text(rng, 4, 3, V=3) | {"w": np.array([[0, 0, 1, 0], [1, 0, 0, 2]])},
        "a model that knows the text": text(rng, 3, V=3) | {"p": np.ones(4)},
    }


EXERCISE = Exercise(
    target="minilm.formulas.language_models.causal_loss",
    also=("minilm.formulas.language_models.perplexity",),
    section=("11", "A text's probability is a product"),
    task="Write two functions: the mean loss of a model that predicts each next word, and the perplexity for the probabilities "
    "that a model gave to the words of a text. Use natural logarithms. All logits are finite. Each function is checked on its own.",
    returns={"loss": "", "perplexity": ""},
    tiny=lambda: {
        "z": np.log(np.array([[[1.0, 1.0, 2.0], [1.0, 6.0, 1.0], [1.0, 1.0, 1.0]]])),
        "w": np.array([[0, 2, 1]]),
        "mask": np.array([[True, True, True]]),
        "p": np.array([0.5, 0.125]),
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "a model that gives every word the same probability has the loss log V and the perplexity V",
            lambda rng: {"V = 8": text(rng, 4, 3, V=8) | {"z": np.zeros((2, 4, 8)), "p": np.full(5, 1 / 8)}},
            lambda out: abs(out[0] - np.log(8)) < 1e-9 and abs(out[1] - 8) < 1e-9,
        ),
    ),
    given=("minilm.formulas.cross_entropy.log_softmax",),
    needs=("log_softmax", "cross_entropy"),
    forbidden=("causal_loss", "perplexity", "cross_entropy"),
    steps=(
        "row t of z predicts word t + 1: the last row of z predicts nothing, and the first word is never predicted",
        "a prediction counts if `mask` is True at the word that is predicted",
        "the log-probability of each word that really came, and their mean over all words that count, whichever row "
        "they are in",
    ),
    right={
        "word by word": {"causal_loss": word_by_word, "perplexity": surprise_by_surprise},
        "slices": {"causal_loss": by_slices, "perplexity": geometric_mean},
        "one-hot": {"causal_loss": by_onehot, "perplexity": lambda p: np.exp(np.mean(-np.log(p)))},
    },
    wrong=listed(MISTAKES, having)
    | {key: replace(each, section=("15", SECTIONS[key == "twice"])) for key, each in listed(IN_15, having).items()},
    hints=(
        "The probability of a text is the product of the probabilities that the model gave to each word, given the words before "
        "it. Its logarithm is a sum. Divide it by the number of words and change its sign: that is the loss, and exp of the loss "
        "is the perplexity.",
        "z [B, T, V] without its last row and w [B, T] without its first word belong together: [B, T − 1] predictions. mask "
        "loses its first column too, and N predictions are left → log softmax of their rows at their words [N] → minus the mean.",
        "guesses = z[:, :-1], words = w[:, 1:], use = mask[:, 1:] or all;  loss = −(log-probability of the word, where use), "
        "summed, over use.sum();  perplexity = exp of minus the mean of log p",
    ),
)
