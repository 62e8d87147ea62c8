"""The mutants that pass, each with the reason in one line. (mutants.py makes them, report.py looks up the reasons here.)

same        the same function: no input that the exercise allows can tell it from the reference
not asked   the change is in a part of the library's function that this exercise leaves out, as its task says
survived    a different function, but the exercise does not notice; these count against the exercise
"""

import re
from typing import NamedTuple


class Explained(NamedTuple):
    """A reason why mutants pass. `pattern` is a regular expression that is searched for in the mutant's key; `exercises` are
    names separated by spaces, and "" stands for all exercises."""

    exercises: str
    pattern: str
    sort: str
    why: str


LOSSES = "cross_entropy label_smoothing"  # two exercises about the same function of the library
SURVIVORS = (
    Explained(
        "",
        r"^swapped: (max|min|np.maximum|np.minimum)\((.+), (.+)\) → \1\(\3, \2\)",
        "same",
        "the maximum or minimum of two numbers does not depend on their order",
    ),
    Explained(
        "",
        r"^swapped: np.(add|logaddexp|broadcast)\((.+), (.+)\) → np.\1\(\3, \2\)",
        "same",
        "adding two numbers, or broadcasting two shapes, does not depend on their order",
    ),
    Explained(
        "",
        r"^swapped: (.*)transpose\(-2, -1\) → \1transpose\(-1, -2\)",
        "same",
        "exchanging two axes does not depend on the order in which they are named",
    ),
    Explained(
        "cross_entropy",
        r"smoothing|log_y_hat\.mean",
        "not asked",
        "smoothing belongs to exercise 28, whose target is the same function",
    ),
    Explained(LOSSES, r"float16", "not asked", "half precision is not part of the exercise: the probes are float64"),
    Explained(
        LOSSES,
        r"→ \(z\[mask\], y\[mask\]\)$",
        "same",
        "selecting all rows by a mask returns all rows; leaving that out only saves time",
    ),
    Explained(
        "label_smoothing",
        r"^dropped: if label_smoothing: .* → if True: ",
        "same",
        "with ε = 0, the formula with ε gives the plain loss; the `if` only saves time",
    ),
    Explained(
        "label_smoothing",
        r"→ log_y_hat\.mean\(\)$",
        "same",
        "the loss is the mean over all rows in the end, and all rows have the same length",
    ),
    Explained("layer_norm", r"^swapped: x - mean → mean - x$", "same", "the difference is squared"),
    Explained(
        "dropout",
        r">= self\.p → .* > self\.p$",
        "survived",
        "they differ only where a draw equals p, which happens once in 10¹⁶ draws of 53 bits",
    ),
    Explained(
        "masking",
        r"^sign: (.* < \w*rate → .* <= \w*rate|u < 0\.\d → u <= 0\.\d|u >= 0\.8 → u > 0\.8)$",
        "survived",
        "they differ only where a draw equals the bound, once in 17 million draws of 24 bits; rates do not show that",
    ),
    Explained("schedule", r"^swapped: (p - w → w - p|1 - w → w - 1)$", "same", "it is the argument of a cosine, which is even"),
    Explained("clipping", r"^constant: norm \+ 1e-06 → norm \+ 2e-06$", "not asked",
              "both forms are accepted, with the 10⁻⁶ and without it, so the tolerance is wider than this difference"),
    Explained("clipping", r"factor >= 1 → factor > 1$", "same", "multiplying by exactly 1 changes nothing"),
    Explained(
        "wordpiece",
        r"counts\.get\(pair, 0\) → counts\.get\(pair, 1\)$",
        "same",
        "every pair is counted once more, so their order stays the same",
    ),
    Explained(
        "sampling",
        r"before >= top_p → before > top_p$",
        "survived",
        "they differ only where a sum equals top_p to the last bit; there rounding decides, and right styles differ as well",
    ),
    Explained(
        "binary_cross_entropy", r"^sign: z >= 0 → z > 0$", "same", "at z = 0 both branches are 1: exp 0 = 1, so σ(0) = 1/2"
    ),
    Explained("f1", r"^swapped: f1\(P, R\) → f1\(R, P\)", "same", "F1 is the same when precision and recall are exchanged"),
    Explained(
        "f1",
        r"start, kind = \((set\(\), )?0, None\) → .*start, kind = \((set\(\), )?1, None\)$",
        "same",
        "this first `start` is never read: it is set again when an entity begins",
    ),
    Explained(
        "word_vectors",
        r"^dropped: n / n\.sum\(\) → n$",
        "same",
        "P(w, c)/P(w) equals n(w, c)/n(w): the sum of all counts cancels",
    ),
    Explained("relative_bucket", r"^dropped: np\.maximum\(n, 1\) → n$", "same",
              "log 0 is −∞, but the distance 0 is near, so its far bucket is not used; the 1 only avoids a warning"),
    Explained("relative_bucket", r"np\.maximum\(n, 1\) → np\.maximum\(n, 2\)$", "same",
              "the distance 1 is near unless E = 1, and then all far distances have the same bucket"),
    Explained("relative_bucket", r"^sign: n < E → n <= E$", "same", "the first far bucket is E, and it begins at n = E"),
    Explained("relative_bucket", r"growth \+ 1e-09 → growth( \+ 2e-09)?$", "not asked",
              "it matters only where a far bucket begins at a whole number; there rounding decides, and right styles differ"),
)  # fmt: skip


def explained(exercise: str, key: str) -> tuple[str, str]:
    """(sort, why) of a mutant that passes; ("survived", "") when nobody has looked at it."""
    for each in SURVIVORS:
        if exercise in (each.exercises.split() or [exercise]) and re.search(each.pattern, key):
            return each.sort, each.why
    return "survived", ""
