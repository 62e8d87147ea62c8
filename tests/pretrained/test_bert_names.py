"""The bridge to `transformers`, tested in both directions with files on disk."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BertConfig as TheirConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

from minilm.errors import InputError
from minilm.files.tensors import read_config
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.pretrained.bert import config_from_hf, hf_config
from minilm.pretrained.bert_names import NAMES, from_hf_names, to_hf_names, translate
from minilm.pretrained.protocol import open_classifier, open_pretraining, save_model
from minilm.pretrained.weights import load_weights, weights_of
from minilm.text.tokenizer import train_characters, train_wordpiece

TEXT = "The old house stood by the river. Nobody lived in the old house, and nobody came.\n他住在北京，我住在上海。\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text(TEXT * 3, encoding="utf-8")
    return train_wordpiece([file], vocab_size=120)


@pytest.fixture
def config(tokenizer):
    return TransformerConfig(
        tokenizer.size, width=6, layers=2, heads=3, feed_forward=10, max_length=40, activation="gelu_new"
    )


@pytest.fixture
def model(config):
    return redrawn(BertForPretraining(config)).eval()


@pytest.fixture
def ids(config):
    return torch.randint(1, config.vocab_size, (3, 7), generator=torch.Generator().manual_seed(1))


def redrawn(model, deviation=0.3):
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, deviation, generator=rng)
    return model


def same(ours, theirs):
    """Assert that both are equal up to float32 rounding."""
    torch.testing.assert_close(ours, theirs, atol=1e-5 * theirs.abs().max().item(), rtol=0)


# ---- names


def test_there_and_back_is_the_identity(model):
    weights = weights_of(model)
    back = from_hf_names(to_hf_names(weights))
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


@pytest.mark.parametrize("layers", [1, 12])
def test_names_cover_the_whole_of_bert_and_nothing_else(config, layers):
    referee = BertForPreTraining(
        TheirConfig(vocab_size=40, hidden_size=6, num_hidden_layers=layers, num_attention_heads=3)
    )
    theirs = referee.state_dict()
    small = replace(config, vocab_size=40, layers=layers, feed_forward=3072, max_length=512)
    ours = to_hf_names(weights_of(BertForPretraining(small)))
    assert ours.keys() == theirs.keys() - {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert {name: t.shape for name, t in ours.items()} == {name: theirs[name].shape for name in ours}
    assert from_hf_names(theirs).keys() == weights_of(BertForPretraining(small)).keys()


def test_every_row_of_the_table_is_used_and_read_the_same_both_ways():
    back = {ours: theirs for theirs, ours in NAMES.items()}
    assert len(back) == len(NAMES)
    for theirs in NAMES:
        name = theirs.format(n=11, p="bias")
        assert translate(translate(name, NAMES), back) == name
    assert translate("bert.encoder.layer.x.output.dense.weight", NAMES) is None
    assert translate("bertXembeddings.LayerNorm.weight", NAMES) is None  # a dot matches only a dot


def test_query_key_and_value_come_in_this_order(model):
    theirs = to_hf_names(weights_of(model))
    q, k, v = model.encoder.stack.layers[1].attention.to_qkv.weight.chunk(3)
    for name, part in {"query": q, "key": k, "value": v}.items():
        assert torch.equal(theirs[f"bert.encoder.layer.1.attention.self.{name}.weight"], part)


# ---- our folder is opened by transformers


def test_a_folder_of_ours_opens_in_transformers_with_equal_logits(model, tokenizer, ids, tmp_path):
    save_model(tmp_path, model, tokenizer)
    referee, info = BertForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"))
    token_type_ids = (torch.arange(7) > 3).long().expand(3, 7)
    attention_mask = torch.arange(7) < torch.tensor([[7], [4], [5]])
    theirs, ours = referee(ids, attention_mask.long(), token_type_ids), model(ids, token_type_ids, attention_mask)
    same(ours.mlm_logits, theirs.prediction_logits)
    same(ours.nsp_logits, theirs.seq_relationship_logits)
    assert referee.config.hidden_act == "gelu_new" and referee.config.layer_norm_eps == 1e-12
    in_double = model.double()(ids, token_type_ids, attention_mask)
    theirs = referee.double()(ids, attention_mask.long(), token_type_ids)
    torch.testing.assert_close(in_double.mlm_logits, theirs.prediction_logits, atol=1e-10, rtol=0)
    torch.testing.assert_close(in_double.nsp_logits, theirs.seq_relationship_logits, atol=1e-10, rtol=0)


@pytest.mark.parametrize("units", ["wordpiece", "characters"])
@pytest.mark.parametrize("load", [AutoTokenizer, PreTrainedTokenizerFast])
def test_a_folder_of_ours_gives_transformers_the_same_ids(load, units, model, tokenizer, tmp_path):
    if units == "characters":
        tokenizer = train_characters(TEXT.splitlines())
    save_model(tmp_path, model, tokenizer)
    theirs = load.from_pretrained(tmp_path)
    a, b = "Nobody came by the RIVER, café\u3000naïve.", "她住在 [MASK] 上海！ 𠀀"
    for pair in ((a, None), (a, b), (b, a), ("", None)):
        got = theirs(*[text for text in pair if text is not None], return_token_type_ids=True)
        ids, token_type_ids = tokenizer.pair(*tokenizer.ids([text for text in pair if text is not None], special=True))
        assert got["input_ids"] == ids
        assert got["token_type_ids"] == token_type_ids
    assert theirs.convert_tokens_to_ids(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]) == tokenizer.special_ids
    assert (theirs.pad_token_id, theirs.mask_token, theirs.unk_token) == (0, "[MASK]", "[UNK]")
    padded = theirs([a, "o"], padding=True)
    assert padded["attention_mask"][1] == [1] * 3 + [0] * (len(padded["input_ids"][0]) - 3)


def test_a_classifier_on_cls_opens_there_with_its_labels(config, tokenizer, ids, tmp_path):
    head = TextHeadConfig(("bad", "good", "so-so"), pooling="cls")
    model = redrawn(Classifier(Bert(config), head)).eval()
    save_model(tmp_path, model, tokenizer)
    referee, info = BertForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    same(model(ids), referee(ids).logits)
    assert referee.config.id2label == {0: "bad", 1: "good", 2: "so-so"}
    opened = open_classifier(tmp_path)
    assert opened.model.head_config == head and not opened.model.training
    assert torch.equal(opened.model(ids), model(ids))


def test_a_pre_norm_folder_is_refused_there_and_opens_here(config, tokenizer, ids, tmp_path):
    model = redrawn(BertForPretraining(replace(config, norm="pre", positions="sinusoidal"))).eval()
    save_model(tmp_path, model, tokenizer)
    with pytest.raises(ValueError, match="minilm-bert-prenorm"):
        AutoConfig.from_pretrained(tmp_path)
    opened = open_pretraining(tmp_path)
    assert opened.model.config == model.config
    assert torch.equal(opened.model(ids).mlm_logits, model(ids).mlm_logits)


# ---- their folder is opened by minilm


@pytest.fixture
def their_folder(config, tokenizer, tmp_path):
    settings = hf_config(config, "BertForPreTraining")
    referee = redrawn(BertForPreTraining(TheirConfig(**{k: settings[k] for k in settings.keys() - {"model_type"}})))
    referee.eval().save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    return referee, tmp_path


def test_a_folder_of_transformers_opens_here_with_equal_logits(their_folder, config, ids):
    referee, folder = their_folder
    opened = open_pretraining(folder)
    assert opened.model.config == config and opened.max_length == 40 and not opened.model.training
    theirs, ours = referee(ids), opened.model(ids)
    same(ours.mlm_logits, theirs.prediction_logits)
    same(ours.nsp_logits, theirs.seq_relationship_logits)


def change(folder, weights=None, **settings):
    """Edit the files of a folder, to imitate a folder that somebody else made."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | settings), encoding="utf-8")
    if weights:
        save_file(weights(load_file(folder / "model.safetensors")), folder / "model.safetensors")


