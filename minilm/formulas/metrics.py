r"""Metrics, from counts alone; and a table that does not add up.  F30.

    accuracy = right / all      P = TP / (TP + FP)      R = TP / (TP + FN)      F1 = 2PR / (P + R)

A class that nobody predicted, or that never occurs, makes one of them 0/0: it counts as 0 here.

Letters:  N examples · K classes (or types of entity) · y the truth · ŷ the prediction · P precision · R recall ·
          TP, FP, FN true positives, false positives, false negatives of each class [K]
Source:   D0 §5.4, D1 §3.2.5, D2 §5.4, D4 §5.4; Tjong Kim Sang and De Meulder (2003), CoNLL-2003, for whole entities.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_probabilities, check_shape

Scores = tuple[ArrayLike, ArrayLike, ArrayLike]  # precision, recall, F1


def confusion(y: np.ndarray, y_hat: np.ndarray, K: int) -> np.ndarray:
    r"""C[i, j] [K, K]: how many examples of class i were called j, for the classes `y` [N] and `y_hat` [N].  F30.

    Raises `InputError`: nothing to count, not as many predictions as answers, a class outside 0 … K − 1.
    """
    check_not_empty("y", y)
    check_shape("y", y, "N")
    check_shape("y_hat", y_hat, "N", N=len(y))
    check_classes("y", y, K)
    check_classes("y_hat", y_hat, K)
    C = np.zeros((K, K), dtype=np.int64)
    np.add.at(C, (y, y_hat), 1)
    return C


def counts(C: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""TP, FP, FN [K] of each class, out of the confusion `C` [K, K]: diagonal, rest of the column, rest of the row.  F30."""
    check_shape("C", C, "K K")
    TP = np.diag(C)
    return TP, C.sum(axis=0) - TP, C.sum(axis=1) - TP


def accuracy(C: np.ndarray) -> float:
    r"""Σₖ C[k, k] / Σᵢⱼ C[i, j].  F30.  Raises `InputError` if nothing was counted."""
    check_shape("C", C, "K K")
    if not np.sum(C):
        raise InputError("C counts no example: a share of nothing has no value; give at least one.")
    return float(np.trace(C) / np.sum(C))


def ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, and 0 where whole is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def precision(TP: ArrayLike, FP: ArrayLike) -> np.ndarray:
    r"""P = TP / (TP + FP): of those called k, the share that is k.  F30."""
    return ratio(TP, np.add(TP, FP))


def recall(TP: ArrayLike, FN: ArrayLike) -> np.ndarray:
    r"""R = TP / (TP + FN): of those that are k, the share that was found.  F30."""
    return ratio(TP, np.add(TP, FN))


def f1(P: ArrayLike, R: ArrayLike) -> np.ndarray:
    r"""F1 = 2PR / (P + R), the harmonic mean: near the smaller of the two.  F30.  Raises `InputError` outside [0, 1]."""
    P, R = np.asarray(P, dtype=float), np.asarray(R, dtype=float)
    check_probabilities("P", P)
    check_probabilities("R", R)
    return ratio(2 * P * R, P + R)


def averages(TP: np.ndarray, FP: np.ndarray, FN: np.ndarray) -> dict[str, Scores]:
    r"""(P, R, F1) of all K classes at once, in the three ways that a report prints, from counts [K].  F30.

        micro      add up the counts, then one ratio: every example weighs the same
        macro      mean over the classes of P, of R, of F1: every class weighs the same
        weighted   the same, each class weighed by its support TP + FN

    Leave a class out (the O of tagging) by leaving it out of the counts: `averages(TP[1:], FP[1:], FN[1:])`.
    Raises `InputError`: no class, or counts of different lengths.
    """
    check_not_empty("TP", TP)
    check_shape("TP", TP, "K")
    check_shape("FP", FP, "K", K=len(TP))
    check_shape("FN", FN, "K", K=len(TP))
    P, R = precision(TP, FP), recall(TP, FN)
    micro = precision(np.sum(TP), np.sum(FP)), recall(np.sum(TP), np.sum(FN))
    support = np.add(TP, FN)
    share = ratio(support, np.sum(support))
    scores = np.stack([P, R, f1(P, R)])  # [3, K]
    return {"micro": (*micro, f1(*micro)), "macro": tuple(scores.mean(axis=1)), "weighted": tuple(scores @ share)}


# ---------------------------------------------------------------------------------------------- whole entities


