r"""Both sides of a masked word.  F25."""

import re

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


def masked_word_contexts(x: np.ndarray, y: np.ndarray, real: np.ndarray) -> np.ndarray:
    r"""c [N, C]: for each of the N chosen words what its guess may look at, P(wᵢ ∣ M(w_{1:n})): all of its own sentence.

    c is the plain mean of the vectors `x` [B, T, C] of *all* words of the masked sentence: left, right, and its own place,
    which holds [MASK]. `y` [B, T] is the word where one was chosen and −100 elsewhere; `real` [B, T] is True for words and
    False for padding. Order: sentence by sentence, from left to right.
    """
    words = real[..., None]
    mean = (x * words).sum(axis=1) / words.sum(axis=1)  # [B, C]: one context a sentence, on whatever side its words are
    return mean[np.nonzero(y != -100)[0]]  # [N, C]: that of the sentence of each chosen word


def flawed(x, y, real, wrong=frozenset()):
    out = []
    for b, t in np.argwhere(y > 0 if "zero" in wrong else y != -100):
        place = np.arange(x.shape[1])
        see = np.ones(len(place), bool) if "padding" in wrong else real[b].copy()
        if "left" in wrong:
            see &= place < t
        if "left_own" in wrong:
            see &= place <= t
        if "right" in wrong:
            see &= place > t
        if "no_own" in wrong:
            see &= place != t
        if "neighbours" in wrong:
            see &= abs(place - t) <= 1
        if "hidden_too" in wrong:
            see &= y[b] == -100
        if "chosen_only" in wrong:
            see &= y[b] != -100
        if "whole_batch" in wrong:
            out.append(x[real].mean(0))
            continue
        if "sum" in wrong:
            out.append(x[b][see].sum(0))
            continue
        n = len(place) if "all_places" in wrong else see.sum()
        out.append(x[b][see].sum(0) / max(n, 1))
    return np.array(out).reshape(-1, x.shape[2])


def word_by_word(x, y, real):
    out = []
    for b in range(len(y)):
        for t in range(y.shape[1]):
            if y[b, t] != -100:
                seen = [x[b, s] for s in range(x.shape[1]) if real[b, s]]
                out.append(sum(seen) / len(seen))
    return np.array(out)


def by_attention(x, y, real):
    """Scores that are all alike, and −∞ for padding: softmax shares the weight out evenly."""
    B, T, _ = x.shape
    scores = np.where(real[:, None, :], 0.0, -np.inf) + np.zeros((B, T, T))
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return (weights @ x)[y != -100]


def einsum(x, y, real):
    share = real / real.sum(1, keepdims=True)
    b, _ = np.where(y >= 0)
    return np.einsum("nt,ntc->nc", share[b], x[b])


def by_selection(x, y, real):
    means = [sentence[words].mean(0) for sentence, words in zip(x, real)]
    return np.stack([means[b] for b in range(len(y)) for _ in range(int((y[b] != -100).sum()))])


def batch(rng, *sentences, C=3):
    """Each sentence: how many words it has, and which of them are hidden. Padding holds 1e3, so that whoever looks is seen."""
    T = max(n for n, _ in sentences) + 1
    real = np.arange(T) < np.array([n for n, _ in sentences])[:, None]
    x = np.where(real[..., None], rng.normal(size=(len(sentences), T, C)), 1e3)
    y = np.full(real.shape, -100)
    for b, (_, hidden) in enumerate(sentences):
        y[b, hidden] = rng.integers(1, 50, size=len(hidden))
    y[0, sentences[0][1][0]] = 0  # an id like any other
    return {"x": x, "y": y, "real": real}


def probes(rng):
    return {
        "one hidden word in the middle": batch(rng, (5, [2]), C=2),
        "several sentences": batch(rng, (6, [1, 4]), (3, [1]), (4, [0, 3]), C=5),
        "the first and the last word": batch(rng, (5, [0]), (7, [6]), C=4),
    }


def edges(rng):
    return {
        "a sentence of one word, hidden": batch(rng, (1, [0]), (3, [1])),
        "everything is hidden": batch(rng, (3, [0, 1, 2]), (2, [0, 1])),
        "a sentence without a hidden word": batch(rng, (4, [2]), (3, [])),
    }


def other_right_side(rng):
    made = batch(rng, (5, [1]), C=3)
    x = made["x"].copy()
    x[0, 4] += 5.0
    return {"a sentence": made, "another last word": {**made, "x": x}}


LEFT = ("08", "The left side only?")
MISTAKES = """  key · what it looks like · a question
left · only what stands to the left is looked at: the formula as D3 prints it, M(w_{1:i−1}) ·
    a word in the middle of a sentence is hidden: who forbids you to read on?
left_own · only what stands to the left, and the place itself, is looked at ·
    a word in the middle of a sentence is hidden: who forbids you to read on?
right · only what stands to the right is looked at ·
    what does the last word of a sentence see?
no_own · the place itself is left out ·
    what stands at the hidden place: the word, or [MASK]?
neighbours · only the neighbours are looked at ·
    how far does attention reach in an encoder?
hidden_too · other hidden places are left out as well ·
    what stands at the other hidden places, and may it be seen?
chosen_only · only the hidden places are looked at ·
    what is it that gives the hidden words away?
padding · padding is looked at ·
    what is `real` for?
all_places · the sum is divided by all places, padding included ·
    how many vectors did you add up?
sum · the vectors are added up, but not divided ·
    is the context of a long sentence a longer vector?
whole_batch · the other sentences of the batch are looked at ·
    do two sentences of a batch have anything to do with each other?
zero · `y > 0` loses the word with the id 0 ·
    is 0 an id like any other?
"""

EXERCISE = Exercise(
    target="minilm.exercises.specs.e34_both_sides.masked_word_contexts",
    section=LEFT,
    task="For every hidden word make the simplest context there is: the mean of what its guess may look at.",
    returns={"c": "word feature"},
    tiny=lambda: {
        "x": np.array([[[1.0], [2.0], [6.0], [9.0]]]),
        "y": np.array([[-100, 7, -100, -100]]),
        "real": np.array([[True, True, True, False]]),
    },
    probes=probes,
    edges=edges,
    properties=(Property("the words to the right matter", other_right_side, lambda a, b: (abs(a - b) > 1e-3).all()),),
    needs=("padding_mask",),
    forbidden=("masked_word_contexts",),
    steps=(
        "the mean of each sentence's words, without the padding [B, C]",
        "for each chosen word, in order, the mean of its sentence [N, C]",
    ),
    right={"word by word": word_by_word, "attention": by_attention, "einsum": einsum, "selection": by_selection},
    wrong={key: Wrong(name, question) for key, name, question in re.findall(r"(\w+) · (.+) ·\n +(.+)", MISTAKES)},
    flawed=flawed,
    hints=(
        "A language model guesses the next word and must not see it. Here the word is hidden where it stands, so nothing else "
        "needs to be: whatever is written on either side may help.",
        "x [B, T, C] and real [B, T] → sum of the words' vectors over T, over how many there are: [B, C] → the sentence "
        "numbers of the places where y is not −100: [N] → their rows: [N, C].",
        "mean = sum over T of (x where real) over the number of real;  b = the sentence of each place where y ≠ −100;  return "
        "the rows b of mean",
    ),
)
