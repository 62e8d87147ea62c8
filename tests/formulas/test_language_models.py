"""Count-based models are compared with counting by hand, the causal loss with autograd and finite differences."""

import itertools
import math

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas.language_models import (
    bigram_counts,
    bigram_probabilities,
    causal_loss,
    causal_loss_gradient,
    counted_probability,
    dialogue_loss,
    dialogue_loss_gradient,
    perplexity,
    sample_word,
    sequence_log_probability,
    sequence_probability,
)
from minilm.training.losses import cross_entropy

B, T, V = 2, 5, 7


@pytest.fixture
def batch():
    rng = np.random.default_rng(3)
    return rng.normal(scale=2, size=(B, T, V)), rng.integers(V, size=(B, T))


def minilm_causal(z: torch.Tensor, w: np.ndarray, mask: np.ndarray) -> torch.Tensor:
    """The library's cross-entropy on labels shifted one to the left, −100 where nothing is to be predicted."""
    labels = np.full((B, T), -100)
    labels[:, :-1] = np.where(mask, w, -100)[:, 1:]
    return cross_entropy(z, torch.tensor(labels)).value


# ------------------------------------------------------------------------------------------------- chain rule


def test_F23_chain_rule_sums_to_one_over_all_texts():
    """For any conditional probabilities, the products over all V^T texts sum to 1: that is what the chain rule says."""
    rng = np.random.default_rng(0)
    given = {c: rng.dirichlet(np.ones(3)) for n in range(4) for c in itertools.product(range(3), repeat=n)}
    texts = itertools.product(range(3), repeat=4)
    total = sum(sequence_probability(np.array([given[t[:i]][t[i]] for i in range(4)])) for t in texts)
    assert total == pytest.approx(1, abs=1e-12)


def test_F23_log_probability_survives_a_text_whose_product_is_zero():
    p = np.full(400, 0.1)
    assert sequence_probability(p) == 0
    assert sequence_log_probability(p) == pytest.approx(400 * math.log(0.1))
    assert sequence_log_probability(p[:5]) == pytest.approx(math.log(sequence_probability(p[:5])))


def test_F23_perplexity_counts_equally_likely_tokens():
    assert perplexity(np.full(9, 1 / 50)) == pytest.approx(50)
    assert perplexity(np.array([0.5, 0.125])) == pytest.approx(4)  # the geometric mean of 2 and 8
    assert perplexity(np.ones(3)) == 1
    assert perplexity(np.array([0.5, 0.0])) == math.inf


def test_F23_perplexity_is_the_exponential_of_the_loss(batch):
    z, w = batch
    p = np.exp(z[:, :-1] - np.log(np.exp(z[:, :-1]).sum(axis=-1, keepdims=True)))
    came = np.take_along_axis(p, w[:, 1:, None], axis=-1).ravel()
    assert perplexity(came) == pytest.approx(math.exp(causal_loss(z, w)), abs=1e-10)


# --------------------------------------------------------------------------------------------------- counting


