"""Word vectors: formulas against the library, skip-gram against autograd, and the theorem that connects the two."""

from pathlib import Path

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from scipy import sparse
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.formulas.word_vectors import (
    cooccurrences,
    neighbours,
    ppmi,
    skip_gram_loss,
    skip_gram_loss_gradients,
    word_vectors,
)
from minilm.text import word_vectors as library

ENGLISH = Path(__file__).parents[2] / "data" / "english.txt"


@pytest.fixture(scope="module")
def text():
    """Our own little stories, split into words."""
    vocabulary, w = np.unique(ENGLISH.read_text(encoding="utf-8").lower().split(), return_inverse=True)
    return w, len(vocabulary)


# ---------------------------------------------------------------------------------------------------- counting


def test_F34_cooccurrences_by_hand():
    """Text 0 1 2 0, window 2: 0–1, 1–2 and 2–0 are neighbours (1); 0–2 and 1–0 are two apart (½)."""
    n = cooccurrences(np.array([0, 1, 2, 0]), 3, window=2)
    np.testing.assert_array_equal(n, [[0, 1.5, 1.5], [1.5, 0, 1], [1.5, 1, 0]])


@pytest.mark.parametrize("window", [1, 2, 5])
def test_F34_counts_and_ppmi_equal_the_library(text, window):
    w, V = text
    n = cooccurrences(w, V, window)
    theirs = library.cooccurrences(w, np.array([0, len(w)]), V, window, special=())
    np.testing.assert_allclose(n, theirs.toarray(), atol=1e-12)
    np.testing.assert_allclose(ppmi(n), library.ppmi(theirs).toarray(), atol=1e-12)
    np.testing.assert_allclose(ppmi(n, 1.0), library.ppmi(theirs, 1.0).toarray(), atol=1e-12)


def test_F34_ppmi_of_independent_words_is_zero_and_of_a_word_never_seen_too():
    p = np.array([0.5, 0.3, 0.2, 0.0])
    assert np.abs(ppmi(100 * np.outer(p, p), smoothing=1.0)).max() < 1e-12


def test_F34_vectors_and_neighbours_equal_the_library(text):
    """The signs of the columns are arbitrary, so we compare E Eᵀ, as closely as float32 allows. The library's random
    projection uses ten more directions than it keeps; for such a small text these are all directions, so it is exact.
    """
    vocabulary, w = np.unique(text[0][:60], return_inverse=True)
    V, C = len(vocabulary), len(vocabulary) - 10
    n = cooccurrences(w, V)
    E = word_vectors(ppmi(n), C)
    theirs = library.word_vectors(sparse.csr_matrix(n), C, seed=0)
    assert E.shape == theirs.shape == (V, C)
    np.testing.assert_allclose(E @ E.T, theirs @ theirs.T, atol=1e-5)
    for word in range(V):
        ours, other = neighbours(E, word, 4), library.neighbours(E, word, 4)
        assert [u for u, _ in ours] == [u for u, _ in other]
        np.testing.assert_allclose([c for _, c in ours], [c for _, c in other], atol=1e-12)


def test_F34_all_singular_values_give_the_matrix_back(text):
    """With M = U S Wᵀ and E = U·√S, E Eᵀ = U S Uᵀ is the square root of M Mᵀ."""
    w, V = text
    M = ppmi(cooccurrences(w[:60], V))
    E = word_vectors(M, V)
    np.testing.assert_allclose(E @ E.T @ E @ E.T, M @ M.T, atol=1e-10)


def test_F34_a_word_never_seen_is_nobodys_neighbour():
    E = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    assert neighbours(E, 1) == [] and neighbours(E, 0) == [(2, pytest.approx(0.5**0.5))]


# --------------------------------------------------------------------------------------------------- skip-gram


@pytest.fixture
def pairs():
    """Seven words, vectors of three numbers, five pairs with two negatives each; words and negatives repeat."""
    rng = np.random.default_rng(4)
    E, O = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    return E, O, np.array([0, 1, 1, 6, 2]), np.array([3, 3, 0, 5, 2]), rng.integers(7, size=(5, 2))


def torch_skip_gram(E, O, w, c, k):
    true, false = (O[c] * E[w]).sum(-1), (O[k] @ E[w][:, :, None])[..., 0]
    return -(F.logsigmoid(true) + F.logsigmoid(-false).sum(-1)).mean()


