"""Heads and blocks taken out for a while: against models whose weights say the same.  F36."""

import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.layers.attention import merge_heads
from minilm.layers.pruning import kept_rows, with_zeroed_heads
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.training.ablation import every_head, head_means, skipping, without

ROWS = [[2, 7, 9, 3], [2, 11, 5, 8, 13, 3], [2, 21, 3]]
TYPES = [[0, 0, 1, 1], [0, 0, 0, 1, 1, 1], [0, 0, 0]]
DATA = Dataset(
    {"input_ids": ROWS, "token_type_ids": TYPES, "labels": [0, 2, 1]}, {"input_ids": 0, "token_type_ids": 0}, [0, 1, 2]
)
BATCH = DATA.batch([0, 1, 2])
GIVEN = BATCH.input_ids, BATCH.token_type_ids, BATCH.attention_mask


def small(pooling: str) -> Classifier:
    config = TransformerConfig(30, 12, layers=3, heads=4, feed_forward=16, max_length=12, positions="relative")
    model = Classifier(Bert(config), TextHeadConfig(("a", "b", "c"), 0.0, pooling))
    initialise(model, "neighbours", torch.Generator().manual_seed(5))
    return model.double().eval()


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("heads", [[(0, 1)], [(1, 0), (1, 3), (2, 2)], "all"])
def test_F36_by_zero_is_a_model_whose_columns_are_zero(pooling, heads):
    model = small(pooling)
    heads = every_head(model) if heads == "all" else heads
    assert len(every_head(model)) == 12
    plain, expected = model(*GIVEN), with_zeroed_heads(model, heads)(*GIVEN)
    with without(model, heads) as changed:
        found = changed(*GIVEN)
    assert torch.allclose(found, expected, atol=1e-12) and not torch.allclose(found, plain, atol=1e-4)
    assert torch.equal(model(*GIVEN), plain)  # everything is back


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_F36_by_mean_is_a_model_whose_bias_says_the_mean(pooling):
    model, lost = small(pooling), [(0, 2), (2, 0), (2, 1)]
    means = head_means(model, DATA)
    with without(model, lost, means):
        found = model(*GIVEN)
    other = with_zeroed_heads(model, lost)
    for layer, head in lost:
        attention = model.encoder.stack.layers[layer].attention
        rows = kept_rows(attention, [head])
        other.encoder.stack.layers[layer].attention.output.bias += attention.output.weight[:, rows] @ means[layer][rows]
    assert torch.allclose(found, other(*GIVEN), atol=1e-12)


@torch.no_grad()
def test_F36_the_mean_of_a_head_is_that_of_a_loop_over_texts_without_padding():
    model = small("mean")
    every = [[], [], []]
    for row, types in zip(ROWS, TYPES, strict=True):
        x = model.encoder.embeddings(torch.tensor([row]), torch.tensor([types]))
        bias = model.encoder.stack.relative_bias(len(row), len(row), start=0)
        for layer, block in enumerate(model.encoder.stack.layers):
            q, k, v = block.attention.project(x, None)
            weights = (q @ k.transpose(-2, -1) / 3**0.5 + bias).softmax(dim=-1)
            every[layer].append(merge_heads(weights @ v)[0])
            x, _ = block(x, bias=bias)
    for found, mine in zip(head_means(model, DATA), every, strict=True):
        assert np.allclose(found, torch.cat(mine).mean(dim=0), atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_F36_a_block_that_is_skipped_is_a_model_without_it(pooling):
    for gone in ([1], [0, 2], [0, 1, 2]):
        model, other = small(pooling), small(pooling)
        with skipping(model, gone):
            found = model(*GIVEN)
        kept = [block for i, block in enumerate(other.encoder.stack.layers) if i not in gone]
        x = other.encoder.embeddings(*GIVEN[:2])
        bias = other.encoder.stack.relative_bias(x.size(1), x.size(1), start=0)
        for block in kept:
            x, _ = block(x, GIVEN[2][:, None, None, :], bias=bias)
        weights = GIVEN[2].double()[:, :, None]
        pooled = other.pooler(x) if pooling == "cls" else (x * weights).sum(dim=1) / weights.sum(dim=1)
        assert torch.allclose(found, other.head(pooled), atol=1e-12)


def test_F36_what_does_not_exist_is_named():
    model = small("mean")
    with pytest.raises(InputError, match="no head 5 in layer 1"), without(model, [(0, 4)]):
        pass
    with pytest.raises(InputError, match="no block 4: the model has 3"), skipping(model, [3]):
        pass
