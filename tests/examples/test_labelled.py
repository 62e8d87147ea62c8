import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labelled import cut, encode_tagged, encode_texts, label_names, pieces
from minilm.examples.labels import IGNORED
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import train_characters
from minilm.training.inference import true_tags

PAD, UNK, CLS, SEP = 0, 1, 2, 3
TAGS = ("B-LOC", "B-PER", "I-LOC", "I-PER", "O")
ALPHABET = "abcdefghijklmnopqrstuvwxyz。!"


@pytest.fixture(scope="module")
def tokenizer():
    return train_characters([ALPHABET])


# ---- texts and pairs


def test_F07_texts_become_rows_with_special_tokens_segments_and_numbers(tokenizer):
    a, b, c = tokenizer.ids(["abc"])[0]
    examples = [Example("abc", "good"), Example("b", "bad", "ca"), Example("", None), Example("a", "bad", "")]
    encoded = encode_texts(examples, ("bad", "good"), tokenizer, max_length=None)
    assert encoded.rows == [[CLS, a, b, c, SEP], [CLS, b, SEP, c, a, SEP], [CLS, SEP], [CLS, a, SEP, SEP]]
    assert encoded.columns["token_type_ids"] == [[0] * 5, [0, 0, 0, 1, 1, 1], [0, 0], [0, 0, 0, 1]]
    assert encoded.labels == [1, 0, IGNORED, 0]
    assert encoded.owner == [0, 1, 2, 3] and len(encoded) == 4 and encoded.lengths.tolist() == [5, 6, 2, 4]


def test_F07_a_text_that_just_fits_is_left_whole_and_a_longer_one_is_refused_or_cut(tokenizer):
    fits, pair = [Example("abcd", "x")], [Example("ab", "x", "cde")]
    assert len(encode_texts(fits, ("x", "y"), tokenizer, 6).rows[0]) == 6
    assert len(encode_texts(pair, ("x", "y"), tokenizer, 8).rows[0]) == 8
    with pytest.raises(InputError, match="text 2 of film.csv has 5 tokens and the model takes 4.*--truncate"):
        encode_texts([*fits, Example("abcde", "x")], ("x", "y"), tokenizer, 6, where="film.csv")
    with pytest.raises(InputError, match="text 1 of the data has 5 tokens and the model takes 4"):
        encode_texts(pair, ("x", "y"), tokenizer, 7)
    with pytest.raises(InputError, match="text 9 of the data has 5 tokens"):
        encode_texts([*fits, *pair], ("x", "y"), tokenizer, 7, places=[3, 8])
    (row,) = encode_texts([Example("abcdefgh", "x")], ("x", "y"), tokenizer, 6, truncate=True).rows
    assert row == [CLS, *tokenizer.ids(["abcd"])[0], SEP]


def test_F07_a_label_that_was_not_seen_is_named_with_its_text(tokenizer):
    examples = [Example("a", "good"), Example("b", "meh")]
    with pytest.raises(InputError, match=r"text 2 of film.csv has the label 'meh'.*\(the labels are bad, good\)"):
        encode_texts(examples, ("bad", "good"), tokenizer, None, where="film.csv")


