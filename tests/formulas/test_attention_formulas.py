import math

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas.attention import (
    attention,
    attention_gradient,
    attention_weights,
    causal_mask,
    fused_self_attention,
    fused_self_attention_gradient,
    merge_heads,
    multi_head_attention,
    multi_head_attention_gradient,
    padding_mask,
    softmax_gradient,
    split_heads,
    stack_heads,
)
from minilm.layers import attention as layers

B, H, T, S, D, Dv = 3, 2, 5, 7, 4, 6
C = H * D


@pytest.fixture
def rng():
    return np.random.default_rng(18)


@pytest.fixture
def normal(rng):
    return lambda *shape: rng.normal(size=shape)


def ragged(B, S):
    """A mask for sequences of length S, S − 1, …: True for tokens, False for padding."""
    return np.arange(S) < S - np.arange(B)[:, None]


def with_a_blind_query(rng, *shape):
    mask = rng.random(shape) < 0.6
    mask[..., 2] = True
    mask[..., 1, :] = False
    return mask


MASKS = {
    "none": lambda rng, S: None,
    "padding, ragged": lambda rng, S: padding_mask(ragged(B, S)),
    "causal": lambda rng, S: causal_mask(T, S),
    "both": lambda rng, S: padding_mask(ragged(B, S)) & causal_mask(T, S),
    "a query that sees nothing": lambda rng, S: with_a_blind_query(rng, B, T, S),
}
every_mask = pytest.mark.parametrize("kind", MASKS)


def close(ours, theirs, atol=1e-10):
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)


def check_gradients(forward, gradients, arrays, upstream):
    """Compare each gradient with finite differences of our own forward function."""
    assert len(gradients) == len(arrays)
    for i, gradient in enumerate(gradients):

        def along(x, i=i):
            return float((forward(*arrays[:i], x, *arrays[i + 1 :]) * upstream).sum())

        assert np.abs(gradient).max() > 1e-3
        close(gradient, finite_differences(along, arrays[i]), atol=1e-7)


# ---- F18


@every_mask
def test_F18_attention_and_its_gradient_equal_the_layer(kind, rng, normal):
    mask = MASKS[kind](rng, S)
    q, k, v, dY = normal(B, T, D), normal(B, S, D), normal(B, S, Dv), normal(B, T, Dv)
    torch_mask = None if mask is None else torch.tensor(mask)
    value, *gradients = autograd(lambda *qkv: layers.attention(*qkv, torch_mask)[0], q, k, v, upstream=dY)
    close(attention(q, k, v, mask), value)
    for ours, theirs in zip(attention_gradient(q, k, v, mask, dY), gradients, strict=True):
        close(ours, theirs)


@every_mask
def test_F18_attention_gradient_equals_finite_differences(kind, rng, normal):
    mask = MASKS[kind](rng, S)
    arrays, dY = [normal(B, T, D), normal(B, S, D), normal(B, S, Dv)], normal(B, T, Dv)
    check_gradients(lambda *qkv: attention(*qkv, mask), attention_gradient(*arrays, mask, dY), arrays, dY)


def test_F18_is_the_formula_word_by_word(normal):
    q, k, v = normal(T, D), normal(S, D), normal(S, Dv)
    A, Y = attention_weights(q, k), attention(q, k, v)
    for t in range(T):
        e = [math.exp(sum(q[t, d] * k[s, d] for d in range(D)) / math.sqrt(D)) for s in range(S)]
        close(A[t], [e_s / sum(e) for e_s in e], atol=1e-14)
        close(Y[t], sum(e_s / sum(e) * v[s] for s, e_s in enumerate(e)), atol=1e-14)


def test_F18_softmax_gradient_equals_autograd_and_needs_its_row_sum(normal):
    z, dA = normal(B, T, S), normal(B, T, S)
    A, gradient = autograd(lambda z: z.softmax(dim=-1), z, upstream=dA)
    close(softmax_gradient(A, dA), gradient)
    close(softmax_gradient(A, dA), finite_differences(lambda z: float((softmax(z) * dA).sum()), z), atol=1e-7)
    close(softmax_gradient(A, dA).sum(axis=-1), np.zeros((B, T)), atol=1e-14)  # a constant added to z changes nothing
    assert np.abs((A * dA).sum(axis=-1)).min() > 0.01  # without the row sum it would change something
    assert np.abs(A * dA - gradient).max() > 0.1


