"""What the ladders of taggers share: the dictionary, the details of a row, and remarks that follow the figures."""

import random

import pytest
import torch

from minilm.experiments.ladder import Baseline, Material, Outcome, climb
from minilm.experiments.names import (
    BEST,
    DICTIONARY,
    HEAD,
    LSTM,
    SCRATCH,
    START,
    TUNED,
    dictionary,
    look_up,
    remarks_on_names as remarks,
)
from minilm.experiments.table import HIGH, LOW, details_table
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_characters
from minilm.training.entity_report import KNOWN, MICRO, NEW, names_in, report
from minilm.training.metrics import entities
from minilm.training.tasks import TokenTask

KINDS = ("LOC", "ORG", "PER")
TASK = TokenTask(("O", *(f"{letter}-{kind}" for kind in KINDS for letter in "BI")), units="characters")


def drawn(count, rng, alphabet="abcd"):
    """Lines of a few letters with random entities, so that most names occur more than once and with several kinds."""
    lines = []
    for _ in range(count):
        tokens, tags = rng.choices([*alphabet, alphabet[0].upper()], k=rng.randint(5, 11)), []
        while len(tags) < len(tokens):
            length, kind = rng.randint(1, min(3, len(tokens) - len(tags))), rng.choice((None, *KINDS))
            tags += ["O"] * length if kind is None else [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
        lines.append(TaggedLine(tokens, tags))
    return lines


def material(seed, pool=7, test=5):
    rng = random.Random(seed)
    parts = drawn(pool, rng), drawn(test, rng, "abcde")
    return Material.encoded(TASK, parts, train_characters(["abcde"]), 24, torch.device("cpu"))


def longest_first(tokens, names):
    """BIO tags by brute force: of all spans that are names, from left to right, the longest that overlaps none before it."""
    spans = [(a, b) for a in range(len(tokens)) for b in range(a + 1, len(tokens) + 1)]
    found = [(a, b) for a, b in spans if tuple(t.lower() for t in tokens[a:b]) in names]
    tags, free = ["O"] * len(tokens), 0
    for a, b in sorted(found, key=lambda span: (span[0], -span[1])):
        if a >= free:
            kind = names[tuple(t.lower() for t in tokens[a:b])]
            tags[a:b], free = [f"B-{kind}"] + [f"I-{kind}"] * (b - a - 1), b
    return tags


@pytest.mark.parametrize("seed", range(20))
def test_F30_the_dictionary_is_that_of_brute_force(seed):
    own, labels = material(seed), 4
    names = {}
    for i in own.drawn(labels, seed):
        tokens, tags = own.examples[i]
        for kind, a, b in entities(tags):
            names[tuple(t.lower() for t in tokens[a:b])] = kind  # the last kind counts
    guessed = [longest_first(line.tokens, names) for line in own.test_examples]
    outcome = dictionary(own, labels, seed)
    assert [look_up(line.tokens, names, max(map(len, names))) for line in own.test_examples] == guessed
    assert (outcome.score, outcome.details) == own.found(guessed, labels, seed)
    assert outcome.parameters == len(names) and outcome.details.get(NEW, 0.0) == 0.0


def test_the_last_kind_of_a_name_counts_and_case_does_not():
    line, again = TaggedLine(list("ab"), ["B-PER", "I-PER"]), TaggedLine(list("AB"), ["B-LOC", "I-LOC"])
    own = Material.encoded(TASK, ([line, again], [again]), train_characters(["ab"]), 8, torch.device("cpu"))
    assert dictionary(own, 2, 0).score == 1.0 and dictionary(own, 2, 0).parameters == 1
    turned = Material.encoded(TASK, ([again, line], [again]), train_characters(["ab"]), 8, torch.device("cpu"))
    assert dictionary(turned, 2, 0).score == 0.0


def test_F30_the_details_are_the_rows_of_the_report():
    own, labels = material(3), 5
    rng = random.Random(8)
    guessed = [
        list(line.tags) if i % 2 else rng.choices(TASK.labels, k=len(line.tags))
        for i, line in enumerate(own.test_examples)
    ]
    rows = report(own.test_examples, guessed, names_in([own.examples[i] for i in own.drawn(labels, 1)]))
    score, details = own.found(guessed, labels, 1)
    (micro,) = (row.f1 for row in rows if row.name == MICRO)
    assert score == micro and 0 < score < 1
    assert list(details) == [*KINDS, KNOWN, NEW, LOW, HIGH] and details[LOW] < score < details[HIGH]
    assert {name: f1 for name, f1 in details.items() if name not in (LOW, HIGH)} == {
        row.name: round(row.f1 or 0.0, 4) for row in rows if row.name in (*KINDS, KNOWN, NEW)
    }
    assert details != own.found(guessed, 1, 1)[1]  # with fewer labels, fewer names are known


def test_F30_the_details_of_an_outcome_stand_in_its_row():
    own = material(4)

    def told(material, labels, seed):
        return Outcome(0.25, 0.0, 3, {"PER": labels / 10, NEW: seed / 10})

    rows = climb([Baseline("told", told), DICTIONARY], own, (2, 5), 2, bar=False)
    assert [(row["labels"], row["seed"], row["PER"], row[NEW]) for row in rows if row["model"] == "told"] == [
        *[(2, 0, 0.2, 0.0), (2, 1, 0.2, 0.1)],
        *[(5, 0, 0.5, 0.0), (5, 1, 0.5, 0.1)],
    ]
    for row in (row for row in rows if row["model"] == "dictionary"):
        assert list(row) == ["model", "labels", "seed", "f1", "seconds", "parameters", *KINDS, KNOWN, NEW, LOW, HIGH]
        assert {name: row[name] for name in (*KINDS, KNOWN, NEW, LOW, HIGH)} == dictionary(
            own, row["labels"], row["seed"]
        ).details


# ------------------------------------------------------------------------------- the remarks

MODELS = ("dictionary", LSTM, SCRATCH, START, HEAD, TUNED, BEST)


def rows_of(changes=None, details=None, models=MODELS):
    """Two seeds for 8 labels and for 20. `changes` are the F1 of models, `details` their further figures, for 8 labels."""
    rows = []
    for labels in (8, 20):
        for model in models:
            i = MODELS.index(model)
            for seed in (0, 1):
                f1 = (changes or {}).get(model, 0.1 + i / 10) + 0.02 * seed
                figures = {"LOC": i / 20, KNOWN: 0.5, NEW: i / 50} | (details or {}).get(model, {})
                if labels == 20:
                    f1, figures = 0.99, dict.fromkeys(figures, 0.99)
                row = {"model": model, "labels": labels, "seed": seed, "f1": f1, "seconds": 1.0, "parameters": 9}
                rows.append(row | figures)
    return rows


def said(rows):
    return [line for line in remarks(rows, 8, "tweets").splitlines() if line.startswith("* ")]


def test_remarks_are_means_over_the_seeds_for_this_number_of_labels():
    first, second, crf, head, new = said(rows_of())
    assert first.startswith("* With 8 labelled tweets") and "an entity F1 of 0.710" in first  # 0.7 and 0.72
    assert "CRF reaches 0.210" in first and "the names in these tweets 0.110" in first
    assert "0.310 from scratch and 0.410 with" in second and "pretraining adds 30.0 points" in second
    assert "worth 10.0 points" in crf and "gives 0.510" in head and "gives 0.610" in head
    assert "an F1 of 0.020, our start 0.060, and the pretrained model 0.120" in new
    assert "0.99" not in remarks(rows_of(), 8, "tweets")


@pytest.mark.parametrize(
    ("model", "sentences"),
    [("dictionary", {0}), (LSTM, {0}), (SCRATCH, {1}), (START, {1}), (HEAD, {3}), (TUNED, {2, 3}), (BEST, {0, 1, 2})],
)
def test_a_sentence_changes_with_its_figures_and_no_other_does(model, sentences):
    before, after = said(rows_of()), said(rows_of({model: 0.876}))
    assert {i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]} == sentences
    after = said(rows_of(details={model: {NEW: 0.876}}))
    assert (before[:4] == after[:4]) and (before[4] != after[4]) == (model in (LSTM, START, BEST))


