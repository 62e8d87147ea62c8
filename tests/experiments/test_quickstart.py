"""Both quickstarts from end to end at a toy size: small texts, few steps and narrow models."""

import json
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tiny
import torch
from tiny import DATA
from torch import nn

from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.experiments import chinese, english, ladder, quickstart as story, tweets
from minilm.experiments.chinese import Chinese
from minilm.experiments.english import English, majority, tfidf
from minilm.experiments.ladder import Baseline, Material, Outcome, Rung
from minilm.experiments.names import SHORT, dictionary, look_up
from minilm.experiments.quickstart import QuickstartOptions, duration, quickstart
from minilm.experiments.table import HIGH, LOW, markdown_table
from minilm.experiments.tracks import track_for
from minilm.experiments.tweets import KINDS, Tweets
from minilm.models.heads import Classifier, EncoderOutput
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import open_classifier, open_pretraining
from minilm.text import corpus
from minilm.text.duplicates import duplicates, shingles
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_characters
from minilm.training.entity_report import KNOWN, NEW
from minilm.training.state import read_metrics
from minilm.training.supervised import Recipe
from minilm.training.watching import read_watched
from minilm.viz import plots

SMALL = tiny.SIZES | dict(length=64, vocab_size=400, evaluations=2)
NEURAL = [
    "LSTM",
    "LSTM + word vectors",
    "Transformer",
    "Transformer + word vectors",
    "Transformer + word vectors + neighbour heads",
    "Transformer pretrained, head only",
    "Transformer pretrained, fine-tuned",
]
WITH_CRF = [  # the rows of a tagger
    *("LSTM", "LSTM + word vectors", "LSTM + word vectors, CRF", "Transformer", "Transformer, CRF"),
    *("Transformer + word vectors", "Transformer + word vectors + neighbour heads"),
    *("Transformer + word vectors + neighbour heads, CRF", "Transformer pretrained, head only"),
    *("Transformer pretrained, fine-tuned", "Transformer pretrained, fine-tuned, CRF"),
]
FACTS = ["model", "labels", "seed", "f1", "seconds", "parameters"]
FILES = {"ladder.json", "ladder.png", "pretraining.png", "attention.png", "report.md", "finetuned", "pretrained"}
WATCHED = {"watched.png"}  # it is not drawn where no font has its characters


def small(track, **changes):
    """The track with its own story, at a toy size."""
    recipes = {name: Recipe(epochs=1, head_only=name == "head") for name in track.recipes}
    pretraining = story.replace(track.pretraining, **SMALL | changes)
    return type("Small", (type(track),), dict(pretraining=pretraining, steps=4, recipes=recipes))()


def drawn_tweets(count):
    """Lines of random words with a name of one of the ten kinds in each."""
    rng, lines = np.random.default_rng(5), []
    for i in range(count):
        tokens = [f"word{number}" for number in rng.integers(300, size=9)]
        kind, first = KINDS[i % len(KINDS)], int(rng.integers(7))
        tags = ["O"] * 9
        tags[first : first + 2] = [f"B-{kind}", f"I-{kind}"]
        lines.append(TaggedLine(tokens, tags))
    return lines


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """`quickstart` on the material in data/, one fit at a time."""
    labelled, tagged = corpus.labelled, corpus.tagged
    monkeypatch.setattr(corpus, "labelled", lambda name: labelled(DATA / "reviews.csv"))
    lines = {"peoples-daily": tagged(DATA / "entities-zh.conll"), "tweets": drawn_tweets(60)}
    monkeypatch.setattr(corpus, "tagged", lines.__getitem__)
    monkeypatch.setattr(corpus, "articles", lambda: [range(i, i + 3) for i in range(0, 36, 3)])
    monkeypatch.setattr(english, "TEST", 20)
    monkeypatch.setattr(chinese, "TEST", 5)
    monkeypatch.setattr(tweets, "TEST", 20)
    monkeypatch.setattr(tweets, "DEVELOPMENT", 7)
    tracks = {
        "en": small(English(), corpus=str(DATA / "english.txt")),
        "zh": small(Chinese(), corpus=str(DATA / "chinese.txt"), held_out=4),
        "tweets": small(Tweets(), corpus=str(DATA / "english.txt")),
    }
    monkeypatch.setattr(story, "track_for", tracks.get)
    monkeypatch.setattr(story, "workers_for", lambda device: 1)

    def run(language, say, more_rungs=None, **changes):
        options = dict(labels=(8,), seeds=1, progress=False, out=tmp_path / "out", cache=tmp_path / "cache")
        return quickstart(QuickstartOptions(language, **options | changes), say, more_rungs)

    return run


