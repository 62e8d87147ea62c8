r"""What attention and recurrence cost, in multiplications and in sequential steps.  F22.

Letters:  T length of the sequence · d width of a vector
Source:   Vaswani et al. (2017), Attention Is All You Need, §4, table 1.

We count the multiplications of two numbers inside the matrix products of ONE layer, on ONE sequence, in the forward
pass. We do not count additions (there are as many), softmax, tanh and other element-wise functions (T² or T·d of them,
which is of lower order), biases, or the backward pass (about twice the forward pass in both cases).
"""

from numbers import Integral  # NumPy's whole numbers too
from typing import Any

from minilm.errors import InputError

KINDS = ("attention", "recurrence")


def attention_cost(T: int | Integral, d: int | Integral, projections: bool = False) -> int:
    r"""2·T²·d multiplications (the T²·d of F22): T²·d for the scores Q Kᵀ and T²·d for weights · V.

    The heads share the width d, so their number cancels. `projections=True` adds the four products with W^Q, W^K, W^V
    and W^O, each T·d². F22 leaves them out, but they are the larger part until T > 2d.

    Raises InputError unless T and d are whole numbers of at least 1.
    """
    T, d = whole_sizes(T=T, d=d)
    return 2 * T * T * d + (4 * T * d * d if projections else 0)


def recurrence_cost(T: int | Integral, d: int | Integral) -> int:
    r"""2·T·d² multiplications (the T·d² of F22): W_h hₜ₋₁ and W_x xₜ need d·d each, at each of T steps.  F09.

    Input and state both have the width d. A GRU needs three times as many and an LSTM four times as many: one such pair
    of products for each gate and for the candidate.

    Raises InputError unless T and d are whole numbers of at least 1.
    """
    T, d = whole_sizes(T=T, d=d)
    return 2 * T * d * d


def sequential_steps(T: int | Integral, kind: str) -> int:
    r"""Number of steps that must run one after another: 1 for attention, T for recurrence.  F22.

    hₜ needs hₜ₋₁, so no machine can run the T steps of a recurrence in parallel, whereas all T queries of attention can
    run at once. The same number is the path length from the first token to the last.

    Raises InputError unless `kind` is "attention" or "recurrence" and T is a whole number of at least 1.
    """
    (T,) = whole_sizes(T=T)
    if kind not in KINDS:
        raise InputError(f"kind '{kind}' is not known: choose one of {', '.join(KINDS)}.")
    return 1 if kind == "attention" else T


def whole_sizes(**sizes: Any) -> list[int]:
    """The sizes as Python ints, which never overflow (NumPy's do, silently). Raises InputError if one is not 1, 2, 3, …"""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise InputError(f"{name} is {size!r}, but it must be a whole number of at least 1.")
    return [int(size) for size in sizes.values()]
