import pytest
import torch
from torch import nn

from minilm.layers.normalization import LayerNorm, layer_norm

B, T, C = 5, 3, 7


def equal(ours, theirs, atol=1e-10):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def outcome(layer, x, gain, bias, upstream):
    x = x.clone().requires_grad_()
    out = layer(x)
    return [out.detach(), *torch.autograd.grad(out, [x, gain, bias], upstream)]


@pytest.fixture
def draw():
    rng = torch.Generator().manual_seed(20)
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


def random_layer(draw, epsilon):
    ours = LayerNorm(C, epsilon).double()
    with torch.no_grad():
        ours.gain.copy_(draw(C))
        ours.bias.copy_(draw(C))
    return ours


def rows(draw):
    """Rows with variance 1e-4 and mean 3. They show a wrong place of ε and a wrong formula for the variance."""
    x = draw(B, T, C)
    x[1:3] = 3 + 0.01 * draw(2, T, C)
    return x


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 0.1])
def test_F20_layer_norm_equals_pytorch_in_value_and_gradient(epsilon, fused, draw):
    ours, theirs = random_layer(draw, epsilon), nn.LayerNorm(C, eps=epsilon, dtype=torch.float64)
    ours.fused = fused
    theirs.load_state_dict({"weight": ours.gain.detach(), "bias": ours.bias.detach()})
    x, upstream = rows(draw), draw(B, T, C)
    got = outcome(ours, x, ours.gain, ours.bias, upstream)
    want = outcome(theirs, x, theirs.weight, theirs.bias, upstream)
    equal(got, want, atol=1e-10 if epsilon > 1e-12 else 1e-9)  # the gradient of such flat rows is about 100


@pytest.mark.parametrize("epsilon", [1e-12, 0.1])
def test_F20_fused_layer_norm_equals_the_formula(epsilon, draw):
    ours = random_layer(draw, epsilon)
    x, upstream, outcomes = rows(draw), draw(B, T, C), []
    for ours.fused in (True, False):
        outcomes.append(outcome(ours, x, ours.gain, ours.bias, upstream))
    equal(*outcomes, atol=1e-11)


def test_F20_the_two_usual_mistakes_would_be_seen(draw):
    """With ε = 0.1 and C = 7, ε outside the root and a variance over C − 1 both differ clearly from the formula."""
    x, gain, bias = rows(draw), draw(C), draw(C)
    right = layer_norm(x, gain, bias, 0.1)
    centred = x - x.mean(dim=-1, keepdim=True)
    outside = gain * centred / (x.std(dim=-1, correction=0, keepdim=True) + 0.1) + bias
    unbiased = gain * centred / torch.sqrt(x.var(dim=-1, correction=1, keepdim=True) + 0.1) + bias
    assert (outside - right).abs().max() > 0.01 and (unbiased - right).abs().max() > 0.01


def test_F20_a_new_layer_gives_mean_0_and_variance_1(draw):
    out = LayerNorm(C).double()(rows(draw))
    equal(out.mean(dim=-1), torch.zeros(B, T, dtype=torch.float64))
    equal(out.var(dim=-1, correction=0), torch.ones(B, T, dtype=torch.float64), atol=1e-6)
