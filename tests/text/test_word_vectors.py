import math

import numpy as np
import pytest
from scipy import sparse

from minilm.errors import InputError
from minilm.text import word_vectors as module
from minilm.text.word_vectors import (
    appearances,
    cooccurrences,
    local_and_document_vectors,
    neighbours,
    ppmi,
    scale_to,
    word_vectors,
)

V, FIRST_WORD = 17, 5


def corpus(tokens=300, documents=12, seed=0):
    rng = np.random.default_rng(seed)
    inner = np.sort(rng.integers(0, tokens + 1, size=documents - 1))  # some documents are empty
    borders = np.concatenate([[0], inner, [tokens]])
    return rng.integers(1, V - 1, size=tokens).astype(np.uint16), borders  # with special tokens; 0 and 16 never occur


def brute_force(ids, borders, window):
    counts = np.zeros((V, V))
    for start, stop in zip(borders, borders[1:], strict=False):
        document = ids[start:stop]
        for i, word in enumerate(document):
            for j, company in enumerate(document):
                if 1 <= abs(i - j) <= window and min(word, company) >= FIRST_WORD:
                    counts[word, company] += 1 / abs(i - j)
    return counts


@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("at_once", [1, 7, 100, 10_000])
def test_F34_counts_equal_brute_force_whatever_the_chunks(window, at_once, monkeypatch):
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", at_once)
    ids, borders = corpus()
    counts = cooccurrences(ids, borders, V, window)
    assert sparse.isspmatrix_csr(counts)
    np.testing.assert_allclose(counts.toarray(), brute_force(ids, borders, window), atol=1e-12)


def test_F34_no_pair_reaches_across_a_border():
    ids = np.array([5, 6, 7, 8])
    together, apart = (cooccurrences(ids, np.array(b), V).toarray() for b in ([0, 4], [0, 2, 2, 4]))
    assert together[6, 7] == together[7, 6] == 1
    assert together[5, 8] == pytest.approx(1 / 3)
    assert apart[5, 6] == apart[7, 8] == 1
    assert apart.sum() == 4


def test_F34_special_tokens_keep_no_company_but_take_up_room():
    counts = cooccurrences(np.array([5, 4, 6, 3]), np.array([0, 4]), V).toarray()
    assert counts[5, 6] == counts[6, 5] == 0.5
    assert counts.sum() == 1
    everybody = cooccurrences(np.array([5, 4, 6, 3]), np.array([0, 4]), V, special=()).toarray()
    assert everybody[5, 4] == 1 and everybody[4, 3] == 0.5


def test_F34_special_tokens_may_have_any_id():
    """If the ids are numbered differently, the vectors are the same, row by row."""
    ids, borders = corpus(tokens=900)
    order = np.random.default_rng(1).permutation(V)  # id i becomes order[i]
    moved, special = order[ids], order[:5].tolist()
    assert set(special) != set(range(5))
    counts, others = cooccurrences(ids, borders, V), cooccurrences(moved, borders, V, special=special)
    np.testing.assert_array_equal(others.toarray()[np.ix_(order, order)], counts.toarray())
    seen, there = appearances(ids, borders, V), appearances(moved, borders, V, special=special)
    np.testing.assert_array_equal(there.toarray()[order], seen.toarray())
    vectors = local_and_document_vectors(moved, borders, V, 4, seed=0, special=special)
    assert not vectors[special].any() and vectors.any(axis=1).sum() == len(np.unique(ids[ids >= 5]))


def test_F34_a_memory_map_will_do_and_is_not_changed(tmp_path):
    ids, borders = corpus()
    ids.astype(np.int32).tofile(tmp_path / "ids.bin")
    mapped = np.memmap(tmp_path / "ids.bin", dtype=np.int32, mode="r")
    np.testing.assert_array_equal(cooccurrences(mapped, borders, V).toarray(), cooccurrences(ids, borders, V).toarray())


def test_an_empty_corpus_has_counts_of_zero_and_no_vectors():
    counts = cooccurrences(np.array([], dtype=np.uint16), np.array([0]), V)
    assert counts.shape == (V, V) and counts.nnz == 0
    with pytest.raises(InputError, match="too small for word vectors"):
        word_vectors(counts, 3, seed=0)


@pytest.mark.parametrize("wrong", [V, -1])
def test_an_id_outside_the_vocabulary_is_named(wrong):
    with pytest.raises(InputError, match=f"token id {wrong} is outside the vocabulary of {V}"):
        cooccurrences(np.array([5, 6, wrong]), np.array([0, 3]), V)


@pytest.mark.parametrize("borders", [[], [0, 2], [1, 3], [0, 2, 1, 3]])
def test_borders_that_do_not_fit_are_refused(borders):
    with pytest.raises(InputError, match="must rise from 0 to 3"):
        cooccurrences(np.array([5, 6, 7]), np.array(borders, dtype=np.int64), V)


def test_a_window_of_none_is_refused():
    with pytest.raises(InputError, match="the window is 0"):
        cooccurrences(np.array([5, 6, 7]), np.array([0, 3]), V, window=0)


