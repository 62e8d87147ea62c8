"""`minilm bench epochs` and `minilm bench curves`: whole runs on a tiny track, with the pretrained model of its quickstart."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import DATA, silent

from minilm.bench import curves, epochs
from minilm.bench.curves import COUNTS, ROWS, limited
from minilm.bench.epochs import choice
from minilm.bench.options import BenchOptions, mark_of
from minilm.bench.run import bench
from minilm.errors import InputError
from minilm.experiments import tracks
from minilm.experiments.english import English
from minilm.experiments.ladder import Baseline, Material, Rung
from minilm.experiments.quickstart import QuickstartOptions, pretraining_settings
from minilm.experiments.rungs import Start
from minilm.experiments.table import markdown_table
from minilm.experiments.tracks import track_for
from minilm.jobs.finetune import FinetuneOptions, finetune
from minilm.jobs.pretrain import PretrainOptions, pretrain
from minilm.models.config import TransformerConfig
from minilm.text import corpus
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask

SIZES = dict(width=12, layers=1, heads=3, length=16, vocab_size=200, batch=4)
TUNED = "Transformer pretrained, fine-tuned"


class Tiny(English):
    """24 film reviews to learn from, and 8 to measure on."""

    steps, labels, masked = 1, (8,), ("a [MASK] film .",)
    pretraining = PretrainOptions(corpus=str(DATA / "english.txt"), steps=1, evaluations=1, **SIZES)
    recipes = {name: Recipe(epochs=5, batch=4, head_only=name == "head") for name in English.recipes}

    def material(self, prepared, settings, device, say):
        examples = corpus.labelled(str(DATA / "reviews.csv"))
        parts = examples[:24], examples[-8:]
        return Material.encoded(TextTask(("negative", "positive")), parts, prepared.tokenizer, settings.length, device)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder in which the quickstart has pretrained."""
    folder = tmp_path_factory.mktemp("home")
    settings = pretraining_settings(QuickstartOptions(cache=folder / "cache", progress=False), Tiny())
    pretrain(replace(settings, out=folder / settings.out), silent)
    return folder


@pytest.fixture
def run(home, tmp_path, monkeypatch):
    """Run a command in that folder. Returns what it wrote, what it said, and the (row, labels, epochs) that it fitted."""
    fitted, real = [], Rung.run

    def watched(self, material, labels, seed):
        assert self.keep is None  # a measurement leaves no model behind
        fitted.append((self.name, labels, self.recipe_for(labels).epochs, len(material.test_examples)))
        return real(self, material, labels, seed)

    monkeypatch.chdir(home)
    monkeypatch.setattr(Rung, "run", watched)
    for module in (epochs, tracks):
        monkeypatch.setattr(module, "track_for", lambda name: Tiny())
    for module in (epochs, curves):
        monkeypatch.setattr(module, "workers_for", lambda device: 1)

    def call(what, **more):
        said = []
        fitted.clear()
        given = dict(out=tmp_path, cache=home / "cache", seeds=2, progress=False) | more
        written = bench(BenchOptions(what, **given), said.append)
        assert json.loads((tmp_path / f"{what}-en.json").read_text(encoding="utf-8")) == written
        return written, "\n".join(said), list(fitted)

    return call


def test_every_row_is_fitted_for_every_number_of_epochs_on_the_development_part(run, tmp_path):
    written, said, fitted = run("epochs", rows=("LSTM", TUNED), grid=(1, 3))
    assert fitted == [
        (str(e), 8, e, 6) for _ in range(2) for e in (1, 3) for _ in range(2)
    ]  # 6 of the 24 to learn from
    rows = written["rows"]
    keys = [(row["model"], row["labels"], row["epochs"], row["seed"]) for row in rows]
    assert keys == [(model, 8, e, seed) for model in ("LSTM", TUNED) for e in (1, 3) for seed in (0, 1)]
    assert json.loads((tmp_path / "epochs-en-rows.json").read_text(encoding="utf-8")) == rows
    for model in ("LSTM", TUNED):
        best, means = choice(rows, model, 8, "accuracy")
        assert f"     8 labels  {model:50} {best:3} epochs   {means}" in said
        scores = {e: [r["accuracy"] for r in rows if (r["model"], r["epochs"]) == (model, e)] for e in (1, 3)}
        assert best == (3 if sum(scores[3]) > sum(scores[1]) else 1)


