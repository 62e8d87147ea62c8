r"""What a tagger finds, kind by kind, and whether it only finds names that it has seen before.  F30.

A dictionary finds the names of its training lines and no other. So one F1 over all entities hides whether a model has learned
what a name looks like, or only which names there are: the rows of known and of new names tell them apart.

Letters:  T the true entities · G the guessed ones
Source:   Tjong Kim Sang and De Meulder (2003), CoNLL-2003, for whole entities; Augenstein, Derczynski and Bontcheva (2017),
          Generalisation in named entity recognition, for seen and unseen names.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from minilm.errors import InputError
from minilm.text.tagged import TaggedLine
from minilm.training.metrics import entities

Name = tuple[str, ...]
MICRO, MACRO, WEIGHTED = "micro average", "macro average", "weighted average"
KNOWN, NEW = "known names", "new names"
AVERAGES = {MICRO: "micro", MACRO: "macro", WEIGHTED: "weighted"}


class Entity(NamedTuple):
    """Where an entity stands, and its name."""

    line: int
    kind: str
    first: int
    end: int
    name: Name


class Row(NamedTuple):
    """One line of a report. `support` is the number of true entities; None is 0 divided by 0."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


def name_of(tokens: Iterable[str]) -> Name:
    """What makes two names the same: their tokens, without regard to case, which our tokenizers ignore as well."""
    return tuple(token.casefold() for token in tokens)


def names_in(lines: Iterable[TaggedLine]) -> set[Name]:
    """The name of every entity in lines with BIO tags, of whatever kind it is."""
    return {name_of(line.tokens[first:end]) for line in lines for _, first, end in entities(line.tags)}


def report(
    true_lines: Sequence[TaggedLine], guessed_lines: Sequence[list[str]], known_names: set[Name] | None = None
) -> list[Row]:
    r"""Precision, recall, F1 and support of each kind of entity, of all of them, and of known and new names.  F30.

        precision = |T ∩ G| / |G|      recall = |T ∩ G| / |T|      F1 = 2 |T ∩ G| / (|T| + |G|)

    `true_lines` are the tokens with their BIO tags, `guessed_lines` the BIO tags that a model gives the same tokens. Each row
    counts only some of the entities, in T and in G alike:

        a kind           the entities of this kind, in alphabetical order of the kinds
        micro average    all entities, so a kind with many entities weighs more
        macro average    the mean of the rows of the kinds, in which 0 divided by 0 counts as 0
        weighted average the same mean, in which each kind weighs as much as it has entities in T
        known names      the entities whose name (`name_of`) is in `known_names`, as an entity of whatever kind
        new names        the others

    The last two rows are there if `known_names` is given: `names_in` of the lines that the model was trained on. A guess is
    split by the name that stands where the model guesses one, so it is known or new whether it is right or wrong, and a right
    guess falls on the same side as the entity that it finds. No rows if there are no entities.
    Raises InputError if a line does not have one guessed tag for each token.
    """
    check_lengths(true_lines, guessed_lines)
    T = named(true_lines)
    G = named(TaggedLine(line.tokens, tags) for line, tags in zip(true_lines, guessed_lines, strict=True))
    kinds = sorted({entity.kind for entity in T | G})
    if not kinds:
        return []
    each = [row(kind, T, G, of_kind(kind)) for kind in kinds]
    micro = row(MICRO, T, G, lambda _: True)
    weights = [own.support for own in each] if micro.support else [1] * len(each)
    rows = [*each, micro, mean_row(MACRO, each, [1] * len(each)), mean_row(WEIGHTED, each, weights)]
    if known_names is not None:
        rows.append(row(KNOWN, T, G, lambda entity: entity.name in known_names))
        rows.append(row(NEW, T, G, lambda entity: entity.name not in known_names))
    return rows


def overlaps(true: Sequence[list[str]], guessed: Sequence[list[str]]) -> tuple[list[int], list[int]]:
    """|T ∩ G| and |T| + |G| of each line, from its true and its guessed BIO tags: what an F1 over all lines is made of."""
    pairs = [(set(entities(a)), set(entities(b))) for a, b in zip(true, guessed, strict=True)]
    return [len(T & G) for T, G in pairs], [len(T) + len(G) for T, G in pairs]


