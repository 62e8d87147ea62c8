"""The report of entities against seqeval's own report, against counting in sets, and by hand.  F30."""

import random
import warnings

import pytest
from seqeval.metrics import classification_report

from minilm.errors import InputError
from minilm.text.tagged import TaggedLine
from minilm.training.entity_report import (
    KNOWN,
    MACRO,
    MICRO,
    NEW,
    WEIGHTED,
    Row,
    as_markdown,
    name_of,
    names_in,
    report,
)
from minilm.training.metrics import entity_scores

AVERAGES = {MICRO: "micro avg", MACRO: "macro avg", WEIGHTED: "weighted avg"}
WORDS = ("Ann", "ann", "Lee", "Rome", "roMe", "of", "the", "Bank")


def drawn(seed, kinds, lines=None, loose=True):
    """Lines with true tags, and guesses that agree with about two of three of them; `loose` ones may begin with I-.

    Every third seed draws one line only, so that some figures are undefined."""
    rng = random.Random(seed)
    lines = lines or (30 if seed % 3 else 2)
    tags = ["O", "O", "O", *(f"{letter}-{kind}" for kind in kinds for letter in ("BI" if loose else "B"))]
    true, guessed = [], []
    for _ in range(rng.randrange(1, lines)):
        n = rng.randrange(1, 10)
        true.append(TaggedLine(rng.choices(WORDS, k=n), rng.choices(tags, k=n)))
        guessed.append([tag if rng.random() < 0.67 else rng.choice(tags) for tag in true[-1].tags])
    return true, guessed


def spans(tokens, tags):
    """{(kind, first, end, name)}: an entity begins with B-, or with I- where none of its kind is open."""
    found, open_kind, first = set(), None, 0
    for i, tag in enumerate([*tags, "O"]):
        if open_kind and tag != f"I-{open_kind}":
            found.add((open_kind, first, i, " ".join(tokens[first:i]).lower()))
            open_kind = None
        if tag != "O" and not open_kind:
            open_kind, first = tag[2:], i
    return found


def ratio(part, whole):
    return part / whole if whole else None


def counted(true, guessed, counts):
    """Precision, recall, F1 and support of the entities that count, from sets."""
    T = {(i, *e) for i, line in enumerate(true) for e in spans(*line) if counts(e[0], e[3])}
    G = {
        (i, *e)
        for i, (line, tags) in enumerate(zip(true, guessed, strict=True))
        for e in spans(line.tokens, tags)
        if counts(e[0], e[3])
    }
    both = len(T & G)
    return ratio(both, len(G)), ratio(both, len(T)), ratio(2 * both, len(T) + len(G)), len(T)


