import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import (
    KVCache,
    MultiHeadAttention,
    attention,
    causal_mask,
    fused_attention,
    merge_heads,
    padding_mask,
    split_heads,
)
from minilm.layers.dropout import Dropout, use_generator

B, H, T, S, D, Dv = 5, 3, 7, 6, 4, 2
C = H * D


def equal(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(18)


@pytest.fixture
def normal(rng):
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def value_and_gradients(function, inputs, upstream):
    """The function's value, and the gradient of every input for a given upstream gradient."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    outcome = function(*inputs)
    return [outcome.detach(), *torch.autograd.grad(outcome, inputs, upstream)]


def some_mask(rng, *shape):
    """A random mask in which every query may attend to at least one position."""
    mask = torch.rand(*shape, generator=rng) < 0.6
    mask[..., 1] = True
    return mask


MASKS = {
    "none": lambda rng: None,
    "padding": lambda rng: padding_mask(some_mask(rng, B, S)),
    "causal": lambda rng: causal_mask(T, S),
    "each its own": lambda rng: some_mask(rng, B, H, T, S),
}


def without_row_of_nothing(mask):
    """The mask, changed so that queries with nothing to attend to see everything, because there PyTorch's result differs."""
    return None if mask is None else mask | ~mask.any(dim=-1, keepdim=True)


# ---- F18


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("ours", [lambda *inputs: attention(*inputs)[0], fused_attention], ids=["readable", "fused"])
def test_F18_attention_equals_pytorch_in_value_and_gradient(ours, kind, rng, normal):
    mask = without_row_of_nothing(MASKS[kind](rng))
    inputs, upstream = [normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, Dv)], normal(B, H, T, Dv)
    got = value_and_gradients(lambda q, k, v: ours(q, k, v, mask), inputs, upstream)
    want = value_and_gradients(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), inputs, upstream
    )
    equal(got, want)


def test_F18_is_the_formula_written_out(normal):
    q, k, v = normal(T, D), normal(S, D), normal(S, Dv)
    out, weights = attention(q, k, v)
    for t in range(T):
        e = [math.exp(sum(float(q[t, d] * k[s, d]) for d in range(D)) / math.sqrt(D)) for s in range(S)]
        equal(weights[t], torch.tensor([e_s / sum(e) for e_s in e], dtype=torch.float64))
        equal(out[t], sum(e_s / sum(e) * v[s] for s, e_s in enumerate(e)))


@pytest.mark.parametrize("kind", MASKS)
def test_F18_fused_equals_readable_to_the_last_digits(kind, rng, normal):
    mask = MASKS[kind](rng)  # T > S: the first causal query has nothing to attend to
    inputs, upstream = [normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, Dv)], normal(B, H, T, Dv)
    readable = value_and_gradients(lambda q, k, v: attention(q, k, v, mask)[0], inputs, upstream)
    fused = value_and_gradients(lambda q, k, v: fused_attention(q, k, v, mask), inputs, upstream)
    equal(fused, readable, atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_F18_a_query_that_sees_nothing_gets_zeros_and_a_finite_gradient(fused, rng, normal):
    mask = some_mask(rng, B, 1, T, S)
    mask[1] = False
    mask[3, 0, 2] = False
    function = fused_attention if fused else lambda *inputs: attention(*inputs)[0]
    inputs, upstream = [normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, Dv)], normal(B, H, T, Dv)
    out, *gradients = value_and_gradients(lambda q, k, v: function(q, k, v, mask), inputs, upstream)
    blind = ~mask.any(dim=-1).expand(B, H, T)
    assert blind.sum() == H * (T + 1)
    assert (out[blind] == 0).all() and (out[~blind] != 0).all()
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert (gradients[0][blind] == 0).all()
    assert (gradients[1][1] == 0).all() and (gradients[2][1] == 0).all()


def test_F18_weights_are_a_distribution_over_what_may_be_seen(rng, normal):
    mask = some_mask(rng, B, 1, T, S)
    _, weights = attention(normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, Dv), mask)
    equal(weights.sum(dim=-1), torch.ones(B, H, T, dtype=torch.float64), atol=1e-14)
    assert (weights[~mask.expand_as(weights)] == 0).all() and (weights[mask.expand_as(weights)] > 0).all()


