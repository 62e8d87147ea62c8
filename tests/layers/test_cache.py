"""Reading token by token with a key/value cache equals reading the whole sequence at once, with every kind of positions."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from minilm.errors import InputError
from minilm.layers.attention import KVCache, MultiHeadAttention, RotaryAttention, causal_mask, padding_mask
from minilm.layers.embeddings import Embeddings
from minilm.layers.transformer import TransformerStack, at_positions, use_fused

B, T, H, D, FF, V, LAYERS, M = 2, 9, 3, 4, 11, 13, 5, 7
C = H * D


def equal(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.fixture(scope="module")
def normal():
    rng = torch.Generator().manual_seed(19)
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def redrawn(layer):
    rng = torch.Generator().manual_seed(3)
    layer = layer.double().eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng, dtype=torch.float64) / 2)
    return layer


def make_stack(**options):
    return redrawn(TransformerStack(LAYERS, C, H, FF, **options))


@st.composite
def lengths(draw):
    """How many tokens are given at each step: 1, 2 or 3 per step, T in total."""
    steps = []
    while sum(steps) < T:
        steps.append(draw(st.integers(1, min(3, T - sum(steps)))))
    return steps


def in_steps(stack, embeddings, ids, steps, **options):
    """The hidden states of all tokens, computed step by step; `may_attend` grows with the keys."""
    caches, out, start = [KVCache() for _ in stack.layers], [], 0
    may_attend = options.pop("may_attend", None)
    for length in steps:
        end = start + length
        x = embeddings(ids[:, start:end], start=start)
        mask = None if may_attend is None else may_attend[..., :end]
        hidden, _ = stack(x, mask, is_causal=True, caches=caches, **options)
        assert hidden.shape == (B, length, C) and [len(cache) for cache in caches] == [end] * LAYERS
        out.append(hidden)
        start = end
    return torch.cat(out, dim=1)


@pytest.mark.parametrize("positions", ["learned", "relative", "rotary"])
@pytest.mark.parametrize("norm", ["post", "pre"])
@settings(max_examples=6)
@given(steps=lengths(), fused=st.booleans(), padded=st.booleans(), cross=st.booleans(), seed=st.integers(0, 99))
def test_reading_in_steps_with_a_cache_equals_reading_at_once(norm, positions, steps, fused, padded, cross, seed):
    stack = make_stack(norm=norm, positions=positions, cross_attention=cross)
    embeddings = redrawn(Embeddings(V, C, T, positions=positions))
    use_fused(stack, fused)
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(V, (B, T), generator=rng)
    options = {}
    if padded:  # on the left, as in a batch of texts that are all continued at the same position
        options["may_attend"] = padding_mask(torch.arange(T) >= torch.randint(3, (B, 1), generator=rng))
    if cross:
        options["memory"] = torch.randn(B, M, C, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        at_once, _ = stack(embeddings(ids), is_causal=True, **options)
        equal(in_steps(stack, embeddings, ids, steps, **options), at_once)
        equal(in_steps(stack, embeddings, ids, [1] * T, **options), at_once)


def test_the_position_of_the_first_token_reaches_the_embeddings_and_the_attention():
    """Without `start` the cache would give other numbers, so the test above can fail."""
    ids = torch.arange(T).expand(B, T)
    embeddings = redrawn(Embeddings(V, C, T))
    equal(embeddings(ids[:, 4:], start=4), embeddings(ids)[:, 4:], atol=0)
    assert (embeddings(ids[:, 4:]) - embeddings(ids)[:, 4:]).abs().max() > 0.1
    with pytest.raises(InputError, match="a text of 10 tokens does not fit: this model takes 9"):
        embeddings(ids[:, 4:], start=5)
    layer = redrawn(RotaryAttention(C, H))
    x = torch.randn(B, 2, C, dtype=torch.float64)
    q, k, _ = layer.project(x, None, start=0)
    shifted_q, shifted_k, _ = layer.project(x, None, start=4)
    assert (q - shifted_q).abs().max() > 0.1 and (k - shifted_k).abs().max() > 0.1


def test_rotary_scores_depend_on_the_distance_of_query_and_key_alone(normal):
    layer = redrawn(RotaryAttention(C, H))
    x = normal(B, 1, C).expand(B, T, C)  # the same vector everywhere: tokens differ only in position
    q, k, _ = layer.project(x, None)
    scores = q @ k.mT  # [B, H, T, T]
    equal(scores[..., 1:, 1:], scores[..., :-1, :-1])
    assert (scores[..., 0, 1:] - scores[..., 0, :-1]).abs().min() > 1e-3  # scores depend on the distance
    plain_q, plain_k, _ = MultiHeadAttention.project(layer, x, None)
    difference = (plain_q @ plain_k.mT - scores).abs().amax(dim=(0, 1))  # [T, T]: 0 only where t = s
    assert difference.diagonal().max() < 1e-12 and difference.clone().fill_diagonal_(1).min() > 1e-3
    x = normal(B, T, C)
    (q, k, _), (q_, k_, _) = layer.project(x, None), layer.project(x, None, start=6)
    equal(q_ @ k_.mT, q @ k.mT)
    equal(torch.linalg.vector_norm(q, dim=-1), torch.linalg.vector_norm(q_, dim=-1))


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("is_causal", [False, True])
def test_rotary_positions_work_with_query_positions_and_with_a_memory(is_causal, norm, normal):
    stack = make_stack(norm=norm, positions="rotary", cross_attention=True)
    for block in stack.layers:
        assert type(block.attention) is type(block.cross_attention) is RotaryAttention
    x, query_positions = normal(B, T, C), torch.tensor([[0, 8, 3], [5, 5, 1]])
    options = dict(is_causal=is_causal, memory=normal(B, M, C))
    everywhere, _ = stack(x, **options)
    equal(stack(x, query_positions=query_positions, **options)[0], at_positions(everywhere, query_positions))


def test_a_block_with_a_cache_attends_to_all_tokens_before(normal):
    """The weights of later tokens are 0, and the others equal the rows of the computation without a cache."""
    layer, x, cache = redrawn(MultiHeadAttention(C, H)), normal(B, T, C), KVCache()
    _, everywhere = layer(x, causal_mask(T)[None, None], need_weights=True)
    layer(x[:, :6], is_causal=True, cache=cache)
    _, weights = layer(x[:, 6:], is_causal=True, cache=cache, need_weights=True)
    assert weights.shape == (B, H, 3, T)
    equal(weights, everywhere[:, :, 6:])


def test_caches_that_do_not_fit_are_refused(normal):
    stack, x = make_stack(), normal(B, T, C)
    for count in (LAYERS - 1, LAYERS + 1):
        with pytest.raises(InputError, match=f"{count} caches do not fit 5 blocks: give one for each"):
            stack(x, caches=[KVCache() for _ in range(count)])
    with pytest.raises(InputError, match="a cache is for self-attention: pass no memory and no query_positions"):
        stack(x, caches=[KVCache() for _ in range(LAYERS)], query_positions=torch.zeros(B, 1, dtype=torch.long))
