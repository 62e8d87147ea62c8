"""The two towers against their formula written out for one person, and what they must never do."""

import pytest
import torch

from minilm.models.two_towers import NEVER, TwoTowers

I, E, D = 11, 7, 5
G = torch.Generator().manual_seed(0)
VECTORS, POPULARITY = torch.randn(I, E, generator=G), torch.randn(I, generator=G)


@pytest.fixture
def model():
    return TwoTowers(VECTORS, POPULARITY, D, dropout=0.0, generator=torch.Generator().manual_seed(1))


def test_the_logits_are_those_of_the_formula(model):
    torch.nn.init.normal_(model.likes.weight, generator=G)
    liked = [3, 8, 5]
    u = sum(model.likes.weight @ VECTORS[i] for i in liked) / 3
    logits = model(torch.tensor([liked]))[0]
    for i in range(I):
        fits = u @ (model.items.weight @ VECTORS[i]) * E / D**0.5 + POPULARITY[i]
        assert logits[i].item() == pytest.approx(NEVER if i in liked else fits.item(), rel=1e-5)


def test_padding_changes_nothing(model):
    mask = torch.tensor([[True, True, True, False], [True, True, True, True]])
    both = model(torch.tensor([[3, 8, 5, 0], [1, 2, 3, 4]]), None, mask)
    assert torch.allclose(both[0], model(torch.tensor([[3, 8, 5]]))[0], atol=1e-5)
    assert both[0, 0] > NEVER and both[1, 4] == NEVER


def test_everything_but_the_texts_learns(model):
    model(torch.tensor([[3, 8]]))[0, 2].backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {"likes.weight", "items.weight", "b"}
    assert "v" not in dict(model.named_parameters())