def test_the_table_of_known_and_new_names():
    rows = rows_of(details={BEST: {"LOC": 0.8125, KNOWN: 0.75, NEW: 0.6875}})
    table = details_table(rows, 8, ["LOC", KNOWN, NEW])
    assert remarks(rows, 8, "tweets").endswith(f"names:\n\n{table}")
    head, line, *others = table.splitlines()
    assert head == f"| model (8 labels) | LOC | {KNOWN} | {NEW} |" and line == "|---|---:|---:|---:|"
    assert [row.split(" | ")[0] for row in others] == [f"| {model}" for model in MODELS]
    assert others[-1] == f"| {BEST} | 0.812 | 0.750 | 0.688 |"
    for row, given in zip(rows[:2], (0.25, 0.5)):
        row[NEW] = given
    assert details_table(rows, 8, [NEW, "ORG"]).splitlines()[2] == "| dictionary | 0.375 | – |"  # a mean, and no figure


@pytest.mark.parametrize(
    ("there", "sentences"),
    [
        *((("dictionary",), []), (MODELS[:-1], [3]), (MODELS[1:], [1, 2, 3, 4]), ((LSTM, START, BEST), [4])),
        *(((HEAD, TUNED), [3]), (("dictionary", LSTM, BEST, TUNED), [0, 2])),
    ],
)
def test_rows_that_are_not_there_leave_their_sentences_out(there, sentences):
    every = said(rows_of())
    assert said(rows_of(models=there)) == [every[i] for i in sentences]


def test_a_row_without_details_or_of_another_kind_does_no_harm():
    """A row of one's own has no details; and a tagger may guess a kind that the test lines do not contain."""
    rows = rows_of(details={BEST: {"ORG": 0.0}})
    bare = {"model": "mine", "labels": 8, "seed": 0, "f1": 0.3, "seconds": 0.0, "parameters": 0}
    text = remarks([bare, *rows], 8, "tweets")
    assert f"| LOC | ORG | {KNOWN} | {NEW} |" in text and "| mine |" not in text
    assert "| dictionary | 0.000 | – | 0.500 | 0.000 |" in text and said([bare, *rows]) == said(rows)
    assert remarks([bare], 8, "tweets") == ""
