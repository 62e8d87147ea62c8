"""One token at a time: the short way is taken where it fits and nowhere else, and gives the numbers of the long one."""

import pytest
import torch
from torch.nn import functional as F
from writers import V, gpt

from minilm.layers.low_rank import LowRankLinear
from minilm.layers.one_token import OneToken, wide_product
from minilm.models.generation import generate

IDS = torch.tensor([[3, 1, 4], [1, 5, 9]])


def logits_of_the_next(model):
    """With a memory and without: after `IDS` and one more token."""
    memory, new = model.new_memory(), torch.tensor([[2], [6]])
    model.next_logits(IDS, memory)
    return model.next_logits(new, memory), model(torch.cat([IDS, new], dim=1))[:, -1]


@pytest.mark.parametrize("positions", ["relative", "learned"])
@torch.no_grad()
def test_F23_only_the_prompt_goes_through_the_modules(positions, monkeypatch):
    model, calls = gpt(positions), []
    forward = model.encoder.stack.forward
    monkeypatch.setattr(model.encoder.stack, "forward", lambda *a, **k: calls.append(a) or forward(*a, **k))
    generate(model, IDS.tolist(), 5, temperature=0)
    assert len(calls) == 1
    ours, theirs = logits_of_the_next(model)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)


@pytest.mark.parametrize("part", ["to_qkv", "output"])
@torch.no_grad()
def test_a_stack_with_other_layers_takes_the_long_way(part):
    """A low-rank layer is more than its weight."""
    model = gpt()
    assert OneToken.fits(model.encoder.stack)
    attention = model.encoder.stack.layers[1].attention
    layer = LowRankLinear(getattr(attention, part), 2, 4.0, torch.Generator().manual_seed(0))
    layer.B.normal_(generator=torch.Generator().manual_seed(1))
    before = logits_of_the_next(model)[1]
    setattr(attention, part, layer)
    assert not OneToken.fits(model.encoder.stack) and model.new_memory().one_token is None
    ours, theirs = logits_of_the_next(model)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=0)
    assert (before - theirs).abs().max() > 1e-3
    assert not OneToken.fits(gpt("rotary").encoder.stack)


@pytest.mark.parametrize("shape", [(12,), (0, 12), (1, 12), (5, 12), (2, 3, 12)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_F23_the_wide_product_is_the_product(shape, dtype):
    rng = torch.Generator().manual_seed(0)
    x, W = torch.randn(shape, generator=rng, dtype=dtype), torch.randn(V, 12, generator=rng, dtype=dtype)
    W.requires_grad_()
    exact = x.double() @ W.detach().double().T
    with torch.inference_mode():
        ours = wide_product(x, W)
        assert ours.layout == torch.strided and ours.dtype == dtype
        torch.testing.assert_close(ours.double(), exact, atol=1e-5 if dtype == torch.float32 else 1e-13, rtol=0)
    with_gradient = wide_product(x, W)
    torch.testing.assert_close(with_gradient, F.linear(x, W), atol=0, rtol=0)
    assert with_gradient.requires_grad
