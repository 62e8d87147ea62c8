"""Taggers that learn from what several of them agree on: who sees which tags, and what the student reads."""

import random
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from minilm.bench import self_training as bench
from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments import self_trained as module
from minilm.experiments.ladder import Baseline, Material, Rung
from minilm.experiments.names import DICTIONARY
from minilm.experiments.rungs import Start, lstm
from minilm.experiments.self_trained import AGREED, RIGHT, SelfTrained, unlabelled_lines
from minilm.models.config import TransformerConfig
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_characters
from minilm.training import self_training
from minilm.training.self_training import APART, agreed
from minilm.training.supervised import Recipe, fit
from minilm.training.tasks import TokenTask

LABELS, LINES = 6, 20
TASK = TokenTask(("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), units="characters")


def drawn_lines(count, rng):
    """Lines of five to eleven letters: a is a place, c and a d behind it are a person, and now and then a tag is wrong."""
    lines = []
    for _ in range(count):
        tokens = rng.choices("abcde", k=rng.randint(5, 11))
        tags = [{"a": "B-LOC", "c": "B-PER"}.get(token, "O") for token in tokens]
        for i in range(1, len(tokens)):
            if tokens[i - 1 : i + 1] == ["c", "d"]:
                tags[i] = "I-PER"
        if rng.random() < 0.2:
            tags[0] = "O"
        lines.append(TaggedLine(tokens, tags))
    return lines


def material(rng, max_length=24, pool=40):
    parts = drawn_lines(pool, rng), drawn_lines(9, rng)
    return Material.encoded(TASK, parts, train_characters(["abcde"]), max_length, torch.device("cpu"))


@pytest.fixture
def own():
    return material(random.Random(3))


def rung(own, epochs=2):
    config = TransformerConfig(own.tokenizer.size, 8, layers=1, heads=2, feed_forward=8, max_length=24)
    start = Start(config, np.zeros((own.tokenizer.size, 8), np.float32), Path("none"))
    build = partial(lstm, start=start, crf=True)
    return Rung("small", build, "everything", Recipe(epochs=epochs, batch=4, learning_rate=0.02))


def small(own, **changes):
    return replace(SelfTrained(rung(own), teachers=2, lines=LINES, copies=3, epochs=2), **changes)


# ---- what is agreed on


@given(
    st.lists(
        st.lists(st.lists(st.sampled_from(["O", "B"]), max_size=2), min_size=4, max_size=4), min_size=1, max_size=4
    )
)
def test_agreed_is_where_all_say_the_same(guesses):
    by_hand = [i for i in range(4) if guesses[0][i] and len({tuple(each[i]) for each in guesses}) == 1]
    assert agreed(guesses) == by_hand


def test_the_unlabelled_lines_are_others_than_the_labelled_ones_and_the_same_for_every_row(own):
    for seed in range(5):
        found = unlabelled_lines(own, LABELS, seed, LINES)
        assert not {*found} & {*own.drawn(LABELS, seed)} and len({*found}) == LINES
        assert found == unlabelled_lines(own, LABELS, seed, LINES)
        assert {*unlabelled_lines(own, LABELS, seed, 10**6)} == {*range(40)} - {*own.drawn(LABELS, seed)}
    assert unlabelled_lines(own, LABELS, 0, LINES) != unlabelled_lines(own, LABELS, 1, LINES)


# ---- teachers and student


def test_neither_teachers_nor_student_see_the_tags_of_the_unlabelled_lines(own):
    outcome = small(own).run(own, LABELS, 1)
    labelled = set(own.drawn(LABELS, 1))
    hidden = [
        line if i in labelled else TaggedLine(line.tokens, (["B-PER", "O", "I-LOC"] * 9)[: len(line.tokens)])
        for i, line in enumerate(own.examples)
    ]
    other = small(own).run(own.with_examples(hidden, own.test_examples), LABELS, 1)
    assert other.score == outcome.score and other.details[AGREED] == outcome.details[AGREED] > 0
    assert other.details[RIGHT] == 0.0  # what the details say of them is for the reader alone


def test_the_student_reads_the_labelled_lines_several_times_and_those_that_were_agreed_on(own, monkeypatch):
    fits = []

    def noted(model, examples, recipe, seed, *more, **others):
        fits.append((len(examples), recipe.epochs, seed))
        return fit(model, examples, recipe, seed, *more, **others)

    monkeypatch.setattr(module, "fit", noted)
    outcome = small(own).run(own, LABELS, 5)
    student = 3 * LABELS + int(outcome.details[AGREED])
    assert fits == [(LABELS, 2, 5), (LABELS, 2, 5 + APART), (student, 2, 5)] and outcome.seconds > 0


def test_the_share_that_is_right_is_counted_by_hand(own, monkeypatch):
    numbers = unlabelled_lines(own, LABELS, 0, LINES)
    true = [list(own.examples[i].tags) for i in numbers]
    wrong = [*true[:5], *(["O"] * len(tags) for tags in true[5:])]
    answers = iter([wrong, [*wrong[:-4], *(["B-LOC"] * len(tags) for tags in true[-4:])]])
    monkeypatch.setattr(self_training, "predicted_tags", lambda *_: next(answers))
    details = small(own).run(own, LABELS, 0).details
    right = sum(w == t for w, t in zip(wrong[:-4], true[:-4], strict=True))
    assert details[AGREED] == LINES - 4 and details[RIGHT] == pytest.approx(right / (LINES - 4), abs=1e-4)


def test_if_they_agree_on_nothing_the_student_learns_from_the_labelled_lines(own, monkeypatch):
    answers = iter([[["O"]] * LINES, [["B-PER"]] * LINES])
    monkeypatch.setattr(self_training, "predicted_tags", lambda *_: next(answers))
    outcome = small(own).run(own, LABELS, 0)
    assert outcome.details[AGREED] == outcome.details[RIGHT] == 0.0


def test_a_line_that_was_cut_into_rows_is_taught_whole(monkeypatch):
    own = material(random.Random(4), max_length=7)  # five characters and both ends; lines have up to eleven
    numbers, read = unlabelled_lines(own, LABELS, 0, LINES), []
    encode = module.encoded
    monkeypatch.setattr(module, "encoded", lambda own, lines: read.append(lines) or encode(own, lines))
    outcome = small(own).run(own, LABELS, 0)
    lines, pseudo = read
    assert [line.tokens for line in lines] == [own.examples[i].tokens for i in numbers]
    assert all({*line.tags} == {"O"} for line in lines)  # what is not known is not handed on
    assert outcome.details[AGREED] == len(pseudo) > 0 and max(len(line.tokens) for line in pseudo) > 5
    true = {tuple(line.tokens): line.tags for line in own.examples}
    assert all(len(line.tags) == len(line.tokens) for line in pseudo)
    right = sum(true[tuple(line.tokens)] == line.tags for line in pseudo)
    assert outcome.details[RIGHT] == pytest.approx(right / len(pseudo), abs=1e-4)


def test_a_row_with_a_tokenizer_of_its_own_reads_its_own_material(own):
    other = material(random.Random(5))
    row = small(own)
    mine = replace(row, rung=replace(row.rung, material=own)).run(other, LABELS, 0)
    expected = row.run(own, LABELS, 0)
    assert (mine.score, mine.details) == (expected.score, expected.details) and mine != row.run(other, LABELS, 0)


# ---- the command


def test_the_command_fits_each_row_twice_and_keeps_what_is_there(own, tmp_path, monkeypatch):
    calls = []

    def prepared(options, say, on_development):
        calls.append((options.rows, on_development))
        return own, [rung(own)]

    monkeypatch.setattr(bench, "prepared", prepared)
    monkeypatch.setattr(bench, "SelfTrained", partial(SelfTrained, teachers=2, lines=LINES, epochs=1))
    options = BenchOptions(
        "self-training", out=tmp_path, language="zh", labels=LABELS, seeds=2, workers=1, progress=False
    )
    said = []
    rows = bench.measure(options, said.append)["rows"]
    assert [(row["model"], row["seed"]) for row in rows] == [
        (n, s) for n in ("small", "small, self-trained") for s in (0, 1)
    ]
    assert "6 labelled lines, small: the teachers agree on" in said[-1] and "small, self-trained" in said[0]
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "self-training-zh-test").iterdir()}
    assert len(files) == 4 and bench.measure(options, said.append)["rows"] == rows
    assert files == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "self-training-zh-test").iterdir()}
    bench.measure(replace(options, development=True, seeds=1), said.append)
    assert len(list((tmp_path / "self-training-zh-development").iterdir())) == 2
    assert calls == [(bench.ROWS, False), (bench.ROWS, False), (bench.ROWS, True)]


def test_what_cannot_be_self_trained_is_refused(own, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="self-training is for names here: give --language zh or tweets"):
        bench.measure(BenchOptions("self-training", out=tmp_path), print)
    monkeypatch.setattr(bench, "prepared", lambda *_, **__: (own, [DICTIONARY]))
    assert isinstance(DICTIONARY, Baseline)
    with pytest.raises(InputError, match="a dictionary cannot be self-trained: leave its row out"):
        bench.measure(BenchOptions("self-training", out=tmp_path, language="zh"), print)
    monkeypatch.setattr(bench, "prepared", lambda *_, **__: (own, [rung(own)]))
    for labels in (40, 41):
        with pytest.raises(InputError, match=f"--labels {labels} leaves no line without tags .* there are 40 in all"):
            bench.measure(BenchOptions("self-training", out=tmp_path, language="zh", labels=labels), print)
