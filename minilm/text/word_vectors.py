r"""Word vectors by counting: co-occurrences, positive pointwise mutual information, truncated SVD.  F34.

Words that keep the same company get similar vectors. Skip-gram with negative sampling learns this by gradient descent;
Levy and Goldberg (2014) show that it factorises, implicitly, a matrix of (shifted) pointwise mutual information. So
count that matrix and factorise it outright: seconds instead of an hour, and no rate to tune.

Letters:  V vocabulary · C width of a vector · w word · c context word · n_wc how often they meet
Sources:  Levy and Goldberg (2014), Neural Word Embedding as Implicit Matrix Factorization; Levy, Goldberg and Dagan
          (2015), Improving Distributional Similarity with Lessons Learned from Word Embeddings (the smoothing, U·√S).
"""

import numpy as np
from jaxtyping import Float, Int64, Integer
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from minilm.errors import InputError

TOKENS_AT_ONCE = 1 << 19  # bounds the memory: a chunk of this size takes some 60 MB, however long the corpus is


def cooccurrences(
    ids: Integer[np.ndarray, " tokens"],
    borders: Int64[np.ndarray, " borders"],
    vocab_size: int,
    window: int = 5,
    first_word: int = 5,
) -> sparse.csr_matrix:
    r"""n_wc [V, V]: each pair of words at a distance d ≤ `window` adds 1/d, in both directions.  F34.

    `ids` is the corpus in one row (a memory map will do), document j its part from `borders[j]` to `borders[j + 1]`. No
    pair reaches across a border, and ids below `first_word`, the special tokens, are nobody's company (though they do
    take up room: the words to the left and right of one are two apart).

    As matrices: with X [tokens, V] the one-hot rows of the words and Y [tokens, V] the weights of what follows each of
    them inside the window, the pairs to the right are XᵀY, and all pairs XᵀY + (XᵀY)ᵀ. All of it is sparse, and made
    chunk by chunk.

    Raises:
        InputError: an id outside the vocabulary, borders that do not go from 0 to the end, or a window below 1.
    """
    if window < 1:
        raise InputError(f"the window is {window}; give the number of words to look at on each side, 1 or more.")
    if not len(borders) or borders[0] != 0 or borders[-1] != len(ids) or (np.diff(borders) < 0).any():
        raise InputError(f"the document borders must rise from 0 to {len(ids)}, the number of tokens; they do not.")
    rightward = sparse.csr_matrix((vocab_size, vocab_size))
    for start in range(0, len(ids), TOKENS_AT_ONCE):
        stop = min(start + TOKENS_AT_ONCE, len(ids))
        chunk = np.asarray(ids[start : stop + window]).astype(np.int32)  # reaches over, so that no pair is lost
        if chunk.min() < 0 or chunk.max() >= vocab_size:
            wrong = chunk.min() if chunk.min() < 0 else chunk.max()
            raise InputError(f"token id {wrong} is outside the vocabulary of {vocab_size}; was another tokenizer used?")
        ends = borders[np.searchsorted(borders, np.arange(start, stop), side="right")] - start
        rightward = rightward + _rightward(chunk, ends, vocab_size, window, first_word)
    return (rightward + rightward.T).tocsr()


def _rightward(chunk: np.ndarray, ends: np.ndarray, V: int, window: int, first_word: int) -> sparse.csr_matrix:
    """XᵀY for the first len(ends) tokens of `chunk`; the document of token i ends before token `ends[i]`."""
    N = len(ends)
    padded = np.concatenate([chunk, np.zeros(N + window - len(chunk), np.int32)])  # beyond the last document's end
    company = np.lib.stride_tricks.sliding_window_view(padded[1:], window)  # [N, window], the d-th: d + 1 to the right
    distance = np.arange(1, window + 1)
    counts = (np.arange(N)[:, None] + distance < ends[:, None]) & (company >= first_word)
    counts &= (chunk[:N] >= first_word)[:, None]
    weights = np.broadcast_to(1.0 / distance, (N, window))
    row_ends = np.concatenate([[0], counts.sum(axis=1).cumsum()])
    Y = sparse.csr_matrix((weights[counts], company[counts], row_ends), shape=(N, V))
    X = sparse.csr_matrix((np.ones(N), chunk[:N], np.arange(N + 1)), shape=(N, V))
    pairs = X.T.tocsr() @ Y
    pairs.sort_indices()
    return pairs


def appearances(
    ids: Integer[np.ndarray, " tokens"],
    borders: Int64[np.ndarray, " borders"],
    vocab_size: int,
    first_word: int = 5,
    most_documents: int = 50_000,
) -> sparse.csr_matrix:
    r"""[V, documents]: 1 where a word stands in a document, 0 where it does not.  F34, with the document as the company.

    Words that are five apart share a phrase, words of one document a subject and a mood: *terrible* and *wonderful* stand in
    the same phrases, but not in the same reviews. Of a corpus of more documents the first `most_documents` are counted, so
    that memory is bounded.
    """
    documents = min(len(borders) - 1, most_documents)
    row = np.asarray(ids[: borders[documents]]).astype(np.int64)
    column = np.repeat(np.arange(documents), np.diff(borders[: documents + 1]))
    words = row >= first_word
    counts = sparse.csr_matrix((np.ones(words.sum()), (row[words], column[words])), shape=(vocab_size, documents))
    counts.data[:] = 1  # duplicates were added up: once is as good as ten times
    return counts


