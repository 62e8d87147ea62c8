"""Compares each objective with an independent computation: PyTorch's own losses, or a plain loop over the positions."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.models.bert import Bert, BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.training.objective import Objective
from minilm.training.objectives import BertPretraining, CausalLM, Classification

V, K = 13, 4
SHAPE = TransformerConfig(vocab_size=V, width=6, layers=2, heads=3, feed_forward=7, max_length=9)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def in_float64(model, seed=0):
    """The model in float64, with weights that are large enough to make all logits different."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model.double()


def ids_and_mask(lengths, seed=0):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(1, V, mask.shape, generator=seeded(seed)) * mask, mask


def grads(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_an_objective_is_whatever_has_these_methods():
    assert all(isinstance(each, Objective) for each in (BertPretraining(), CausalLM(), Classification()))
    assert not isinstance(nn.Linear(1, 1), Objective)


# ------------------------------------------------------------------------------- BERT


def pretraining_batch(lengths=(7, 4, 5), seed=0):
    ids, mask = ids_and_mask(lengths, seed)
    labels = torch.full_like(ids, IGNORED)
    labels[:, 1], labels[0, 3] = ids[:, 2], 0  # token 0 is a label like any other
    segments = (torch.arange(ids.size(1)) >= 2).long() * mask
    return Batch(ids, segments, mask, labels, torch.arange(len(lengths)) % 2)


def theirs(model, batch):
    """The two losses, computed by PyTorch from logits at every position."""
    output = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
    mlm = F.cross_entropy(output.mlm_logits.flatten(0, 1), batch.labels.flatten(), ignore_index=IGNORED)
    return mlm, F.cross_entropy(output.nsp_logits, batch.nsp_labels), output.nsp_logits.argmax(-1) == batch.nsp_labels


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_F27_bert_pretraining_is_the_weighted_sum_of_two_means(weight):
    model, batch = in_float64(BertForPretraining(SHAPE)), pretraining_batch()
    step = BertPretraining(weight).step(model, batch)
    mlm, nsp, _ = theirs(model, batch)
    torch.testing.assert_close(step.loss, mlm + weight * nsp, atol=1e-12, rtol=0)
    assert {name: float(value) for name, value in step.shown.items()} == pytest.approx(
        {"masked words": mlm.item(), "next sentence": nsp.item()}, abs=1e-12
    )
    assert step.tokens == 7 + 4 + 5 and not any(value.requires_grad for value in step.shown.values())
    ours, wanted = grads(model, step.loss), grads(model, theirs(model, batch)[0] + weight * theirs(model, batch)[1])
    assert ours.keys() == wanted.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], wanted[name], atol=1e-12, rtol=0)
    assert (ours["nsp_head.weight"].abs().max() > 0) == (weight > 0)


def test_F27_after_the_first_tenth_a_share_of_the_weight_is_left():
    objective = BertPretraining(2.5, rest=0.25)
    weights = [objective.at(progress).next_sentence_weight for progress in (0, 0.0999, 0.1, 0.5, 1)]
    assert weights == [2.5, 2.5, 0.625, 0.625, 0.625]
    assert objective.at(0.5).at(0.6) == objective.at(0.5)  # once
    constant = BertPretraining(2.5)
    assert all(constant.at(progress) is constant for progress in (0, 0.1, 1))
    assert BertPretraining(2.5, rest=0.0).at(0.5).next_sentence_weight == 0


def test_F25_what_padding_holds_does_not_matter():
    model, batch = in_float64(BertForPretraining(SHAPE)), pretraining_batch()
    other = Batch(
        batch.input_ids.masked_fill(~batch.attention_mask, 5),
        *(batch.token_type_ids, batch.attention_mask, batch.labels, batch.nsp_labels),
    )
    torch.testing.assert_close(
        BertPretraining().step(model, batch).loss, BertPretraining().step(model, other).loss, atol=1e-12, rtol=0
    )


def test_F25_F26_bert_measures_the_mean_over_everything():
    """The two batches have different numbers of masks and pairs, so a mean of means would be wrong."""
    model, batches = in_float64(BertForPretraining(SHAPE)).train(), [pretraining_batch(), pretraining_batch((8,), 1)]
    measured = BertPretraining(9.0).measure(model, iter(batches))
    assert not model.training
    with torch.no_grad():
        (mlm_1, nsp_1, right_1), (mlm_2, nsp_2, right_2) = (theirs(model, batch) for batch in batches)
    assert [int((batch.labels != IGNORED).sum()) for batch in batches] == [4, 2]
    assert measured == pytest.approx(
        {
            "mlm_loss": float(4 * mlm_1 + 2 * mlm_2) / 6,
            "nsp_loss": float(3 * nsp_1 + nsp_2) / 4,
            "nsp_accuracy": int(right_1.sum() + right_2.sum()) / 4,
            "pairs": 4,
        },
        abs=1e-12,
    )
    assert abs(measured["mlm_loss"] - float(mlm_1 + mlm_2) / 2) > 1e-2  # a mean of means would fail
    assert abs(measured["nsp_loss"] - float(nsp_1 + nsp_2) / 2) > 1e-2
    said = BertPretraining().summary({"mlm_loss": 5.1234, "nsp_accuracy": 0.6123})
    assert said == "masked words 5.123 nats  next sentence 61.2%"


