r"""Word vectors by counting: co-occurrences, positive pointwise mutual information, truncated SVD.  F34.

Words that occur in similar contexts get similar vectors. Skip-gram with negative sampling learns this by gradient
descent; Levy and Goldberg (2014) show that it implicitly factorises a matrix of (shifted) pointwise mutual information.
So we count that matrix and factorise it directly, which takes seconds instead of an hour and needs no learning rate.

Letters:  V vocabulary · C width of a vector · w word · c context word · n_wc how often they co-occur
Sources:  Levy and Goldberg (2014), Neural Word Embedding as Implicit Matrix Factorization; Levy, Goldberg and Dagan
          (2015), Improving Distributional Similarity with Lessons Learned from Word Embeddings (the smoothing, U·√S).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64, Integer
from scipy import sparse

from minilm.errors import InputError

SPECIAL = range(5)  # where BERT's special tokens stand in a vocabulary that we learn
TOKENS_AT_ONCE = 1 << 19  # bounds the memory: a chunk of this size takes about 60 MB, however long the corpus is


def cooccurrences(
    ids: Integer[np.ndarray, " tokens"],
    borders: Int64[np.ndarray, " borders"],
    vocab_size: int,
    window: int = 5,
    special: Sequence[int] = SPECIAL,
) -> sparse.csr_matrix:
    r"""n_wc [V, V]: each pair of words at a distance d ≤ `window` adds 1/d, in both directions.  F34.

    `ids` is the corpus in one row (a memory map works too), and document j is its part from `borders[j]` to
    `borders[j + 1]`. No pair crosses a border. The ids in `special`, the special tokens, form no pairs, but they take up a
    place: the words to the left and right of one are two apart.

    As matrices: let X [tokens, V] hold the one-hot rows of the words, and Y [tokens, V] the weights of the words that
    follow each of them inside the window. Then XᵀY counts the pairs to the right, and XᵀY + (XᵀY)ᵀ counts all pairs.
    Everything is sparse and computed chunk by chunk.

    Raises:
        InputError: for an id outside the vocabulary, borders that do not rise from 0 to the end, or a window below 1.
    """
    if window < 1:
        raise InputError(f"the window is {window}; give the number of words to look at on each side, 1 or more.")
    if not len(borders) or borders[0] != 0 or borders[-1] != len(ids) or (np.diff(borders) < 0).any():
        raise InputError(f"the document borders must rise from 0 to {len(ids)}, the number of tokens; they do not.")
    is_word = words_among(vocab_size, special)
    rightward = sparse.csr_matrix((vocab_size, vocab_size))
    for start in range(0, len(ids), TOKENS_AT_ONCE):
        stop = min(start + TOKENS_AT_ONCE, len(ids))
        chunk = np.asarray(ids[start : stop + window]).astype(
            np.int32
        )  # reaches into the next chunk, so that no pair is lost
        if chunk.min() < 0 or chunk.max() >= vocab_size:
            wrong = chunk.min() if chunk.min() < 0 else chunk.max()
            raise InputError(f"token id {wrong} is outside the vocabulary of {vocab_size}; was another tokenizer used?")
        ends = borders[np.searchsorted(borders, np.arange(start, stop), side="right")] - start
        rightward = rightward + _rightward(chunk, ends, is_word, window)
    return (rightward + rightward.T).tocsr()


def words_among(vocab_size: int, special: Sequence[int]) -> np.ndarray:
    """[V]: True for each id that is a word, False for the special tokens, wherever they stand."""
    is_word = np.ones(vocab_size, dtype=bool)
    is_word[list(special)] = False
    return is_word


def _rightward(chunk: np.ndarray, ends: np.ndarray, is_word: np.ndarray, window: int) -> sparse.csr_matrix:
    """XᵀY for the first len(ends) tokens of `chunk`; the document of token i ends before token `ends[i]`."""
    N, V = len(ends), len(is_word)
    padded = np.concatenate([chunk, np.zeros(N + window - len(chunk), np.int32)])  # padding after the last document
    company = np.lib.stride_tricks.sliding_window_view(
        padded[1:], window
    )  # [N, window]; column d is d + 1 to the right
    distance = np.arange(1, window + 1)
    mask = (np.arange(N)[:, None] + distance < ends[:, None]) & is_word[company]
    mask &= is_word[chunk[:N]][:, None]
    weights = np.broadcast_to(1.0 / distance, (N, window))
    row_ends = np.concatenate([[0], mask.sum(axis=1).cumsum()])
    Y = sparse.csr_matrix((weights[mask], company[mask], row_ends), shape=(N, V))
    X = sparse.csr_matrix((np.ones(N), chunk[:N], np.arange(N + 1)), shape=(N, V))
    pairs = X.T.tocsr() @ Y
    pairs.sort_indices()
    return pairs


def appearances(
    ids: Integer[np.ndarray, " tokens"],
    borders: Int64[np.ndarray, " borders"],
    vocab_size: int,
    special: Sequence[int] = SPECIAL,
    most_documents: int = 50_000,
) -> sparse.csr_matrix:
    r"""[V, documents]: 1 where a word occurs in a document, 0 where it does not.  F34 with documents as contexts.

    Words within a window share a phrase; words of one document share a subject and a mood. For example, *terrible* and
    *wonderful* occur in the same phrases, but not in the same reviews. At most the first `most_documents` documents are
    counted, so that memory stays bounded.
    """
    documents = min(len(borders) - 1, most_documents)
    row = np.asarray(ids[: borders[documents]]).astype(np.int64)
    column = np.repeat(np.arange(documents), np.diff(borders[: documents + 1]))
    words = words_among(vocab_size, special)[row]
    counts = sparse.csr_matrix((np.ones(words.sum()), (row[words], column[words])), shape=(vocab_size, documents))
    counts.data[:] = 1  # duplicates were added up, but ten occurrences count like one
    return counts


def local_and_document_vectors(
    ids: Integer[np.ndarray, " tokens"],
    borders: Int64[np.ndarray, " borders"],
    vocab_size: int,
    size: int,
    seed: int,
    window: int = 5,
    special: Sequence[int] = SPECIAL,
) -> Float[np.ndarray, "V C"]:
    """Word vectors [V, size]: one half of each comes from neighbours in a phrase (`cooccurrences`), the other half from
    documents (`appearances`). Each half has length 1, so that neither frequency nor one of the halves dominates.
    """
    phrases = cooccurrences(ids, borders, vocab_size, window, special)
    documents = appearances(ids, borders, vocab_size, special)
    half = size // 2
    if documents.shape[1] < 2 * half:  # too few documents to distinguish words by them
        return unit(word_vectors(phrases, size, seed))
    halves = word_vectors(phrases, size - half, seed), word_vectors(documents, half, seed)
    return np.concatenate([unit(each) for each in halves], axis=1)


def unit(vectors: Float[np.ndarray, "V C"]) -> Float[np.ndarray, "V C"]:
    """Divide every row by its length; rows of zeros stay zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1).astype(np.float32)