def softmax(z):
    """Softmax computed by attention: with the identity as keys, the scores are the queries, and √S undoes the scaling."""
    return attention_weights(z * math.sqrt(z.shape[-1]), np.broadcast_to(np.eye(S), (*z.shape[:-2], S, S)))


def test_F18_a_query_that_sees_nothing_gets_zeros_and_gives_none_back(rng, normal):
    mask = with_a_blind_query(rng, B, T, S)
    q, k, v, dY = normal(B, T, D), normal(B, S, D), normal(B, S, Dv), np.zeros((B, T, Dv))
    dY[:, 1] = normal(B, Dv)  # all of the upstream gradient goes to the blind query
    assert (attention(q, k, v, mask)[:, 1] == 0).all() and (attention(q, k, v, mask)[:, 0] != 0).all()
    assert all((gradient == 0).all() for gradient in attention_gradient(q, k, v, mask, dY))


def test_F18_weights_are_a_distribution_over_what_may_be_seen(rng, normal):
    mask = padding_mask(ragged(B, S)) & causal_mask(T, S)
    A = attention_weights(normal(B, T, D), normal(B, S, D), mask)
    close(A.sum(axis=-1), np.ones((B, T)), atol=1e-14)
    mask = np.broadcast_to(mask, A.shape)
    assert (A[~mask] == 0).all() and (A[mask] > 0).all()


def test_F18_what_is_masked_cannot_be_noticed_however_large(normal):
    q, k, v, mask = normal(B, T, D), normal(B, S, D), normal(B, S, Dv), padding_mask(ragged(B, S))
    k_, v_ = k.copy(), v.copy()
    k_[~ragged(B, S)], v_[~ragged(B, S)] = 1e3, -1e3
    assert np.array_equal(attention(q, k, v, mask), attention(q, k_, v_, mask))
    assert not np.allclose(attention(q, k, v), attention(q, k_, v_))


def test_F18_scores_of_a_million_do_not_overflow(normal):
    q, k, v = 1e4 * normal(B, T, D), 1e4 * normal(B, S, D), normal(B, S, Dv)
    Y = attention(q, k, v, causal_mask(T, S))
    assert np.isfinite(Y).all()
    value, *gradients = autograd(lambda *x: layers.attention(*x, layers.causal_mask(T, S))[0], q, k, v, upstream=Y)
    close(Y, value)
    for ours, theirs in zip(attention_gradient(q, k, v, causal_mask(T, S), Y), gradients, strict=True):
        close(ours, theirs)


def test_F18_masks_equal_those_of_the_layer():
    attention_mask = ragged(B, S)
    for T_, S_ in ((4, 4), (2, 5)):
        assert np.array_equal(causal_mask(T_, S_), layers.causal_mask(T_, S_).numpy())
    assert np.array_equal(
        padding_mask(attention_mask)[:, None], layers.padding_mask(torch.tensor(attention_mask)).numpy()
    )
    assert causal_mask(2, 3).tolist() == [[True, True, False], [True, True, True]]


# ---- F19


def small_products(normal, Dv=Dv):
    """Q, K, V and the weights of every head, as the formula prints them. It is cross-attention, so Q ≠ K ≠ V."""
    inputs = normal(B, T, C), normal(B, S, C), normal(B, S, C)
    return [*inputs, *(normal(H, C, size) / 2 for size in (D, D, Dv)), normal(H * Dv, C) / 2]


def head_after_head(Q, K, V, W_Q, W_K, W_V, W_O, mask):
    """F19 in PyTorch, built from `layers.attention`, so that autograd can differentiate it."""
    heads = [layers.attention(Q @ W_Q[i], K @ W_K[i], V @ W_V[i], mask)[0] for i in range(H)]
    return torch.cat(heads, dim=-1) @ W_O


