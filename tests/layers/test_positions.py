"""The relative bias and rotary positions, against `transformers`; and what each kind of positions promises."""

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXModel, MPNetConfig, T5Config
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXRotaryEmbedding, apply_rotary_pos_emb
from transformers.models.mpnet.modeling_mpnet import MPNetEncoder
from transformers.models.t5.modeling_t5 import T5Attention

from minilm.errors import InputError
from minilm.layers.attention import MultiHeadAttention, RotaryAttention, attention, fused_attention, padding_mask
from minilm.layers.embeddings import Embeddings
from minilm.layers.positions import POSITIONS, RelativeBias, bucket, rotate
from minilm.layers.transformer import TransformerBlock, TransformerStack, at_positions, rows_of_bias, use_fused
from minilm.models.config import TransformerConfig

B, T, H, D, FF, LAYERS = 2, 97, 3, 4, 11, 2  # T: the last bucket begins at a distance of 91
C, V, SHORT = H * D, 13, 9
EPSILON = 1e-5
IN_ATTENTION = ("relative", "rotary")


def equal(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(21)


@pytest.fixture
def normal(rng):
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def redrawn(layer, seed=3):
    rng = torch.Generator().manual_seed(seed)
    layer = layer.double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) / 2)
    return layer


def make_stack(positions, **options):
    return redrawn(TransformerStack(LAYERS, C, H, FF, positions, **options))


# ---- the buckets, and the bias, against MPNet and T5


SETTINGS = [(4, 2), (4, 128), (8, 3), (8, 64), (20, 100), (32, 9), (32, 128), (32, 512), (40, 77), (64, 256)]


@pytest.mark.parametrize(("buckets", "farthest"), SETTINGS)
def test_F21_buckets_are_those_of_mpnet_and_t5(buckets, farthest):
    offset = torch.arange(-600, 601)
    ours = bucket(offset, buckets, farthest)
    assert torch.equal(ours, MPNetEncoder.relative_position_bucket(offset, buckets, farthest))
    assert torch.equal(ours, T5Attention._relative_position_bucket(offset, True, buckets, farthest))
    assert ours.min() == 0 and ours.max() == buckets - 1


@pytest.mark.parametrize(("T", "S", "start"), [(97, 97, 0), (5, 97, 92), (1, 8, 7), (9, 4, 0), (3, 120, 50)])
def test_F21_the_bias_is_that_of_t5_in_value_and_gradient(T, S, start, normal):
    buckets, farthest = 20, 70
    ours = redrawn(RelativeBias(H, buckets, farthest))
    config = T5Config(num_heads=H, relative_attention_num_buckets=buckets, relative_attention_max_distance=farthest)
    theirs = T5Attention(config, has_relative_attention_bias=True).double()
    theirs.relative_attention_bias.weight.data.copy_(ours.table.data)
    b, b_ = ours(T, S, start), theirs.compute_bias(T, S, past_seen_tokens=start)
    assert b.shape == (1, H, T, S)
    equal(b, b_, atol=0)
    upstream = normal(1, H, T, S)
    b.backward(upstream)
    b_.backward(upstream)
    equal(ours.table.grad, theirs.relative_attention_bias.weight.grad)


