"""The tables of trust: what is exchanged, what is negated, intervals, and a run on tiny models from beginning to end."""

import json

import numpy as np
import pytest
import torch
from tiny import DATA, silent

from minilm.bench import lighter
from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments import subjects as subjects_module, trust as trust_module
from minilm.experiments.intervals import estimate
from minilm.experiments.ladder import Material, Rung
from minilm.experiments.subjects import Subject
from minilm.experiments.trust import TrustOptions, trust
from minilm.experiments.trust_masked import gaps, on_encoder_of, preferences
from minilm.experiments.trust_measures import CLEAN
from minilm.experiments.trust_words import GENDER, NEUTRAL, ORIGINS, Swap, both_ways, negations, swaps
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import open_pretraining, save_model
from minilm.text import corpus
from minilm.text.perturb import words_in
from minilm.text.tokenizer import train_wordpiece
from minilm.training.inference import fill
from minilm.training.supervised import Recipe
from minilm.training.tasks import TextTask


def test_every_swap_has_two_versions_that_differ_in_the_words_of_its_group():
    texts = [
        "he is an actor in this film",
        "she loves the movie",
        "her brother laughs",
        "he and she",
        "an american city",
    ]
    found = swaps(texts)
    assert [(s.group, s.first, s.second) for s in found] == [
        ("gender", texts[0], "she is an actress in this film"),
        ("gender", "he loves the movie", texts[1]),
        ("origin", texts[4], f"an {ORIGINS[0]} city"),
        ("neutral", texts[0], "he is an actor in this movie"),
        ("neutral", "she loves the film", texts[1]),
        ("neutral", texts[4], "an american town"),
    ]
    assert both_ways("x", {"a": "b"}, ["a b", "c", "a"]) == [("x", "a", "b")]
    for pairs in (GENDER, NEUTRAL):
        assert not set(pairs) & set(pairs.values())


def test_a_negated_template_has_the_other_label():
    plain, negated = negations()
    assert len(plain) == len(negated) == 60
    for a, b in zip(plain, negated):
        assert {a.label, b.label} == {"negative", "positive"} and words_in(b.text) - words_in(a.text) == {"not"}


def test_an_interval_covers_what_it_should():
    rng = np.random.default_rng(0)
    inside = []
    for i in range(20):
        found = estimate(rng.normal(0.3, 1, size=(2, 80)), seed=i)
        inside.append(found.low < 0.3 < found.high)
    assert 0.8 < np.mean(inside) <= 1
    assert estimate(np.ones((3, 5))) == (1.0, 1.0, 1.0, 0.0, 3)
    assert estimate(np.ones((3, 5))).written() == "1.000 [1.000, 1.000] ± 0.000"
    assert estimate(np.ones(5)).written("{:+.1f}") == "+1.0 [+1.0, +1.0]"
    assert estimate(np.array([[0, 1], [1, 1]])).seeds == pytest.approx(np.std([0.5, 1], ddof=1))


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trust")
    examples = corpus.labelled(DATA / "reviews.csv")
    (folder / "text.txt").write_text("\n".join(e.text for e in examples) + "\nhe and she" * 9, encoding="utf-8")
    tokenizer, task = train_wordpiece([folder / "text.txt"], 200), TextTask(("negative", "positive"))
    config = TransformerConfig(
        tokenizer.size, 12, layers=2, heads=3, feed_forward=16, max_length=60, positions="relative"
    )

    def build(task, seed):
        model = Classifier(Bert(config), task.head(0.1))
        initialise(model, generator=torch.Generator().manual_seed(seed))
        return model

    more = [e._replace(text=f"he sees a film . {e.text}") for e in examples] + [
        e._replace(text=f"an american story . {e.text}") for e in examples[:6]
    ]
    material = Material.encoded(task, (more, examples[:12]), tokenizer, 60, torch.device("cpu"))
    rung = Rung("ours", build, "everything", Recipe(epochs=1, learning_rate=1e-3))
    base = BertForPretraining(config)
    initialise(base, generator=torch.Generator().manual_seed(7))
    save_model(folder / "base", base, tokenizer)
    made = Subject("own", rung, material, folder, folder / "models", folder / "base")
    made.__dict__["reviews"] = material  # in place of those of the package
    return made


