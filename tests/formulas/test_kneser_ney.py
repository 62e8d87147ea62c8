"""Kneser–Ney: against its definition with loops and fractions, against nltk, and what every model of probabilities must hold."""

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from nltk.lm import KneserNeyInterpolated

from minilm.errors import InputError
from minilm.formulas.kneser_ney import FALLBACK, KneserNey, discounts, framed

BEGIN, END = 0, 1


def documents(V, seed, count=12, longest=15):
    """Texts in which a token often follows the same token, so that some n-grams are frequent."""
    rng = np.random.default_rng(seed)
    follows = rng.integers(2, V, size=V)
    texts = []
    for _ in range(count):
        text = [int(rng.integers(2, V))]
        while len(text) < rng.integers(1, longest):
            text.append(int(follows[text[-1]]) if rng.random() < 0.7 else int(rng.integers(2, V)))
        texts.append(np.array(text))
    return texts


def by_definition(texts, V, N, D):
    """P(w ∣ h) as a function, with dictionaries and fractions."""
    counts = defaultdict(Counter)  # context → token → count, for every length of context
    for text in texts:
        row = (BEGIN,) * (N - 1) + tuple(map(int, text)) + (END,)
        for j in range(N - 1, len(row)):
            counts[row[j - N + 1 : j]][row[j]] += 1
    longer = {(*h, w) for h, after in counts.items() for w in after}
    for _ in range(N - 1):
        for gram in longer:  # each different one counts once
            counts[gram[1:-1]][gram[-1]] += 1
        longer = {gram[1:] for gram in longer}

    def p(w, h):
        lower = p(w, h[1:]) if h else Fraction(1, V)
        if not counts[h]:
            return lower
        taken = {c: min(Fraction(D[len(h)][min(c, 3) - 1]), c) for c in counts[h].values()}
        total, count = sum(counts[h].values()), counts[h][w]
        own = max(count - Fraction(D[len(h)][min(count, 3) - 1]), 0) if count else 0
        return (own + sum(taken[c] for c in counts[h].values()) * lower) / total

    return p


@pytest.mark.parametrize(("N", "V", "seed"), [(1, 6, 0), (2, 9, 1), (3, 7, 2), (5, 6, 3)])
def test_F23_the_probabilities_are_those_of_the_definition(N, V, seed):
    texts, new = documents(V, seed), documents(V, seed + 100, count=5)
    D = [(0.25 + 0.05 * n, 0.75, 1.25) for n in range(N)]
    p = by_definition(texts, V, N, D)
    found = KneserNey(framed(texts, BEGIN, END, N), V, N, BEGIN, D).probabilities(framed(new, BEGIN, END, N))
    wanted = []
    for text in new:
        row = (BEGIN,) * (N - 1) + tuple(map(int, text)) + (END,)
        wanted += [float(p(row[j], row[j - N + 1 : j])) for j in range(N - 1, len(row))]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("D", [None, [(0.5, 0.9, 1.2)] * 4])
def test_F23_the_probabilities_of_all_tokens_sum_to_1(D):
    V, N = 8, 4
    model = KneserNey(framed(documents(V, 5), BEGIN, END, N), V, N, BEGIN, D)
    rng = np.random.default_rng(0)
    for context in [(BEGIN,) * 3, *(tuple(rng.integers(2, V, size=3)) for _ in range(20))]:
        after = [model.everywhere(np.array([BEGIN] * 3 + [*context, w]))[-1] for w in range(V)]
        assert min(after) > 0
        assert sum(after) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("N", [2, 3, 4])
def test_F23_nltk_counts_the_same(N):
    V, D = 7, 0.6
    texts, new = documents(V, 8), documents(V, 9, count=4)

    def grams(text):
        row = ("0",) * (N - 1) + tuple(map(str, text)) + ("1",)
        return [row[j - n + 1 : j + 1] for j in range(N - 1, len(row)) for n in range(1, N + 1)]

    theirs = KneserNeyInterpolated(N, discount=D)
    theirs.fit([grams(text) for text in texts], [str(i) for i in range(V)])
    # nltk takes nothing from single tokens, so a token that was never seen has probability 0 there
    ours = KneserNey(framed(texts, BEGIN, END, N), V, N, BEGIN, [(0, 0, 0)] + [(D, D, D)] * (N - 1))
    found = ours.probabilities(framed(new, BEGIN, END, N))
    wanted = []
    for text in new:
        row = ("0",) * (N - 1) + tuple(map(str, text)) + ("1",)
        wanted += [theirs.unmasked_score(row[j], row[j - N + 1 : j]) for j in range(N - 1, len(row))]
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_F23_a_frequent_token_that_has_one_neighbour_is_unlikely_elsewhere():
    """San Francisco: 2 3 comes often, 4 after three different tokens; where the context is new, 4 is likelier."""
    texts = [np.array([2, 3])] * 9 + [np.array([a, 4]) for a in (5, 6, 7)]
    model = KneserNey(framed(texts, BEGIN, END, 2), 9, 2, BEGIN)
    one, other = (model.probabilities(np.array([BEGIN, 8, w]))[-1] for w in (3, 4))
    assert other > 1.9 * one


def test_F23_contexts_end_where_documents_do():
    """The same documents in another order are the same text for the model, and the last token of one says nothing about the next."""
    texts = documents(9, 4)
    one, other = (KneserNey(framed(order, BEGIN, END, 3), 9, 3, BEGIN) for order in (texts, texts[::-1]))
    new = framed(documents(9, 77, count=3), BEGIN, END, 3)
    np.testing.assert_array_equal(one.probabilities(new), other.probabilities(new))
    assert (framed([np.array([5]), np.array([6, 7])], BEGIN, END, 3) == [0, 0, 5, 1, 0, 0, 6, 7, 1]).all()


def test_F23_the_discounts_are_those_of_chen_and_goodman():
    n = {1: 100, 2: 40, 3: 20, 4: 10, 9: 3}
    a = np.repeat(list(n), list(n.values()))
    Y = 100 / 180
    assert discounts(a) == pytest.approx((1 - 2 * Y * 0.4, 2 - 3 * Y * 0.5, 3 - 4 * Y * 0.5))
    assert discounts(a[a != 3]) == FALLBACK
    assert discounts(np.repeat([1, 2, 3, 4], [9, 9, 9, 90]))[2] == 0  # never below 0


def test_bad_input_is_refused():
    w = framed(documents(6, 0), BEGIN, END, 3)
    for change, says in (
        ((w, 4, 3, BEGIN), "only 4 classes"),
        ((w[1:], 6, 3, BEGIN), "does not begin with 2 tokens 0"),
        ((w, 6, 0, BEGIN), "the order is 0"),
        ((w[:2], 6, 3, BEGIN), "no token to predict"),
    ):
        with pytest.raises(InputError, match=says):
            KneserNey(*change)
    with pytest.raises(InputError, match="does not begin"):
        KneserNey(w, 6, 3, BEGIN).probabilities(np.array([3, 4]))
