import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from minilm.examples.causal_lm import TextWindows
from minilm.text.store import Store
from minilm.text.tokenizer import train_characters

TOKENIZER = train_characters(["abcdefgh"])
BEGIN, END, PAD = TOKENIZER.begin, TOKENIZER.end, TOKENIZER.pad
FIRST = 100  # tokens are consecutive numbers from here, so that you can see where a window comes from


def store(*lengths):
    """Documents of these lengths, each a single sentence."""
    borders = np.cumsum([0, *lengths])
    return Store(np.arange(FIRST, FIRST + borders[-1], dtype=np.uint16), borders, np.arange(len(lengths) + 1))


def windows(lengths, length=7, size=5, seed=1):
    return TextWindows(store(*lengths), TOKENIZER, length, size, seed)


def rows_of(batch):
    """The rows without padding; padding stands at the end and is masked."""
    mask = torch.ones_like(batch.input_ids).bool() if batch.attention_mask is None else batch.attention_mask
    assert (batch.input_ids[~mask] == PAD).all() and (mask[:, :-1] | ~mask[:, 1:]).all()
    return [row[keep].tolist() for row, keep in zip(batch.input_ids, mask, strict=True)]


def framed(lengths):
    """Every document with BEGIN and END, and the document of each token."""
    ids, owner = iter(range(FIRST, FIRST + sum(lengths))), {}
    documents = [[next(ids) for _ in range(n)] for n in lengths]
    for i, document in enumerate(documents):
        owner |= dict.fromkeys(document, i)
    return [[BEGIN, *document, END] for document in documents], owner


def round_of(batches):
    """All batches of a round: until the number of rounds changes."""
    start, out = batches.first_step, []
    while batches.round < 0 or len(out) < len(batches.batches):
        out.append(batches[start + len(out)])
    return out


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    lengths = [3, 20, 9, 31, 1, 14, 14, 50]
    in_order = windows(lengths)
    steps = [in_order[step].input_ids for step in range(30)]
    again = windows(lengths)
    for step in (29, 0, 11, 0, 28):
        assert torch.equal(again[step].input_ids, steps[step])
        assert torch.equal(windows(lengths)[step].input_ids, steps[step])
    other = windows(lengths, seed=2)
    assert not all(torch.equal(other[step].input_ids, steps[step]) for step in range(30))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(2, 9), st.integers(1, 4), st.integers(0, 99))
def test_F23_a_round_predicts_every_token_once_and_no_window_leaves_its_document(lengths, length, size, seed):
    batches = windows(lengths, length, size, seed)
    documents, owner = framed(lengths)
    for number in range(3):  # the first round and two with other cuts
        batches[0] if number == 0 else batches.open_round(number)
        predicted = []
        for chosen in batches.batches:
            batch = batches.make(batches.rows[chosen])
            assert len(batch.input_ids) <= size and batch.input_ids.size(1) <= length and batch.labels is None
            for row in rows_of(batch):
                assert len(row) >= 2 and row.count(BEGIN) == (row[0] == BEGIN) and row.count(END) == (row[-1] == END)
                inside = [token for token in row if token >= FIRST]
                assert len({owner[token] for token in inside}) == 1  # a window of one document
                document = documents[owner[inside[0]]]
                start = document.index(row[0])
                assert document[start : start + len(row)] == row  # and a stretch of it
                predicted += [(owner[inside[0]], start + i) for i in range(1, len(row))]
        assert sorted(predicted) == [(i, t) for i, document in enumerate(documents) for t in range(1, len(document))]


def test_long_documents_are_cut_at_other_places_in_later_rounds():
    batches = windows([60], length=10)
    cuts = []
    for number in range(12):
        batches.open_round(number)
        cuts.append(tuple(batches.rows[:, 1].tolist()))
    assert cuts[0] == (0, 9, 18, 27, 36, 45, 54) and len(set(cuts)) > 5
    assert {cut[1] for cut in cuts} <= set(range(1, 10))


def test_rows_of_similar_length_stand_together_so_that_little_is_padding():
    lengths = np.random.default_rng(0).integers(3, 100, 300)
    batches = round_of(windows(lengths.tolist(), length=40, size=8))
    read, places = sum(batch.tokens for batch in batches), sum(batch.input_ids.numel() for batch in batches)
    assert sum(lengths + 1) == read - sum(len(batch.input_ids) for batch in batches)  # all but the first of each window
    assert read / places > 0.95


def test_whole_documents_are_measured_once_with_the_sizes_of_their_texts():
    lengths, sizes = [13, 2, 30, 6], np.array([[60, 70], [8, 8], [150, 151], [31, 40]])
    batches = windows(lengths, length=7, size=4).whole([2, 0, 3], sizes)
    documents, owner = framed(lengths)
    found = [token for batch in batches for row in rows_of(batch) for token in row[1:]]
    assert sorted(found) == sorted(token for i in (2, 0, 3) for token in documents[i][1:])
    for batch in batches:
        for row, size in zip(rows_of(batch), batch.text_sizes.tolist(), strict=True):
            (document,) = {owner[token] for token in row if token >= FIRST}
            assert size == (sizes[document].tolist() if row[-1] == END else [0, 0])
    assert torch.cat([batch.text_sizes for batch in batches]).sum(0).tolist() == [241, 261]


@pytest.mark.parametrize("length", [2, 3])
def test_the_shortest_windows_work(length):
    assert all(len(row) == 2 or length == 3 for row in rows_of(windows([4], length)[0]))