def test_F23_bigram_counts_and_probabilities_by_hand():
    w = np.array([0, 1, 0, 1, 2, 0, 1])  # 0→1 three times, 1→0, 1→2, 2→0
    n = bigram_counts(w, 4)
    np.testing.assert_array_equal(n, [[0, 3, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    P = bigram_probabilities(n, k=0.5)
    np.testing.assert_allclose(P[0], np.array([0.5, 3.5, 0.5, 0.5]) / 5)
    np.testing.assert_allclose(P[3], 0.25)  # never seen: the model knows nothing
    np.testing.assert_allclose(P.sum(axis=1), 1)


@pytest.mark.parametrize("offsets", [(), (-1,), (-1, -2), (-1, 1), (1, 2, -1)])
def test_F23_F25_counted_probability_sums_to_one(offsets):
    """Put every token of the vocabulary in turn at the predicted position."""
    rng = np.random.default_rng(1)
    w, text = rng.integers(5, size=200), rng.integers(5, size=9)
    total = 0.0
    for word in range(5):
        text[4] = word
        total += counted_probability(w, text, np.array([4]), offsets, 5)[0]
    assert total == pytest.approx(1, abs=1e-12)


def test_F23_counted_probability_backs_off_as_the_formula_says():
    rng = np.random.default_rng(2)
    w, text, V, s = rng.integers(4, size=60), rng.integers(4, size=8), 4, 1.5
    for i, (x, left, left2) in enumerate(zip(text[2:], text[1:], text[:-2], strict=False), start=2):
        triples = list(zip(w, w[1:], w[2:], strict=False))  # the places that have both neighbours
        unigram = (sum(c == x for _, _, c in triples) + s / V) / (len(triples) + s)
        seen = [c for _, b, c in triples if b == left]
        bigram = (seen.count(x) + s * unigram) / (len(seen) + s)
        seen = [c for a, b, c in triples if (a, b) == (left2, left)]
        trigram = (seen.count(x) + s * bigram) / (len(seen) + s)
        assert counted_probability(w, text, np.array([i]), (-1, -2), V, s)[0] == pytest.approx(trigram, abs=1e-12)


# ------------------------------------------------------------------------------------------------- causal loss


def test_F23_causal_loss_and_gradient_equal_the_library(batch):
    z, w = batch
    value, gradient = autograd(lambda t: minilm_causal(t, w, np.ones((B, T), bool)), z)
    assert causal_loss(z, w) == pytest.approx(float(value), abs=1e-10)
    np.testing.assert_allclose(causal_loss_gradient(z, w), gradient, atol=1e-10)
    np.testing.assert_allclose(
        causal_loss_gradient(z, w), finite_differences(lambda x: causal_loss(x, w), z), atol=1e-7
    )


def test_F23_causal_loss_equals_pytorch(batch):
    z, w = batch
    theirs = F.cross_entropy(torch.tensor(z[:, :-1]).flatten(0, 1), torch.tensor(w[:, 1:]).flatten())
    assert causal_loss(z, w) == pytest.approx(float(theirs), abs=1e-12)


def test_F23_last_row_predicts_nothing(batch):
    z, w = batch
    assert not causal_loss_gradient(z, w)[:, -1].any()
    assert causal_loss_gradient(z, w)[:, :-1].all()


def test_F29_only_the_answer_counts(batch):
    z, w = batch
    is_answer = np.zeros((B, T), bool)
    is_answer[0, 2:], is_answer[1, 4:] = True, True  # rows 1, 2, 3 of the first text and row 3 of the second predict it
    value, gradient = autograd(lambda t: minilm_causal(t, w, is_answer), z)
    assert dialogue_loss(z, w, is_answer) == pytest.approx(float(value), abs=1e-10)
    ours = dialogue_loss_gradient(z, w, is_answer)
    np.testing.assert_allclose(ours, gradient, atol=1e-10)
    np.testing.assert_allclose(ours, finite_differences(lambda x: dialogue_loss(x, w, is_answer), z), atol=1e-7)
    np.testing.assert_array_equal(ours.any(axis=-1), [[0, 1, 1, 1, 0], [0, 0, 0, 1, 0]])
    assert dialogue_loss(z, w, is_answer) != pytest.approx(causal_loss(z, w), abs=1e-3)


# ---------------------------------------------------------------------------------------------------- sampling


def test_F23_samples_follow_the_softmax_at_each_temperature():
    z, rng, n = np.array([1.0, 0.0, -1.0]), np.random.default_rng(5), 1500
    for temperature in (0.5, 1.0, 2.0):
        p = np.exp(z / temperature) / np.exp(z / temperature).sum()
        share = np.bincount([sample_word(z, temperature, rng) for _ in range(n)], minlength=3) / n
        assert (np.abs(share - p) < 4 * np.sqrt(p * (1 - p) / n)).all()
    assert sample_word(z, 0, rng) == 0


# --------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: sequence_probability(np.array([0.5, 1.5])), "p holds 1.5, which is not a probability"),
        (lambda: perplexity(np.array([])), "p is empty"),
        (lambda: bigram_counts(np.array([1]), 3), "a pair needs two"),
        (lambda: bigram_counts(np.array([1, 3]), 3), "w holds the class 3"),
        (lambda: bigram_probabilities(np.ones((2, 3))), "axis V does not fit"),
        (lambda: bigram_probabilities(np.ones((2, 2)), k=0), "give a number above 0"),
        (lambda: bigram_probabilities(np.array([[1.0, -1.0], [0, 0]])), "negative number"),
        (lambda: counted_probability(np.zeros(5, int), np.zeros(5, int), np.array([2]), (0,), 2), "the token to"),
        (lambda: counted_probability(np.zeros(5, int), np.zeros(5, int), np.array([0]), (-1,), 2), "leaves the text"),
        (lambda: counted_probability(np.zeros(5, int), np.zeros(5, int), np.array([4]), (1,), 2), "leaves the text"),
        (lambda: counted_probability(np.zeros(5, int), np.zeros(5, int), np.array([5]), (), 2), "i holds the class 5"),
        (lambda: counted_probability(np.zeros(5, int), np.zeros(5, int), np.array([2]), (-1,), 2, 0), "strength is 0"),
        (lambda: counted_probability(np.zeros(9, int), np.zeros(9, int), np.array([4]), (-1, 1), 10**7), "too many"),
        (lambda: causal_loss(np.zeros((2, 3)), np.zeros((2, 3), int)), "z has shape [2, 3]"),
        (lambda: causal_loss(np.zeros((2, 3, 4)), np.zeros((2, 4), int)), "axis T does not fit"),
        (lambda: causal_loss(np.zeros((2, 3, 4)), np.full((2, 3), 4)), "w holds the class 4"),
        (lambda: causal_loss(np.zeros((2, 1, 4)), np.zeros((2, 1), int)), "no token counts"),
        (lambda: dialogue_loss(np.zeros((1, 2, 4)), np.zeros((1, 2), int), np.zeros((1, 2), bool)), "no token counts"),
        (lambda: dialogue_loss(np.zeros((1, 2, 4)), np.zeros((1, 2), int), np.ones((1, 2))), "must be boolean"),
        (lambda: sample_word(np.zeros(3), -1, np.random.default_rng(0)), "temperature is -1"),
    ],
)
def test_F23_F29_bad_input_is_named(call, says):
    with pytest.raises(InputError) as error:
        call()
    assert says in str(error.value)
