r"""Next-sentence prediction: pairs, segments and the head.  F26.  40 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, listed

CLS, SEP = 1, 2


def next_sentence_pairs(sizes: list[int], N: int, rng: np.random.Generator) -> np.ndarray:
    r"""N examples [N, 5]: document and sentence of A, document and sentence of B, label. int64.

    `sizes[d]` is the number of sentences in document d. There are at least two documents, with at least two sentences each.
    A is drawn from all sentences that are not the last of their document, all equally likely. With probability ½, B is the
    sentence after A and the label is 0. Otherwise B is any sentence of *another* document and the label is 1.
    """
    borders = np.cumsum([0, *sizes])
    document = np.repeat(np.arange(len(sizes)), sizes)  # the document of every sentence
    sentence = np.arange(borders[-1]) - borders[document]
    firsts = np.flatnonzero(sentence < np.array(sizes)[document] - 1)
    a = rng.choice(firsts, size=N)
    label = rng.integers(2, size=N)
    b = rng.integers(borders[-1], size=N)
    while (bad := document[a] == document[b]).any():  # draw again where B comes from A's own document
        b[bad] = rng.integers(borders[-1], size=bad.sum())
    b = np.where(label == 0, a + 1, b)
    return np.stack([document[a], sentence[a], document[b], sentence[b], label], axis=1)


def pair(a: list[int], b: list[int]) -> tuple[list[int], list[int]]:
    r"""The ids [CLS] a [SEP] b [SEP] and their segments: 0 up to and including the first [SEP], then 1, also for the last [SEP].

    The id of [CLS] is 1, and the id of [SEP] is 2.
    """
    return [CLS, *a, SEP, *b, SEP], [0] * (len(a) + 2) + [1] * (len(b) + 1)


def flawed_pairs(sizes, N, rng, wrong=frozenset()):
    rng = np.random.default_rng(0) if "own_seed" in wrong else rng
    out = next_sentence_pairs(sizes, N, rng)
    if "share" in wrong:
        out = next_sentence_pairs(sizes, 3 * N, rng)
        keep = np.where(out[:, 4] == 1, rng.random(3 * N) < 1 / 3, True)
        out = out[keep][:N]
    negative = out[:, 4] == 1
    if "true_next" in wrong:  # any sentence at all, which is sometimes the true next one
        out[negative, 2] = rng.integers(len(sizes), size=negative.sum())
    if "same_document" in wrong:
        out[negative, 2] = out[negative, 0]
    if wrong & {"true_next", "same_document"}:
        out[negative, 3] = rng.integers(np.array(sizes)[out[negative, 2]])
    if "documents_first" in wrong:  # a document, then a sentence in it: sentences of short documents come too often
        weight = 1 / (np.array(sizes)[out[:, 0]] - 1)
        out = out[rng.choice(N, size=N, p=weight / weight.sum())]
        negative = out[:, 4] == 1
    if "any_a" in wrong:  # with label 1, A can also be the last sentence of its document
        out[negative, 1] = rng.integers(np.array(sizes)[out[negative, 0]])
    if "openings" in wrong:
        out[negative, 3] = 0
    if "not_last" in wrong:
        out[negative, 3] = rng.integers(np.array(sizes)[out[negative, 2]] - 1)
    if "in_turn" in wrong:
        n = min(negative.sum(), (~negative).sum())
        out = np.stack([out[~negative][:n], out[negative][:n]], axis=1).reshape(-1, 5)
    if "before" in wrong:
        out[~negative, 1], out[~negative, 3] = out[~negative, 3], out[~negative, 1].copy()
    if "polarity" in wrong:
        out[:, 4] = 1 - out[:, 4]
    return out


def flawed_pair(a, b, wrong=frozenset()):
    ids, segments = pair(a, b)
    n = len(a)
    if "first_sep" in wrong:
        segments = [0] * (n + 1) + [1] * (len(b) + 2)
    if "last_sep" in wrong:
        segments = [0] * (n + 2) + [1] * len(b) + [0]
    if "no_cls" in wrong:
        ids, segments = ids[1:], segments[1:]
    if "reversed" in wrong:
        ids, segments = [CLS, *b, SEP, *a, SEP], [0] * (len(b) + 2) + [1] * (n + 1)
    if "in_place" in wrong:
        a.append(SEP)
    if "all_zero" in wrong:
        segments = [0] * len(ids)
    if "no_last" in wrong:
        ids, segments = ids[:-1], segments[:-1]
    return ids, segments


def flawed_head(x, W_p, b_p, W, b, wrong=frozenset()):
    first = x.mean(1) if "mean" in wrong else x[:, -1 if "last" in wrong else 0]
    inner = first @ (W_p.T if "transposed" in wrong else W_p) + b_p
    if "sigmoid" in wrong:
        return 1 / (1 + np.exp(-inner)) @ W + b
    if "probabilities" in wrong:
        e = np.exp(np.tanh(inner) @ W + b)
        return e / e.sum(-1, keepdims=True)
    return (inner if "no_tanh" in wrong else np.tanh(inner)) @ W + (0 if "no_b" in wrong else b)


def having(*wrong):
    wrong = frozenset(wrong)
    functions = {"next_sentence_pairs": flawed_pairs, "pair": flawed_pair, "next_sentence_logits": flawed_head}
    return {name: partial(function, wrong=wrong) for name, function in functions.items()}


def one_by_one(sizes, N, rng):
    places = [(d, s) for d, n in enumerate(sizes) for s in range(n)]
    firsts, rows = [(d, s) for d, s in places if s + 1 < sizes[d]], []
    others = {d: [place for place in places if place[0] != d] for d in range(len(sizes))}
    for u, i, v in zip(rng.random(N), rng.integers(len(firsts), size=N), rng.random(N)):
        d, s = firsts[i]
        far = others[d]
        rows.append((d, s, d, s + 1, 0) if u < 0.5 else (d, s, *far[int(v * len(far))], 1))
    return np.array(rows)


def halves(sizes, N, rng):
    """Exactly half of the labels are 0, in random order; a B that does not fit is drawn again."""
    places = np.array([(d, s) for d, n in enumerate(sizes) for s in range(n)])
    a = places[[i for i, (d, s) in enumerate(places) if s < sizes[d] - 1]]
    a, label = a[rng.integers(len(a), size=N)], rng.permutation(np.arange(N) % 2)
    b = a + [0, 1]
    while len(again := np.flatnonzero((label == 1) & (a[:, 0] == b[:, 0]))):
        b[again] = places[rng.integers(len(places), size=len(again))]
    return np.column_stack([a, b, label])


def by_counting(a, b):
    ids = [CLS] + a + [SEP] + b + [SEP]
    return ids, [int(i > len(a) + 1) for i in range(len(ids))]


def by_marks(a, b):
    ids, segments = [CLS], [0]
    for number, sentence in enumerate((a, b)):
        ids += sentence + [SEP]
        segments += [number for _ in sentence] + [number]
    return ids, segments


def head_einsum(x, W_p, b_p, W, b):
    return np.einsum("bc,ck->bk", np.tanh(np.einsum("bc,cd->bd", x[:, 0], W_p) + b_p), W) + b


def head_rows(x, W_p, b_p, W, b):
    return np.array([W.T @ (2 / (1 + np.exp(-2 * (W_p.T @ row[0] + b_p))) - 1) + b for row in x])


def run(made, sizes, N, seed, a, b, head):
    """Pairs are judged by facts and by rates, rounded so that chance does not matter; the other two functions by values."""
    pairs = np.asarray(made.next_sentence_pairs(sizes, N, np.random.default_rng(seed)))
    other = np.asarray(made.next_sentence_pairs(sizes, N, np.random.default_rng(seed + 1)))
    d, s, e, t, label = pairs.T
    borders, firsts = np.cumsum([0, *sizes]), np.concatenate([np.arange(n) < n - 1 for n in sizes])
    place = borders[np.clip(d, 0, len(sizes) - 1)] + s
    drawn = [np.bincount(np.clip(place[label == k], 0, borders[-1] - 1), minlength=borders[-1]) for k in (0, 1)]
    follows, negative = (d == e) & (t == s + 1), label == 1

    def how_often(which):
        return "always" if which.all() else "sometimes" if which.any() else "never"

    def evenly(counts):
        return not counts[~firsts].any() and bool(abs(counts[firsts] / counts[firsts].mean() - 1).max() < 0.35)

    first, second = list(a), list(b)
    ids, segments = made.pair(first, second)
    return {
        "share of label 0": round(float((label == 0).mean()) * 20) / 20,
        "the labels of neighbouring examples are independent": abs(np.mean(label[1:] == label[:-1]) - 0.5) < 0.2,
        "with label 0, B follows A": how_often(follows[~negative]),
        "with label 1, B follows A": how_often(follows[negative]),
        "with label 1, B is from A's document": how_often((d == e)[negative]),
        "number of different B with label 1": len(np.unique((e * 999 + t)[negative])),
        "number of different pairs of documents with label 1": len(np.unique((d * 999 + e)[negative])),
        "with label 0, all A are equally likely": evenly(drawn[0]),
        "with label 1, all A are equally likely": evenly(drawn[1]),
        "another seed gives other pairs": bool(pairs.shape != other.shape or (pairs != other).any()),
        "pair leaves a and b as they were": first == list(a) and second == list(b),
        "ids": np.array(ids),
        "segments": np.array(segments),
        "logits": made.next_sentence_logits(*head),
    }


def case(rng, sizes, a, b, B=3, T=4, C=5, N=12_000):
    shapes = ((B, T, C), (C, C), (C,), (C, 2), (2,))
    return {
        **{"sizes": sizes, "N": N, "seed": int(rng.integers(1e9))},
        "a": rng.integers(5, 99, size=a).tolist(),
        "b": rng.integers(5, 99, size=b).tolist(),
        "head": tuple(rng.normal(size=shape) for shape in shapes),
    }


def probes(rng):
    return {
        "four documents": case(rng, [5, 3, 8, 2], 3, 5),
        "three documents": case(rng, [4, 2, 6], 4, 1, B=4, T=4, C=4),
    }


def edges(rng):
    return {
        "an empty sentence": case(rng, [3, 4], 0, 2),
        "two documents of two sentences": case(rng, [2, 2], 1, 1, B=1, T=1, C=3),
    }


MISTAKES = """  key · what it looks like · a question
true_next · with label 1, B comes from anywhere, so it can be the true next sentence ·
    label 1 says that B does not follow A: is that true of all your pairs?
