"""The labels of subword pieces are checked by hand, by hypothesis, and with the pieces of a real tokenizer."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.examples.subword_labels import subword_labels
from minilm.text.tokenizer import train_characters


@st.composite
def sentences(draw):
    """(tags, words) for a few sentences: words have one to three pieces, and some sentences are cut off at the end."""
    batch = []
    for _ in range(draw(st.integers(1, 4))):
        tags = draw(st.lists(st.integers(0, 4), min_size=1, max_size=6))
        seen = draw(st.integers(0, len(tags)))
        row = [word for word in range(seen) for _ in range(draw(st.integers(1, 3)))]
        batch.append((tags, [None, *row, None]))
    return [tags for tags, _ in batch], [row for _, row in batch]


def test_F30_the_first_piece_has_the_tag_of_its_word_and_all_else_counts_for_nothing():
    labels = subword_labels([[3, 1, 0], [2]], [[None, 0, 0, 1, 2, 2, 2, None], [None, 0, None]])
    assert labels.tolist() == [
        [-100, 3, -100, 1, 0, -100, -100, -100],
        [-100, 2, -100, -100, -100, -100, -100, -100],
    ]
    assert labels.dtype == np.int64 and IGNORED == -100


@given(sentences())
def test_F31_every_word_that_has_pieces_counts_once_in_order_at_its_first_piece(case):
    tags, words = case
    labels = subword_labels(tags, words)
    assert labels.shape == (len(words), max(map(len, words)))
    for row_tags, row, found in zip(tags, words, labels):
        seen = [word for word in dict.fromkeys(row) if word is not None]
        assert found[found != -100].tolist() == [row_tags[word] for word in seen]
        assert np.flatnonzero(found != -100).tolist() == [row.index(word) for word in seen]


def test_F30_the_pieces_of_a_tokenizer_get_back_the_tags_of_its_words():
    words, tags = ["abc", "d", "ef", "a"], [1, 0, 3, 2]
    encoding = train_characters(["abcdef"]).backend.encode(words, is_pretokenized=True, add_special_tokens=True)
    (labels,) = subword_labels([tags], [encoding.word_ids])
    assert labels[labels != -100].tolist() == tags and labels[0] == labels[-1] == -100


@pytest.mark.parametrize(
    ("tags", "words", "said"),
    [
        ([], [], "0 sentences have tags and 0 have pieces"),
        ([[1]], [[0], [0]], "1 sentences have tags and 2 have pieces"),
        ([[1], [0, 2]], [[0], [None, 0, 2]], r"sentence 1 has 2 tags, but a piece of word 2 \(counted from 0\)"),
        ([[1]], [[-1]], "sentence 0 has 1 tags, but a piece of word -1"),
    ],
)
def test_F30_what_does_not_fit_together_is_one_clear_sentence(tags, words, said):
    with pytest.raises(InputError, match=said):
        subword_labels(tags, words)
