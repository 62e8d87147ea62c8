r"""How good a ranked list is, if one item of it is the right one: hit@k and nDCG@k, with ties.

Letters:  p the place of the right item, counted from 1 · k the length of the list · g the items with a higher score ·
          e those with the same score

    hit@k = 1 if p ≤ k, else 0        nDCG@k = 1/log₂(1 + p) if p ≤ k, else 0

Items with equal scores stand in any order: p is g + 1, …, or g + e + 1, each as likely. Both figures are means over these
places, so that no luck with ties counts.

Source:  Järvelin and Kekäläinen (2002), Cumulated Gain-Based Evaluation of IR Techniques.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Places(NamedTuple):
    """For each list: how many items have a higher score than the right one, and how many others the same."""

    higher: Int[np.ndarray, " N"]
    equal: Int[np.ndarray, " N"]


def places_of(
    scores: Float[np.ndarray, "N I"], right: Int[np.ndarray, " N"], left_out: Bool[np.ndarray, "N I"]
) -> Places:
    """Where the right item of each list stands among those that are not left out. Raises ValueError if it is left out itself."""
    rows = np.arange(len(scores))
    if left_out[rows, right].any():
        raise ValueError("the right item of a list must not be left out.")
    own = scores[rows, right][:, None]
    return Places(((scores > own) & ~left_out).sum(axis=1), ((scores == own) & ~left_out).sum(axis=1) - 1)


def hit_at(k: int, places: Places) -> Float[np.ndarray, " N"]:
    """hit@k of each list."""
    return mean_over_ties(np.ones(k), places)


def ndcg_at(k: int, places: Places) -> Float[np.ndarray, " N"]:
    """nDCG@k of each list."""
    return mean_over_ties(1 / np.log2(1 + np.arange(1, k + 1)), places)


def mean_over_ties(gains: Float[np.ndarray, " k"], places: Places) -> Float[np.ndarray, " N"]:
    """The mean of gains[p − 1] over p = g + 1 … g + e + 1; places beyond the list gain nothing."""
    total = np.concatenate([[0.0], np.cumsum(gains)])  # total[n]: the gains of the first n places
    first, last = (np.minimum(n, len(gains)) for n in (places.higher, places.higher + places.equal + 1))
    return (total[last] - total[first]) / (places.equal + 1)
