r"""An n-gram model with interpolated, modified Kneser–Ney smoothing: the best of the models that only count.  F23.

Letters:  T length · V vocabulary · N order, the tokens that are counted together · w token ids · h context · a count · D discount
Source:   Chen and Goodman (1999), An Empirical Study of Smoothing Techniques for Language Modeling, §3 and §5.

    P_n(w ∣ h) = max(a(h w) − D(a), 0) / a(h)  +  γ(h) P_{n−1}(w ∣ h without its first token),      P_0(w) = 1/V

a(h) = Σ_w a(h w), and γ(h) is what the discounts took from the tokens after h, so that P sums to 1. The longest n-grams count
how often they occur. All shorter ones count after how many *different* tokens they occur: "Francisco" is frequent, but only
after "San", so it deserves little in a context of which nothing is known.
"""

from collections.abc import Sequence

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_shape

FALLBACK = (0.5, 1.0, 1.5)  # where a text is too short to say how much to discount


def framed(documents: Sequence[np.ndarray], begin: int, end: int, N: int) -> np.ndarray:
    """The documents as one text [T]: N − 1 tokens `begin` before each, so that no context reaches into the document before it,
    and `end` behind it."""
    frame = np.full(N - 1, begin), np.array([end])
    parts = [np.zeros(0, np.int64)] + [part for document in documents for part in (frame[0], document, frame[1])]
    return np.concatenate(parts).astype(np.int64)


def discounts(a: np.ndarray) -> tuple[float, float, float]:
    r"""D₁, D₂, D₃₊: how much is taken from n-grams with a count of 1, of 2, and of 3 or more, for the counts `a`.  F23.

    Dᵢ = i − (i + 1) Y nᵢ₊₁/nᵢ,  Y = n₁/(n₁ + 2 n₂),  where nᵢ n-grams have the count i; each is kept between 0 and i.
    """
    n = np.bincount(np.minimum(a, 5), minlength=6)
    if not n[1:5].all():
        return FALLBACK
    Y = n[1] / (n[1] + 2 * n[2])
    one, two, three = (float(np.clip(i - (i + 1) * Y * n[i + 1] / n[i], 0, i)) for i in (1, 2, 3))
    return one, two, three


class KneserNey:
    r"""P(w ∣ the N − 1 tokens before it) by counting in the text `w` [T], which is `framed`.  F23.

    The token `begin` is never predicted.

    `D` are the three discounts of each order, the shortest first; without it they are computed from the counts.
    Raises InputError for an order below 1, an id outside 0 … V − 1, and a text that does not begin with its frame or has
    nothing to predict.
    """

    def __init__(self, w: np.ndarray, V: int, N: int, begin: int, D: Sequence[Sequence[float]] | None = None):
        self.V, self.N, self.begin = V, N, begin
        predicted = self.predicted(w)
        if not predicted.any():
            raise InputError("w holds no token to predict: give a text with at least one document.")
        ids, one_place = [np.zeros(len(w), np.int64)], []  # ids[n]: the n tokens that end at each place, as one number
        # keys[n]: one number for each n-gram of n + 1 tokens, in order: V times that of its context, plus its last token
        self.keys: list[np.ndarray] = []
        for n in range(N):
            keys, places, numbers = np.unique(before(ids[n]) * V + w, return_index=True, return_inverse=True)
            self.keys.append(keys)
            one_place.append(places)
            ids.append(numbers)
        self.counts, self.totals, self.gammas, self.D = [], [], [], []
        for n in range(N):
            # the longest n-grams are counted at all places, a shorter one at one place of each longer one that ends with it
            places = np.arange(len(w)) if n == N - 1 else one_place[n + 1]
            a = np.bincount(ids[n + 1][places[predicted[places]]], minlength=len(self.keys[n]))
            self.D.append(np.array([0.0, *(discounts(a) if D is None else D[n])]))
            h, contexts = self.keys[n] // V, 1 if n == 0 else len(self.keys[n - 1])
            self.counts.append(a)
            self.totals.append(np.bincount(h, a, contexts))
            taken = np.bincount(h, np.minimum(self.D[n][np.minimum(a, 3)], a), contexts)
            self.gammas.append(taken / np.maximum(self.totals[n], 1))

    def probabilities(self, w: np.ndarray) -> np.ndarray:
        r"""P(w_t ∣ the N − 1 tokens before it) for each token of the `framed` text `w` [T] that is not `begin`, in order.

        Raises InputError for an id outside 0 … V − 1, and a text that does not begin with its frame.
        """
        return self.everywhere(w)[self.predicted(w)]

    def everywhere(self, w: np.ndarray) -> np.ndarray:
        """P at every place of `w` [T], also where it is `begin`."""
        p = np.full(len(w), 1 / self.V)
        h = np.zeros(len(w), np.int64)  # the number of each place's context, −1 if it was never seen
        for n in range(self.N):
            keys, wanted = self.keys[n], h * self.V + w
            found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            seen = (h >= 0) & (keys[found] == wanted)
            known = (h >= 0) & (self.totals[n][h] > 0)  # nothing was ever seen after another context: keep p
            a = np.where(seen, self.counts[n][found], 0)
            total = np.maximum(self.totals[n][h], 1)
            kept = np.maximum(a - self.D[n][np.minimum(a, 3)], 0) / total
            p = np.where(known, kept + self.gammas[n][h] * p, p)
            h = before(np.where(seen, found, -1))
        return p

    def predicted(self, w: np.ndarray) -> np.ndarray:
        """Where `w` [T] has a token to predict, after it has been checked."""
        check_shape("w", w, "T")
        if self.N < 1:
            raise InputError(
                f"the order is {self.N}: give at least 1, for a model that knows how frequent each token is."
            )
        check_classes("w", w, self.V)
        if (np.asarray(w)[: self.N - 1] != self.begin).any():
            raise InputError(
                f"w does not begin with {self.N - 1} tokens {self.begin}: use `framed` to put them in front."
            )
        return np.asarray(w) != self.begin


def before(numbers: np.ndarray) -> np.ndarray:
    """The number at the place before each place; 0 before the first."""
    return np.concatenate([[0], numbers[:-1]])
