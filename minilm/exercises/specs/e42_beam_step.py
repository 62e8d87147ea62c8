r"""One step of beam search.  F23.  25 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def log_softmax(z):
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def flawed(total, z, K, wrong=frozenset()):
    R, V = z.shape
    log_p = log_softmax(z)
    if "logits" in wrong:
        log_p = z
    if "probabilities" in wrong:
        log_p = np.exp(log_p)
    if "over_texts" in wrong:
        log_p = log_softmax(z.T).T
    if "over_all" in wrong:
        log_p = log_softmax(z.reshape(1, -1)).reshape(R, V)
    if "overflow" in wrong:
        log_p = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    if "log_2" in wrong:
        log_p = log_p / np.log(2)
    scores = total[:, None] + log_p
    if "no_total" in wrong:
        scores = log_p
    if "product" in wrong:
        scores = total[:, None] * log_p
    if "exp_total" in wrong:
        scores = np.exp(total)[:, None] + log_p
    if "first_total" in wrong:
        scores = total[0] + log_p
    if "mean" in wrong:
        scores = scores / 2
    flat = scores.reshape(-1)
    order = np.argsort(flat if "worst" in wrong else -flat, kind="stable")
    if "best_of_each" in wrong:  # every text is continued by its best token only
        order = np.array([r * V + int(scores[r].argmax()) for r in range(R)])
        order = order[np.argsort(-flat[order], kind="stable")]
        order = np.concatenate([order, np.argsort(-flat, kind="stable")])
    if "best_text_only" in wrong:
        inside = int(total.argmax())
        order = np.concatenate([[i for i in order if i // V == inside], [i for i in order if i // V != inside]])
    best = order[:K].astype(int)
    if "ascending" in wrong:
        best = best[::-1]
    if "in_place_order" in wrong:
        best = np.sort(best)
    r, w = best // V, best % V
    if "by_R" in wrong:
        r, w = best // R, best % R
    if "turned" in wrong:
        r, w = w, r
    if "from_1" in wrong:
        r, w = r + 1, w + 1
    found = flat[best]
    if "log_p_only" in wrong:
        found = log_p.reshape(-1)[best]
    if "as_probabilities" in wrong:
        found = np.exp(found)
    return found, r, w


MISTAKES = """  key · what it looks like · a question
logits · the logits are added as they are, without log softmax ·
    the logits of one text are all larger by 50 than those of another: is that text more probable?
probabilities · probabilities are added to sums of logarithms ·
    which operation on probabilities becomes a sum for logarithms?
over_texts · the softmax runs over the texts, not over the tokens ·
    which numbers must sum to 1: those of one text, or those of one token?
over_all · one softmax runs over the tokens of all texts together ·
    P(w ∣ text) is a distribution for each text: how many sums of 1 are there?
overflow · exp is applied to the logits as they are ·
    what does a computer return for exp(1000)?
log_2 · the new logarithms have base 2, and those in `total` have base e ·
    may logarithms of different bases be added?
no_total · the texts so far do not count: only the new token's probability does ·
    is a likely token after a very unlikely text a good text?
product · the logarithms are multiplied ·
    which operation on probabilities becomes a sum for logarithms?
exp_total · the text's probability is added to the token's logarithm ·
    `total` holds logarithms already: what does exp of it do in a sum?
first_total · the sum of the first text is used for all texts ·
    total has the shape [R]: which axis of the scores [R, V] does it belong to?
mean · the scores are halved, as if every text had two tokens ·
    do you know how many tokens each text has?
worst · the least probable continuations are kept ·
    in which order does argsort sort numbers?
best_of_each · every text is continued by its best token first ·
    can two of the K best texts begin with the same text?
best_text_only · the continuations of the best text come first, whatever the others score ·
    can the second-best text have a continuation that beats those of the best one?
ascending · the best text comes last ·
    what does the task say about the order?
in_place_order · the K best come in the order of the table, not by their score ·
    what does the task say about the order?
by_R · the place in the flat list is divided by the number of texts, not by the size of the vocabulary ·
    how many places does one text take in scores.reshape(-1)?
turned · text and token are exchanged ·
    the flat list goes through row 0 first: is the quotient the row or the column?
from_1 · texts and tokens are counted from 1 ·
    which row is total[0]?
log_p_only · the scores that come back lack the texts' own sums ·
    what will the next step add its logarithms to?
as_probabilities · the scores come back as probabilities ·
    what will the next step add its logarithms to?
