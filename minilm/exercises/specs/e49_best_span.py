r"""The best answer in a text.  F28.  25 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed(start, end, inside, longest, wrong=frozenset()):
    B, T = start.shape
    if "inverted" in wrong:
        inside = ~inside
    s_inside = np.ones_like(inside) if wrong & {"outside", "start_outside"} else inside
    e_inside = np.ones_like(inside) if wrong & {"outside", "end_outside"} else inside
    nothing = 0.0 if "zero_mask" in wrong else -np.inf
    s, e = np.where(s_inside, start, nothing), np.where(e_inside, end, nothing)
    if "smallest" in wrong:
        s, e = np.where(s_inside, -start, nothing), np.where(e_inside, -end, nothing)
    if "start_twice" in wrong:
        e = np.where(e_inside, start, nothing)
    if "exchanged" in wrong:
        s, e = e, s
    most = {"no_length": T, "one_longer": longest + 1, "one_shorter": max(1, longest - 1)}
    limit = next((most[key] for key in most if key in wrong), longest)
    i, j = np.indices((T, T))
    legal = (j >= i) & (j < i + limit)
    if "strict" in wrong:
        legal = (j > i) & (j < i + limit) | (T == 1)
    if "any_order" in wrong:
        legal = np.abs(j - i) < limit
    if "backwards" in wrong:
        legal = (j <= i) & (j > i - limit)
    if "independent" in wrong:
        legal = np.ones((T, T), bool)
    scores = s[:, :, None] + e[:, None, :]
    if "product" in wrong:
        with np.errstate(invalid="ignore"):
            scores = np.where(s_inside[:, :, None] & e_inside[:, None, :], s[:, :, None] * e[:, None, :], -np.inf)
    if "per_token" in wrong:
        scores = scores / (np.abs(j - i) + 1)
    if "whole_span" in wrong:  # the scores of all tokens between count, too
        total = np.cumsum(np.where(inside, start + end, 0.0), axis=1)
        before = np.concatenate([np.zeros((B, 1)), total[:, :-1]], axis=1)
        both = s_inside[:, :, None] & e_inside[:, None, :]
        scores = np.where(both, total[:, None, :] - before[:, :, None], -np.inf)
    scores = np.where(legal, scores, -np.inf)
    if "one_for_all" in wrong:
        with np.errstate(invalid="ignore"):
            scores = np.repeat(scores.sum(axis=0, keepdims=True), B, axis=0)
    if "greedy_start" in wrong:
        scores[np.arange(T)[None, :] != s.argmax(1)[:, None]] = -np.inf
    if "greedy_end" in wrong:
        scores.transpose(0, 2, 1)[np.arange(T)[None, :] != e.argmax(1)[:, None]] = -np.inf
    flat = scores.reshape(B, T * T)
    best = flat.argmax(1)
    if "last_of_equals" in wrong:
        best = T * T - 1 - flat[:, ::-1].argmax(1)
    first, last = np.divmod(best, T)
    if "behind" in wrong:
        last = last + 1
    if "length" in wrong:
        last = last - first + 1
    if "from_1" in wrong:
        first, last = first + 1, last + 1
    if "in_the_text" in wrong:
        shift = inside.argmax(1)
        first, last = first - shift, last - shift
    if "turned" in wrong:
        first, last = last, first
    return np.stack([first, last], axis=1)


def loops(start, end, inside, longest):
    out = []
    for s, e, here in zip(start, end, inside):
        best, place = None, None
        for i in range(len(s)):
            for j in range(i, min(len(s), i + longest)):
                if here[i] and here[j] and (best is None or s[i] + e[j] > best):
                    best, place = s[i] + e[j], (i, j)
        out.append(place)
    return np.array(out)


def by_pairs(start, end, inside, longest):
    """List the legal pairs in order, and take the first of the best."""
    T = start.shape[1]
    pairs = [(i, j) for i in range(T) for j in range(i, T) if j - i < longest]
    i, j = np.array(pairs).T
    scores = np.where(inside[:, i] & inside[:, j], start[:, i] + end[:, j], -np.inf)
    return np.array(pairs)[scores.argmax(axis=1)]


def by_length(start, end, inside, longest):
    """Every length at once: shift the ends against the starts, and keep what is better, or as good and earlier."""
    B, T = start.shape
    s, e = np.where(inside, start, -np.inf), np.where(inside, end, -np.inf)
    best, out = np.full(B, -np.inf), np.zeros((B, 2), dtype=int)
    for n in range(min(longest, T)):
        scores = s[:, : T - n] + e[:, n:]
        i = scores.argmax(axis=1)
        top = scores.max(axis=1)
        for b in range(B):
            better = top[b] > best[b] or (top[b] == best[b] and (i[b], i[b] + n) < tuple(out[b]))
            if np.isfinite(top[b]) and better:
                best[b], out[b] = top[b], (i[b], i[b] + n)
    return out


def made(rng, B, T, longest, whole=False, ties=False, front=2):
    """Scores, with a question of `front` tokens before the text and a token behind it."""
    inside = np.zeros((B, T), dtype=bool)
    inside[:, front : max(front + 1, T - 1)] = True
    if not whole:
        inside[:, front + 1 : T - 2] &= rng.random((B, max(0, T - 3 - front))) < 0.8
    start, end = rng.normal(loc=-2.0, scale=2.0, size=(2, B, T))
    if ties:
        start, end = np.round(start / 2), np.round(end / 2)
    else:  # the question scores high
        start[:, :front] += 3
        end[:, :front] += 3
    return {"start": start, "end": end, "inside": inside, "longest": longest}


def probes(rng):
    return {
        "a text between a question and a last token": made(rng, 9, 12, 4),
        "a long text and short answers": made(rng, 12, 17, 2),
        "equal sums": made(rng, 14, 9, 3, ties=True),
        "answers as long as the text": made(rng, 8, 11, 30, whole=True),
        "no question in front": made(rng, 7, 8, 3, front=0),
    }


def edges(rng):
    one = made(rng, 3, 6, 4)
    one["inside"] = np.eye(6, dtype=bool)[[1, 4, 5]]
    large = made(rng, 4, 7, 3)
    large["start"], large["end"] = large["start"] - 1e4, large["end"] - 1e4
    return {
        "one token inside": one,
        "answers of one token": made(rng, 6, 7, 1),
        "a row of one token": {**made(rng, 2, 1, 3), "inside": np.ones((2, 1), dtype=bool)},
        "logits far below zero": large,
    }


MISTAKES = """  key · what it looks like · a question
independent · the best start and the best end are looked for on their own ·
    can the end stand before the start?
