import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F
from transformers import (
    BertConfig as TheirConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from minilm.errors import InputError
from minilm.layers.attention import padding_mask
from minilm.layers.transformer import use_fused
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig, mean_of_tokens
from minilm.models.initialisation import initialise
from minilm.pretrained.bert import hf_config
from minilm.pretrained.bert_names import from_hf_names, to_hf_names
from minilm.pretrained.weights import load_weights

TINY = TransformerConfig(vocab_size=13, width=6, layers=2, heads=3, feed_forward=10, max_length=9)


def equal(ours, theirs, atol=1e-9):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def twins(config, seed=0, theirs=BertForPreTraining, head=None, **options):
    """Our model and that of transformers in float64, with the same random weights, including biases and norms."""
    extra = {} if head is None else {"num_labels": len(head.labels), "classifier_dropout": 0.0}
    settings = hf_config(config, theirs.__name__) | extra
    settings = {key: settings[key] for key in settings.keys() - {"model_type"}}
    referee = theirs(TheirConfig(**settings, **options)).double().eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in referee.parameters():
            parameter.normal_(0, 0.5, generator=rng)
    model = (BertForPretraining(config) if head is None else Classifier(Bert(config), head)).double().eval()
    load_weights(model, from_hf_names(referee.state_dict()), "the referee")
    return model, referee


@st.composite
def cases(draw):
    """The shape of a model, and a padded batch for it."""
    heads = draw(st.integers(1, 3))
    config = TransformerConfig(
        vocab_size=draw(st.integers(3, 20)),
        width=heads * draw(st.integers(1, 5)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        feed_forward=draw(st.integers(1, 12)),
        max_length=draw(st.integers(4, 9)),
        token_types=draw(st.integers(1, 2)),
        activation=draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        epsilon=draw(st.sampled_from([1e-5, 1e-3])),
    )
    lengths = draw(st.lists(st.integers(1, config.max_length), min_size=1, max_size=4))
    return config, lengths, draw(st.integers(0, 999))


def batch_for(config, lengths, seed):
    """The ids, segments, mask and both kinds of labels. Padding is id 0, which no token uses: transformers never trains row 0."""
    rng = torch.Generator().manual_seed(seed)
    B, T = len(lengths), max(lengths)
    attention_mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, config.vocab_size, (B, T), generator=rng).masked_fill(~attention_mask, 0)
    token_type_ids = torch.randint(config.token_types, (B, T), generator=rng)
    labels = torch.randint(config.vocab_size, (B, T), generator=rng)
    chosen = attention_mask & (torch.rand(B, T, generator=rng) < 0.5)
    chosen[0, 0] = True
    nsp_labels = torch.randint(2, (B,), generator=rng)
    return ids, token_type_ids, attention_mask, labels.masked_fill(~chosen, -100), nsp_labels


@settings(max_examples=20)
@given(cases())
def test_F25_F26_equals_transformers_part_by_part_in_value_and_every_gradient(case):
    config, lengths, seed = case
    model, referee = twins(config, seed)
    ids, token_type_ids, attention_mask, labels, nsp_labels = batch_for(config, lengths, seed)
    theirs = referee(
        ids, attention_mask.long(), token_type_ids, labels=labels, next_sentence_label=nsp_labels, output_hidden_states=True
    )  # fmt: skip
    x = model.encoder.embeddings(ids, token_type_ids)
    for layer, hidden in zip([None, *model.encoder.stack.layers], theirs.hidden_states, strict=True):
        x = x if layer is None else layer(x, padding_mask(attention_mask))[0]
        equal(x, hidden)
    equal(model.encoder(ids, token_type_ids, attention_mask).hidden, x)
    equal(model.pooler(x), referee.bert.pooler(theirs.hidden_states[-1]))

    everywhere = model(ids, token_type_ids, attention_mask)
    equal(everywhere.mlm_logits, theirs.prediction_logits)
    equal(everywhere.nsp_logits, theirs.seq_relationship_logits)
    masked = (labels.flatten() != -100).nonzero().flatten()
    output = model(ids, token_type_ids, attention_mask, masked)
    equal(output.mlm_logits, everywhere.mlm_logits.flatten(0, 1)[masked], atol=1e-12)

    masked_loss, next_loss = (
        F.cross_entropy(output.mlm_logits, labels.flatten()[masked]),
        F.cross_entropy(output.nsp_logits, nsp_labels),
    )
    equal(masked_loss + next_loss, theirs.loss)
    equal(masked_loss, F.cross_entropy(theirs.prediction_logits.flatten(0, 1), labels.flatten()))
    theirs.loss.backward()
    (masked_loss + next_loss).backward()
    got = to_hf_names({name: parameter.grad for name, parameter in model.named_parameters()})
    want = {name: parameter.grad for name, parameter in referee.named_parameters()}
    assert got.keys() == want.keys()
    for name in want:
        equal(got[name], want[name])


def test_F18_the_weights_of_every_layer_are_those_of_transformers():
    model, referee = twins(TINY, attn_implementation="eager")
    ids, token_type_ids, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    theirs = referee(ids, attention_mask.long(), token_type_ids, output_attentions=True)
    equal(model(ids, token_type_ids, attention_mask, need_weights=True).attentions, list(theirs.attentions))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_formulas_and_the_kernels_give_the_same_model(norm):
    model = BertForPretraining(replace(TINY, norm=norm)).double()
    initialise(model, generator=torch.Generator().manual_seed(0))
    ids, token_type_ids, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    fused = model(ids, token_type_ids, attention_mask)
    use_fused(model, False)
    readable = model(ids, token_type_ids, attention_mask)
    equal(fused.mlm_logits, readable.mlm_logits, atol=1e-11)
    equal(fused.nsp_logits, readable.nsp_logits, atol=1e-11)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_padding_changes_nothing_for_the_tokens(norm):
    model = BertForPretraining(replace(TINY, norm=norm)).double()
    ids, token_type_ids, *_ = batch_for(TINY, [5, 5], 2)
    attention_mask = torch.ones(2, 8, dtype=torch.bool)
    attention_mask[:, 5:] = False
    alone = model(ids, token_type_ids)
    padded = model(F.pad(ids, (0, 3), value=7), F.pad(token_type_ids, (0, 3)), attention_mask)
    equal(padded.mlm_logits[:, :5], alone.mlm_logits, atol=1e-12)
    equal(padded.nsp_logits, alone.nsp_logits, atol=1e-12)
    equal(model(ids, token_type_ids, torch.ones_like(ids, dtype=torch.bool)).mlm_logits, alone.mlm_logits, atol=1e-12)


# ---- heads for fine-tuning


@pytest.mark.parametrize(
    ("head", "theirs"),
    [
        (TextHeadConfig(("no", "yes", "maybe"), 0.0, "cls"), BertForSequenceClassification),
        (TokenHeadConfig(("O", "B-PER", "I-PER", "B-LOC"), 0.0), BertForTokenClassification),
    ],
)
def test_F07_classifier_equals_transformers_in_value_and_gradient(head, theirs):
    model, referee = twins(TINY, 3, theirs, head)
    ids, token_type_ids, attention_mask, *_ = batch_for(TINY, [4, 7, 2, 5], 1)
    logits, logits_ = (
        model(ids, token_type_ids, attention_mask),
        referee(ids, attention_mask.long(), token_type_ids).logits,
    )
    equal(logits, logits_)
    upstream = torch.randn(logits.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    if isinstance(head, TokenHeadConfig):  # padding must not count in the loss
        upstream *= attention_mask[:, :, None]
    logits.backward(upstream)
    logits_.backward(upstream)
    got = to_hf_names({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, parameter in referee.named_parameters():
        equal(got[name], parameter.grad)


def test_F07_the_mean_leaves_padding_out():
    model = Classifier(Bert(TINY), TextHeadConfig(("no", "yes"))).double().eval()
    ids, token_type_ids, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    hidden = model.encoder(ids, token_type_ids, attention_mask).hidden
    logits = model(ids, token_type_ids, attention_mask)
    for i, length in enumerate([4, 7, 2]):
        equal(logits[i], model.head(sum(hidden[i, t] for t in range(length)) / length), atol=1e-12)
    equal(mean_of_tokens(hidden, None), sum(hidden[:, t] for t in range(7)) / 7, atol=1e-12)
    nothing = torch.zeros_like(attention_mask)
    assert (mean_of_tokens(hidden, nothing) == 0).all()


def test_F07_dropout_of_the_head_rests_in_evaluation():
    model = Classifier(Bert(TINY), TextHeadConfig(("no", "yes"), dropout=0.5))
    ids, token_type_ids, attention_mask, *_ = batch_for(TINY, [4, 7], 1)
    assert not torch.equal(model(ids, token_type_ids, attention_mask), model(ids, token_type_ids, attention_mask))
    model.eval()
    assert torch.equal(model(ids, token_type_ids, attention_mask), model(ids, token_type_ids, attention_mask))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("one",)}, "at least two labels, and there are .*one"),
        ({"labels": ()}, "at least two labels"),
        ({"labels": ("a", "b"), "dropout": 1.0}, r"dropout 1.0 is not in \[0, 1\)"),
        ({"labels": ("a", "b"), "pooling": "max"}, "pooling 'max' is not known: choose one of mean, cls, last"),
    ],
)
def test_F07_a_head_that_cannot_be_is_refused(options, message):
    for kind in (TextHeadConfig, TokenHeadConfig)[: 1 + ("pooling" not in options)]:
        with pytest.raises(InputError, match=message):
            kind(**options)


