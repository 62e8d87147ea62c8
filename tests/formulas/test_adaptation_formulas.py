"""Low-rank changes, their adaptive form and adapters: the library, autograd and finite differences give the same numbers."""

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas import adaptation as f
from minilm.layers.bottleneck import BottleneckLinear
from minilm.layers.low_rank import AdaptiveLinear, LowRankLinear
from minilm.training.rank_budget import Importance

N, IN, OUT, R, M, ALPHA = 4, 7, 5, 3, 2, 6.0


@pytest.fixture
def rng():
    return np.random.default_rng(32)


def linear_of(W, b):
    linear = nn.Linear(IN, OUT, dtype=torch.float64)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(W))
        linear.bias.copy_(torch.tensor(b))
    return linear


def filled(layer, **parts):
    with torch.no_grad():
        for name, value in parts.items():
            getattr(layer, name).copy_(torch.tensor(value))
    return layer


def check_gradients(function, gradients, arrays, upstream, places):
    """The gradients by hand against finite differences of the function of each array."""
    for k, gradient in zip(places, gradients, strict=True):

        def loss(array, k=k):
            return float((function(*(array if i == k else a for i, a in enumerate(arrays))) * upstream).sum())

        np.testing.assert_allclose(gradient, finite_differences(loss, arrays[k]), atol=1e-7)


