"""Each part gives the same numbers as `transformers`: values, losses and the gradient of every parameter, in float64.

The reference is a tiny random BERT made here, so no test needs a download and none has to be skipped. Its shape is
drawn by hypothesis. Its weights are copied with the names in `minilm/pretrained/bert_names.py`.
"""

from dataclasses import dataclass, replace

import pytest
import torch
import transformers
from hypothesis import given, settings, strategies as st

from minilm.layers.attention import padding_mask
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.pretrained.bert import CONFIG_KEYS
from minilm.pretrained.bert_names import from_hf_names, to_hf_names
from minilm.pretrained.weights import load_weights
from minilm.training.losses import cross_entropy

ATOL = 1e-9
FEW = settings(max_examples=12)


@st.composite
def shapes(draw) -> tuple[TransformerConfig, int, int]:
    """A small BERT, and the size and length of a batch for it."""
    heads, length = draw(st.integers(1, 3)), draw(st.integers(3, 8))
    config = TransformerConfig(
        vocab_size=draw(st.integers(9, 19)),
        width=heads * draw(st.integers(2, 5)),
        layers=draw(st.integers(1, 3)),
        heads=heads,
        feed_forward=draw(st.integers(1, 13)),
        max_length=length + draw(st.integers(0, 2)),
        token_types=draw(st.integers(1, 2)),
        activation=draw(st.sampled_from(["gelu", "gelu_new", "relu"])),
        epsilon=draw(st.sampled_from([1e-12, 1e-5, 1e-2])),
    )
    return config, draw(st.integers(1, 4)), length


@dataclass
class Batch:
    """Rows of different lengths with labels for every task; padding has no labels."""

    ids: torch.Tensor
    token_type_ids: torch.Tensor
    attention_mask: torch.Tensor
    token_labels: torch.Tensor
    text_labels: torch.Tensor

    @property
    def theirs(self) -> dict:
        return dict(input_ids=self.ids, token_type_ids=self.token_type_ids, attention_mask=self.attention_mask.long())


def batch_for(config: TransformerConfig, B: int, T: int) -> Batch:
    rng = torch.Generator().manual_seed(B * T)
    attention_mask = torch.arange(T) < torch.randint(2, T + 1, (B, 1), generator=rng)
    ids = torch.randint(1, config.vocab_size, (B, T), generator=rng) * attention_mask
    token_type_ids = torch.randint(0, config.token_types, (B, T), generator=rng) * attention_mask
    labels = torch.randint(0, config.vocab_size, (B, T), generator=rng).where(attention_mask, torch.tensor(-100))
    labels[:, 1] = -100  # not every token is masked
    return Batch(ids, token_type_ids, attention_mask, labels, torch.randint(0, 2, (B,), generator=rng))


def referee(kind: str, config: TransformerConfig, **extra):
    """A model of `transformers` in evaluation mode with every parameter redrawn, because many start as 0 or 1."""
    theirs = {key: getattr(config, field) for field, key in CONFIG_KEYS.items()}
    theirs["attention_probs_dropout_prob"] = theirs["hidden_dropout_prob"]
    made = transformers.BertConfig(**theirs | extra, attn_implementation="eager")
    model = getattr(transformers, kind)(made).double().eval()
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64))
    return model


def filled(model, theirs):
    model = model.double().eval()
    load_weights(model, from_hf_names(theirs.state_dict()), "the referee")
    return model


def pair(config: TransformerConfig):
    theirs = referee("BertForPreTraining", config)
    return filled(BertForPretraining(config), theirs), theirs


def equal(ours, theirs):
    torch.testing.assert_close(ours, theirs, atol=ATOL, rtol=0)


def first(out):
    """The output itself: some versions of `transformers` return it alone, others in a tuple."""
    return out[0] if isinstance(out, tuple) else out


def their_mask(attention_mask):
    """What is added to their scores: 0 for a token, a very large negative number for padding."""
    return (~attention_mask[:, None, None, :]).double() * torch.finfo(torch.float64).min


