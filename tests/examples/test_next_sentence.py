import math

import numpy as np
import pytest
from hypothesis import given, strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.next_sentence import IS_NEXT, IS_NOT_NEXT, document_windows, draw_pairs, lone_windows, trim
from minilm.text.store import Store
from minilm.text.tokenizer import train_characters


def store_of(documents):
    """A store of documents; their sentences have the given lengths."""
    lengths = [length for document in documents for length in document]
    sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    borders = np.concatenate([[0], np.cumsum([len(document) for document in documents])]).astype(np.int64)
    return Store(np.zeros(sentences[-1], dtype=np.uint16), sentences, borders)


def drawn(store, room, seeds=1, **options):
    """The pairs of several epochs, as rows of a_start, a_end, b_start, b_end and label."""
    pairs = [
        draw_pairs(store, room, np.random.default_rng([26, seed]), moving=seed % 2 == 1, **options)
        for seed in range(seeds)
    ]
    return np.concatenate([np.stack([p.a_start, p.a_end, p.b_start, p.b_end, p.label], axis=1) for p in pairs])


def document_at(store, place):
    return int(np.searchsorted(store.document_borders, place, side="right")) - 1


corpora = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=8), min_size=1, max_size=8).filter(
    lambda documents: max(map(len, documents)) >= 2 and (len(documents) > 1 or len(documents[0]) > 2)
)


@given(corpora, st.integers(5, 25))
def test_F26_what_holds_for_every_pair(documents, room):
    store = store_of(documents)
    sentence_starts = set(store.sentences.tolist())
    for a_start, a_end, b_start, b_end, label in drawn(store, room, seeds=3).tolist():
        assert 0 < a_end - a_start and 0 < b_end - b_start
        assert a_end - a_start + b_end - b_start <= room
        assert a_end in sentence_starts and b_start in sentence_starts
        home = document_at(store, a_start)
        assert document_at(store, a_end - 1) == home  # neither A nor B crosses a document's border
        assert document_at(store, b_start) == document_at(store, b_end - 1)
        if label == IS_NEXT:
            assert b_start == a_end and document_at(store, b_start) == home
        else:
            assert b_start != a_end
            assert (document_at(store, b_start) == home) == (len(documents) == 1)


@given(corpora, st.integers(5, 25))
def test_F26_every_document_of_two_sentences_gives_pairs_and_a_pair_fills_its_room(documents, room):
    store = store_of(documents)
    pairs = draw_pairs(store, room, np.random.default_rng(0))
    homes = [document_at(store, start) for start in pairs.a_start]
    assert set(homes) == {i for i, document in enumerate(documents) if len(document) >= 2}
    for i, home in enumerate(homes):
        if pairs.label[i] == IS_NEXT and pairs.lengths[i] < room:  # only at the end of a document
            assert pairs.b_end[i] == store.document_borders[home + 1]


def test_F26_positives_read_on_where_the_last_pair_ended():
    """No sentence is lost: with only positives, the pairs cover the whole document, except for what is cut off."""
    store = store_of([[4] * 30])
    rows = drawn(store, room=8, seeds=20)
    inner = rows[rows[:, 4] == IS_NEXT]
    assert set(inner[:, 0].tolist() + inner[:, 2].tolist()) == set(range(0, 120, 4))


def test_F26_half_are_negatives():
    store = store_of([[10] * 20] * 300)
    label = drawn(store, room=61, seeds=10)[:, 4]
    z = (label.mean() - 0.5) / (0.5 / math.sqrt(len(label)))
    assert len(label) > 10_000 and abs(z) < 4


def synthetic(documents, sentences, tokens, seed=0):
    """Documents of 1, 2, 3 … sentences (geometric), with sentence lengths uniform on 1 … 2·tokens − 1."""
    rng = np.random.default_rng(seed)
    return store_of([rng.integers(1, 2 * tokens, n).tolist() for n in rng.geometric(1 / sentences, documents)])


def what_shows_without_reading(store, rows, room):
    """The lengths, and where A and B begin and end: everything that you can know about a pair without its words."""
    a_start, a_end, b_start, b_end, _ = rows.T
    sentence, document = (np.zeros(store.tokens + 1, dtype=bool) for _ in range(2))
    sentence[store.sentences] = document[store.document_borders] = True
    a, b = a_end - a_start, b_end - b_start
    ends = sentence[a_start], sentence[b_start], sentence[b_end], document[a_start], document[b_start], document[b_end]
    return np.stack([a, b, a + b, a + b == room, *ends], axis=1).astype(float)


