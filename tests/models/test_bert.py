from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn import functional as F
from transformers import (
    TransformerConfig as TheirConfig,
    BertForPreTraining,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from minilm.errors import InputError
from minilm.pretrained.bert import hf_config, from_hf_names, to_hf_names
from minilm.layers.attention import padding_mask
from minilm.layers.transformer import use_fused
from minilm.models.heads import BertClassifier, HeadConfig, mean_of_tokens
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.bert import BertForPretraining
from minilm.models.initialisation import initialise
from minilm.pretrained.weights import load_weights

TINY = TransformerConfig(vocab_size=13, width=6, layers=2, heads=3, feed_forward=10, max_length=9)


def equal(ours, theirs, atol=1e-9):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def twins(config, seed=0, ours=BertForPretraining, theirs=BertForPreTraining, head=None, **options):
    """Our model and the one of transformers with the same random weights, biases and norms among them, in float64."""
    extra = {} if head is None else {"num_labels": len(head.labels), "classifier_dropout": 0.0}
    settings = hf_config(config, theirs.__name__) | extra
    settings = {key: settings[key] for key in settings.keys() - {"model_type"}}
    referee = theirs(TheirConfig(**settings, **options)).double().eval()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in referee.parameters():
            parameter.normal_(0, 0.5, generator=rng)
    model = (ours(config) if head is None else ours(config, head)).double().eval()
    load_weights(model, from_hf_names(referee.state_dict()), "the referee")
    return model, referee


@st.composite
def cases(draw):
    """A shape of model, and a padded batch for it."""
    heads = draw(st.integers(1, 3))
    config = TransformerConfig(
        vocab_size=draw(st.integers(3, 20)),
        width=heads * draw(st.integers(1, 5)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        feed_forward=draw(st.integers(1, 12)),
        max_length=draw(st.integers(4, 9)),
        types=draw(st.integers(1, 2)),
        activation=draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        epsilon=draw(st.sampled_from([1e-5, 1e-3])),
    )
    lengths = draw(st.lists(st.integers(1, config.max_length), min_size=1, max_size=4))
    return config, lengths, draw(st.integers(0, 999))


def batch_for(config, lengths, seed):
    """ids, types, real, and both labels. Padding is id 0, and no word has it: their table learns nothing for id 0."""
    rng = torch.Generator().manual_seed(seed)
    B, T = len(lengths), max(lengths)
    attention_mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, config.vocab_size, (B, T), generator=rng).masked_fill(~attention_mask, 0)
    types = torch.randint(config.token_types, (B, T), generator=rng)
    words = torch.randint(config.vocab_size, (B, T), generator=rng)
    chosen = attention_mask & (torch.rand(B, T, generator=rng) < 0.5)
    chosen[0, 0] = True
    return ids, types, attention_mask, words.masked_fill(~chosen, -100), torch.randint(2, (B,), generator=rng)


@settings(max_examples=20)
@given(cases())
def test_F25_F26_equals_transformers_part_by_part_in_value_and_every_gradient(case):
    config, lengths, seed = case
    model, referee = twins(config, seed)
    ids, types, attention_mask, words, is_next = batch_for(config, lengths, seed)
    theirs = referee(
        ids, attention_mask.long(), types, labels=words, next_sentence_label=is_next, output_hidden_states=True
    )  # fmt: skip
    x = model.bert.embeddings(ids, types)
    for layer, hidden in zip([None, *model.bert.encoder.layers], theirs.hidden_states, strict=True):
        x = x if layer is None else layer(x, padding_mask(attention_mask))[0]
        equal(x, hidden)
    equal(model.bert(ids, types, attention_mask).words, x)
    equal(model.pooler(x), referee.bert.pooler(theirs.hidden_states[-1]))

    everywhere = model(ids, types, attention_mask)
    equal(everywhere.words, theirs.prediction_logits)
    equal(everywhere.is_next, theirs.seq_relationship_logits)
    masked = (words.flatten() != -100).nonzero().flatten()
    scores = model(ids, types, attention_mask, masked)
    equal(scores.words, everywhere.words.flatten(0, 1)[masked], atol=1e-12)

    masked_loss, next_loss = (
        F.cross_entropy(scores.words, words.flatten()[masked]),
        F.cross_entropy(*scores[1:2], is_next),
    )
    equal(masked_loss + next_loss, theirs.loss)
    equal(masked_loss, F.cross_entropy(theirs.prediction_logits.flatten(0, 1), words.flatten()))
    theirs.loss.backward()
    (masked_loss + next_loss).backward()
    got = to_hf_names({name: parameter.grad for name, parameter in model.named_parameters()})
    want = {name: parameter.grad for name, parameter in referee.named_parameters()}
    assert got.keys() == want.keys()
    for name in want:
        equal(got[name], want[name])


def test_F18_the_weights_of_every_layer_are_those_of_transformers():
    model, referee = twins(TINY, attn_implementation="eager")
    ids, types, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    theirs = referee(ids, attention_mask.long(), types, output_attentions=True)
    equal(model(ids, types, attention_mask, need_weights=True).attentions, list(theirs.attentions))


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_formulas_and_the_kernels_give_the_same_model(norm):
    model = BertForPretraining(replace(TINY, norm=norm)).double()
    initialise(model, generator=torch.Generator().manual_seed(0))
    ids, types, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    fused = model(ids, types, attention_mask)
    use_fused(model, False)
    readable = model(ids, types, attention_mask)
    equal(fused.words, readable.words, atol=1e-11)
    equal(fused.is_next, readable.is_next, atol=1e-11)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_padding_changes_nothing_for_the_words(norm):
    model = BertForPretraining(replace(TINY, norm=norm)).double()
    ids, types, *_ = batch_for(TINY, [5, 5], 2)
    attention_mask = torch.ones(2, 8, dtype=torch.bool)
    attention_mask[:, 5:] = False
    alone = model(ids, types)
    padded = model(F.pad(ids, (0, 3), value=7), F.pad(types, (0, 3)), attention_mask)
    equal(padded.words[:, :5], alone.words, atol=1e-12)
    equal(padded.is_next, alone.is_next, atol=1e-12)
    equal(model(ids, types, torch.ones_like(ids, dtype=torch.bool)).words, alone.words, atol=1e-12)


# ---- heads for fine-tuning


@pytest.mark.parametrize(
    ("head", "theirs"),
    [
        (HeadConfig(("no", "yes", "maybe"), "text", "cls", 0.0), BertForSequenceClassification),
        (HeadConfig(("O", "B-PER", "I-PER", "B-LOC"), "token", dropout=0.0), BertForTokenClassification),
    ],
)
def test_F07_classifier_equals_transformers_in_value_and_gradient(head, theirs):
    model, referee = twins(TINY, 3, BertClassifier, theirs, head)
    ids, types, attention_mask, *_ = batch_for(TINY, [4, 7, 2, 5], 1)
    logits, logits_ = model(ids, types, attention_mask), referee(ids, attention_mask.long(), types).logits
    equal(logits, logits_)
    upstream = torch.randn(logits.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    if head.task == "token":  # what is padding counts in no loss
        upstream *= attention_mask[:, :, None]
    logits.backward(upstream)
    logits_.backward(upstream)
    got = to_hf_names({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, parameter in referee.named_parameters():
        equal(got[name], parameter.grad)


def test_F07_the_mean_is_that_of_the_real_words():
    head = HeadConfig(("no", "yes"))
    model = BertClassifier(TINY, head).double().eval()
    ids, types, attention_mask, *_ = batch_for(TINY, [4, 7, 2], 1)
    words, logits = model.bert(ids, types, attention_mask).words, model(ids, types, attention_mask)
    for i, length in enumerate([4, 7, 2]):
        equal(logits[i], model.head(sum(words[i, t] for t in range(length)) / length), atol=1e-12)
    equal(mean_of_tokens(words, None), sum(words[:, t] for t in range(7)) / 7, atol=1e-12)
    nothing = torch.zeros_like(attention_mask)
    assert (mean_of_tokens(words, nothing) == 0).all()


def test_F07_dropout_of_the_head_rests_in_evaluation():
    model = BertClassifier(TINY, HeadConfig(("no", "yes"), dropout=0.5))
    ids, types, attention_mask, *_ = batch_for(TINY, [4, 7], 1)
    assert not torch.equal(model(ids, types, attention_mask), model(ids, types, attention_mask))
    model.eval()
    assert torch.equal(model(ids, types, attention_mask), model(ids, types, attention_mask))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ("one",)}, "at least two labels, here: .*one"),
        ({"labels": ()}, "at least two labels"),
        ({"labels": ("a", "b"), "task": "image"}, "task 'image' with pooling 'mean' is not known"),
        ({"labels": ("a", "b"), "pooling": "max"}, "pooling 'max' is not known"),
    ],
)
def test_F07_a_head_that_cannot_be_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        HeadConfig(**options)