def test_an_output_matrix_of_its_own_is_refused_and_a_repeated_one_is_not(their_folder, ids):
    """Without this check, an untied model would open silently, and all its logits would be wrong."""
    referee, folder = their_folder
    name, table = "cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"
    change(folder, lambda weights: weights | {name: weights[table].clone()})
    same(open_pretraining(folder).model(ids).mlm_logits, referee(ids).prediction_logits)
    change(folder, lambda weights: weights | {name: weights[table] + 1})
    with pytest.raises(InputError, match=f"{name} .*of its own"):
        open_pretraining(folder)


def test_all_that_does_not_fit_stands_in_one_message(model, config):
    weights = weights_of(model)
    del weights["encoder.embeddings.norm.gain"], weights["nsp_head.bias"]
    weights["pooler.dense.bias"] = torch.zeros(5)
    weights |= {
        "encoder.extra": torch.zeros(1),
        "head.weight": torch.zeros(2, 6),
    }  # extra weights of a head that this model lacks are fine
    with pytest.raises(InputError) as caught:
        load_weights(BertForPretraining(config), weights, "this folder")
    for part in ("encoder.embeddings.norm.gain", "nsp_head.bias", "pooler.dense.bias is [5], the model's [6]"):
        assert part in str(caught.value)
    assert "unknown encoder.extra" in str(caught.value) and "head.weight" not in str(caught.value)


