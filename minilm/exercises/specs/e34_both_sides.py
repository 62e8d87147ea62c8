r"""Both sides of a masked word.  F25.  20 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def masked_word_contexts(x: np.ndarray, y: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
    r"""c [N, C]: for each of the N masked words, the context that its prediction may use, P(wᵢ ∣ M(w_{1:n})): the whole sentence.

    c is the plain mean of the vectors `x` [B, T, C] of *all* words of the masked sentence: those on the left, those on the
    right, and the masked position itself, which holds [MASK]. `y` [B, T] is the original word at the masked positions and
    −100 elsewhere; `attention_mask` [B, T] is True for words and False for padding. Order: sentence by sentence, left to right.
    """
    words = attention_mask[..., None]
    mean = (x * words).sum(axis=1) / words.sum(axis=1)  # [B, C]: one context per sentence, from all its words
    return mean[np.nonzero(y != -100)[0]]  # [N, C]: for each masked word, its sentence's context


def flawed(x, y, attention_mask, wrong=frozenset()):
    out = []
    for b, t in np.argwhere(y > 0 if "zero" in wrong else y != -100):
        place = np.arange(x.shape[1])
        see = np.ones(len(place), bool) if "padding" in wrong else attention_mask[b].copy()
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
        if "prefix" in wrong:
            see = place < see.sum()
        if "whole_batch" in wrong:
            out.append(x[attention_mask].mean(0))
            continue
        if "window" in wrong:
            see &= abs(place - t) <= 5
        if "last" in wrong:
            see = place == attention_mask[b].nonzero()[0][-1]
        if "first" in wrong:
            see = place == 0
        if "itself" in wrong:
            see = place == t
        if "no_first" in wrong and see[1:].any():
            see &= place > 0
        if "largest" in wrong or "median" in wrong:
            out.append(x[b][see].max(0) if "largest" in wrong else np.median(x[b][see], axis=0))
            continue
        if "two_sides" in wrong:  # the mean of the left mean and the right mean
            sides = [x[b][see & side].mean(0) for side in (place <= t, place >= t)]
            out.append(np.mean(sides, axis=0))
            continue
        if "nearer" in wrong:
            weight = see / (1.0 + abs(place - t))
            out.append(weight @ np.where(see[:, None], x[b], 0) / weight.sum())
            continue
        if "sum" in wrong:
            out.append(x[b][see].sum(0))
            continue
        n = len(place) if "all_places" in wrong else see.sum()
        n = n - 1 if "one_less" in wrong else len(y[b][y[b] != -100]) if "by_masked" in wrong else n
        n = np.sqrt(n) if "root" in wrong else n
        out.append(x[b][see].sum(0) / max(n, 1))
    out = np.array(out).reshape(-1, x.shape[2])
    if "counted" in wrong:  # the first sentence with a masked word is taken for the first of all
        means = np.stack([x[b][attention_mask[b]].mean(0) for b in range(len(x))])
        return means[np.unique(np.argwhere(y != -100)[:, 0], return_inverse=True)[1]]
    if "by_place" in wrong:  # all sentences at place 0, then all at place 1 …
        return out[np.argsort(np.argwhere(y != -100)[:, 1], kind="stable")]
    if "once" in wrong:
        return out[np.unique(np.argwhere(y != -100)[:, 0], return_index=True)[1]]
    return out[::-1] if "backwards" in wrong else out


def word_by_word(x, y, attention_mask):
    out = []
    for b in range(len(y)):
        for t in range(y.shape[1]):
            if y[b, t] != -100:
                seen = [x[b, s] for s in range(x.shape[1]) if attention_mask[b, s]]
                out.append(sum(seen) / len(seen))
    return np.array(out)


def by_attention(x, y, attention_mask):
    """All scores are equal, and −∞ for padding, so softmax gives every word the same weight."""
    B, T, _ = x.shape
    scores = np.where(attention_mask[:, None, :], 0.0, -np.inf) + np.zeros((B, T, T))
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return (weights @ x)[y != -100]


def einsum(x, y, attention_mask):
    share = attention_mask / attention_mask.sum(1, keepdims=True)
    b, _ = np.where(y >= 0)
    return np.einsum("nt,ntc->nc", share[b], x[b])


def by_selection(x, y, attention_mask):
    means = [sentence[words].mean(0) for sentence, words in zip(x, attention_mask)]
    return np.stack([means[b] for b in range(len(y)) for _ in range(int((y[b] != -100).sum()))])


def batch(rng, *sentences, C=3):
    """Each sentence: its number of words, and which of them are masked. Padding holds 1e3, which shows if it was used."""
    T = max(n for n, _ in sentences) + 1
    attention_mask = np.arange(T) < np.array([n for n, _ in sentences])[:, None]
    x = np.where(attention_mask[..., None], rng.normal(size=(len(sentences), T, C)), 1e3)
    y = np.full(attention_mask.shape, -100)
    for b, (_, hidden) in enumerate(sentences):
        y[b, hidden] = rng.integers(1, 50, size=len(hidden))
    y[0, sentences[0][1][0]] = 0  # 0 is an id like any other
    return {"x": x, "y": y, "attention_mask": attention_mask}


def probes(rng):
    return {
        "one masked word in the middle": batch(rng, (5, [2]), C=2),
        "several sentences": batch(rng, (6, [1, 4]), (3, [1]), (4, [0, 3]), C=5),
        "long sentences": batch(rng, (14, [3, 11]), (12, [6]), (9, [0]), C=3),
        "all sizes the same": batch(rng, (3, [1]), (2, [0, 1]), (3, [0, 2]), (1, [0]), C=4),
        "the first and the last word": batch(rng, (5, [0]), (7, [6]), C=4),
    }


def turned(inputs, axis):
    """The sentences (axis 0) or the places (axis 1) in reverse order."""
    return {name: np.flip(array, axis).copy() for name, array in inputs.items()}


def edges(rng):
    return {
        "a sentence of one word, masked": batch(rng, (1, [0]), (3, [1])),
        "everything is masked": batch(rng, (3, [0, 1, 2]), (2, [0, 1])),
        "a sentence without a masked word": batch(rng, (4, [2]), (3, [])),
        "a first sentence without a masked word": turned(batch(rng, (4, [2]), (5, [0, 1]), (3, [])), 0),
        "padding on the left": turned(batch(rng, (4, [1]), (6, [0, 3])), 1),
    }


def other_right_side(rng):
    made = batch(rng, (5, [1]), C=3)
    x = made["x"].copy()
    x[0, 4] += 5.0
    return {"a sentence": made, "another last word": {**made, "x": x}}


LEFT = ("11", "The left side only?")
MISTAKES = """  key · what it looks like · a question
left · only the words to the left are used: the formula as D3 prints it, M(w_{1:i−1}) ·
    a word in the middle of a sentence is masked: why should you ignore the words after it?