@pytest.mark.parametrize("size", [4, 16])
def test_F18_the_root_of_D_keeps_the_variance_of_the_scores_at_1(size, rng):
    """200,000 scores of q, k ~ N(0, 1). Var(s²) = 2 + 6/D, so the mean of s² is 1 ± 5 √((2 + 6/D)/N)."""
    N = 200_000
    q, k = (torch.randn(N, size, generator=rng) for _ in range(2))
    raw = (q * k).sum(dim=-1)
    tolerance = 5 * math.sqrt((2 + 6 / size) / N)
    # recover attention's scores from its weights: with the keys k and 0, a weight is the sigmoid of the score
    both = torch.stack([k, torch.zeros_like(k)], dim=1).double()  # [N, 2, D]
    _, weights = attention(q[:, None].double(), both, both)
    scores = weights[:, 0].logit(eps=1e-300)[:, 0]
    assert scores.square().mean().item() == pytest.approx(1, abs=tolerance)
    assert abs(raw.square().mean().item() - 1) > 100 * tolerance  # it is D without the division


def test_F18_dropout_draws_from_the_generator_and_leaves_the_returned_weights_alone(normal):
    q, k, v = normal(B, H, T, D), normal(B, H, S, D), normal(B, H, S, Dv)
    layer = Dropout(0.4)
    _, plain = attention(q, k, v)
    outs = []
    for seed in (1, 1, 2):
        use_generator(layer, torch.Generator().manual_seed(seed))
        out, weights = attention(q, k, v, dropout=layer)
        equal(weights, plain, atol=0)
        outs.append(out)
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])


def test_causal_mask_aligns_the_last_query_with_the_last_key():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


# ---- F19


def pair_of_attentions(normal, width=C, heads=H):
    """Ours and PyTorch's with the same random weights and biases."""
    ours = MultiHeadAttention(width, heads).double()
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        for mine, other in weights_in_pairs(ours, theirs):
            mine.copy_(normal(*mine.shape) / 2)
            other.copy_(mine)
    return ours, theirs


def weights_in_pairs(ours, theirs):
    return [
        (ours.to_qkv.weight, theirs.in_proj_weight),
        (ours.to_qkv.bias, theirs.in_proj_bias),
        (ours.output.weight, theirs.out_proj.weight),
        (ours.output.bias, theirs.out_proj.bias),
    ]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("masked", ["none", "padding", "causal", "both"])
def test_F19_multi_head_attention_equals_pytorch(masked, cross, fused, rng, normal):
    ours, theirs = pair_of_attentions(normal)
    ours.fused = fused
    S_ = S if cross else T
    attention_mask = some_mask(rng, B, S_)
    attention_mask[:, 0] = True  # the first causal query needs the first token
    causal = causal_mask(T, S_) | (torch.arange(S_) == 0)
    mask = {"none": None, "padding": padding_mask(attention_mask), "causal": causal[None, None]}
    mask["both"] = mask["padding"] & mask["causal"]
    x, memory = normal(B, T, C).requires_grad_(), normal(B, S, C).requires_grad_() if cross else None
    out, weights = ours(x, mask[masked], memory, need_weights=not fused)
    out_, weights_ = theirs(
        x_ := x.detach().clone().requires_grad_(),
        *[memory_ := memory.detach().clone().requires_grad_() if cross else x_] * 2,
        key_padding_mask=~attention_mask if masked in ("padding", "both") else None,
        attn_mask=~causal if masked in ("causal", "both") else None,
        average_attn_weights=False,
    )
    equal(out, out_)
    assert (weights is None) == fused
    if not fused:
        equal(weights, weights_)
    upstream = normal(B, T, C)
    out.backward(upstream)
    out_.backward(upstream)
    equal(x.grad, x_.grad)
    if cross:
        equal(memory.grad, memory_.grad)
    for mine, other in weights_in_pairs(ours, theirs):
        equal(mine.grad, other.grad)


