"""Tokenizers of models that write: every text comes back from its bytes, and GPT-2's own files give the ids of `transformers`."""

import json
import pickle

import pytest
import transformers
from hypothesis import given, strategies as st
from published_folders import write

from minilm.errors import InputError
from minilm.text.causal_tokenizer import CausalTokenizer, train_bytes
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece

TEXT = """The old house stood by the river. Nobody lived in the old house, and nobody came.
In June the White Fox ran from Bonn; it's élan, 北京 and 🎉.\n"""
TEXTS = ["The fox's house", "  two  spaces \n", "北京, élan 🎉", "", "a", "<|endoftext|> [SEP]", "\tx\x00"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT * 3, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def in_bytes(file):
    return train_bytes([file], 320)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back_exactly(in_bytes, text):
    for tokenizer in (in_bytes, CausalTokenizer.of(in_bytes)):
        (ids,) = tokenizer.ids([text])
        assert tokenizer.text(ids) == text and tokenizer.unknown not in ids
        assert (len(ids) > 0) == (text != "")


def test_the_same_text_gives_the_same_vocabulary_and_merges(file, in_bytes):
    again = train_bytes([file], 320)
    assert again.to_json() == in_bytes.to_json() and again.size == 320
    assert in_bytes.tokens(range(5)) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(in_bytes.ids([" the old house"])[0]) < len(" the old house") / 2  # merges were learned
    lower = train_bytes([file], 320, lowercase=True)
    assert lower.text(lower.ids(["The FOX  élan"])[0]) == "the fox  elan"
    notes = []
    train_bytes([file], 5000, note=notes.append)
    assert "not the 5,000 asked for" in notes[0]
    with pytest.raises(InputError, match="a vocabulary of 260 is too small for bytes: give at least 261"):
        train_bytes([file], 260)


def test_a_tokenizer_with_berts_tokens_becomes_one_that_continues(file):
    for trained in (train_wordpiece([file], 110), train_characters(TEXT.split()), train_bytes([file], 300)):
        tokenizer = CausalTokenizer.of(trained)
        assert CausalTokenizer.of(tokenizer) is tokenizer
        (ids,) = trained.ids(["the fox"])
        assert tokenizer.prompt("the fox") == [trained.cls, *ids] == trained.prompt("the fox")
        assert (tokenizer.begin, tokenizer.end, tokenizer.pad, tokenizer.unknown) == (
            *(trained.cls, trained.sep, trained.pad, trained.unknown),
        )
        assert tokenizer.pair(ids)[0] == [trained.cls, *ids, trained.sep] and tokenizer.size == trained.size
        copy = pickle.loads(pickle.dumps(tokenizer))
        assert type(copy) is CausalTokenizer and copy.ids(["[SEP] the"]) == tokenizer.ids(["[SEP] the"])
        assert trained.sep not in tokenizer.ids(["[SEP] [CLS] [PAD]"])[0]


def gpt2_folder(folder, in_bytes, files=("tokenizer.json",), **settings):
    """GPT-2's files with our merges: "<|endoftext|>" is the only special token, and the last one."""
    model = json.loads(in_bytes.to_json())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)[5:]
    vocabulary = {token: i for i, token in enumerate([*tokens, "<|endoftext|>"])}
    merges = [tuple(pair) for pair in model["merges"]]
    made = transformers.GPT2Tokenizer(vocab=vocabulary, merges=merges)
    made.save_pretrained(folder)
    written = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    write(folder / "tokenizer_config.json", written | settings)
    write(folder / "config.json", {"model_type": "gpt2"})
    if "vocab.json" in files:
        write(folder / "vocab.json", vocabulary)
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges), ""]
        (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
        (folder / "tokenizer.json").unlink()
    if "no settings" in files:
        (folder / "tokenizer_config.json").unlink()


@pytest.mark.parametrize(
    "files", [("tokenizer.json",), ("vocab.json",), ("vocab.json", "no settings"), ("tokenizer.json", "no settings")]
)
@pytest.mark.parametrize("settings", [{}, {"add_prefix_space": True}], ids=str)
def test_gpt2s_own_files_give_the_ids_of_transformers(files, settings, in_bytes, tmp_path):
    gpt2_folder(tmp_path, in_bytes, files, **settings)
    ours, theirs = Tokenizer.load(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(ours, CausalTokenizer) and isinstance(theirs, transformers.GPT2Tokenizer)
    for text in TEXTS:
        wanted = theirs(text, split_special_tokens=True)["input_ids"]
        assert ours.prompt(text) == (wanted or [ours.end])
        assert ours.text(ours.ids([text])[0]) == theirs.decode(ours.ids([text])[0])
    assert ours.begin == ours.end == ours.pad == theirs.eos_token_id and ours.size == len(theirs)


def test_a_folder_that_the_class_would_read_otherwise_is_refused(in_bytes, tmp_path):
    gpt2_folder(tmp_path, in_bytes, add_bos_token=True)
    with pytest.raises(InputError, match="add_bos_token is not implemented for the class GPT2Tokenizer"):
        Tokenizer.load(tmp_path)
    gpt2_folder(tmp_path, in_bytes)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    write(tmp_path / "tokenizer.json", content | {"normalizer": {"type": "Lowercase"}})
    with pytest.raises(InputError, match="is not byte-level BPE as the class GPT2Tokenizer builds it"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write(tmp_path / "vocab.json", {"a": 0})
    with pytest.raises(InputError, match="has a vocab.json and no merges.txt"):
        Tokenizer.load(tmp_path)
    (tmp_path / "merges.txt").write_text("a b c d\n", encoding="utf-8")
    with pytest.raises(InputError, match="not a readable tokenizer"):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_that_closes_a_prompt_or_lacks_an_end_is_refused(in_bytes):
    names = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
    backend = pickle.loads(pickle.dumps(in_bytes)).backend
    with pytest.raises(
        InputError, match=r"frames a text as \[CLS\], a, \[SEP\]; a prompt must end where its text ends"
    ):
        CausalTokenizer(backend, names)
    with pytest.raises(InputError, match="the tokenizer has no <s>"):
        CausalTokenizer(backend, names | {"bos_token": "<s>"})