any_order · an answer may end before it begins ·
    which of i and j is the larger one?
backwards · every answer ends before it begins ·
    which of i and j is the larger one?
greedy_start · the best start is fixed first, then the best end behind it ·
    may a slightly worse start have a much better end?
greedy_end · the best end is fixed first, then the best start before it ·
    may a slightly worse end have a much better start?
outside · tokens of the question count as well ·
    which tokens does `inside` exclude?
start_outside · an answer may begin outside the text ·
    for how many of the two borders does `inside` have to hold?
end_outside · an answer may end outside the text ·
    for how many of the two borders does `inside` have to hold?
inverted · only tokens outside the text count ·
    is `inside` True for the tokens that may be chosen, or for those that may not?
zero_mask · tokens outside get the score 0 instead of minus infinity ·
    if all logits of the text are negative, which is the largest sum?
no_length · answers may have any length ·
    what does `longest` limit?
one_longer · answers may have one token more than `longest` ·
    how many tokens are there from i to j?
one_shorter · answers may have one token less than `longest` ·
    how many tokens are there from i to j?
strict · an answer needs at least two tokens ·
    may the first token also be the last?
product · the two logits are multiplied instead of added ·
    what is the product of two very bad scores?
per_token · the sum is divided by the number of tokens ·
    does the formula know how long an answer is?
whole_span · the scores of all tokens from i to j are added up ·
    which two numbers does the formula add?
start_twice · the logits of the start are used for the end as well ·
    what is `end` for?
exchanged · the logits of start and end are exchanged ·
    which array says where an answer begins?
smallest · the span with the smallest sum is returned ·
    is a large logit good or bad?
one_for_all · all rows get the same span ·
    over which axes is the best looked for?
last_of_equals · of equal sums, the last span counts ·
    which of several best spans does the docstring ask for?
behind · the second number is the token behind the answer ·
    does the docstring ask for the last token, or for the one after it?
length · the second number is the length of the answer ·
    what are the two numbers of a row?
from_1 · tokens are counted from 1 ·
    what is the number of the first token of a row?
in_the_text · tokens are counted from the beginning of the text, not of the row ·
    from where is i counted?
turned · the last token stands before the first ·
    what are the two numbers of a row?
"""

EXERCISE = Exercise(
    target="minilm.training.span_decoding.best_spans",
    section=("21", "Answers that stand in the text"),
    task="A model gives every token a logit for being the first token of the answer, and one for being the last. Find the best "
    "answer of each row that begins and ends inside the text and is not longer than allowed.",
    returns={"spans": "row border"},
    tiny=lambda: {
        "start": np.array([[5.0, 1.0, 2.0, 0.0]]),
        "end": np.array([[4.0, 3.0, 0.0, 1.0]]),
        "inside": np.array([[False, True, True, True]]),
        "longest": 2,
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "an answer begins before it ends, and both borders are in the text",
            lambda rng: {"a text behind four tokens": made(rng, 6, 13, 5, whole=True, front=4)},
            lambda spans: bool(((spans[:, 0] <= spans[:, 1]) & (spans[:, 0] >= 4) & (spans[:, 1] < 12)).all()),
        ),
    ),
    forbidden=("best_spans",),
    steps=(
        "tokens outside can be neither the first nor the last: give them minus infinity [B, T]",
        "the score of every pair (i, j): s_i + e_j [B, T, T]",
        "pairs that end before they begin, or are too long, cannot win either",
        "the best pair of each row; of equal ones, the first",
    ),
    right={"loops": loops, "pairs": by_pairs, "length by length": by_length},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "The best start and the best end need not fit together: the end may stand before the start. So look for the best pair, "
        "among those that are allowed.",
        "s, e [B, T] with minus infinity outside → s as a column plus e as a row [B, T, T] → minus infinity where j < i or "
        "j ≥ i + longest → argmax over both axes at once → its row and its column.",
        "scores[b, i, j] = s[b, i] + e[b, j];  forbid j < i and j ≥ i + longest;  best = argmax of scores[b], read row by row;  "
        "i = best // T,  j = best % T;  return both, [B, 2]",
    ),
)
