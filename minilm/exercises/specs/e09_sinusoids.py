r"""Sinusoidal positions.  F21.  25 minutes, medium."""

import math

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong, listed


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


def waves(T, C, exponent=None, base=10000.0, turn=1.0):
    """Sines in the even columns and cosines in the odd ones, with other exponents [C]."""
    column = np.arange(C)
    angle = turn * np.arange(T)[:, None] / base ** (column // 2 * 2 / C if exponent is None else exponent)
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle))


BASIC = {
    "not_doubled": lambda T, C: waves(T, C, np.arange(C) // 2 / C),
    "from_pair_1": lambda T, C: waves(T, C, (np.arange(C) // 2 + 1) * 2 / C),
    "to_the_end": lambda T, C: waves(T, C, np.arange(C) // 2 * 2 / max(C - 2, 1)),
    "minus_1": lambda T, C: waves(T, C, np.arange(C) // 2 * 2 / max(C - 1, 1)),
    "inverse": lambda T, C: waves(T, C, -(np.arange(C) // 2) * 2 / C),
    "all_sines": lambda T, C: np.sin(np.arange(T)[:, None] / 10000 ** (np.arange(C) // 2 * 2 / C)),
    "all_cosines": lambda T, C: np.cos(np.arange(T)[:, None] / 10000 ** (np.arange(C) // 2 * 2 / C)),
    "angles": lambda T, C: np.arange(T)[:, None] / 10000 ** (np.arange(C) // 2 * 2 / C),
    "turns": lambda T, C: waves(T, C, turn=2 * np.pi),
    "degrees": lambda T, C: waves(T, C, turn=np.pi / 180),
    "natural": lambda T, C: waves(T, C, base=np.e),
    "by_length": lambda T, C: waves(T, C, turn=1 / T),
    "linear": lambda T, C: waves(T, C, np.log(np.maximum(np.arange(C) // 2 * 2 / C * 1e4, 1)) / np.log(1e4)),
    "last_cosine": lambda T, C: (
        waves(T, C) * (np.arange(C) < C - C % 2)
        + (np.arange(C) >= C - C % 2) * np.cos(np.arange(T)[:, None] / 10000 ** ((C - 1) / C))
    ),
    "last_zero": lambda T, C: waves(T, C) * (np.arange(C) < C - C % 2),
    "stops_at_512": lambda T, C: waves(T, C)[np.minimum(np.arange(T), 511)],
}
MORE = """  key · what it looks like · a question
not_doubled · the exponent is i/C, not 2i/C ·
    columns 2i and 2i + 1 form pair i: is the number in the exponent i or 2i?
from_pair_1 · the pairs are counted from 1 in the exponent ·
    what should the frequency of the first pair be?
to_the_end · the exponents reach 1 at the last pair, because they are divided by C − 2 ·
    by which number does the formula divide 2i?
minus_1 · the exponents are divided by C − 1 ·
    by which number does the formula divide 2i?
inverse · the position is multiplied by 10000^(2i/C) instead of divided by it ·
    should the later pairs turn faster than the first one, or more slowly?
all_sines · all columns hold sines ·
    which row belongs to position 0: 0, 1, 0, 1 or 0, 0, 0, 0?
all_cosines · all columns hold cosines ·
    which row belongs to position 0: 0, 1, 0, 1 or 1, 1, 1, 1?
angles · these are the angles themselves, without sine and cosine ·
    between which two numbers must every entry of the table lie?
turns · the angles are multiplied by 2π ·
    how many positions does the fastest wave need for one full turn, 1 or 2π?
degrees · the angles are taken for degrees ·
    how many positions does the fastest wave need for one full turn, 360 or 2π?
natural · e stands where 10000 belongs ·
    how many positions does the slowest wave need for one full turn?
by_length · the position is divided by the length of the text ·
    should token 3 have another vector when the text grows?
linear · the wavelengths grow evenly from pair to pair, not by a constant factor ·
    2i/C is an exponent: what happens to the wavelength from one pair to the next?
last_cosine · if C is odd, the last column is a cosine ·
    is the number of the last column even or odd when C is odd, and what stands in such columns?
last_zero · if C is odd, the last column is left at 0 ·
    how many even columns does a table of width 7 have?
stops_at_512 · from position 512 on, all rows are the same ·
    does the task set a limit to the length?
"""


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
    section=("06", "Where a word stands"),
    task="Build a table with one vector per position: columns 2i and 2i + 1 hold the sine and the cosine of the same "
    "angle, pos / 10000^(2i/C). The width C may be odd; then the last column is a sine.",
    returns={"table": "position column"},
    tiny=lambda: {"T": 3, "C": 4},
    probes=probes,
    edges=lambda rng: {
        "a single position": {"T": 1, "C": 6},
        "a single column": {"T": 5, "C": 1},
        "far away": {"T": 600, "C": 2},
        "a long text": {"T": 6000, "C": 4},
        "a wide table": {"T": 3, "C": 600},
        "two columns": {"T": 4, "C": 2},
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
        **listed(MORE, BASIC.get),
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
