"""GPT: what it may see, where it stands, and how it starts. Its numbers are held against `transformers` in test_gpt2.py."""

import pytest
import torch
from writers import V, gpt

from minilm.errors import InputError
from minilm.layers.transformer import use_fused
from minilm.models.gpt import GPT, GPTConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise

B, T = 3, 9
POSITIONS = ("relative", "learned", "sinusoidal", "rotary")


def tokens(*shape, seed=0):
    return torch.randint(V, shape, generator=torch.Generator().manual_seed(seed))


def equal(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


@pytest.mark.parametrize("positions", POSITIONS)
@torch.no_grad()
def test_F23_a_position_sees_the_tokens_up_to_its_own_and_no_other(positions):
    model, ids = gpt(positions), tokens(B, T)
    before = model(ids)
    assert before.shape == (B, T, V)
    for t in range(T):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % V
        apart = (model(changed) - before).abs().amax(dim=(0, 2))  # [T]
        assert (apart[:t] < 1e-13).all()
        assert apart[t:].min() > 1e-3


@pytest.mark.parametrize("positions", POSITIONS)
@torch.no_grad()
def test_the_formulas_written_out_give_the_same_numbers_as_the_kernels(positions):
    model, ids = gpt(positions), tokens(B, T)
    mask = torch.arange(T) >= torch.tensor([[0], [4], [2]])
    fast = [model(ids), model(ids, mask)[mask]]
    use_fused(model, False)
    equal(fast[0], model(ids))
    equal(fast[1], model(ids, mask)[mask])


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("side", ["in front", "at the end"])
@torch.no_grad()
def test_padding_changes_nothing_wherever_it_stands(positions, side):
    model, lengths = gpt(positions), (9, 1, 4)
    rows = [tokens(n, seed=n) for n in lengths]
    ids, mask = torch.zeros(B, T, dtype=torch.long), torch.zeros(B, T, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(T - len(row), T) if side == "in front" else slice(0, len(row))
        ids[i, place], mask[i, place] = row, True
    logits = model(ids, mask)
    for i, row in enumerate(rows):
        equal(logits[i, mask[i]], model(row[None])[0])


@pytest.mark.parametrize("positions", ["relative", "rotary"])
@torch.no_grad()
def test_F21_the_context_moves_along_and_does_not_depend_on_the_place(positions):
    """Behind W tokens, one layer sees the last W alone: the same as a text that begins there."""
    model, ids = gpt(positions, layers=1, max_length=5), tokens(B, 13)
    logits = model(ids)
    for t in range(5, 13):
        equal(logits[:, t], model(ids[:, t - 4 : t + 1])[:, -1])
        assert (logits[:, t] - model(ids[:, t - 5 : t + 1])[:, -1]).abs().max() < 1e-12  # it does not see the sixth
        assert (logits[:, t] - model(ids[:, t - 3 : t + 1])[:, -1]).abs().max() > 1e-3  # it does see the fifth


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_a_table_of_positions_ends_the_text(positions):
    model = gpt(positions, max_length=5)
    model(tokens(B, 5))
    with pytest.raises(InputError, match="a text of 6 tokens does not fit: this model takes 5"):
        model(tokens(B, 6))
    mask = torch.arange(6) >= torch.tensor([[1], [2], [3]])
    model(tokens(B, 6), mask)  # no row has more than five tokens
    with pytest.raises(InputError, match="a text of 6 tokens does not fit"):
        model(tokens(B, 6), mask | (torch.arange(B) == 1)[:, None])


def test_the_output_weights_are_the_embeddings():
    model = gpt()
    assert sum(p.numel() for p in model.parameters() if p.shape == (V, 12)) == V * 12
    hidden = model.encoder(tokens(B, T)).hidden
    equal(model(tokens(B, T)), hidden @ model.encoder.tokens.weight.T)


def test_F21_the_heads_start_by_looking_at_the_four_tokens_before():
    config = GPTConfig(V, 12, 2, 3, 20, 40)
    for scheme, peak in (("neighbours", 4.0), ("fan-in", 0.0)):
        model = GPT(config)
        initialise(model, scheme, torch.Generator().manual_seed(0))
        bias = model.encoder.stack.relative_bias(1, 40, start=39)[0, :, 0]  # of the last query: keys 0 to 39
        for head, offset in enumerate((-1, -2, -3)):
            wanted = torch.zeros(40)
            wanted[39 + offset] = peak
            equal(bias[head].detach(), wanted)
    one, other = (GPT(config) for _ in range(2))
    for model, seed in ((one, 1), (other, 1)):
        initialise(model, "neighbours", torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_F07_a_classifier_stands_on_the_last_token_or_on_the_mean():
    ids, mask = tokens(B, T), torch.arange(T) < torch.tensor([[9], [2], [5]])
    for pooling in ("last", "mean"):
        model = Classifier(gpt().encoder, TextHeadConfig(("a", "b"), 0.0, pooling)).double().eval()
        alone = torch.cat([model(ids[i : i + 1, :n]) for i, n in enumerate((9, 2, 5))])
        equal(model(ids, None, mask), alone)
    assert [
        model.depth_of(name) for name in ("encoder.tokens.weight", "encoder.stack.layers.1.attention.output.bias")
    ] == [0, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 10}, "width 10 is not divisible by 3 heads"),
        ({"positions": "mpnet"}, "positions 'mpnet' is not known: choose one of relative, learned, sinusoidal, rotary"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"width": 9, "positions": "rotary"}, "rotary positions turn pairs of features, and a head has 3"),
        ({"dropout": 1.0}, "dropout 1.0 is not in"),
    ],
)
def test_an_impossible_shape_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        GPTConfig(**dict(vocab_size=V, width=12, layers=2, heads=3) | change)
