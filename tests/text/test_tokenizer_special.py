"""Special tokens that a text spells out: plain text everywhere, and the token itself only where fill-mask asks for it."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tokenizers
import torch
import transformers
from hypothesis import given, strategies as st
from tokenizers import models, normalizers, pre_tokenizers

from minilm.errors import InputError
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.labelled import encode_tagged, encode_texts
from minilm.text.files import Example
from minilm.text.store import write_store
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import SPECIAL_TOKENS, Tokenizer, train_characters, train_wordpiece

LINES = [
    "In BERT the token [PAD] fills up a row .",
    "The token [MASK] hides a word , and [SEP] parts two texts .",
    "[CLS] first , [UNK] for the rest , [pad] for nobody .",
]


@pytest.fixture(scope="module", params=["wordpiece", "characters", "kept capitals", "other names"])
def tokenizer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("special")
    (folder / "text.txt").write_text("\n".join(LINES * 3), encoding="utf-8")
    if request.param == "characters":
        return train_characters(LINES)
    made = train_wordpiece([folder / "text.txt"], 200, lowercase=request.param != "kept capitals")
    if request.param != "other names":
        return made
    vocabulary = json.loads(made.to_json())["model"]["vocab"]
    names = {key: token.replace("[", "<").replace("]", ">") for key, token in made.names.items()}
    lines = sorted((token for token in vocabulary), key=vocabulary.get)
    lines = [names.get(f"{token[1:-1].lower()}_token", token) for token in lines]
    (folder / "vocab.txt").write_text(
        "\n".join([*lines[40:], *lines[:40]]), encoding="utf-8"
    )  # special ones far behind
    (folder / "tokenizer_config.json").write_text(json.dumps(names), encoding="utf-8")
    return Tokenizer.load(folder / "vocab.txt")


def spelled(tokenizer, lines=tuple(LINES)):
    """The lines with the tokenizer's own special tokens instead of BERT's."""
    out = list(lines)
    for theirs, own in zip(SPECIAL_TOKENS, tokenizer.special_tokens, strict=True):
        out = [line.replace(theirs, own) for line in out]
    return out


def without_unknown(tokenizer):
    return set(tokenizer.special_ids) - {tokenizer.unknown}


def test_no_text_contains_a_special_token(tokenizer):
    lines = spelled(tokenizer)
    rows = tokenizer.ids(lines)
    assert not {i for row in rows for i in row} & without_unknown(tokenizer)
    assert all(len(row) > len(line.split()) for row, line in zip(rows, lines, strict=True))  # they are split, not lost
    words = tokenizer.pieces_of_words([line.split() for line in lines])
    assert not {i for row in words for pieces in row for i in pieces} & without_unknown(tokenizer)


def test_special_tokens_are_read_where_they_are_asked_for(tokenizer):
    lines = spelled(tokenizer)
    marked = [{i for i in row if i in without_unknown(tokenizer)} for row in tokenizer.ids(lines, special=True)]
    assert marked == [{tokenizer.pad}, {tokenizer.mask, tokenizer.sep}, {tokenizer.cls}]


@given(
    st.lists(st.sampled_from([*SPECIAL_TOKENS, *"<>[] ", "the", "北", "MASK", "\u200b", "＃"]), max_size=8).map("".join)
)
def test_whatever_is_put_together_from_their_letters_is_text(text):
    for tokenizer in (MADE, CHARACTERS):
        assert not set(tokenizer.ids([text])[0]) & without_unknown(tokenizer)
        for pieces in tokenizer.pieces_of_words([[text, text]])[0]:
            assert not set(pieces) & without_unknown(tokenizer)


CHARACTERS = train_characters(LINES, lowercase=False)
_backend = tokenizers.Tokenizer(
    models.WordPiece({t: i for i, t in enumerate([*SPECIAL_TOKENS, "the"])}, unk_token="[UNK]")
)
_backend.pre_tokenizer, _backend.normalizer = pre_tokenizers.WhitespaceSplit(), normalizers.Lowercase()
_backend.normalizer = None  # here a whole [MASK] is looked up in the vocabulary like a word, and found
MADE = Tokenizer.from_json(_backend.to_str())


def test_a_vocabulary_that_spells_out_a_special_token_leaks_none():
    assert MADE.ids(["the [MASK] [PAD] the"]) == [[5, MADE.unknown, MADE.unknown, 5]]
    assert MADE.ids(["the [MASK] the"], special=True) == [[5, MADE.mask, 5]]


def test_the_pieces_are_those_of_split_special_tokens(tokenizer, tmp_path):
    """The same as the referee's own way to read special tokens as text."""
    tokenizer.save(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **tokenizer.names)
    lines = spelled(tokenizer)
    assert tokenizer.ids(lines) == theirs(lines, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), **tokenizer.names)
    assert tokenizer.ids(lines, special=True) == theirs(lines, add_special_tokens=False)["input_ids"]