def test_F07_cls_pooling_is_the_poolers_vector_of_the_first_token():
    model = Classifier(Bert(TINY), TextHeadConfig(("no", "yes"), pooling="cls")).double().eval()
    ids, token_type_ids, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    first = model.encoder(ids, token_type_ids, attention_mask).hidden[:, 0]
    pooled = torch.tanh(first @ model.pooler.dense.weight.T + model.pooler.dense.bias)
    equal(model(ids, token_type_ids, attention_mask), model.head(pooled), atol=1e-12)


def test_F07_last_pooling_is_refused_for_a_model_that_reads_in_both_directions():
    with pytest.raises(InputError, match="pooling 'last' does not work with Bert: choose mean"):
        Classifier(Bert(TINY), TextHeadConfig(("no", "yes"), pooling="last"))


@pytest.mark.parametrize("head", [TextHeadConfig(("a", "b", "c"), pooling="cls"), TokenHeadConfig(("a", "b", "c"))])
def test_F07_the_generator_draws_the_head_within_its_bound_and_labels_name_its_rows(head):
    model = Classifier(Bert(TINY), head, torch.Generator().manual_seed(1))
    again, other = (Classifier(Bert(TINY), head, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert torch.equal(model.head.weight, again.head.weight) and not torch.equal(model.head.weight, other.head.weight)
    assert model.head.weight.shape == (3, 6) and model.head.weight.abs().max() <= 6**-0.5
    assert (model.head.bias == 0).all() and model.labels == ("a", "b", "c")
    assert (model.pooler is not None) == isinstance(head, TextHeadConfig)


# ---- the depth of a parameter


def expected_depth(name):
    """The expected depth of a parameter of `Bert` with this name."""
    return int(name.split(".")[2]) + 1 if name.startswith("stack.layers.") else 3 if name.startswith("stack.") else 0


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_depth_of_every_parameter(norm):
    config = replace(TINY, layers=3, norm=norm)
    models = {
        BertForPretraining(config): 3,  # the heads are as deep as the last block
        Classifier(Bert(config), TextHeadConfig(("a", "b"))): math.inf,
        Classifier(Bert(config), TextHeadConfig(("a", "b"), pooling="cls")): math.inf,
        Classifier(Bert(config), TokenHeadConfig(("a", "b"))): math.inf,
    }
    for model, depth_of_heads in models.items():
        for name, _ in model.named_parameters():
            inside = name.startswith("encoder.")
            wanted = expected_depth(name.removeprefix("encoder.")) if inside else depth_of_heads
            assert model.depth_of(name) == wanted, name
        assert {model.depth_of(name) for name, _ in model.named_parameters()} == {0, 1, 2, 3, depth_of_heads}


# ---- configuration and size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 512, "heads": 6}, "width 512 is not divisible by 6 heads: choose a multiple of 6"),
        ({"layers": 0}, "layers must be at least 1, not 0"),
        ({"layers": 1001}, "layers must be at most 1,000, not 1,001"),
        ({"width": 10**18}, "width must be at most 10,000,000, not 1[0,]+"),
        ({"feed_forward": 10**18}, "feed_forward must be at most 40,000,000, not 1[0,]+"),
        ({"heads": 0}, "heads must be at least 1, not 0"),
        ({"vocab_size": -1}, "vocab_size must be at least 1, not -1"),
        ({"token_types": 0}, "token_types must be at least 1, not 0"),
        ({"dropout": 1.0}, r"dropout 1.0 is not in \[0, 1\)"),
        ({"norm": "none"}, "norm 'none' is not known: choose one of post, pre"),
        ({"positions": "round"}, "positions 'round' is not known"),
        ({"activation": "silu"}, "activation 'silu' is not known"),
    ],
)
def test_a_shape_that_cannot_be_is_named_before_anything_is_built(options, message):
    with pytest.raises(InputError, match=message):
        TransformerConfig(**options)