"""


def loops(total, z, K):
    every = []
    for r in range(len(z)):
        log_total = np.logaddexp.reduce(z[r])
        every += [(total[r] + z[r, w] - log_total, r, w) for w in range(z.shape[1])]
    every.sort(key=lambda one: -one[0])
    return tuple(np.array([one[i] for one in every[:K]]) for i in range(3))


def by_lexsort(total, z, K):
    scores = total[:, None] + log_softmax(z)
    r, w = np.indices(z.shape)
    order = np.lexsort((w.ravel(), r.ravel(), -scores.ravel()))[:K]
    return scores.ravel()[order], r.ravel()[order], w.ravel()[order]


def one_at_a_time(total, z, K):
    left, found = total.reshape(-1, 1) + log_softmax(z), []
    for _ in range(K):
        place = np.unravel_index(np.argmax(left), left.shape)
        found.append((left[place], *place))
        left[place] = -np.inf
    score, r, w = zip(*found, strict=True)
    return np.array(score), np.array(r), np.array(w)


def each_then_all(total, z, K):
    """At most K continuations of each text, and the best K of those."""
    log_p = log_softmax(z)
    few = np.argsort(-log_p, axis=1)[:, :K]  # [R, ≤ K]
    scores = total[:, None] + np.take_along_axis(log_p, few, axis=1)
    order = np.argsort(-scores, axis=None)[:K]
    return scores.ravel()[order], order // few.shape[1], few.ravel()[order]


def case(rng, R, V, K, far=20.0):
    """Logits with another level for each text, and sums that decide about as much as the tokens do."""
    z = rng.normal(size=(R, V)) * 1.5 + rng.normal(size=(R, 1)) * far
    total = -1.0 - rng.permutation(R) * 0.6 - rng.uniform(0, 0.1, size=R)
    return {"total": total, "z": z, "K": K}


EXERCISE = Exercise(
    target="minilm.formulas.generation.beam_step",
    section=("17", "Searching instead of drawing"),
    task="A search with K beams has R texts, with the sum of the log probabilities of each. Every text can be continued by every "
    "token of the vocabulary. Find the K most probable of these R·V longer texts: their scores, the best first, and for each "
    "one the number of its text and its new token.",
    returns={"score": "beam", "r": "beam", "w": "beam"},
    tiny=lambda: {"total": np.array([-1.0, -1.5]), "z": np.log([[0.6, 0.3, 0.1], [1.8, 0.1, 0.1]]), "K": 3},
    probes=lambda rng: {
        "two texts": case(rng, 2, 5, 4),
        "more texts than tokens": case(rng, 6, 4, 5),
        "a larger vocabulary": case(rng, 3, 11, 7),
    },
    edges=lambda rng: {
        "the first step: one text, log 1 = 0": {"total": np.zeros(1), "z": rng.normal(size=(1, 6)), "K": 3},
        "all continuations": case(rng, 2, 3, 6),
        "logits of a thousand": raised(case(rng, 3, 5, 4)),
        "one beam": case(rng, 4, 5, 1),
        "a token that may not come": {
            "total": np.array([-0.5, -0.7]),
            "z": np.array([[0.3, -np.inf, 1.1], [0.2, 0.9, -np.inf]]),
            "K": 4,
        },
    },
    properties=(
        Property(
            "the same number added to all logits of a text changes nothing",
            lambda rng: {"once": case(np.random.default_rng(5), 3, 4, 5, 0.0), "and 7 more": shifted()},
            lambda once, more: np.allclose(once[0], more[0]) and (once[1] == more[1]).all(),
        ),
    ),
    needs=("log_softmax",),
    forbidden=("generation.beam_step", "generation.beam_search"),
    steps=(
        "the score of every continuation [R, V]",
        "the places of the K best among all R·V of them, the best first",
        "the text and the token of each place",
    ),
    right={
        "loops": loops,
        "lexsort": by_lexsort,
        "one at a time": one_at_a_time,
        "the best of each, then of all": each_then_all,
    },
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "The probability of a text is a product, so its logarithm is a sum: the old sum plus the logarithm of the new token's "
        "probability. The K best are looked for among the continuations of all texts together; one text may give several of "
        "them, and another one none.",
        "log softmax of z along the tokens [R, V] → plus total, one number per row → [R, V] scores → as one list [R·V] → the K "
        "largest, in order → the quotient and the remainder by V are the row and the token.",
        "s = total as a column, plus log softmax of z by rows;  i = indices that sort the flat s from large to small, the first "
        "K;  score = flat s at i;  r = i divided by V, rounded down;  w = the rest",
    ),
)


def raised(inputs):
    return inputs | {"z": inputs["z"] + 1e3}


def shifted():
    inputs = case(np.random.default_rng(5), 3, 4, 5, 0.0)
    return inputs | {"z": inputs["z"] + np.array([[7.0], [0.0], [-3.0]])}
