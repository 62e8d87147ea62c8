"""How BERT is initialised: some heads attend to neighbouring tokens, the others to equal tokens."""

import pytest
import torch
from tiny import seeded, started

from minilm.layers.positions import sinusoids
from minilm.models.config import TransformerConfig
from minilm.models.wave_start import OFFSETS, turn


def test_F18_the_first_heads_start_out_attending_to_neighbours():
    """Each of the first heads gives far more than half of its attention to the neighbour at its offset."""
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


def test_F21_turn_moves_the_waves_by_so_many_tokens():
    waves = sinusoids(20, 8)
    frequency = 10000 ** (-torch.arange(0, 8, 2) / 8)
    for offset in (-2, 1, 3):
        moved = waves @ turn(frequency * offset).T
        torch.testing.assert_close(moved[5:12], waves[5 + offset : 12 + offset], atol=1e-6, rtol=0)


def test_F18_the_other_heads_start_out_attending_to_tokens_like_their_own():
    """Of forty positions, twenty hold a token that occurs twice; its twin gets far more than 1/40 of the attention."""
    config = TransformerConfig(vocab_size=900, width=128, heads=4, feed_forward=64, max_length=64, layers=1)
    twin = (torch.arange(40) + 20) % 40

    def on_twins(scheme):
        """For each of the other heads, the mean weight that a token gives to itself and to its twin."""
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


def test_F18_the_first_heads_attend_to_neighbours_at_the_width_of_the_quickstart_too():
    config = TransformerConfig(vocab_size=900, width=128, heads=4, feed_forward=64, max_length=64, layers=1)
    ids = torch.randint(900, (4, 64), generator=seeded(1))
    (weights,) = started(config, "neighbours")(ids, need_weights=True).attentions
    for head, offset in enumerate(OFFSETS):
        assert weights[:, head].diagonal(offset=offset, dim1=1, dim2=2).mean() > 0.5


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("scheme", ["neighbours", "fan-in", "published"])
def test_every_shape_starts_and_has_a_gradient(norm, scheme):
    """Tests odd widths, a single head, heads of one feature, and more heads than a segment has features."""
    shapes = [(6, 3), (7, 1), (6, 2), (5, 5), (9, 3), (96, 48), (128, 64), (1, 1), (33, 3)]
    for width, heads in shapes:
        for layers in (1, 2):
            shape = dict(width=width, heads=heads, layers=layers, feed_forward=2 * width)
            config = TransformerConfig(vocab_size=30, max_length=9, norm=norm, **shape)
            model = started(config, scheme)
            ids = torch.randint(5, 30, (3, 9), generator=seeded())
            token_type_ids = (torch.arange(9) > 4).long().expand(3, 9)
            output = model(ids, token_type_ids)
            upstream = torch.randn(output.mlm_logits.shape, generator=seeded(1))
            (output.mlm_logits * upstream).mean().add(output.nsp_logits[:, 0].mean()).backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(torch.isfinite(g).all() for g in gradients), (width, heads, layers)