# ------------------------------------------------------------------------------- from left to right


def language_model(**changes):
    return in_float64(LSTMLanguageModel(LSTMConfig(V, **dict(embedding=5, hidden=6, layers=1) | changes)))


def losses_one_by_one(model, batch):
    """−log P(next token) at every position, row by row, without padding and without a batch."""
    lengths = [batch.input_ids.size(1)] * len(batch.input_ids)
    if batch.attention_mask is not None:
        lengths = batch.attention_mask.sum(dim=1).tolist()
    labels = batch.input_ids if batch.labels is None else batch.labels
    out = []
    for ids, wanted, n in zip(batch.input_ids, labels, lengths):
        log_p = model(ids[None, :n])[0].log_softmax(dim=-1)
        out += [-log_p[t, wanted[t + 1]] for t in range(n - 1) if wanted[t + 1] != IGNORED]
    return torch.stack(out)


def causal_batch(lengths, seed=0, prompt=None):
    ids, mask = ids_and_mask(lengths, seed)
    labels = None
    if prompt is not None:  # like a careless caller, give the padding token labels
        labels = ids.masked_fill(torch.arange(ids.size(1)) < torch.tensor(prompt)[:, None], IGNORED)
    return Batch(ids, None, None if len(set(lengths)) == 1 else mask, labels)


@pytest.mark.parametrize(
    ("lengths", "prompt", "count"),
    [((6, 6, 6), None, 15), ((6, 3, 4), None, 10), ((6, 3, 4), (2, 0, 3), 4 + 2 + 1), ((5, 5), (1, 4), 4 + 1)],
)
def test_F23_each_token_but_the_first_is_predicted_from_those_before_it(lengths, prompt, count):
    model, batch = language_model(), causal_batch(lengths, prompt=prompt)
    wanted = losses_one_by_one(model, batch)
    loss = CausalLM().loss(model, batch)
    assert loss.count == len(wanted) == count
    torch.testing.assert_close(loss.value, wanted.mean(), atol=1e-12, rtol=0)
    step = CausalLM().step(model, batch)
    torch.testing.assert_close(step.loss, wanted.mean(), atol=1e-12, rtol=0)
    assert step.tokens == sum(lengths) and step.shown.keys() == {"loss"} and not step.shown["loss"].requires_grad
    if len(set(lengths)) == 1 and prompt is None:
        logits = model(batch.input_ids)
        referee = F.cross_entropy(logits[:, :-1].flatten(0, 1), batch.input_ids[:, 1:].flatten())
        torch.testing.assert_close(step.loss, referee, atol=1e-12, rtol=0)


def test_F23_the_loss_changes_neither_the_labels_nor_the_ids():
    batch = causal_batch((6, 3), prompt=(1, 2))
    before = batch.input_ids.clone(), batch.labels.clone()
    CausalLM().loss(language_model(), batch)
    assert torch.equal(batch.input_ids, before[0]) and torch.equal(batch.labels, before[1])


def test_F23_a_language_model_is_measured_by_the_mean_over_all_tokens():
    model, batches = language_model().train(), [causal_batch((7, 2, 5)), causal_batch((3,), 1)]
    each = [losses_one_by_one(model, batch).detach() for batch in batches]
    measured = CausalLM().measure(model, iter(batches))
    mean = float(torch.cat(each).mean())
    assert measured["loss"] == pytest.approx(mean, abs=1e-12) and not model.training
    assert measured["perplexity"] == pytest.approx(math.exp(mean), rel=1e-6)
    assert abs(mean - sum(float(losses.mean()) for losses in each) / 2) > 1e-2  # a mean of means would fail
    assert CausalLM().summary({"loss": 2.0, "perplexity": 7.389}) == "next token 2.000 nats  perplexity 7.4"


class Fixed(nn.Module):
    """A language model whose probabilities are known: P(next = (this + 1) mod 4) = 1/2, and 1/6 for each other token."""

    def forward(self, input_ids, attention_mask=None):
        p = torch.full((*input_ids.shape, 4), 1 / 6, dtype=torch.float64)
        return p.scatter(-1, (input_ids[..., None] + 1) % 4, 0.5).log()