def test_F32_low_rank_equals_the_layer_and_its_gradients_by_hand(rng):
    x, W, b, A, B = (rng.normal(size=s) for s in [(N, IN), (OUT, IN), (OUT,), (R, IN), (OUT, R)])
    dY = rng.normal(size=(N, OUT))
    layer = filled(LowRankLinear(linear_of(W, b), R, ALPHA, torch.Generator()), A=A, B=B)
    y = f.low_rank(x, W, b, A, B, ALPHA)
    np.testing.assert_allclose(y, layer(torch.tensor(x)).detach(), atol=1e-12)
    np.testing.assert_allclose(y, x @ f.merged_weight(W, A, B, ALPHA).T + b, atol=1e-12)
    gradients = f.low_rank_gradients(x, W, b, A, B, ALPHA, dY)
    _, *want = autograd(
        lambda x, A, B: x @ torch.tensor(W).T + torch.tensor(b) + ALPHA / R * x @ A.T @ B.T, x, A, B, upstream=dY
    )
    for mine, theirs in zip(gradients, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    check_gradients(lambda *a: f.low_rank(*a, ALPHA), gradients, [x, W, b, A, B], dY, (0, 3, 4))


def test_F32_with_B_0_only_B_has_a_gradient(rng):
    x, W, b, A = (rng.normal(size=s) for s in [(N, IN), (OUT, IN), (OUT,), (R, IN)])
    B, dY = np.zeros((OUT, R)), rng.normal(size=(N, OUT))
    assert (f.low_rank(x, W, b, A, B, ALPHA) == x @ W.T + b).all()
    _, dA, dB = f.low_rank_gradients(x, W, b, A, B, ALPHA, dY)
    assert not dA.any() and dB.all()


def test_F32_the_adaptive_form_equals_the_layer_and_its_gradients_by_hand(rng):
    x, W, b, P, lam, Q = (rng.normal(size=s) for s in [(N, IN), (OUT, IN), (OUT,), (OUT, R), (R,), (R, IN)])
    dY = rng.normal(size=(N, OUT))
    layer = filled(AdaptiveLinear(linear_of(W, b), R, ALPHA, torch.Generator()), P=P, lam=lam, Q=Q)
    np.testing.assert_allclose(f.adaptive(x, W, b, P, lam, Q, ALPHA, R), layer(torch.tensor(x)).detach(), atol=1e-12)
    np.testing.assert_allclose(layer.weight.detach(), W + ALPHA / R * P @ np.diag(lam) @ Q, atol=1e-12)
    gradients = f.adaptive_gradients(x, W, b, P, lam, Q, ALPHA, R, dY)
    check_gradients(lambda *a: f.adaptive(*a, ALPHA, R), gradients, [x, W, b, P, lam, Q], dY, (0, 3, 4, 5))
    t = torch.tensor(x, requires_grad=True)
    want = torch.autograd.grad(layer(t), [t, layer.P, layer.lam, layer.Q], torch.tensor(dY))
    for mine, theirs in zip(gradients, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    kept = [0, 2]
    layer.keep(torch.tensor(kept))
    few = f.adaptive(x, W, b, P[:, kept], lam[kept], Q[kept], ALPHA, R)
    np.testing.assert_allclose(layer(torch.tensor(x)).detach(), few, atol=1e-12)


def test_F32_the_pull_towards_orthonormal_matrices(rng):
    P, Q = rng.normal(size=(OUT, R)), rng.normal(size=(R, IN))
    value, dP, dQ = f.not_orthonormal(P, Q)
    layer = filled(AdaptiveLinear(linear_of(np.zeros((OUT, IN)), np.zeros(OUT)), R, ALPHA, torch.Generator()), P=P, Q=Q)
    assert abs(value - float(layer.not_orthonormal())) < 1e-12
    np.testing.assert_allclose(dP, finite_differences(lambda P: f.not_orthonormal(P, Q)[0], P), atol=1e-6)
    np.testing.assert_allclose(dQ, finite_differences(lambda Q: f.not_orthonormal(P, Q)[0], Q), atol=1e-6)
    assert f.not_orthonormal(np.linalg.qr(P)[0], np.linalg.qr(Q.T)[0].T)[0] < 1e-24


def test_F32_the_importance_of_triplets_equals_the_librarys(rng):
    layer = AdaptiveLinear(linear_of(np.zeros((OUT, IN)), np.zeros(OUT)), R, ALPHA, torch.Generator().manual_seed(1))
    importance, beta = Importance({"it": layer}, 0.7), 0.7
    mine = {part: (np.zeros(getattr(layer, part).shape),) * 2 for part in ("P", "lam", "Q")}
    for _ in range(3):
        for part in mine:
            w = getattr(layer, part)
            w.data = torch.tensor(rng.normal(size=w.shape))
            w.grad = torch.tensor(rng.normal(size=w.shape))
            importance.add(("it", part), w)
            mine[part] = f.smoothed_importance(w.detach().numpy(), w.grad.numpy(), *mine[part], beta)
    scores = f.triplet_scores(*(mean * spread for mean, spread in mine.values()))
    np.testing.assert_allclose(scores, importance.scores()["it"], atol=1e-12)
    loops = [
        mine["lam"][0][i] * mine["lam"][1][i]
        + sum(mine["P"][0][o, i] * mine["P"][1][o, i] for o in range(OUT)) / OUT
        + sum(mine["Q"][0][i, j] * mine["Q"][1][i, j] for j in range(IN)) / IN
        for i in range(R)
    ]
    np.testing.assert_allclose(scores, loops, atol=1e-12)


def test_F32_an_adapter_equals_the_layer_and_its_gradients_by_hand(rng):
    h, D, d, U, u = (rng.normal(size=s) for s in [(N, OUT), (M, OUT), (M,), (OUT, M), (OUT,)])
    dY = rng.normal(size=(N, OUT))
    gradients = f.adapter_gradients(h, D, d, U, u, dY)
    value, *want = autograd(lambda h, D, d, U, u: h + F.gelu(h @ D.T + d) @ U.T + u, h, D, d, U, u, upstream=dY)
    np.testing.assert_allclose(f.adapter(h, D, d, U, u), value, atol=1e-12)
    for mine, theirs in zip(gradients, want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    check_gradients(f.adapter, gradients, [h, D, d, U, u], dY, range(5))
    layer = BottleneckLinear(linear_of(np.eye(OUT, IN), np.zeros(OUT)), M, torch.Generator())
    with torch.no_grad():
        for part, value in ((layer.down.weight, D), (layer.down.bias, d), (layer.up.weight, U), (layer.up.bias, u)):
            part.copy_(torch.tensor(value))
    x = np.concatenate([h, np.zeros((N, IN - OUT))], axis=1)
    np.testing.assert_allclose(layer(torch.tensor(x)).detach(), f.adapter(h, D, d, U, u), atol=1e-12)


def test_F32_shapes_that_do_not_fit_are_one_sentence(rng):
    W, b, A, B = np.zeros((OUT, IN)), np.zeros(OUT), np.zeros((R, IN)), np.zeros((OUT, R))
    for bad in [
        lambda: f.low_rank(np.zeros((N, IN + 1)), W, b, A, B, 1.0),
        lambda: f.low_rank(np.zeros((N, IN)), W, b, A, B.T, 1.0),
        lambda: f.low_rank(np.zeros((N, IN)), W, b, A[:0], B[:, :0], 1.0),
        lambda: f.low_rank_gradients(np.zeros((N, IN)), W, b, A, B, 1.0, np.zeros((N, IN))),
        lambda: f.adaptive(np.zeros((N, IN)), W, b, B, np.zeros(R + 1), A, 1.0, R),
        lambda: f.adapter(np.zeros((N, OUT)), np.zeros((M, IN)), np.zeros(M), np.zeros((OUT, M)), b),
        lambda: f.smoothed_importance(np.zeros(3), np.zeros(2), np.zeros(3), np.zeros(3), 0.9),
        lambda: f.not_orthonormal(np.zeros((OUT, R)), np.zeros((R + 1, IN))),
    ]:
        with pytest.raises(InputError):
            bad()
