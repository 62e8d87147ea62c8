r"""Sentence pairs for next-sentence prediction, the second of BERT's two objectives.  F26.

A negative example must differ from a positive one only in where B comes from. So its B is the true B of another pair, of
the same length and with the same kind of end. If the length of B, or whether B ends with its sentence or document, gave
the answer away, a model could score well above chance (63 % on film reviews) without reading a word.

No text is lost: what a pair has to cut away differs from epoch to epoch after the first one, and text that fits into no
pair (a document of one sentence, a sentence as long as a pair) comes as `lone_windows`, which train masked tokens alone.

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


def draw_pairs(
    store: Store, room: int, rng: np.random.Generator, documents: range | None = None, moving: bool = False
) -> Pairs:
    """Cut `documents` (None: all) into pairs of at most `room` tokens; half of the pairs get a B from somewhere else.

    We walk through each document once, gather sentences until `room` is full, and cut them at the sentence border nearest
    to the middle, because two halves of equal length say the most about each other. For a negative example the second half
    is replaced, and its own sentences start the next pair. A pair that is still too long is cut to equal halves or, with
    `moving`, to halves of any length, so that over several epochs all of it is seen.
    Raises InputError if the store has too few sentences.
    """
    sentences, borders = np.asarray(store.sentences), np.asarray(store.documents)
    sizes = np.diff(borders)
    if len(sizes) == 1 and sizes[0] < 3:
        raise InputError(
            f"no sentence pairs can be made from {sizes[0]} sentence(s) of one document: "
            "give at least three sentences, one per line, or two documents with a blank line between them; or train without "
            "pairs, with --next-sentence-weight 0."
        )
    if sizes.max() < 2:
        raise InputError(
            "no sentence pairs can be made: every document has a single sentence. "
            "Write one sentence per line and leave a blank line only between documents; or train without pairs, with "
            "--next-sentence-weight 0."
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
            pair = trim(starts[first], starts[middle], starts[last], room, rng if moving else None)
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


def trim(
    start: int, middle: int, end: int, room: int, rng: np.random.Generator | None = None
) -> tuple[int, int, int, int]:
    """A = [start, middle) and B = [middle, end), cut to `room` tokens together: A at its front and B at its end.

    The border between them stays intact. The longer one is cut first, until they are equally long. With a generator, how
    much of the cut falls on A is drawn instead, so that no text is cut away in every epoch.
    """
    a, b = middle - start, end - middle
    over = max(0, a + b - room)
    if rng is None or not over:
        from_longer = min(over, abs(a - b))
        cut_a = (over - from_longer) // 2 + (from_longer if a > b else 0)
    else:
        least, most = max(0, over - b + 1), min(over, a - 1)
        beyond = (
            most - least
        ) // 8  # both ends of the range are drawn more often, or the outermost tokens would be rare
        cut_a = int(np.clip(rng.integers(least - beyond, most + beyond + 1), least, most))
    return start + cut_a, middle, middle, end - (over - cut_a)


def lone_windows(
    store: Store, room: int, rng: np.random.Generator, documents: range | None = None, pairs: int | None = None
) -> np.ndarray:
    """Where the text that fits into no pair is in the store's ids, in windows of at most `room` + 1 tokens: int64 [N, 2].

    This is the text of documents of a single sentence, and of every sentence that leaves no room for another one. Where
    the latter would be more than a tenth of all rows (with so many `pairs`), an epoch gets a quarter of them, drawn at random,
    or a tenth if that is more. They do not crowd out next sentence then, and a few epochs still show all of them.
    """
    sentences, borders = np.asarray(store.sentences), np.asarray(store.documents)
    chosen = range(len(borders) - 1) if documents is None else documents
    sizes = np.diff(borders[chosen.start : chosen.stop + 1])  # sentences of each document
    first, last = borders[chosen.start], borders[chosen.stop]
    starts, ends = sentences[first:last], sentences[first + 1 : last + 1]
    stretches, single = np.stack([starts, ends], axis=1), np.repeat(sizes == 1, sizes)
    lone = single | (ends - starts >= room)
    found = windows(stretches[lone], room + 1, rng)
    from_single = np.isin(np.searchsorted(starts, found[:, 0], side="right") - 1, np.flatnonzero(single))
    long = np.flatnonzero(~from_single)
    if pairs is None or 9 * len(long) <= pairs:
        return found
    kept = rng.permutation(long)[: max(len(long) // 4, pairs // 9)]
    return found[np.sort(np.concatenate([np.flatnonzero(from_single), kept]))]


def document_windows(store: Store, size: int, rng: np.random.Generator, documents: range | None = None) -> np.ndarray:
    """Whole documents as windows of at most `size` tokens, for training without sentence pairs: int64 [N, 2]."""
    borders = store.document_borders
    chosen = range(len(borders) - 1) if documents is None else documents
    borders = borders[chosen.start : chosen.stop + 1]
    return windows(np.stack([borders[:-1], borders[1:]], axis=1), size, rng)


def windows(stretches: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut stretches [N, 2] into windows of at most `size` tokens. A long one is cut at other places in every epoch.

    Rests of less than a quarter of a window at the ends of a long stretch are left out; another epoch shows them.
    """
    rows = []
    for start, end in stretches.tolist():
        if end - start <= size:
            rows.append((start, end))
            continue
        cuts = range(start - int(rng.integers(size)), end, size)
        pieces = [(max(start, cut), min(end, cut + size)) for cut in cuts]
        rows += [(left, right) for left, right in pieces if 4 * (right - left) >= size]
    return np.array(rows, dtype=np.int64).reshape(-1, 2)
