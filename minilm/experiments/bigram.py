r"""A language model that counts: P(w ∣ v) by interpolated Kneser–Ney.  F23.

Letters:  V vocabulary · v the token before · w the next token · n_vw how often w follows v · δ discount
Source:   Chen and Goodman (1999), An empirical study of smoothing techniques for language modeling, §3.
"""

from collections.abc import Iterable

import numpy as np
import torch

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED

DISCOUNTS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


class Bigram:
    r"""P(w ∣ v) = (max(n_vw − δ, 0) + δ · |{w': n_vw' > 0}| · q(w)) / n_v,   q(w) ∝ |{v': n_v'w > 0}| + 1.

    Every pair that was seen gives δ of its count to the tokens that were not seen after v. They share it by q, which asks after
    how many different tokens w occurs, and not how often. A token v that was never seen before another one has q itself.
    Raises InputError unless 0 < δ < 1.
    """

    def __init__(self, before: np.ndarray, after: np.ndarray, V: int, discount: float = 0.75):
        if not 0 < discount < 1:
            raise InputError(f"discount {discount} must be between 0 and 1: it is taken from counts of 1 and more.")
        self.V, self.discount = V, discount
        self.pairs, self.n = np.unique(before.astype(np.int64) * V + after, return_counts=True)  # v·V + w, sorted
        v, w = np.divmod(self.pairs, V)
        self.n_v = np.bincount(v, self.n, V)  # [V] how often v stands before a token
        self.kinds = np.bincount(v, minlength=V)  # [V] how many different tokens follow v
        q = np.bincount(w, minlength=V) + 1.0
        self.q = q / q.sum()

    def probability(self, v: np.ndarray, w: np.ndarray) -> np.ndarray:
        """P(w ∣ v) for pairs [N]."""
        v, w = v.astype(np.int64), w.astype(np.int64)
        pair = v * self.V + w
        place = np.minimum(np.searchsorted(self.pairs, pair), len(self.pairs) - 1)
        n = np.where(self.pairs[place] == pair, self.n[place], 0)
        left = np.maximum(n - self.discount, 0) + self.discount * self.kinds[v] * self.q[w]
        return np.where(self.n_v[v] > 0, left / np.maximum(self.n_v[v], 1), self.q[w])

    def loss(self, batches: Iterable[Batch]) -> float:
        """The mean of −log P over the labels of `batches`, in nats."""
        v, w = labelled_pairs(batches)
        return float(-np.log(self.probability(v, w)).mean())


def labelled_pairs(batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that count, w [N], and the token before each of them, v [N]."""
    v, w = [], []
    for batch in batches:
        assert batch.labels is not None
        counted = batch.labels[:, 1:] != IGNORED
        v.append(batch.input_ids[:, :-1][counted])
        w.append(batch.labels[:, 1:][counted])
    return torch.cat(v).numpy(), torch.cat(w).numpy()


def best_bigram(train: Iterable[Batch], development: Iterable[Batch], V: int) -> Bigram:
    """The bigram model of `train` with the discount that is best on `development`."""
    (v, w), development = labelled_pairs(train), list(development)
    models = [Bigram(v, w, V, discount) for discount in DISCOUNTS]
    return min(models, key=lambda model: model.loss(development))
