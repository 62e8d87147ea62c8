"""Layers in 8 bits: rounding errors stay within their bounds, whole numbers equal PyTorch's own, and the product is exact."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas import eight_bit as formulas
from minilm.layers import eight_bit
from minilm.layers.eight_bit import Int8Embedding, Int8Linear, in_eight_bits, integer_product, quantised_rows
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.sentence_encoder import SentenceEncoder


def drawn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def small(seed=0, positions="relative"):
    config = TransformerConfig(50, width=12, layers=2, heads=3, feed_forward=20, max_length=16, positions=positions)
    model = SentenceEncoder(Bert(config))
    initialise(model, generator=torch.Generator().manual_seed(seed))
    return model.eval()


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 40), st.floats(1e-3, 1e3))
def test_no_number_is_further_than_half_a_step_from_its_own(seed, rows, columns, size):
    W = drawn(rows, columns, seed=seed) * size
    q, s = quantised_rows(W)
    assert q.dtype == torch.int8 and q.min() >= -127 and (q.abs().amax(dim=1) == 127).all()
    assert ((W - q * s[:, None]).abs() <= s[:, None] / 2 * (1 + 1e-9)).all()
    numbers, scales = formulas.quantised_rows(W.numpy())
    np.testing.assert_array_equal(numbers, q)
    np.testing.assert_allclose(scales, s, rtol=1e-15)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor.*:UserWarning")
def test_the_whole_numbers_are_those_of_torchs_own_quantisation():
    W = drawn(13, 31, dtype=torch.float32)
    q, s = quantised_rows(W)
    theirs = torch.quantize_per_channel(W, s.double(), torch.zeros(13, dtype=torch.int64), 0, torch.qint8)
    assert torch.equal(theirs.int_repr(), q)
    layer = nn.Linear(31, 13)
    with torch.no_grad():
        layer.weight.copy_(W)
    x = drawn(2, 5, 31, seed=1, dtype=torch.float32)
    ours = Int8Linear.of(layer, integer=False)(x)
    torch.testing.assert_close(ours, F.linear(x, theirs.dequantize(), layer.bias), atol=1e-5, rtol=0)
    torch.testing.assert_close(Int8Linear.of(layer).weight, theirs.dequantize(), atol=0, rtol=0)


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor.*:UserWarning", "ignore:.*deprecated:DeprecationWarning")
def test_it_is_as_close_to_the_layer_as_torchs_dynamic_quantised_linear():
    layer, x = nn.Linear(64, 48), drawn(20, 64, dtype=torch.float32)
    theirs = torch.ao.nn.quantized.dynamic.Linear(64, 48)
    W, s = layer.weight.detach(), quantised_rows(layer.weight.detach())[1]
    theirs.set_weight_bias(
        torch.quantize_per_channel(W, s.double(), torch.zeros(48, dtype=torch.int64), 0, torch.qint8),
        layer.bias.detach(),
    )
    exact = layer(x).detach()
    ours, their = ((y - exact).abs().max() for y in (Int8Linear.of(layer)(x), theirs(x)))
    assert 0 < ours < 1.2 * their  # theirs has one scale for all rows of x


@pytest.mark.parametrize("columns", [1, 3, 64, 1040, 1500])
@pytest.mark.parametrize("kernel", [True, False])
def test_the_product_of_whole_numbers_is_exact(columns, kernel, monkeypatch):
    if not kernel:
        monkeypatch.delattr(torch, "_int_mm")
    generator = torch.Generator().manual_seed(columns)
    for rows in (1, 7):
        a, b = (torch.randint(-127, 128, (n, columns), generator=generator, dtype=torch.int8) for n in (rows, 5))
        assert torch.equal(integer_product(a, b).long(), a.long() @ b.long().t())
    full = torch.full((2, columns), 127, dtype=torch.int8)
    assert (integer_product(full, full) == 127 * 127 * columns).all()
    assert integer_product(full[:0], full).shape == (0, 2)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 30), st.integers(1, 5))
def test_the_error_of_the_layer_is_within_its_bound_and_the_numpy_view_is_the_same(seed, rows, size, out):
    x, W, b = drawn(rows, size, seed=seed), drawn(out, size, seed=seed + 1), drawn(out, seed=seed + 2)
    layer = nn.Linear(size, out, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(W)
        layer.bias.copy_(b)
    ours = Int8Linear.of(layer)(x)
    error = (ours - layer(x)).abs().detach().numpy()
    assert (error <= formulas.largest_error(x.numpy(), W.numpy()) * (1 + 1e-9)).all()
    np.testing.assert_allclose(formulas.eight_bit_linear(x.numpy(), W.numpy(), b.numpy()), ours, atol=1e-10)


def test_rows_of_zeros_stay_zeros_and_a_layer_without_bias_has_none():
    layer = nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        layer.weight[1] = 0
    ours = Int8Linear.of(layer)
    assert ours.bias is None and (ours(torch.zeros(2, 4)) == 0).all() and (ours(torch.ones(2, 4))[:, 1] == 0).all()
    assert ours(torch.zeros(0, 4)).shape == (0, 3)


@pytest.mark.parametrize("integer", [True, False])
@pytest.mark.parametrize("positions", ["relative", "learned"])
def test_a_model_in_8_bits_computes_nearly_the_same_and_leaves_the_model_as_it_was(integer, positions):
    model = small(positions=positions)
    before = copy.deepcopy(model.state_dict())
    ids, mask = torch.tensor([[2, 7, 9, 3, 0], [2, 5, 8, 11, 3]]), torch.tensor([[True] * 4 + [False], [True] * 5])
    ours = in_eight_bits(model, embeddings=True, integer=integer)
    with torch.no_grad():
        apart = (ours(ids, None, mask) - model(ids, None, mask)).abs().max()
    assert 0 < apart < 0.03
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    kinds = [type(module) for module in ours.encoder.modules()]
    assert kinds.count(Int8Linear) == 2 * 4 and kinds.count(Int8Embedding) == 1 and nn.Linear not in kinds


def test_query_positions_read_the_weights_of_the_layer():
    model = in_eight_bits(small(), integer=False)
    ids, first = torch.tensor([[2, 7, 9, 3]]), torch.zeros(1, 1, dtype=torch.int64)
    with torch.no_grad():
        some, every = (model.encoder(ids, query_positions=places).hidden for places in (first, None))
    torch.testing.assert_close(some[:, 0], every[:, 0], atol=1e-6, rtol=0)


def test_a_gradient_is_refused_and_so_is_a_model_without_linear_layers():
    layer = Int8Linear.of(nn.Linear(4, 3))
    with pytest.raises(InputError, match="no gradient"):
        layer(torch.ones(1, 4, requires_grad=True))
    with pytest.raises(InputError, match="has no linear layers"):
        in_eight_bits(nn.Embedding(3, 4))


def test_the_formulas_refuse_shapes_that_do_not_fit():
    with pytest.raises(InputError, match="W has shape"):
        formulas.quantised_rows(np.ones(3))
    with pytest.raises(InputError, match="is empty"):
        formulas.quantised_rows(np.ones((3, 0)))
    with pytest.raises(InputError, match="x has shape"):
        formulas.eight_bit_linear(np.ones((2, 3)), np.ones((4, 2)), np.ones(4))
    assert eight_bit.EXACT * 127**2 <= 2**24
