import math

import pytest
import torch

from minilm.errors import InputError
from minilm.layers.embeddings import Embeddings
from minilm.layers.normalization import layer_norm
from minilm.layers.positions import sinusoids

B, T, V, C, LONGEST, TOKEN_TYPES = 4, 5, 11, 7, 9, 3


def equal(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(21)


@pytest.fixture
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def layer(rng, double):
    layer = Embeddings(V, C, LONGEST, TOKEN_TYPES)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=rng)
    return layer


def draw_ids(rng):
    return torch.randint(V, (B, T), generator=rng), torch.randint(TOKEN_TYPES, (B, T), generator=rng)


@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_F21_sinusoids_by_a_double_loop(width, double):
    table = sinusoids(40, width)
    assert table.shape == (40, width)
    for pos in range(40):
        for j in range(width):
            i = j // 2
            angle = pos / 10000 ** (2 * i / width)
            assert table[pos, j].item() == pytest.approx(math.cos(angle) if j % 2 else math.sin(angle), abs=1e-12)


def test_F21_sinusoids_are_worked_out_in_double_and_rounded_once():
    """At position 4999, a float32 angle and its sine already have an error of 1e-5."""
    position = torch.arange(5000, dtype=torch.float64)
    sine, table = (position / 10000 ** (2 / 8)).sin(), sinusoids(5000, 8)
    assert table.dtype == torch.float32
    assert (table[:, 2].double() - sine).abs().max() < 1e-7
    assert ((position.float() / 10000 ** (2 / 8)).sin().double() - sine).abs().max() > 1e-6


def test_F21_the_sum_of_three_normed(layer, rng):
    ids, token_type_ids = draw_ids(rng)
    out = layer(ids, token_type_ids)
    for b in range(B):
        for t in range(T):
            summed = (
                layer.tokens.weight[ids[b, t]]
                + layer.positions.weight[t]
                + layer.token_types.weight[token_type_ids[b, t]]
            )
            equal(out[b, t], layer_norm(summed, layer.norm.gain, layer.norm.bias, layer.norm.epsilon))


def test_F21_the_gradient_reaches_each_table_where_it_was_read(layer, rng):
    ids, token_type_ids = draw_ids(rng)
    out = layer(ids, token_type_ids)
    upstream = torch.randn(out.shape, generator=rng)
    got = torch.autograd.grad(out, list(layer.parameters()), upstream)
    summed = (
        torch.nn.functional.one_hot(ids, V).double() @ layer.tokens.weight
        + layer.positions.weight[:T]
        + torch.nn.functional.one_hot(token_type_ids, TOKEN_TYPES).double() @ layer.token_types.weight
    )
    normed = layer_norm(summed, layer.norm.gain, layer.norm.bias, layer.norm.epsilon)
    want = torch.autograd.grad(normed, list(layer.parameters()), upstream)
    equal(got, want, atol=1e-10)
    assert (got[1][T:] == 0).all()  # these positions are beyond the text


def test_F21_without_token_type_ids_all_is_the_first_segment(layer, rng):
    ids, _ = draw_ids(rng)
    equal(layer(ids), layer(ids, torch.zeros_like(ids)), atol=0)


def test_F21_positions_tell_one_order_of_tokens_from_another(layer, rng):
    ids = torch.arange(5)[None]
    assert (layer(ids)[0, [1, 0]] - layer(ids[:, [1, 0, 2, 3, 4]])[0, [0, 1]]).abs().max() > 0.1


def test_F21_sinusoidal_positions_are_fixed(double):
    layer = Embeddings(V, C, LONGEST, positions="sinusoidal")
    equal(layer.positions.weight.detach(), sinusoids(LONGEST, C), atol=0)
    layer(torch.zeros(1, LONGEST, dtype=torch.int64)).square().sum().backward()
    assert layer.positions.weight.grad is None and layer.tokens.weight.grad is not None
    assert "positions.weight" in layer.state_dict()


def test_a_text_may_be_as_long_as_the_table_and_not_longer(layer):
    assert layer(torch.zeros(1, LONGEST, dtype=torch.int64)).shape == (1, LONGEST, C)
    with pytest.raises(InputError, match="a text of 10 tokens does not fit: this model takes 9"):
        layer(torch.zeros(1, LONGEST + 1, dtype=torch.int64))


def test_a_layer_of_one_segment_refuses_a_second_one():
    ids, second = torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[0, 0, 1]])
    single = Embeddings(V, C, LONGEST, token_types=1)
    equal(single(ids, torch.zeros_like(ids)), single(ids), atol=0)
    with pytest.raises(InputError, match=r"made for single texts \(it has one token type\), and it was given a pair"):
        single(ids, second)
    Embeddings(V, C, LONGEST, token_types=2)(ids, second)


def test_an_unknown_kind_of_positions_is_named():
    with pytest.raises(
        InputError, match="positions 'round' are not known: choose one of relative, learned, sinusoidal, rotary"
    ):
        Embeddings(V, C, LONGEST, positions="round")


def test_dropout_comes_last_and_only_in_training():
    layer = Embeddings(V, 50, LONGEST, dropout=0.5)
    ids = torch.zeros(3, LONGEST, dtype=torch.int64)
    zeros = (layer(ids) == 0).double().mean().item()
    assert 0.4 < zeros < 0.6
    assert (layer.eval()(ids) != 0).all()
