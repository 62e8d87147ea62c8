"""Models with a relative bias and MPNets of `transformers`: each opens on the other side with equal scores, or is refused."""

import json
import random
from dataclasses import replace

import pytest
import torch
import transformers
from published_folders import edit_weights, write
from safetensors.torch import load_file
from transformers.models.mpnet.modeling_mpnet import create_position_ids_from_input_ids

from minilm.errors import InputError
from minilm.layers.embeddings import rows_of_mpnet
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.bert_names import translate
from minilm.pretrained.mpnet_names import MPNET, OUR_POSITIONS, POSITIONS, SEGMENTS, TABLE
from minilm.pretrained.protocol import (
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

SEED, LABELS, BIAS = 7, ("a", "b", "c"), "mpnet.encoder.relative_attention_bias.weight"
KINDS = {
    "MPNetForMaskedLM": BertForPretraining,
    "MPNetForTokenClassification": lambda config: Classifier(Bert(config), TokenHeadConfig(LABELS)),
    "MPNetForSequenceClassification": lambda config: Classifier(Bert(config), TextHeadConfig(LABELS, pooling="cls")),
    "MPNetModel": lambda config: SentenceEncoder(Bert(config)),
    "with a CRF": lambda config: Classifier(Bert(config), TokenHeadConfig(LABELS, crf=True)),
    "on the mean": lambda config: Classifier(Bert(config), TextHeadConfig(LABELS)),
}
THEIRS = [kind for kind in KINDS if kind.startswith("MPNet")]


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def tokenizer(tokenizers):
    return tokenizers[1]


def drawn_config(rng: random.Random, tokenizer, **changes) -> TransformerConfig:
    heads = rng.choice([1, 2, 3])
    sizes = dict(
        vocab_size=tokenizer.size + rng.choice([0, 0, 5]),
        width=heads * rng.choice([4, 5, 7]),
        layers=rng.choice([1, 2, 3]),
        heads=heads,
        feed_forward=rng.choice([1, 7, 13]),
        max_length=rng.choice([5, 30, 143, 160]),  # beyond 128 tokens the last bucket is reached
        token_types=rng.choice([1, 2, 2, 3]),
        dropout=rng.choice([0.0, 0.25]),
        positions=rng.choice(["relative", "relative", "mpnet"]),
        epsilon=rng.choice([1e-12, 1e-5, 1e-2]),
    )
    return TransformerConfig(**sizes | changes)


def redrawn(model, seed: int = 0):
    """With gains around 1 and large weights elsewhere, so that all of them matter for the scores."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            gain = name.endswith(("gain", "LayerNorm.weight", "layer_norm.weight"))
            parameter.normal_(float(gain), 0.3 if gain else 0.5, generator=rng)
    return model.eval()


def batch_for(config: TransformerConfig, seed: int = 0):
    """Rows of different lengths, the first as long as can be; token 1, which is padding for MPNet, stands in all of them."""
    rng, T = torch.Generator().manual_seed(seed), config.max_length
    ids = torch.randint(0, config.vocab_size, (3, T), generator=rng)
    ids[:, 1] = 1
    mask = torch.arange(T) < torch.tensor([[T], [T // 2 + 1], [3]])
    return ids * mask, mask


@torch.no_grad()
def scores(model, ids, mask, segments=None):
    """What a model of ours says: of tokens, of texts, or the hidden states of an encoder or of a head on the mean."""
    if isinstance(model, BertForPretraining):
        return model(ids, segments, mask).mlm_logits[mask]
    if isinstance(model, Classifier) and model.pooling != "mean":
        out = model(ids, segments, mask)
        return out if out.dim() == 2 else out[mask]
    return model.encoder(ids, segments, mask).hidden[mask]


@torch.no_grad()
def their_scores(model, ids, mask):
    out = model.eval()(ids, attention_mask=mask.long())
    if "logits" in out:
        return out.logits if out.logits.dim() == 2 else out.logits[mask]
    return out.last_hidden_state[mask]


def opened_there(folder, kind: str, dtype=torch.float32):
    model, info = getattr(transformers, kind).from_pretrained(folder, dtype=dtype, output_loading_info=True)
    assert not [name for name in info["missing_keys"] if "pooler" not in name] and not info["mismatched_keys"]
    return model


def edit(folder, change=None, **entries) -> None:
    """Change config.json by key (None removes it) and the weights by a function."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | entries
    write(folder / "config.json", {key: value for key, value in config.items() if value is not None})
    if change:
        edit_weights(folder, change)


def same_weights(a, b) -> None:
    a, b = weights_of(a), weights_of(b)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


# ---- ours there


def test_the_scores_depend_on_all_that_is_compared(tokenizer):
    """On the last bucket, the segment, the row of padding in the table of positions, and ε."""
    config = TransformerConfig(tokenizer.size, 12, 2, 3, 7, 143, positions="mpnet")
    (ids, mask), model = batch_for(config), redrawn(BertForPretraining(config))
    expected, embeddings = scores(model, ids, mask), model.encoder.embeddings
    for table, row in (
        (model.encoder.stack.relative_bias.table, 15),
        (model.encoder.stack.relative_bias.table, 31),
        (embeddings.token_types.weight, 0),
        (embeddings.positions.weight, 1),
    ):
        before = table.data.clone()
        table.data[row] += 0.5 * torch.arange(table.size(1))
        assert (scores(model, ids, mask) - expected).abs().max() > 1e-2
        table.data.copy_(before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_F21_our_folder_opens_there_with_equal_scores_and_here_bit_for_bit(kind, seed, tokenizer, tmp_path):
    rng = random.Random(f"{SEED} {kind} {seed}")
    config = drawn_config(rng, tokenizer)
    model = redrawn(KINDS[kind](config), seed)
    save_model(tmp_path / "ours", model, tokenizer)
    opened = open_model(tmp_path / "ours")
    assert type(opened.model) is type(model) and opened.model.config == config and opened.lacking == opened.unused == ()
    same_weights(opened.model, model)
    if isinstance(model, Classifier):
        assert opened.model.head_config == model.head_config
    save_model(tmp_path / "again", opened.model, opened.tokenizer)
    files = [{p.relative_to(f): p.read_bytes() for p in f.rglob("*.*")} for f in tmp_path.iterdir()]
    assert files[0] == files[1]

    there = {"with a CRF": "MPNetForTokenClassification", "on the mean": "MPNetModel"}.get(kind, kind)
    ids, mask = batch_for(config, seed)
    exact = 1e-12 if config.positions == "relative" else 1e-6  # a sum of two tables is rounded to 32 bits in the file
    for dtype, atol in ((torch.float64, exact), (torch.float32, 1e-5)):
        theirs = opened_there(tmp_path / "ours", there, dtype)
        torch.testing.assert_close(
            scores(model.to(dtype), ids, mask), their_scores(theirs, ids, mask), atol=atol, rtol=0
        )
    entries = json.loads((tmp_path / "ours" / "config.json").read_text(encoding="utf-8"))
    assert entries["architectures"] == [there] and theirs.config.max_position_embeddings == config.max_length + 2
    assert ("minilm_note" in entries) == (config.token_types > 1)


def test_pairs_score_differently_there_which_the_folder_says(tokenizer, tmp_path):
    config = drawn_config(random.Random(1), tokenizer, token_types=2, max_length=30, positions="relative")
    model = redrawn(BertForPretraining(config))
    save_model(tmp_path, model, tokenizer)
    ids, mask = batch_for(config)
    second = (torch.arange(30) > 1).long().expand(3, 30)
    theirs = their_scores(opened_there(tmp_path, "MPNetForMaskedLM"), ids, mask)
    assert (scores(model, ids, mask, second) - theirs).abs().max() > 0.1
    note = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["minilm_note"]
    assert "the second text of a pair has other scores there" in note and "no head for next sentence" in note
    assert "cls.seq_relationship.weight" in load_file(tmp_path / "model.safetensors")


def test_the_tokenizer_of_our_folder_gives_the_same_inputs_there(tokenizer, tmp_path):
    save_model(tmp_path, redrawn(BertForPretraining(drawn_config(random.Random(2), tokenizer))), tokenizer)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "Nobody came by the RIVER, zebra."
    given = theirs(text)
    assert given.keys() == {"input_ids", "attention_mask"}  # a model without segments takes none
    assert given["input_ids"] == tokenizer.pair(*tokenizer.ids([text]))[0]


@pytest.mark.parametrize("kind", THEIRS)
def test_our_folder_that_was_written_again_there_opens_here(kind, tokenizer, tmp_path):
    """They leave out what they do not know. What is left is an MPNet with the same scores for single texts."""
    config = drawn_config(random.Random(f"{SEED} {kind}"), tokenizer, token_types=2, positions="relative")
    model = redrawn(KINDS[kind](config))
    save_model(tmp_path, model, tokenizer)
    opened_there(tmp_path, kind).save_pretrained(tmp_path)
    assert not {SEGMENTS, OUR_POSITIONS} & load_file(tmp_path / "model.safetensors").keys()
    again = open_model(tmp_path).model
    assert again.config == replace(config, positions="mpnet", token_types=1)
    ids, mask = batch_for(config)
    torch.testing.assert_close(scores(again, ids, mask), scores(model, ids, mask), atol=1e-6, rtol=0)


# ---- theirs here


def published(folder, kind: str, rng: random.Random, tokenizer, **changes):
    """A random MPNet as `transformers` writes it, with the sizes of `drawn_config`."""
    c = drawn_config(rng, tokenizer)
    sizes = dict(vocab_size=c.vocab_size, hidden_size=c.width, num_hidden_layers=c.layers, num_attention_heads=c.heads)
    sizes |= dict(intermediate_size=c.feed_forward, max_position_embeddings=c.max_length + 2, layer_norm_eps=c.epsilon)
    names = dict(enumerate(LABELS))
    made = transformers.MPNetConfig(**sizes | dict(id2label=names, label2id={n: i for i, n in names.items()}) | changes)
    model = redrawn(getattr(transformers, kind)(made), rng.randrange(10**6))
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
    write(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | tokenizer.names)
    return model


def as_others_store_it(weights, rng: random.Random):
    """The same tensors, as older and newer programs store them."""
    out = dict(weights)
    if "lm_head.bias" in out:
        for name, own in MPNET.repeated.items():
            if (how := rng.choice(["once", "twice", "there"])) != "once":
                out[name] = out[own].clone()
                if how == "there":
                    del out[own]
    if rng.random() < 0.4:
        out = {name.removeprefix("mpnet."): tensor for name, tensor in out.items()}
    if rng.random() < 0.4:
        prefix = "mpnet." if BIAS in out else ""
        out[f"{prefix}embeddings.position_ids"] = torch.arange(16)[None]
    if rng.random() < 0.3:
        out = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in out.items()}
    return out


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("seed", range(5))
def test_F21_a_published_mpnet_opens_here_with_equal_scores(kind, seed, tokenizer, tmp_path):
    rng = random.Random(f"{SEED} {kind} {seed}")
    published(tmp_path, kind, rng, tokenizer)
    edit_weights(tmp_path, lambda weights: as_others_store_it(weights, rng))
    if seed == 1:
        edit(tmp_path, architectures=None, relative_attention_num_buckets=None, hidden_act=None, pad_token_id=None)
    opener = {"ForM": open_pretraining, "Mode": open_encoder}.get(kind[5:9], open_classifier)
    opened = opener(tmp_path)
    config = opened.model.config
    assert (config.positions, config.token_types, config.pad_id) == ("mpnet", 1, 1)
    assert getattr(opened.model, "labels", LABELS) == LABELS
    ids, mask = batch_for(config, seed)
    for dtype, atol in ((torch.float64, 1e-12), (torch.float32, 2e-5)):
        theirs = opened_there(tmp_path, kind, dtype)
        torch.testing.assert_close(
            scores(opened.model.to(dtype), ids, mask), their_scores(theirs, ids, mask), atol=atol, rtol=0
        )


@pytest.mark.parametrize("kind", THEIRS)
def test_a_published_mpnet_that_we_write_is_the_same_file_until_its_segment_is_trained(kind, tokenizer, tmp_path):
    published(tmp_path / "theirs", kind, random.Random(3), tokenizer)
    model = open_model(tmp_path / "theirs").model
    save_model(tmp_path / "ours", model, tokenizer)
    before, after = (load_file(tmp_path / place / "model.safetensors") for place in ("theirs", "ours"))
    further = {"mpnet.pooler.dense", "cls.seq_relationship"} if kind == "MPNetForMaskedLM" else set()  # drawn here
    assert {name for name in after if name.rpartition(".")[0] not in further} == before.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    redrawn(model.encoder.embeddings.token_types)
    save_model(tmp_path / "trained", model, tokenizer)
    same_weights(open_model(tmp_path / "trained").model, model)
    ids, mask = batch_for(model.config)
    theirs = opened_there(tmp_path / "trained", kind)
    torch.testing.assert_close(scores(model, ids, mask), their_scores(theirs, ids, mask), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_F21_the_rows_of_positions_are_those_of_mpnet(seed):
    ids = torch.randint(0, 4, (5, 17), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(rows_of_mpnet(ids), create_position_ids_from_input_ids(ids, 1))


def test_an_encoder_goes_from_one_head_to_the_next(tokenizer, tmp_path):
    config = drawn_config(random.Random(4), tokenizer, positions="relative")
    pretrained = redrawn(BertForPretraining(config))
    save_model(tmp_path / "pretrained", pretrained, tokenizer)
    adapter, found = encoder_config(tmp_path / "pretrained")
    assert adapter is architecture_of(pretrained) and adapter.name == "mpnet" and found == config
    first = redrawn(KINDS["MPNetForSequenceClassification"](config), 1)
    assert load_encoder(first, tmp_path / "pretrained") == ("head.weight", "head.bias")
    same_weights(first.encoder, pretrained.encoder)
    same_weights(first.pooler, pretrained.pooler)
    redrawn(first, 2)
    save_model(tmp_path / "texts", first, tokenizer)
    for kind in ("MPNetForSequenceClassification", "MPNetForTokenClassification"):
        other = redrawn(KINDS[kind](config), 3)
        assert load_encoder(other, tmp_path / "texts") == ("head.weight", "head.bias")
        same_weights(other.encoder, first.encoder)
    assert open_encoder(tmp_path / "texts").model.pooler is not None


# ---- what has no counterpart there


@pytest.mark.parametrize(
    ("changes", "model_type"),
    [
        (dict(positions="rotary"), "minilm-bert-rotary"),
        (dict(positions="rotary", norm="pre"), "minilm-bert-prenorm"),
        (dict(positions="relative", norm="pre"), "minilm-bert-prenorm"),
        (dict(positions="relative", activation="relu"), "minilm-bert-relative"),  # MPNet's head always has GELU
        (dict(positions="mpnet", activation="gelu_new"), "minilm-bert-mpnet"),
        (dict(positions="sinusoidal"), "bert"),
        (dict(positions="learned"), "bert"),
    ],
)
def test_other_positions_open_here_and_there_as_bert_or_not_at_all(changes, model_type, tokenizer, tmp_path):
    config = TransformerConfig(tokenizer.size, 12, 2, 3, 7, 20, **changes)
    model = redrawn(BertForPretraining(config))
    save_model(tmp_path, model, tokenizer)
    again = open_model(tmp_path).model
    assert again.config == config
    same_weights(again, model)
    if model_type == "bert":
        theirs = opened_there(tmp_path, "BertForPreTraining")
        ids, mask = batch_for(config)
        second = (torch.arange(20) > 1).long().expand(3, 20) * mask
        with torch.no_grad():
            expected, got = theirs.eval()(ids, mask.long(), second), model(ids, second, mask)
        torch.testing.assert_close(got.mlm_logits[mask], expected.prediction_logits[mask], atol=1e-5, rtol=0)
        torch.testing.assert_close(got.nsp_logits, expected.seq_relationship_logits, atol=1e-5, rtol=0)
    else:
        with pytest.raises(ValueError, match=model_type):
            transformers.AutoConfig.from_pretrained(tmp_path)


def test_an_encoder_with_another_activation_is_an_mpnet_but_its_head_for_masked_words_is_not(tokenizer, tmp_path):
    published(tmp_path, "MPNetForMaskedLM", random.Random(5), tokenizer, hidden_act="relu")
    with pytest.raises(InputError, match="has the activation gelu, and the layers have relu; .* use the encoder alone"):
        open_pretraining(tmp_path)
    model = open_encoder(tmp_path).model
    ids, mask = batch_for(model.config)
    theirs = opened_there(tmp_path, "MPNetModel")
    torch.testing.assert_close(scores(model, ids, mask), their_scores(theirs, ids, mask), atol=1e-5, rtol=0)


# ---- broken folders


def without(*names):
    return lambda weights: {name: tensor for name, tensor in weights.items() if name not in names}


def cut(name: str, rows: slice):
    return lambda weights: weights | {name: weights[name][rows]}


BROKEN = {
    "no bias": (without(BIAS), {}, f"missing {BIAS}"),
    "buckets": (cut(BIAS, slice(16)), {}, rf"{BIAS} is \[16, 2\] and should be \[32, 2\]"),
    "heads": (None, dict(num_attention_heads=3), rf"{BIAS} is \[32, 2\] and should be \[32, 3\]"),
    "other buckets": (None, dict(relative_attention_num_buckets=64), "num_buckets 64 is not implemented, only 32"),
    "no table": (without(TABLE), {}, f"missing {TABLE}"),
    "segments": (None, dict(type_vocab_size=3), rf"{SEGMENTS} is \[2, 6\] and should be \[3, 6\]"),
    "positions": (None, dict(minilm_positions="learned"), "an MPNet has no 'learned' positions"),
    "its own table": (None, dict(minilm_positions="mpnet"), f"missing {POSITIONS}"),
    "length": (None, dict(max_position_embeddings=4), "max_position_embeddings 4 leaves no room for a token"),
    "width": (None, dict(hidden_size=None), "does not describe an MPNet: it lacks hidden_size"),
    "layers": (None, dict(num_hidden_layers=3), r"missing mpnet\.encoder\.layer\.2\.attention\.attn\.q\.weight"),
    "pieces": (without("mpnet.encoder.layer.0.attention.attn.k.bias"), {}, "missing mpnet.encoder.layer.0"),
    "norm": (without("lm_head.layer_norm.bias"), {}, "missing lm_head.layer_norm.bias"),
    "NaN": (lambda weights: weights | {BIAS: weights[BIAS] / 0}, {}, "hold NaN or infinity in mpnet.encoder.relative"),
    "adapter": (lambda weights: weights | {"mpnet.adapter.up": torch.ones(1)}, {}, "unknown mpnet.adapter.up"),
    "output": (
        lambda weights: weights | {"lm_head.decoder.weight": weights[TABLE] + 1},
        {},
        "lm_head.decoder.weight is a tensor of its own",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_refused_in_one_sentence(what, tokenizer, tmp_path):
    change, entries, message = BROKEN[what]
    config = TransformerConfig(tokenizer.size, 6, 2, 2, 7, 20, positions="relative")
    save_model(tmp_path, redrawn(BertForPretraining(config)), tokenizer)
    edit(tmp_path, change, **entries)
    with pytest.raises(InputError, match=message) as caught:
        open_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_published_folder_that_lacks_a_part_is_refused(tokenizer, tmp_path):
    kind = "MPNetForSequenceClassification"
    published(tmp_path, kind, random.Random(6), tokenizer, max_position_embeddings=20)
    for entries, change, message in (
        (dict(max_position_embeddings=21), None, rf"{POSITIONS} is \[20, .* and should be \[21"),
        (dict(max_position_embeddings=20), without("classifier.dense.bias"), "missing classifier.dense.bias"),
        ({}, without(POSITIONS), f"missing .*{POSITIONS}"),
        ({}, lambda weights: weights | {"classifier.weight": torch.ones(3, 3)}, "hold two heads: classifier.weight"),
    ):
        edit(tmp_path, change, **entries)
        with pytest.raises(InputError, match=message):
            open_model(tmp_path)


# ---- names


def test_every_row_of_the_table_is_used_and_read_the_same_both_ways():
    back = {ours: theirs for theirs, ours in MPNET.names.items()}
    assert len(back) == len(MPNET.names)
    for theirs in MPNET.names:
        name = theirs.format(n=11, p="bias")
        assert translate(translate(name, MPNET.names), back) == name