def test_a_quickstart_that_is_training_is_not_cleared_away(tmp_path):
    (tmp_path / "training_state").mkdir()
    code = """
import sys
from pathlib import Path
from minilm.files.lock import alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], cwd=DATA.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match="another process is training in"):
            story.clear(tmp_path)
        assert (tmp_path / "training_state").exists()
        other.communicate(b"\n")
    story.clear(tmp_path)
    assert not tmp_path.exists()


@pytest.mark.parametrize(
    ("language", "metric", "names"),
    [
        ("en", "accuracy", ["majority", "TF-IDF + logistic regression", *NEURAL]),
        ("zh", "f1", ["dictionary", *WITH_CRF]),
    ],
)
def test_the_whole_story(language, metric, names, toy, tmp_path):
    said = []
    rows = toy(language, said.append, all_rows=True)
    out, text = tmp_path / "out", "\n".join(said)
    assert {path.name for path in out.iterdir()} - WATCHED == FILES
    assert json.loads((out / "ladder.json").read_text(encoding="utf-8")) == rows
    assert [row["model"] for row in rows] == names
    for row in rows:
        assert list(row)[:6] == ["model", "labels", "seed", metric, "seconds", "parameters"]
        assert list(row)[-4:] == [KNOWN, NEW, LOW, HIGH] if language == "zh" else len(row) == 6
        assert row["labels"] == 8 and row["seed"] == 0 and 0 <= row[metric] <= 1 and row["seconds"] >= 0
    (head,) = (row["parameters"] for row in rows if row["model"].endswith("head only"))
    whole = rows[-1]["parameters"]
    assert head == 13 * {"en": 2, "zh": 7}[language] and whole > 4_000

    report = (out / "report.md").read_text(encoding="utf-8")
    table = markdown_table(rows, metric)
    assert table in report and table in text and len(table.splitlines()) == 2 + len(rows)
    track = track_for(language)
    assert all(f"* {masked} → " in report for masked in track.masked) and report.count("→") >= 5
    assert all(sentence in report.split("## Predictions")[1] for sentence in track.sentences)
    assert text.index("1  text") < text.index("2  word vectors") < text.index("3  pre") < text.index("4  the ladder")
    assert f"Try next:  minilm predict --model {out / 'finetuned'} " in text

    seen = [(row["step"], row["text"]) for row in read_watched(out / "pretrained")]
    assert seen == [(step, masked) for step in (0, 2, 4) for masked in track.masked]
    drawn = {"watched.png"} if (out / "watched.png").exists() else set()
    assert drawn or "watched.png is not drawn" in text  # for want of a Chinese font, for example
    assert language == "zh" or drawn
    for name in {"ladder.png", "pretraining.png", "attention.png"} | drawn:
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert [line["step"] for line in read_metrics(out / "pretrained")] == [0, 2, 4]
    kept = open_classifier(out / "finetuned").model
    assert len(kept.labels) == {"en": 2, "zh": 7}[language] and (kept.crf is not None) == (language == "zh")
    open_pretraining(out / "pretrained")


def test_names_are_found_with_the_pretrained_model_of_the_first_story(toy, tmp_path):
    """The second English task has a folder of its own; with --resume it shares the pretraining and leaves the rest alone."""
    toy("en", tiny.silent)
    out, said = tmp_path / "out", []
    kept = [path for path in out.rglob("*") if path.is_file() and path.suffix in (".json", ".md", ".safetensors")]
    before = {path: path.read_bytes() for path in kept}
    rows = toy("en", said.append, task="names", resume=True)
    assert {path: path.read_bytes() for path in kept} == before and out / "ladder.json" in before
    assert {path.name for path in out.iterdir()} - WATCHED == FILES | {"tweets"}
    own = out / "tweets"
    assert {path.name for path in own.iterdir()} - WATCHED == FILES - {"pretrained"}
    assert json.loads((own / "ladder.json").read_text(encoding="utf-8")) == rows
    assert [row["model"] for row in rows] == [*SHORT]  # without --all-rows
    for row in rows:  # a kind that neither stands in the twenty tweets nor is guessed there has no F1
        assert list(row)[:6] == FACTS and list(row)[-4:] == [KNOWN, NEW, LOW, HIGH] and 0 <= row["f1"] <= 1
        assert set() < {*list(row)[6:-4]} <= {*KINDS}
    loaded = open_classifier(own / "finetuned")
    assert loaded.model.labels == tweets.TASK.labels and loaded.model.crf is not None
    report, text = (own / "report.md").read_text(encoding="utf-8"), "\n".join(said)
    assert markdown_table(rows, "f1") in report and "With 8 labelled tweets" in report and f"| {NEW} |" in report
    assert all(f"* {sentence} → " in report.split("## Predictions")[1] for sentence in Tweets.sentences)
    assert "20 are the test set, 7 are there to choose on, and 33 to learn from" in text
    assert f"Try next:  minilm predict --model {own / 'finetuned'} " in text


def test_the_track_of_each_language_and_task():
    options = [QuickstartOptions(language, task) for language in ("en", "zh") for task in ("", "names")]
    assert [each.track for each in options] == ["en", "tweets", "zh", "zh"]  # in Chinese it is names anyway
    folders = ["runs/quickstart", "runs/quickstart/tweets", "runs/quickstart-zh", "runs/quickstart-zh"]
    assert [each.results.as_posix() for each in options] == folders
    assert [type(track_for(each.track)) for each in options] == [English, Tweets, Chinese, Chinese]
    pretraining = [story.pretraining_settings(each, track_for(each.track)) for each in options]
    assert pretraining[0] == pretraining[1]  # the pretrained model is the same
    with pytest.raises(
        InputError, match=r"--with-pretrained is for the sentiment of sentences: leave it out with --task"
    ):
        QuickstartOptions(task="names", with_pretrained=True)
    with pytest.raises(InputError, match="--with-pretrained is for English"):
        QuickstartOptions("zh", task="names", with_pretrained=True)


def test_the_tweets_have_a_part_to_choose_on(toy, tmp_path):
    """What is chosen on it is measured on no tweet of the test set, and learned from none of its own."""
    track = story.track_for("tweets")
    settings = story.pretraining_settings(QuickstartOptions(out=tmp_path, cache=tmp_path / "cache"), track)
    prepared = story.prepare_for(settings, tiny.silent)
    own = track.material(prepared, settings, torch.device("cpu"), tiny.silent)
    chosen = track.development(own, settings)
    sizes = [len(each) for each in (own.examples, own.test_examples, chosen.examples, chosen.test_examples)]
    assert sizes == [33, 20, 33, 7] and chosen.examples == own.examples
    assert not [line for line in chosen.test_examples if line in own.examples + own.test_examples]


def test_a_second_story_replaces_the_first_and_tells_the_same(toy, tmp_path):
    first = without_clock(toy("en", tiny.silent))
    assert without_clock(toy("en", tiny.silent)) == first


def test_ctrl_c_in_the_pretraining_ends_the_story(toy, tmp_path, monkeypatch):
    """A half-trained model must not enter the ladder as if its pretraining were complete."""
    real = PretrainingBatches.__getitem__

    def pressed(self, step):
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return real(self, step)

    monkeypatch.setattr(PretrainingBatches, "__getitem__", pressed)
    with pytest.raises(KeyboardInterrupt):
        toy("en", tiny.silent)
    assert not (tmp_path / "out" / "ladder.json").exists()


def without_clock(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


def test_a_story_that_was_stopped_goes_on_and_one_that_is_told_makes_another_table(toy, monkeypatch, tmp_path):
    """A resumed story equals an uninterrupted one. If the pretraining is complete, only the table is made again."""
    real, steps = PretrainingBatches.__getitem__, []

    def stopped(self, step):
        if step == 2:
            signal.raise_signal(signal.SIGINT)
        return real(self, step)

    def counted(self, step):
        steps.append(step)
        return real(self, step)

    whole = without_clock(toy("en", tiny.silent, out=tmp_path / "whole"))
    monkeypatch.setattr(PretrainingBatches, "__getitem__", stopped)
    with pytest.raises(KeyboardInterrupt):
        toy("en", tiny.silent)
    monkeypatch.setattr(PretrainingBatches, "__getitem__", counted)
    assert without_clock(toy("en", tiny.silent, resume=True)) == whole
    assert 3 in steps and not {1, 2} & set(steps)  # batch 0 is also used for measuring
    steps.clear()
    more = without_clock(toy("en", tiny.silent, resume=True, labels=(8, 12)))
    assert [row for row in more if row["labels"] == 8] == whole and len(more) == 2 * len(whole)
    assert set(steps) == {0}


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ((600, 400, 401), "10.0 minutes in all, 6.7 of them pretraining."),
        ((480, 402, 3), "14.7 minutes in all, 6.7 of them pretraining (6.7 in an earlier run)."),
        ((480, 402, 300), "9.7 minutes in all, 6.7 of them pretraining (1.7 in an earlier run)."),
    ],
)
def test_the_minutes_of_an_earlier_run_are_counted_and_named(clock, said):
    """`clock` has the seconds of this run, of all pretraining, and of the pretraining in this run."""
    assert duration(*clock) == said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(language="fr"), "language 'fr' is not known"),
        (dict(seeds=0), "--seeds and --labels must be 1 or more"),
        (dict(labels=(5, 0)), "--seeds and --labels must be 1 or more"),
        (dict(steps=5, minutes=1.0), "give --steps or --minutes, not both"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        QuickstartOptions(**options)


def test_the_budget_is_the_tracks_own_unless_another_is_given():
    for track in (English(), Chinese()):
        steps = story.pretraining_settings(QuickstartOptions(), track)
        assert (steps.steps, steps.minutes) == (track.steps, None)
        minutes = story.pretraining_settings(QuickstartOptions(minutes=3.0), track)
        assert (minutes.steps, minutes.minutes) == (None, 3.0)
        assert steps.out.name == "pretrained"


# ------------------------------------------------------------------------------- rungs of your own


class Letters(nn.Module):
    """An encoder that is not part of minilm: each token has one vector, whatever its context."""

    def __init__(self, config):
        super().__init__()
        self.config, self.output_size = config, 6
        self.table = nn.Embedding(config.vocab_size, self.output_size)

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        return EncoderOutput(self.table(input_ids))


def letters(task, seed, config):
    model = Classifier(Letters(config), task.head())
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    return model


def first_label(material, labels, seed):
    """A baseline that always predicts the label of the first labelled example."""
    said = material.examples[material.drawn(labels, seed)[0]].label
    return Outcome(float(np.mean([example.label == said for example in material.test_examples])), 0.5, 0)


def of_ones_own(start, material):
    assert len(start.vectors) == start.config.vocab_size and start.pretrained.is_dir()
    assert len(material.test_examples) == 20
    build = partial(letters, config=start.config)
    return [
        Rung("Bag of letters", build, "everything", Recipe(epochs=1), "no order at all"),
        Baseline("first label", first_label, "hardly a model"),
    ]


def test_rungs_of_ones_own_stand_in_the_table_the_file_and_the_picture(toy, tmp_path, monkeypatch):
    draw, pictures, said = plots.ladder, [], []
    monkeypatch.setattr(plots, "ladder", lambda *a, **options: pictures.append(draw(*a, **options)))
    rows = toy("en", said.append, of_ones_own)
    names = ["majority", "TF-IDF + logistic regression", *NEURAL, "Bag of letters", "first label"]
    assert [row["model"] for row in rows] == names
    assert json.loads((tmp_path / "out" / "ladder.json").read_text(encoding="utf-8")) == rows
    vocabulary = open_pretraining(tmp_path / "out" / "pretrained").model.config.vocab_size
    assert rows[-2]["parameters"] == 6 * vocabulary + 6 * 2 + 2 and rows[-1]["seconds"] == 0.5
    (picture,) = pictures
    assert [label.get_text() for label in picture.axes[0].get_yticklabels()] == names
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    for text in (report, "\n".join(said)):
        assert "| Bag of letters | 8 | " in text and "| first label | 8 | " in text
    assert {path.name for path in (tmp_path / "out").iterdir()} - WATCHED == FILES


def test_every_rung_of_the_story_draws_the_same_examples(toy, monkeypatch):
    """Seven networks, two baselines and two rungs of your own: with the same seed, all draw the same eight texts."""
    seen = {}
    ask = Material.drawn

    def drawn(self, labels, seed):
        chosen = ask(self, labels, seed)
        seen.setdefault((labels, seed), []).append(chosen)
        return chosen

    monkeypatch.setattr(Material, "drawn", drawn)
    fitted = {}
    fit = ladder.fit

    def watched(model, examples, recipe, seed, *others, **options):
        fitted.setdefault(seed, []).append(examples.rows)
        return fit(model, examples, recipe, seed, *others, **options)

    monkeypatch.setattr(ladder, "fit", watched)
    toy("en", tiny.silent, of_ones_own, seeds=2)
    assert seen.keys() == {(8, 0), (8, 1)}
    for chosen in seen.values():
        assert len(chosen) >= 2 + len(NEURAL) + 2 and all(one == chosen[0] and len(one) == 8 for one in chosen)
    assert seen[8, 0][0] != seen[8, 1][0]
    assert {seed: len(rows) for seed, rows in fitted.items()} == {0: len(NEURAL) + 1, 1: len(NEURAL) + 1}
    assert all(rows == same[0] for same in fitted.values() for rows in same) and fitted[0][0] != fitted[1][0]


# ------------------------------------------------------------------------------- the rungs without a network


def material(task, pool, test):
    tokenizer = train_characters(["goodbadfilm王雨在青山李村"])
    return Material.encoded(task, (pool, test), tokenizer, 24, torch.device("cpu"))


@pytest.fixture
def films():
    """Ten texts for training and four for testing; three of each are positive."""
    pool = [Example(f"{word} film", label) for word, label in [("good", "positive")] * 3 + [("bad", "negative")] * 7]
    test = [Example("good film", "positive")] * 3 + [Example("bad film", "negative")]
    return material(english.TASK, pool, test)


def labels_drawn(films, labels, seed):
    return [films.examples[i].label for i in films.drawn(labels, seed)]


def test_the_majority_is_that_of_the_sample(films):
    assert majority(films, 10, 0) == Outcome(0.25, 0.0, 0)  # it predicts negative, the most common of the ten
    for seed in range(5):
        y = labels_drawn(films, 3, seed)
        assert majority(films, 3, seed).score == (0.75 if y.count("positive") > 1 else 0.25)


def test_tfidf_learns_what_words_tell_and_survives_a_handful_of_labels(films):
    outcome = tfidf(films, 10, 0)
    assert outcome.score == 1.0 and outcome.parameters in (4, 6)  # three words, perhaps also their pairs, and a bias
    for labels in (1, 2, 3, 4):
        for seed in range(4):
            y = labels_drawn(films, labels, seed)
            outcome = tfidf(films, labels, seed)
            assert 0 <= outcome.score <= 1
            assert len(set(y)) > 1 or outcome == majority(films, labels, seed)


def test_a_dictionary_takes_the_longest_name_from_left_to_right():
    names = {tuple(name): kind for name, kind in {"北京": "LOC", "北京大学": "ORG", "大学": "ORG", "王": "PER"}.items()}
    tags = look_up(list("王在北京大学和北京"), names, 4)
    assert tags == ["B-PER", "O", "B-ORG", "I-ORG", "I-ORG", "I-ORG", "O", "B-LOC", "I-LOC"]
    assert look_up(list("无名"), {}, 0) == ["O", "O"] and look_up([], names, 4) == []


def test_F31_the_dictionary_knows_the_names_it_has_seen():
    seen = TaggedLine(list("王雨在青山"), ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"])
    unseen = TaggedLine(list("王雨在李村"), ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"])
    outcome = dictionary(material(chinese.TASK, [seen], [seen, unseen]), 1, 0)
    # three of the four names are found, and no guess is wrong
    assert outcome.score == pytest.approx(2 * 3 / (3 + 4)) and outcome.parameters == 2


def test_remarks_follow_the_figures():
    """Those of the taggers are in test_names.py."""
    track, base = English(), ["TF-IDF + logistic regression"]

    def remarks(scores):
        rows = [
            {"model": model, "labels": 8, "seed": 0, track.metric: score, "seconds": 1.0, "parameters": 1}
            for model, score in zip(base + NEURAL, scores, strict=True)
        ]
        return track.remarks(rows, (8,), dict(nsp_accuracy=0.6, pairs=100, mlm_loss=4.0))

    good = remarks([0.6, 0.5, 0.5, 0.5, 0.6, 0.6, 0.65, 0.7])
    bad = remarks([0.4, 0.9, 0.9, 0.8, 0.8, 0.8, 0.3, 0.5])
    assert good != bad and all(line.startswith("* ") for text in (good, bad) for line in text.splitlines())
    assert "0.700" in good and "0.500" in bad
    assert "+20.0 points" in good


# ------------------------------------------------------------------------------- duplicates

REVIEW = "I saw this film twice and I would gladly see it a third time with my friends"


def test_duplicates_exact_near_and_none():
    candidates = [
        "I would gladly see it a third time with my friends",  # is part of the review
        "I WOULD gladly see it, a third time: with my friends!",  # case and punctuation do not matter
        "She says I would gladly see it a third time",  # five of its six runs of words are in the review
        "Nothing of this sentence stands in any review at all",
        "It is the same sentence as the next one",
        "It is the same sentence as the next one!",
        "too short",
    ]
    assert duplicates(candidates, [REVIEW]) == {0, 1, 2, 4, 5}
    assert duplicates(candidates, []) == {0, 1, 4, 5, 2}  # 0, 1 and 2 share runs with each other
    assert duplicates(candidates[2:4], []) == set()
    assert duplicates(["too short"], ["too short"]) == {0}  # shorter texts must be identical
    assert duplicates([], [REVIEW]) == set()


def test_half_of_the_runs_is_the_border():
    others = ["a b c d e f g"]  # runs of three: abc bcd cde def efg
    assert duplicates(["a b c d x y"], others, run=3) == {0}  # two of four runs: abc and bcd
    assert duplicates(["a b c w x y"], others, run=3) == set()  # only abc
    assert duplicates(["a b c w x y"], others, run=3, share=0.25) == {0}


def test_shingles_are_runs_of_words():
    assert shingles("One two, THREE!", 2) == ["one two", "two three"]
    assert shingles("One", 2) == ["one"] and shingles("…", 2) == [""]
    assert shingles("北 京 大 学", 3) == ["北 京 大", "京 大 学"]


def test_the_test_sentences_are_in_nothing_that_is_trained_on(toy, tmp_path, monkeypatch):
    """A review that is part of the pretraining text is left out of both the test set and the pool."""
    text = (DATA / "english.txt").read_text(encoding="utf-8")
    examples = corpus.labelled("rotten-tomatoes")
    (tmp_path / "text.txt").write_text(text + "\n" + "\n".join(e.text for e in examples[:6]), encoding="utf-8")
    track = small(English(), corpus=str(tmp_path / "text.txt"))
    monkeypatch.setattr(story, "track_for", lambda language: track)

    def stop_here(rungs, material, *_):
        raise Enough(material)

    monkeypatch.setattr(story, "climb", stop_here)
    with pytest.raises(Enough) as stopped:
        toy("en", tiny.silent)
    found = stopped.value.args[0]
    pool, test = found.examples, found.test_examples
    assert len(test) == 20 and not {e.text for e in pool} & {e.text for e in test}
    assert not {e.text for e in examples[:6]} & {e.text for e in pool + test}
    assert len(found.pool) == len(pool) and len(found.test) == 20  # exactly these are encoded


class Enough(Exception):
    """Raised to stop the story early, because the rest of it does not matter here."""


def test_neighbour_lines_show_words_that_the_vocabulary_has(tmp_path):
    prepared = story.prepare_for(tiny.options(tmp_path), tiny.silent)
    vectors = np.random.default_rng(0).normal(size=(prepared.tokenizer.size, 4)).astype(np.float32)
    (line,) = story.neighbour_lines(prepared.tokenizer, vectors, ("the", "xylophone"))
    assert line.startswith("         the: ") and len(line.split(": ")[1].split()) == 6
