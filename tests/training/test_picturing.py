"""P(x | y) of a causal model: against a loop over pixels, a sum over all pictures, and transformers; pictures drawn from it are."""

import itertools

import numpy as np
import pytest
import torch
import transformers
from scipy.stats import chisquare

from minilm.errors import InputError
from minilm.examples.pixels import Pictures
from minilm.formulas import pixels as formulas
from minilm.models.gpt import GPT, GPTConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.gpt2 import ARCHITECTURE
from minilm.pretrained.weights import weights_of
from minilm.training.picturing import class_log_probabilities, draw_pictures, log_probabilities

LEVELS, CLASSES, M = 3, 2, 4
EVERY = np.array(list(itertools.product(range(LEVELS), repeat=M)))


@pytest.fixture(scope="module")
def pictures():
    return Pictures(EVERY, np.arange(len(EVERY)) % CLASSES, LEVELS, CLASSES)


@pytest.fixture(scope="module")
def model(pictures):
    sizes = dict(width=12, layers=2, heads=3, feed_forward=20, max_length=1 + M, positions="learned")
    model = GPT(GPTConfig(pictures.vocab_size, **sizes))
    initialise(model, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.encoder.tokens.weight[LEVELS:] += 1  # the classes make a difference
        for parameter in model.encoder.stack.final_norm.parameters():
            parameter.mul_(4)
    return model.double()


def test_F24_every_picture_is_scored_pixel_by_pixel(model, pictures):
    found = class_log_probabilities(model, pictures)
    assert found.shape == (len(EVERY), CLASSES)
    for i, y in ((5, 0), (70, 1), (33, 1)):
        total = 0.0
        for place in range(M):
            ids = torch.tensor([[LEVELS + y, *EVERY[i, :place]]])
            total += float(model(ids)[0, -1].detach().log_softmax(-1)[EVERY[i, place]])
        assert found[i, y] == pytest.approx(total, abs=1e-12)
    assert np.abs(found[:, 0] - found[:, 1]).max() > 0.1
    np.testing.assert_array_equal(log_probabilities(model, pictures), found[np.arange(len(EVERY)), pictures.y])


def test_F24_the_probabilities_of_all_pictures_sum_to_what_classes_leave(model, pictures):
    """A pixel could be a class token as far as the model knows; over all rows of tokens the sum is exactly 1."""
    tokens = np.array(list(itertools.product(range(pictures.vocab_size), repeat=M)))
    rows = Pictures(tokens, np.zeros(len(tokens), int), pictures.vocab_size, 1)
    ids = torch.tensor(np.concatenate([np.full((len(rows), 1), LEVELS + 1), tokens], axis=1))
    with torch.no_grad():
        z = model(ids[:, :-1]).numpy()
    log_p = formulas.log_probability(z, tokens)
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12)
    inside = (tokens < LEVELS).all(axis=1)
    found = class_log_probabilities(model, pictures)[:, 1]
    np.testing.assert_allclose(found, log_p[inside], atol=1e-12)  # both in the order of itertools.product
    assert np.exp(found).sum() < 1


def test_F24_the_same_weights_in_transformers_give_the_same_probabilities(model, pictures):
    config = transformers.GPT2Config(**ARCHITECTURE.write_config(model))
    theirs = transformers.GPT2LMHeadModel(config).eval()
    theirs.load_state_dict(ARCHITECTURE.write_names(weights_of(model)), strict=False)
    with torch.no_grad():
        z = theirs.double()(pictures.rows(1)[:, :-1]).logits.numpy()
    found = class_log_probabilities(model, pictures)[:, 1]
    np.testing.assert_allclose(found, formulas.log_probability(z, EVERY), atol=1e-10)


def test_F24_pictures_are_drawn_from_these_probabilities(model, pictures):
    """Without the class tokens, which are banned at every pixel; 3,000 pictures, judged by chi-square."""
    N = 3000
    drawn = draw_pictures(model, pictures, [1] * N, seed=4)
    assert drawn.shape == (N, M) and drawn.max() < LEVELS
    with torch.no_grad():
        z = model(pictures.rows(1)[:, :-1])[..., :LEVELS].numpy()
    p = np.exp(formulas.log_probability(z, EVERY))
    assert p.sum() == pytest.approx(1, abs=1e-12)
    counts = np.bincount(drawn @ LEVELS ** np.arange(M)[::-1], minlength=len(EVERY))
    assert chisquare(counts, N * p).pvalue > 1e-3
    other = np.exp(class_log_probabilities(model, pictures)[:, 0])
    assert chisquare(counts, N * other / other.sum()).pvalue < 1e-6  # the other class would be noticed


def test_F24_nothing_is_dropped_when_pictures_are_scored(pictures):
    model = GPT(
        GPTConfig(pictures.vocab_size, 12, 1, 3, 20, max_length=1 + M, dropout=0.5, positions="learned")
    ).train()
    one = class_log_probabilities(model, pictures)
    assert (one == class_log_probabilities(model.train(), pictures)).all() and not model.training


def test_F24_the_seed_decides_and_what_is_given_stays(model, pictures):
    classes = [0, 1, 1, 0, 1]
    one, two = (draw_pictures(model, pictures, classes, seed=s) for s in (1, 2))
    assert (one == draw_pictures(model, pictures, classes, seed=1)).all() and (one != two).any()
    begun = EVERY[[3, 50, 8, 20, 77], :2]
    finished = draw_pictures(model, pictures, classes, seed=1, begun=begun)
    assert (finished[:, :2] == begun).all() and finished.shape == (5, M)
    greedy = draw_pictures(model, pictures, [0], temperature=0, begun=begun[1:2])
    assert (greedy == draw_pictures(model, pictures, [0], seed=9, temperature=0, begun=begun[1:2])).all()


def test_F24_bad_input_is_one_sentence(model, pictures):
    with pytest.raises(InputError, match="class 2 is not known: the classes are 0 to 1"):
        draw_pictures(model, pictures, [0, 2])
    with pytest.raises(InputError, match="there is nothing left to draw"):
        draw_pictures(model, pictures, [0], begun=EVERY[:1])
    with pytest.raises(InputError, match="temperature -1 must be 0"):
        draw_pictures(model, pictures, [0], temperature=-1)
    for other in (
        Pictures(EVERY, np.zeros(len(EVERY), int), LEVELS, 3),
        Pictures(np.zeros((1, 9), int), np.zeros(1, int), LEVELS, CLASSES),
    ):
        with pytest.raises(InputError, match="train one for them"):
            class_log_probabilities(model, other)
