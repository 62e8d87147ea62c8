"""Attention with a trained bias, gradient by hand, against PyTorch's kernel in double precision; and where it is taken."""

import math

import pytest
import torch
from torch.nn import functional as F

from minilm.layers import attention as attention_module, biased_attention as module
from minilm.layers.attention import MultiHeadAttention, fused_attention
from minilm.layers.products import has_onednn, products
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise

B, H, T, S, D, Dv = 2, 3, 5, 7, 4, 6


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


@pytest.fixture
def by_hand(monkeypatch):
    """oneDNN is chosen; the shapes of the bias that the shortcut is applied to are noted."""
    if not has_onednn():
        pytest.skip("this PyTorch has no oneDNN that multiplies (2026-11-27)")
    taken = []

    def noted(q, k, v, bias):
        taken.append(tuple(bias.shape))
        return module.biased_attention(q, k, v, bias)

    monkeypatch.setattr(attention_module, "biased_attention", noted)
    with products("onednn"):
        yield taken


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [(1, H, T, S), (B, H, T, S), (1, 1, T, S), (H, T, S), (B, 1, 1, S)])
def test_F18_F21_value_and_every_gradient_equal_the_kernels_in_double_precision(size, masked, by_hand):
    q, k, v, bias = draw(B, H, T, D), draw(B, H, S, D, seed=1), draw(B, H, S, Dv, seed=2), draw(*size, seed=3)
    may_attend, d_out = None, draw(B, H, T, Dv, seed=4).detach()
    if masked:  # one query of each text sees nothing at all
        may_attend = torch.rand(B, 1, T, S, generator=torch.Generator().manual_seed(5)) < 0.6
        may_attend[:, :, 2] = False
    out = fused_attention(q, k, v, may_attend, bias)
    mine = torch.autograd.grad(out, (q, k, v, bias), d_out)
    exact = [each.detach().double().requires_grad_() for each in (q, k, v, bias)]
    given = exact[3].expand(B, H, T, S)
    if masked:
        given = given.masked_fill(~may_attend, -math.inf)
        given = given.masked_fill(~may_attend.any(-1, keepdim=True), 0.0)
    referee = F.scaled_dot_product_attention(*exact[:3], attn_mask=given)
    if masked:
        referee = referee.masked_fill(~may_attend.any(-1, keepdim=True), 0.0)
    theirs = torch.autograd.grad(referee, exact, d_out.double())
    torch.testing.assert_close(out.double(), referee, atol=1e-6, rtol=0)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one.double(), other, atol=2e-6, rtol=0)
    assert len(by_hand) == 1


def test_it_is_taken_for_a_trained_bias_in_single_precision_where_digits_may_change(by_hand):
    q, k, v, bias = draw(B, H, T, D), draw(B, H, S, D, seed=1), draw(B, H, S, Dv, seed=2), draw(1, H, T, S, seed=3)
    fused_attention(q, k, v)
    fused_attention(q, k, v, None, bias.detach())
    fused_attention(*(each.double() for each in (q, k, v)), None, bias.double())
    fused_attention(*(each.bfloat16() for each in (q, k, v)), None, bias.bfloat16())
    with torch.no_grad():
        fused_attention(q, k, v, None, bias)
    with products("torch"):
        fused_attention(q, k, v, None, bias)
    with torch.autocast("cpu", torch.bfloat16):
        fused_attention(q, k, v, None, bias)
    assert not module.takes_shortcut(q.to("meta"), bias.to("meta"))  # a graphics card has kernels of its own
    assert by_hand == []
    fused_attention(q, k, v, None, bias)
    assert by_hand == [(1, H, T, S)]


def test_a_layer_with_dropout_or_with_weights_to_show_does_not_come_here(by_hand):
    x, bias = draw(B, T, 6), draw(1, 2, T, T)
    layer = MultiHeadAttention(6, 2, dropout=0.5).train()
    layer(x, bias=bias)
    layer.eval()(x, bias=bias, need_weights=True)
    assert by_hand == []
    layer(x, bias=bias)
    assert by_hand == [(1, 2, T, T)]


def test_F21_a_model_with_relative_positions_learns_the_same(by_hand):
    """All gradients of a whole model, padding included, equal those of PyTorch's kernel but for rounding."""
    config = TransformerConfig(40, 8, layers=2, heads=2, feed_forward=12, max_length=11, positions="relative")
    model = BertForPretraining(config)
    initialise(model, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(9) < torch.tensor([9, 4, 6])[:, None]
    found = {}
    for by in ("torch", "onednn"):
        with products(by):
            model.zero_grad()
            out = model(ids, torch.zeros_like(ids), mask)
            (out.mlm_logits[mask].log_softmax(-1)[:, 7].sum() + out.nsp_logits[:, 0].sum()).backward()
            found[by] = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert len(by_hand) == 2 and found["torch"].keys() == found["onednn"].keys()
    for name, gradient in found["torch"].items():
        torch.testing.assert_close(found["onednn"][name], gradient, atol=2e-5, rtol=1e-4)


def test_it_cannot_be_differentiated_twice_and_says_so(by_hand):
    q, k, v, bias = draw(B, H, T, D), draw(B, H, S, D, seed=1), draw(B, H, S, Dv, seed=2), draw(1, H, T, S, seed=3)
    (dq,) = torch.autograd.grad(fused_attention(q, k, v, None, bias).sum(), q, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice|does not require grad"):
        dq.sum().backward()
