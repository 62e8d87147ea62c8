r"""Where a token stands: sinusoids, a learned table, a bias by relative position, and rotary positions.  F21.

Letters:  T query length · S key length · H heads · D size of a head · C model width · ω frequency of a pair of waves
Sources:  Vaswani et al. (2017), Attention Is All You Need, §3.5 (and BERT's learned table, Devlin et al. 2019, §3);
          Raffel et al. (2020), §2.1 (the bias in buckets); Su et al. (2021), RoFormer, §3 (rotary positions).

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


def bucket(offset: ArrayLike, buckets: int = 32, farthest: int = 128) -> np.ndarray | np.integer:
    r"""The bucket of each offset s − t, of any shape, from 0 to `buckets` − 1.  F21.

    With n = |s − t| and E = `buckets` / 4, the near distances have a bucket each, and the far ones share buckets that grow:

        n if n < E,   otherwise min(E + ⌊E · log(n / E) / log(farthest / E)⌋, 2E − 1),   and 2E more if the key stands after.

    So bucket E + j begins at the distance E (farthest / E)^{j/E}: each begins a constant factor beyond the one before.
    Raises InputError if `buckets` is not a multiple of 4, `farthest` is not above E, or an offset is not an integer.
    """
    check_buckets(buckets, farthest)
    n, E = np.abs(check_offset("offset", offset)), buckets // 4
    growth = E * np.log(np.maximum(n, 1) / E) / np.log(farthest / E)
    # A distance at which a bucket begins, such as 16 or 32, may come out a hair below it: 1e-9 is more than that hair.
    far = np.minimum(E + np.floor(growth + 1e-9).astype(int), 2 * E - 1)
    return np.where(n < E, n, far) + 2 * E * (np.asarray(offset) > 0)


def relative_bias(table: np.ndarray, T: int, S: int, farthest: int = 128) -> np.ndarray:
    r"""b[h, t, s] = table[bucket(s − t), h] [H, T, S]: what head h adds to q_t · k_s / √D before the softmax.  F21.

    `table` [buckets, H] is learned. The bias depends on the distance and its direction, not on where in the text the two
    tokens stand. Raises InputError as `bucket` does, and for a length below 1.
    """
    return np.moveaxis(table[bucket_of_pairs(table, T, S, farthest)], -1, 0)


def relative_bias_gradient(table: np.ndarray, T: int, S: int, dZ: np.ndarray, farthest: int = 128) -> np.ndarray:
    r"""∂L/∂table [buckets, H] for the gradient `dZ` [.., H, T, S] of the scores Z = Q Kᵀ / √D + b.  F21.

    ∂Z[h, t, s] / ∂table[i, h] = 1[i = bucket(s − t)], so ∂L/∂table[i, h] is the SUM of dZ[.., h, t, s] over all pairs (t, s)
    of bucket i, and over the texts of a batch. `softmax_gradient` (F18) gives dZ.
    Raises InputError as `relative_bias` does, and also if `dZ` does not have the shape of the scores.
    """
    index, H = bucket_of_pairs(table, T, S, farthest), table.shape[1]
    if np.shape(dZ)[-3:] != (H, T, S):
        raise InputError(f"dZ has shape {list(np.shape(dZ))}, but must end in the shape of the bias, {[H, T, S]}.")
    gradient = np.zeros(table.shape)
    np.add.at(gradient, index, np.moveaxis(dZ.reshape(-1, H, T, S).sum(axis=0), 0, -1))
    return gradient


def rotate(X: np.ndarray, position: ArrayLike, base: float = 10000.0) -> np.ndarray:
    r"""Y = R_m X [.., T, D]: the pair (xᵢ, xᵢ₊D/₂) is turned by mωᵢ, where m is the `position` [.., T] of the vector.  F21.

        yᵢ = xᵢ cos mωᵢ − xᵢ₊D/₂ sin mωᵢ,   yᵢ₊D/₂ = xᵢ sin mωᵢ + xᵢ₊D/₂ cos mωᵢ,   ωᵢ = base^{−2i/D}

    Queries and keys are turned, values are not. (R_t q) · (R_s k) = qᵀ R_tᵀ R_s k = qᵀ R_{s−t} k, because turning back by tω
    and then forward by sω is one turn by (s − t)ω. So the scores depend on s − t alone, while no vector changes its length.
    Raises InputError for an odd D, and if `position` does not fit.
    """
    D = np.shape(X)[-1]
    check_pairs(D, "D")
    position = check_offset("position", position)
    if position.shape != np.shape(X)[np.ndim(X) - 1 - position.ndim : -1]:
        wanted = list(np.shape(X)[:-1])
        raise InputError(f"position has shape {list(position.shape)}, but must have one entry per vector, {wanted}.")
    angle = position[..., None] * base ** (-np.arange(0, D, 2) / D)  # mω [.., T, D/2]
    first, second = X[..., : D // 2], X[..., D // 2 :]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def rotate_gradient(position: ArrayLike, dY: np.ndarray, base: float = 10000.0) -> np.ndarray:
    r"""∂L/∂X = R_{−m} ∂L/∂Y [.., T, D] for `dY` [.., T, D]: the gradient is turned by the opposite angle.  F21.

    Y = R_m X is linear, so dX = R_mᵀ dY. The transpose of a rotation is its inverse, the rotation by −m. The positions and
    ω have no gradient, because nothing in them is learned. Raises InputError as `rotate` does.
    """
    return rotate(dY, -np.asarray(position), base)


def bucket_of_pairs(table: np.ndarray, T: int, S: int, farthest: int) -> np.ndarray:
    """The bucket of each pair of query t and key s [T, S]."""
    check_shape("table", table, "buckets H")
    for name, length in (("T", T), ("S", S)):
        if length < 1:
            raise InputError(f"{name} is {length}, but a length must be a whole number of at least 1.")
    return np.asarray(bucket(np.arange(S) - np.arange(T)[:, None], len(table), farthest))


def check_buckets(buckets: int, farthest: int) -> None:
    if buckets < 4 or buckets % 4:
        raise InputError(f"buckets must be a multiple of 4, not {buckets}: two directions, each near and far.")
    if farthest <= buckets // 4:
        raise InputError(f"farthest must be above {buckets // 4} with {buckets} buckets, not {farthest}.")


def check_offset(name: str, offset: ArrayLike) -> np.ndarray:
    offset = np.asarray(offset)
    if offset.dtype.kind not in "iu":
        raise InputError(f"{name} has the type {offset.dtype}, but tokens are counted: give whole numbers.")
    return offset.astype(int)


def check_table(table: np.ndarray, index: np.ndarray) -> None:
    check_shape("table", table, "V C")
    check_not_empty("index", index)
    check_classes("index", index, len(table))


def check_pairs(C: int, letter: str = "C") -> None:
    if C < 2 or C % 2:
        raise InputError(f"{letter} is {C}, but waves come in pairs here: give an even width of at least 2.")