@every_mask
def test_F19_multi_head_attention_and_its_gradient_equal_autograd(kind, rng, normal):
    mask, arrays, dY = MASKS[kind](rng, S), small_products(normal), normal(B, T, C)
    torch_mask = None if mask is None else torch.tensor(mask)
    value, *gradients = autograd(lambda *a: head_after_head(*a, torch_mask), *arrays, upstream=dY)
    close(multi_head_attention(*arrays, mask), value)
    for ours, theirs in zip(multi_head_attention_gradient(*arrays, mask, dY), gradients, strict=True):
        close(ours, theirs)


def test_F19_multi_head_gradient_equals_finite_differences(rng, normal):
    mask, dY = MASKS["a query that sees nothing"](rng, S)[0], normal(T, C)
    arrays = [a[0] if i < 3 else a for i, a in enumerate(small_products(normal))]  # one sequence: fewer entries to vary
    check_gradients(
        lambda *a: multi_head_attention(*a, mask), multi_head_attention_gradient(*arrays, mask, dY), arrays, dY
    )


def fused_arrays(normal):
    return [normal(B, T, C), normal(3 * C, C) / 2, normal(3 * C), normal(C, C) / 2, normal(C)]


def library_layer(arrays, mask):
    """`layers.MultiHeadAttention` as a function of its input and weights, using its readable (not fused) path."""
    layer = layers.MultiHeadAttention(C, H).double()
    layer.fused = False
    names = ("to_qkv.weight", "to_qkv.bias", "output.weight", "output.bias")
    mask = None if mask is None else torch.tensor(mask).unsqueeze(-3)  # add the head axis
    mask = mask if mask is None or mask.ndim == 4 else mask[None]
    return lambda x, *weights: torch.func.functional_call(layer, dict(zip(names, weights)), (x, mask))[0]


@every_mask
def test_F19_fused_self_attention_and_its_gradient_equal_the_layer(kind, rng, normal):
    mask, arrays, dY = MASKS[kind](rng, T), fused_arrays(normal), normal(B, T, C)
    value, *gradients = autograd(library_layer(arrays, mask), *arrays, upstream=dY)
    close(fused_self_attention(*arrays, H, mask), value)
    for ours, theirs in zip(fused_self_attention_gradient(*arrays, H, mask, dY), gradients, strict=True):
        close(ours, theirs)


def test_F19_fused_gradient_equals_finite_differences(rng, normal):
    mask, arrays, dY = MASKS["both"](rng, T)[1], fused_arrays(normal), normal(T, C)
    arrays[0] = arrays[0][0]
    gradients = list(fused_self_attention_gradient(*arrays, H, mask, dY))
    close(gradients[2][C : 2 * C], np.zeros(C), atol=1e-12)  # a bias on the keys shifts all scores of a query equally
    check_gradients(lambda *a: fused_self_attention(*a, H, mask), gradients, arrays, dY)


@every_mask
def test_F19_one_fused_product_is_the_small_products_in_value_and_gradient(kind, rng, normal):
    mask = MASKS[kind](rng, T)
    _, _, _, W_Q, W_K, W_V, W_O = small_products(normal, Dv=D)
    X, dY, b, b_O = normal(B, T, C), normal(B, T, C), np.zeros(3 * C), np.zeros(C)
    W = stack_heads(W_Q, W_K, W_V)
    printed = (X, X, X, W_Q, W_K, W_V, W_O, mask)
    close(fused_self_attention(X, W, b, W_O.T, b_O, H, mask), multi_head_attention(*printed), atol=1e-12)
    dQ, dK, dV, dW_Q, dW_K, dW_V, dW_O = multi_head_attention_gradient(*printed, dY)
    dX, dW, _, dW_O_fused, _ = fused_self_attention_gradient(X, W, b, W_O.T, b_O, H, mask, dY)
    close(dX, dQ + dK + dV, atol=1e-12)
    close(dW, stack_heads(dW_Q, dW_K, dW_V), atol=1e-12)
    close(dW_O_fused, dW_O.T, atol=1e-12)


