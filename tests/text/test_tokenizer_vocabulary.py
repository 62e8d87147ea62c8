"""The vocabularies that are learned, for texts in many scripts and vocabularies of every size."""

import random
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from minilm.errors import InputError
from minilm.files.notes import Notes, unheard
from minilm.text.prepare import learn_vocabulary, prepare
from minilm.text.tokenizer import Tokenizer, bert_normalizer, train_characters, train_wordpiece, vocabulary_of
from minilm.text.vocabulary import LONG_RUN, LONGEST_WORD, first_characters

TOP = Path(__file__).parents[2]
SCRIPTS = {
    "English": "abcdefghijklmnopqrstuvwxyz.,!",
    "German": "abcdefghijklmnopqrstuvwxyzäöüßÄÖÜ.,",
    "Vietnamese": "aăâbcdđeêghiklmnoôơpqrstuưvxyấầẩẫậắằẳẵặ",
    "Greek": "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώ",
    "Russian": "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويَُِّ",
    "Hindi": "अआइईउऊएकखगघचछजझटठडढतथदधनपफबभमयरलवशसहािीुूेैोौ्ंँ",
    "Thai": "กขคงจฉชซญดตถทธนบปผพฟภมยรลวสหอฮะาิีึืุูเแโใไ่้๊๋",
    "Korean": "".join(chr(0xAC00 + 37 * i) for i in range(290)),
    "Japanese": "あいうえおかがきぎくぐけげこごさざしじアイウエオカガキギ日本語文字漢字読書",
    "Chinese": "".join(chr(0x4E00 + 5 * i) for i in range(1500)),
    "emoji": "😀😁😂🤣😃😄😅😆😉😊❤\ufe0f👍🏽",
}
SIZES = (6, 7, 20, 60, 100, 250, 700, 1200, 2500)


def text_in(script: str, rng: random.Random, words: int = 1200) -> str:
    """Words from the letters of one script or of several; low letters are much more frequent than high ones."""
    names = list(SCRIPTS) if script == "mixed" else [script]
    out = []
    for i in range(words):
        letters = SCRIPTS[names[i % len(names)]]
        out.append("".join(letters[int(len(letters) * rng.random() ** 2)] for _ in range(rng.randint(1, 6))))
    return "\n".join(" ".join(out[i : i + 8]) for i in range(0, len(out), 8))


@pytest.mark.parametrize("script", [*SCRIPTS, "mixed"])
def test_a_vocabulary_is_filled_and_never_larger_whatever_the_script(script, tmp_path):
    """With both kinds of units: the size is kept; there is room left only if no character is without a token, and then the
    notes say so; a character without a token is rarer than all characters that have one and take as much room."""
    rng = random.Random(script)
    path = tmp_path / "text.txt"
    path.write_text(text := text_in(script, rng), encoding="utf-8")
    for size in SIZES:
        strip, notes = rng.choice([None, True, False]), Notes(unheard)
        for units in ("wordpiece", "characters"):
            made = learn_vocabulary(path, size, units, rng.random() < 0.5, strip, notes)
            vocabulary, counts = set(vocabulary_of(made)), Counter(made.normalise(text))
            counts = {c: n for c, n in counts.items() if not c.isspace()}
            missing = [c for c in counts if c not in vocabulary]
            unknown = made.unknown in {i for row in made.ids(text.splitlines()) for i in row}
            case = script, size, units, strip
            assert made.size <= size and bool(missing) == unknown, case
            assert made.size == size or any("not the" in line for line in notes.lines), case
            assert made.size >= size - 1 or not missing, case  # a letter and its ## form may need one token too many
            assert not missing or any("do not fit" in line for line in notes.lines), case
            for room in (1, 2):  # tokens that a character takes: a letter that can continue a word has a form with ##
                alike = [c for c in counts if room == (1 if units == "characters" or stands_alone(made, c) else 2)]
                rarest = min((counts[c] for c in alike if c in vocabulary), default=0)
                assert all(counts[c] <= rarest or rarest == 0 for c in alike if c in missing), case
                assert all(f"##{c}" in vocabulary for c in alike if c in vocabulary) or room == 1, case


