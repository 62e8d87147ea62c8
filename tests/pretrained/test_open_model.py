"""There is one way to save and one way to open every architecture: ours, those of the first edition, and your own."""

import json
import math
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from minilm.errors import InputError
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, EncoderOutput, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMEncoder, LSTMLanguageModel
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained import protocol
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.protocol import (
    architecture_named,
    architecture_of,
    encoder_config,
    load_encoder,
    open_classifier,
    open_encoder,
    open_model,
    open_pretraining,
    save_model,
)
from minilm.pretrained.weights import weights_of
from minilm.text.files import Example
from minilm.text.tokenizer import train_wordpiece
from minilm.training.supervised import Recipe, fit
from minilm.training.tasks import TextTask

LINES = ["The old house stood by the river.", "Nobody lived in the old house, and nobody came."]
LABELS = ("bad", "good", "so-so")
TEXT_HEAD, TOKEN_HEAD = TextHeadConfig(LABELS, 0.3), TokenHeadConfig(LABELS, 0.2)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n".join(LINES * 3), encoding="utf-8")
    return train_wordpiece([file], vocab_size=90)


def bert(tokenizer, **changes):
    sizes = dict(width=6, layers=2, heads=3, feed_forward=10, max_length=12) | changes
    return Bert(TransformerConfig(tokenizer.size, **sizes))


def lstm(tokenizer, **changes):
    return LSTMEncoder(LSTMConfig(tokenizer.size, **dict(embedding=3, hidden=4) | changes))


MODELS = {
    "BERT, pretrained": lambda t: BertForPretraining(bert(t).config),
    "BERT, pretrained in pre-norm": lambda t: BertForPretraining(bert(t, norm="pre").config),
    "BERT, texts by their mean": lambda t: Classifier(bert(t), TEXT_HEAD),
    "BERT, texts by [CLS]": lambda t: Classifier(bert(t), TextHeadConfig(LABELS, pooling="cls")),
    "BERT, tokens": lambda t: Classifier(bert(t), TOKEN_HEAD),
    "BERT, sentences": lambda t: SentenceEncoder(bert(t)),
    "BERT, sentences without a pooler": lambda t: SentenceEncoder(bert(t), with_pooler=False),
    "LSTM, pretrained": lambda t: LSTMLanguageModel(lstm(t).config),
    "LSTM, texts by their mean": lambda t: Classifier(lstm(t), TEXT_HEAD),
    "LSTM, texts by their end": lambda t: Classifier(
        lstm(t, bidirectional=True), TextHeadConfig(LABELS, pooling="last")
    ),
    "LSTM, tokens": lambda t: Classifier(lstm(t, bidirectional=True, layers=1, dropout=0.25), TOKEN_HEAD),
    "LSTM, sentences": lambda t: SentenceEncoder(lstm(t)),
}
BATCH = torch.tensor([[2, 7, 9, 11, 8, 3], [2, 8, 3, 0, 0, 0]])


def redrawn(model):
    """The model with all weights redrawn, so that none is 0 or 1 only because it starts that way."""
    rng = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3, generator=rng)
    return model.eval()


def outputs(model):
    """All outputs of a model for a batch with padding."""
    with torch.no_grad():
        out = model(BATCH, attention_mask=BATCH > 0)
    return [tensor for tensor in out if isinstance(tensor, torch.Tensor)] if isinstance(out, tuple) else [out]


def saved(folder, model, tokenizer):
    save_model(folder, redrawn(model), tokenizer)
    return folder, model


def edit(folder, change=None, **entries):
    """Change config.json by key and the weights by a function; the value None removes a key."""
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | entries
    removed = {key for key, value in entries.items() if value is None}
    path.write_text(json.dumps({k: v for k, v in settings.items() if k not in removed}), encoding="utf-8")
    if change:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")


