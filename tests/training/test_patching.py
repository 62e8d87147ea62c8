"""Patching: everything is the other text, nothing is the text itself, and the parts of a linear head add up.  F36."""

import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig, TokenHeadConfig
from minilm.models.initialisation import initialise
from minilm.training.patching import Swap, Texts, levels_of, moved, patching

B, T, L = 2, 5, 3
X = Texts(torch.tensor([[2, 7, 9, 11, 3], [2, 5, 8, 13, 3]]), torch.tensor([[0, 0, 1, 1, 1]] * B))
OTHER = Texts(torch.tensor([[2, 6, 9, 12, 3], [2, 8, 5, 14, 3]]), torch.tensor([[0, 0, 1, 1, 1]] * B))
EVERYTHING, NOTHING = torch.ones(B, T).bool(), torch.zeros(B, T).bool()
CLASSES = torch.tensor([[2, 0], [1, 2]])


def small(kind: str) -> Classifier:
    config = TransformerConfig(30, 12, layers=L, heads=4, feed_forward=16, max_length=12, positions="relative")
    labels = ("a", "b", "c")
    head = TokenHeadConfig(labels, 0.0) if kind == "tags" else TextHeadConfig(labels, 0.0, kind)
    model = Classifier(Bert(config), head)
    initialise(model, "neighbours", torch.Generator().manual_seed(5))
    with torch.no_grad():
        model.head.weight.mul_(5)
    return model.double().eval()


def swap(kind: str) -> Swap:
    return Swap(X, OTHER, CLASSES, torch.tensor([3, 1]) if kind == "tags" else None)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mean", "cls", "tags"])
def test_F36_patching_everything_is_the_other_text_and_patching_nothing_changes_nothing(kind):
    model = small(kind)
    own, other, there = model(*X), model(*OTHER), levels_of(model, OTHER)
    assert len(there) == L + 1 and not torch.allclose(own, other, atol=1e-3)
    for level, states in enumerate(there):
        with patching(model, level, states, EVERYTHING):
            assert torch.allclose(model(*X), other, atol=1e-12)
        with patching(model, level, states, NOTHING):
            assert torch.equal(model(*X), own)
    assert torch.equal(model(*X), own)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["mean", "cls", "tags"])
def test_F36_what_is_moved_is_what_a_run_by_hand_moves(kind):
    """By hand: the blocks one after the other, with the states of some positions exchanged in between."""
    model, groups = small(kind), [torch.arange(T).repeat(B, 1) == t for t in range(T)]
    found, whole = moved(model, swap(kind), groups)
    assert found.shape == (L + 1, T, B)

    def run(level: int, t: int) -> torch.Tensor:
        states = [model.encoder.embeddings(*texts) for texts in (X, OTHER)]
        bias = model.encoder.stack.relative_bias(T, T, start=0)
        for i, block in enumerate([*model.encoder.stack.layers, None]):
            if i == level and t >= 0:
                states[0] = states[0].clone()
                states[0][:, t] = states[1][:, t]
            if block is not None:
                states = [block(x, bias=bias)[0] for x in states]
        x = states[0]
        x = x.mean(dim=1) if kind == "mean" else model.pooler(x) if kind == "cls" else x[[0, 1], [3, 1]]
        z = model.head(x)
        return z[[0, 1], CLASSES[:, 0]] - z[[0, 1], CLASSES[:, 1]]

    for level in range(L + 1):
        for t in range(T):
            assert np.allclose(found[level, t], run(level, t) - run(0, -1), atol=1e-12)
    if kind == "mean":  # the head is linear, so behind the last block the positions add up to the whole
        assert np.allclose(found[L].sum(axis=0), whole, atol=1e-12)
        assert not np.allclose(found[0].sum(axis=0), whole, rtol=1e-3)
    else:  # one position is read
        assert np.allclose(found[L].sum(axis=0), whole, atol=1e-12) and np.count_nonzero(found[L]) == B


def test_F36_a_level_that_does_not_exist_is_named():
    model = small("mean")
    with pytest.raises(InputError, match="no level 4: the model has the levels 0 to 3"):
        with patching(model, 4, torch.zeros(B, T, 12), EVERYTHING):
            pass
