r"""Metrics computed from counts, and a published table that does not add up.  F30.

    accuracy = right / all      P = TP / (TP + FP)      R = TP / (TP + FN)      F1 = 2PR / (P + R)

If a class was never predicted or never occurs, one of these is 0/0, which counts as 0 here.

Letters:  N examples · K classes (or entity types) · y the true classes · ŷ the predictions · P precision · R recall ·
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
    r"""C[i, j] [K, K]: how many examples of class i were predicted as j, for the classes `y` [N] and `y_hat` [N].  F30.

    Raises `InputError` for no examples, unequal numbers of predictions and labels, or a class outside 0 … K − 1.
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
    r"""TP, FP, FN [K] of each class from the confusion matrix `C` [K, K].  F30.

    TP is the diagonal, FP the rest of the column, and FN the rest of the row.
    """
    check_shape("C", C, "K K")
    TP = np.diag(C)
    return TP, C.sum(axis=0) - TP, C.sum(axis=1) - TP


def accuracy(C: np.ndarray) -> float:
    r"""Σₖ C[k, k] / Σᵢⱼ C[i, j].  F30.  Raises `InputError` if nothing was counted."""
    check_shape("C", C, "K K")
    if not np.sum(C):
        raise InputError("C counts no example, and a share of nothing has no value: give at least one example.")
    return float(np.trace(C) / np.sum(C))


def ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """part / whole, and 0 where whole is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)


def precision(TP: ArrayLike, FP: ArrayLike) -> np.ndarray:
    r"""P = TP / (TP + FP): the share of the examples predicted as k that really are k.  F30."""
    return ratio(TP, np.add(TP, FP))


def recall(TP: ArrayLike, FN: ArrayLike) -> np.ndarray:
    r"""R = TP / (TP + FN): the share of the examples of class k that were predicted as k.  F30."""
    return ratio(TP, np.add(TP, FN))


def f1(P: ArrayLike, R: ArrayLike) -> np.ndarray:
    r"""F1 = 2PR / (P + R), the harmonic mean, which lies near the smaller of the two.  F30.

    Raises `InputError` for P or R outside [0, 1].
    """
    P, R = np.asarray(P, dtype=float), np.asarray(R, dtype=float)
    check_probabilities("P", P)
    check_probabilities("R", R)
    return ratio(2 * P * R, P + R)


def averages(TP: np.ndarray, FP: np.ndarray, FN: np.ndarray) -> dict[str, Scores]:
    r"""(P, R, F1) over all K classes, averaged in the three usual ways, from counts [K].  F30.

        micro      add up the counts, then take one ratio: every example has the same weight
        macro      the mean of P, R and F1 over the classes: every class has the same weight
        weighted   like macro, but each class is weighted by its support TP + FN

    To exclude a class (such as O in tagging), leave it out of the counts: `averages(TP[1:], FP[1:], FN[1:])`.
    Raises `InputError` for no classes, or counts of different lengths.
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
    """(type, first, last + 1) of each entity in one sentence's BIO tags.  F30.

    `B-X` starts an entity. `I-X` continues an X that is open just before it, and otherwise starts a new entity, as in the
    CoNLL script. Raises `InputError` for a tag other than O, B-… or I-….
    """
    found: set[tuple[str, int, int]] = set()
    start, kind = 0, None
    for i, tag in enumerate([*tags, "O"]):
        if tag != "O" and tag[:2] not in ("B-", "I-"):
            raise InputError(f"tag {i} is {tag!r}, which is not a BIO tag: write O, B-… or I-….")
        if kind is not None and tag != f"I-{kind}":
            found.add((kind, start, i))
            kind = None
        if kind is None and tag != "O":
            start, kind = i, tag[2:]
    return found


def entity_counts(y: list[list[str]], y_hat: list[list[str]]) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    r"""The entity types in alphabetical order and their TP, FP, FN [K], over N lines of BIO tags.  F30.

    An entity counts as right only if its type, first token and last token are all right, so half a name is wrong twice
    (an FP and an FN). `averages(TP, FP, FN)["micro"]` is the score of CoNLL and of seqeval.
    Raises `InputError` for no lines, for unequal numbers of lines or tags, or if neither side has an entity.
    """
    if not y:
        raise InputError("y holds no line, and a mean over nothing has no value: give at least one line.")
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
    """One line of a report: precision, recall and F1 as printed, and the support (the number of examples)."""

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
    """The F1 of 97.5 % that D4 §5.4 claims for its table.  F30.

    No line of the table says 97.5 %, and no average of its lines gives it. The table itself prints 0.949, and its
    rows give a micro average of about 0.981 with O and 0.922 without O.
    """
    return 0.975


def f1_range(P: float, R: float, digits: int = 3) -> tuple[float, float]:
    r"""The smallest and the largest F1, rounded, that fit a P and an R that were rounded to `digits` decimals.  F30.

    F1 grows with P and with R, so it is enough to try the corners P ± ½·10⁻ᵈ, R ± ½·10⁻ᵈ.
    """
    half = 0.5 * 10.0**-digits
    low, high = (f1(np.clip(P + h, 0, 1), np.clip(R + h, 0, 1)) for h in (-half, half))
    return round(float(low), digits), round(float(high), digits)


def recompute(rows: tuple[Row, ...]) -> tuple[np.ndarray, dict[str, Scores]]:
    r"""F1 = 2PR/(P + R) of each row [K], and the averages that follow from the rows' P, R and support.  F30.

    The counts can be recovered: TP = R·support, FN = support − TP, and TP + FP = TP/P, up to the rounding of P and R.
    Raises `InputError` for no rows, a P of 0 (its FP cannot be recovered), or a P or R outside [0, 1].
    """
    check_not_empty("rows", np.array([row.P for row in rows]))
    P, R, support = (np.array([getattr(row, name) for row in rows], dtype=float) for name in ("P", "R", "support"))
    F1 = f1(P, R)
    if not P.all():
        raise InputError(
            f"row {rows[int(np.argmin(P))].name!r} has the precision 0, so its false positives cannot be recovered: leave the row out."
        )
    TP = R * support
    return F1, averages(TP, TP / P - TP, support - TP)