def stands_alone(tokenizer, character):
    return len(tokenizer.backend.pre_tokenizer.pre_tokenize_str(f"a{tokenizer.normalise(character)}")) > 1


def test_chinese_with_the_default_settings_has_no_unknown_character(tmp_path):
    """The library's own limit of 1,000 different characters would leave a twentieth of ordinary Chinese text unknown."""
    path = tmp_path / "text.txt"
    path.write_text("\n".join(chr(0x4E00 + i) * 2 + "的北京" for i in range(3000)), encoding="utf-8")
    made = train_wordpiece([path])
    assert {f"{chr(0x4E00 + i)}" for i in range(3000)} < set(vocabulary_of(made))
    assert made.size <= 8192


def test_room_that_longer_pieces_leave_goes_to_the_rarest_characters(tmp_path):
    """200 characters that occur once fill more than half of the vocabulary, and Chinese has no longer pieces."""
    path, rare = tmp_path / "text.txt", {chr(0x4E00 + i) for i in range(200)}
    path.write_text(("的" * 100 + "\n") * 1000 + " ".join(sorted(rare)), encoding="utf-8")
    assert rare < set(vocabulary_of(train_wordpiece([path], 300)))


def test_rare_letters_leave_room_for_longer_pieces():
    """The letters of 99.99 % of the text come first, whatever room they need; rarer ones fill at most half of the room."""
    counts = {"e": 600_000, "t": 399_950} | {chr(0x10A0 + i): 1 for i in range(50)}
    pieces = {c: [c, f"##{c}"] for c in counts}
    assert len(first_characters(counts, pieces, 40)) == 10  # 20 of 40
    assert len(first_characters(counts, pieces, 500)) == 52
    evenly = dict.fromkeys(counts, 1)
    assert len(first_characters(evenly, pieces, 40)) == 20


@pytest.mark.parametrize("size", [5, 0, -3])
def test_a_vocabulary_without_room_is_refused(size, tmp_path):
    (tmp_path / "text.txt").write_text("some text", encoding="utf-8")
    for learn in (
        lambda: train_wordpiece([tmp_path / "text.txt"], size),
        lambda: train_characters(["some text"], size),
    ):
        with pytest.raises(InputError, match=f"a vocabulary of {size} is too small: the special tokens need 5; give 6"):
            learn()


def test_accents_stay_or_go_as_asked(tmp_path):
    """`strip_accents` of its own, and None means what it means in BERT: as `lowercase` says."""
    path = tmp_path / "text.txt"
    path.write_text("Schön schon かぎ かき Été\n" * 20, encoding="utf-8")
    for units in ("wordpiece", "characters"):
        for lowercase in (True, False):
            for strip in (None, True, False):
                made = learn_vocabulary(path, 200, units, lowercase, strip)
                stripped = lowercase if strip is None else strip
                schoen, schon, kagi, kaki = made.ids(["schön", "schon", "かぎ", "かき"])
                assert (schoen == schon) == stripped and (kagi == kaki) == stripped
                big, small = made.ids(["Schön", "schön"])
                assert (big == small) == lowercase
                assert Tokenizer.from_json(made.to_json()).ids(["Schön"]) == [big]


def test_the_default_is_said_when_the_text_has_accents(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(["Das ist schön .", "Und das auch .", "Das war es .", ""] * 8), encoding="utf-8")
    heard = []
    for _ in range(2):  # the second run finds the corpus prepared, and says the same
        heard.append([])
        prepare(str(path), tmp_path / "cache", 100, say=unheard, note=heard[-1].append)
    assert heard[0] == heard[1]
    assert any("schön is read as schon; --strip-accents False keeps accents" in line for line in heard[0])
    kept = []
    prepared = prepare(str(path), tmp_path / "cache", 100, say=unheard, strip_accents=False, note=kept.append)
    assert not any("accent" in line for line in kept)
    assert unicodedata.normalize("NFC", "ö") in vocabulary_of(prepared.tokenizer)


TRAIN = """
import hashlib, sys
from pathlib import Path
from minilm.text.tokenizer import train_wordpiece
for size in (100, 400, 2000):
    made = train_wordpiece([Path(sys.argv[1])], size)
    print(hashlib.sha256(made.to_json().encode()).hexdigest())
"""


