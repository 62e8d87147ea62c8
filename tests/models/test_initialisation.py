import math

import numpy as np
import pytest
import torch
from torch import nn

from minilm.errors import InputError
from minilm.layers.positions import sinusoids
from minilm.models.config import TransformerConfig
from minilm.models.bert import BertForPretraining
from minilm.models.initialisation import OFFSETS, WORDS, initialise, turn, warm_start

TINY = TransformerConfig(vocab_size=13, width=6, layers=2, heads=3, feed_forward=10, max_length=9)
MEDIUM = TransformerConfig(vocab_size=900, width=48, heads=4, feed_forward=130, max_length=40)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def started(config, scheme, seed=0):
    model = BertForPretraining(config)
    initialise(model, scheme, seeded(seed))
    return model


def assert_deviation(weight, deviation):
    """Mean 0 and the deviation that was asked for, each within 5 standard errors."""
    n = weight.numel()
    assert abs(weight.mean().item()) < 5 * deviation / math.sqrt(n)
    assert weight.std().item() == pytest.approx(deviation, rel=5 / math.sqrt(2 * n))


@pytest.mark.parametrize("scheme", ["fan-in", "published"])
def test_every_weight_has_the_deviation_that_the_scheme_names(scheme):
    model, published = BertForPretraining(MEDIUM), scheme == "published"
    for module in model.modules():  # whatever it was before
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
            assert torch.equal(parameter, sinusoids(40, 48) * WORDS)
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
    assert torch.equal(started(config, scheme).bert.embeddings.positions.weight, sinusoids(9, 6))


def test_F18_neighbours_start_out_being_looked_at():
    """Each of the first heads gives a random word's neighbour, at its offset, far more than half of its attention."""
    config = TransformerConfig(vocab_size=900, width=192, heads=6, feed_forward=64, max_length=64, layers=1)
    model = started(config, "neighbours")
    ids = torch.randint(900, (8, 64), generator=seeded(1))
    (weights,) = model(ids, need_weights=True).attentions  # [B, H, T, T]
    for head, offset in enumerate(OFFSETS):
        inside = range(max(0, -offset), 64 - max(0, offset))
        at_offset = torch.stack([weights[:, head, t, t + offset] for t in inside])
        assert at_offset.mean() > 0.6, (head, offset)
    (weights,) = started(config, "fan-in")(ids, need_weights=True).attentions
    assert all(weights[:, head].diagonal(offset=o, dim1=1, dim2=2).mean() < 0.2 for head, o in enumerate(OFFSETS))


def test_F21_turn_moves_the_waves_by_so_many_words():
    waves = sinusoids(20, 8)
    frequency = 10000 ** (-torch.arange(0, 8, 2) / 8)
    for words in (-2, 1, 3):
        moved = waves @ turn(frequency * words).T
        torch.testing.assert_close(moved[5:12], waves[5 + words : 12 + words], atol=1e-6, rtol=0)


def test_F34_word_vectors_keep_the_size_of_the_table_and_leave_the_first_features():
    table = nn.Embedding(50, 8)
    nn.init.normal_(table.weight, 0, 0.08, generator=seeded())
    before = table.weight.detach().clone()
    vectors = np.random.default_rng(0).normal(0, 3, (50, 5)).astype(np.float32)
    vectors[[4, 7]] = 0  # words that were not seen
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


def test_F18_the_other_heads_start_out_looking_at_words_like_their_own():
    """Of forty places, twenty hold a word that stands once more: it gets far more than a fortieth of the attention."""
    config = TransformerConfig(vocab_size=900, width=128, heads=4, feed_forward=64, max_length=64, layers=1)
    twin = (torch.arange(40) + 20) % 40

    def on_twins(scheme):
        """Mean weight of a word on itself and on its twin, for each of the other heads."""
        own, other = [], []
        for seed in range(8):
            ids = torch.randperm(900, generator=seeded(seed))[:20].repeat(2)
            (weights,) = started(config, scheme, seed)(ids[None], need_weights=True).attentions  # [1, H, T, T]
            weights = weights[0, len(OFFSETS) :]
            own.append(weights.diagonal(dim1=1, dim2=2).mean(dim=1))
            other.append(weights[:, torch.arange(40), twin].mean(dim=1))
        return torch.stack(own).mean(dim=0), torch.stack(other).mean(dim=0)

    own, other = on_twins("neighbours")
    assert (own + other > 0.5).all() and (other > 5 / 40).all()
    own, other = on_twins("fan-in")
    assert (other < 3 / 40).all()


def test_F18_neighbours_are_looked_at_at_the_width_of_the_quickstart_too():
    config = TransformerConfig(vocab_size=900, width=128, heads=4, feed_forward=64, max_length=64, layers=1)
    ids = torch.randint(900, (4, 64), generator=seeded(1))
    (weights,) = started(config, "neighbours")(ids, need_weights=True).attentions
    for head, offset in enumerate(OFFSETS):
        assert weights[:, head].diagonal(offset=offset, dim1=1, dim2=2).mean() > 0.5


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("scheme", ["neighbours", "fan-in", "published"])
def test_every_shape_starts_and_has_a_gradient(norm, scheme):
    """Odd widths, a single head, heads of one feature, more heads than a segment has features."""
    shapes = [(6, 3), (7, 1), (6, 2), (5, 5), (9, 3), (96, 48), (128, 64), (1, 1), (33, 3)]
    for width, heads in shapes:
        for layers in (1, 2):
            shape = dict(width=width, heads=heads, layers=layers, feed_forward=2 * width)
            config = TransformerConfig(vocab_size=30, max_length=9, norm=norm, **shape)
            model = started(config, scheme)
            ids = torch.randint(5, 30, (3, 9), generator=seeded())
            token_type_ids = (torch.arange(9) > 4).long().expand(3, 9)
            scores = model(ids, token_type_ids)
            upstream = torch.randn(scores.words.shape, generator=seeded(1))
            (scores.words * upstream).mean().add(scores.is_next[:, 0].mean()).backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(torch.isfinite(g).all() for g in gradients), (width, heads, layers)


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
    """None at all, all alike, a single one: there is no size to be measured by, and no number may be lost."""
    table = nn.Embedding(7, 3)
    warm_start(table, vectors.astype(np.float32))
    assert torch.isfinite(table.weight).all() and table.weight.std() > 0
