"""`finetune --tune …`: a small file beside the base it needs, opened again with the same bits; and what is refused."""

import json
import shutil

import pytest
import tiny
import torch
from tiny import DATA, silent, weights

from minilm.errors import InputError
from minilm.files.checksums import FILE as CHECKSUMS, unseal
from minilm.jobs.evaluate import EvaluateOptions, evaluate
from minilm.jobs.finetune import FinetuneOptions, finetune, recipe_for
from minilm.jobs.predict import PredictOptions, predict
from minilm.jobs.pretrain import pretrain
from minilm.models.adaptation import Adaptation, adaptive_layers, trained_weights
from minilm.pretrained import adapter, registry
from minilm.pretrained.adapter import SETTINGS, WEIGHTS, read_adapter, save_adapter
from minilm.pretrained.protocol import open_classifier, open_model
from minilm.training.state import read_metrics
from minilm.training.supervised import Recipe

REVIEWS = str(DATA / "reviews.csv")
OPTIONS = {"low-rank": {"rank": 2, "where": "everywhere"}, "adaptive": {"rank": 2}, "prompts": {"prompt_length": 3}}


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Two pretrained models of one shape with different weights."""
    folder = tmp_path_factory.mktemp("tune")
    out = []
    for seed in (0, 1):
        options = tiny.options(folder, steps=1, seed=seed, out=folder / f"run{seed}", evaluations=1)
        pretrain(options, silent)
        out.append(options.out)
    return out


def tuned(books, out, tune, say=silent, **changes):
    given = dict(data=REVIEWS, model=str(books[0]), out=out, truncate=True, recipe=Recipe(epochs=1), progress=False)
    given |= dict(adaptation=Adaptation(tune, **OPTIONS.get(tune, {})), labels=16, held_out=12)
    return finetune(FinetuneOptions(**given | changes), say)


@pytest.fixture(scope="module")
def kept(books, tmp_path_factory):
    """An adapter that trains the head alone."""
    out = tmp_path_factory.mktemp("kept") / "out"
    tuned(books, out, "head")
    return out


@pytest.fixture
def broken(kept):
    """A function that writes an adapter with other settings beside the first one, and returns its folder."""

    def make(**change):
        other = kept.parent / "other"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(kept, other)
        settings = json.loads((other / SETTINGS).read_text(encoding="utf-8"))
        (other / SETTINGS).write_text(json.dumps(settings | change), encoding="utf-8")
        unseal(other)
        return other

    return make


@pytest.mark.parametrize("tune", ["head", "top", "biases", "adapters", "low-rank", "adaptive", "prompts"])
def test_F32_an_adapter_is_opened_again_bit_for_bit(tune, books, tmp_path, monkeypatch):
    from minilm.jobs import finetune as job

    kept = []
    monkeypatch.setattr(
        job, "save_adapter", lambda folder, model, *rest: kept.append(model) or save(folder, model, *rest)
    )
    from minilm.pretrained.adapter import save_adapter as save

    before = weights(books[0])
    tuned(books, tmp_path / "out", tune)
    loaded = open_classifier(tmp_path / "out")
    (model,) = kept
    trained, again = trained_weights(model), trained_weights(loaded.model)
    assert trained.keys() == again.keys() and all(torch.equal(trained[name], again[name]) for name in trained)
    ids = torch.tensor([[2, 9, 31, 5, 3], [2, 44, 3, 0, 0]])
    with torch.no_grad():
        assert torch.equal(model(ids, None, ids != 0), loaded.model(ids, None, ids != 0))
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {WEIGHTS, SETTINGS, CHECKSUMS, "metrics.jsonl", "notes.txt", "training.lock"}
    assert all(torch.equal(before[name], weights(books[0])[name]) for name in before)  # the base is as it was
    if tune == "adaptive":
        ranks = json.loads((tmp_path / "out" / SETTINGS).read_text(encoding="utf-8"))["ranks"]
        assert sum(ranks.values()) == 8 and len(ranks) == len(adaptive_layers(loaded.model)) == 4


def test_F32_evaluate_and_predict_open_it_with_what_was_said(books, tmp_path):
    out, said = tmp_path / "out", []
    measured = tuned(books, out, "low-rank", said.append, test=REVIEWS, labels=None)
    assert evaluate(EvaluateOptions(out, REVIEWS, truncate=True), silent) == measured
    assert read_metrics(out)[-1]["accuracy"] == measured["accuracy"]
    assert any("parameters trained of 8,306 (9.56%, low-rank)" in line for line in said)
    (prediction,) = predict(PredictOptions(out, ("a fine film",)), silent)
    assert prediction.label in open_model(out).model.labels


def test_F32_a_whole_model_has_the_change_merged_into_its_weights(books, tmp_path):
    part, whole = tmp_path / "part", tmp_path / "whole"
    a, b = tuned(books, part, "low-rank"), tuned(books, whole, "low-rank", whole=True)
    assert (whole / "model.safetensors").exists() and not (whole / WEIGHTS).exists()
    assert a.keys() == b.keys() and abs(a["accuracy"] - b["accuracy"]) <= 1 / 12 + 1e-9
    ids = torch.tensor([[2, 9, 31, 5, 3]])
    with torch.no_grad():
        one, other = (open_classifier(folder).model(ids) for folder in (part, whole))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_F32_an_adapter_for_another_base_is_refused_and_a_moved_base_is_named(books, kept, broken, tmp_path):
    with pytest.raises(InputError, match="the adapter .* is for another base: the weights of .*run1 have the SHA-256"):
        open_classifier(kept, base=books[1])
    moved = shutil.copytree(books[0], tmp_path / "moved")
    assert open_classifier(kept, base=moved).model.labels == open_classifier(kept).model.labels
    with pytest.raises(InputError, match="needs its base, and .*gone does not exist: name it with --base"):
        open_classifier(broken(base="gone"))
    with pytest.raises(InputError, match="--base is for adapters"):
        open_classifier(books[0], base=moved)


@pytest.mark.parametrize("name", ["all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2", "all-minilm-l6-v2"])
def test_F32_the_base_of_an_adapter_is_a_published_model_by_any_of_its_names(name, books, kept, tmp_path, monkeypatch):
    for module in (adapter, registry):
        monkeypatch.setattr(module, "locate", lambda _: books[0])
    found = open_classifier(kept)
    save_adapter(tmp_path, found.model, read_adapter(kept).adaptation, name)
    assert read_adapter(tmp_path).base == "all-minilm-l6-v2"
    assert read_adapter(tmp_path).find_base() == "all-minilm-l6-v2"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "another"}, "the format 'another' is not one that minilm opens"),
        ({"adaptation": {"tune": "lora"}}, "tune 'lora' is not known"),
        ({"adaptation": {"speed": 1}}, "does not describe an adaptation"),
        ({"ranks": {"0.to_qkv": -1}}, "the ranks must be whole numbers"),
        ({"base": None}, "does not say what its base or its head is"),
        ({"adaptation": {"tune": "biases"}}, "the trained weights do not fit the base: encoder"),
    ],
)
def test_F32_a_broken_adapter_is_one_sentence(change, says, broken):
    with pytest.raises(InputError, match=says):
        open_classifier(broken(**change))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(model="scratch", tokenizer=DATA), "--tune head is for pretrained models"),
        (dict(recipe=Recipe(head_only=True)), "--recipe.head-only and --tune head both say what is trained"),
        (
            dict(adaptation=Adaptation("prompts"), whole=True),
            "--whole is not for --tune prompts: prompts have no place",
        ),
        (
            dict(adaptation=Adaptation("all"), whole=True),
            "--whole is not for --tune all: a whole model is written anyway",
        ),
    ],
)
def test_F32_options_that_contradict_each_other_are_one_sentence(changes, says, books, tmp_path):
    with pytest.raises(InputError, match=says):
        tuned(books, tmp_path / "out", "head", **changes)


def test_F32_nothing_is_written_over_an_adapter(books, kept):
    with pytest.raises(InputError, match="holds a model already"):
        tuned(books, kept, "biases")


def test_F32_few_numbers_learn_faster_unless_a_rate_is_given(books):
    assert recipe_for(Recipe(), books[0]).learning_rate is None
    assert recipe_for(Recipe(), books[0], "low-rank").learning_rate > 1e-3
    assert recipe_for(Recipe(learning_rate=7e-4), books[0], "low-rank").learning_rate == 7e-4
    assert recipe_for(Recipe(), books[0], "head").head_only