def test_F34_skip_gram_value_and_gradients_equal_autograd(pairs):
    E, O, w, c, k = pairs
    value, *theirs = autograd(lambda e, o: torch_skip_gram(e, o, *map(torch.tensor, (w, c, k))), E, O)
    dE, dO = skip_gram_loss_gradients(E, O, w, c, k)
    assert skip_gram_loss(E, O, w, c, k) == pytest.approx(float(value), abs=1e-10)
    np.testing.assert_allclose(dE, theirs[0], atol=1e-10)
    np.testing.assert_allclose(dO, theirs[1], atol=1e-10)
    np.testing.assert_allclose(dE, finite_differences(lambda e: skip_gram_loss(e, O, w, c, k), E), atol=1e-7)
    np.testing.assert_allclose(dO, finite_differences(lambda o: skip_gram_loss(E, o, w, c, k), O), atol=1e-7)


def test_F34_skip_gram_survives_scores_of_a_thousand():
    E, O = np.array([[1000.0]]), np.array([[-1.0]])
    zero = np.array([0])
    assert skip_gram_loss(E, O, zero, zero, np.array([[0]])) == pytest.approx(1000)  # −log σ(−1000) − log σ(1000)
    dE, dO = skip_gram_loss_gradients(E, O, zero, zero, np.array([[0]]))
    assert np.isfinite(dE).all() and np.isfinite(dO).all()


def test_F34_the_best_skip_gram_is_pmi_less_log_K():
    """Levy and Goldberg (2014), §3.1: with enough features, o_c · e_w = PMI(w, c) − log K minimises the loss.

    We use all pairs as often as they co-occur, with K negatives each, drawn by frequency. At that point the gradient is 0;
    without the log K it is not.
    """
    counts = np.array([[4, 2, 1], [2, 1, 3], [1, 3, 3]])
    w, c = (np.repeat(index, counts.ravel()) for index in np.indices(counts.shape).reshape(2, -1))
    K = counts.sum()  # the negatives of each pair: every word as often as it occurs, exactly
    k = np.tile(np.repeat(np.arange(3), counts.sum(axis=0)), (len(w), 1))
    P = counts / counts.sum()
    pmi = np.log(P / np.outer(P.sum(axis=1), P.sum(axis=0)))

    def largest_slope(scores):  # E = scores and O = 1 make o_c · e_w = scores[w, c]
        return max(np.abs(d).max() for d in skip_gram_loss_gradients(scores, np.eye(3), w, c, k))

    assert largest_slope(pmi - np.log(K)) < 1e-12
    assert largest_slope(pmi) > 0.1


# --------------------------------------------------------------------------------------------------- bad input

ONE = np.zeros(1, int)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: cooccurrences(np.array([0, 3]), 3), "w holds the class 3"),
        (lambda: cooccurrences(np.array([0, 1]), 3, window=0), "window is 0"),
        (lambda: ppmi(np.zeros((3, 3))), "no two words ever met"),
        (lambda: ppmi(-np.ones((3, 3))), "counts of 0 or more"),
        (lambda: ppmi(np.ones((3, 4))), "axis V does not fit"),
        (lambda: word_vectors(np.ones((3, 3)), 4), "vectors of 1 to 3 numbers"),
        (lambda: neighbours(np.ones((3, 2)), 3), "w holds the class 3"),
        (lambda: skip_gram_loss(np.ones((3, 2)), np.ones((3, 4)), ONE, ONE, ONE[None]), "O has shape [3, 4]"),
        (lambda: skip_gram_loss(np.ones((3, 2)), np.ones((3, 2)), ONE[:0], ONE[:0], ONE[None][:0]), "w is empty"),
        (lambda: skip_gram_loss(np.ones((3, 2)), np.ones((3, 2)), ONE, ONE + 3, ONE[None]), "c holds the class 3"),
        (lambda: skip_gram_loss(np.ones((3, 2)), np.ones((3, 2)), ONE, ONE, ONE), "2 axes"),
        (lambda: skip_gram_loss(np.ones((3, 2)), np.ones((3, 2)), ONE, ONE, np.array([[-1]])), "k holds the class -1"),
    ],
)
def test_F34_bad_input_is_named(call, says):
    with pytest.raises(InputError) as error:
        call()
    assert says in str(error.value)