@pytest.mark.parametrize("kind", MODELS)
def test_a_saved_model_opens_as_what_it_was_bit_for_bit(kind, tokenizer, tmp_path):
    folder, model = saved(tmp_path / "model", MODELS[kind](tokenizer), tokenizer)
    loaded = open_model(folder)
    assert type(loaded.model) is type(model) and type(loaded.model.encoder) is type(model.encoder)
    assert loaded.model.config == model.config and loaded.lacking == () and not loaded.model.training
    assert loaded.max_length == (None if kind.startswith("LSTM") else 12) and loaded.folder == folder
    assert loaded.tokenizer.ids(LINES) == tokenizer.ids(LINES)
    ours, theirs = weights_of(loaded.model), weights_of(model)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    for again, before in zip(outputs(loaded.model), outputs(model), strict=True):
        assert torch.equal(again, before)
    if isinstance(model, Classifier):
        assert loaded.model.head_config == model.head_config and loaded.model.labels == LABELS
    save_model(tmp_path / "again", loaded.model, loaded.tokenizer)
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in (folder, tmp_path / "again")]
    assert files[0] == files[1]


def test_each_opener_refuses_the_folders_of_the_others(tokenizer, tmp_path):
    kinds = ("BERT, pretrained", "LSTM, pretrained", "BERT, tokens", "LSTM, texts by their mean", "LSTM, sentences")
    for kind in kinds:
        folder, model = saved(tmp_path / kind, MODELS[kind](tokenizer), tokenizer)
        if not isinstance(model, Classifier):
            with pytest.raises(InputError, match="holds no classifier: fine-tune it first"):
                open_classifier(folder)
        if "pretrained" not in kind:
            with pytest.raises(InputError, match="guesses no masked words: name a folder that `minilm pretrain`"):
                open_pretraining(folder)
        encoder = open_encoder(folder).model.encoder  # every model has an encoder
        hidden, expected = (e(BATCH, attention_mask=BATCH > 0).hidden for e in (encoder, model.encoder))
        assert torch.equal(hidden, expected)


@pytest.mark.parametrize("architecture", ["BERT", "LSTM"])
def test_a_pretrained_encoder_goes_into_a_classifier(architecture, tokenizer, tmp_path):
    folder, model = saved(tmp_path, MODELS[f"{architecture}, pretrained"](tokenizer), tokenizer)
    adapter, config = encoder_config(folder)
    assert adapter is architecture_of(model) is architecture_named(architecture.lower()) and config == model.config
    classifier = Classifier(adapter.build_encoder(config), TEXT_HEAD)
    head = classifier.head.weight.clone()
    assert load_encoder(classifier, folder) == ("head.weight", "head.bias")
    assert torch.equal(classifier.head.weight, head)
    ours, theirs = weights_of(classifier.encoder), weights_of(model.encoder)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    other = Classifier({"BERT": lstm, "LSTM": bert}[architecture](tokenizer), TEXT_HEAD)
    with pytest.raises(InputError, match="do not fit: missing encoder"):
        load_encoder(other, folder)


def test_a_name_and_a_model_that_nobody_knows_are_refused(tokenizer, tmp_path):
    with pytest.raises(InputError, match="architecture 'gpt-9' is not known: choose one of bert, lstm"):
        architecture_named("gpt-9")
    with pytest.raises(InputError, match="Linear has no adapter: .*minilm/pretrained/protocol.py"):
        save_model(tmp_path, nn.Linear(2, 3), tokenizer)
    with pytest.raises(InputError, match="a lone LSTMEncoder is not saved: wrap it in a SentenceEncoder"):
        save_model(tmp_path, lstm(tokenizer), tokenizer)
    assert not any(tmp_path.iterdir())
    folder, _ = saved(tmp_path, MODELS["BERT, sentences"](tokenizer), tokenizer)
    for kind in ("roberta", ["bert"], 7):
        edit(folder, model_type=kind)
        with pytest.raises(InputError) as caught:
            open_model(folder)
        known = "mpnet, bert, minilm-lstm, gpt2, minilm-seq2seq"
        message = f"{folder / 'config.json'}: model_type {kind!r} is not one that minilm opens ({known})."
        assert str(caught.value) == message