def test_what_is_measured_is_kept(run):
    first = run("epochs", rows=("LSTM",), grid=(1, 2))[0]["rows"]
    written, _, fitted = run("epochs", rows=("LSTM",), grid=(1, 2, 3))
    assert [e for _, _, e, _ in fitted] == [3, 3] and written["rows"][:4] == first and len(written["rows"]) == 6
    written, _, fitted = run("epochs", rows=("LSTM",), grid=(2,), labels=4)  # another number of labels is another row
    assert [e for _, _, e, _ in fitted] == [2, 2] and written["rows"][:4] == first and len(written["rows"]) == 8
    assert run("epochs", rows=("LSTM",), grid=(1, 2, 3))[2] == []
    written, _, fitted = run("epochs", rows=("LSTM",), grid=(1,), seeds=3)  # no seed counts twice
    own = [row for row in written["rows"] if (row["labels"], row["epochs"]) == (8, 1)]
    assert [row["seed"] for row in own] == [0, 1, 2] and len(fitted) == 3 and len(written["rows"]) == 9
    assert [row["accuracy"] for row in own[:2]] == [row["accuracy"] for row in first[:2]]


def test_the_best_mean_is_chosen_and_the_smaller_of_two_equal_ones():
    scores = {12: (0.5, 0.75), 4: (0.25, 0.5), 8: (0.75, 0.5), 20: (0.9, 0.1)}
    rows = [
        dict(model=model, labels=labels, epochs=e, seed=seed, f1=score if model == "a" else 1 - score, seconds=1.0)
        | {"parameters": 3}
        for model in "ab"
        for labels in (5, 9)
        for e, pair in scores.items()
        for seed, score in enumerate(pair if labels == 5 else pair[:1])
    ]
    assert choice(rows, "a", 5, "f1") == (8, "4: 0.375  8: 0.625  12: 0.625  20: 0.500")
    assert choice(rows, "b", 5, "f1")[0] == 4 and choice(rows, "a", 9, "f1")[0] == 20


def test_curves_from_few_labels_to_all_with_limited_epochs(run, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "COUNTS", (4, 8, 24, 50))
    monkeypatch.setattr(curves, "STEPS", 6)
    written, said, fitted = run("curves")
    rows = written["rows"]
    assert list(dict.fromkeys(row["model"] for row in rows)) == list(ROWS["en"])
    assert [(row["labels"], row["seed"]) for row in rows] == [
        (n, s) for n in (4, 8, 24) for _ in ROWS["en"] for s in (0, 1)
    ]
    # one step, two steps and six steps an epoch, of at most six in all or two epochs
    names = [name for name in ROWS["en"] if "TF-IDF" not in name]
    assert fitted == [(name, n, e, 8) for n, e in ((4, 5), (8, 3), (24, 2)) for name in names for _ in range(2)]
    assert (tmp_path / "curves-en.png").read_bytes().startswith(b"\x89PNG")
    assert markdown_table(rows, "accuracy") in said and f"The picture is {tmp_path / 'curves-en.png'}." in said
    assert run("curves")[0]["rows"] == rows and run("curves")[2] == []  # nothing is fitted twice
    kept = [row for row in rows if row["labels"] != 8]
    (tmp_path / "curves-en-rows.json").write_text(json.dumps(kept), encoding="utf-8")
    again, _, fitted = run("curves")
    assert [each[1] for each in fitted] == [8] * 6 and len(again["rows"]) == len(rows)
    assert [(row["model"], row["labels"], row["accuracy"]) for row in again["rows"]] == [
        (row["model"], row["labels"], row["accuracy"]) for row in rows
    ]


def test_a_fit_takes_no_more_than_two_thousand_steps():
    rung = Rung("x", lambda task, seed: None, "head", Recipe(epochs=9, batch=10), epochs={100: 300, 4_000: 30})
    epochs_of = {n: limited(rung, n).recipe_for(n).epochs for n in (100, 200, 500, 3_000, 10_000, 50_000)}
    assert epochs_of == {100: 200, 200: 100, 500: 40, 3_000: 6, 10_000: 2, 50_000: 2}
    assert limited(replace(rung, epochs={}), 100).recipe_for(100).epochs == 9
    assert limited(rung, 100).recipe.learning_rate == rung.recipe.learning_rate
    baseline = Baseline("y", silent)
    assert limited(baseline, 5) is baseline and list(COUNTS) == sorted(COUNTS)