def test_F23_bits_per_character_and_per_byte_by_hand():
    """Two documents with BEGIN 0 and END 3: "0 1 2 3" costs 3 bits, and "0 2 1 1 3" costs 4 log₂ 6 bits, in two windows.

    Their texts are "é1" (2 characters, 3 bytes) and "abcdé" (5 characters, 6 bytes).
    """
    one = Batch(torch.tensor([[0, 1, 2, 3], [0, 2, 1, 0]]), None, torch.tensor([[True] * 4, [True] * 3 + [False]]))
    one = replace(one, text_sizes=torch.tensor([[2, 3], [0, 0]]))
    other = Batch(torch.tensor([[1, 1, 3]]), text_sizes=torch.tensor([[5, 6]]))
    measured = CausalLM().measure(Fixed(), [one, other])
    bits = 3 + 4 * math.log2(6)
    assert measured["loss"] == pytest.approx(bits * math.log(2) / 7, abs=1e-12)
    assert measured["perplexity"] == pytest.approx(2 ** (bits / 7), rel=1e-6)
    assert measured["bits_per_character"] == pytest.approx(bits / 7, abs=1e-12)
    assert measured["bits_per_byte"] == pytest.approx(bits / 9, abs=1e-12)
    assert CausalLM().summary(measured).endswith(f"  {bits / 7:.3f} bits per character")


# ------------------------------------------------------------------------------- labels


def labelled_batch(kind, lengths=(7, 4, 5), seed=0):
    ids, mask = ids_and_mask(lengths, seed)
    if kind == "text":
        labels = torch.arange(len(lengths)) % K
    else:
        labels = torch.randint(K, ids.shape, generator=seeded(seed)).masked_fill(~mask, IGNORED)
        labels[:, 0] = IGNORED
    return Batch(ids, torch.zeros_like(ids), mask, labels)


def classifier(kind, dropout=0.0):
    names = tuple("abcd")
    head = TextHeadConfig(names, dropout) if kind == "text" else TokenHeadConfig(names, dropout)
    return in_float64(Classifier(Bert(SHAPE), head))


@pytest.mark.parametrize("kind", ["text", "token"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_F08_F28_classification_equals_pytorch(kind, smoothing):
    model, batch = classifier(kind).train(), labelled_batch(kind)
    logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
    wanted = F.cross_entropy(
        logits.flatten(0, -2), batch.labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )
    step = Classification(smoothing).step(model, batch)
    torch.testing.assert_close(step.loss, wanted, atol=1e-12, rtol=0)
    assert float(step.shown["loss"]) == pytest.approx(wanted.item()) and step.tokens == 16 and model.training


@pytest.mark.parametrize("kind", ["text", "token"])
def test_F28_classification_is_measured_without_smoothing_over_everything_that_counts(kind):
    model, batches = classifier(kind, 0.5).train(), [labelled_batch(kind), labelled_batch(kind, (5,), 1)]
    measured = Classification(label_smoothing=0.3).measure(model, iter(batches))
    assert not model.training  # so there is no dropout
    total, count, means = 0.0, 0, []
    for batch in batches:
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        each = F.cross_entropy(
            logits.flatten(0, -2), batch.labels.flatten(), ignore_index=IGNORED, reduction="none"
        ).detach()
        total, n = total + float(each.sum()), int((batch.labels != IGNORED).sum())
        count += n
        means.append(float(each.sum()) / n)
    assert measured == pytest.approx({"loss": total / count}, abs=1e-12)
    assert abs(measured["loss"] - sum(means) / 2) > 1e-3  # a mean of means would fail
    assert Classification().summary(measured) == f"loss {total / count:.3f}"


def test_F08_head_only_trains_without_dropout():
    torch.manual_seed(0)  # one draw of dropout in a thousand leaves the loss where it was
    model, batch = classifier("text", dropout=0.5).train(), labelled_batch("text")
    without = Classification().loss(model.eval(), batch).value
    torch.testing.assert_close(Classification(head_only=True).step(model.train(), batch).loss, without)
    assert not torch.allclose(Classification().step(model.train(), batch).loss, without, atol=1e-3)


def test_initialised_models_start_at_the_loss_of_guessing():
    """The losses start at log V and log 2. This checks that they are in nats and that no label leaks into the input."""
    model = BertForPretraining(SHAPE)
    initialise(model, "published", seeded())
    measured = BertPretraining().measure(model, [pretraining_batch()])
    assert measured["mlm_loss"] == pytest.approx(math.log(V), abs=0.1)
    assert measured["nsp_loss"] == pytest.approx(math.log(2), abs=0.05)