def ppmi(counts: sparse.csr_matrix, smoothing: float = 0.75) -> sparse.csr_matrix:
    r"""max(0, log P(w, c) / (P(w) P_α(c))) [V, V], with P_α(c) = n_c^α / Σ n_c'^α.  F34.

    Positive pointwise mutual information: how much more often two words co-occur than chance predicts, and 0 where it is
    less. α = 0.75 makes rare contexts look more frequent; without it, a pair that met once by accident gets the largest
    value. A pair that never met has log 0 = −∞, so its value is 0: it is not stored, and its logarithm is never taken.
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
    r"""U·√S from the `size` largest singular values of PPMI ≈ U S Wᵀ: float32 [V, size].  F34.

    √S instead of S keeps the first few directions, which are little more than frequency, from drowning the rest. Words
    that never co-occurred with another have rows of zeros. The same seed gives exactly the same bits.

    Raises:
        InputError: if no two words ever met, or `size` is not between 1 and V.
    """
    V = counts.shape[0]
    if not 1 <= size <= V:
        raise InputError(f"word vectors of size {size} are impossible with {V} words; give a size from 1 to {V}.")
    information = ppmi(counts).astype(np.float32)
    if not information.nnz:
        raise InputError("no two words of the corpus are near each other; it is too small for word vectors.")
    from sklearn.utils.extmath import randomized_svd  # 80 MB, which a run whose vectors are kept does not need

    U, S, _ = randomized_svd(
        information, size, n_iter=7, random_state=seed
    )  # many iterations, because the spectrum falls slowly
    vectors = (U * np.sqrt(S)).astype(np.float32)
    vectors[np.asarray(counts.sum(axis=1)).ravel() == 0] = (
        0  # they are as small as rounding errors; make them exact zeros
    )
    return vectors


def neighbours(vectors: Float[np.ndarray, "V C"], index: int, n: int = 5) -> list[tuple[int, float]]:
    """The `n` words nearest to word `index` by cosine, best first, as (index, cosine); not the word itself.

    A word that was never seen has no direction, so it is never a neighbour and has no neighbours.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    if lengths[index] == 0:
        return []
    others = np.flatnonzero((lengths > 0) & (np.arange(len(vectors)) != index))
    cosines = vectors[others] @ vectors[index] / (lengths[others] * lengths[index])
    nearest = np.argsort(-cosines, kind="stable")[:n]
    return [(int(others[i]), float(cosines[i])) for i in nearest]


def scale_to(vectors: Float[np.ndarray, "V C"], std: float) -> Float[np.ndarray, "V C"]:
    """Multiply the vectors by one number, so that the entries of the seen words have the standard deviation `std`.

    One common factor without centring keeps all angles, and with them what the vectors know. Unseen words (rows of zeros)
    do not count and stay zero; if you warm-start an embedding table, draw those rows at random with the same `std`.

    Raises:
        InputError: if all vectors are zero.
    """
    seen = vectors.any(axis=1)
    if not seen.any():
        raise InputError("all word vectors are zero; there is nothing to scale.")
    return vectors * np.float32(std / vectors[seen].std())
