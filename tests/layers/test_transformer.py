import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import causal_mask, padding_mask
from minilm.layers.dropout import use_generator
from minilm.layers.transformer import (
    ACTIVATIONS,
    FeedForward,
    TransformerBlock,
    TransformerStack,
    at_positions,
    gelu,
    gelu_tanh,
    use_fused,
)

B, T, H, C, FF, LAYERS = 4, 5, 3, 6, 7, 2
EPSILON = 1e-5  # PyTorch's


def equal(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(20)


@pytest.fixture
def normal(rng):
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.fixture
def attention_mask():
    lengths = torch.tensor([3, 5, 1, 4])
    return torch.arange(T) < lengths[:, None]


def attention_in_pairs(ours, theirs):
    """Pairs of our parameters and those of nn.MultiheadAttention."""
    return [
        (ours.to_qkv.weight, theirs.in_proj_weight),
        (ours.to_qkv.bias, theirs.in_proj_bias),
        (ours.output.weight, theirs.out_proj.weight),
        (ours.output.bias, theirs.out_proj.bias),
    ]


def block_in_pairs(ours, theirs):
    """Pairs of our parameters and PyTorch's."""
    return [
        *attention_in_pairs(ours.attention, theirs.self_attn),
        (ours.attention_norm.gain, theirs.norm1.weight),
        (ours.attention_norm.bias, theirs.norm1.bias),
        (ours.feed_forward.inner.weight, theirs.linear1.weight),
        (ours.feed_forward.inner.bias, theirs.linear1.bias),
        (ours.feed_forward.outer.weight, theirs.linear2.weight),
        (ours.feed_forward.outer.bias, theirs.linear2.bias),
        (ours.feed_forward_norm.gain, theirs.norm2.weight),
        (ours.feed_forward_norm.bias, theirs.norm2.bias),
    ]


def share(pairs, normal):
    with torch.no_grad():
        for mine, other in pairs:
            mine.copy_(normal(*mine.shape) / 2)
            other.copy_(mine)


def torch_block(norm, activation):
    return nn.TransformerEncoderLayer(
        C, H, FF, 0.0, activation, batch_first=True, norm_first=norm == "pre", layer_norm_eps=EPSILON
    ).double()


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_block_equals_pytorch_in_value_and_every_gradient(norm, activation, masked, fused, attention_mask, normal):
    ours = TransformerBlock(C, H, FF, activation=activation, norm=norm, epsilon=EPSILON).double()
    use_fused(ours, fused)
    theirs = torch_block(norm, activation)
    share(pairs := block_in_pairs(ours, theirs), normal)
    assert len(pairs) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    x, upstream = normal(B, T, C).requires_grad_(), normal(B, T, C)
    x_ = x.detach().clone().requires_grad_()
    out, _ = ours(x, padding_mask(attention_mask) if masked else None)
    out_ = theirs(x_, src_key_padding_mask=~attention_mask if masked else None)
    equal(out, out_)
    out.backward(upstream)
    out_.backward(upstream)
    equal(x.grad, x_.grad)
    for mine, other in pairs:
        equal(mine.grad, other.grad)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_stack_equals_pytorch_with_its_final_norm(norm, attention_mask, normal):
    ours = TransformerStack(LAYERS, C, H, FF, norm=norm, epsilon=EPSILON).double()
    final = nn.LayerNorm(C, eps=EPSILON, dtype=torch.float64) if norm == "pre" else None
    theirs = nn.TransformerEncoder(torch_block(norm, "gelu"), LAYERS, final, enable_nested_tensor=False)
    pairs = [pair for mine, other in zip(ours.layers, theirs.layers) for pair in block_in_pairs(mine, other)]
    pairs += [(ours.final_norm.gain, final.weight), (ours.final_norm.bias, final.bias)] if final else []
    assert len(pairs) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    share(pairs, normal)
    mask = padding_mask(attention_mask) & causal_mask(T)
    x, upstream = normal(B, T, C).requires_grad_(), normal(B, T, C)
    x_ = x.detach().clone().requires_grad_()
    out, none = ours(x, mask)
    out_ = theirs(x_, mask=~causal_mask(T), src_key_padding_mask=~attention_mask)
    assert none == []
    equal(out, out_)
    out.backward(upstream)
    out_.backward(upstream)
    equal(x.grad, x_.grad)
    for mine, other in pairs:
        equal(mine.grad, other.grad)


def test_F20_the_two_orders_are_not_the_same(normal):
    post, pre = (TransformerBlock(C, H, FF, norm=norm).double() for norm in ("post", "pre"))
    pre.load_state_dict(post.state_dict())
    x = normal(B, T, C)
    assert (post(x)[0] - pre(x)[0]).abs().max() > 0.1


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F18_attention_weights_can_be_had_from_every_layer(norm, attention_mask, normal):
    stack = TransformerStack(LAYERS, C, H, FF, norm=norm).double()
    share([(p, p.clone()) for p in stack.parameters()], normal)
    x, mask = normal(B, T, C), padding_mask(attention_mask)
    out, every_layer = stack(x, mask, need_weights=True)
    assert [weights.shape for weights in every_layer] == [(B, H, T, T)] * LAYERS
    for weights in every_layer:
        equal(weights.sum(dim=-1), torch.ones(B, H, T, dtype=torch.float64), atol=1e-14)
        assert (weights[~mask.expand_as(weights)] == 0).all() and (weights[mask.expand_as(weights)] > 0).all()
    assert (every_layer[0] - every_layer[1]).abs().max() > 0.01
    equal(out, stack(x, mask)[0], atol=1e-12)
    equal(stack.layers[0](x, mask, need_weights=True)[1], every_layer[0], atol=0)


def test_F20_feed_forward_is_two_products_at_every_position_alone(normal):
    layer = FeedForward(C, FF).double()
    x = normal(B, T, C)
    (W1, b1), (W2, b2) = layer.inner.parameters(), layer.outer.parameters()
    for b in range(B):
        for t in range(T):
            equal(layer(x)[b, t], W2 @ gelu(W1 @ x[b, t] + b1) + b2, atol=1e-12)


def gradient_of(function, x, upstream):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(function(x), x, upstream)[0]


def test_F20_gelu_is_the_erf_form_and_not_the_tanh_one(normal):
    x, upstream = 3 * normal(1000), normal(1000)
    phi = [0.5 * math.erfc(-float(each) / math.sqrt(2)) for each in x]
    equal(gelu(x), x * torch.tensor(phi, dtype=torch.float64), atol=1e-14)
    for function in (gelu, ACTIVATIONS["gelu"]):
        equal(function(x), F.gelu(x), atol=1e-14)
        equal(gradient_of(function, x, upstream), gradient_of(F.gelu, x, upstream), atol=1e-14)
    assert (gelu_tanh(x) - gelu(x)).abs().max() > 1e-4


def test_F20_gelu_new_is_the_tanh_form(normal):
    x = 3 * normal(1000)
    want = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    equal(ACTIVATIONS["gelu_new"](x), want, atol=1e-14)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_formulas_and_kernels_give_the_same_value_and_gradients(norm, attention_mask, normal):
    stack = TransformerStack(LAYERS, C, H, FF, norm=norm).double()
    share([(p, p.clone()) for p in stack.parameters()], normal)
    x, upstream, outcomes = normal(B, T, C).requires_grad_(), normal(B, T, C), []
    for fused in (True, False):
        use_fused(stack, fused)
        switches = [module.fused for module in stack.modules() if hasattr(module, "fused")]
        assert switches == [fused] * (LAYERS * 3 + (norm == "pre"))
        out, _ = stack(x, padding_mask(attention_mask) & causal_mask(T))
        outcomes.append([out.detach(), *torch.autograd.grad(out, [x, *stack.parameters()], upstream)])
    equal(*outcomes, atol=1e-11)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_dropout_stands_in_its_three_places_and_draws_from_the_generator(norm, normal):
    """Dropout acts on the attention weights, and on what each half of the block adds to the residual."""
    x, block = normal(B, T, C), TransformerBlock(C, H, FF, dropout=0.5, norm=norm).double()
    outs = []
    for seed in (1, 1, 2):
        use_generator(block, torch.Generator().manual_seed(seed))
        outs.append(block(x)[0])
    assert torch.equal(outs[0], outs[1]) and not torch.allclose(outs[0], outs[2])
    calls = []
    for layer in (block.dropout, block.attention.dropout):
        layer.register_forward_hook(lambda module, inputs, output: calls.append(tuple(output.shape)))
    block(x)
    assert calls == [(B, H, T, T), (B, T, C), (B, T, C)]
    block.eval()
    assert torch.equal(block(x)[0], block(x)[0])


def test_unknown_choices_are_named():
    with pytest.raises(InputError, match="activation 'swish' is not known: choose one of gelu, gelu_new, relu"):
        FeedForward(C, FF, activation="swish")
    with pytest.raises(InputError, match="norm 'middle' is not known: choose post"):
        TransformerBlock(C, H, FF, norm="middle")
    with pytest.raises(InputError, match="width 6 is not divisible by 4 heads"):
        TransformerStack(LAYERS, C, 4, FF)


# ---- a causal mask, and cross-attention


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F18_a_causal_stack_equals_the_explicit_mask(norm, padded, fused, attention_mask, normal):
    stack = TransformerStack(LAYERS, C, H, FF, norm=norm).double()
    use_fused(stack, fused)
    x, padding = normal(B, T, C), padding_mask(attention_mask) if padded else None
    explicit = causal_mask(T)[None, None]
    want, _ = stack(x, explicit & padding if padded else explicit)
    equal(stack(x, padding, is_causal=True)[0], want, atol=0)
    assert (stack(x, padding)[0] - want).abs().max() > 1e-3


M, FF_, C_ = 7, 11, 12  # sizes of the memory; the width is 3 heads of size 4


def decoder_in_pairs(ours, theirs):
    """Pairs of our parameters and those of PyTorch's decoder layer, which numbers its norms in the order of their use."""
    norms = [(ours.cross_attention_norm, theirs.norm2), (ours.feed_forward_norm, theirs.norm3)]
    return [
        *block_in_pairs(ours, theirs)[:10],
        *attention_in_pairs(ours.cross_attention, theirs.multihead_attn),
        *(pair for norm, other in norms for pair in ((norm.gain, other.weight), (norm.bias, other.bias))),
    ]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_cross_attention_equals_pytorchs_decoder_in_value_and_every_gradient(norm, masked, fused, normal):
    B = 2
    ours = TransformerBlock(C_, H, FF_, norm=norm, epsilon=EPSILON, cross_attention=True).double()
    use_fused(ours, fused)
    options = dict(batch_first=True, norm_first=norm == "pre", layer_norm_eps=EPSILON)
    theirs = nn.TransformerDecoderLayer(C_, H, FF_, 0.0, "gelu", **options).double()
    share(pairs := decoder_in_pairs(ours, theirs), normal)
    assert len(pairs) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    assert len({B, T, M, H, C_ // H, FF_}) == 6  # all different
    x, memory, upstream = normal(B, T, C_), normal(B, M, C_), normal(B, T, C_)
    inputs, inputs_ = ([tensor.clone().requires_grad_() for tensor in (x, memory)] for _ in range(2))
    in_memory = torch.arange(M) < torch.tensor([[4], [6]])
    mask = dict(is_causal=True, memory_may_attend=padding_mask(in_memory)) if masked else {}
    mask_ = dict(tgt_mask=~causal_mask(T), memory_key_padding_mask=~in_memory) if masked else {}
    out, _ = ours(inputs[0], memory=inputs[1], **mask)
    out_ = theirs(*inputs_, **mask_)
    equal(out, out_)
    out.backward(upstream)
    out_.backward(upstream)
    for mine, other in [*zip(inputs, inputs_, strict=True), *pairs]:
        equal(mine.grad, other.grad)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_a_stack_with_cross_attention_equals_pytorchs_decoder(norm, normal):
    B = 2
    ours = TransformerStack(LAYERS, C_, H, FF_, norm=norm, epsilon=EPSILON, cross_attention=True).double()
    final = nn.LayerNorm(C_, eps=EPSILON, dtype=torch.float64) if norm == "pre" else None
    options = dict(batch_first=True, norm_first=norm == "pre", layer_norm_eps=EPSILON)
    theirs = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(C_, H, FF_, 0.0, "gelu", **options).double(), LAYERS, final
    )
    pairs = [pair for mine, other in zip(ours.layers, theirs.layers) for pair in decoder_in_pairs(mine, other)]
    pairs += [(ours.final_norm.gain, final.weight), (ours.final_norm.bias, final.bias)] if final else []
    assert len(pairs) == len(list(ours.parameters())) == len(list(theirs.parameters()))
    share(pairs, normal)
    x, memory = normal(B, T, C_), normal(B, M, C_)
    in_memory = torch.arange(M) < torch.tensor([[4], [6]])
    out, _ = ours(x, is_causal=True, memory=memory, memory_may_attend=padding_mask(in_memory))
    equal(out, theirs(x, memory, tgt_mask=~causal_mask(T), memory_key_padding_mask=~in_memory))


def test_F20_a_memory_that_is_missing_or_unwanted_is_named(normal):
    x, memory = normal(B, T, C), normal(B, M, C)
    for layer in (TransformerBlock(C, H, FF).double(), TransformerStack(LAYERS, C, H, FF).double()):
        with pytest.raises(InputError, match="this block takes no memory: make it with cross_attention=True"):
            layer(x, memory=memory)
    for layer in (
        TransformerBlock(C, H, FF, cross_attention=True).double(),
        TransformerStack(LAYERS, C, H, FF, cross_attention=True).double(),
    ):
        with pytest.raises(InputError, match="this block has cross-attention: give it a memory"):
            layer(x)


# ---- only some positions


QUERY_POSITIONS = torch.tensor([[0, 4], [2, 2], [3, 1], [4, 0]])
SOME_MASKS = {
    "none": lambda rng: None,
    "padding": lambda rng: padding_mask(torch.rand(B, T, generator=rng) < 0.6),
    "full": lambda rng: torch.rand(B, 1, T, T, generator=rng) < 0.6,
    "each head its own": lambda rng: torch.rand(B, H, T, T, generator=rng) < 0.6,
    "one for all rows": lambda rng: torch.rand(1, 1, T, T, generator=rng) < 0.6,
}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("kind", SOME_MASKS)
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_F20_query_positions_give_the_same_rows_of_the_full_computation(norm, kind, is_causal, fused, rng, normal):
    stack = TransformerStack(LAYERS, C, H, FF, norm=norm, cross_attention=True).double()
    share([(p, p.clone()) for p in stack.parameters()], normal)
    use_fused(stack, fused)
    x, memory = normal(B, T, C), normal(B, M, C)
    mask = SOME_MASKS[kind](rng)
    memory_mask = torch.rand(B, 1, T, M, generator=rng) < 0.6  # a different mask for each query
    options = dict(need_weights=not fused, is_causal=is_causal, memory=memory, memory_may_attend=memory_mask)
    everywhere, weights = stack(x, mask, **options)
    some, some_weights = stack(x, mask, query_positions=QUERY_POSITIONS, **options)
    assert some.shape == (B, 2, C)
    equal(some, at_positions(everywhere, QUERY_POSITIONS), atol=1e-12)
    if not fused:
        rows = weights[-1].gather(2, QUERY_POSITIONS[:, None, :, None].expand(-1, H, -1, M))  # of the cross-attention
        equal(some_weights[-1], rows, atol=1e-12)


# ---- the depth of a parameter


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_depth_counts_the_blocks_up_to_and_including_the_parameters_own(norm):
    stack = TransformerStack(3, C, H, FF, norm=norm)
    for name, _ in stack.named_parameters():
        assert stack.depth_of(name) == (3 if name.startswith("final_norm") else int(name.split(".")[1]) + 1)
