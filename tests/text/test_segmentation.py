"""The rules that cut text into units, and the choice among them: properties over generated texts, and cases by hand."""

import unicodedata

import pytest
from hypothesis import given, settings, strategies as st
from tokenizers import pre_tokenizers

from minilm.errors import InputError
from minilm.text import corpus
from minilm.text.characters import shows
from minilm.text.segmentation import RULES, mixed, rule_named
from minilm.text.segmentation_choice import (
    Choice,
    as_shown,
    choose_rule,
    longest_unspaced,
    share_given_back,
    with_spaces,
    written,
)
from minilm.text.tagged import tag_characters

ODD = "\u200b\ufeff\u00ad\u00a0\u3000\u2028\u0301\ufe0f\u3164\x07\t\n\r"
LETTERS = "aB3é张在北京カ。，！、“”\"'’.,;:!?()-–—…/@#$%&+_*" + ODD
TEXTS = st.one_of(
    st.text(LETTERS, max_size=40),
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            [*"Bonn U.S. Mr. don't 3.5 10:30 iPhone15 well-known a@b.org 张建国 。 , . … .. -- C++".split(), " ", "\u200b"]
        )
    ).map("".join),
)  # fmt: skip


def units(rule, text):
    return [text[start:end] for start, end in RULES[rule][0](text)]


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=400, derandomize=True, deadline=None)
@given(text=TEXTS)
def test_every_visible_character_lies_in_exactly_one_unit(rule, text):
    spans = RULES[rule][0](text)
    borders = [border for span in spans for border in span]
    assert borders == sorted(borders) and all(start < end for start, end in spans)
    covered = [i for start, end in spans for i in range(start, end)]
    assert len(covered) == len(set(covered))
    assert {i for i, character in enumerate(text) if shows(character)} <= set(covered)
    for start, end in spans:
        assert not any(map(str.isspace, text[start:end])) and any(map(shows, text[start:end]))


@pytest.mark.parametrize("rule", RULES)
@settings(max_examples=150, derandomize=True, deadline=None)
@given(text=TEXTS)
def test_units_with_spaces_between_them_are_cut_into_the_same_units(rule, text):
    """Words with an abbreviation's period are the exception: what stands at the end of a text decides about `C.`"""
    found = units(rule, text)
    if not any(unit.endswith(".") for unit in found):
        assert units(rule, " ".join(found)) == found


@settings(max_examples=300, derandomize=True, deadline=None)
@given(text=st.text("aB3 张在。，“\"'.,;!?()-…/@#$%&+_", max_size=30))
def test_the_rule_marks_cuts_as_berts_tokenizer_does(text):
    """The referee is `BertPreTokenizer`, with the Chinese characters set apart as BERT's normaliser does it."""
    apart = "".join(f" {c} " if unicodedata.name(c).startswith("CJK UNIFIED") else c for c in text)
    assert units("marks", text) == [word for word, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(apart)]


@pytest.mark.parametrize(
    ("rule", "text", "wanted"),
    [
        ("words", "In Bonn, Bo slept.", "In|Bonn|,|Bo|slept|."),
        ("words", '"Vaasa" (said) Felix…', '"|Vaasa|"|(|said|)|Felix|…'),
        ("words", "Pisa(Oslo),Riga", "Pisa|(|Oslo|)|,|Riga"),
        ("words", "Mr. Bo saw J. R. in the U.S. at 3.5, i.e. 10:30.", "Mr.|Bo|saw|J.|R.|in|the|U.S.|at|3.5|,|i.e.|10:30|."),
        ("words", "He is from the U.S.", "He|is|from|the|U.S."),
        ("words", "Vitamin C.", "Vitamin|C|."),
        ("words", "don't Bo's well-known and/or AT&T C++ #tag @bo -5 $3", "don't|Bo's|well-known|and/or|AT&T|C++|#tag|@bo|-5|$|3"),
        ("words", "see http://a.org/?b=1,2. or bo@a.org, ok", "see|http://a.org/?b=1,2|.|or|bo@a.org|,|ok"),
        ("words", "Wait... what?! -- no", "Wait|...|what|?|!|--|no"),
        ("words", "北京，上海。", "北京|，|上海|。"),
        ("words", "Bonn\u200bRiga\ufeff", "Bonn|Riga"),
        ("clitics", "Bo's don’t 's", "Bo|'s|do|n’t|'|s"),
        ("mixed", "张建国用iPhone15。", "张|建|国|用|iPhone15|。"),
        ("mixed-digits", "张建国用iPhone15。", "张|建|国|用|iPhone|15|。"),
        ("mixed", "Hugo met 张 in the U.S., ok", "Hugo|met|张|in|the|U.S.|,|ok"),
        ("mixed", "東京タワー、", "東|京|タ|ワ|ー|、"),
        ("characters", "张 é NY", "张|é|N|Y"),
        ("characters", "e\u0301t\u0301", "e\u0301|t\u0301"),
        ("spaces", "In Bonn, Bo slept.", "In|Bonn,|Bo|slept."),
    ],
)  # fmt: skip
def test_units_by_hand(rule, text, wanted):
    assert units(rule, text) == wanted.split("|")


