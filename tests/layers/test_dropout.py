import math

import pytest
import torch
from torch import nn

from minilm.errors import InputError
from minilm.layers.dropout import Dropout, dropout, use_generator

N = 200_000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_rate_is_p_and_what_stays_is_scaled_up(p):
    x = torch.full((N,), 3.0, dtype=torch.float64)
    out = dropout(x, p, seeded())
    assert set(out.unique().tolist()) == {0.0, 3.0 / (1 - p)}
    z = ((out == 0).double().mean().item() - p) / math.sqrt(p * (1 - p) / N)
    assert abs(z) < 4
    assert out.mean().item() == pytest.approx(3, abs=4 * 3 * math.sqrt(p / (1 - p) / N))


def test_the_gradient_passes_where_the_value_did():
    x = torch.randn(50, dtype=torch.float64, generator=seeded()).requires_grad_()
    out, upstream = dropout(x, 0.3, seeded(1)), torch.randn(50, dtype=torch.float64, generator=seeded(2))
    out.backward(upstream)
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0, upstream / 0.7), atol=1e-14, rtol=0)


def test_p_0_and_evaluation_leave_everything_as_it_is():
    x = torch.randn(5, 7, generator=seeded())
    assert torch.equal(dropout(x, 0.0, seeded()), x)
    layer = Dropout(0.9)
    assert not torch.equal(layer(x), x)
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_generator_alone_decides():
    x, layer = torch.ones(100), Dropout(0.5)
    outs = []
    for seed in (1, 1, 2):
        use_generator(layer, seeded(seed))
        torch.manual_seed(seed + len(outs))  # the global generator must not matter
        outs.append(layer(x))
    assert torch.equal(outs[0], outs[1]) and not torch.equal(outs[0], outs[2])


def test_use_generator_reaches_every_layer_of_a_model_and_one_state_resumes_it():
    model = nn.Sequential(Dropout(0.5), nn.Sequential(Dropout(0.2), nn.Identity()))
    generator, x = seeded(3), torch.ones(40)
    use_generator(model, generator)
    model(x)
    state = generator.get_state()
    further = [model(x) for _ in range(2)]
    generator.set_state(state)
    assert all(torch.equal(model(x), before) for before in further)


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5])
def test_an_impossible_p_is_refused(p):
    with pytest.raises(InputError, match=r"is not in \[0, 1\)"):
        Dropout(p)
