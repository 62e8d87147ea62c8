"""The low-rank layer starts equal to the old layer, computes with W + α/r · B A, and trains only A and B."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.low_rank import LowRankLinear

IN, OUT, R, ALPHA = 11, 7, 3, 6.0


def layer(seed=0, size=IN, out=OUT, r=R, bias=True, dtype=torch.float64):
    linear = nn.Linear(size, out, bias=bias, dtype=dtype)
    return LowRankLinear(linear, r, ALPHA, torch.Generator().manual_seed(seed))


@pytest.fixture
def draw():
    rng = torch.Generator().manual_seed(20)
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("bias", [True, False])
def test_F28_it_starts_with_exactly_the_output_of_the_trained_layer(bias, draw):
    ours, x = layer(bias=bias), draw(2, 5, IN)
    assert (ours(x) == ours.linear(x)).all() and not ours.B.any() and ours.A.all()


@pytest.mark.parametrize("bias", [True, False])
def test_F28_it_equals_one_layer_with_the_merged_weight_in_value_and_gradient(bias, draw):
    ours, x, upstream = layer(bias=bias), draw(2, 5, IN).requires_grad_(), draw(2, 5, OUT)
    with torch.no_grad():
        ours.B.copy_(draw(OUT, R))
    merged = F.linear(x, ours.linear.weight + ALPHA / R * ours.B @ ours.A, ours.linear.bias)
    torch.testing.assert_close(ours(x), merged, atol=1e-12, rtol=0)
    got = torch.autograd.grad(ours(x), [x, ours.A, ours.B], upstream)
    want = torch.autograd.grad(merged, [x, ours.A, ours.B], upstream)
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


def test_F28_only_A_and_B_are_trained_and_one_step_leaves_the_rest_as_it_was(draw):
    ours = layer()
    trained = {name: p for name, p in ours.named_parameters() if p.requires_grad}
    assert set(trained) == {"A", "B"} and sum(p.numel() for p in trained.values()) == R * (IN + OUT)
    weight, bias = ours.linear.weight.clone(), ours.linear.bias.clone()
    for _ in range(2):  # B starts as 0, so A has a gradient only from the second step on
        ours(draw(4, IN)).square().sum().backward()
        with torch.no_grad():
            for p in trained.values():
                p -= 0.1 * p.grad
    assert (ours.linear.weight == weight).all() and (ours.linear.bias == bias).all()
    assert ours.A.grad.any() and ours.B.any()


def test_F28_A_has_the_standard_deviation_one_over_the_root_of_in_and_the_seed_decides():
    A = layer(size=400, r=50).A * math.sqrt(400)
    n = A.numel()
    assert abs(A.mean()) < 5 / math.sqrt(n) and abs(A.std() - 1) < 5 / math.sqrt(2 * n)
    assert (layer(1).A == layer(1).A).all() and (layer(1).A != layer(2).A).any()


def test_F28_it_keeps_the_type_of_the_trained_layer():
    ours = layer(dtype=torch.float32)
    assert ours.A.dtype == ours.B.dtype == ours(torch.zeros(1, IN)).dtype == torch.float32


@pytest.mark.parametrize("r", [0, -2])
def test_F28_a_rank_below_1_is_one_clear_sentence(r):
    with pytest.raises(InputError, match=f"the rank is {r}: it must be at least 1"):
        layer(r=r)
