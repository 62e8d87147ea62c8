"""The importance of heads: slopes by finite differences, and which heads go first."""

import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.layers.pruning import kept_rows, without_heads
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.training.head_importance import head_importance, least_important


@pytest.fixture(scope="module")
def model():
    config = TransformerConfig(30, 12, layers=2, heads=3, feed_forward=16, max_length=12)
    model = Classifier(Bert(config), TextHeadConfig(("a", "b", "c"), 0.0))
    initialise(model, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        model.head.weight.mul_(5)
    return model.double().eval()


ROWS = [[2, 7, 9, 3], [2, 11, 5, 8, 13, 3], [2, 21, 3]]
DATA = Dataset({"input_ids": ROWS, "labels": [0, 2, 1]}, {"input_ids": 0}, [0, 1, 2])


def test_importance_is_the_mean_size_of_the_slope_by_finite_differences(model):
    found = head_importance(model, DATA)
    for layer, block in enumerate(model.encoder.stack.layers):
        for head in range(3):
            columns, weight = kept_rows(block.attention, [head]), block.attention.output.weight
            whole, slopes = weight.detach().clone(), []
            for row, label in zip(ROWS, [0, 2, 1]):
                losses = []
                for factor in (1 + 1e-5, 1 - 1e-5):
                    with torch.no_grad():
                        weight[:, columns] = whole[:, columns] * factor
                        logits = model(torch.tensor([row]))
                        losses.append(float(torch.nn.functional.cross_entropy(logits, torch.tensor([label]))))
                        weight.copy_(whole)
                slopes.append((losses[0] - losses[1]) / 2e-5)
            assert found[layer][head] == pytest.approx(np.mean(np.abs(slopes)), abs=1e-9)
    assert not any(block.attention.output._forward_pre_hooks for block in model.encoder.stack.layers)


def test_the_heads_that_matter_least_go_first_and_each_layer_keeps_one(model):
    scaled = [each / np.linalg.norm(each) for each in head_importance(model, DATA)]
    (first,) = least_important(model, DATA, 1 / 6)
    assert scaled[first[0]][first[1]] == min(map(min, scaled))
    most = least_important(model, DATA, 0.99)
    assert len(most) == 4 and sorted(layer for layer, _ in most) == [0, 0, 1, 1]
    assert [block.attention.heads for block in without_heads(model, most).encoder.stack.layers] == [1, 1]
    assert least_important(model, DATA, 0.0) == []
    with pytest.raises(InputError, match="the share of heads"):
        least_important(model, DATA, 1.0)
