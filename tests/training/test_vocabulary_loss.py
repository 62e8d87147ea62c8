"""The loss over a vocabulary whose gradient is written by hand: it equals the readable one, and is taken only where it may be."""

import inspect
import math

import pytest
import torch
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.exercises.mine import put_loss
from minilm.layers.products import has_onednn, products
from minilm.models.bert import BertForPretraining, PretrainingOutput
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.training import objectives, vocabulary_loss as module
from minilm.training.losses import cross_entropy
from minilm.training.vocabulary_loss import vocabulary_loss

B, T, K = 3, 5, 7


def draw(*shape):
    return (3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))).requires_grad_()


def labels(*shape):
    return torch.randint(K, shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def by_hand(monkeypatch):
    """The shortcut is taken, whatever the size; the shapes that it is applied to are noted."""
    if not has_onednn():
        pytest.skip("this PyTorch has no oneDNN that multiplies (2026-11-27)")
    monkeypatch.setattr(module, "MANY", 1)
    taken, apply = [], module._SoftmaxLoss.apply
    monkeypatch.setattr(module._SoftmaxLoss, "apply", lambda z, *more: taken.append(tuple(z.shape)) or apply(z, *more))
    with products("onednn"):
        yield taken


def test_F08_F25_equals_double_precision_in_value_and_gradient(by_hand):
    z, y = draw(B, T, K), labels(B, T)
    doubles = z.detach().double().requires_grad_()
    value, count = vocabulary_loss(z, y)
    assert (count, by_hand) == (B * T, [(B * T, K)])
    theirs = F.cross_entropy(doubles.flatten(0, 1), y.flatten())
    torch.testing.assert_close(value.double(), theirs, atol=1e-6, rtol=0)
    (mine,), (referee,) = torch.autograd.grad(0.731 * value, z), torch.autograd.grad(0.731 * theirs, doubles)
    torch.testing.assert_close(mine.double(), referee, atol=1e-7, rtol=0)


@pytest.mark.parametrize("part", [1, 4, 64])
def test_F25_the_gradient_may_take_the_place_of_the_logits(part, by_hand, monkeypatch):
    """The logits are those of a product with a bias, which needs them for nothing; rows that are computed at a time do not matter."""
    monkeypatch.setattr(module, "PART", part)
    h, W, b, y = draw(B * T, 6), draw(K, 6).detach().requires_grad_(), draw(K), labels(B * T)
    found = []
    for overwrite in (False, True):
        z = torch.addmm(b, h, W.T)
        before = z.detach().clone()
        value, _ = vocabulary_loss(z, y, overwrite=overwrite)
        assert torch.equal(z, before) != overwrite
        found.append((value, *torch.autograd.grad(0.731 * value, (h, W, b))))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    assert by_hand == [(B * T, K)] * 2


def test_F25_logits_that_something_else_needs_are_not_overwritten_in_silence(by_hand):
    z = draw(B, K).tanh()  # whose gradient needs its value
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        vocabulary_loss(z, labels(B), overwrite=True).value.backward()


def test_F08_the_loss_may_be_differentiated_twice_in_a_row(by_hand):
    z = draw(B, K)
    value, _ = vocabulary_loss(z, labels(B))
    first, second = (torch.autograd.grad(c * value, z, retain_graph=True)[0] for c in (1, 3))
    torch.testing.assert_close(3 * first, second, atol=1e-7, rtol=0)


def test_F08_a_probability_that_rounds_to_nothing_keeps_its_loss(by_hand):
    z = torch.tensor([[0.0, 1000.0], [80.0, 0.0], [3.0, 4.0]], requires_grad=True)
    value, _ = vocabulary_loss(z, torch.tensor([0, 1, 0]))
    torch.testing.assert_close(value.item(), (1000 + 80 + math.log(1 + math.e)) / 3, atol=1e-4, rtol=0)
    (dz,) = torch.autograd.grad(value, z)
    p = z.detach().double().softmax(dim=-1)
    torch.testing.assert_close(dz.double(), (p - torch.eye(2).double()[[0, 1, 0]]) / 3, atol=1e-7, rtol=0)
    assert by_hand


def test_F08_cannot_be_differentiated_twice_and_says_so(by_hand):
    z = draw(B, K)
    (dz,) = torch.autograd.grad(vocabulary_loss(z, labels(B)).value, z, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice|does not require grad"):
        dz.sum().backward()


def test_everything_else_goes_to_the_readable_loss(by_hand, monkeypatch):
    z, y = draw(B, K), labels(B)
    uncounted = y.clone()
    uncounted[1] = IGNORED
    for logits, wanted, smoothing in [(z.double(), y, 0.0), (z.bfloat16(), y, 0.0), (z, y, 0.1), (z, uncounted, 0.0)]:
        assert vocabulary_loss(logits, wanted, smoothing) == cross_entropy(logits, wanted, smoothing)
    with pytest.raises(InputError, match=rf"label {K} is outside"):
        vocabulary_loss(z, torch.full_like(y, K))
    monkeypatch.setattr(module, "MANY", B * K + 1)
    assert vocabulary_loss(z, y) == cross_entropy(z, y)
    monkeypatch.setattr(module, "MANY", B * K)
    with products("torch"):
        assert vocabulary_loss(z, y) == cross_entropy(z, y)
    with monkeypatch.context() as patch:  # without the tests' check of shapes, as a user's program calls it
        patch.setattr(module, "cross_entropy", inspect.unwrap(cross_entropy))
        for other in (y[:-1], y[:, None]):
            with pytest.raises(InputError, match="give one label for each"):
                inspect.unwrap(vocabulary_loss)(z, other)
    assert not module.takes_shortcut(z.detach().to("meta"), y)  # a graphics card has kernels of its own
    assert by_hand == []
    vocabulary_loss(z, y)
    assert by_hand == [(B, K)]


def test_no_label_at_all_gives_a_loss_of_nothing(by_hand):
    z = torch.empty(0, K, requires_grad=True)
    value, count = vocabulary_loss(z, torch.empty(0, dtype=torch.int64))
    assert (value.item(), count, by_hand) == (0.0, 0, [])


class Reader(torch.nn.Module):
    """Its logits are a row of a table for each token that it reads."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(draw(K, K).detach())

    def forward(self, input_ids, attention_mask=None):
        return self.table[input_ids]


class MaskedReader(Reader):
    """The same with a guess at the next sentence."""

    def forward(self, input_ids, token_type_ids, attention_mask, masked):
        return PretrainingOutput(self.table[input_ids.flatten()[masked]], self.table[input_ids[:, 0], :2])


def test_both_objectives_that_predict_words_come_here(by_hand):
    ids = labels(B, T)
    objectives.CausalLM().step(Reader(), Batch(input_ids=ids)).loss.backward()
    wanted = ids.masked_fill(torch.arange(T) % 2 == 0, IGNORED)
    pairs = Batch(ids, torch.zeros_like(ids), torch.ones_like(ids, dtype=torch.bool), wanted, torch.arange(B) % 2)
    objectives.BertPretraining().step(MaskedReader(), pairs).loss.backward()
    assert by_hand == [(B * (T - 1), K), (B * (T // 2), K)]


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_F25_F27_a_whole_bert_learns_the_same_when_its_logits_are_overwritten(precision, by_hand, monkeypatch):
    """All gradients of a pretraining step, padding and next sentence included, equal those of the readable loss but for rounding."""
    config = TransformerConfig(40, 8, layers=2, heads=2, feed_forward=12, max_length=11)
    model = BertForPretraining(config)
    initialise(model, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([9, 4, 6])[:, None]
    wanted = ids.masked_fill((torch.arange(9) % 3 != 0) | ~mask, IGNORED)
    pairs = Batch(ids, (torch.arange(9) > 3).long().expand(3, 9), mask, wanted, torch.tensor([1, 0, 1]))
    found = []
    for many in (2**40, 1):
        monkeypatch.setattr(module, "MANY", many)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            loss = objectives.BertPretraining(next_sentence_weight=0.7).step(model, pairs).loss
        loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters()} | {"loss": loss.detach()})
    assert by_hand == ([(7, 40)] if precision is torch.float32 else [])  # bf16 has logits of its own
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-6, rtol=1e-5)


def test_a_learners_own_loss_takes_its_place(by_hand):
    calls = []
    with put_loss(lambda z, y, smoothing: calls.append(smoothing) or (z.sum(), y.numel())):
        loss = objectives.vocabulary_loss(draw(B, K), labels(B), overwrite=True)
        objectives.cross_entropy(draw(B, K), labels(B))
    assert calls == [0.0, 0.0] and by_hand == [] and loss.count == B
    assert (objectives.vocabulary_loss, objectives.cross_entropy) == (vocabulary_loss, cross_entropy)