@pytest.mark.parametrize("seed", range(25))
def test_F30_kinds_and_averages_are_those_of_seqeval(seed):
    true, guessed = drawn(seed, ("PER", "geo-loc", "ORG")[: seed % 4 or 3])
    rows = {row.name: row for row in report(true, guessed)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = classification_report([line.tags for line in true], guessed, output_dict=True, zero_division=0)
    theirs |= {ours: theirs.pop(name) for ours, name in AVERAGES.items()}
    if not theirs[MICRO]["support"]:  # seqeval divides by 0 there; ours is the mean of the kinds
        del theirs[WEIGHTED], rows[WEIGHTED]
    assert rows.keys() == theirs.keys()
    for name, row in rows.items():
        values = [value or 0.0 for value in row[1:]]
        assert values == pytest.approx([theirs[name][key] for key in ("precision", "recall", "f1-score", "support")])


@pytest.mark.parametrize("seed", range(25))
def test_F30_every_row_is_what_sets_count(seed):
    kinds = ("PER", "LOC", "ORG")[: seed % 4 or 3]
    true, guessed = drawn(seed, kinds)
    known = names_in(drawn(seed + 100, kinds, lines=4)[0])
    *each, micro, macro, _, old, new = report(true, guessed, known)
    strings = {" ".join(name) for name in known}
    assert old[1:] == pytest.approx(counted(true, guessed, lambda _, name: name in strings))
    assert new[1:] == pytest.approx(counted(true, guessed, lambda _, name: name not in strings))
    for row in each:
        assert row[1:] == pytest.approx(counted(true, guessed, lambda kind, _, row=row: kind == row.name))
    scores = entity_scores([line.tags for line in true], guessed)
    assert micro[1:4] == pytest.approx(tuple(scores[k] for k in ("precision", "recall", "f1")))
    assert old.support + new.support == micro.support == macro.support == sum(row.support for row in each)
    assert (old.name, new.name) == (KNOWN, NEW) and {row.name for row in each} <= set(kinds)


def test_the_drawn_cases_have_names_of_both_sorts_and_undefined_figures():
    """The two tests above would prove little if every name were new or every figure defined."""
    rows = [
        report(*drawn(seed, "XYZ"[: seed % 4 or 3]), names_in(drawn(seed + 100, "XYZ"[: seed % 4 or 3], lines=4)[0]))
        for seed in range(25)
    ]
    assert sum(r[-1].support for r in rows) > 50 < sum(r[-2].support for r in rows)
    assert any(None in row for r in rows for row in r)


def test_F30_by_hand_a_name_is_known_whatever_its_kind_or_case():
    learnt = [TaggedLine(["Ann", "Lee", "of", "Rome"], ["B-PER", "I-PER", "O", "B-LOC"])]
    known = names_in(learnt)
    assert known == {("ann", "lee"), ("rome",)} and name_of(["ROME"]) in known
    true = [
        TaggedLine(["ROME", "beat", "Ann"], ["B-ORG", "O", "B-PER"]),  # known, although as a place; Ann alone is new
        TaggedLine(["ann", "lee", "left", "Rome"], ["B-PER", "I-PER", "O", "B-LOC"]),
    ]
    guessed = [
        ["B-ORG", "O", "O"],  # right and known; Ann is missed
        ["B-PER", "O", "O", "B-ORG"],  # "ann": wrong and new; "Rome" as ORG: wrong and known
    ]
    assert report(true, guessed, known) == [
        Row("LOC", None, 0.0, 0.0, 1),
        Row("ORG", 1 / 2, 1.0, pytest.approx(2 / 3), 1),
        Row("PER", 0.0, 0.0, 0.0, 2),
        Row(MICRO, pytest.approx(1 / 3), 1 / 4, pytest.approx(2 / 7), 4),
        Row(MACRO, pytest.approx(1 / 6), pytest.approx(1 / 3), pytest.approx(2 / 9), 4),
        Row(WEIGHTED, pytest.approx(1 / 8), pytest.approx(1 / 4), pytest.approx(1 / 6), 4),
        Row(KNOWN, 1 / 2, pytest.approx(1 / 3), pytest.approx(2 / 5), 3),
        Row(NEW, 0.0, 0.0, 0.0, 1),
    ]


def test_a_dictionary_finds_no_new_name_and_a_perfect_tagger_everything():
    true, _ = drawn(4, ("PER", "LOC"), loose=False)
    half = {("ann",), ("rome",)}
    right = report(true, [line.tags for line in true], half)
    assert all(row[1:4] == (1.0, 1.0, 1.0) for row in right) and right[-1].support > 0
    looked_up = [[tag if name_of([word]) in half else "O" for word, tag in zip(*line, strict=True)] for line in true]
    *_, old, new = report(true, looked_up, half)
    assert old[1:4] == (1.0, 1.0, 1.0) and new[1:4] == (None, 0.0, 0.0)


def test_no_entities_no_rows_and_unequal_lines_are_refused():
    line = TaggedLine(["a", "b"], ["O", "O"])
    assert report([line], [["O", "O"]], {("a",)}) == report([], []) == []
    with pytest.raises(InputError, match="1 lines have true tags and 2 have guessed ones"):
        report([line], [["O", "O"]] * 2)
    with pytest.raises(InputError, match="line 2 has 2 tokens, 2 true tags and 1 guessed ones"):
        report([line, line], [["O", "O"], ["O"]])


def test_the_table():
    rows = [Row("PER", 0.5, 1.0, 2 / 3, 1234), Row(NEW, None, 0.0, 0.0, 1)]
    assert as_markdown(rows).splitlines() == [
        "| entities | precision | recall | F1 | support |",
        "|---|---:|---:|---:|---:|",
        "| PER | 0.500 | 1.000 | 0.667 | 1,234 |",
        "| new names | – | 0.000 | 0.000 | 1 |",
    ]
