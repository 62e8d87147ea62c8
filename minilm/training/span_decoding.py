r"""From the logits of start and end to the answer.  F28.

Letters:  B rows · T tokens of a row
Source:   Devlin et al. (2019), BERT, §4.2: the span (i, j) with the largest sᵢ + eⱼ, where j ≥ i.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from minilm.errors import InputError


def best_spans(
    start: Float[np.ndarray, "B T"], end: Float[np.ndarray, "B T"], inside: Bool[np.ndarray, "B T"], longest: int
) -> Int[np.ndarray, "B 2"]:
    r"""The first and the last token of the best answer of each row.  F28.

        argmax over (i, j) of  s_i + e_j   with   i ≤ j < i + longest   and both tokens inside

    `start` and `end` are the logits s and e, `inside` says which tokens belong to the text, and `longest` is the most tokens of
    an answer. Of several spans with the same sum, the first counts: the smallest i, and then the smallest j.
    Raises InputError if a row has no token inside, or if `longest` is below 1.
    """
    check_spans(inside, longest)
    B, T = start.shape
    s, e = np.where(inside, start, -np.inf), np.where(inside, end, -np.inf)
    scores = s[:, :, None] + e[:, None, :]  # [B, T, T]
    i, j = np.indices((T, T))
    scores[:, (j < i) | (j >= i + longest)] = -np.inf
    best = scores.reshape(B, T * T).argmax(axis=1)  # the first of equals
    return np.stack(np.divmod(best, T), axis=1)


def check_spans(inside: Bool[np.ndarray, "B T"], longest: int) -> None:
    """Raises InputError if a row has no token inside, or if `longest` is below 1."""
    if longest < 1:
        raise InputError(f"longest must be at least 1 token, not {longest}.")
    if not inside.any(axis=1).all():
        raise InputError(f"row {int(inside.any(axis=1).argmin())} has no token of the text: give at least one.")