def entities(tags: list[str]) -> set[tuple[str, int, int]]:
    """(type, first, last + 1) of each entity of a line of BIO tags.  F30.

    `B-X` opens one; `I-X` goes on if an X is open just before it, and opens one if not (so does the CoNLL script).
    Raises `InputError` for a tag that is neither O, B-… nor I-….
    """
    found, start, kind = set(), 0, None
    for i, tag in enumerate([*tags, "O"]):
        if tag != "O" and tag[:2] not in ("B-", "I-"):
            raise InputError(f"tag {i} is {tag!r}, which is no BIO tag: write O, B-… or I-….")
        if kind is not None and tag != f"I-{kind}":
            found.add((kind, start, i))
            kind = None
        if kind is None and tag != "O":
            start, kind = i, tag[2:]
    return found


def entity_counts(y: list[list[str]], y_hat: list[list[str]]) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    r"""The types in alphabetical order and their TP, FP, FN [K], over N lines of BIO tags.  F30.

    An entity is right if its type, its first and its last token are: half a name is no name, and is wrong twice (an FP
    and an FN). `averages(TP, FP, FN)["micro"]` is the score of CoNLL and of seqeval.
    Raises `InputError`: no line, not as many lines or tags as answers, no entity on either side.
    """
    if not y:
        raise InputError("y holds no line: a mean over nothing has no value; give at least one.")
    if len(y) != len(y_hat):
        raise InputError(f"y holds {len(y)} lines and y_hat {len(y_hat)}: give one prediction for each line.")
    tally: dict[str, np.ndarray] = {}
    for i, (true, predicted) in enumerate(zip(y, y_hat)):
        if len(true) != len(predicted):
            raise InputError(
                f"line {i} has {len(true)} tags and {len(predicted)} predictions: give one for each token."
            )
        gold, guess = entities(true), entities(predicted)
        for row, which in enumerate((gold & guess, guess - gold, gold - guess)):
            for kind, _, _ in which:
                tally.setdefault(kind, np.zeros(3, dtype=np.int64))[row] += 1
    if not tally:
        raise InputError("there is no entity in y or y_hat, so there is nothing to count: every tag is O.")
    return sorted(tally), *np.stack([tally[kind] for kind in sorted(tally)]).T


# ---------------------------------------------------------------------------------------------- the table of D4 §5.4


class Row(NamedTuple):
    """One line of a report: precision, recall, F1 as printed, and how many there are."""

    name: str
    P: float
    R: float
    F1: float
    support: int


D4_TABLE = (
    Row("B-LOC", 0.922, 0.906, 0.918, 1668),
    Row("I-LOC", 0.899, 0.805, 0.835, 257),
    Row("B-MISC", 0.880, 0.856, 0.862, 702),
    Row("I-MISC", 0.839, 0.782, 0.810, 216),
    Row("B-ORG", 0.917, 0.898, 0.909, 1661),
    Row("I-ORG", 0.911, 0.894, 0.902, 835),
    Row("B-PER", 0.963, 0.957, 0.960, 1617),
    Row("I-PER", 0.983, 0.980, 0.982, 1156),
    Row("O", 0.993, 0.995, 0.994, 38323),
)
D4_AVERAGES = {"micro": (0.949, 0.949, 0.949), "macro": (0.910, 0.897, 0.909), "weighted": (0.949, 0.949, 0.949)}


def d4_headline_as_printed() -> float:
    """The F1 of 97.5 % that D4 §5.4 reads off its table.  F30.

    No line of the table says so, and no average of its lines gives it: the table prints 0.949, its rows add up to more
    than 0.975 with O, and to less than 0.925 without.
    """
    return 0.975


def f1_range(P: float, R: float, digits: int = 3) -> tuple[float, float]:
    r"""The smallest and largest F1 that a P and an R rounded to `digits` leave room for, itself rounded.  F30.

    F1 grows with P and with R, so the corners P ± ½·10⁻ᵈ, R ± ½·10⁻ᵈ are enough.
    """
    half = 0.5 * 10.0**-digits
    low, high = (f1(np.clip(P + h, 0, 1), np.clip(R + h, 0, 1)) for h in (-half, half))
    return round(float(low), digits), round(float(high), digits)


def recompute(rows: tuple[Row, ...]) -> tuple[np.ndarray, dict[str, Scores]]:
    r"""F1 = 2PR/(P + R) of each row [K], and the averages that the rows' own P, R and support lead to.  F30.

    The counts can be had back: TP = R·support, FN = support − TP, and TP + FP = TP/P, all up to the rounding of P and R.
    Raises `InputError`: no rows, a P of 0 (its FP cannot be had back), a P or R outside [0, 1].
    """
    check_not_empty("rows", np.array([row.P for row in rows]))
    P, R, support = (np.array([getattr(row, name) for row in rows], dtype=float) for name in ("P", "R", "support"))
    F1 = f1(P, R)
    if not P.all():
        raise InputError(
            f"row {rows[int(np.argmin(P))].name!r} has the precision 0: its false positives are not known."
        )
    TP = R * support
    return F1, averages(TP, TP / P - TP, support - TP)
