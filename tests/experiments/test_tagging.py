"""`minilm tagging` and `minilm questions` on a few lines: what the simple rows do, and that a run goes on where it stopped."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from tiny import DATA, silent

from minilm.errors import InputError
from minilm.experiments import questions as asking, tagging as experiment
from minilm.experiments.ladder import Material, Outcome, climb
from minilm.experiments.questions import CLOSEST, FIRST, Cloze, QuestionsOptions, answer_scores, cloze_questions
from minilm.experiments.table import curve_table, measured
from minilm.experiments.tagging import FREQUENT, SCRATCH, TUNED, TaggingOptions, most_frequent, tagging, task_for_lines
from minilm.jobs.pretrain import pretrain
from minilm.text.questions import Question
from minilm.text.tagged import TaggedLine, characters_of_words, tag_characters, words_with_parts_of_speech
from minilm.text.tokenizer import train_characters
from minilm.training.supervised import Recipe
from minilm.training.word_tasks import TagTask, WordTask

NEWS = [
    "江/nr 泽民/nr 在/p 北京/ns 说/v",
    "他/r 在/p 上海/ns 走/v 。/w",
    "北京/ns 人/n 说/v 上海/ns 。/w",
    "人/n 走/v 了/u",
] * 3


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    here = tmp_path_factory.mktemp("news")
    options = tiny.options(here, corpus=str(DATA / "chinese.txt"), units="characters", steps=2, length=40)
    pretrain(options, silent)
    return options.out


def unexpected(*_, **__):
    raise AssertionError("this was fitted before")


def material(task, learn, test):
    tokenizer = train_characters(["江泽民在北京说他上海走人了。"])
    return Material.encoded(task, (learn, test), tokenizer, 40, torch.device("cpu"))


def test_the_most_frequent_tag_by_hand():
    learn = [TaggedLine(["a", "b", "b"], ["n", "v", "n"]), TaggedLine(["b", "c", "d"], ["v", "u", "u"])]
    test = [TaggedLine(["a", "b", "x"], ["n", "n", "u"])]
    # a n, b v (two of three), and x the most frequent tag of a, c and d, which occur once: u
    found = most_frequent(material(TagTask(("n", "u", "v")), learn, test), 2, 0)
    assert found.score == pytest.approx(2 / 3) and found.parameters == 4
    lines = [characters_of_words(line) for line in NEWS]
    words = most_frequent(material(WordTask(("B", "E", "M", "S")), lines, lines[:4]), 12, 0)
    assert words.score == 1.0  # every character of these lines has one tag only


def test_the_tasks_of_the_newspaper():
    words = [words_with_parts_of_speech(line) for line in NEWS]
    assert task_for_lines("parts-of-speech", words) == TagTask(("n", "nr", "ns", "p", "r", "u", "v", "w"), "spaces", 2)
    borders = [characters_of_words(line) for line in NEWS]
    assert task_for_lines("segmentation", borders) == WordTask(("B", "E", "S"), "characters", 0)
    steps = WordTask(("B", "E", "M", "S")).allowed_steps()
    pairs = {a + b for a, row in zip("BEMS^", steps, strict=True) for b, step in zip("BEMS$", row, strict=True) if step}
    assert pairs == {"BE", "BM", "EB", "ES", "E$", "ME", "MM", "SB", "SS", "S$", "^B", "^S", "^$"}


@pytest.mark.parametrize("task", ["segmentation", "parts-of-speech"])
def test_every_fit_is_kept_and_not_repeated(task, pretrained, tmp_path, monkeypatch):
    read = characters_of_words if task == "segmentation" else words_with_parts_of_speech
    monkeypatch.setattr(experiment.corpus, "tagged", lambda name: [read(line) for line in NEWS])
    monkeypatch.setattr(experiment, "line_numbers", lambda lines, held, say: (list(range(8)), [8, 9, 10, 11]))
    monkeypatch.setattr(experiment, "EPOCHS", {4: 1})
    monkeypatch.setattr(experiment, "workers_for", lambda device: 1)
    options = TaggingOptions(task, (4,), seeds=2, model=pretrained, out=tmp_path, progress=False)
    rows = tagging(options, silent)
    assert [(row["model"], row["labels"], row["seed"]) for row in rows] == [
        *((name, 4, seed) for name in (FREQUENT, SCRATCH, TUNED) for seed in (0, 1)),
        *((name, 8, 0) for name in (FREQUENT, SCRATCH, TUNED)),
    ]
    folder = tmp_path / task
    assert len(list((folder / "fits").iterdir())) == 9 and (folder / "ladder.png").exists()
    assert (folder / "finetuned" / "config.json").exists()
    monkeypatch.setattr(experiment.Rung, "run", unexpected)
    assert tagging(options, silent) == rows
    (folder / "fits" / "transformer-4-1.json").unlink()
    left = [row for row in rows if (row["model"], row["labels"], row["seed"]) != (SCRATCH, 4, 1)]
    assert tagging(replace(options, labels=(4, 6), kept=True), silent) == left
    with pytest.raises(InputError, match="holds none of these fits: leave out --kept"):
        tagging(replace(options, labels=(6,), all_lines=False, kept=True), silent)
    assert f"| {TUNED} | 8 |" in (folder / "report.md").read_text(encoding="utf-8")


def test_a_fit_that_was_kept_comes_from_its_file(tmp_path):
    class Counting:
        name, what, runs = "a row, counted", "", 0

        def run(self, material, labels, seed):
            self.runs += 1
            return Outcome(0.25 * labels + seed, 1.0, 3, {"more": 0.5})

    row, some = Counting(), material(TagTask(("n", "v")), [TaggedLine(["a"], ["n"])], [TaggedLine(["a"], ["n"])])
    first = climb([row], some, (1,), 2, bar=False, kept=tmp_path)
    assert climb([row], some, (1,), 2, bar=False, kept=tmp_path) == first and row.runs == 2
    assert climb([row], some, (1,), 2, bar=False) == first and row.runs == 4


@pytest.mark.parametrize(("task", "metric"), [("segmentation", "f1"), ("parts-of-speech", "accuracy")])
def test_the_table_of_the_page_is_that_of_the_measured_rows(task, metric):
    rows = measured(f"tagging-{task}")
    page = (DATA.parent / "minilm/experiments/README.md").read_text(encoding="utf-8")
    assert curve_table(rows, metric) in page and {FREQUENT, TUNED} <= {row["model"] for row in rows}


def test_options_that_cannot_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where there is no pretrained model, even if you have one
    for changes, what in (
        ({"labels": (0,)}, "must be 1 or more"),
        ({"labels": (), "all_lines": False}, "there is nothing to learn from"),
        ({"rows": ("LSTM",)}, "there is no row 'LSTM'"),
        ({}, "holds no model: run `make quickstart-zh` first"),
    ):
        with pytest.raises(InputError, match=what):
            TaggingOptions(**changes)
    with pytest.raises(InputError, match="holds no model"):
        QuestionsOptions()


# ---------------------------------------------------------------------------- questions

ARTICLE = [
    tag_characters(line)
    for line in ("江/nr 泽民/nr 抵/v 上海/ns", "上海/ns 今天/t 下雨/v 。/w", "江/nr 泽民/nr 在/p 北京/ns 说/v")
]


def test_a_headline_becomes_a_question_for_every_name_that_the_article_has():
    found = list(cloze_questions(ARTICLE))
    assert [(c.question.question, c.question.answer, c.kind) for c in found] == [
        ("谁抵上海", "江泽民", "PER"),
        ("江泽民抵哪里", "上海", "LOC"),
    ]
    for cloze in found:
        question = cloze.question
        assert question.text == "上海今天下雨。江泽民在北京说"
        assert question.text[question.start :].startswith(question.answer)
        assert [question.text[a:b] for _, a, b in cloze.names] == ["上海", "江泽民", "北京"]
    assert (
        list(cloze_questions(ARTICLE[:1])) == [] == list(cloze_questions([ARTICLE[1], *ARTICLE]))
    )  # no body; a full stop


def test_a_question_about_a_copy_of_a_known_article_is_left_out(monkeypatch):
    """Articles 1 and 2 are held out; 2 is article 0 with one sentence changed."""
    body = "上海/ns 今天/t 下雨/v 。/w 他/r 在/p 那里/r 看见/v 许多/m 老/a 朋友/n 和/c 新/a 朋友/n ，/w 大家/r 都/d 很/d 高兴/a 。/w"
    other = "上海/ns 是/v 一/m 个/q 大/a 城市/n ，/w 有/v 很多/m 人/n 住/v 在/p 那里/r ，/w 他们/r 每天/r 都/d 要/v 上班/v 。/w"
    headline, end = "江/nr 泽民/nr 抵/v 上海/ns", "明天/t 走/v 。/w"
    lines = [tag_characters(line) for line in (headline, body, headline, other, headline, f"{body} {end}")]
    monkeypatch.setattr(asking.corpus, "tagged", lambda name: lines)
    monkeypatch.setattr(asking.corpus, "articles", lambda: [[0, 1], [2, 3], [4, 5]])
    monkeypatch.setattr(asking, "held_out_documents", lambda count, held, seed: np.array([1, 2]))
    learn, test, left_out = asking.parts()
    assert [c.question.text[:5] for c in learn] == ["上海今天下"] and [c.question.text[:5] for c in test] == [
        "上海是一个"
    ]
    assert left_out == 1


def test_the_rules_by_hand():
    text = "北京很冷。" + "今天也是如此，" * 4 + "记者到上海会见客人"
    start = text.index("上海")
    cloze = Cloze(Question("在哪里会见客人", text, "上海", start), "LOC", [("LOC", 0, 2), ("LOC", start, start + 2)])
    assert {name: rule(cloze) for name, rule in asking.RULES.items()} == {FIRST: "北京", CLOSEST: "上海"}
    assert asking.of_rule([cloze], asking.RULES[FIRST]) == {"exact": 0.0, "f1": answer_scores("北京", "上海")[1]}


def test_the_questions_are_learned_measured_and_kept(pretrained, tmp_path, monkeypatch):
    monkeypatch.setattr(
        asking, "parts", lambda: (list(cloze_questions(ARTICLE)) * 3, list(cloze_questions(ARTICLE)), 0)
    )
    monkeypatch.setattr(asking, "RECIPE", Recipe(epochs=1))
    options = QuestionsOptions(seeds=1, model=pretrained, out=tmp_path, progress=False)
    rows = asking.questions(options, silent)
    assert [row["model"] for row in rows] == [FIRST, CLOSEST, SCRATCH, TUNED]
    monkeypatch.setattr(asking, "fit", unexpected)
    assert asking.questions(options, silent) == rows
    assert (tmp_path / "finetuned" / "config.json").exists()
    assert "| exact | f1 |" in (tmp_path / "report.md").read_text(encoding="utf-8")
