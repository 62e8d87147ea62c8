"""What is said about a text that the tokenizer does not see in full."""

import json
import random
import re
import unicodedata

import numpy as np
import pytest

from minilm.text import remarks
from minilm.text.remarks import Seen, remark, unknown_share
from minilm.text.store import write_store
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece

TRAINED = "the old house stood by the river . schön café , ein haus am fluss ! 北京 かき\n"
ALPHABET = [*"aehilnorstu .,!", *"éöñ北京鹏☃ぎ한ß", *"\u0301\ufe0f\u200b\ufeff\x96\x85\x1c", *" \n\u3000"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("remarks") / "text.txt"
    path.write_text(TRAINED * 5, encoding="utf-8")
    return train_wordpiece([path], 200)


def heard(tokenizer, texts, where="the texts", keep_accents=""):
    said = []
    remark(tokenizer, texts, where, said.append, keep_accents)
    return said


def numbers(said, pattern):
    """The numbers at the start of the sentence that matches, or zeros."""
    for line in said:
        if match := re.search(pattern, line):
            return [int(group.replace(",", "")) for group in match.groups()]
    return [0]


def test_nothing_is_said_where_nothing_is_lost(tokenizer):
    assert heard(tokenizer, ["The old house", "", " \t", "the river , schon !", "北京 ❤\ufe0f"[:2]]) == []
    assert heard(tokenizer, []) == []


def test_each_kind_of_loss_has_its_sentence_with_a_count_and_an_example(tokenizer):
    texts = [
        "The old ☃ stood by ☃ , (schön) Café",
        "鹏 ☃",
        "a [MASK] in the house [MASK]",
        "the\u200b house",
        "old\ufeff\u200b [PAD]",
    ]
    assert heard(tokenizer, texts, "my.csv", "--strip-accents False keeps accents") == [
        "the tokenizer does not know 15 of the 30 tokens of my.csv (50.00%), most often '☃' (3 times): they become [UNK].",
        "in 1 of the 5 texts of my.csv, the tokenizer knows nothing (the first is text 2, '鹏 ☃'): no answer about them "
        "means anything.",
        "accents are stripped from 2 characters of my.csv: schön is read as schon; --strip-accents False keeps accents.",
        "the tokenizer removes 3 characters of my.csv, most often U+200B ZERO WIDTH SPACE (2 times).",
        "[MASK] is written 2 times in my.csv; it is read as plain text, not as the special token.",
        "[PAD] is written once in my.csv; it is read as plain text, not as the special token.",
    ]


def test_accents_are_found_in_every_script_and_only_where_they_are_lost(tmp_path, tokenizer):
    for text, read in {
        "ça": "ca",
        "e\u0301te": "ete",
        "かぎ": "かき",
        "Ёлка": "елка",
        "कु": "क",
        "שָׁלוֹם": "שלום",
    }.items():
        (line,) = [line for line in heard(tokenizer, [text]) if "accents" in line]
        assert line.endswith(f": {text} is read as {read}."), line
    for line, read in {
        "か" * 40 + "ぎ。": "ぎ is read as き",
        "“e" + "n" * 40 + "\u0303”": "n\u0303 is read as n",
    }.items():
        assert f": {read}." in heard(tokenizer, [line])[1]
    path = tmp_path / "text.txt"
    path.write_text("ça e\u0301te かぎ Ёлка कु שָׁלוֹם 한국어\n", encoding="utf-8")
    keeping = train_wordpiece([path], 200, strip_accents=False)
    alone = train_characters(path.read_text(encoding="utf-8"), strip_accents=False)
    assert heard(keeping, [path.read_text(encoding="utf-8")]) == heard(alone, [path.read_text(encoding="utf-8")]) == []
    assert not any("accents" in line for line in heard(tokenizer, ["한국어 straße ½ ❤\ufe0f"]))


def test_signs_that_lose_a_stroke_are_shown_as_well(tokenizer):
    """≠ is =, and ∌ is ∋, with an overlay that Unicode counts among the accents; all such signs, and overlays alone."""
    for number in range(0x20000):
        parts = unicodedata.normalize("NFD", c := chr(number))
        if unicodedata.category(c)[0] not in "PS" or parts == c or unicodedata.category(parts[-1]) != "Mn":
            continue
        for word in (c, f"({c}).", f"x{c}", f"{c}x"):
            (line,) = [line for line in heard(tokenizer, [f"the house {word} old"]) if "accents" in line]
            assert re.fullmatch(rf".*: x?{c}x? is read as x?{parts[0]}x?\.", line), line
    assert heard(tokenizer, ["\u0338"])[-1].endswith("of the texts: \u0338 is read as nothing.")


def test_counts_equal_those_of_the_whole_texts(tokenizer, monkeypatch):
    """Generated texts, in chunks of many sizes, against counting on every text as a whole."""
    rng, checked = random.Random(0), 0
    for _ in range(150):
        texts = ["".join(rng.choices(ALPHABET, k=rng.randint(0, 40))) for _ in range(rng.randint(1, 8))]
        monkeypatch.setattr(remarks, "CHUNK", rng.choice([1, 30, 10_000]))
        said, rows = heard(tokenizer, iter(texts)), tokenizer.ids(texts)
        tokens, unknown = sum(map(len, rows)), sum(row.count(tokenizer.unknown) for row in rows)
        assert numbers(said, r"not know ([\d,]+) of the ([\d,]+) token") == ([unknown, tokens] if unknown else [0]), (
            texts
        )
        nothing = [t.strip() != "" and set(row) <= {tokenizer.unknown} for t, row in zip(texts, rows, strict=True)]
        assert numbers(said, r"^in ([\d,]+) of") == [sum(nothing)], texts
        removed = sum(text.count(c) for text in texts for c in "\u200b\ufeff\x96\x85\x1c")
        assert numbers(said, r"removes ([\d,]+) char") == [removed], texts
        accents = sum(c in "éöñぎ\u0301" for text in texts for c in text)
        assert numbers(said, r"stripped from ([\d,]+) char") == [accents], texts
        checked += bool(unknown)
    assert checked > 100


def test_a_published_tokenizer_is_asked_what_it_does_itself(tmp_path, tokenizer):
    """The settings are not looked at, only what becomes of the text; names of special tokens are the folder's own."""
    names = {"mask_token": "<mask>"}
    tokens = tokenizer.to_json().replace("[MASK]", "<mask>")
    (tmp_path / "tokenizer.json").write_text(tokens, encoding="utf-8")
    file = json.loads(tokens) | {"normalizer": {"type": "Lowercase"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(file), encoding="utf-8")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | names
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    said = heard(Tokenizer.load(tmp_path), ["schön\u200b <mask> [MASK]"])
    assert not any("accents" in line or "removes" in line for line in said)
    assert [line for line in said if "special token" in line] == [
        "<mask> is written once in the texts; it is read as plain text, not as the special token."
    ]


def test_unknown_share_of_lists_and_of_memory_maps(tmp_path, tokenizer, monkeypatch):
    ids = [tokenizer.unknown, 7, 8, tokenizer.unknown, 9]
    np.array(ids, dtype=np.uint16).tofile(tmp_path / "ids.raw")
    monkeypatch.setattr(remarks, "CHUNK", 2)
    mapped = np.memmap(tmp_path / "ids.raw", dtype=np.uint16, mode="r")
    assert (
        unknown_share(ids, tokenizer) == unknown_share(mapped, tokenizer) == unknown_share(iter(ids), tokenizer) == 0.4
    )
    assert unknown_share([], tokenizer) == 0 and unicodedata.name("☃") == "SNOWMAN"


def test_ids_that_somebody_has_say_the_same_as_asking_again(tokenizer, monkeypatch):
    texts = ["The old ☃ stood by ☃ , (schön) Café", "鹏 ☃", "the house", "a\u200b [MASK]", "", "\x1c"]
    asked, given = Seen(tokenizer), Seen(tokenizer)
    asked.add(texts)
    asked.add(texts[:2])
    for some in (texts, texts[:2]):
        given.add(some, tokenizer.ids(some))
    said = list(asked.sentences("the texts", ""))
    assert list(given.sentences("the texts", "")) == said and len(said) == 5
    given.add(["the house"], [[tokenizer.unknown]])  # it believes what it is given
    assert given.empty == asked.empty + 1


def test_a_prepared_corpus_says_what_its_whole_text_would_say(tmp_path, tokenizer):
    lines = ["the old ☃ house", "schön ☃ river", "鹏 ☃", "the house\u200b stood"]
    documents, said, seen = [lines[:2], lines[2:]], [], Seen(tokenizer)
    write_store(documents, tokenizer, tmp_path / "store", see=seen.add)
    remark(tokenizer, lines, "the text", said.append)
    assert list(seen.sentences("the text", "")) == said and len(said) == 4