def test_F19_one_product_is_the_many_small_products_of_the_formula(normal):
    """Concat(head₁ … head_H) W^O with headᵢ = Attention(Q Wᵢ^Q, K Wᵢ^K, V Wᵢ^V): as in the formula, one head at a time."""
    ours, _ = pair_of_attentions(normal)
    x = normal(B, T, C)
    W_Q, W_K, W_V = ours.to_qkv.weight.T.split(C, dim=1)  # each [C, C]
    b_Q, b_K, b_V = ours.to_qkv.bias.split(C)
    heads = []
    for i in range(H):
        own = slice(i * D, (i + 1) * D)  # the D columns of head i
        q, k, v = x @ W_Q[:, own] + b_Q[own], x @ W_K[:, own] + b_K[own], x @ W_V[:, own] + b_V[own]
        heads.append((q @ k.mT / math.sqrt(D)).softmax(dim=-1) @ v)
    equal(ours(x)[0], torch.cat(heads, dim=-1) @ ours.output.weight.T + ours.output.bias, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_F19_fused_layer_equals_the_readable_one(masked, rng, normal):
    ours, _ = pair_of_attentions(normal)
    mask = padding_mask(some_mask(rng, B, T)) & causal_mask(T) if masked else None  # some queries see nothing
    inputs, upstream = [normal(B, T, C), *ours.parameters()], normal(B, T, C)
    inputs[0].requires_grad_()
    outcomes = []
    for ours.fused in (True, False):
        out, _ = ours(inputs[0], mask)
        outcomes.append([out.detach(), *torch.autograd.grad(out, inputs, upstream)])
    assert all(tensor.isfinite().all() for tensor in outcomes[0])
    equal(*outcomes, atol=1e-12)


def test_F19_asking_for_the_weights_does_not_change_the_vectors(normal):
    ours, _ = pair_of_attentions(normal)
    x = normal(B, T, C)
    out, weights = ours(x, need_weights=True)
    assert weights.shape == (B, H, T, T)
    equal(out, ours(x)[0], atol=1e-12)


def test_F21_without_positions_attention_cannot_tell_the_order_of_tokens(rng, normal):
    ours, _ = pair_of_attentions(normal)
    x, order = normal(B, T, C), torch.randperm(T, generator=rng)
    assert order.tolist() != list(range(T))
    equal(ours(x[:, order])[0], ours(x)[0][:, order], atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_F18_a_later_token_changes_nothing_before_it(fused, normal):
    ours, _ = pair_of_attentions(normal)
    ours.fused = fused
    x, mask = normal(B, T, C), causal_mask(T)[None, None]
    before, _ = ours(x, mask)
    changed = x.clone()
    changed[:, 4] += 1
    after, _ = ours(changed, mask)
    assert torch.equal(after[:, :4], before[:, :4])
    assert ((after[:, 4:] - before[:, 4:]).abs().amax(dim=-1) > 1e-6).all()


def test_F19_attention_dropout_draws_from_the_generator_and_rests_in_evaluation(normal):
    layer = MultiHeadAttention(C, H, dropout=0.3).double()
    x, outs = normal(B, T, C), []
    for seed in (1, 1, 2):
        use_generator(layer, torch.Generator().manual_seed(seed))
        outs.append(layer(x)[0])
    assert torch.equal(outs[0], outs[1]) and not torch.allclose(outs[0], outs[2])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])
    with_none = MultiHeadAttention(C, H).double()
    with_none.load_state_dict(layer.state_dict())
    equal(layer(x)[0], with_none(x)[0], atol=0)


def test_heads_are_cut_and_joined_without_mixing_tokens(normal):
    x = normal(B, T, C)
    heads = split_heads(x, H)
    for i in range(H):
        assert torch.equal(heads[:, i], x[:, :, i * D : (i + 1) * D])
    assert torch.equal(merge_heads(heads), x)


@pytest.mark.parametrize(("width", "heads"), [(10, 3), (8, 0), (8, -2)])
def test_a_width_that_the_heads_do_not_divide_is_named(width, heads):
    with pytest.raises(InputError, match=f"width {width} is not divisible by {heads} heads: choose a multiple of"):
        MultiHeadAttention(width, heads)


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("padded", [False, True])
def test_F18_is_causal_equals_the_explicit_mask_alone_and_with_padding(padded, cross, fused, rng, normal):
    ours, _ = pair_of_attentions(normal)
    ours.fused = fused
    S_ = S if cross else T  # with S < T the first query has nothing to attend to
    padding = padding_mask(some_mask(rng, B, S_)) if padded else None
    explicit = causal_mask(T, S_)[None, None]
    explicit = explicit & padding if padded else explicit
    x, memory, upstream = normal(B, T, C), normal(B, S, C) if cross else None, normal(B, T, C)
    inputs = [x.requires_grad_(), *ours.parameters(), *([memory.requires_grad_()] if cross else [])]
    outcomes = []
    for options in (dict(may_attend=padding, is_causal=True), dict(may_attend=explicit)):
        out, weights = ours(x, memory=memory, need_weights=not fused, **options)
        outcomes.append([out.detach(), *torch.autograd.grad(out, inputs, upstream), *([] if fused else [weights])])
    equal(*outcomes, atol=0)
    assert (ours(x, padding, memory)[0] - outcomes[0][0]).abs().max() > 0.01  # here, the order of tokens matters


def test_a_cache_stores_every_position_once_and_takes_no_memory(normal):
    ours, _ = pair_of_attentions(normal)
    x, cache = normal(B, T, C), KVCache()
    assert len(cache) == 0
    for t in range(T):
        ours(x[:, t : t + 1], is_causal=True, cache=cache)
        assert len(cache) == t + 1
    _, k, v = ours.project(x, None)
    equal([cache.keys[:, :, :T], cache.values[:, :, :T]], [k, v], atol=1e-12)
    with pytest.raises(InputError, match="a cache is for self-attention: pass no memory"):
        ours(x, memory=normal(B, S, C), cache=cache)
    assert len(cache) == T
