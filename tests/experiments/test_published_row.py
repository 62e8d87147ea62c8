"""A published model in the ladder and in `finetune`: on the same texts, in its own tokens, in smaller steps."""

import json
import pickle

import pytest
import torch
from tiny import DATA, silent, weights

from minilm.errors import InputError
from minilm.examples.labelled import label_names
from minilm.experiments import quickstart as story
from minilm.jobs.finetune import FinetuneOptions, finetune, recipe_for
from minilm.pretrained.run_folder import open_classifier, open_encoder, save_bert
from minilm.experiments.ladder import PUBLISHED, drawn, published_rung
from minilm.experiments.quickstart import QuickstartOptions, quickstart
from minilm.experiments.english import English
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.text import corpus
from minilm.text.tokenizer import train_wordpiece
from minilm.training.supervised import PUBLISHED_LEARNING_RATE, RATE, Recipe

ONE = Recipe(epochs=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An encoder as others publish it: without what MiniLM adds to its config."""
    out = tmp_path_factory.mktemp("published") / "theirs"
    tokenizer = train_wordpiece([DATA / "english.txt"], 200)
    model = SentenceEncoder(TransformerConfig(tokenizer.size, 12, 2, 3, 8, max_length=90, dropout=0.1))
    initialise(model, generator=torch.Generator().manual_seed(0))
    save_bert(out, model, tokenizer)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    (out / "config.json").write_text(json.dumps({k: v for k, v in config.items() if "minilm" not in k}), "utf-8")
    return out


@pytest.fixture(scope="module")
def texts():
    examples = corpus.labelled(str(DATA / "reviews.csv"))
    return examples[8:], examples[:8]


def test_a_row_of_the_ladder(folder, texts):
    labels = label_names([example.label for part in texts for example in part], "reviews")
    rung = published_rung(folder, texts, labels, torch.device("cpu"), ONE)
    assert rung.name == "theirs, fine-tuned"
    rung = pickle.loads(pickle.dumps(rung))  # it is sent to a worker
    one, again, other = (rung.run(6, seed) for seed in (0, 0, 1))
    assert one.score == again.score and one.seconds > 0
    assert one.parameters == parameter_count(open_encoder(folder).model) - 12 * 13 + 2 * 13  # a head for the pooler
    study = rung.run.func.__self__
    assert study.sample(6, 1).rows == [study.pool.rows[i] for i in drawn(len(texts[0]), 6, 1)]
    assert not list(folder.glob("*fine*")) and len(study.test) == 8 and 0 <= other.score <= 1


def test_the_published_model_has_its_title_there(texts):
    rung = published_rung(
        "all-minilm-l6-v2", (texts[0][:2], texts[1][:2]), ("a", "b", "negative", "positive"), torch.device("cpu")
    )
    study = rung.run.func.__self__
    assert rung.name == "all-MiniLM-L6-v2, fine-tuned" and study.recipes == {"published": PUBLISHED}
    assert PUBLISHED.learning_rate == PUBLISHED_LEARNING_RATE


def test_a_model_from_elsewhere_takes_smaller_steps_unless_told(folder, tmp_path):
    assert recipe_for(Recipe(), folder).learning_rate == PUBLISHED_LEARNING_RATE < RATE
    assert recipe_for(Recipe(learning_rate=0.1), folder).learning_rate == 0.1
    assert Recipe().rates().peak == RATE and Recipe(learning_rate=0.1).rates().peak == 0.1
    options = dict(data=str(DATA / "reviews.csv"), model=str(folder), truncate=True, progress=False, labels=8)
    first, second = (
        FinetuneOptions(out=tmp_path / name, recipe=recipe, **options)
        for name, recipe in (("a", Recipe(epochs=1)), ("b", Recipe(epochs=1, learning_rate=PUBLISHED_LEARNING_RATE)))
    )
    finetune(first, silent)
    finetune(second, silent)
    a, b = weights(first.out), weights(second.out)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert recipe_for(Recipe(), first.out).learning_rate is None  # fine-tuned here, it is one of ours
    assert open_classifier(first.out).model.config.activation == "gelu"


def test_the_quickstart_with_a_published_row(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="--with-pretrained is for English"):
        QuickstartOptions(language="zh", with_pretrained=True)
    monkeypatch.setattr(story, "PRETRAINED", "all-minilm-l6")
    with pytest.raises(InputError, match="did you mean 'all-minilm-l6-v2'"):  # before anything is trained
        quickstart(QuickstartOptions(with_pretrained=True, out=tmp_path / "out", progress=False), silent)
    assert not (tmp_path / "out").exists()


def test_the_remarks_name_the_published_row():
    names = ["TF-IDF + logistic regression", "MiniLM", "MiniLM + word vectors", "MiniLM pretrained, head only"]
    rows = [
        {"model": name, "labels": 500, "seed": 0, "accuracy": score, "seconds": 1.0, "parameters": 1}
        for name, score in zip([*names, "MiniLM pretrained, fine-tuned"], (0.6, 0.61, 0.7, 0.71, 0.74))
    ]
    row = {"model": "all-MiniLM-L6-v2, fine-tuned", "labels": 500, "seed": 0, "accuracy": 0.775}
    rows_with = [*rows, row | {"seconds": 9.0, "parameters": 22}]
    said = English().remarks(rows_with, (500,), {})
    assert "all-MiniLM-L6-v2 comes to 0.775 from the same 500 labels, +3.5 points over" in said
    assert "all-MiniLM" not in English().remarks(rows, (500,), {})
