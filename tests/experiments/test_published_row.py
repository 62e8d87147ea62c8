"""A published model in the ladder and in `finetune`: it has the same texts, its own tokens and a lower learning rate."""

import json
import pickle

import pytest
import torch
from tiny import DATA, silent, weights

from minilm.errors import InputError
from minilm.examples.labelled import label_names
from minilm.experiments import quickstart as story
from minilm.experiments.english import English
from minilm.experiments.ladder import Material
from minilm.experiments.quickstart import QuickstartOptions, quickstart
from minilm.experiments.rungs import PUBLISHED_RECIPE, published_rung
from minilm.files.checksums import unseal
from minilm.jobs.finetune import FinetuneOptions, finetune, recipe_for
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.protocol import open_classifier, open_encoder, save_model
from minilm.text import corpus
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece
from minilm.training.supervised import LEARNING_RATE, PUBLISHED_LEARNING_RATE, Recipe
from minilm.training.tasks import TextTask

ONE = Recipe(epochs=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder as other people publish it, without the entries that minilm adds to its config."""
    out = tmp_path_factory.mktemp("published") / "theirs"
    tokenizer = train_wordpiece([DATA / "english.txt"], 200)
    model = SentenceEncoder(Bert(TransformerConfig(tokenizer.size, 12, 2, 3, 8, max_length=90, dropout=0.1)))
    initialise(model, generator=torch.Generator().manual_seed(0))
    save_model(out, model, tokenizer)
    unseal(out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    (out / "config.json").write_text(json.dumps({k: v for k, v in config.items() if "minilm" not in k}), "utf-8")
    return out


@pytest.fixture(scope="module")
def material():
    """The ladder's material: reviews encoded with the ladder's own tokenizer, whose tokens are single characters."""
    examples = corpus.labelled(str(DATA / "reviews.csv"))
    task = TextTask(label_names([example.label for example in examples], "reviews"))
    tokenizer = train_characters([example.text for example in examples], 60)
    return Material.encoded(task, (examples[8:], examples[:8]), tokenizer, 50, torch.device("cpu"))


def test_a_row_of_the_ladder(folder, material):
    rung = published_rung(folder, material, ONE)
    assert rung.name == "theirs, fine-tuned"
    rung = pickle.loads(pickle.dumps(rung))  # as when it is sent to a worker process
    one, again, other = (rung.run(material, 6, seed) for seed in (0, 0, 1))
    assert one.score == again.score and one.seconds > 0
    assert one.parameters == parameter_count(open_encoder(folder).model) - 12 * 13 + 2 * 13  # head instead of pooler
    assert not list(folder.glob("*fine*")) and 0 <= other.score <= 1


def test_it_draws_the_same_texts_and_cuts_them_into_its_own_tokens(folder, material):
    own, theirs = published_rung(folder, material, ONE).material, Tokenizer.load(folder)
    assert own.examples is material.examples and own.test_examples is material.test_examples
    assert own.tokenizer.to_json() == theirs.to_json() != material.tokenizer.to_json() and own.max_length == 90
    for seed in (0, 1):
        drawn = material.drawn(6, seed)
        assert own.drawn(6, seed) == drawn
        room = own.max_length - 2
        rows = [theirs.pair(ids[:room])[0] for ids in theirs.ids([material.examples[i].text for i in drawn])]
        assert own.sample(6, seed).rows == rows != material.sample(6, seed).rows
    assert len(own.test) == len(material.test) == 8


def test_the_published_model_has_its_title_there(material):
    rung = published_rung("all-minilm-l6-v2", material)
    assert rung.name == "all-MiniLM-L6-v2, fine-tuned" and rung.recipe == PUBLISHED_RECIPE
    assert rung.trained == "everything" and PUBLISHED_RECIPE.learning_rate == PUBLISHED_LEARNING_RATE


def test_a_model_from_elsewhere_takes_smaller_steps_unless_told(folder, tmp_path):
    assert recipe_for(Recipe(), folder).learning_rate == PUBLISHED_LEARNING_RATE < LEARNING_RATE
    assert recipe_for(Recipe(learning_rate=0.1), folder).learning_rate == 0.1
    peaks = [Recipe(learning_rate=given).optimisation().learning_rate.peak for given in (None, 0.1)]
    assert peaks == [LEARNING_RATE, 0.1]
    options = dict(data=str(DATA / "reviews.csv"), model=str(folder), truncate=True, progress=False, labels=8)
    first, second = (
        FinetuneOptions(out=tmp_path / name, recipe=recipe, **options)
        for name, recipe in (("a", Recipe(epochs=1)), ("b", Recipe(epochs=1, learning_rate=PUBLISHED_LEARNING_RATE)))
    )
    finetune(first, silent)
    finetune(second, silent)
    a, b = weights(first.out), weights(second.out)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert recipe_for(Recipe(), first.out).learning_rate is None  # once fine-tuned here, it counts as our model
    assert open_classifier(first.out).model.config.activation == "gelu"


def test_the_quickstart_with_a_published_row(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="--with-pretrained is for English"):
        QuickstartOptions(language="zh", with_pretrained=True)
    monkeypatch.setattr(story, "PRETRAINED", "all-minilm-l6")
    with pytest.raises(InputError, match="did you mean 'all-minilm-l6-v2'"):  # the error comes before any training
        quickstart(QuickstartOptions(with_pretrained=True, out=tmp_path / "out", progress=False), silent)
    assert not (tmp_path / "out").exists()


def test_the_remarks_name_the_published_row():
    names = ["TF-IDF + logistic regression", "Transformer", "Transformer + word vectors"]
    names += ["Transformer pretrained, head only", "Transformer pretrained, fine-tuned"]
    rows = [
        {"model": name, "labels": 500, "seed": 0, "accuracy": score, "seconds": 1.0, "parameters": 1}
        for name, score in zip(names, (0.6, 0.61, 0.7, 0.71, 0.74), strict=True)
    ]
    row = {"model": "all-MiniLM-L6-v2, fine-tuned", "labels": 500, "seed": 0, "accuracy": 0.775}
    rows_with = [*rows, row | {"seconds": 9.0, "parameters": 22}]
    said = English().remarks(rows_with, (500,), {})
    assert "all-MiniLM-L6-v2 reaches 0.775 with the same 500 labels, +3.5 points compared with" in said
    assert "all-MiniLM" not in English().remarks(rows, (500,), {})
