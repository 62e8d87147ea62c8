import math

import numpy as np
import pytest
import torch
from tiny import seeded, started
from torch import nn

from minilm.errors import InputError
from minilm.layers.positions import sinusoids
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig
from minilm.models.initialisation import initialise, warm_start
from minilm.models.wave_start import TOKENS

TINY = TransformerConfig(vocab_size=13, width=6, layers=2, heads=3, feed_forward=10, max_length=9)
MEDIUM = TransformerConfig(vocab_size=900, width=48, heads=4, feed_forward=130, max_length=40)


def assert_deviation(weight, deviation):
    """Assert that the mean is 0 and the deviation is as requested, each within 5 standard errors."""
    n = weight.numel()
    assert abs(weight.mean().item()) < 5 * deviation / math.sqrt(n)
    assert weight.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))


@pytest.mark.parametrize("scheme", ["fan-in", "published"])
def test_every_weight_has_the_deviation_that_the_scheme_names(scheme):
    model, published = BertForPretraining(MEDIUM), scheme == "published"
    for module in model.modules():  # the old values must not matter
        if isinstance(module, nn.Linear | nn.Embedding):
            for parameter in module.parameters():
                nn.init.constant_(parameter, 7.0)
    initialise(model, scheme, seeded())
    for name, parameter in model.named_parameters():
        if name.endswith(".bias"):
            assert (parameter == 0).all(), name
        elif name.endswith(".gain"):
            assert (parameter == 1).all(), name
        elif name.endswith("positions.weight") and not published:
            assert torch.equal(parameter, sinusoids(40, 48) * TOKENS)
        elif ".embeddings." in name:
            assert_deviation(parameter, 0.02 if published else 0.08)
        else:
            assert_deviation(parameter, 0.02 if published else parameter.size(1) ** -0.5)


@pytest.mark.parametrize("scheme", ["neighbours", "fan-in", "published"])
def test_the_same_seed_gives_the_same_bits(scheme):
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(models))  # the global generator must not matter
        models.append(started(TINY, scheme, seed))
    first, again, other = (nn.utils.parameters_to_vector(model.parameters()) for model in models)
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("scheme", ["neighbours", "fan-in", "published"])
def test_F21_fixed_sinusoids_stay_what_they_are(scheme):
    config = TransformerConfig(vocab_size=13, width=6, heads=3, feed_forward=10, max_length=9, positions="sinusoidal")
    assert torch.equal(started(config, scheme).encoder.embeddings.positions.weight, sinusoids(9, 6))


def test_F34_word_vectors_keep_the_size_of_the_table_and_leave_the_first_features():
    table = nn.Embedding(50, 8)
    nn.init.normal_(table.weight, 0, 0.08, generator=seeded())
    before = table.weight.detach().clone()
    vectors = np.random.default_rng(0).normal(0, 3, (50, 5)).astype(np.float32)
    vectors[[4, 7]] = 0  # these tokens never occurred
    warm_start(table, vectors)
    after = table.weight.detach()
    seen = torch.from_numpy(vectors.any(axis=1))
    assert torch.equal(after[:, :3], before[:, :3]) and torch.equal(after[~seen], before[~seen])
    ratio = after[seen, 3:] / torch.from_numpy(vectors)[seen]
    torch.testing.assert_close(ratio, ratio[0, 0].expand_as(ratio))
    assert after[seen, 3:].std().item() == pytest.approx(before[:, 3:].std().item(), rel=1e-5)


def test_an_unknown_scheme_is_named():
    with pytest.raises(InputError, match="initialisation 'zero' is not known: choose one of"):
        initialise(BertForPretraining(TINY), "zero")


def test_F34_word_vectors_keep_their_angles():
    table = nn.Embedding(20, 9)
    initialise(table, "fan-in", seeded())
    vectors = np.random.default_rng(0).normal(0, 3, (20, 6)).astype(np.float32)
    warm_start(table, vectors)
    ours, theirs = table.weight.detach()[:, 3:], torch.from_numpy(vectors)
    cosine = nn.functional.cosine_similarity
    torch.testing.assert_close(cosine(ours[:, None], ours[None], dim=-1), cosine(theirs[:, None], theirs[None], dim=-1))


@pytest.mark.parametrize("vectors", [np.zeros((7, 2)), np.eye(7, 2)[::-1] * 0 + [[1, 1]], np.eye(7, 1)])
def test_F34_vectors_without_a_spread_change_nothing_for_the_worse(vectors):
    """With only zeros, equal vectors or a single vector, there is no spread to scale by, and no value may become NaN."""
    table = nn.Embedding(7, 3)
    warm_start(table, vectors.astype(np.float32))
    assert torch.isfinite(table.weight).all() and table.weight.std() > 0


class Toy(nn.Module):
    """Not a BERT: it has linear layers without bias, two tables (one frozen, one with padding), a gain and its own start."""

    def __init__(self):
        super().__init__()
        self.table, self.padded = nn.Embedding(300, 40), nn.Embedding(300, 40, padding_idx=2)
        self.frozen = nn.Embedding(30, 40).requires_grad_(False)
        self.narrow, self.wide = nn.Linear(40, 500, bias=False), nn.Linear(500, 40)
        self.gain = nn.Parameter(torch.full((40,), 3.0))
        self.part = Part(self.narrow)


class Part(nn.Module):
    def __init__(self, narrow):
        super().__init__()
        self.narrow, self.calls = narrow, []

    def start(self, scheme):
        self.calls.append((scheme, self.narrow.weight.std().item()))


@pytest.mark.parametrize("scheme", ["neighbours", "fan-in", "published"])
def test_any_model_is_initialised_and_its_start_is_called_once_after_the_draws(scheme):
    model, published = Toy(), scheme == "published"
    model.again = model.part  # a shared module is initialised only once
    frozen = model.frozen.weight.clone()
    for weight in (model.narrow.weight, model.wide.weight, model.table.weight, model.padded.weight):
        nn.init.constant_(weight, 7.0)
    initialise(model, scheme, seeded())
    assert_deviation(model.narrow.weight, 0.02 if published else 40**-0.5)
    assert_deviation(model.wide.weight, 0.02 if published else 500**-0.5)
    assert_deviation(model.table.weight, 0.02 if published else 0.08)
    assert (model.padded.weight[2] == 0).all()
    assert_deviation(model.padded.weight[torch.arange(300) != 2], 0.02 if published else 0.08)
    assert (model.wide.bias == 0).all() and (model.gain == 3).all() and torch.equal(model.frozen.weight, frozen)
    assert model.part.calls == ([] if published else [(scheme, model.narrow.weight.std().item())])


def test_a_model_without_a_start_gets_the_same_draws_under_both_schemes():
    models = [nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 5, bias=False)) for _ in range(2)]
    for model, scheme in zip(models, ("neighbours", "fan-in"), strict=True):
        initialise(model, scheme, seeded())
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
