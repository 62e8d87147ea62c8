"""The verbaliser and learned prompts: the library, autograd and finite differences give the same numbers."""

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas import prompts as f
from minilm.layers.embeddings import Embeddings

N, V, B, T, P, C = 4, 11, 3, 5, 2, 6
WORDS = [[7, 2, 9], [4], [1, 10]]


@pytest.fixture
def rng():
    return np.random.default_rng(33)


def in_torch(z, prior):
    logits = torch.stack([z[:, w].mean(1) for w in WORDS], 1) - torch.tensor(prior)
    return torch.nn.functional.cross_entropy(logits, torch.tensor([2, 0, 1, 0]))


def test_F33_the_verbalisers_loss_and_gradient(rng):
    z, prior, y = rng.normal(size=(N, V)), rng.normal(size=3), np.array([2, 0, 1, 0])
    value, want = autograd(lambda z: in_torch(z, prior), z)
    assert abs(f.verbaliser_loss(z, WORDS, y, prior) - value) < 1e-12
    gradient = f.verbaliser_loss_gradient(z, WORDS, y, prior)
    np.testing.assert_allclose(gradient, want, atol=1e-12)
    numeric = finite_differences(lambda z: f.verbaliser_loss(z, WORDS, y, prior), z)
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    others = [v for v in range(V) if v not in {w for row in WORDS for w in row}]
    assert not gradient[:, others].any() and (gradient[:, 4] != 0).all()


def test_F33_the_logits_by_loops_and_what_the_prior_takes_off(rng):
    z = rng.normal(size=(N, V))
    loops = [[sum(z[n, w] for w in row) / len(row) for row in WORDS] for n in range(N)]
    np.testing.assert_allclose(f.verbaliser_logits(z, WORDS), loops, atol=1e-12)
    prior = f.prior_of(z, WORDS)
    np.testing.assert_allclose(f.verbaliser_logits(z, WORDS, prior).mean(axis=0), 0, atol=1e-12)


def test_F33_prompts_stand_before_every_text_in_value_and_gradient(rng):
    prompts, x, dY = rng.normal(size=(P, C)), rng.normal(size=(B, T, C)), rng.normal(size=(B, P + T, C))
    value, *want = autograd(lambda p, x: torch.cat([p.expand(B, P, C), x], 1), prompts, x, upstream=dY)
    np.testing.assert_array_equal(f.with_prompts(prompts, x), value)
    for mine, theirs in zip(f.with_prompts_gradients(prompts, x, dY), want, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
    numeric = finite_differences(lambda p: float((f.with_prompts(p, x) * dY).sum()), prompts)
    np.testing.assert_allclose(f.with_prompts_gradients(prompts, x, dY)[0], numeric, atol=1e-8)


def test_F33_the_librarys_embeddings_put_them_there_too(rng):
    layer = Embeddings(V, C, T + P, positions="rotary").double()
    layer.norm = torch.nn.Identity()
    prompts, ids = rng.normal(size=(P, C)), torch.randint(V, (B, T), generator=torch.Generator().manual_seed(1))
    x = (layer.tokens(ids)).detach().numpy()
    segment = layer.token_types.weight[0].detach().numpy()
    with torch.no_grad():
        y = layer(ids, prompts=torch.tensor(prompts))
    np.testing.assert_allclose(y, f.with_prompts(prompts, x) + segment, atol=1e-12)


@pytest.mark.parametrize(
    "words",
    [[[1, 2], [2]], [[1], []], [[1]], [[1], [V]], [[1, 1], [2]]],
    ids=["shared", "none", "one label", "outside", "twice"],
)
def test_F33_a_verbaliser_that_is_none_is_one_sentence(words):
    with pytest.raises(InputError):
        f.verbaliser_logits(np.zeros((N, V)), words)


def test_F33_shapes_that_do_not_fit_are_one_sentence():
    z, x = np.zeros((N, V)), np.zeros((B, T, C))
    for bad in [
        lambda: f.verbaliser_logits(z, WORDS, np.zeros(2)),
        lambda: f.verbaliser_logits_gradient(z, WORDS, np.zeros((N, 2))),
        lambda: f.prior_of(z[:0], WORDS),
        lambda: f.with_prompts(np.zeros((P, C + 1)), x),
        lambda: f.with_prompts_gradients(np.zeros((P, C)), x, np.zeros((B, T, C))),
    ]:
        with pytest.raises(InputError):
            bad()
