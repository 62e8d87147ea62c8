"""Two towers: patches and padding, the scale, what they refuse; and a training that tells pairs apart.  F35."""

import math

import numpy as np
import pytest
import torch

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.models.initialisation import initialise
from minilm.models.picture_text import PictureText, PictureTextConfig
from minilm.training.loop import LearningRate
from minilm.training.picture_text import Contrastive, compare
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget

SMALL = dict(side=6, patch=3, levels=5, longest=7, width=12, layers=1, heads=3, size=5, dropout=0.0)


@pytest.fixture
def model():
    model = PictureText(PictureTextConfig(11, **SMALL)).double()
    initialise(model, "fan-in", torch.Generator().manual_seed(0))
    return model.eval()


def some(count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(5, (count, 36), generator=generator)
    return pixels, torch.randint(1, 11, (count, 6), generator=generator)


@torch.no_grad()
def test_F35_vectors_have_length_1_and_similarities_are_cosines_times_the_scale(model):
    pixels, ids = some()
    S = model(ids, None, pixels)
    u, v = model.pictures(pixels), model.texts(ids)
    torch.testing.assert_close(u.norm(dim=1), torch.ones(4).double())
    torch.testing.assert_close(v.norm(dim=1), torch.ones(4).double())
    torch.testing.assert_close(S, u @ v.T / 0.07)
    model.log_scale.fill_(math.log(1000))
    assert float(model.scale) == pytest.approx(100)


@torch.no_grad()
def test_F35_a_patch_is_a_square_of_pixels(model):
    seen = []
    handle = model.patches.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    picture = torch.arange(36)[None] % 5
    model.pictures(picture)
    handle.remove()
    square = picture.view(6, 6)
    for p, (r, c) in enumerate((r, c) for r in (0, 3) for c in (0, 3)):
        torch.testing.assert_close(seen[0][0, p], square[r : r + 3, c : c + 3].flatten().double() / 4)


@torch.no_grad()
def test_F35_padding_changes_nothing_and_places_do(model):
    _, ids = some()
    mask = torch.ones(4, 6, dtype=torch.bool)
    padded, longer = (
        torch.cat([ids, torch.full((4, 1), 3)], 1),
        torch.cat([mask, torch.zeros(4, 1, dtype=torch.bool)], 1),
    )
    torch.testing.assert_close(model.texts(padded, longer), model.texts(ids, mask))
    assert (model.texts(padded) - model.texts(ids)).abs().max() > 1e-3
    assert (model.texts(ids.flip(1)) - model.texts(ids)).abs().max() > 1e-3


def test_F35_it_learns_which_belong_together():
    pixels, ids = some(6, seed=1)
    model = PictureText(PictureTextConfig(11, **SMALL))
    initialise(model, "fan-in", torch.Generator().manual_seed(0))
    batch = Batch(ids, source_ids=pixels)
    before = Contrastive().measure(model, [batch])["loss"]
    run = TrainingRun(model, Contrastive(), lambda step: batch, Budget(steps=60), Optimisation(LearningRate(1e-2)))
    run.train(bar=False)
    after = Contrastive().measure(model, [batch])["loss"]
    assert after < 0.1 < math.log(6) - 1 < before and Contrastive().summary({"loss": after}).startswith(
        "contrastive loss 0.0"
    )
    cosines = compare(model, batch, pixels.numpy())
    assert (cosines.argmax(axis=0) == np.arange(6)).all() and (cosines.argmax(axis=1) == np.arange(6)).all()


def test_F35_what_does_not_fit_is_said(model):
    with pytest.raises(InputError, match="a text of 8 tokens does not fit: this model takes 7"):
        model.texts(torch.ones(1, 8, dtype=torch.long))
    for changes, words in (
        ({"patch": 4}, "do not fill a side of 6"),
        ({"heads": 5}, "not divisible"),
        ({"size": 0}, "size"),
    ):
        with pytest.raises(InputError, match=words):
            PictureTextConfig(11, **SMALL | changes)