def test_tensors_without_a_counterpart_are_all_named(model):
    theirs = to_hf_names(weights_of(model)) | {"bert.adapter.up": torch.zeros(1), "lm_head.bias": torch.zeros(1)}
    with pytest.raises(InputError, match=r"does not know: bert\.adapter\.up, lm_head\.bias"):
        from_hf_names(theirs)
    del theirs["bert.adapter.up"], theirs["lm_head.bias"], theirs["bert.encoder.layer.1.attention.self.key.bias"]
    with pytest.raises(
        InputError, match=r"query, key and value must come together.*layers\.1\.attention\.to_qkv\.bias"
    ):
        from_hf_names(theirs)


def test_a_refusal_changes_nothing(model, config):
    fresh = BertForPretraining(config)
    before = {name: tensor.clone() for name, tensor in weights_of(fresh).items()}
    weights = weights_of(model) | {"pooler.dense.bias": torch.zeros(5)}
    with pytest.raises(InputError):
        load_weights(fresh, weights, "this folder")
    assert all(torch.equal(before[name], tensor) for name, tensor in weights_of(fresh).items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model_type": "roberta"}, "model_type 'roberta' is not one that minilm opens"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key' is not implemented"),
        ({"is_decoder": True}, "is_decoder"),
        ({"hidden_act": "silu"}, "activation 'silu' is not known"),
        ({"hidden_size": "wide"}, "does not describe a BERT"),
        ({"num_attention_heads": 4}, "width 6 is not divisible by 4 heads"),
    ],
)
def test_a_config_that_is_not_ours_to_open_says_why(settings, message, config):
    with pytest.raises(InputError, match=message):
        config_from_hf(hf_config(config, "BertForPreTraining") | settings)


def test_a_folder_that_is_none_or_is_broken_says_so(tmp_path, model, tokenizer):
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match="is not a run folder: it has no config.json"):
            open_pretraining(folder)
    save_model(tmp_path, model, tokenizer)
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        open_pretraining(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match="it has no model.safetensors"):
        open_pretraining(tmp_path)
    for text in ("{", "[]"):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match="config.json is not JSON|config.json holds no settings"):
            read_config(tmp_path)
