r"""8-bit numbers in place of 32: a linear layer with whole numbers, and how wrong it can be.

    s_i = max_j |W_ij| / 127,   q = round(W / s),   |W − s q| ≤ s / 2
    x Wᵀ ≈ s_x s_W (q_x q_Wᵀ)

Letters:  N rows of x · out, in sizes of the layer
Source:   Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference.
"""

import numpy as np

from minilm.formulas.checks import check_not_empty, check_shape

LARGEST = 127


def quantised_rows(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""(q [out, in] of int8, s [out]): each row of W [out, in] in whole numbers from −127 to 127, and its scale.

    q = round(W / s) with s_i = max_j |W_ij| / 127, so that |W − s q| ≤ s / 2. A row of zeros gets the scale 1. Raises
    InputError for another number of axes, and for a matrix without numbers.
    """
    check_shape("W", W, "out in")
    check_not_empty("W", W)
    largest = np.abs(W).max(axis=1)
    s = np.where(largest > 0, largest / LARGEST, 1.0)
    return np.rint(W / s[:, None]).astype(np.int8), s


def eight_bit_linear(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""x Wᵀ + b [N, out] ≈ s_x s_W (q_x q_Wᵀ) + b, computed in whole numbers: the rows of x [N, in] get 8 bits as well.

    The sums are exact, because 32 bits hold them. Raises InputError for shapes that do not fit.
    """
    check_shape("x", x, "N in", **{"in": np.shape(W)[-1]})
    check_shape("b", b, "out", out=len(W))
    (q_x, s_x), (q_W, s_W) = quantised_rows(x), quantised_rows(W)
    product = q_x.astype(np.int32) @ q_W.astype(np.int32).T  # int8 would overflow at the second term
    return product * (s_x[:, None] * s_W) + b


def largest_error(x: np.ndarray, W: np.ndarray) -> np.ndarray:
    r"""How far, at most, each number of `eight_bit_linear` is from x Wᵀ + b, [N, out].

    With x̂ = s_x q_x:  |x·w − x̂·ŵ| ≤ |x − x̂|·|w| + |x̂|·|w − ŵ| ≤ s_x/2 Σ|w| + s_w/2 Σ|x̂|. Raises InputError for shapes that
    do not fit.
    """
    check_shape("x", x, "N in", **{"in": np.shape(W)[-1]})
    (q_x, s_x), (_, s_W) = quantised_rows(x), quantised_rows(W)
    from_x = s_x[:, None] / 2 * np.abs(W).sum(axis=1)
    from_W = (np.abs(q_x.astype(float)) * s_x[:, None]).sum(axis=1)[:, None] * s_W / 2
    return from_x + from_W