def test_reading_special_tokens_in_one_thread_changes_no_other_thread(tokenizer):
    lines = spelled(tokenizer) * 50
    plain, special = tokenizer.ids(lines), tokenizer.ids(lines, special=True)
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda i: tokenizer.ids(lines, special=bool(i % 2)), range(64)))
    assert all(row == (special if i % 2 else plain) for i, row in enumerate(rows))


def test_copies_and_saved_tokenizers_read_text_in_the_same_way(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    for other in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer)), Tokenizer.load(tmp_path)):
        assert other.names == tokenizer.names and other.special_ids == tokenizer.special_ids
        for special in (True, False):
            assert other.ids(spelled(tokenizer), special) == tokenizer.ids(spelled(tokenizer), special)


def test_no_job_lets_a_text_take_attention_or_segments_away(tokenizer, tmp_path):
    """Pretraining, text pairs and tagging: every token of a text is attended to, and a pair has its two segments."""
    lines = spelled(tokenizer)
    store = write_store([lines, lines], tokenizer, tmp_path / "store")
    assert not set(np.asarray(store.ids).tolist()) & without_unknown(tokenizer)
    batches = PretrainingBatches(store, tokenizer, 128, 4, seed=0)
    for batch in (batches[0], batches[1]):
        mask = (
            torch.ones_like(batch.input_ids, dtype=torch.bool) if batch.attention_mask is None else batch.attention_mask
        )
        ends = [int(row.nonzero().max()) for row in mask]
        assert all(mask[i, : end + 1].all() and not mask[i, end + 1 :].any() for i, end in enumerate(ends))
        for row, types, end in zip(batch.input_ids, batch.token_type_ids, ends, strict=True):
            seps = (row[: end + 1] == tokenizer.sep).sum()
            assert seps == (2 if types.any() else 1)
    pairs = [Example(a, None, b) for a, b in zip(lines, reversed(lines), strict=True)]
    encoded = encode_texts(pairs, (), tokenizer, None)
    batch = encoded.batch(range(3))
    assert batch.attention_mask.sum(dim=1).tolist() == [len(row) for row in encoded.rows]
    assert all(row.count(tokenizer.sep) == 2 and row.count(tokenizer.cls) == 1 for row in encoded.rows)
    words = [line.split() for line in lines]
    tagged = encode_tagged([TaggedLine(row, ["O"] * len(row)) for row in words], ("O",), tokenizer, None)
    assert all(row.count(tokenizer.sep) == 1 and tokenizer.pad not in row for row in tagged.rows)


def test_ids_with_gaps_and_a_token_listed_twice(tmp_path):
    lines = ["a", "[SEP]", "b", "a", "[MASK]", "", "[CLS]", "[UNK]", "c", "[PAD]", "b"]
    (tmp_path / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    read = Tokenizer.load(tmp_path)
    assert read.ids(["a b c d"]) == [[3, 10, 8, 7]] and read.size == 11  # the last line counts
    assert read.special_ids == [9, 7, 6, 1, 4] and read.pair([3], [8])[0] == [6, 3, 1, 8, 1]
    assert read.tokens([0, 3, 99]) == ["", "a", ""]  # an id that has no token any more
    assert read.text([3, 8]) == "a c"


def test_another_frame_is_refused():
    file = json.loads(CHARACTERS.to_json())
    file["post_processor"]["pair"][2]["SpecialToken"]["type_id"] = 1
    message = "my file: the tokenizer's post_processor does not frame a text as BERT does, but as .CLS., "
    with pytest.raises(InputError, match=message):
        Tokenizer.from_json(json.dumps(file), "my file")
    file["post_processor"] = (
        None  # nothing is said, so BERT's way is added, and others that open the file read it as well
    )
    again = Tokenizer.from_json(json.dumps(file))
    assert again.backend.encode("a b").ids == again.pair(again.ids(["a b"])[0])[0]


def test_a_panic_of_the_library_is_one_sentence():
    """A frame whose special token the file does not describe stops the library's Rust code; that is no `Exception` in Python."""
    file = json.loads(CHARACTERS.to_json())
    del file["post_processor"]["special_tokens"]["[CLS]"]
    with pytest.raises(
        InputError, match="^my file: the tokenizer's post_processor does not fit its vocabulary .*no entry"
    ):
        Tokenizer.from_json(json.dumps(file), "my file")