def excess_accuracy(features, label):
    """By how many standard errors a linear model and a tree model exceed 50 % accuracy on unseen pairs."""
    half = len(label) // 2
    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-9)
    line = LogisticRegression(max_iter=500).fit(scaled[:half], label[:half]).score(scaled[half:], label[half:])
    trees = HistGradientBoostingClassifier(max_iter=30, random_state=0).fit(features[:half], label[:half])
    return [
        (accuracy - 0.5) / (0.5 / math.sqrt(half)) for accuracy in (line, trees.score(features[half:], label[half:]))
    ]


@pytest.mark.parametrize(("sentences", "tokens", "room"), [(12, 20, 125), (3, 15, 61), (30, 8, 29)])
def test_F26_nothing_but_the_words_tells_a_negative_from_a_positive(sentences, tokens, room):
    store = synthetic(3000, sentences, tokens)
    rows = drawn(store, room, seeds=2)
    rows = rows[np.random.default_rng(1).permutation(len(rows))]
    seen = what_shows_without_reading(store, rows, room)
    assert max(excess_accuracy(seen[:, :3], rows[:, 4])) < 4
    assert max(excess_accuracy(seen, rows[:, 4])) < 4


def test_F26_a_random_stretch_for_a_negative_would_be_seen():
    """Negatives are often made from a random B that is cut to fit. Its length and its end reveal the label at once."""
    store, rng = synthetic(3000, 12, 20), np.random.default_rng(0)
    rows = drawn(store, room=125)
    rows = rows[rng.permutation(len(rows))]
    negative = rows[:, 4] == IS_NOT_NEXT
    start = rng.integers(0, len(store.sentences) - 1, negative.sum())
    document = np.searchsorted(store.documents, start, side="right")
    rows[negative, 2] = store.sentences[start]
    room_left = 125 - (rows[negative, 1] - rows[negative, 0])
    rows[negative, 3] = np.minimum(store.sentences[start] + room_left, store.document_borders[document])
    assert max(excess_accuracy(what_shows_without_reading(store, rows, 125), rows[:, 4])) > 10


def test_F26_a_negative_comes_from_anywhere():
    """With 12 documents of the same shape, B is drawn from each of the 11 others."""
    store = store_of([[10] * 20] * 12)
    rows = drawn(store, room=61, seeds=40)
    of_first = rows[(rows[:, 0] < store.document_borders[1]) & (rows[:, 4] == IS_NOT_NEXT)]
    assert {document_at(store, start) for start in of_first[:, 2]} == set(range(1, 12))


def test_F26_one_document_takes_its_negatives_from_elsewhere_in_it():
    store = store_of([[5] * 200])
    rows = drawn(store, room=20, seeds=3)
    negative = rows[rows[:, 4] == IS_NOT_NEXT]
    a_start, a_end, b_start, b_end, _ = negative.T
    assert ((b_end <= a_start) | (b_start >= a_end + 5)).all()
    assert abs(len(negative) / len(rows) - 0.5) < 4 * 0.5 / math.sqrt(len(rows))


@pytest.mark.parametrize("sentences", [3, 4, 5])
def test_F26_one_short_document_has_few_negatives_and_none_is_the_true_next(sentences):
    rows = drawn(store_of([[5] * sentences]), room=10, seeds=200)
    negative = rows[rows[:, 4] == IS_NOT_NEXT]
    assert len(negative) > 50 and (negative[:, 2] != negative[:, 1]).all()
    assert (negative[:, 2] != negative[:, 1] - 5).all()  # nor A's last sentence