# ---- folders of the first edition


def test_a_first_edition_lstm_is_refused_in_one_sentence(tokenizer, tmp_path):
    folder, _ = saved(tmp_path, MODELS["LSTM, texts by their mean"](tokenizer), tokenizer)
    edit(folder, classes=3, pooling="mean", labels=list(LABELS), architectures=["LSTMClassifier"], minilm_head=None)
    for opener in (open_model, open_classifier, open_encoder, encoder_config):
        with pytest.raises(InputError) as caught:
            opener(folder)
        where = folder / "config.json"
        assert str(caught.value) == f"{where} was written by the first edition of minilm: train the model again."


@pytest.mark.parametrize(
    ("kind", "head"),
    [
        ("BERT, texts by their mean", {"labels": list(LABELS), "task": "text", "pooling": "mean", "dropout": 0.3}),
        ("BERT, tokens", {"labels": list(LABELS), "task": "token", "pooling": "mean", "dropout": 0.2}),
    ],
)
def test_a_first_edition_bert_classifier_still_opens(kind, head, tokenizer, tmp_path):
    folder, model = saved(tmp_path, MODELS[kind](tokenizer), tokenizer)
    edit(folder, minilm_head=head)  # the entry in the format of the first edition
    loaded = open_model(folder)
    assert loaded.model.head_config == model.head_config
    assert torch.equal(*outputs(loaded.model), *outputs(model))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"task": "image", "labels": ["a", "b"]}, "does not describe a classifier: KeyError"),
        ({"labels": ["a", "b"]}, "does not describe a classifier: KeyError"),
        ({"task": "text"}, "does not describe a classifier: KeyError"),
        ({"task": ["text"], "labels": ["a", "b"]}, "does not describe a classifier: TypeError"),
        ("text", "does not describe a classifier: ValueError"),
        ({"task": "text", "labels": ["a"]}, "at least two labels"),
        ({"task": "text", "labels": ["a", "b"], "pooling": "max"}, "pooling 'max' is not known"),
        ({"task": "text", "labels": ["a", "b"], "dropout": "much"}, "does not describe a classifier: Type"),
    ],
)
@pytest.mark.parametrize("architecture", ["BERT", "LSTM"])
def test_a_head_that_is_not_described_is_refused(architecture, head, message, tokenizer, tmp_path):
    folder, _ = saved(tmp_path, MODELS[f"{architecture}, texts by their mean"](tokenizer), tokenizer)
    edit(folder, minilm_head=head)
    with pytest.raises(InputError, match=message):
        open_model(folder)


# ---- the config and the weights of an LSTM


