r"""Sentence pairs for next-sentence prediction, the second of BERT's two objectives.  F26.

A negative example must differ from a positive one only in where B comes from. So its B is the true B of another pair, of
the same length and with the same kind of end. If the length of B, or whether B ends with its sentence or document, gave
the answer away, a model could score well above chance (63 % on film reviews) without reading a word.

Source:  Devlin et al. (2019), BERT, §3.1, task 2 and appendix A.2.
"""

from dataclasses import dataclass

import numpy as np

from minilm.errors import InputError
from minilm.text.store import Store

IS_NEXT, IS_NOT_NEXT = 0, 1  # as in the published BERT weights
BLOCK = 32_768  # documents planned at a time, so that the plan stays small for any corpus


@dataclass(frozen=True)
class Pairs:
    """Where A and B of each example are in the store's ids, and whether B follows A. All arrays are int64 [N]."""

    a_start: np.ndarray
    a_end: np.ndarray
    b_start: np.ndarray
    b_end: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of A and B together, without the three special tokens."""
        return self.a_end - self.a_start + self.b_end - self.b_start


def draw_pairs(store: Store, room: int, rng: np.random.Generator, documents: range | None = None) -> Pairs:
    """Cut `documents` (None: all) into pairs of at most `room` tokens; half of the pairs get a B from somewhere else.

    We walk through each document once, gather sentences until `room` is full, and cut them at the sentence border nearest
    to the middle, because two halves of equal length say the most about each other. For a negative example the second half
    is replaced, and its own sentences start the next pair. Raises InputError if the store has too few sentences.
    """
    sentences, borders = np.asarray(store.sentences), np.asarray(store.documents)
    sizes = np.diff(borders)
    if len(sizes) == 1 and sizes[0] < 3:
        raise InputError(
            f"no sentence pairs can be made from {sizes[0]} sentence(s) of one document: "
            "give at least three sentences, one per line, or two documents with a blank line between them."
        )
    if sizes.max() < 2:
        raise InputError(
            "no sentence pairs can be made: every document has a single sentence. "
            "Write one sentence per line and leave a blank line only between documents."
        )
    rows = []
    for document in range(len(sizes)) if documents is None else documents:
        # where its sentences start, and where it ends
        starts = sentences[borders[document] : borders[document + 1] + 1].tolist()
        first, end = 0, len(starts) - 1
        while end - first >= 2:  # a pair needs two sentences
            last = first + 2  # gather [first, last) until the room is full
            while last < end and starts[last] - starts[first] < room:
                last += 1
            half = (starts[first] + min(starts[last], starts[first] + room)) / 2
            middle = min(range(first + 1, last), key=lambda i: abs(starts[i] - half))  # A = [first, middle), B to last
            label = int(rng.integers(2))
            pair = trim(starts[first], starts[middle], starts[middle], starts[last], room)
            rows.append((*pair, label, document))
            first = last if label == IS_NEXT else middle
    *columns, origin = np.array(rows, dtype=np.int64).reshape(-1, 6).T  # no rows if every document is one sentence
    return replace_negatives(Pairs(*columns), origin, sentences, borders, room, rng)


def replace_negatives(
    pairs: Pairs, document: np.ndarray, sentences: np.ndarray, borders: np.ndarray, room: int, rng: np.random.Generator
) -> Pairs:
    """Give every negative the B of another pair: from another document, of equal length, and with the same kind of end.

    If a few random draws find none (in a small corpus), take a B of similar length, and if there is none, `elsewhere`.
    """
    length = pairs.b_end - pairs.b_start
    ends_sentence = sentences[np.searchsorted(sentences, pairs.b_end)] == pairs.b_end
    ends_document = sentences[borders[document + 1]] == pairs.b_end
    shape = (ends_sentence.astype(np.int64) + ends_document) * (room + 1) + length
    order = np.lexsort([rng.random(len(shape)), shape])
    low, high = np.searchsorted(shape[order], shape), np.searchsorted(shape[order], shape, side="right")

    b_start, b_end = pairs.b_start.copy(), pairs.b_end.copy()
    open_ones = np.flatnonzero(pairs.label == IS_NOT_NEXT)
    for margin in (*[0] * 8, 4, 4, 16, 16):
        window = np.maximum(low[open_ones] - margin, 0), np.minimum(high[open_ones] + margin, len(order))
        other = order[rng.integers(*window)]
        if len(borders) > 2:
            fits = document[other] != document[open_ones]
        else:  # one document: the new B must not overlap A or the true B
            fits = (b := pairs.b_end[other]) <= pairs.a_start[open_ones]
            fits |= (b - length[other]) >= pairs.b_end[open_ones]
        found, other = open_ones[fits], other[fits]
        b_start[found], b_end[found] = pairs.b_start[other], pairs.b_end[other]
        open_ones = open_ones[~fits]
    for i in open_ones:
        true_next = int(np.searchsorted(sentences, pairs.b_start[i]))
        b_start[i], b_end[i] = elsewhere(sentences, borders, int(document[i]), true_next, int(length[i]), rng)
    b_end = np.minimum(b_end, b_start + room - (pairs.a_end - pairs.a_start))
    return Pairs(pairs.a_start, pairs.a_end, b_start, b_end, pairs.label)


def elsewhere(
    sentences: np.ndarray, borders: np.ndarray, document: int, true_next: int, wanted: int, rng: np.random.Generator
) -> tuple[int, int]:
    """A stretch of at most `wanted` tokens of another document (or of this one if there is no other).

    If possible, it starts with a sentence that is not the first of its document, because a true B never starts with one.
    """
    others = len(borders) - 2
    if others:
        document = (document + 1 + int(rng.integers(others))) % (others + 1)
    first, end = int(borders[document]), int(borders[document + 1])
    if others:
        start = int(rng.integers(min(first + 1, end - 1), end))
    else:
        start = first + int(rng.integers(end - first - 2))
        start += 2 if start >= true_next - 1 else 0  # neither the true next sentence nor the one before it
    return int(sentences[start]), int(min(sentences[start] + wanted, sentences[end]))


def trim(a_start: int, a_end: int, b_start: int, b_end: int, room: int) -> tuple[int, int, int, int]:
    """Shorten A at its front and B at its end, the longer one first, so that the border between them stays intact."""
    a, b = a_end - a_start, b_end - b_start
    over = a + b - room
    if over > 0:
        from_longer = min(over, abs(a - b))
        rest = over - from_longer
        cut_a = rest // 2 + (from_longer if a > b else 0)
        a_start, b_end = a_start + cut_a, b_end - (over - cut_a)
    return a_start, a_end, b_start, b_end
