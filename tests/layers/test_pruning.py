"""Pruning: the smallest weights become 0, and a model without heads computes what it would with their columns of W^O at 0."""

import pytest
import torch
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.layers.eight_bit import in_eight_bits
from minilm.layers.pruning import with_zeroed_heads, without_heads, without_smallest, zero_smallest
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.models.sentence_encoder import SentenceEncoder

IDS = torch.tensor([[2, 7, 9, 30, 3, 0], [2, 5, 8, 11, 14, 3]])
MASK = torch.tensor([[True] * 5 + [False], [True] * 6])


def small(positions="relative", heads=4):
    config = TransformerConfig(50, width=24, layers=3, heads=heads, feed_forward=20, max_length=16, positions=positions)
    model = SentenceEncoder(Bert(config))
    initialise(model, "neighbours", torch.Generator().manual_seed(0))
    return model.double().eval()


@pytest.mark.parametrize(
    ("positions", "pruned", "fused"),
    [
        ("relative", [(1, 1), (1, 2), (1, 3), (2, 0)], True),
        ("relative", [(0, 0), (0, 3), (2, 1)], False),
        ("learned", [(0, 2)], True),
        ("rotary", [(0, 0), (2, 3)], False),
    ],
)
def test_a_model_without_heads_equals_one_whose_heads_are_0(positions, pruned, fused):
    model = small(positions)
    smaller, zeroed = without_heads(model, pruned), with_zeroed_heads(model, pruned)
    for one in (smaller, zeroed):
        for block in one.encoder.stack.layers:
            block.attention.fused = fused
    with torch.no_grad():
        a, b, whole = (one(IDS, None, MASK) for one in (smaller, zeroed, model))
        first = torch.zeros(2, 1, dtype=torch.int64)
        c, d = (one.encoder(IDS, None, MASK, query_positions=first).hidden for one in (smaller, zeroed))
    torch.testing.assert_close(a, b, atol=1e-12, rtol=0)
    torch.testing.assert_close(c, d, atol=1e-12, rtol=0)
    assert (a - whole).abs().max() > 1e-3
    lost = len(pruned) * 6 * 4 * 24 + len(pruned) * 3 * 6  # columns and rows of four matrices, and three biases
    count = [sum(p.numel() for p in one.parameters()) for one in (model, smaller)]
    assert count[0] - count[1] == lost


def test_heads_are_removed_in_two_steps_as_in_one():
    model = small()
    once = without_heads(model, [(0, 1), (0, 2)])
    twice = without_heads(without_heads(model, [(0, 1)]), [(0, 1)])  # the third head is the second one now
    with torch.no_grad():
        torch.testing.assert_close(once(IDS, None, MASK), twice(IDS, None, MASK), atol=0, rtol=0)
    assert twice.encoder.stack.layers[0].attention.kept == [0, 3]
    weights = once.encoder(IDS, None, MASK, need_weights=True).attentions
    assert [layer.size(1) for layer in weights] == [2, 4, 4]


def test_what_cannot_be_removed_is_refused():
    with pytest.raises(InputError, match="there is no head 5 in layer 1"):
        without_heads(small(), [(0, 4)])
    with pytest.raises(InputError, match="layer 2 would lose all its 4 heads"):
        without_heads(small(), [(1, head) for head in range(4)])
    with pytest.raises(InputError, match="this is a Int8Linear: remove them first"):
        without_heads(in_eight_bits(small()), [(0, 0)])
    with pytest.raises(InputError, match="no attention heads"):
        without_heads(SentenceEncoder(LSTMEncoder(LSTMConfig(50, 8)), False), [(0, 0)])
    with pytest.raises(InputError, match="the share"):
        without_smallest(small(), 1.0)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12), st.floats(0, 0.99))
def test_the_share_nearest_to_0_becomes_0_and_the_rest_stays(values, share):
    weight = torch.tensor([values], dtype=torch.float64)
    before, count = weight.clone(), int(share * len(values))
    zero_smallest(weight, share)
    changed = weight != before
    assert (weight[changed] == 0).all()
    if count:  # what stays is not nearer to 0 than the last that went
        limit = before.abs().flatten().sort().values[count - 1]
        assert (before.abs()[changed] <= limit).all() and (weight[before.abs() > limit] != 0).all()
    assert int((weight == 0).sum()) >= count


def test_each_linear_layer_of_the_encoder_loses_its_share():
    model = small()
    sparse = without_smallest(model, 0.5)
    for name, module in sparse.encoder.named_modules():
        if isinstance(module, torch.nn.Linear):
            before = model.encoder.get_submodule(name).weight
            assert (module.weight == 0).sum() == module.weight.numel() // 2
            assert torch.equal(module.weight[module.weight != 0], before[module.weight != 0])
    assert torch.equal(sparse.encoder.token_table.weight, model.encoder.token_table.weight)
