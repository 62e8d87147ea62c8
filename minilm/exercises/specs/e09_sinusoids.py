r"""Sinusoidal positions.  F21."""

import math

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


def flawed(T, C, wrong=frozenset()):
    column = np.arange(C)
    pair = column // 2
    if "column" in wrong:
        exponent = column / C
    elif "precedence" in wrong:
        exponent = 2 * pair / C // 2
    elif "whole_numbers" in wrong:
        exponent = 2 * pair // C
    else:
        exponent = 2 * pair / C
    position = np.arange(T)[:, None] + ("from_1" in wrong)
    angle = position / (1000.0 if "thousand" in wrong else 10000.0) ** exponent
    even = column % 2 == ("swapped" in wrong)
    if "odd" in wrong:
        table = np.empty((T, C))
        table[:, 0::2] = np.sin(angle[:, 0::2])
        table[:, 1::2] = np.cos(angle[:, 0::2])  # if C is odd, this is one column too many
        return table
    if "halves" in wrong:
        angle = angle[:, 0::2]
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)[:, :C]
    return np.where(even, np.sin(angle), np.cos(angle))


def loops(T, C):
    table = np.zeros((T, C))
    for t in range(T):
        for j in range(C):
            angle = t / 10000 ** (2 * (j // 2) / C)
            table[t, j] = math.cos(angle) if j % 2 else math.sin(angle)
    return table


def a_shifted_sine(T, C):
    column = np.arange(C)
    frequency = np.exp(-math.log(10000.0) * (column - column % 2) / C)
    return np.sin(np.outer(np.arange(T), frequency) + column % 2 * math.pi / 2)  # cos x = sin(x + π/2)


def complex_numbers(T, C):
    waves = np.exp(1j * np.outer(np.arange(T), 10000.0 ** (-np.arange(0, C, 2) / C)))  # e^{ix} = cos x + i sin x
    return np.stack([waves.imag, waves.real], axis=-1).reshape(T, -1)[:, :C]


def einsum(T, C):
    angle = np.einsum("t,i->ti", np.arange(T, dtype=float), 1 / np.power(10000.0, np.arange(0, C, 2) / C))
    table = np.zeros((T, C))
    table[:, ::2], table[:, 1::2] = np.sin(angle), np.cos(angle[:, : C // 2])
    return table


def probes(rng):
    T, C = int(rng.integers(7, 12)), 2 * int(rng.integers(2, 4))
    return {"an even width": {"T": T, "C": C}, "an odd width": {"T": T + 1, "C": C + 5}, "a square": {"T": 6, "C": 6}}


def distances(table):
    """Whether PE(t) · PE(s) is the same for all pairs that are equally far apart."""
    products = table @ table.T
    return all(np.ptp(np.diagonal(products, k)) < 1e-9 for k in range(len(table)))


EXERCISE = Exercise(
    target="minilm.formulas.positions.sinusoids",
    section=("05", "Where a word stands"),
    task="Build a table with one vector per position: columns 2i and 2i + 1 hold the sine and the cosine of the same "
    "angle, pos / 10000^(2i/C). The width C may be odd; then the last column is a sine.",
    returns={"table": "position column"},
    tiny=lambda: {"T": 3, "C": 4},
    probes=probes,
    edges=lambda rng: {
        "a single position": {"T": 1, "C": 6},
        "a single column": {"T": 5, "C": 1},
        "far away": {"T": 600, "C": 2},
    },
    properties=(
        Property(
            "PE(t) · PE(s) depends only on the distance t − s",
            lambda rng: {"T = 8": {"T": 8, "C": 6}},
            lambda table: distances(table),
        ),
    ),
    forbidden=("sinusoids", "frequencies"),
    steps=(
        "the frequencies 1 / 10000^(2i/C), one for each pair of columns [⌈C/2⌉]",
        "the angles: each position times each frequency [T, ⌈C/2⌉]",
        "sines in the even columns, cosines in the odd ones",
    ),
    right={"loops": loops, "a shifted sine": a_shifted_sine, "complex numbers": complex_numbers, "einsum": einsum},
    wrong={
        "column": Wrong(
            "the exponent uses the column's own number, not that of its pair",
            "do columns 0 and 1 of your table have the same frequency?",
        ),
        "halves": Wrong(
            "all sines come first and then all cosines; they do not alternate", "which columns share one frequency?"
        ),
        "precedence": Wrong(
            "the exponent is rounded down to 0: // stands where / belongs",
            "print your exponents: are they all 0?",
            family="rounded",
        ),
        "whole_numbers": Wrong(
            "the exponent is computed by integer division, so it is 0",
            "print your exponents: are they all 0?",
            family="rounded",
        ),
        "odd": Wrong(
            "when the width is odd, the last cosine has no column",
            "how many even columns does a table of width 7 have, and how many odd ones?",
        ),
        "swapped": Wrong(
            "the cosines are in the even columns and the sines in the odd ones",
            "which row belongs to position 0: 0, 1, 0, 1 or 1, 0, 1, 0?",
        ),
        "from_1": Wrong("the positions are counted from 1", "what should the sine of the first position's angle be?"),
        "thousand": Wrong(
            "1000 stands where 10000 belongs", "how many positions does the slowest wave need for one full turn?"
        ),
    },
    flawed=flawed,
    hints=(
        "Think of the hands of a clock: each pair of columns is one hand, sine and cosine say where its tip is, and every hand "
        "is slower than the one before.",
        "np.arange(0, C, 2) gives 2i for each pair [⌈C/2⌉]; positions [T, 1] times frequencies [⌈C/2⌉] → angles [T, ⌈C/2⌉]; "
        "fill table[:, 0::2] and table[:, 1::2]; if C is odd, there is one cosine fewer.",
        "frequency = 10000.0 ** (minus arange(0, C, 2) over C);  angle = column of positions times frequency;  even columns = "
        "sin, odd columns = cos of the first C // 2",
    ),
)