def test_a_run_prints_its_tables_and_goes_on_from_what_is_there(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(trust_module, "subjects", lambda *_: {"own": subject})
    monkeypatch.setattr("minilm.experiments.trust_masked.SENTENCES_LEFT", 1)
    monkeypatch.setattr("minilm.experiments.intervals.DRAWS", 20)
    options = TrustOptions(weights=("own",), seeds=1, labels=8, texts=4, out=tmp_path, progress=False)
    said = []
    rows = trust(options, said.append)
    assert {path.name for path in tmp_path.iterdir()} >= {"report.md", "results.json", "deletion.png", "bias.png"}
    results = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in results["explanation"]] == [
        "occlusion", "gradient × input", "attention", "attention rollout", "random words",
    ]  # fmt: skip
    assert {row["group"] for row in results["bias"]} == {"gender", "origin", "neutral"}
    assert [row["when"] for row in results["masked words"]] == ["before", "after"] * len(rows[0]["guessed"]["before"])
    assert "## Bias: masked words guessed" in said[-2]
    by_name = {row["change"]: row for row in results["robustness"]}
    right = np.mean([digit == "1" for digit in rows[0]["right"][CLEAN]])
    assert by_name[CLEAN]["accuracy"]["mean"] == pytest.approx(right) and by_name[CLEAN]["drop"] is None
    assert by_name["UPPER CASE"]["drop"]["mean"] == 0  # the tokenizer reads small letters
    assert "whole reviews, learnt from sentences" in by_name
    monkeypatch.setattr(trust_module, "on_sentences", None)  # would fail if it were called
    assert trust(options, silent) == rows


def test_F25_a_preference_is_the_ratio_of_two_guesses(subject):
    """The referee is `fill`, which gives the probabilities of all words; and the head of the base stands on the tuned encoder."""
    base, tuned = open_pretraining(subject.pretrained), subject.fitted("all", 8, 0)
    tokenizer = base.tokenizer
    pairs = [s for s in swaps(["he sees a film .", "she and the story .", "he films the film"]) if s.group == "gender"]
    found = gaps([*pairs, Swap("gender", "a he , b", "a zebra , b")], tokenizer)
    known = all(len(ids) == 1 for ids in tokenizer.ids(["he", "she"]))
    assert known and [gap.text for gap in found] == [
        "[MASK] sees a film .",
        "[MASK] and the story .",
        "[MASK] films the film",
    ]
    assert {(gap.first, gap.second) for gap in found} == {("he", "she")}
    for loaded in (base, on_encoder_of(base, tuned)):
        expected = []
        for gap in found:
            p = dict(fill(loaded.model, tokenizer, gap.text, top=tokenizer.size)[0])
            expected.append(np.log(p["he"] / p["she"]))
        assert preferences(loaded, found)["gender"] == pytest.approx(expected, abs=2e-3)
    own, other = base.model.encoder.state_dict(), on_encoder_of(base, tuned).model.encoder.state_dict()
    assert all(torch.equal(other[name], tensor) for name, tensor in tuned.model.encoder.state_dict().items())
    assert not all(torch.equal(own[name], other[name]) for name in own)


def test_the_lighter_models_are_measured_and_drawn(subject, tmp_path, monkeypatch):
    monkeypatch.setattr(lighter, "subjects", lambda *_: {"own": subject})
    monkeypatch.setattr("minilm.experiments.intervals.DRAWS", 20)
    options = BenchOptions("lighter", out=tmp_path, rounds=1, labels=8, seeds=1, held_out=12, progress=False)
    said = []
    rows = {row["way"]: row for row in lighter.measure(options, said.append)["rows"]["own"]}
    assert rows.keys() == lighter.WAYS.keys() and (tmp_path / "lighter.png").exists()
    whole, small = rows[lighter.WHOLE], rows["8-bit layers and tokens"]
    assert small["bytes"] < rows["8-bit layers"]["bytes"] < whole["bytes"] and whole["lost"]["mean"] == 0
    sparse = rows["90% of the weights left out"]
    assert sparse["bytes"] == whole["bytes"] and sparse["zipped"] < 0.8 * whole["zipped"]
    assert rows["50% of the heads left out"]["bytes"] < whole["bytes"]
    assert all(row["milliseconds"] > 0 for row in rows.values())


def test_own_weights_must_be_there(tmp_path):
    with pytest.raises(InputError, match="run the quickstart first"):
        subjects_module.subjects(("own",), tmp_path, "all-minilm-l6-v2", tmp_path, tmp_path, silent)
