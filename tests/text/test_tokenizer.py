import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings, strategies as st

from minilm.errors import InputError
from minilm.text.tokenizer import SPECIAL_TOKENS, Tokenizer, train_characters, train_wordpiece, vocabulary_of

TOP = Path(__file__).parents[2]
ENGLISH = "The old house stood by the river. Nobody lived in the old house, and nobody's café was naïve.\n"
CHINESE = "他住在北京，我住在上海。北京的房子很旧。\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text((ENGLISH + CHINESE) * 5, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def wordpiece(text):
    return train_wordpiece([text], vocab_size=150)


@pytest.fixture(scope="module")
def characters():
    return train_characters((ENGLISH + CHINESE).splitlines(keepends=True))


@pytest.fixture(params=["wordpiece", "characters"])
def tokenizer(request):
    return request.getfixturevalue(request.param)


def tokens(tokenizer, text):
    return tokenizer.tokens(tokenizer.ids([text])[0])


def test_special_tokens_have_berts_places(tokenizer):
    assert vocabulary_of(tokenizer)[:5] == list(SPECIAL_TOKENS) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert tokenizer.special_ids == [0, 1, 2, 3, 4]
    assert (tokenizer.pad, tokenizer.unknown, tokenizer.cls, tokenizer.sep, tokenizer.mask) == (0, 1, 2, 3, 4)


def test_every_id_is_used_once(tokenizer):
    vocabulary = vocabulary_of(tokenizer)
    assert len(set(vocabulary)) == len(vocabulary) == tokenizer.size
    assert tokenizer.tokens(range(tokenizer.size)) == vocabulary


def test_words_that_were_seen_are_found_again(wordpiece):
    assert tokens(wordpiece, "The OLD house") == ["the", "old", "house"]
    assert wordpiece.text(wordpiece.ids(["the old house stood by the river"])[0]) == "the old house stood by the river"
    assert tokens(wordpiece, "housed")[:2] == ["house", "##d"]
    assert tokens(wordpiece, "☃") == ["[UNK]"]


def test_a_vocabulary_has_at_most_the_size_that_was_asked_for(text):
    assert train_wordpiece([text], vocab_size=80).size == 80
    assert train_characters([ENGLISH], vocab_size=12).size == 12
    assert vocabulary_of(train_characters(["xbbbaaac"], vocab_size=8))[5:] == ["a", "b", "c"]  # ties: by code point


def test_letters_that_only_stand_alone_have_no_piece_that_goes_on(wordpiece):
    pieces = vocabulary_of(wordpiece)
    assert "##e" in pieces and "京" in pieces and "." in pieces
    assert not {"##京", "##.", "##，"} & set(pieces)


def test_chinese_characters_stand_alone(tokenizer):
    assert tokens(tokenizer, "我住在北京") == list("我住在北京")
    old = tokens(tokenizer, "old")
    assert tokens(tokenizer, "old北京old") == [*old, "北", "京", *old]


def test_capitals_and_accents_go_unless_they_are_to_stay(tokenizer, text):
    assert tokens(tokenizer, "CAFÉ Naïve") == tokens(tokenizer, "cafe naive")
    assert "[UNK]" not in tokens(tokenizer, "CAFÉ Naïve")
    kept = train_wordpiece([text], vocab_size=200, lowercase=False)
    assert tokens(kept, "The café") == ["The", "café"] and tokens(kept, "the") == ["the"]
    assert "é" in vocabulary_of(train_characters([ENGLISH], lowercase=False))


def test_marks_and_spaces(tokenizer):
    assert tokens(tokenizer, "") == tokens(tokenizer, " \t\n\u3000\u200b\x00\x07") == []
    assert tokens(tokenizer, "old,\u3000old") == tokens(tokenizer, " old , old ")


def test_characters_are_one_token_each(characters):
    assert tokens(characters, "Old house。") == list("oldhouse。")
    assert tokens(characters, "old☃𠀀") == ["o", "l", "d", "[UNK]", "[UNK]"]
    assert characters.text(characters.ids(["我住在北京"])[0]) == "我住在北京"


@settings(max_examples=50)
@example([["a", "\x00", "　", "Ａ", "\u200b", "é", "한", "İ", "ß", "﷽", "\ufeff", "☃", "[MASK]", "ab cd", ""]])
@given(st.lists(st.lists(st.text(max_size=3), max_size=12), max_size=4))
def test_tagging_has_pieces_for_each_word_whatever_it_is(kind_of, lines):
    for tokenizer in kind_of:
        rows = tokenizer.pieces_of_words(lines)
        assert [len(row) for row in rows] == [len(line) for line in lines]
        assert all(pieces and all(0 <= i < tokenizer.size for i in pieces) for row in rows for pieces in row)


