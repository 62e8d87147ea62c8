"""The mutants that pass, each with the reason in one line. (mutants.py makes them, quality.py looks here.)

same        the same function: no input that the exercise allows can tell them apart
not asked   a part of the library's function that this exercise leaves out, as its task says
survived    another function, and the exercise does not notice; these count against it
"""

import re
from typing import NamedTuple


class Explained(NamedTuple):
    """`pattern` is a regular expression that is looked for in the mutant's key; `exercises` are names with a space between
    them, and "" stands for all of them."""

    exercises: str
    pattern: str
    sort: str
    why: str


LOSSES = "cross_entropy label_smoothing"  # two exercises, one function of the library
SURVIVORS = (
    Explained(
        "",
        r"^swapped: (max|min|np.maximum|np.minimum)\((.+), (.+)\) → \1\(\3, \2\)",
        "same",
        "the larger or smaller of two numbers, in either order",
    ),
    Explained(
        "",
        r"^swapped: np.(add|logaddexp|broadcast)\((.+), (.+)\) → np.\1\(\3, \2\)",
        "same",
        "two numbers added, or two shapes brought together, in either order",
    ),
    Explained(
        "",
        r"^swapped: (.*)transpose\(-2, -1\) → \1transpose\(-1, -2\)",
        "same",
        "two axes change places, in either order",
    ),
    Explained(
        "cross_entropy",
        r"smoothing|log_y_hat\.mean",
        "not asked",
        "smoothing is asked by exercise 28, whose target is the same function",
    ),
    Explained(LOSSES, r"float16", "not asked", "half precision is the library's business; the probes are float64"),
    Explained(
        LOSSES,
        r"→ \(z\[counts\], y\[counts\]\)$",
        "same",
        "choosing all rows by a mask gives all rows: it only saves time",
    ),
    Explained(
        "label_smoothing",
        r"^dropped: if label_smoothing: .* → if True: ",
        "same",
        "with ε = 0 the formula with ε gives the plain loss: it only saves time",
    ),
    Explained(
        "label_smoothing",
        r"→ log_y_hat\.mean\(\)$",
        "same",
        "the mean of each row or that of all rows: the loss is their mean in the end, and rows are equally long",
    ),
    Explained("layer_norm", r"^swapped: x - mean → mean - x$", "same", "it is squared"),
    Explained(
        "dropout",
        r">= self\.p → .* > self\.p$",
        "survived",
        "they differ where a draw equals p, which a draw of 53 bits does once in 10¹⁶ times",
    ),
    Explained(
        "masking",
        r"^sign: (.* < rate → .* <= rate|u < 0\.\d → u <= 0\.\d|u >= 0\.8 → u > 0\.8)$",
        "survived",
        "they differ where a draw equals the bound, which a draw of 24 bits does once in 17 million times; rates do not show it",
    ),
    Explained("schedule", r"^swapped: (p - w → w - p|1 - w → w - 1)$", "same", "it goes into a cosine, which is even"),
    Explained("clipping", r"factor >= 1 → factor > 1$", "same", "a factor of exactly 1 changes nothing"),
    Explained(
        "wordpiece",
        r"counts\.get\(pair, 0\) → counts\.get\(pair, 1\)$",
        "same",
        "every pair counts one more, and so their order stays what it is",
    ),
    Explained(
        "sampling",
        r"before >= top_p → before > top_p$",
        "survived",
        "they differ where a sum equals top_p to the last bit; there rounding decides, and right styles would differ as well",
    ),
    Explained(
        "binary_cross_entropy", r"^sign: z >= 0 → z > 0$", "same", "at z = 0 both branches are 1: exp 0 = 1, so σ(0) = 1/2"
    ),
    Explained("f1", r"^swapped: f1\(P, R\) → f1\(R, P\)", "same", "F1 is the same when precision and recall are exchanged"),
    Explained(
        "f1",
        r"\(set\(\), 0, None\) → found, start, kind = \(set\(\), 1, None\)$",
        "same",
        "nobody reads this first `start`: it is set anew when an entity opens",
    ),
    Explained(
        "word_vectors",
        r"^dropped: n / n\.sum\(\) → n$",
        "same",
        "P(w, c)/P(w) is n(w, c)/n(w): the sum of all counts cancels",
    ),
)  # fmt: skip


def explained(exercise: str, key: str) -> tuple[str, str]:
    """(sort, why) of a mutant that passes; ("survived", "") when nobody has looked at it."""
    for each in SURVIVORS:
        if exercise in (each.exercises.split() or [exercise]) and re.search(each.pattern, key):
            return each.sort, each.why
    return "survived", ""
