import copy

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from minilm.errors import InputError
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.training.muon import COEFFICIENTS, Muon, matrix_groups, orthogonalised
from minilm.training.optimizer import AdamW, parameter_groups

CONFIG = TransformerConfig(
    vocab_size=13, width=8, layers=2, heads=2, feed_forward=20, max_length=7, positions="relative"
)
RATES = [0.02, 0.02, 0.007, 0.0, 0.013]


def random(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(1, 5, 3), (3, 4, 6), (2, 5, 5)])
def test_F03_directions_stay_and_sizes_become_alike(shape):
    G = random(*shape)
    U, S, V = torch.linalg.svd(G, full_matrices=False)
    sizes = S / S.norm(dim=1, keepdim=True)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        sizes = a * sizes + b * sizes**3 + c * sizes**5
    torch.testing.assert_close(orthogonalised(G), U @ torch.diag_embed(sizes) @ V, rtol=0, atol=1e-6)


def test_F03_the_range_that_the_docstring_states():
    sizes = torch.logspace(-2, 0, 10_001, dtype=torch.float64)
    a, b, c = COEFFICIENTS
    for _ in range(5):
        sizes = a * sizes + b * sizes**3 + c * sizes**5
    assert 0.68 < sizes.min() < 0.69 and 1.13 < sizes.max() < 1.14


def test_F03_the_sign_turns_and_the_scale_of_the_gradient_means_nothing():
    G = random(2, 4, 7)
    torch.testing.assert_close(orthogonalised(-1000 * G), -orthogonalised(G), rtol=0, atol=1e-6)
    assert torch.equal(orthogonalised(torch.zeros(1, 3, 2)), torch.zeros(1, 3, 2))  # and not NaN


def test_F03_the_same_steps_as_pytorchs_muon(monkeypatch):
    """PyTorch computes the iteration in bfloat16, so for an exact comparison that rounding is switched off."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch is older than torch.optim.Muon (2026-11-26)")
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self.clone())
    shapes = [(6, 4), (3, 5), (4, 4)]
    ours, theirs = ([nn.Parameter(random(*s, seed=i)) for i, s in enumerate(shapes)] for _ in range(2))
    optimizer = Muon([{"params": ours, "matrices": 1, "weight_decay": 0.1, "scale": 0.5}], momentum=0.9)
    referee = torch.optim.Muon(theirs, lr=9, weight_decay=0.1, momentum=0.9)
    for step, rate in enumerate(RATES):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            a.grad = random(*a.shape, seed=10 + 10 * step + i)
            b.grad = a.grad.clone()
        referee.param_groups[0]["lr"] = 0.5 * rate
        optimizer.step(rate)
        referee.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_query_key_and_value_are_orthogonalised_one_by_one():
    theta, g = random(9, 3), random(9, 3, seed=1)
    together = nn.Parameter(theta.clone())
    apart = [nn.Parameter(part.clone()) for part in theta.chunk(3)]
    together.grad = g
    for part, gradient in zip(apart, g.chunk(3), strict=True):
        part.grad = gradient.clone()
    Muon([{"params": [together], "matrices": 3}]).step(0.1)
    Muon([{"params": apart, "matrices": 1}]).step(0.1)
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-12)
    whole = nn.Parameter(theta.clone())
    whole.grad = g
    Muon([{"params": [whole], "matrices": 1}]).step(0.1)
    assert (whole - together).abs().max() > 0.01


def gradients(model, seed):
    for i, parameter in enumerate(model.parameters()):
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * seed + i))


def muon_for(model, scale=5.0):
    groups = parameter_groups(model, weight_decay=0.1, embedding_learning_rate_scale=0.3)
    return Muon(matrix_groups(groups, model, scale), betas=(0.9, 0.98), eps=1e-6)


def test_only_the_matrices_of_the_blocks_differ_from_adamw():
    one, two = BertForPretraining(CONFIG), BertForPretraining(CONFIG)
    two.load_state_dict(one.state_dict())
    optimizer = muon_for(one)
    adamw = AdamW(parameter_groups(two, 0.1, 0.3), betas=(0.9, 0.98), eps=1e-6)
    for step in range(3):
        for model, each in ((one, optimizer), (two, adamw)):
            gradients(model, step)
            each.step(0.01)
    changed = {n for (n, a), b in zip(one.named_parameters(), two.parameters(), strict=True) if not torch.equal(a, b)}
    names = ("attention.to_qkv", "attention.output", "feed_forward.inner", "feed_forward.outer")
    assert changed == {f"encoder.stack.layers.{i}.{name}.weight" for i in range(2) for name in names}
    counts = {n: g["matrices"] for g in optimizer.groups for n in g["names"] if g["matrices"]}
    assert {n for n, count in counts.items() if count == 3} == {n for n in changed if "to_qkv" in n}
    assert all(g["scale"] == 5.0 and g["weight_decay"] == 0.1 for g in optimizer.groups if g["matrices"])
    assert sum(len(g["params"]) for g in optimizer.groups) == len(list(one.parameters()))


def test_a_saved_state_continues_bit_for_bit_and_holds_no_second_moment_of_a_matrix():
    model = BertForPretraining(CONFIG)
    optimizer = muon_for(model)
    for step in range(2):
        gradients(model, step)
        optimizer.step(0.01)
    other = copy.deepcopy(model)
    continued = muon_for(other)
    continued.load_state(load(save(optimizer.state())))
    assert "m.encoder.stack.layers.0.attention.output.weight" in optimizer.state()
    assert "v.encoder.stack.layers.0.attention.output.weight" not in optimizer.state()
    for each, its in ((model, optimizer), (other, continued)):
        gradients(each, 2)
        its.step(0.01)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    with pytest.raises(InputError, match="lacks 'v.encoder.stack.layers.0.attention.output.weight'"):
        AdamW(parameter_groups(model)).load_state(optimizer.state())


def test_a_model_without_blocks_is_refused():
    model = LSTMEncoder(LSTMConfig(vocab_size=11), torch.Generator().manual_seed(0))
    with pytest.raises(
        InputError, match="Muon is for the matrices of Transformer blocks, and this LSTMEncoder trains none"
    ):
        muon_for(model)