def vectors(config: TransformerConfig, B: int, T: int):
    return torch.randn(B, T, config.width, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@FEW
@given(shapes())
def test_F21_embeddings(shape):
    config, B, T = shape
    (ours, theirs), batch = pair(config), batch_for(*shape)
    expected = theirs.bert.embeddings(batch.ids, batch.token_type_ids)
    equal(ours.encoder.embeddings(batch.ids, batch.token_type_ids), expected)
    if config.token_types == 1:
        equal(ours.encoder.embeddings(batch.ids), expected)


@FEW
@given(shapes(), st.booleans())
def test_F19_one_attention_with_its_norm(shape, fused):
    config, B, T = shape
    (ours, theirs), batch, x = pair(config), batch_for(*shape), vectors(*shape)
    block = ours.encoder.stack.layers[-1]
    block.attention.fused = fused
    expected = first(theirs.bert.encoder.layer[-1].attention(x, their_mask(batch.attention_mask)))
    attended, _ = block.attention(x, padding_mask(batch.attention_mask))
    equal(block.attention_norm(x + attended), expected)


@FEW
@given(shapes())
def test_F20_one_block(shape):
    (ours, theirs), batch, x = pair(shape[0]), batch_for(*shape), vectors(*shape)
    expected = first(theirs.bert.encoder.layer[0](x, their_mask(batch.attention_mask)))
    equal(ours.encoder.stack.layers[0](x, padding_mask(batch.attention_mask))[0], expected)


@FEW
@given(shapes())
def test_F20_the_encoder_after_every_block_and_its_attention(shape):
    (ours, theirs), batch = pair(shape[0]), batch_for(*shape)
    expected = theirs.bert(**batch.theirs, output_hidden_states=True, output_attentions=True)
    x, mask = ours.encoder.embeddings(batch.ids, batch.token_type_ids), padding_mask(batch.attention_mask)
    equal(x, expected.hidden_states[0])
    for block, after in zip(ours.encoder.stack.layers, expected.hidden_states[1:], strict=True):
        x, _ = block(x, mask)
        equal(x, after)
    hidden, attentions = ours.encoder(batch.ids, batch.token_type_ids, batch.attention_mask, need_weights=True)
    equal(hidden, expected.last_hidden_state)
    for layer, after in zip(attentions, expected.attentions, strict=True):
        equal(layer, after)


@FEW
@given(shapes())
def test_F25_F26_pooler_and_both_heads(shape):
    config, B, T = shape
    (ours, theirs), x = pair(config), vectors(*shape)
    pooled = theirs.bert.pooler(x)
    equal(ours.pooler(x), pooled)
    equal(ours.mlm_head(x, ours.encoder.embeddings.tokens.weight), theirs.cls.predictions(x))
    equal(ours.nsp_head(ours.pooler(x)), theirs.cls.seq_relationship(pooled))


def check_gradients(ours, theirs):
    """Compare the gradients of all parameters by name. An output matrix tied to the embedding table shares its gradient."""
    mine = to_hf_names({name: parameter.grad for name, parameter in ours.named_parameters()})
    others = {name: parameter.grad for name, parameter in theirs.named_parameters() if parameter.grad is not None}
    others.pop("cls.predictions.decoder.bias", None)  # some versions register `cls.predictions.bias` twice
    assert mine.keys() == others.keys()
    for name, gradient in mine.items():
        equal(gradient, others[name])


@FEW
@given(shapes())
def test_F27_losses_and_the_gradient_of_every_parameter(shape):
    (ours, theirs), batch = pair(shape[0]), batch_for(*shape)
    batch.token_labels[0, 0] = 1  # the mean needs at least one token
    expected = theirs(**batch.theirs, labels=batch.token_labels, next_sentence_label=batch.text_labels)
    output = ours(batch.ids, batch.token_type_ids, batch.attention_mask)
    equal(output.mlm_logits, expected.prediction_logits)
    equal(output.nsp_logits, expected.seq_relationship_logits)
    mlm_loss = cross_entropy(output.mlm_logits, batch.token_labels).value
    loss = mlm_loss + cross_entropy(output.nsp_logits, batch.text_labels).value
    equal(loss, expected.loss)
    loss.backward()
    expected.loss.backward()
    check_gradients(ours, theirs)


@FEW
@given(shapes(), st.sampled_from(["text", "token"]))
def test_F07_F28_classification_heads_and_their_gradients(shape, task):
    config, B, T = shape
    batch, labels = batch_for(*shape), tuple("abc")
    kind = {"text": "BertForSequenceClassification", "token": "BertForTokenClassification"}[task]
    theirs = referee(kind, config, num_labels=3)
    head = TextHeadConfig(labels, pooling="cls") if task == "text" else TokenHeadConfig(labels)
    ours = filled(Classifier(Bert(config), head), theirs)
    tags = (batch.token_labels % 3).where(batch.attention_mask, torch.tensor(-100))
    answers = batch.text_labels if task == "text" else tags
    expected = theirs(**batch.theirs, labels=answers)
    logits = ours(batch.ids, batch.token_type_ids, batch.attention_mask)
    equal(logits, expected.logits)
    loss = cross_entropy(logits, answers).value
    equal(loss, expected.loss)
    loss.backward()
    expected.loss.backward()
    check_gradients(ours, theirs)


@FEW
@given(shapes())
def test_a_sentence_vector_is_the_mean_of_its_hidden_states_at_length_1(shape):
    config, B, T = shape
    batch, theirs = batch_for(*shape), referee("BertModel", config)
    ours = filled(SentenceEncoder(Bert(config)), theirs)
    hidden = theirs(**batch.theirs).last_hidden_state
    vectors = ours(batch.ids, batch.token_type_ids, batch.attention_mask)
    for vector, row, mask in zip(vectors, hidden, batch.attention_mask, strict=True):
        mean = row[mask].mean(dim=0)
        equal(vector, mean / mean.norm())


def test_a_tolerance_that_rejects():
    """The tests are strict enough to notice another ε, another activation or another order of Q, K and V."""
    config = TransformerConfig(vocab_size=11, width=6, layers=1, heads=2, feed_forward=5, max_length=7, epsilon=1e-5)
    (_, theirs), batch = pair(config), batch_for(config, 3, 5)
    expected = theirs.bert(**batch.theirs).last_hidden_state
    for change in ({"epsilon": 2e-5}, {"activation": "gelu_new"}):
        ours = filled(BertForPretraining(replace(config, **change)), theirs)
        with pytest.raises(AssertionError):
            equal(ours.encoder(batch.ids, batch.token_type_ids, batch.attention_mask).hidden, expected)