@pytest.fixture(scope="module")
def kind_of(wordpiece, characters):
    return wordpiece, characters


def test_tagging_calls_a_word_that_leaves_no_piece_unknown(wordpiece, characters):
    (row,) = wordpiece.pieces_of_words([["Housed", "\x07", "北京", "☃", "old"]])
    assert list(map(wordpiece.tokens, row)) == [["house", "##d"], ["[UNK]"], ["北", "京"], ["[UNK]"], ["old"]]
    (row,) = characters.pieces_of_words([["北", "　", "Ａ", "a", "É", "京"]])
    assert list(map(characters.tokens, row)) == [["北"], ["[UNK]"], ["[UNK]"], ["a"], ["e"], ["京"]]


def test_a_pair_and_its_segments(tokenizer):
    assert tokenizer.pair([7, 8]) == ([2, 7, 8, 3], [0, 0, 0, 0])
    assert tokenizer.pair([7, 8], [9]) == ([2, 7, 8, 3, 9, 3], [0, 0, 0, 0, 1, 1])
    assert tokenizer.pair([7], []) == ([2, 7, 3, 3], [0, 0, 0, 1])  # an empty second text still counts as one


def test_the_template_in_the_file_makes_the_same_pair(tokenizer):
    """If you open tokenizer.json with another library, you get the same pairs as from `pair`."""
    a, b = "the old house", "北京 the river"
    encoding = tokenizer.backend.encode(a, b)
    assert (encoding.ids, encoding.type_ids) == tokenizer.pair(*tokenizer.ids([a, b]))
    alone = tokenizer.backend.encode(a)
    assert (alone.ids, alone.type_ids) == tokenizer.pair(*tokenizer.ids([a]))


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_json(), encoding="utf-8")
    for where in (path, tmp_path, str(tmp_path)):
        loaded = Tokenizer.load(where)
        assert loaded.to_json() == tokenizer.to_json()
        assert loaded.ids([ENGLISH, CHINESE]) == tokenizer.ids([ENGLISH, CHINESE])


def test_padding_and_truncation_set_elsewhere_are_taken_off(tokenizer):
    settings = json.loads(tokenizer.to_json())
    settings["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    settings["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    loaded = Tokenizer.from_json(json.dumps(settings))
    assert loaded.ids([ENGLISH, "old"]) == tokenizer.ids([ENGLISH, "old"])


TRAIN = """
import hashlib, sys
from pathlib import Path
from minilm.text.tokenizer import train_characters, train_wordpiece
path = Path(sys.argv[1])
for made in (train_wordpiece([path], 300), train_characters(path.open(encoding="utf-8"), 300)):
    print(hashlib.sha256(made.to_json().encode()).hexdigest())
"""


def test_the_same_text_gives_the_same_vocabulary_in_every_process(tmp_path):
    """The text has many ties, and more characters than the alphabet holds. Results that depend on hash order would differ."""
    path = tmp_path / "ties.txt"
    words = (f"{chr(97 + i % 8)}{chr(97 + i // 8 % 8)}{chr(97 + i * 5 % 8)}{chr(0x4E00 + i)}" for i in range(1200))
    path.write_text("\n".join(words), encoding="utf-8")
    runs = [subprocess.Popen([sys.executable, "-c", TRAIN, path], cwd=TOP, stdout=subprocess.PIPE) for _ in range(3)]
    answers = {run.communicate()[0] for run in runs}
    assert all(run.returncode == 0 for run in runs)
    assert len(answers) == 1


def test_what_is_no_tokenizer_says_so(tmp_path, wordpiece):
    with pytest.raises(InputError, match="there is no tokenizer at .*nowhere"):
        Tokenizer.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="there is no tokenizer at .*tokenizer.json"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="tokenizer.json is not a readable tokenizer"):
        Tokenizer.load(tmp_path)
    without_mask = wordpiece.to_json().replace("[MASK]", "[HIDE]")
    with pytest.raises(InputError, match=r"my file: the tokenizer has no \[MASK\]: it is not a BERT tokenizer"):
        Tokenizer.from_json(without_mask, "my file")
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="tokenizer.json is not a readable tokenizer: it is not UTF-8"):
        Tokenizer.load(tmp_path)


def test_half_a_character_is_named_with_its_text(tokenizer):
    said = r"the text 'a.udcff' contains half a character \(the lone surrogate .udcff\)"
    with pytest.raises(InputError, match=said):
        tokenizer.ids(["the", "a\udcff"])
    with pytest.raises(InputError, match=said):
        tokenizer.pieces_of_words([["the"], ["old", "a\udcff"]])
    with pytest.raises(TypeError):  # a value that is not text is a programming error, so Python's own error stays
        tokenizer.ids([3])