def test_F34_ppmi_by_hand():
    """There are four words. The rows sum to 4, 5, 1 and 0, in total 10; so do the columns."""
    counts = np.array([[0.0, 3, 1, 0], [3, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    contexts = 4**0.75 + 5**0.75 + 1  # Σ n_c^α
    by_hand = np.zeros((4, 4))
    by_hand[0, 1] = math.log((3 / 10) / ((4 / 10) * (5**0.75 / contexts)))
    by_hand[0, 2] = math.log((1 / 10) / ((4 / 10) * (1 / contexts)))
    by_hand[1, 0] = math.log((3 / 10) / ((5 / 10) * (4**0.75 / contexts)))
    by_hand[2, 0] = math.log((1 / 10) / ((1 / 10) * (4**0.75 / contexts)))
    negative = math.log((2 / 10) / ((5 / 10) * (5**0.75 / contexts)))  # below 0: word 1 rarely meets itself
    assert negative < 0 < by_hand[by_hand != 0].min()
    with np.errstate(all="raise"):
        information = ppmi(sparse.csr_matrix(counts))
    np.testing.assert_allclose(information.toarray(), by_hand, atol=1e-12)
    assert information.nnz == 4
    assert abs(ppmi(sparse.csr_matrix(counts), smoothing=1.0).toarray() - by_hand).max() > 0.05


def test_F34_ppmi_of_stored_zeros_takes_no_logarithm_of_zero():
    counts = sparse.csr_matrix(([0.0, 2.0, 2.0], ([0, 1, 2], [1, 2, 1])), shape=(3, 3))
    with np.errstate(all="raise"):
        assert ppmi(counts).nnz == 2


def test_F34_vectors_equal_the_dense_svd_up_to_sign():
    counts, size = cooccurrences(*corpus(tokens=900), V), 4
    U, S, _ = np.linalg.svd(ppmi(counts).toarray())
    assert S[size - 1] - S[size] > 1e-2  # otherwise the last direction is not unique
    expected, ours = U[:, :size] * np.sqrt(S[:size]), word_vectors(counts, size, seed=0)
    assert ours.dtype == np.float32 and ours.shape == (V, size)
    signs = np.sign((ours * expected).sum(axis=0))
    np.testing.assert_allclose(ours * signs, expected, atol=1e-5)
    assert abs(ours * signs - U[:, :size] * S[:size]).max() > 1e-2  # the factor is √S, not S


def test_F34_at_full_size_the_gram_matrix_is_that_of_ppmi():
    counts = cooccurrences(*corpus(tokens=900), V)
    M, vectors = ppmi(counts).toarray(), word_vectors(counts, V, seed=0).astype(np.float64)
    U, S, _ = np.linalg.svd(M)
    np.testing.assert_allclose(vectors @ vectors.T, U * S @ U.T, atol=1e-4)


def test_F34_unseen_words_are_zero_and_seen_ones_are_not():
    vectors = word_vectors(cooccurrences(*corpus(), V), 6, seed=0)
    unseen = [*range(FIRST_WORD), V - 1]
    assert not vectors[unseen].any()
    assert vectors[FIRST_WORD : V - 1].any(axis=1).all()


def test_F34_the_same_seed_gives_the_same_bits():
    counts = cooccurrences(*corpus(), V)
    first, again, other = (word_vectors(counts, 3, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("size", [0, V + 1])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(InputError, match=f"size {size} are impossible with {V} words"):
        word_vectors(cooccurrences(*corpus(), V), size, seed=0)


def test_F34_words_in_the_same_places_become_neighbours():
    """Sentences are "a x b" or "c y d", where x is 5 or 6 and y is 7 or 8, drawn at random."""
    rng = np.random.default_rng(0)
    sentences = [
        (9, rng.integers(5, 7), 10) if rng.random() < 0.5 else (11, rng.integers(7, 9), 12) for _ in range(200)
    ]
    vectors = word_vectors(cooccurrences(np.array(sentences).ravel(), np.arange(0, 601, 3), V, window=1), 4, seed=0)
    assert neighbours(vectors, 5, 1)[0][0] == 6
    assert neighbours(vectors, 8, 1)[0][0] == 7


def test_neighbours_are_by_cosine_without_the_word_itself_and_without_the_unseen():
    vectors = np.array([[1, 0], [0, 0], [5, 5], [0.1, 0.01], [-3, 0]], dtype=np.float32)
    found = neighbours(vectors, 0, 9)
    assert [index for index, _ in found] == [3, 2, 4]
    assert [cosine for _, cosine in found] == pytest.approx([1 / math.sqrt(1.01), math.sqrt(0.5), -1], abs=1e-6)
    assert neighbours(vectors, 0, 1) == found[:1]
    assert neighbours(vectors, 1, 3) == []


def test_scaling_gives_the_seen_rows_their_deviation_and_keeps_all_angles():
    vectors = word_vectors(cooccurrences(*corpus(), V), 6, seed=0)
    scaled, seen = scale_to(vectors, 0.08), vectors.any(axis=1)
    assert scaled.dtype == np.float32
    assert scaled[seen].std() == pytest.approx(0.08, rel=1e-5)
    assert not scaled[~seen].any()
    np.testing.assert_allclose(scaled / scaled[6, 0], vectors / vectors[6, 0], rtol=1e-5)
    with pytest.raises(InputError, match="nothing to scale"):
        scale_to(np.zeros((3, 2), dtype=np.float32), 0.1)
