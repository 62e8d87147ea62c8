r"""What attention and recurrence cost, in multiplications and in steps that must wait for one another.  F22.

Letters:  T length of the sequence · d width of a vector
Source:   Vaswani et al. (2017), Attention Is All You Need, §4, table 1.

Counted are the multiplications of two numbers inside the matrix products of ONE layer, on ONE sequence, forward. Not
counted: additions (as many), softmax, tanh and the other functions at each entry (T² or T·d of them, of lower order),
biases, and the backward pass (about twice the forward one, for both).
"""

from numbers import Integral

from minilm.errors import InputError

KINDS = ("attention", "recurrence")


def attention_cost(T: Integral, d: Integral, projections: bool = False) -> int:
    r"""2·T²·d, the T²·d of F22: T²·d for the scores Q Kᵀ and T²·d for weights · V. The heads share d: their number cancels.

    With `projections` also the four products with W^Q, W^K, W^V and W^O, each T·d². They are left out of F22's order, but
    they are the larger part until T > 2d.

    Raises InputError unless T and d are whole numbers from 1.
    """
    T, d = whole_sizes(T=T, d=d)
    return 2 * T * T * d + (4 * T * d * d if projections else 0)


def recurrence_cost(T: Integral, d: Integral) -> int:
    r"""2·T·d², the T·d² of F22: W_h hₜ₋₁ and W_x xₜ, each d·d, at each of T steps; input and state of one width d (F09).

    A GRU does three times as much and an LSTM four times: one such pair of products for each gate and the candidate.

    Raises InputError unless T and d are whole numbers from 1.
    """
    T, d = whole_sizes(T=T, d=d)
    return 2 * T * d * d


def sequential_steps(T: Integral, kind: str) -> int:
    r"""How many times something must wait for a result before it: 1 for attention, T for recurrence.  F22.

    hₜ needs hₜ₋₁, so the T steps of a recurrence stand in a row whatever the machine; all T queries of attention go at
    once. It is also the way that a word must travel to reach the last one from the first.

    Raises InputError for another `kind` than "attention" or "recurrence", or a T that is no whole number from 1.
    """
    (T,) = whole_sizes(T=T)
    if kind not in KINDS:
        raise InputError(f"kind '{kind}' is not known: choose one of {', '.join(KINDS)}.")
    return 1 if kind == "attention" else T


def whole_sizes(**sizes: object) -> list[int]:
    """The sizes as Python ints, which never overflow (NumPy's do, in silence). Raises InputError below 1 or between."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
            raise InputError(f"{name} is {size!r}, but it counts things: give a whole number from 1.")
    return [int(size) for size in sizes.values()]
