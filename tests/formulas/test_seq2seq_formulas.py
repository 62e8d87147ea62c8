"""The NumPy views of cross-attention and of copying: against PyTorch, finite differences, and the layers of the library."""

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas.attention import multi_head_attention
from minilm.formulas.seq2seq import (
    copy_distribution,
    copy_distribution_gradient,
    cross_attention,
    cross_attention_gradient,
)
from minilm.layers.copying import CopyHead

B, T, S, C, D, DV, V = 2, 3, 4, 5, 6, 7, 9
MASK = np.array([[True, True, True, False], [True, False, False, False]])[:, None]  # [B, 1, S]


def drawn(batch=True, seed=0):
    rng = np.random.default_rng(seed)
    head = (B,) if batch else ()
    X, M = rng.normal(size=(*head, T, C)), rng.normal(size=(*head, S, C))
    weights = [rng.normal(size=(C, size)) for size in (D, D, DV)]
    return (X, M, *weights), rng.normal(size=(*head, T, DV))


def theirs(mask):
    """By PyTorch's kernel."""
    may = None if mask is None else torch.from_numpy(mask)
    return lambda X, M, Q, K, V: F.scaled_dot_product_attention(X @ Q, M @ K, M @ V, attn_mask=may)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch", [False, True])
def test_F18_cross_attention_and_its_gradient_equal_pytorchs(batch, masked):
    inputs, dY = drawn(batch)
    mask = (MASK if batch else MASK[0]) if masked else None
    value, *gradients = autograd(theirs(mask), *inputs, upstream=dY)
    np.testing.assert_allclose(cross_attention(*inputs, mask), value, atol=1e-12)
    for ours, wanted in zip(cross_attention_gradient(*inputs, mask, dY), gradients, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-12)


def test_F18_the_gradient_of_cross_attention_equals_finite_differences():
    inputs, dY = drawn()
    for i, ours in enumerate(cross_attention_gradient(*inputs, MASK, dY)):

        def loss(x, i=i):
            return float((cross_attention(*inputs[:i], x, *inputs[i + 1 :], MASK) * dY).sum())

        np.testing.assert_allclose(ours, finite_differences(loss, inputs[i]), atol=1e-8)
        assert np.abs(ours).max() > 0.01


def test_F18_padding_of_the_source_has_no_influence_and_gets_no_gradient():
    (X, M, *W), dY = drawn()
    other = np.where(np.swapaxes(MASK, 1, 2), M, 1e3)
    np.testing.assert_allclose(cross_attention(X, other, *W, MASK), cross_attention(X, M, *W, MASK), atol=1e-12)
    dM = cross_attention_gradient(X, M, *W, MASK, dY)[1]
    assert not dM[0, 3:].any() and not dM[1, 1:].any() and dM[0, :3].all()


def test_F18_it_is_one_head_of_multi_head_attention_without_the_last_product():
    (X, M, *W), _ = drawn()
    whole = multi_head_attention(X, M, M, *(w[None] for w in W), np.eye(DV)[:, :C], MASK)
    np.testing.assert_allclose(whole, cross_attention(X, M, *W, MASK)[..., :C], atol=1e-12)


def copying(seed=0):
    rng = np.random.default_rng(seed)
    a = rng.random(size=(T, S))
    return rng.normal(size=(T, V)), a / a.sum(1, keepdims=True), rng.random(size=T), rng.normal(size=(T, V))


IDS = np.array([7, 2, 7, 0])  # 7 stands there twice


def test_F23_copying_gives_a_distribution_and_equals_the_head_of_the_model():
    z, a, g, _ = copying()
    P = copy_distribution(z, a, g, IDS)
    np.testing.assert_allclose(P.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(copy_distribution(z, a, np.zeros(T), IDS), np.exp(z) / np.exp(z).sum(1)[:, None])
    only = copy_distribution(z, a, np.ones(T), IDS)
    np.testing.assert_allclose(only[:, [7, 2, 0]], np.stack([a[:, 0] + a[:, 2], a[:, 1], a[:, 3]], 1), atol=1e-12)
    assert not only[:, [1, 3, 4, 5, 6, 8]].any()
    head = CopyHead(C).double()
    h, states = torch.randn(1, T, C, dtype=torch.float64), torch.randn(1, S, C, dtype=torch.float64)
    with torch.no_grad():
        pointer, gate = head.pointer(h, states, None)
        log_p = head(torch.from_numpy(z)[None], h, states, torch.from_numpy(IDS)[None])
    wanted = copy_distribution(z, pointer[0].numpy(), gate[0, :, 0].numpy(), IDS)
    np.testing.assert_allclose(log_p[0].exp().numpy(), wanted, atol=1e-12)


def test_F23_the_gradient_of_copying_equals_autograd_and_finite_differences():
    z, a, g, dP = copying()

    def with_torch(z, a, g):
        one_hot = F.one_hot(torch.from_numpy(IDS), V).double()  # [S, V]
        return (1 - g)[:, None] * z.softmax(1) + g[:, None] * (a @ one_hot)

    value, *gradients = autograd(with_torch, z, a, g, upstream=dP)
    np.testing.assert_allclose(copy_distribution(z, a, g, IDS), value, atol=1e-12)
    for i, (ours, wanted) in enumerate(zip(copy_distribution_gradient(z, a, g, IDS, dP), gradients, strict=True)):
        np.testing.assert_allclose(ours, wanted, atol=1e-12)

        def loss(x, i=i):
            return float((copy_distribution(*(z, a, g)[:i], x, *(z, a, g)[i + 1 :], IDS) * dP).sum())

        np.testing.assert_allclose(ours, finite_differences(loss, (z, a, g)[i]), atol=1e-8)


def test_what_does_not_fit_is_named():
    (X, M, *W), _ = drawn()
    with pytest.raises(InputError, match="M has shape"):
        cross_attention(X, M[..., :-1], *W)
    with pytest.raises(InputError, match="W_K has shape"):
        cross_attention(X, M, W[0], W[2], W[2])
    z, a, g, _ = copying()
    with pytest.raises(InputError, match="source_ids has 9, and the vocabulary has the 9 tokens"):
        copy_distribution(z, a, g, np.array([1, 2, 3, 9]))
