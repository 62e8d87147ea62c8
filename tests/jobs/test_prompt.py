"""The verbaliser: equal to the whole head for masked words, saved as a small file, measured with and without labels."""

import json

import pytest
import tiny
import torch
from tiny import DATA, silent

from minilm.errors import InputError
from minilm.formulas import prompts as formulas
from minilm.jobs.evaluate import EvaluateOptions, evaluate
from minilm.jobs.predict import PredictOptions, predict
from minilm.jobs.pretrain import pretrain
from minilm.jobs.prompt import PromptOptions, prompt, prompted
from minilm.models.adaptation import Adaptation
from minilm.models.verbaliser import VerbaliserConfig
from minilm.pretrained.protocol import open_classifier, open_pretraining
from minilm.text.files import Example
from minilm.training.prompt_task import PromptTask, mean_logits
from minilm.training.supervised import Recipe

REVIEWS = str(DATA / "reviews.csv")
TEMPLATE = "{text} so [MASK]."


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt")
    options = tiny.options(folder, steps=1, evaluations=1)
    pretrain(options, silent)
    return options.out


@pytest.fixture(scope="module")
def words(book):
    """Four whole words of the vocabulary."""
    tokenizer = open_pretraining(book).tokenizer
    vocabulary = sorted(tokenizer.backend.get_vocab(), key=tokenizer.backend.get_vocab().get)
    return [word for word in vocabulary if word.isalpha() and len(word) > 2][:4]


def options(book, some, **changes):
    a, b, c, _ = some
    given = dict(data=REVIEWS, model=str(book), template=TEMPLATE, words=(f"negative={a}", f"positive={b},{c}"))
    return PromptOptions(**given | dict(truncate=True, held_out=12, progress=False) | changes)


def test_F33_its_logits_are_those_of_the_whole_head_and_of_the_formula(book, words):
    loaded, (a, b, c, _) = open_pretraining(book), words
    head = VerbaliserConfig(("no", "yes"), template=TEMPLATE, words=(a, f"{b}, {c}"), prior=(0.25, -0.5))
    model, tokenizer = prompted(loaded, head), loaded.tokenizer
    rows = PromptTask(head.labels, template=TEMPLATE).encode(
        [Example("a house"), Example("the old river")], tokenizer, 24
    )
    batch = rows.batch([0, 1])
    with torch.no_grad():
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        whole = loaded.model(batch.input_ids, batch.token_type_ids, batch.attention_mask).mlm_logits
    at = batch.input_ids == tokenizer.mask
    ids = [[row[0] for row in tokenizer.ids(part)] for part in ([a], [b, c])]
    want = formulas.verbaliser_logits(whole[at].double().numpy(), ids, torch.tensor(head.prior).double().numpy())
    torch.testing.assert_close(logits.double(), torch.tensor(want), atol=1e-6, rtol=0)


def test_F33_the_template_stays_whole_where_the_text_is_cut(book, words):
    tokenizer = open_pretraining(book).tokenizer
    task, texts = (
        PromptTask(("no", "yes"), template="so: {text} so [MASK]."),
        [Example("river " * 40), Example("a [MASK]")],
    )
    rows = task.encode(texts, tokenizer, 24, truncate=True).rows
    assert len(rows[0]) == 24 and [row.count(tokenizer.mask) for row in rows] == [1, 1]
    before, after = tokenizer.ids(["so:", "so [MASK]."], special=True)
    for row in rows:
        assert row[1 : 1 + len(before)] == before and row[-1 - len(after) : -1] == after
    with pytest.raises(InputError, match="text 1 of the data has .* tokens and the prompt leaves room for"):
        task.encode(texts, tokenizer, 24)
    with pytest.raises(InputError, match="the model takes 6 tokens, and the template .* leaves none for a text"):
        task.encode(texts, tokenizer, 6)


def test_F33_a_prior_makes_the_labels_equally_likely_in_the_mean(book, words):
    loaded, (a, b, _, _) = open_pretraining(book), words
    head, texts = (
        VerbaliserConfig(("no", "yes"), template=TEMPLATE, words=(a, b)),
        [Example("a house"), Example("river")],
    )
    model = prompted(loaded, head, texts)
    rows = PromptTask(head.labels, template=TEMPLATE).encode(texts, loaded.tokenizer, 24)
    assert max(map(abs, mean_logits(model, rows))) < 1e-6 < abs(mean_logits(prompted(loaded, head), rows)[0])


@pytest.mark.parametrize(
    "changes", [dict(), dict(calibrate=True), dict(labels=12, adaptation=Adaptation("biases")), dict(labels=12)]
)
def test_F33_what_is_said_is_what_the_saved_prompt_gets(changes, book, words, tmp_path):
    out, said = tmp_path / "out", []
    recipe = Recipe(epochs=1, learning_rate=1e-3)
    measured = prompt(options(book, words, out=out, test=REVIEWS, recipe=recipe, **changes), said.append)
    assert evaluate(EvaluateOptions(out, REVIEWS, truncate=True), silent) == measured
    loaded = open_classifier(out)
    assert loaded.model.head_config.template == TEMPLATE and bool(loaded.model.head_config.prior) == (
        "calibrate" in changes
    )
    (found,) = predict(PredictOptions(out, ("a fine film",)), silent)
    assert found.label in ("negative", "positive")
    size = (out / "adapter.safetensors").stat().st_size
    assert size < 100 if "labels" not in changes else size > 100
    settings = json.loads((out / "adapter.json").read_text(encoding="utf-8"))
    assert settings["minilm_head"]["task"] == "verbaliser"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (dict(template="It was [MASK]."), "must have {text} exactly once"),
        (dict(template="{text} [MASK] [MASK]"), r"must have \[MASK\] exactly once"),
        (dict(words=("negative=x", "negative=y")), "each label once"),
        (dict(words=("negative", "positive=y")), "words must be like negative=terrible,awful"),
        (dict(words=("negative=x", "positive=x")), "the word 'x' cannot stand for two labels"),
        (dict(adaptation=Adaptation("biases")), "--tune biases needs --labels"),
        (dict(labels=3, adaptation=Adaptation("head")), "--tune head trains nothing here"),
        (dict(labels=-1), "labels must be at least 0"),
        (dict(data="tweets"), "a prompt is for labels of whole texts"),
    ],
)
def test_F33_options_that_do_not_fit_are_one_sentence(changes, says, book, words):
    with pytest.raises(InputError, match=says):
        options(book, words, **changes)


def test_F33_words_that_the_data_or_the_vocabulary_does_not_know_are_one_sentence(book, words):
    with pytest.raises(InputError, match=r"the labels of .* are negative, positive, and --words has bad, good"):
        prompt(options(book, words, words=("bad=x", "good=y")), silent)
    with pytest.raises(
        InputError, match=r"the word 'unbelievably' is not one token of the vocabulary \(.*\): choose one"
    ):
        prompt(options(book, words, words=(f"negative={words[0]}", "positive=unbelievably")), silent)