def in_two_kinds_of_company(
    ids: Integer[np.ndarray, " tokens"],
    borders: Int64[np.ndarray, " borders"],
    vocab_size: int,
    size: int,
    seed: int,
    window: int = 5,
) -> Float[np.ndarray, "V C"]:
    """Word vectors [V, size]: half of them from neighbours in a phrase (`cooccurrences`), half from documents
    (`appearances`), each half of length 1 for every word, so that neither frequency nor one of the halves prevails.
    """
    phrases, documents = cooccurrences(ids, borders, vocab_size, window), appearances(ids, borders, vocab_size)
    half = size // 2
    if documents.shape[1] < 2 * half:  # too few documents to tell words apart by them
        return unit(word_vectors(phrases, size, seed))
    halves = word_vectors(phrases, size - half, seed), word_vectors(documents, half, seed)
    return np.concatenate([unit(each) for each in halves], axis=1)


def unit(vectors: Float[np.ndarray, "V C"]) -> Float[np.ndarray, "V C"]:
    """Every row divided by its length; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1).astype(np.float32)


def ppmi(counts: sparse.csr_matrix, smoothing: float = 0.75) -> sparse.csr_matrix:
    r"""max(0, log P(w, c) / (P(w) P_α(c))) [V, V], with P_α(c) = n_c^α / Σ n_c'^α.  F34.

    How much oftener two words meet than chance would have it, where that is oftener. α = 0.75 makes rare contexts look
    commoner than they are: without it a pair that met once by accident gets the largest values of all. A pair that
    never met has log 0 = −∞, which the positive part makes 0: it is not stored, and the logarithm is never taken.
    """
    pairs = counts.tocoo()
    met = pairs.data > 0
    w, c, n_wc = pairs.row[met], pairs.col[met], pairs.data[met]
    n_w = np.asarray(counts.sum(axis=1)).ravel()
    n_c = np.asarray(counts.sum(axis=0)).ravel() ** smoothing
    information = np.log(n_wc * n_c.sum() / (n_w[w] * n_c[c]))
    positive = information > 0
    return sparse.csr_matrix((information[positive], (w[positive], c[positive])), shape=counts.shape)


def word_vectors(counts: sparse.csr_matrix, size: int, seed: int) -> Float[np.ndarray, "V C"]:
    r"""U·√S of PPMI ≈ U S Wᵀ, the `size` largest singular values: float32 [V, size].  F34.

    √S rather than S keeps the first few directions, which are little more than frequency, from drowning the rest. Words
    that never met another have rows of zeros. The same seed gives the same bits.

    Raises:
        InputError: no two words ever met, or `size` is not from 1 to V.
    """
    V = counts.shape[0]
    if not 1 <= size <= V:
        raise InputError(f"word vectors of size {size} cannot be had from {V} words; give a size from 1 to {V}.")
    information = ppmi(counts).astype(np.float32)
    if not information.nnz:
        raise InputError("no two words of the corpus stand near each other; it is too small for word vectors.")
    U, S, _ = randomized_svd(information, size, n_iter=7, random_state=seed)  # the spectrum falls slowly
    vectors = (U * np.sqrt(S)).astype(np.float32)
    vectors[np.asarray(counts.sum(axis=1)).ravel() == 0] = 0  # they are of the order of rounding; make them exact
    return vectors


def neighbours(vectors: Float[np.ndarray, "V C"], index: int, n: int = 5) -> list[tuple[int, float]]:
    """The `n` words nearest to word `index` by cosine, best first, as (index, cosine); not the word itself.

    A word that was never seen has no direction: it is nobody's neighbour and has none.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths[index] == 0:
        return []
    others = np.flatnonzero((lengths > 0) & (np.arange(len(vectors)) != index))
    cosines = vectors[others] @ vectors[index] / (lengths[others] * lengths[index])
    nearest = np.argsort(-cosines, kind="stable")[:n]
    return [(int(others[i]), float(cosines[i])) for i in nearest]


def scale_to(vectors: Float[np.ndarray, "V C"], std: float) -> Float[np.ndarray, "V C"]:
    """The vectors times one number, so that the entries of the seen words have the standard deviation `std`.

    One factor, no centring: all angles stay, and with them what the vectors know. Unseen words (rows of zeros) do not
    count and stay zero; who warm-starts an embedding draws those rows at random with the same `std`.

    Raises:
        InputError: all vectors are zero.
    """
    seen = vectors.any(axis=1)
    if not seen.any():
        raise InputError("all word vectors are zero; there is nothing to scale.")
    return vectors * np.float32(std / vectors[seen].std())