def test_the_config_of_an_lstm_survives_json(tokenizer, tmp_path):
    model = Classifier(lstm(tokenizer, layers=3, bidirectional=True, dropout=0.25, pad_id=2), TOKEN_HEAD)
    adapter = architecture_named("lstm")
    entries = json.loads(json.dumps(adapter.write_config(model)))
    assert entries["model_type"] == "minilm-lstm" and entries["architectures"] == ["Classifier"]
    assert adapter.matches(entries) and not adapter.matches(entries | {"model_type": "bert"})
    assert adapter.read_config(entries | {"id2label": {"0": "negative"}}) == model.config
    assert adapter.read_head(entries) == TOKEN_HEAD
    assert adapter.read_config(entries | {"dropout": 0}).dropout == 0  # JSON writes 0.0 as 0 in other languages
    del entries["hidden"], entries["layers"]
    with pytest.raises(InputError, match="config.json lacks hidden, layers: save the model again"):
        adapter.read_config(entries)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (dict(hidden=8), r"encoder\.lstm\.cells\.0\.W_x is \[16, 3\] and should be \[32, 3\]"),
        (dict(hidden=9_000_000), r"W_h is \[16, 4\] and should be \[36000000, 9000000\]"),
        (dict(layers=1), r"unknown encoder\.lstm\.cells\.1\.W_h, encoder\.lstm\.cells\.1\.W_x, "),
        (dict(layers=3), r"missing encoder\.lstm\.cells\.2\.W_x, encoder\.lstm\.cells\.2\.W_h, "),
        (dict(layers=900), "config.json says 900 layers, and there are 9 tensors"),
        (dict(layers=1001), "layers must be at most 1,000, not 1,001"),
        (dict(embedding=0), "embedding must be at least 1, not 0"),
        (dict(bidirectional=True), r"missing encoder\.lstm\.cells\.2\."),
        (dict(hidden="wide"), "hidden 'wide' is not of the type int"),
        (dict(hidden=4.0), "hidden 4.0 is not of the type int"),
        (dict(layers=True), "layers True is not of the type int"),
        (dict(bidirectional="no"), "bidirectional 'no' is not of the type bool"),
        (dict(dropout="0.1"), "dropout '0.1' is not of the type float"),
        (dict(dropout=1), r"dropout 1 is not in \[0, 1\)"),
        (dict(vocab_size=10**30), "vocab_size must be at most 10,000,000"),
        (dict(vocab_size=20, pad_id=20), "pad_id 20 is not in the vocabulary of 20 tokens"),
    ],
)
@pytest.mark.parametrize("opener", [open_model, open_encoder])
def test_an_lstm_config_that_is_wrong_is_refused_before_anything_is_built(
    opener, entries, message, tokenizer, tmp_path
):
    folder, _ = saved(tmp_path, MODELS["LSTM, texts by their mean"](tokenizer), tokenizer)
    edit(folder, **entries)
    with pytest.raises(InputError, match=message) as caught:
        opener(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["LSTM, texts by their mean", "LSTM, pretrained"])
def test_weights_of_an_lstm_that_do_not_fit_are_all_named(kind, tokenizer, tmp_path):
    folder, _ = saved(tmp_path, MODELS[kind](tokenizer), tokenizer)

    def spoil(weights):
        del weights["encoder.lstm.cells.1.b"], weights["head.bias"]
        weights["encoder.lstm.cells.0.W_h"] = torch.zeros(16, 5)
        return weights | {"encoder.attention.W": torch.zeros(2), "adapter": torch.zeros(1)}

    edit(folder, spoil)
    with pytest.raises(InputError) as caught:
        open_model(folder)
    assert str(caught.value) == (
        f"the weights of {folder} do not fit its config.json: missing encoder.lstm.cells.1.b, head.bias; "
        "encoder.lstm.cells.0.W_h is [16, 5] and should be [16, 4]; unknown adapter, encoder.attention.W."
    )


# ---- an architecture that is not part of minilm


@dataclass(frozen=True)
class ToyConfig:
    vocab_size: int = 50
    size: int = 5
    layers: int = 2
    slope: float = 0.5
    bound: int | None = None
    dropout: float = 0.0


class ToyEncoder(nn.Module):
    """Processes every token by itself: its embedding, then some layers."""

    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config, self.output_size = config, config.size
        self.token_table = nn.Embedding(config.vocab_size, config.size)
        self.layers = nn.ModuleList(nn.Linear(config.size, config.size, bias=False) for _ in range(config.layers))

    def forward(self, input_ids, token_type_ids=None, attention_mask=None):
        x = self.token_table(input_ids)
        for layer in self.layers:
            x = x + self.config.slope * torch.tanh(layer(x))
        return EncoderOutput(x)

    def depth_of(self, name):
        return int(name.split(".")[1]) + 1 if name.startswith("layers.") else 0


class ToyLanguageModel(nn.Module):
    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config, self.encoder = config, ToyEncoder(config)
        self.head = nn.Linear(config.size, config.vocab_size)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.encoder(input_ids).hidden)


