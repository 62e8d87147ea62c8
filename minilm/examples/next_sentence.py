r"""Sentence pairs: the second of BERT's two objectives.  F26.

A negative differs from a positive in one thing only: where B comes from. Lengths, the places where A and B are cut, and
whether B ends its document are the same for both, or else a model scores well above chance without reading a word.

Source:  Devlin et al. (2019), BERT, §3.1, task 2 and appendix A.2.
"""

from dataclasses import dataclass

import numpy as np

from minilm.errors import InputError
from minilm.text.store import Store

IS_NEXT, IS_NOT_NEXT = 0, 1  # as in the published weights
BLOCK = 32_768  # documents planned at a time, so that the plan stays small however large the corpus


@dataclass(frozen=True)
class Pairs:
    """Where A and B of each example lie in the store's ids, and whether B follows A. All int64 [N]."""

    a_start: np.ndarray
    a_end: np.ndarray
    b_start: np.ndarray
    b_end: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of A and B together, without the three special ones."""
        return self.a_end - self.a_start + self.b_end - self.b_start


def draw_pairs(store: Store, room: int, rng: np.random.Generator, documents: range | None = None) -> Pairs:
    """Cut `documents` (None: all) into pairs of at most `room` tokens, half of them with a B from somewhere else.

    Each document is walked once: sentences are gathered until `room` is full, cut in two at a random border, and for a
    negative the second half is replaced; the sentences that were set aside then start the next pair.
    """
    documents = range(len(store.documents) - 1) if documents is None else documents
    sentences, borders = np.asarray(store.sentences), np.asarray(store.documents)
    if len(borders) == 2 and borders[1] - borders[0] < 3:
        raise InputError(
            f"no sentence pairs can be made from {len(sentences) - 1} sentence(s) of one document: "
            "give at least three sentences, one a line, or two documents with a blank line between them."
        )
    rows = []
    for document in documents:
        first, end = int(borders[document]), int(borders[document + 1])
        while end - first >= 2:  # a pair needs two sentences
            last = first + 2  # gather [first, last) until the room is full
            while last < end and sentences[last] - sentences[first] < room:
                last += 1
            middle = int(rng.integers(first + 1, last))  # A = [first, middle), B = [middle, last)
            pair = trim(sentences[first], sentences[middle], sentences[middle], sentences[last], room)
            label = int(rng.integers(2))
            if label == IS_NOT_NEXT:
                whole = last == end and pair[3] == sentences[end]  # B ends with its document, uncut
                b_start, b_end = elsewhere(sentences, borders, document, middle, pair[3] - pair[2], whole, rng)
                b_start = max(b_start, b_end - (room - pair[1] + pair[0]))  # a last sentence may be too long to fit
                pair = (*pair[:2], b_start, b_end)
            rows.append((*pair, label))
            first = last if label == IS_NEXT else middle
    if not rows:
        raise InputError(
            "no sentence pairs can be made: every document has a single sentence. "
            "Write one sentence a line and leave a blank line only between documents."
        )
    return Pairs(*np.array(rows, dtype=np.int64).T)


def elsewhere(
    sentences: np.ndarray,
    borders: np.ndarray,
    document: int,
    true_next: int,
    wanted: int,
    whole: bool,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """A stretch of about `wanted` tokens of another document (of this one only if there is no other).

    It starts on a sentence that does not open its document, since a true B never does either. Where the true B was `whole`,
    the last sentences of a document, so is this one; where it was cut, this one is cut at the same length.
    """
    others = len(borders) - 2
    if others:
        document = (document + 1 + int(rng.integers(others))) % (others + 1)
        first, end = int(borders[document]), int(borders[document + 1])
        low = min(first + 1, end - 1)
        if whole:  # from the border whose distance to the end comes nearest to what is wanted
            start = low + int(np.abs(sentences[end] - sentences[low:end] - wanted).argmin())
            return int(sentences[start]), int(sentences[end])
        # a start that still leaves `wanted` tokens, if there is one
        high = int(np.searchsorted(sentences[low:end], sentences[end] - wanted, side="right")) + low
        start = int(rng.integers(low, max(high, low + 1)))
    else:
        first, end = int(borders[document]), int(borders[document + 1])
        start = first + int(rng.integers(end - first - 2))
        start += 2 if start >= true_next - 1 else 0  # neither the true next sentence nor the one that leads into it
    return int(sentences[start]), int(min(sentences[start] + wanted, sentences[end]))


def trim(a_start: int, a_end: int, b_start: int, b_end: int, room: int) -> tuple[int, int, int, int]:
    """Cut A at its front and B at its end, the longer one first: the border between them stays whole."""
    a, b = int(a_end - a_start), int(b_end - b_start)
    over = a + b - room
    if over > 0:
        from_longer = min(over, abs(a - b))
        rest = over - from_longer
        cut_a = rest // 2 + (from_longer if a > b else 0)
        a_start, b_end = a_start + cut_a, b_end - (over - cut_a)
    return int(a_start), int(a_end), int(b_start), int(b_end)