def mpnet_in_pairs(ours, theirs):
    """Pairs of our parameters and MPNet's, whose Q, K and V are three layers."""
    yield ours.relative_bias.table, [theirs.relative_attention_bias.weight]
    for mine, other in zip(ours.layers, theirs.layer, strict=True):
        attn = other.attention.attn
        for kind in ("weight", "bias"):
            yield getattr(mine.attention.to_qkv, kind), [getattr(each, kind) for each in (attn.q, attn.k, attn.v)]
            yield getattr(mine.attention.output, kind), [getattr(attn.o, kind)]
            yield getattr(mine.feed_forward.inner, kind), [getattr(other.intermediate.dense, kind)]
            yield getattr(mine.feed_forward.outer, kind), [getattr(other.output.dense, kind)]
        for norm, norm_ in (
            (mine.attention_norm, other.attention.LayerNorm),
            (mine.feed_forward_norm, other.output.LayerNorm),
        ):
            yield from ((norm.gain, [norm_.weight]), (norm.bias, [norm_.bias]))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_F21_a_stack_with_a_relative_bias_is_mpnets_encoder_in_value_and_every_gradient(masked, fused, normal):
    ours = make_stack("relative", epsilon=EPSILON)
    use_fused(ours, fused)
    theirs = MPNetEncoder(
        MPNetConfig(
            hidden_size=C,
            num_hidden_layers=LAYERS,
            num_attention_heads=H,
            intermediate_size=FF,
            layer_norm_eps=EPSILON,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).double()
    pairs = list(mpnet_in_pairs(ours, theirs))
    assert len(pairs) == len(list(ours.parameters()))
    assert sum(len(others) for _, others in pairs) == len(list(theirs.parameters()))
    with torch.no_grad():
        for mine, others in pairs:
            for other, part in zip(others, mine.chunk(len(others)), strict=True):
                other.copy_(part)
    x, upstream = normal(B, T, C), normal(B, T, C)
    x, x_ = (x.clone().requires_grad_() for _ in range(2))
    real = torch.arange(T) < torch.tensor([[T], [T - 3]]) if masked else torch.ones(B, T, dtype=torch.bool)
    minus = torch.zeros(B, 1, 1, T, dtype=torch.float64).masked_fill(~padding_mask(real), -math.inf)
    out, weights = ours(x, padding_mask(real) if masked else None, need_weights=not fused)
    out_, weights_ = theirs(x_, minus, output_attentions=True)
    equal(out, out_)
    if not fused:
        equal(weights, list(weights_))
    out.backward(upstream)
    out_.backward(upstream)
    equal(x.grad, x_.grad, atol=1e-11)
    for mine, others in pairs:
        equal(mine.grad, torch.cat([other.grad for other in others]), atol=1e-11)
    assert (ours.relative_bias.table.grad != 0).sum() == 31 * H  # no offset of 0 stands after the query: bucket 16


# ---- rotary, against GPT-NeoX


def their_angles(position, base=10000.0):
    """cos and sin [B, T, D] as GPT-NeoX lays them out, but in double precision."""
    frequency = torch.tensor([base ** (-2 * i / D) for i in range(D // 2)], dtype=torch.float64)
    angle = torch.einsum("bt,i->bti", position.double(), frequency).repeat(1, 1, 2)
    return angle.cos(), angle.sin()


def neox(**options):
    return GPTNeoXConfig(
        vocab_size=V,
        hidden_size=C,
        num_attention_heads=H,
        num_hidden_layers=LAYERS,
        intermediate_size=FF,
        layer_norm_eps=EPSILON,
        hidden_act="gelu",
        use_parallel_residual=False,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=1.0),
        **options,
    )


def test_F21_rotation_is_that_of_gpt_neox_in_value_and_gradient(rng, normal):
    q, k, upstream, position = normal(B, H, T, D), normal(B, H, T, D), normal(B, H, T, D), torch.arange(T)[None]
    cos, sin = their_angles(position)
    in_single = GPTNeoXRotaryEmbedding(neox())(q, position)  # theirs are worked out in single precision
    equal(in_single, (cos, sin), atol=1e-5)
    q, q_ = (q.clone().requires_grad_() for _ in range(2))
    rotated, (rotated_, k_) = rotate(q, position), apply_rotary_pos_emb(q_, k, cos, sin)
    equal(rotated, rotated_)
    equal(rotate(k, position), k_)
    rotated.backward(upstream)
    rotated_.backward(upstream)
    equal(q.grad, q_.grad)
    own = torch.randint(600, (B, T), generator=rng)
    equal(rotate(k, own), apply_rotary_pos_emb(k, k, *their_angles(own))[0])


class DoubleAngles(nn.Module):
    def forward(self, x, position_ids):
        return their_angles(position_ids)


def heads_first(parameter):
    """GPT-NeoX stacks q, k and v of each head; here are the same rows as ours: q of all heads, then k, then v."""
    return parameter.view(H, 3, D, *parameter.shape[1:]).transpose(0, 1).reshape(parameter.shape)


def neox_in_pairs(ours, theirs):
    """(our parameter, theirs, and how theirs is read)."""
    same = lambda parameter: parameter  # noqa: E731
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        for kind in ("weight", "bias"):
            yield getattr(mine.attention.to_qkv, kind), getattr(other.attention.query_key_value, kind), heads_first
            yield getattr(mine.attention.output, kind), getattr(other.attention.dense, kind), same
            yield getattr(mine.feed_forward.inner, kind), getattr(other.mlp.dense_h_to_4h, kind), same
            yield getattr(mine.feed_forward.outer, kind), getattr(other.mlp.dense_4h_to_h, kind), same
    norms = [(ours.final_norm, theirs.final_layer_norm)]
    for mine, other in zip(ours.layers, theirs.layers, strict=True):
        norms += [
            (mine.attention_norm, other.input_layernorm),
            (mine.feed_forward_norm, other.post_attention_layernorm),
        ]
    for norm, norm_ in norms:
        yield from ((norm.gain, norm_.weight, same), (norm.bias, norm_.bias, same))


@pytest.mark.parametrize("fused", [True, False])
def test_F21_a_stack_with_rotary_positions_is_gpt_neox_in_value_and_every_gradient(fused, normal):
    theirs = redrawn(GPTNeoXModel(neox(attn_implementation="sdpa")))
    theirs.rotary_emb = DoubleAngles()
    ours = make_stack("rotary", norm="pre", epsilon=EPSILON)
    use_fused(ours, fused)
    triples = list(neox_in_pairs(ours, theirs))
    assert len(triples) == len(list(ours.parameters())) == len(list(theirs.parameters())) - 1  # less their embeddings
    with torch.no_grad():
        for mine, other, read in triples:
            mine.copy_(read(other))
    x, upstream = normal(B, T, C), normal(B, T, C)
    x, x_ = (x.clone().requires_grad_() for _ in range(2))
    out, _ = ours(x, is_causal=True)
    out_ = theirs(inputs_embeds=x_, use_cache=False).last_hidden_state
    equal(out, out_)
    out.backward(upstream)
    out_.backward(upstream)
    equal(x.grad, x_.grad, atol=1e-11)
    for mine, other, read in triples:
        equal(mine.grad, read(other.grad), atol=1e-11)


def test_F21_angles_are_those_of_double_precision_even_far_away():
    position, x = torch.tensor([[511]]), torch.zeros(1, 1, 1, 64)
    x[..., :32] = 1  # turned, it shows the cosines and sines themselves
    ours, exact = rotate(x, position), rotate(x.double(), position)
    assert ours.dtype == torch.float32
    assert (ours.double() - exact).abs().max() < 4e-5


# ---- what positions promise


@pytest.mark.parametrize("positions", IN_ATTENTION)
@settings(max_examples=8)
@given(k=st.integers(1, 60), length=st.integers(2, 40), norm=st.sampled_from(["post", "pre"]), fused=st.booleans())
def test_F21_a_text_that_is_moved_keeps_its_hidden_states(positions, k, length, norm, fused):
    """Padding of k tokens in front of the text moves it by k."""
    stack, rng = make_stack(positions, norm=norm), torch.Generator().manual_seed(k)
    use_fused(stack, fused)
    x, before = (torch.randn(B, n, C, generator=rng, dtype=torch.float64) for n in (length, k))
    real = torch.arange(k + length) >= torch.tensor([[k], [k]])
    with torch.no_grad():
        moved, _ = stack(torch.cat([before, x], dim=1), padding_mask(real))
        equal(moved[:, k:], stack(x)[0])


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_F21_with_positions_in_the_embeddings_a_text_that_is_moved_has_other_hidden_states(positions):
    stack, embeddings = make_stack(positions), redrawn(Embeddings(V, C, T, positions=positions))
    ids = torch.arange(SHORT).expand(B, SHORT)
    assert (stack(embeddings(ids, start=5))[0] - stack(embeddings(ids))[0]).abs().max() > 0.1


@pytest.mark.parametrize("positions", POSITIONS)
def test_F21_only_positions_tell_one_order_of_the_tokens_from_another(positions, rng):
    """Without any, a permuted text has the same hidden states, permuted. A bias of 0 is no position."""
    order = torch.randperm(SHORT, generator=rng).roll(1)
    assert (order != torch.arange(SHORT)).any()
    ids = torch.randint(V, (B, SHORT), generator=rng)
    stack, embeddings = make_stack(positions), redrawn(Embeddings(V, C, SHORT, positions=positions))
    difference = stack(embeddings(ids[:, order]))[0] - stack(embeddings(ids))[0][:, order]
    assert difference.abs().max() > 1e-3
    if stack.relative_bias is not None:
        stack.relative_bias.table.data.zero_()
    if embeddings.positions is not None:
        embeddings.positions.weight.data.zero_()
    for block in stack.layers:
        block.attention.__class__ = MultiHeadAttention
    equal(stack(embeddings(ids[:, order]))[0], stack(embeddings(ids))[0][:, order])


def test_F21_a_head_can_look_at_one_neighbour_alone(normal):
    """The bias of one bucket per head is enough: offset −1 is bucket 1, and offset +1 is bucket 17."""
    layer, b = redrawn(MultiHeadAttention(C, H)), RelativeBias(H).double()
    b.table.data[1, 0] = b.table.data[17, 1] = 1000.0
    _, weights = layer(normal(B, SHORT, C), need_weights=True, bias=b(SHORT, SHORT))
    equal(weights[:, 0, 1:].diagonal(0, 1, 2), torch.ones(B, SHORT - 1, dtype=torch.float64), atol=0)
    equal(weights[:, 1, :-1].diagonal(1, 1, 2), torch.ones(B, SHORT - 1, dtype=torch.float64), atol=0)


# ---- every way to compute it gives the same numbers


def some_mask(rng, kind):
    return {
        "none": None,
        "padding": padding_mask(torch.arange(SHORT) < torch.tensor([[4], [9]])),
        "full": torch.rand(B, 1, SHORT, SHORT, generator=rng) < 0.6,
        "nothing": padding_mask(torch.arange(SHORT) < torch.tensor([[0], [7]])),  # the first text sees nothing
    }[kind]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("kind", ["none", "padding", "full", "nothing"])
@pytest.mark.parametrize("positions", IN_ATTENTION)
def test_F21_formulas_and_kernels_give_the_same_value_and_gradients(positions, kind, is_causal, rng, normal):
    stack, mask = make_stack(positions), some_mask(rng, kind)
    x, upstream, outcomes = normal(B, SHORT, C).requires_grad_(), normal(B, SHORT, C), []
    for fused in (True, False):
        use_fused(stack, fused)
        out, _ = stack(x, mask, is_causal=is_causal)
        outcomes.append([out.detach(), *torch.autograd.grad(out, [x, *stack.parameters()], upstream)])
        assert all(each.isfinite().all() for each in outcomes[-1])
    equal(*outcomes, atol=1e-11)
    equal(stack(x, mask, need_weights=True, is_causal=is_causal)[0], outcomes[0][0])


@pytest.mark.parametrize(
    "function", [lambda *a: attention(*a[:4], bias=a[4])[0], fused_attention], ids=["readable", "fused"]
)
def test_F21_a_query_that_sees_nothing_gets_zeros_and_gives_the_bias_no_gradient(function, rng, normal):
    q, k, v = (normal(B, H, SHORT, D) for _ in range(3))
    mask, b = torch.rand(B, 1, SHORT, SHORT, generator=rng) < 0.6, normal(1, H, SHORT, SHORT).requires_grad_()
    mask[:, :, 4] = False
    out = function(q, k, v, mask, b)
    assert (out[:, :, 4] == 0).all()
    out.backward(normal(B, H, SHORT, D))
    assert (b.grad[:, :, 4] == 0).all() and b.grad.isfinite().all() and b.grad.abs().max() > 0.01


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize("kind", ["none", "padding", "full", "nothing"])
@pytest.mark.parametrize("positions", IN_ATTENTION)
def test_F21_query_positions_give_the_same_rows_of_the_full_computation(
    positions, kind, is_causal, norm, fused, rng, normal
):
    stack, mask = make_stack(positions, norm=norm), some_mask(rng, kind)
    use_fused(stack, fused)
    x, chosen = normal(B, SHORT, C), torch.tensor([[0, 8, 3], [5, 5, 1]])
    options = dict(is_causal=is_causal, need_weights=not fused)
    everywhere, weights = stack(x, mask, **options)
    some, some_weights = stack(x, mask, query_positions=chosen, **options)
    equal(some, at_positions(everywhere, chosen))
    if not fused:
        equal(some_weights[-1], weights[-1].gather(2, chosen[:, None, :, None].expand(-1, H, -1, SHORT)))


def test_F21_query_positions_have_the_same_gradients(normal):
    for positions in IN_ATTENTION:
        stack, x = make_stack(positions), normal(B, SHORT, C).requires_grad_()
        chosen, upstream, outcomes = torch.tensor([[0, 8, 3], [5, 5, 1]]), normal(B, 3, C), []
        for out in (stack(x, query_positions=chosen)[0], at_positions(stack(x)[0], chosen)):
            outcomes.append(torch.autograd.grad(out, [x, *stack.parameters()], upstream))
        equal(*outcomes, atol=1e-11)


@pytest.mark.parametrize("positions", IN_ATTENTION)
def test_F21_padding_changes_nothing(positions, normal):
    stack, x, more = make_stack(positions), normal(B, SHORT, C), normal(B, 4, C)
    real = torch.arange(SHORT + 4) < torch.tensor([[SHORT], [SHORT]])
    equal(stack(torch.cat([x, more], dim=1), padding_mask(real))[0][:, :SHORT], stack(x)[0])


@pytest.mark.parametrize("positions", POSITIONS)
def test_F21_twice_the_same_gives_the_same_bits(positions, normal):
    stack, x, outcomes = make_stack(positions), normal(B, T, C).requires_grad_(), []
    for _ in range(3):
        out, _ = stack(x)
        outcomes.append([out, *torch.autograd.grad(out.square().sum(), [x, *stack.parameters()])])
    for other in outcomes[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(outcomes[0], other, strict=True))


# ---- what is refused, and where parameters lie


def test_F21_what_does_not_fit_is_named():
    for buckets in (0, 2, 6):
        with pytest.raises(InputError, match=f"buckets must be a multiple of 4, not {buckets}: two directions"):
            RelativeBias(H, buckets)
    with pytest.raises(InputError, match="farthest must be above 8 with 32 buckets, not 8"):
        RelativeBias(H, farthest=8)
    odd = "rotary positions turn pairs of features, and a head has 3: choose a width and heads that give an even number"
    for make in (
        lambda: TransformerConfig(width=6, heads=2, positions="rotary"),
        lambda: RotaryAttention(6, 2),
        lambda: TransformerStack(LAYERS, 6, 2, FF, "rotary"),
        lambda: rotate(torch.ones(1, 2, 5, 3), torch.arange(5)[None]),
    ):
        with pytest.raises(InputError, match=odd):
            make()
    for positions in ("relative", "learned", "sinusoidal"):
        TransformerConfig(width=6, heads=2, positions=positions)
    with pytest.raises(InputError, match="width 6 is not divisible by 4 heads"):
        TransformerConfig(width=6, heads=4, positions="rotary")
    with pytest.raises(
        InputError, match="positions 'round' are not known: choose one of relative, learned, sinusoidal"
    ):
        TransformerStack(LAYERS, C, H, FF, "round")
    with pytest.raises(InputError, match="rotary positions bring their own attention"):
        TransformerStack(LAYERS, C, H, FF, "rotary", attention=MultiHeadAttention)
    TransformerStack(LAYERS, C, H, FF, "rotary", attention=RotaryAttention)


@pytest.mark.parametrize("positions", POSITIONS)
def test_F21_each_kind_has_its_parameters_in_one_place(positions):
    embeddings, stack = Embeddings(V, C, T, positions=positions), TransformerStack(LAYERS, C, H, FF, positions)
    assert (embeddings.positions is not None) == (positions in ("learned", "sinusoidal", "mpnet"))
    assert (stack.relative_bias is not None) == (positions in ("relative", "mpnet"))
    assert {type(block.attention) for block in stack.layers} == {
        RotaryAttention if positions == "rotary" else MultiHeadAttention
    }
    if positions == "relative":
        assert stack.depth_of("relative_bias.table") == 1
        assert (stack.relative_bias.table == 0).all()  # before training, no distance is preferred
        assert all(isinstance(block, TransformerBlock) for block in stack.layers)


def test_F21_the_gradient_of_the_bias_has_the_same_bits_every_time(rng):
    """On two threads as well: an index with repeated places adds up in whatever order the threads arrive."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        layer, positions = RelativeBias(4), torch.randint(128, (16, 40), generator=rng)
        weights = torch.randn(16, 4, 40, 128, generator=rng)
        gradients = set()
        for _ in range(30):
            layer.table.grad = None
            (rows_of_bias(layer(128, 128), positions) * weights).sum().backward()
            gradients.add(layer.table.grad.numpy().tobytes())
    finally:
        torch.set_num_threads(threads)
    assert len(gradients) == 1


def test_F21_rows_of_a_bias_are_those_of_an_index(rng):
    positions = torch.randint(SHORT, (B, 5), generator=rng)
    bias = torch.randn(1, H, SHORT, T, generator=rng)
    equal(rows_of_bias(bias, positions), bias[0][:, positions].transpose(0, 1), atol=0)