same_document · with label 1, B comes from A's own document ·
    according to the docstring, where does B come from when the label is 1?
openings · with label 1, B is always the first sentence of its document ·
    could a model tell the two labels apart from B alone, without reading A?
polarity · the two labels are swapped ·
    does label 0 mean that B follows A, or that it does not?
share · the two labels are not equally frequent ·
    if a model always gave the same answer, how often would it be right?
in_turn · the labels come in turn, 0, 1, 0, 1, instead of being drawn ·
    could you tell the label from the number of the example alone?
not_last · with label 1, B is never the last sentence of its document ·
    could a model tell the two labels apart from B alone, without reading A?
before · A and B are swapped in the pairs where B should follow A ·
    which of the two sentences comes first in the text?
first_sep · the first [SEP] is given to the second segment ·
    which sentence does the first [SEP] end?
last_sep · the last [SEP] is given to the first segment ·
    which sentence does the last [SEP] end?
no_last · the last [SEP] is missing ·
    how many [SEP] does the docstring show?
mean · the head reads the mean of all tokens instead of [CLS] ·
    at which position is the hidden state of [CLS]?
last · the head reads the last token instead of [CLS] ·
    at which position is the hidden state of [CLS]?
no_tanh · tanh is missing ·
    two linear layers with nothing between them: how many linear layers could replace them?
