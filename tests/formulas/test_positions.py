import math

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas.attention import causal_mask, fused_self_attention
from minilm.formulas.positions import dot_product, frequencies, look_up, look_up_gradient, sinusoids, turn
from minilm.layers import embeddings
from minilm.models import wave_start

B, T, C, V, H = 2, 7, 6, 5, 3


@pytest.fixture
def rng():
    return np.random.default_rng(21)


def close(ours, theirs, atol=1e-10):
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("width", [6, 7, 1])
def test_F21_sinusoids_equal_the_layer_and_the_formula_entry_by_entry(width, double):
    table = sinusoids(T, width)
    close(table, embeddings.sinusoids(T, width), atol=1e-12)
    for pos in range(T):
        for column in range(width):
            angle = pos / 10000 ** (2 * (column // 2) / width)
            assert table[pos, column] == pytest.approx((math.cos if column % 2 else math.sin)(angle), abs=1e-12)


def test_F21_the_dot_product_of_two_positions_is_a_function_of_their_distance(rng):
    table = sinusoids(40, C)
    t, s = np.indices((40, 40))
    close(table @ table.T, dot_product(t - s, C), atol=1e-12)
    assert dot_product(0, C) == C / 2
    assert (dot_product(np.arange(1, 40), C) < C / 2).all()
    close(dot_product(np.arange(9), C), dot_product(-np.arange(9), C), atol=0)
    other = rng.normal(size=(40, C))  # a random table does not have this property
    assert np.abs(np.diff(np.diagonal(other @ other.T, 1))).max() > 1


@pytest.mark.parametrize("offset", [1, -3, 0.5])
def test_F21_one_matrix_moves_every_position_by_the_same_offset(offset, double):
    M = turn(offset, C)
    angle = (np.arange(T)[:, None] + offset) * frequencies(C)
    moved = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(T, C)
    close(sinusoids(T, C) @ M.T, moved, atol=1e-12)
    close(M @ M.T, np.eye(C), atol=1e-12)  # it rotates without stretching
    close(M, wave_start.turn(torch.tensor(frequencies(C) * offset)), atol=1e-12)


@pytest.mark.parametrize("index", [[0, 3, 3, 1], [[4, 4, 0], [4, 2, 2]]], ids=["row", "batch"])
def test_F21_look_up_and_its_gradient_equal_the_layer(index, rng):
    """The indices repeat, and some rows are never looked up."""
    index, table = np.array(index), rng.normal(size=(V, C))
    dY = rng.normal(size=(*index.shape, C))
    value, gradient = autograd(lambda t: torch.nn.functional.embedding(torch.tensor(index), t), table, upstream=dY)
    close(look_up(table, index), value, atol=0)
    ours = look_up_gradient(table, index, dY)
    close(ours, gradient, atol=1e-14)
    close(ours, finite_differences(lambda t: float((look_up(t, index) * dY).sum()), table), atol=1e-7)
    lost = np.zeros((V, C))
    lost[index] += dY  # the mistake: only one of the places that share a row is kept
    assert np.abs(lost - gradient).max() > 0.1


def test_F21_the_layers_learned_positions_have_this_gradient(rng, double):
    """Use `Embeddings` with its norm replaced by the identity: every sequence of the batch looks up 0 … T − 1."""
    layer = embeddings.Embeddings(V, C, max_length=9)
    layer.norm = torch.nn.Identity()
    dY, index = rng.normal(size=(B, T, C)), np.broadcast_to(np.arange(T), (B, T))
    layer(torch.tensor(rng.integers(V, size=(B, T)))).backward(torch.tensor(dY))
    table = layer.positions.weight
    close(look_up_gradient(table.detach().numpy(), index, dY), table.grad.numpy())
    assert (table.grad[T:] == 0).all() and (table.grad[:T] != 0).all()


def test_F21_without_positions_attention_is_permutation_equivariant_and_with_them_it_is_not(rng):
    X, order = rng.normal(size=(T, C)), np.roll(rng.permutation(T), 1)
    weights = [rng.normal(size=shape) for shape in ((3 * C, C), 3 * C, (C, C), C)]
    Y = fused_self_attention(X, *weights, H)
    assert (order != np.arange(T)).any()
    close(fused_self_attention(X[order], *weights, H), Y[order], atol=1e-12)
    places = sinusoids(T, C)
    with_places = [fused_self_attention(x + places, *weights, H) for x in (X, X[order])]
    assert np.abs(with_places[1] - with_places[0][order]).max() > 0.1
    causal = [
        fused_self_attention(x, *weights, H, causal_mask(T)) for x in (X, X[order])
    ]  # a causal mask knows the order too
    assert np.abs(causal[1] - causal[0][order]).max() > 0.1


def test_F21_bad_input_is_named(rng):
    table, index = rng.normal(size=(V, C)), np.array([1, 2])
    for wrong in (0, -2):
        with pytest.raises(InputError, match="T is .*, but a length must be"):
            sinusoids(wrong, C)
        with pytest.raises(InputError, match="C is .*, but a width must be"):
            sinusoids(T, wrong)
    for function in (lambda: dot_product(3, 5), lambda: turn(1, 5), lambda: turn(1, 0)):
        with pytest.raises(InputError, match="C is ., but waves come in pairs here"):
            function()
    for function in (look_up, lambda *a: look_up_gradient(*a, rng.normal(size=(2, C)))):
        with pytest.raises(InputError, match="index holds the class 5, but there are only 5 classes"):
            function(table, np.array([1, V]))
        with pytest.raises(InputError, match="index holds the class -1"):
            function(table, np.array([1, -1]))
        with pytest.raises(InputError, match="index has the type float64"):
            function(table, np.array([1.0, 2.0]))
        with pytest.raises(InputError, match="index is empty"):
            function(table, index[:0])
        with pytest.raises(InputError, match="table has shape"):
            function(table[0], index)
    with pytest.raises(InputError, match=r"dY has shape \[6\], but must have the shape of Y, \[2, 6\]"):
        look_up_gradient(table, index, np.ones(C))