def test_F19_one_sequence_needs_no_batch_axis(rng, normal):
    arrays, mask, dY = fused_arrays(normal), causal_mask(T), normal(B, T, C)
    for b in range(B):
        one = [arrays[0][b], *arrays[1:]]
        close(fused_self_attention(*one, H, mask), fused_self_attention(*arrays, H, mask)[b], atol=1e-12)
        close(
            fused_self_attention_gradient(*one, H, mask, dY[b])[0],
            fused_self_attention_gradient(*arrays, H, mask, dY)[0][b],
            atol=1e-12,
        )
    few = ragged(1, T)[0] & (np.arange(T) < 3)  # a mask over the keys alone
    close(fused_self_attention(*one, H, few), fused_self_attention(*one, H, few[None]), atol=0)


def test_F19_heads_are_split_and_merged_without_mixing_positions(normal):
    x = normal(B, T, C)
    for i in range(H):
        assert np.array_equal(split_heads(x, H)[:, i], x[:, :, i * D : (i + 1) * D])
    assert np.array_equal(merge_heads(split_heads(x, H)), x)
    assert np.array_equal(split_heads(x, H), layers.split_heads(torch.tensor(x), H).numpy())


# ---- bad input


def test_F18_shapes_that_do_not_fit_are_named(normal):
    q, k, v = normal(B, T, D), normal(B, S, D), normal(B, S, Dv)
    for args, what in [
        ((q[0, 0], k, v), r"Q has shape \[4\]"),
        ((q, k[:, :, :2], v), "K has shape .* axis D does not fit"),
        ((q, k[:1], v), "K has shape .* axis B does not fit"),
        ((q, k, v[:, :2]), "V has shape .* axis S does not fit"),
        ((q, k[:, :0], v[:, :0]), "K is empty"),
        ((q, k, v, np.ones((T, S))), "may_attend has the type float64, but a mask is boolean"),
        ((q, k, v, np.ones((S, T), dtype=bool)), r"may_attend has shape \[7, 5\], but must broadcast to \[3, 5, 7\]"),
        ((q, k, v, np.ones((2, B, T, S), dtype=bool)), r"may_attend has shape .* must broadcast to \[3, 5, 7\]"),
    ]:
        with pytest.raises(InputError, match=what):
            attention(*args)
    with pytest.raises(InputError, match=r"dY has shape \[3, 5, 4\], but must have the shape of Y, \[3, 5, 6\]"):
        attention_gradient(q, k, v, None, q)
    with pytest.raises(InputError, match="dA has shape"):
        softmax_gradient(q, k)
    with pytest.raises(InputError, match="attention_mask has shape"):
        padding_mask(np.ones(3, dtype=bool))


def test_F19_shapes_that_do_not_fit_are_named(normal):
    names = ("Q", "K", "V", "W_Q", "W_K", "W_V", "W_O")
    arrays, dY = small_products(normal), normal(B, T, C)
    for i, name in enumerate(names):
        wrong = [*arrays[:i], arrays[i][..., :-1], *arrays[i + 1 :]]
        for function in (multi_head_attention, lambda *a: multi_head_attention_gradient(*a, None, dY)):
            with pytest.raises(InputError, match="W_K has shape" if name == "W_Q" else f"W_O|{name} has shape"):
                function(*wrong)
    with pytest.raises(InputError, match="dY has shape"):
        multi_head_attention_gradient(*arrays, None, dY[:, 1:])
    with pytest.raises(InputError, match="W_V has shape"):
        stack_heads(*arrays[3:6])  # heads of Dv ≠ D do not stack into [3C, C]
    fused = fused_arrays(normal)
    for i, name in enumerate(("W", "b", "W_O", "b_O"), 1):
        wrong = [*fused[:i], fused[i][..., :-1], *fused[i + 1 :]]
        with pytest.raises(InputError, match=f"{name} has shape"):
            fused_self_attention(*wrong, H)
    with pytest.raises(InputError, match="X has shape"):
        fused_self_attention(fused[0][0, 0], *fused[1:], H)
    with pytest.raises(InputError, match="width 8 is not divisible by 3 heads"):
        fused_self_attention(*fused, 3)
    with pytest.raises(InputError, match="dY has shape"):
        fused_self_attention_gradient(*fused, H, None, dY[:, 1:])