no_b · the bias of the last layer is missing ·
    where does your code use the argument `b`?
own_seed · it draws from a generator of its own, not from `rng` ·
    if the seed is different, should the same pairs be drawn?
documents_first · a document is drawn first and then a sentence in it, so sentences of short documents come too often ·
    one document has 2 sentences, another 200: how often should each single sentence be drawn?
any_a · with label 1, A can also be the last sentence of its document ·
    could a model tell the two labels apart from A alone, without reading B?
no_cls · [CLS] is missing ·
    which token does the head read?
all_zero · every token is in segment 0 ·
    how can the model tell the two sentences apart?
reversed · the second sentence stands first in the row ·
    which of the two sentences comes first in the text?
in_place · the list `a` that was passed in gets another token ·
    does the caller still need the sentence as it was?
transposed · W_p is transposed ·
    the docstring writes x W: which axis of W_p meets the features?
sigmoid · the sigmoid stands where tanh belongs ·
    can a number between the two layers of yours be negative?
probabilities · the logits go through a softmax ·
    does the loss that follows expect logits or probabilities?
"""

EXERCISE = Exercise(
    target="minilm.exercises.specs.e21_next_sentence.next_sentence_pairs",
    also=("minilm.exercises.specs.e21_next_sentence.pair", "minilm.formulas.pretraining.next_sentence_logits"),
    section=("12", "Does B follow A?"),
    task="Write three functions for BERT's second objective: one draws pairs of sentences, one writes a pair as one row of "
    "tokens, and one judges a row. Each is checked on its own. Your draws are judged by rates over 12,000 pairs, so their order "
    "does not matter.",
    returns={"share of label 0": "", "ids": "token", "segments": "token", "logits": "pair class"},
    tiny=lambda: case(np.random.default_rng(0), [3, 2], 2, 1, B=1, T=2, C=2),
    probes=probes,
    edges=edges,
    run=run,
    forbidden=("draw_pairs", "next_sentence_pairs", "next_sentence_logits"),
    steps=(
        "A: any sentence that has a next one, all equally likely; the label: 0 or 1, each with probability ½",
        "B for label 0: the sentence after A",
        "B for label 1: any sentence; draw again as long as it comes from A's document",
    ),
    right={
        "one by one": {"next_sentence_pairs": one_by_one, "pair": by_counting, "next_sentence_logits": head_einsum},
        "halves": {"next_sentence_pairs": halves, "pair": by_marks, "next_sentence_logits": head_rows},
        "after the book": having(),
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "Half of the pairs are true neighbours and half are not. Apart from that, the two halves must look alike; otherwise a "
        "model could guess the label without comparing A with B. The head reads only one position, that of [CLS].",
        "sizes → all sentences as (document, place) → A [N] from those that have a next one → label [N] → B: the sentence after "
        "A, or one of another document. Segments: len(a) + 2 zeros, then len(b) + 1 ones. Head: x [B, T, C] → x[:, 0] [B, C] → "
        "[B, 2].",
        "label = 0 or 1, by a coin;  B = (d, s + 1) if the label is 0, else draw (e, t) until e is not d;  [CLS] a [SEP] | b "
        "[SEP];  tanh of (the first row of x by W_p, plus b_p), then by W, plus b",
    ),
)