def test_the_table_that_is_used_twice_counts_once():
    V, C, FF, L, P = 13, 6, 10, 2, 9
    block = 3 * (C * C + C) + (C * C + C) + 4 * C + (C * FF + FF) + (FF * C + C)
    embeddings, heads = (V + P + 2) * C + 2 * C, 2 * (C * C + C) + 2 * C + V + (2 * C + 2)
    assert parameter_count(BertForPretraining(TINY)) == embeddings + L * block + heads
    fixed = BertForPretraining(replace(TINY, positions="sinusoidal"))
    assert parameter_count(fixed) == embeddings + L * block + heads - P * C


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("fused", [True, False])
def test_F25_computing_the_masked_positions_alone_changes_neither_a_logit_nor_a_gradient(norm, layers, fused):
    """The last block skips all positions that are not in query_positions. Rows have none, one or many masked tokens."""
    config = TransformerConfig(vocab_size=13, width=6, layers=layers, heads=3, feed_forward=10, max_length=9, norm=norm)
    model = BertForPretraining(config).double()
    initialise(model, "fan-in", torch.Generator().manual_seed(0))
    use_fused(model, fused)
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(13, (4, 8), generator=draw)
    attention_mask = torch.arange(8) < torch.tensor([8, 5, 2, 7])[:, None]
    masked = torch.tensor([1, 2, 3, 6, 17, 25, 30])  # rows 0 to 3 have four, none, one and two
    upstream_mlm = torch.randn(len(masked), 13, generator=draw).double()
    upstream_nsp = torch.randn(4, 2, generator=draw).double()
    found = []
    for positions in (masked, None):
        model.zero_grad()
        output = model(ids, (ids > 6).long(), attention_mask, positions)
        logits = output.mlm_logits if positions is not None else output.mlm_logits.flatten(0, 1)[masked]
        ((logits * upstream_mlm).sum() + (output.nsp_logits * upstream_nsp).sum()).backward()
        found.append([logits.detach(), output.nsp_logits.detach(), *(p.grad.clone() for p in model.parameters())])
    for less, all_of_it in zip(*found, strict=True):
        equal(less, all_of_it, atol=1e-12)


def test_F25_without_a_masked_word_and_out_of_order():
    model = BertForPretraining(TINY)
    ids = torch.randint(13, (2, 7))
    output = model(ids, masked=torch.tensor([], dtype=torch.long))
    assert output.mlm_logits.shape == (0, 13) and output.nsp_logits.shape == (2, 2)
    with pytest.raises(InputError, match="rising order"):
        model(ids, masked=torch.tensor([3, 1]))
