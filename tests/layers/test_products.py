"""Products by oneDNN: the same sums as PyTorch's own choice in another order, in value and gradient."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers import products as module, recurrent
from minilm.layers.products import Linear, _ByOneDNN, chosen_products, has_onednn, linear, products
from minilm.layers.recurrent import Recurrent
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise

needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this PyTorch has no oneDNN that multiplies (2026-11-27)")


def factors(B=3, T=5, I=7, O=11, seed=4):
    generator = torch.Generator().manual_seed(seed)
    shapes = (B, T, I), (O, I), (O,)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


@pytest.fixture
def small_ones_too(monkeypatch):
    monkeypatch.setattr(module, "SMALL", 0)


@needs_onednn
@pytest.mark.parametrize("O", [4, 11, 200])  # fewer outputs than inputs, more, and so many that rows are filled up
@pytest.mark.parametrize("with_bias", [True, False])
def test_value_and_gradient_equal_those_in_double_precision(small_ones_too, O, with_bias):
    x, W, b = factors(O=O)
    b = b if with_bias else None
    with products("onednn"):
        y = linear(x, W, b)
    assert type(y.grad_fn.next_functions[0][0]).__name__ == "_ByOneDNNBackward"
    upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(5))
    inputs = [x, W, *([] if b is None else [b])]
    found = torch.autograd.grad(y, inputs, upstream)
    doubles = [each.detach().double().requires_grad_() for each in inputs]
    expected = F.linear(doubles[0], *doubles[1:])
    torch.testing.assert_close(y.double(), expected, rtol=1e-6, atol=1e-6)
    for mine, theirs in zip(found, torch.autograd.grad(expected, doubles, upstream.double()), strict=True):
        assert mine.is_contiguous()
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-6, atol=1e-5)


@needs_onednn
def test_the_gradient_can_be_differentiated_again(small_ones_too):
    x, W, b = factors()

    def second(y):
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [x, W, b])

    with products("onednn"):
        found = second(linear(x, W, b))
    for mine, theirs in zip(found, second(F.linear(x, W, b)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-3)


@needs_onednn
def test_wide_products_have_few_different_numbers_of_rows(small_ones_too, monkeypatch):
    seen = []
    by_onednn = module.by_onednn
    monkeypatch.setattr(module, "by_onednn", lambda x, W, b: seen.append(len(x)) or by_onednn(x, W, b))
    with products("onednn"):
        for N, O in ((3, 112), (64, 112), (65, 112), (65, 111)):  # 112 = 16 · 7
            assert linear(torch.ones(N, 7), torch.ones(O, 7)).shape == (N, O)
    assert seen == [64, 64, 128, 65]


@needs_onednn
def test_only_the_gradients_that_are_needed_are_computed(small_ones_too, monkeypatch):
    x, W, b = factors()
    with products("onednn"):
        y = linear(x.detach(), W.detach(), b)
    calls = []
    monkeypatch.setattr(module, "by_onednn", lambda *each: calls.append(each))
    y.sum().backward()
    assert not calls and torch.equal(b.grad, torch.full((11,), 15.0))


@needs_onednn
def test_a_model_computes_the_same_with_either(small_ones_too):
    config = TransformerConfig(vocab_size=31, width=12, layers=2, heads=3, feed_forward=20, max_length=9)
    model = BertForPretraining(config)
    initialise(model, generator=torch.Generator().manual_seed(2))
    ids = torch.randint(5, 31, (4, 9), generator=torch.Generator().manual_seed(3))
    found = {}
    for name in ("torch", "onednn"):
        model.zero_grad()
        with products(name):
            output = model(ids, masked=torch.tensor([2, 5, 11, 30]))
        (output.mlm_logits.square().sum() + output.nsp_logits.square().sum()).backward()
        found[name] = [output.mlm_logits, *(p.grad for p in model.parameters())]
    for mine, theirs in zip(found["onednn"], found["torch"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_by_default_the_bits_are_those_of_torch():
    x, W, b = factors(T=50, I=128, O=300)
    ours, theirs = Linear(128, 300), nn.Linear(128, 300)
    theirs.load_state_dict(ours.state_dict())
    assert chosen_products() == "torch"
    assert torch.equal(ours(x), theirs(x)) and torch.equal(linear(x, W, b), F.linear(x, W, b))


@needs_onednn
def test_what_onednn_is_not_for_is_left_to_torch(monkeypatch):
    monkeypatch.setattr(module._ByOneDNN, "apply", lambda *each: pytest.fail("oneDNN was asked"))
    x, W, b = factors(T=50, I=128, O=300)
    with products("onednn"):
        assert torch.equal(linear(x[:1, :2], W, b), F.linear(x[:1, :2], W, b))  # too small
        assert linear(x.double(), W.double(), b.double()).dtype == torch.float64
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, W, b).dtype == torch.bfloat16


@needs_onednn
def test_the_environment_chooses_and_a_block_overrules_it(monkeypatch):
    monkeypatch.setenv("MINILM_PRODUCTS", "onednn")
    assert chosen_products() == "onednn"
    with products("torch"):
        assert chosen_products() == "torch"
    monkeypatch.setenv("MINILM_PRODUCTS", "")
    assert chosen_products() == "torch"


def test_unknown_and_missing_libraries_are_said_in_one_sentence(monkeypatch):
    monkeypatch.setenv("MINILM_PRODUCTS", "cublas")
    with pytest.raises(InputError, match="'cublas' are not known: choose one of torch, onednn"):
        linear(*factors())
    module.checked.cache_clear()
    monkeypatch.setattr(module, "has_onednn", lambda: False)
    with pytest.raises(InputError, match="no oneDNN"), products("onednn"):
        pass
    module.checked.cache_clear()


def test_a_torch_without_onednn_is_noticed(monkeypatch):
    def missing(*each):
        raise AttributeError("no such operator")

    monkeypatch.setattr(module, "by_onednn", missing)
    has_onednn.cache_clear()
    assert not has_onednn()
    monkeypatch.setattr(module, "by_onednn", lambda x, W: x @ W.T + 1)
    has_onednn.cache_clear()
    assert not has_onednn()
    monkeypatch.undo()
    has_onednn.cache_clear()


def test_the_gradient_of_the_bias_is_a_sum_over_rows():
    dy = np.arange(6.0).reshape(2, 3)  # by hand: rows 0, 1, 2 and 3, 4, 5
    y = _ByOneDNN.apply(torch.ones(2, 4), torch.ones(3, 4), b := torch.zeros(3, requires_grad=True))
    y.backward(torch.tensor(dy, dtype=torch.float32))
    assert b.grad.tolist() == [3, 5, 7]


@needs_onednn
def test_F15_the_lstm_by_hand_computes_the_same_with_either(small_ones_too, monkeypatch):
    lstm = Recurrent("lstm", 7, 5, 2, bidirectional=True, generator=torch.Generator().manual_seed(6))
    x = factors(B=4, T=6, I=7)[0]
    found, asked = {}, []
    by_onednn = module.by_onednn
    monkeypatch.setattr(recurrent, "by_onednn", lambda *each, **more: asked.append(more) or by_onednn(*each, **more))
    for name in ("torch", "onednn"):
        with products(name):
            y, _ = lstm(x, lengths=torch.tensor([6, 2, 5, 1]))
        found[name] = [y, *torch.autograd.grad(y.square().sum(), [x, *lstm.parameters()])]
        assert len(asked) == {"torch": 0, "onednn": 4 * (6 + 6 + 1)}[name]  # cells · (forward, backward, W_h)
    for mine, theirs in zip(found["onednn"], found["torch"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