# ---- configuration and size


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": 512, "heads": 6}, "width 512 is not divisible by 6 heads: choose a multiple of 6"),
        ({"layers": 0}, "layers 0 must be at least 1"),
        ({"layers": 1001}, "layers 1,001 must be at most 1,000"),
        ({"width": 10**18}, "width 1[0,]+ must be at most 10,000,000"),
        ({"feed_forward": 10**18}, "feed_forward 1[0,]+ must be at most 40,000,000"),
        ({"heads": 0}, "heads 0 must be at least 1"),
        ({"vocab_size": -1}, "vocab_size -1 must be at least 1"),
        ({"types": 0}, "types 0 must be at least 1"),
        ({"dropout": 1.0}, r"dropout 1.0 is not in \[0, 1\)"),
        ({"norm": "none"}, "norm 'none' is not known: choose one of post, pre"),
        ({"positions": "rotary"}, "positions 'rotary' is not known"),
        ({"activation": "silu"}, "activation 'silu' is not known"),
    ],
)
def test_a_shape_that_cannot_be_is_named_before_anything_is_built(options, words):
    with pytest.raises(InputError, match=words):
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
def test_F25_working_out_the_masked_words_alone_changes_neither_a_score_nor_a_gradient(norm, layers, fused):
    """The last block leaves out the positions that nobody asks for; rows with no masked word, one and many."""
    config = TransformerConfig(vocab_size=13, width=6, layers=layers, heads=3, feed_forward=10, max_length=9, norm=norm)
    model = BertForPretraining(config).double()
    initialise(model, "fan-in", torch.Generator().manual_seed(0))
    use_fused(model, fused)
    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(13, (4, 8), generator=draw)
    attention_mask = torch.arange(8) < torch.tensor([8, 5, 2, 7])[:, None]
    masked = torch.tensor([1, 2, 3, 6, 17, 25, 30])  # four of row 0, none of row 1, one and two of rows 2 and 3
    upstream_words = torch.randn(len(masked), 13, generator=draw).double()
    upstream_pairs = torch.randn(4, 2, generator=draw).double()
    found = []
    for positions in (masked, None):
        model.zero_grad()
        scores = model(ids, (ids > 6).long(), attention_mask, positions)
        words = scores.words if positions is not None else scores.words.flatten(0, 1)[masked]
        ((words * upstream_words).sum() + (scores.is_next * upstream_pairs).sum()).backward()
        found.append([words.detach(), scores.is_next.detach(), *(p.grad.clone() for p in model.parameters())])
    for less, all_of_it in zip(*found, strict=True):
        equal(less, all_of_it, atol=1e-12)


def test_F25_without_a_masked_word_and_out_of_order():
    model = BertForPretraining(TINY)
    ids = torch.randint(13, (2, 7))
    scores = model(ids, masked=torch.tensor([], dtype=torch.long))
    assert scores.words.shape == (0, 13) and scores.is_next.shape == (2, 2)
    with pytest.raises(InputError, match="rising order"):
        model(ids, masked=torch.tensor([3, 1]))