left_own · only the words to the left and the position itself are used ·
    a word in the middle of a sentence is masked: why should you ignore the words after it?
right · only the words to the right are used ·
    what can the last word of a sentence use in your code?
no_own · the masked position itself is left out ·
    what stands at the masked position, the word or [MASK]?
neighbours · only the direct neighbours are used ·
    how far does attention reach in an encoder?
hidden_too · the other masked positions are left out as well ·
    what stands at the other masked positions, and does it give anything away?
chosen_only · only the masked positions are used ·
    which words of a sentence help you to guess a masked one?
padding · padding is used ·
    what is `attention_mask` for?
prefix · the first n vectors are averaged, where n is the number of words ·
    where is the padding: always at the end?
counted · sentences without a masked word are not counted, so the contexts of later ones are shifted ·
    the first sentence has no masked word: whose context does the first one in the second sentence get?
all_places · the sum is divided by the number of all positions, including padding ·
    how many vectors did you add up?
sum · the vectors are added up, but not divided ·
    should a long sentence have a longer context vector?
whole_batch · the other sentences of the batch are used ·
    do two sentences of a batch have anything to do with each other?
zero · `y > 0` loses the word with the id 0 ·
    is 0 an id like any other?
window · only words at most five places away are used ·
    how far does attention reach in an encoder?
first · only the first word is used ·
    which words of a sentence help you to guess a masked one?
last · only the last word is used ·
    which words of a sentence help you to guess a masked one?
itself · only the masked position itself is used ·
    which words of a sentence help you to guess a masked one?
no_first · the first word of every sentence is left out ·
    why should the first word not help?
largest · it is the largest value of each feature, not the mean ·
    the task says which function of the vectors is asked for: which one?
median · it is the median of each feature, not the mean ·
    the task says which function of the vectors is asked for: which one?
two_sides · the left side and the right side weigh the same, however many words they have ·
    in a plain mean, how much does each single word weigh?
nearer · near words weigh more ·
    in a plain mean, how much does each single word weigh?
one_less · the sum is divided by one word less than there are ·
    how many vectors did you add up?
by_masked · the sum is divided by the number of masked words ·
    how many vectors did you add up?
root · the sum is divided by the root of the number of words ·
    how many vectors did you add up?
by_place · the results are in the order of the places, not of the sentences ·
    in which order does the docstring ask for the contexts?
backwards · the results are in reverse order ·
    in which order does the docstring ask for the contexts?
once · there is one result per sentence, not one per masked word ·
    how many masked words are there?
"""

EXERCISE = Exercise(
    target="minilm.exercises.specs.e34_both_sides.masked_word_contexts",
    section=LEFT,
    task="For every masked word, compute the simplest context there is: the mean of all vectors that its prediction may use.",
    returns={"c": "word feature"},
    tiny=lambda: {
        "x": np.array([[[1.0], [2.0], [6.0], [9.0]]]),
        "y": np.array([[-100, 7, -100, -100]]),
        "attention_mask": np.array([[True, True, True, False]]),
    },
    probes=probes,
    edges=edges,
    properties=(Property("the words to the right matter", other_right_side, lambda a, b: (abs(a - b) > 1e-3).all()),),
    needs=("padding_mask",),
    forbidden=("masked_word_contexts",),
    steps=(
        "the mean of each sentence's words, without the padding [B, C]",
        "for each masked word, in order, the mean of its sentence [N, C]",
    ),
    right={"word by word": word_by_word, "attention": by_attention, "einsum": einsum, "selection": by_selection},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "A language model predicts the next word and must not see it. Here, [MASK] already replaces the word, so nothing else "
        "needs to be hidden: the words on both sides may help.",
        "x [B, T, C] and attention_mask [B, T] → the sum of the words' vectors over T, divided by how many there are: [B, C] → "
        "the sentence numbers of the positions where y is not −100: [N] → their rows: [N, C].",
        "mean = sum over T of (x where the mask is True) over the number of words;  b = the sentence of each position where y ≠ "
        "−100;  return the rows b of mean",
    ),
)