@pytest.mark.parametrize("language", ["en", "zh", "tweets"])
def test_the_rows_of_the_curves_are_rows_of_the_table(language, tmp_path):
    start = Start(TransformerConfig(7, 12, 1, 3, 24, max_length=8), np.zeros((7, 4), np.float32), tmp_path)
    names = [rung.name for rung in track_for(language).rungs(start)]
    assert [name for name in names if name in ROWS[language]] == list(ROWS[language])


@pytest.mark.parametrize("what", ["epochs", "curves"])
def test_without_the_pretrained_model_of_the_quickstart_nothing_runs(what, run, tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"runs/quickstart-zh/pretrained holds no pretrained model: run the quickstart fi"
    ):
        run(what, language="zh")
    with pytest.raises(InputError, match="there is no row 'LSTN': choose from majority; TF-IDF"):
        run(what, rows=("LSTM", "LSTN"))
    assert not list(tmp_path.rglob("*.json"))


def test_tweets_start_from_the_english_model(run, monkeypatch, home):
    seen = []

    class Watched(Tiny):
        def rungs(self, start, keep=None):
            seen.append(start.pretrained)
            return super().rungs(start, keep)

    monkeypatch.setattr(epochs, "track_for", lambda name: {"tweets": Watched, "en": Tiny}[name]())
    for language in ("tweets", "en"):
        options = BenchOptions("curves", language=language, cache=home / "cache", rows=("majority",))
        material, (row,) = epochs.prepared(options, silent, on_development=language == "en")
        assert row.name == "majority" and len(material.test_examples) == {"en": 6, "tweets": 8}[language]
    assert seen == [Path("runs/quickstart/pretrained")]


# ---- another pretrained model


@pytest.fixture(scope="module")
def deeper(home):
    """Other pretrained models: two layers in the vocabulary of the quickstart, one that reads less, one with other tokens."""
    settings = pretraining_settings(QuickstartOptions(cache=home / "cache", progress=False), Tiny())
    for name, changes in {
        "deeper": dict(layers=2, width=20, heads=4),
        "shorter": dict(length=14),
        "other-tokens": dict(vocab_size=150),
        "lstm": dict(architecture="lstm", heads=4, watch=(), layers=None),
    }.items():
        pretrain(replace(settings, out=home / name, **changes), silent)
    how = dict(labels=8, held_out=4, truncate=True, recipe=Recipe(epochs=1), progress=False)
    finetune(FinetuneOptions(str(DATA / "reviews.csv"), str(home / "shorter"), home / "tuned", **how), silent)
    return home


def test_all_transformers_of_the_table_take_the_shape_of_the_given_weights(run, deeper, tmp_path):
    rows = ("Transformer", TUNED)
    given = dict(cache=deeper / "cache", language="en", rows=rows, labels=8, seeds=1, progress=False, out=tmp_path)
    counts = []
    for folder in (None, deeper / "deeper"):
        options = BenchOptions("epochs", grid=(1,), pretrained=folder, **given)
        counts.append([row["parameters"] for row in bench(options, silent)["rows"]])
    (one, other), (two, more) = counts
    assert one == other < two == more
    files = sorted(path.name for path in tmp_path.glob("*rows.json"))
    mark = mark_of(deeper / "deeper")
    assert files == ["epochs-en-from-" + mark + "-rows.json", "epochs-en-rows.json"] and len(mark) == 8
    assert (tmp_path / f"epochs-en-from-{mark}.json").exists()
    assert BenchOptions("recipe", pretrained=Path("nowhere")).name == "recipe-en"  # it has no use for them


def test_weights_that_do_not_belong_to_the_table_are_refused(run, deeper, tmp_path):
    for folder, sentence in {
        "nowhere": "nowhere holds no pretrained model",
        "tuned": r"tuned guesses no masked words: name a folder that `minilm pretrain` wrote",
        "lstm": "lstm holds another architecture: the table needs a model that `minilm pretrain` makes",
        "shorter": r"shorter reads 14 tokens, and the texts of the table have up to 16\.",
        "other-tokens": "other-tokens has another vocabulary than the quickstart: pretrain it on the same corpus",
    }.items():
        with pytest.raises(InputError, match=sentence):
            options = BenchOptions("curves", out=tmp_path, cache=deeper / "cache", pretrained=deeper / folder)
            bench(options, silent)
    assert not list(tmp_path.rglob("*.json"))
