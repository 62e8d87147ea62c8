r"""The position of a token as a vector: sinusoids, or a learned table.  F21.

Letters:  T length · C model width · ω frequency of a pair of waves
Source:   Vaswani et al. (2017), Attention Is All You Need, §3.5 (and BERT's learned table, Devlin et al. 2019, §3).

Attention needs this because, for every permutation P of the tokens, Attention(PX) = P Attention(X), since
softmax(P Z Pᵀ) P V = P softmax(Z) V. Without positions, each token would get the same vector in any order of the text.
"""

import numpy as np
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape


def frequencies(C: int) -> np.ndarray:
    r"""ωᵢ = 1 / 10000^{2i/C} [⌈C/2⌉], in radians per token: from 1 (a full turn every 2π tokens) to about 1/10000.  F21.

    Raises InputError for a width below 1.
    """
    if C < 1:
        raise InputError(f"C is {C}, but a width must be a whole number of at least 1.")
    return 10000.0 ** (-np.arange(0, C, 2) / C)


def sinusoids(T: int, C: int) -> np.ndarray:
    r"""PE(pos, 2i) = sin(pos ωᵢ),  PE(pos, 2i+1) = cos(pos ωᵢ): a table [T, C].  F21.

    Nothing in it is learned. If C is odd, the last column is a sine. Raises InputError for a length or width below 1.
    """
    if T < 1:
        raise InputError(f"T is {T}, but a length must be a whole number of at least 1.")
    angle = np.arange(T)[:, None] * frequencies(C)  # [T, ⌈C/2⌉]
    table = np.empty((T, C))
    table[:, 0::2] = np.sin(angle)
    table[:, 1::2] = np.cos(angle)[:, : C // 2]
    return table


def dot_product(offset: ArrayLike, C: int) -> np.ndarray | np.floating:
    r"""PE(t) · PE(s) = Σᵢ cos((t − s) ωᵢ) for each `offset` t − s, of any shape: only the distance matters.  F21.

    Each pair of waves adds sin tω sin sω + cos tω cos sω = cos (t − s)ω. The largest value is C/2, at offset 0, and the
    offsets +δ and −δ give the same value. Raises InputError for an odd width, whose last wave has no partner.
    """
    check_pairs(C)
    return np.cos(np.asarray(offset)[..., None] * frequencies(C)).sum(axis=-1)


def turn(offset: int | float, C: int) -> np.ndarray:
    r"""M [C, C] with PE(t + offset) = M PE(t) for every t: one linear map lets a head look `offset` tokens ahead.  F21.

    sin ω(t+δ) = cos ωδ · sin ωt + sin ωδ · cos ωt  and  cos ω(t+δ) = −sin ωδ · sin ωt + cos ωδ · cos ωt, so M rotates
    each pair by ωδ. Raises InputError for an odd width.
    """
    check_pairs(C)
    angle, M = offset * frequencies(C), np.zeros((C, C))
    even, odd = np.arange(0, C, 2), np.arange(1, C, 2)
    M[even, even], M[even, odd] = np.cos(angle), np.sin(angle)
    M[odd, even], M[odd, odd] = -np.sin(angle), np.cos(angle)
    return M


def look_up(table: np.ndarray, index: np.ndarray) -> np.ndarray:
    r"""Y = table[index] [.., C] for a learned `table` [V, C] and `index` [..] of positions or token ids.  F21.

    Row v is the vector of position v. The result equals the product of a one-hot row and the table, but without the work
    of that product. Raises InputError for an index outside the table.
    """
    check_table(table, index)
    return table[index]


def look_up_gradient(table: np.ndarray, index: np.ndarray, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂table [V, C] for ∂L/∂Y = `dY` [.., C]: row v is the SUM of dY over all places that used row v.  F21.

    Y = onehot(index) table, so d table = onehot(index)ᵀ dY. If several places share a row, `gradient[index] += dY` would
    keep only one of them; `np.add.at` adds them all. The index has no gradient.
    Raises InputError as `look_up` does, and also if `dY` does not have the shape of Y.
    """
    check_table(table, index)
    if np.shape(dY) != (*np.shape(index), table.shape[1]):
        wanted = [*np.shape(index), table.shape[1]]
        raise InputError(f"dY has shape {list(np.shape(dY))}, but must have the shape of Y, {wanted}.")
    gradient = np.zeros(table.shape)
    np.add.at(gradient, index, dY)
    return gradient


def check_table(table: np.ndarray, index: np.ndarray) -> None:
    check_shape("table", table, "V C")
    check_not_empty("index", index)
    check_classes("index", index, len(table))


def check_pairs(C: int) -> None:
    if C < 2 or C % 2:
        raise InputError(f"C is {C}, but waves come in pairs here: give an even width of at least 2.")
