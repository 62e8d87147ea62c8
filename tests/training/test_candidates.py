"""A loss over some of the vocabulary: with everything it is the full loss, and its sum has the right expected value."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from writers import gpt, lstm

from minilm.examples.batching import Batch
from minilm.examples.candidates import WithCandidates, candidates_for
from minilm.training.losses import candidate_cross_entropy, cross_entropy
from minilm.training.objectives import CausalLM

V, IDS = 7, torch.tensor([[2, 5, 2, 4]])
HERE = [2, 4, 5]


def equal(ours, theirs, atol=1e-12):
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def loss_and_gradients(drawn, hidden, table, labels):
    """The loss of each label over its batch's tokens and those of `drawn`, and the gradients of its exponential."""
    candidates = torch.tensor(sorted([*HERE, *drawn]))
    rest = V - len(HERE)
    stands_for = [1.0 if k in HERE else rest / len(drawn) for k in candidates.tolist()]
    weights = torch.tensor(stands_for, dtype=torch.float64)
    losses = [
        candidate_cross_entropy(h[None] @ table[candidates].T, y[None], candidates, weights).value
        for h, y in zip(hidden, labels, strict=True)
    ]
    risks = torch.stack(losses)
    return risks.detach(), torch.autograd.grad(risks.exp().sum(), [hidden, table], retain_graph=True), risks


@pytest.fixture
def material():
    rng = torch.Generator().manual_seed(4)
    hidden = torch.randn(3, 5, generator=rng, dtype=torch.float64).requires_grad_()
    table = torch.randn(V, 5, generator=rng, dtype=torch.float64).requires_grad_()
    return hidden, table, torch.tensor([5, 2, 4])


def test_F23_the_sum_under_the_softmax_has_the_right_expected_value(material):
    """exp(loss) = Σ wₖ exp zₖ / exp z_y. Its mean over all draws, and that of its gradient, are those of the whole sum."""
    hidden, table, labels = material
    rest = [k for k in range(V) if k not in HERE]
    whole = torch.stack([cross_entropy(h[None] @ table.T, y[None]).value for h, y in zip(hidden, labels, strict=True)])
    expected = torch.autograd.grad(whole.exp().sum(), [hidden, table], retain_graph=True)
    for r in range(1, len(rest) + 1):
        draws = [loss_and_gradients(drawn, *material) for drawn in itertools.combinations(rest, r)]
        equal(torch.stack([losses for losses, _, _ in draws]).exp().mean(dim=0), whole.detach().exp())
        for i in range(2):
            equal(torch.stack([gradients[i] for _, gradients, _ in draws]).mean(dim=0), expected[i])


def test_F23_the_gradient_comes_closer_to_the_full_one_the_more_are_drawn(material):
    """The logarithm makes the loss itself a little too small in the mean; with all tokens nothing is left of that."""
    hidden, table, labels = material
    rest = [k for k in range(V) if k not in HERE]
    whole = cross_entropy(hidden @ table.T, labels).value
    expected, gaps, means = torch.autograd.grad(whole, [table], retain_graph=True)[0], [], []
    for r in range(1, len(rest) + 1):
        risks = [loss_and_gradients(drawn, *material)[2].mean() for drawn in itertools.combinations(rest, r)]
        gradients = [torch.autograd.grad(risk, [table], retain_graph=True)[0] for risk in risks]
        gaps.append(float((torch.stack(gradients).mean(dim=0) - expected).norm() / expected.norm()))
        means.append(float(torch.stack(risks).detach().mean()))
    assert gaps == sorted(gaps, reverse=True) and 0.001 < gaps[0] < 0.5 and gaps[-1] < 1e-12
    assert means == sorted(means) and means[0] < float(whole) and math.isclose(means[-1], float(whole), rel_tol=1e-12)


@given(size=st.integers(5, 40), others=st.integers(0, 50), count=st.integers(1, 30), seed=st.integers(0, 999))
def test_F23_the_tokens_of_the_batch_are_candidates_and_the_weights_sum_to_the_vocabulary(size, others, count, seed):
    rng = np.random.default_rng(seed)
    ids = torch.from_numpy(rng.integers(size, size=(1, count)))
    candidates, weights = candidates_for(ids, size, others, rng)
    here = set(ids.flatten().tolist())
    assert candidates.tolist() == sorted(set(candidates.tolist())) and here <= set(candidates.tolist())
    assert len(candidates) == min(size, len(here) + others)
    assert all(w == 1 for k, w in zip(candidates.tolist(), weights.tolist(), strict=True) if k in here)
    if others:
        assert float(weights.sum()) == pytest.approx(size, rel=1e-5) and (weights >= 1).all()


@pytest.mark.parametrize("make", [gpt, lstm])
@pytest.mark.parametrize("labelled", [False, True])
def test_F23_with_all_tokens_it_is_the_full_loss_of_a_model(make, labelled):
    """Value and gradients, with padding, and with labels that do not count."""
    model = make().train()
    vocabulary = model.config.vocab_size
    ids = torch.tensor([[1, 5, 3, 9, 2], [4, 4, 7, 0, 0]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    batch = Batch(ids, attention_mask=mask, labels=ids.masked_fill(ids == 3, -100) if labelled else None)
    batches = WithCandidates(lambda step: batch, vocabulary, vocabulary, seed=1)
    losses = [CausalLM().loss(model, each) for each in (batch, batches[0])]
    assert losses[0].count == losses[1].count == (5 if labelled else 6)
    gradients = [torch.autograd.grad(loss.value, list(model.parameters()), retain_graph=True) for loss in losses]
    for ours, theirs in zip(*gradients, strict=True):
        equal(ours, theirs)
    equal(losses[0].value, losses[1].value)
    some = WithCandidates(lambda step: batch, vocabulary, 4, seed=1)
    assert torch.equal(some[3].candidates, some[3].candidates) and not torch.equal(
        some[3].candidates, some[4].candidates
    )
    assert not torch.isclose(CausalLM().loss(model, some[3]).value, losses[0].value, rtol=1e-6)