def test_label_names_are_sorted_and_at_least_two():
    assert label_names(["pos", "neg", "pos"], "film.csv") == ("neg", "pos")
    with pytest.raises(InputError, match="film.csv has only one class, 'pos': a classifier needs examples of two"):
        label_names(["pos", "pos"], "film.csv")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_F07_cut_fills_the_room_and_takes_from_the_longer_first(length_a, length_b, room):
    a, b = list(range(length_a)), list(range(100, 100 + length_b))
    short_a, short_b = cut(a, b, room)
    assert short_a == a[: len(short_a)] and short_b == b[: len(short_b)]  # both are cut at the end
    assert len(short_a) + len(short_b) == min(room, length_a + length_b)
    if len(short_a) < length_a:
        assert len(short_a) >= min(len(short_b), room // 2) - 1
    if len(short_b) < length_b:
        assert len(short_b) >= min(len(short_a), room // 2) - 1
    if length_a + length_b > room:  # a text shorter than half is not cut
        assert length_a > room // 2 or short_a == a
        assert length_b > room // 2 or short_b == b
    assert cut(a, None, room) == (a[:room], None)


def test_F07_cut_leaves_what_tokenizers_leaves():
    """Every combination of lengths, against the library's "longest_first" truncation, special tokens included."""
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[CLS]": 0, "[SEP]": 1, "a": 2, "b": 3}))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    for room in range(2, 15):
        backend.enable_truncation(room + 3)
        lengths = [(a, b) for a in range(1, 20) for b in range(1, 20)]
        theirs = backend.encode_batch([("a " * a, "b " * b) for a, b in lengths])
        for (a, b), encoding in zip(lengths, theirs):
            ours = cut([2] * a, [3] * b, room)
            assert ours == ([2] * encoding.ids.count(2), [3] * encoding.ids.count(3)), (a, b, room)


def test_F07_how_many_texts_were_cut_is_said(tokenizer):
    said = []
    texts = [Example(text, "x") for text in ("abc", "abcdef", "ab", "abcdefgh")]
    encode_texts(
        texts, ("x", "y"), tokenizer, 6, truncate=True, where="film.csv", places=[7, 3, 0, 1], note=said.append
    )
    assert said == ["2 of 4 texts were cut at the end to fit into the model: text 4 of film.csv from 6 to 4 tokens."]
    encode_texts(texts[:1], ("x", "y"), tokenizer, 6, truncate=True, note=said.append)
    assert len(said) == 1


# ---- batches


def test_a_batch_is_padded_to_its_longest_with_padding_marked(tokenizer):
    encoded = encode_texts([Example("abc", "x"), Example("a", "y", "b")], ("x", "y"), tokenizer, None)
    batch = encoded.batch([1, 0])
    a, b, c = tokenizer.ids(["abc"])[0]
    assert batch.input_ids.tolist() == [[CLS, a, SEP, b, SEP], [CLS, a, b, c, SEP]]
    assert encoded.batch([0, 1]).labels.tolist() == [0, 1]
    short = encode_texts([Example("a", "x"), Example("abc", "y")], ("x", "y"), tokenizer, None).batch([0, 1])
    assert short.input_ids[0].tolist() == [CLS, a, SEP, PAD, PAD]
    assert short.attention_mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert short.token_type_ids[0].tolist() == [0] * 5
    moved = short.to(torch.device("meta"))
    assert moved.nsp_labels is None
    assert {name: tensor.device.type for name, tensor in vars(moved).items() if tensor is not None} == dict.fromkeys(
        ("input_ids", "token_type_ids", "attention_mask", "labels"), "meta"
    )


def test_every_row_comes_once_an_epoch_and_once_in_order():
    rows = [[CLS, *[5] * n, SEP] for n in np.random.default_rng(0).integers(1, 40, 130)]
    encoded = Dataset({"input_ids": rows, "labels": [0] * 130}, {"input_ids": PAD}, list(range(130)))
    epochs = [encoded.shuffled(16, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert sorted(np.concatenate(epochs[0]).tolist()) == list(range(130))
    assert all(np.array_equal(a, b) for a, b in zip(epochs[0], epochs[1]))
    assert not np.array_equal(np.concatenate(epochs[0]), np.concatenate(epochs[2]))
    in_order = np.concatenate(encoded.in_order(16))
    assert sorted(in_order.tolist()) == list(range(130))
    assert (np.diff(encoded.lengths[in_order]) >= 0).all()


# ---- tagged lines

COLUMNS = ("input_ids", "token_type_ids", "labels")


@st.composite
def tagged_lines(draw):
    tokens = draw(st.lists(st.sampled_from([*ALPHABET, "☃", "\x07", "ab"]), max_size=30))
    return TaggedLine(tokens, draw(st.lists(st.sampled_from(TAGS), min_size=len(tokens), max_size=len(tokens))))


@given(st.lists(tagged_lines(), max_size=5), st.one_of(st.none(), st.integers(3, 20)))
def test_F31_tags_of_lines_that_were_cut_come_back_whole(tokenizer, lines, max_length):
    encoded = encode_tagged(lines, TAGS, tokenizer, max_length)
    assert all(len(row) <= (max_length or 99) for row in encoded.rows)
    for row, token_type_ids, labels in zip(*map(encoded.columns.get, COLUMNS), strict=True):
        assert len(row) == len(token_type_ids) == len(labels) and not any(token_type_ids)
        assert (row[0], row[-1]) == (CLS, SEP) and labels[0] == labels[-1] == IGNORED
        assert row == [CLS, SEP] or labels[1] != IGNORED  # no row begins inside a word
    assert encoded.owner == sorted(encoded.owner)
    assert true_tags(encoded, TAGS) == [list(line.tags) for line in lines]
    ids, first = [[] for _ in lines], [[] for _ in lines]
    for owner, row, labels in zip(encoded.owner, encoded.rows, encoded.labels):
        ids[owner] += row[1:-1]
        first[owner] += [piece for piece, label in zip(row, labels) if label != IGNORED]
    tokens = [line.tokens for line in lines]
    room = 99 if max_length is None else max_length - 2
    words = tokenizer.pieces_of_words(tokens)
    assert first == [[word[0] for word in line] for line in words]
    assert ids == [[piece for word in line for piece in word[:room]] for line in words]


def test_F31_padding_and_special_tokens_carry_no_tag(tokenizer):
    lines = [TaggedLine(list("abc"), ["O", "B-PER", "I-PER"]), TaggedLine(["d"], ["B-LOC"])]
    batch = encode_tagged(lines, TAGS, tokenizer, None).batch([0, 1])
    assert batch.labels.tolist() == [[IGNORED, 4, 1, 3, IGNORED], [IGNORED, 0, IGNORED, IGNORED, IGNORED]]
    assert batch.attention_mask.tolist() == [[True] * 5, [True] * 3 + [False] * 2]


def test_F31_a_line_is_cut_after_a_sentence_or_else_where_the_room_ends():
    assert pieces(list("ab。cd。ef"), 7) == [(0, 6), (6, 8)]
    assert pieces(list("ab。cd。ef"), 5) == [(0, 3), (3, 8)]
    assert pieces(list("abcdefgh"), 3) == [(0, 3), (3, 6), (6, 8)]
    assert pieces(list("ab!"), 3) == [(0, 3)]
    assert pieces(list("abcdefgh"), None) == [(0, 8)] and pieces([], 5) == [(0, 0)]


def test_F31_a_tag_that_was_not_seen_is_named_with_its_line(tokenizer):
    lines = [TaggedLine(["a"], ["O"]), TaggedLine(["b", "c"], ["O", "B-ORG"])]
    with pytest.raises(InputError, match="line 2 of news.conll has the tag 'B-ORG'.*the tags are B-LOC, B-PER"):
        encode_tagged(lines, TAGS, tokenizer, None, "news.conll")