def test_a_rule_that_is_not_known_is_refused():
    assert rule_named("mixed") is mixed
    with pytest.raises(InputError, match="m/config.json: text is cut by the rule 'syllables', which is not known here"):
        rule_named("syllables", "m/config.json")


# ------------------------------------------------------------------------------ which rule the data needs


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["In Bonn , Bo slept .", '" Riga " said Bo .'], Choice("words", 1.0)),
        (["Pisa ( Oslo ) .", "He saw the U.S. on 3.5 ."], Choice("words", 1.0)),
        (["In Bonn, Bo slept.", "Bo, said."], Choice("spaces", 1.0)),
        (["Bonn 's mayor", "they do n't"], Choice("clitics", 1.0)),
        (["the U . S . and Bo ' s"], Choice("marks", 1.0)),
        (["the U . S .", "Bo 's"], Choice("marks", 1 - 1 / 7, 0, "'s")),
        (["张 建 国 在 北 京 。", "李 明"], Choice("characters", 1.0)),
        (["Hugo met 张 in Riga .", "李 left"], Choice("mixed", 1.0)),
        (["张 在 用 iPhone 15 。"], Choice("mixed-digits", 1.0)),
        (["张 在 用 iPhone15 和 5G 。"], Choice("mixed", 1.0)),
        (["记者 欧阳山 从 北京 报道 。"], Choice("words", 1.0, 3)),
        (["กรุงเทพ เป็น เมือง หลวง"], Choice("words", 1.0, 7)),
        ([], Choice("characters", 1.0)),
    ],
)
def test_the_rule_is_the_first_that_gives_the_training_tokens_back(lines, wanted):
    assert choose_rule([line.split() for line in lines]) == wanted


def test_words_with_spaces_inside_are_said_to_be_lost():
    assert choose_rule([["Anna", "visited", "New York", "."]]) == Choice("words", 3 / 4, 0, "New York")


def test_the_newspaper_is_cut_into_characters_and_nothing_is_lost():
    """Every tenth line of it: about as many lines as `choose_rule` looks at."""
    raw = corpus.corpus_file("peoples-daily", "tag/199801.txt").read_text(encoding="utf-8").splitlines()[::10]
    lines = [tag_characters(line).tokens for line in raw if line.strip()]
    assert len(lines) > 1_900 and choose_rule(lines) == Choice("characters", 1.0)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(
    st.sampled_from([*RULES]), st.lists(st.text(LETTERS.translate({ord(c): None for c in ODD}), min_size=1, max_size=5))
)
def test_tokens_stand_in_the_text_that_is_made_of_them(rule, tokens):
    for text, spans in (written(tokens), with_spaces(tokens), as_shown(tokens, rule)):
        assert [text[start:end] for start, end in spans] == tokens
        assert text.replace(" ", "") == "".join(tokens)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("In Bonn , Bo slept .", "In Bonn, Bo slept."),
        ('" Riga " said Felix ( 5 % ) .', '"Riga" said Felix (5%).'),
        ("„ Haus “ und “ house ”", "„Haus“ und “house”"),
        ("Bonn 's do n't", "Bonn's don't"),
        ("张 在 用 iPhone 15 。", "张在用iPhone15。"),
        ("Hugo met 张 in 1998 .", "Hugo met张in 1998."),
    ],
)
def test_tokens_as_a_person_would_write_them(tokens, text):
    assert written(tokens.split())[0] == text


def test_tokens_of_a_file_as_they_are_shown():
    tokens = "张 建国 用 iPhone 15 。".split()
    assert as_shown(tokens, "mixed")[0] == as_shown(tokens, "tokenizer")[0] == "张建国用iPhone 15。"
    assert as_shown("Hugo met 张 in Riga .".split(), "mixed")[0] == "Hugo met 张 in Riga ."
    assert as_shown(tokens, "words", 2)[0] == "张 建国 用 iPhone 15 。"
    assert as_shown(tokens, "characters")[0] == "张建国用iPhone15。"


def test_the_share_of_tokens_that_a_rule_gives_back():
    lines = ["记者 欧阳山 从 北京 报道 。".split(), ["In", "Bonn", "."]]
    assert share_given_back(lines, "words", 3) == 1
    assert share_given_back(lines, "characters", 0) == 3 / 9  # 从 and the two full stops
    assert share_given_back(lines[1:], "spaces", 0) == 1 / 3 and share_given_back([], "words", 0) == 1


def test_the_longest_stretch_without_a_space():
    assert longest_unspaced("记者 欧阳山 met カタカナ.") == 4 and longest_unspaced("Bonn") == 0
