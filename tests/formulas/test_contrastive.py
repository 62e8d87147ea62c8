"""The contrastive loss: against PyTorch, by finite differences, and what it prefers.  F35."""

import numpy as np
import pytest
import torch
from referees import finite_differences
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas import contrastive as c
from minilm.training import losses

rng = np.random.default_rng(0)
u, v, s = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), 2.7


def referee(u, v, s):
    """The loss as PyTorch computes it."""
    S = s * F.normalize(u, dim=1) @ F.normalize(v, dim=1).T
    i = torch.arange(len(S))
    return (F.cross_entropy(S, i) + F.cross_entropy(S.T, i)) / 2


def test_F35_value_and_gradients_are_those_of_autograd():
    tensors = [torch.tensor(x, requires_grad=True, dtype=torch.float64) for x in (u, v, s)]
    loss = referee(*tensors)
    loss.backward()
    value = float(loss.detach())
    S = c.similarities(u, v, s)
    assert c.contrastive_loss(S) == pytest.approx(value, rel=1e-12)
    for ours, theirs in zip(c.contrastive_gradients(u, v, s), tensors, strict=True):
        np.testing.assert_allclose(ours, theirs.grad.numpy(), rtol=0, atol=1e-12)
    assert float(losses.contrastive(torch.from_numpy(S)).value) == pytest.approx(value, rel=1e-12)
    assert losses.contrastive(torch.from_numpy(S)).count == 5


def test_F35_gradients_by_finite_differences():
    S = rng.normal(size=(4, 4))
    np.testing.assert_allclose(c.contrastive_loss_gradient(S), finite_differences(c.contrastive_loss, S), atol=1e-8)
    weights = rng.normal(size=u.shape)
    found = finite_differences(lambda x: float((c.unit(x) * weights).sum()), u)
    np.testing.assert_allclose(c.unit_gradient(u, weights), found, atol=1e-8)


def test_F35_one_direction_alone_is_another_loss():
    S = rng.normal(size=(4, 4))
    assert abs(c.contrastive_loss(S) - c.cross_entropy(S, np.arange(4))) > 1e-2
    assert c.contrastive_loss(S) == pytest.approx(c.contrastive_loss(S.T), rel=1e-12)


def test_F35_the_length_of_a_vector_does_not_matter_and_the_scale_does():
    S = c.similarities(u, v, s)
    np.testing.assert_allclose(c.similarities(u * rng.uniform(0.1, 9, size=(5, 1)), v, s), S, atol=1e-12)
    assert (np.abs(S) <= s + 1e-12).all()
    for gradient, vectors in zip(c.contrastive_gradients(u, v, s)[:2], (u, v), strict=True):
        np.testing.assert_allclose((gradient * vectors).sum(axis=1), 0, atol=1e-12)  # nothing along the vector itself
    alike = np.tile(u[:1], (5, 1))
    assert c.contrastive_loss(c.similarities(alike, alike)) == pytest.approx(np.log(5))
    assert c.contrastive_loss(c.similarities(np.eye(5), np.eye(5), 100.0)) < 1e-12


def test_F35_repeated_meanings_cannot_be_told_apart():
    """Two pairs that mean the same pull and push each other: the loss cannot fall below half of log 2 for these."""
    same = np.repeat(np.eye(2), 2, axis=0)
    assert c.contrastive_loss(c.similarities(same, same, 100.0)) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: c.unit(np.array([[1.0, 0], [0, 0]])), "row 1 is all zeros"),
        (lambda: c.unit(np.zeros((0, 3))), "empty"),
        (lambda: c.similarities(u, v[:, :2]), "axis D"),
        (lambda: c.similarities(u, v, 0.0), "s is 0.0"),
        (lambda: c.contrastive_loss(np.ones((2, 3))), "axis N"),
        (lambda: c.contrastive_gradients(u, v[:4], 1.0), "axis N"),
    ],
)
def test_F35_bad_input_gets_one_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