def mean_row(name: str, each: Sequence[Row], weights: Sequence[int]) -> Row:
    """The mean of several rows, with weights; 0 divided by 0 counts as 0."""
    P, R, F1 = (
        sum(weight * (value or 0.0) for weight, value in zip(weights, column, strict=True)) / sum(weights)
        for column in zip(*((own.precision, own.recall, own.f1) for own in each), strict=True)
    )
    return Row(name, P, R, F1, sum(own.support for own in each))


def label_rows(true: np.ndarray | Sequence, guessed: np.ndarray | Sequence, labels: Sequence[str]) -> list[Row]:
    """Precision, recall, F1 and support of each label, and their three averages, as scikit-learn computes them.  F30.

    `true` and `guessed` are the number of the class of each example [N]; or, where an example may have several labels, zeros
    and ones [N, K]. Labels that neither side has are left out. 0 divided by 0 is None in the row of a label, and counts as 0 in
    the averages.
    """
    true, guessed = np.asarray(true), np.asarray(guessed)
    several = true.ndim == 2
    held = true.any(0) | guessed.any(0) if several else np.isin(np.arange(len(labels)), [*true, *guessed])
    kept = np.flatnonzero(held)
    if several:
        true, guessed = true[:, kept], guessed[:, kept]
    if not len(kept):
        return []
    which = None if several else kept
    P, R, F1, support = precision_recall_fscore_support(true, guessed, labels=which, zero_division=np.nan)
    rows = []
    for place, k in enumerate(kept.tolist()):
        p, r, f1 = (None if math.isnan(column[place]) else float(column[place]) for column in (P, R, F1))
        rows.append(Row(labels[k], p, r, f1, int(support[place])))
    for name, average in AVERAGES.items():
        P, R, F1, _ = precision_recall_fscore_support(true, guessed, labels=which, average=average, zero_division=0)
        rows.append(Row(name, float(P), float(R), float(F1), int(support.sum())))
    return rows


def named(lines: Iterable[TaggedLine]) -> set[Entity]:
    """The entities of lines with BIO tags."""
    return {
        Entity(i, kind, first, end, name_of(line.tokens[first:end]))
        for i, line in enumerate(lines)
        for kind, first, end in entities(line.tags)
    }


def row(name: str, T: set[Entity], G: set[Entity], counts: Callable[[Entity], bool]) -> Row:
    """The row of those entities that count."""
    T, G = set(filter(counts, T)), set(filter(counts, G))
    both = len(T & G)
    return Row(name, share(both, len(G)), share(both, len(T)), share(2 * both, len(T) + len(G)), len(T))


def of_kind(kind: str) -> Callable[[Entity], bool]:
    """Whether an entity is of this kind."""
    return lambda entity: entity.kind == kind


def share(part: int, whole: int) -> float | None:
    """None is 0 divided by 0."""
    return part / whole if whole else None


def check_lengths(true_lines: Sequence[TaggedLine], guessed_lines: Sequence[list[str]]) -> None:
    """Raises InputError if a line does not have one guessed tag for each token."""
    if len(true_lines) != len(guessed_lines):
        raise InputError(f"{len(true_lines):,} lines have true tags and {len(guessed_lines):,} have guessed ones.")
    for i, (line, tags) in enumerate(zip(true_lines, guessed_lines, strict=True), start=1):
        if not len(line.tokens) == len(line.tags) == len(tags):
            raise InputError(
                f"line {i} has {len(line.tokens)} tokens, {len(line.tags)} true tags and {len(tags)} guessed ones: "
                "give one of each for each token."
            )


def as_markdown(rows: Iterable[Row], what: str = "entities") -> str:
    """The report as a table; `what` is the heading of its first column. A dash is 0 divided by 0."""
    lines = [f"| {what} | precision | recall | F1 | support |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        figures = ("–" if value is None else f"{value:.3f}" for value in row[1:4])
        lines.append(f"| {row.name} | {' | '.join(figures)} | {row.support:,} |")
    return "\n".join(lines)