def test_the_same_text_gives_the_same_vocabulary_in_every_process_also_when_characters_are_left_out(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(text_in("mixed", random.Random(0)), encoding="utf-8")
    runs = [subprocess.Popen([sys.executable, "-c", TRAIN, path], cwd=TOP, stdout=subprocess.PIPE) for _ in range(3)]
    answers = {run.communicate()[0] for run in runs}
    assert all(run.returncode == 0 for run in runs)
    assert len(answers) == 1


# ---- words of more than 100 characters


def without_long_words(text: str, lowercase: bool, accents: bool) -> tuple[str, set[str]]:
    """The text as the tokenizer splits it, word by word, and the words that are too long: the slow and simple way."""
    normalise, split = bert_normalizer(lowercase, accents).normalize_str, pre_tokenizers.BertPreTokenizer()
    lines = [[word for word, _ in split.pre_tokenize_str(normalise(line))] for line in text.split("\n")]
    long = {word for line in lines for word in line if len(word) > LONGEST_WORD}
    return "\n".join(" ".join(word for word in line if word not in long) for line in lines), long


def text_with_runs(script: str, rng: random.Random) -> str:
    """Words of ordinary lengths, and runs of 20 to 240 characters, some with marks, odd spaces and Chinese in them."""
    words = text_in(script, rng, 150).split(" ")
    for _ in range(25):
        letters = SCRIPTS["English" if script == "mixed" else script][: rng.randint(2, 40)]
        run = "".join(rng.choices(letters, k=rng.choice((20, 34, 60, 99, 100, 101, 102, 240))))
        for odd in rng.choices(["", ".", "\u00a0", "\u200b", "\x1c", "\u0301", "中", "İ", "ﬁ", "ᾂ", "\u3000"], k=2):
            place = rng.randint(0, len(run))
            run = run[:place] + odd + run[place:]
        words.insert(rng.randint(0, len(words)), run)
    return " ".join(words)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("script", ["English", "Korean", "Vietnamese", "Thai", "Chinese", "mixed"])
def test_nothing_is_learned_from_words_that_are_too_long(script, lowercase, tmp_path):
    rng, some, file, slow = random.Random(script), 0, tmp_path / "text.txt", tmp_path / "slow.txt"
    for accents in (True, False):
        text = text_with_runs(script, rng)
        file.write_text(text, encoding="utf-8", newline="\n")
        shorter, long = without_long_words(text, lowercase, accents)
        slow.write_text(shorter, encoding="utf-8", newline="\n")
        notes = Notes(unheard)
        mine = train_wordpiece([file], 400, lowercase, accents, notes)
        assert mine.to_json() == train_wordpiece([slow], 400, lowercase, accents).to_json()
        said = [line for line in notes.lines if "different word(s)" in line]
        assert [line.split(" ")[0] for line in said] == [str(len(long))] * bool(long)
        some += len(long)
        for word in long:
            assert set(mine.ids([word])[0]) == {mine.unknown}
    assert bool(some) == (script != "Chinese")  # each character is a word there


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("accents", [True, False])
def test_no_character_becomes_more_than_the_search_allows_for(lowercase, accents):
    normalise = bert_normalizer(lowercase, accents).normalize_str
    longest = max(len(normalise(chr(c))) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000)
    assert longest <= 4
    assert LONG_RUN.fullmatch("ᾂ" * (LONGEST_WORD // 4 + 1)) and not LONG_RUN.search("a" * (LONGEST_WORD // 4))


def test_one_word_of_a_megabyte_does_not_stop_the_training(tmp_path):
    """(It would take minutes.)"""
    file, notes = tmp_path / "text.txt", Notes(unheard)
    file.write_text("one two three\n" + "".join(random.Random(0).choices("abcdefghij", k=2**20)), encoding="utf-8")
    vocabulary = vocabulary_of(train_wordpiece([file], 200, note=notes))
    assert "one" in vocabulary and not any("j" in piece for piece in vocabulary)
    assert notes.lines[0].startswith("1 different word(s) have more than 100 characters, such as '")