class ToyArchitecture(Architecture):
    name, model_type = "toy", "somebodys-toy"
    config_class, encoder_class, pretraining_class = ToyConfig, ToyEncoder, ToyLanguageModel

    def vector_size(self, config, scheme):
        return config.size


@pytest.fixture
def toy(monkeypatch):
    adapter = ToyArchitecture()
    monkeypatch.setattr(protocol, "ARCHITECTURES", (*protocol.ARCHITECTURES, adapter))
    return adapter


def test_an_architecture_of_somebody_else_is_saved_opened_and_fitted(toy, tokenizer, tmp_path):
    config = toy.config_from(vocab_size=tokenizer.size, size=6, width=99, dropout=0.1)
    assert config == ToyConfig(tokenizer.size, 6, dropout=0.1) and architecture_named("toy") is toy
    examples = [Example(LINES[i % 2], label=("bad", "good")[i % 2]) for i in range(12)]
    task = TextTask(("bad", "good"))
    data = task.encode(examples, tokenizer, None)
    model = Classifier(toy.build_encoder(config), task.head(), torch.Generator().manual_seed(0))
    initialise(model, generator=torch.Generator().manual_seed(0))
    low, high, table = (
        p.detach().clone() for p in (*model.encoder.layers.parameters(), model.encoder.token_table.weight)
    )
    recipe = Recipe(epochs=20, batch=4, learning_rate=0.02, layer_decay=0.1)
    fit(model, data, recipe, seed=0, bar=False)
    assert task.measure(model, data, torch.device("cpu"))["accuracy"] == 1
    moved = [
        (layer.weight - before).abs().max() for layer, before in zip(model.encoder.layers, (low, high), strict=True)
    ]
    assert moved[1] > 4 * moved[0] > 0 and not torch.equal(model.encoder.token_table.weight, table)
    save_model(tmp_path, model, tokenizer)
    loaded = open_model(tmp_path)
    assert type(loaded.model.encoder) is ToyEncoder and loaded.model.config == config and loaded.max_length is None
    assert torch.equal(*outputs(loaded.model), *outputs(model))
    adapter, found = encoder_config(tmp_path)
    assert adapter is toy and found == config
    said = [prediction.label for prediction in task.predict(loaded.model, examples[:2], loaded.tokenizer, None)]
    assert said == ["bad", "good"]


@pytest.mark.parametrize(
    "make",
    [ToyLanguageModel, lambda config: SentenceEncoder(ToyEncoder(config))],
    ids=["pretrained", "sentences"],
)
def test_its_other_models_open_too(make, toy, tokenizer, tmp_path):
    folder, model = saved(tmp_path, make(ToyConfig(tokenizer.size, bound=3)), tokenizer)
    loaded = open_model(folder)
    assert type(loaded.model) is type(model) and loaded.model.config == model.config
    assert torch.equal(*outputs(loaded.model), *outputs(model))


def test_what_it_does_not_support_is_said(toy, tokenizer, tmp_path):
    encoder = ToyEncoder(ToyConfig(tokenizer.size))
    for pooling in ("cls", "last"):
        with pytest.raises(InputError, match=f"pooling '{pooling}' does not work with ToyEncoder: choose mean"):
            Classifier(encoder, TextHeadConfig(LABELS, pooling=pooling))
    with pytest.raises(InputError, match="Toy.* has no adapter"):
        architecture_of(SentenceEncoder(type("ToyOfAnother", (ToyEncoder,), {})(encoder.config)))
    toy.pretraining_class = None
    with pytest.raises(InputError, match="toy is not pretrained here: choose another --architecture"):
        toy.build_pretraining(encoder.config)
    folder, _ = saved(tmp_path, SentenceEncoder(encoder), tokenizer)
    with pytest.raises(InputError, match="guesses no masked words"):
        open_pretraining(folder)
    edit(folder, slope="steep")
    with pytest.raises(InputError, match="config.json: slope 'steep' is not of the type float"):
        open_model(folder)
    assert Classifier(encoder, TEXT_HEAD).depth_of("head.weight") == math.inf