def test_F26_the_same_seed_gives_the_same_pairs_and_another_seed_others():
    store = store_of([[3, 4, 5] * 4] * 10)
    first, again = drawn(store, 20), drawn(store, 20)
    other = draw_pairs(store, 20, np.random.default_rng(5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first[:, 0], other.a_start) or not np.array_equal(first[:, 4], other.label)


def test_F26_a_part_of_the_documents_gives_the_pairs_of_that_part():
    store = store_of([[5] * 6] * 20 + [[5]] * 3)
    rows = drawn(store, room=20, seeds=5, documents=range(4, 9))
    assert {document_at(store, start) for start in rows[:, 0]} == {4, 5, 6, 7, 8}
    nothing = draw_pairs(store, 20, np.random.default_rng(0), range(20, 23))  # single sentences have no pairs
    assert len(nothing) == 0 and len(nothing.lengths) == 0


@given(st.tuples(*[st.integers(1, 40)] * 2), st.integers(2, 30), st.sampled_from([None, 0, 1, 2, 3]))
def test_F26_trim_cuts_a_at_its_front_and_b_at_its_end_and_fills_the_room(lengths, room, seed):
    a, b = lengths
    rng = None if seed is None else np.random.default_rng(seed)
    a_start, a_end, b_start, b_end = trim(100, 100 + a, 100 + a + b, room, rng)
    assert (a_end, b_start) == (100 + a, 100 + a)
    assert 100 <= a_start < a_end and b_start < b_end <= 100 + a + b
    assert b_end - a_start == min(a + b, room)
    if seed is None and a + b > room:  # the longer one is cut first
        assert all(
            kept == whole or kept >= room // 2 for kept, whole in zip((a_end - a_start, b_end - b_start), lengths)
        )


def test_F26_trim_cuts_every_place_in_some_epoch():
    starts = {trim(0, 40, 80, 50, np.random.default_rng(seed))[0] for seed in range(500)}
    assert starts == set(range(31))  # from nothing of A to all that B leaves


def share_seen(store, room, rounds):
    """The share of the tokens that take part, in a pair or alone, in some of the rounds of pretraining."""
    batches = PretrainingBatches(store, train_characters(["abc"], 60), room + 3, 64, seed=1)
    seen = np.zeros(store.tokens, dtype=bool)
    for number in range(rounds):
        batches.open_round(number)
        for a_start, a_end, b_start, b_end, _ in batches.rows.tolist():
            seen[a_start:a_end] = seen[b_start:b_end] = True
    return seen.mean()


KINDS_OF_TEXT = {
    "long lines": [[400] * 5] * 30,
    "documents of one sentence": [[8]] * 100 + [[9, 12, 7]] * 30,
    "long documents of one sentence": [[300]] * 20 + [[9, 12, 7]] * 3,
    "two sentences that fill a pair each": [[100, 100]] * 40,
    "one long sentence among short ones": [[10, 20, 500, 15, 8]] * 40,
    "ordinary": np.split(np.random.default_rng(0).integers(3, 50, 1200), 100),
}


@pytest.mark.parametrize("kind", KINDS_OF_TEXT)
def test_F26_all_text_takes_part(kind):
    """Where pairs alone were drawn, lines of 400 tokens showed 28 % of the text in 40 epochs, and mostly single sentences 39 %."""
    documents = [list(map(int, document)) for document in KINDS_OF_TEXT[kind]]
    assert share_seen(store_of(documents), room=125, rounds=40) > 0.99


@given(corpora, st.integers(5, 25))
def test_F25_lone_windows_hold_what_fits_into_no_pair_and_nothing_else(documents, room):
    store = store_of(documents)
    found = lone_windows(store, room, np.random.default_rng(0))
    assert ((found[:, 1] - found[:, 0] > 0) & (found[:, 1] - found[:, 0] <= room + 1)).all()
    sizes = [length for document in documents for length in document]
    alone = [len(document) == 1 for document in documents for _ in document]
    for start, length, single in zip(store.sentences, sizes, alone):
        inside = [(a, b) for a, b in found.tolist() if start <= a and b <= start + length]
        assert bool(inside) == (single or length >= room)
        if inside and length <= room + 1:
            assert inside == [(start, start + length)]
    part = lone_windows(store, room, np.random.default_rng(0), range(1, len(documents)))
    assert all(a >= store.document_borders[1] for a, _ in part.tolist())


def test_F25_long_sentences_do_not_crowd_out_the_pairs_and_single_ones_all_come():
    store = store_of([[70, 80, 90, 100] * 3] * 20 + [[12]] * 30)
    every = lone_windows(store, 61, np.random.default_rng(0))
    few = lone_windows(store, 61, np.random.default_rng(0), pairs=200)
    single = every[:, 1] - every[:, 0] == 12
    assert single.sum() == 30 and (few[:, 1] - few[:, 0] == 12).sum() >= 30
    assert len(few) - 30 == max((len(every) - 30) // 4, 200 // 9) < len(every) - 30
    assert {tuple(row) for row in few.tolist()} <= {tuple(row) for row in every.tolist()}
    assert np.array_equal(lone_windows(store, 61, np.random.default_rng(0), pairs=9 * len(every)), every)
    again = lone_windows(store, 61, np.random.default_rng(1), pairs=200)
    assert not np.array_equal(few, again)


@given(corpora, st.integers(2, 25))
def test_F25_document_windows_never_cross_a_document(documents, size):
    store = store_of(documents)
    found = document_windows(store, size, np.random.default_rng(3)).tolist()
    assert all(
        0 < end - start <= size and document_at(store, start) == document_at(store, end - 1) for start, end in found
    )
    assert {document_at(store, start) for start, _ in found} == set(range(len(documents)))


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([[5, 5]], "from 2 sentence.* of one document: give at least three sentences"),
        ([[5]], "from 1 sentence.* of one document"),
        ([[5], [4], [7]], "every document has a single sentence. Write one sentence per line"),
    ],
)
def test_F26_where_no_pair_is_possible_it_says_what_is_needed(documents, message):
    with pytest.raises(InputError, match=message):
        drawn(store_of(documents), room=20)
