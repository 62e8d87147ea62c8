"""Where sentences end, with cases that are often done wrongly; and no character is ever lost."""

import pytest
from hypothesis import given, strategies as st

from minilm.text.sentences import split_sentences

# In each case, " | " marks every place where a sentence must end.
ENGLISH = [
    "It rained. | We stayed in. | Nobody minded!",
    "Mr. Smith met Dr. Jones and Mrs. Brown at St. Mary's. | They talked.",
    "J. R. R. Tolkien and Edward G. Robinson met F. Murray Abraham. | Really?",
    "J. A. Smith wrote it. | A friend read it.",
    "He lives in the U.S. and likes it. | The U.S. Navy does not.",
    "He left the U.S. | She stayed.",
    "It cost 3.50 dollars, i.e. 10.5 % more, e.g. for No. 5 on Dec. 24. | Oh no. | That is dear.",
    "Well... maybe not. | Wait... | What was that?",
    "One moment … and it was gone. | Yes.",
    '"What?" he asked. | "Nothing!" she said. | "Then go." | He went.',
    "(It was late.) | He slept [badly]. | “Good night.” | Silence.",
    "Really?! | No way!! | Stop it...! | Fine.",
    "a bad film. | i hated it! | never again",
    "the lord of the rings by j . r . r . tolkien is long . | but it is fine .",
    "a film by mr . burns , approx. five hours long",
    "it made me say ' wow ! '",
    "1. The acting is fine. | 2. The music is not.",
    "It was made in 1999. | Then it was lost.",
    "He bought bread, milk, etc. | Then he left.",
    "The film (which ends badly!) is short. | Good.",
    "Is it good? | yes it is",
    "third\x85emotional and warm",
]
CHINESE = [
    "下雨了。|我们没出门！|谁也不在乎？",
    "他说：“你好。”|然后走了。|她喊：『等等！』|没有人听见……|天黑了。",
    "《怎么办？》是一本书。|《你好！》也是。",
    "他（真的吗？），笑了。|好。",
    "“真好！”，她说。|完了。",
    "很好.|我喜欢!|下次再来",
    "价格3.5元，重1.2公斤。|不贵。",
    "1.很好看；|2.不贵。",
    "第一点；|第二点。",
    "天哪！！！|怎么办？！|算了。。。|走吧",
    "我看了 Star Wars. |很好看。|It was good. |真的！",
]


@pytest.mark.parametrize("marked", ENGLISH)
def test_english_sentences_end_where_they_should(marked):
    assert split_sentences(marked.replace(" | ", " ")) == marked.split(" | ")


@pytest.mark.parametrize("marked", CHINESE)
def test_chinese_sentences_end_where_they_should(marked):
    assert split_sentences(marked.replace("|", "")) == [piece.strip() for piece in marked.split("|")]


def test_a_forgotten_space_is_seen_and_an_address_is_not_split():
    text = "The plot was awful.The acting was worse. Visit example.org or node.js, version 2.Beta, today."
    assert split_sentences(text) == [
        "The plot was awful.",
        "The acting was worse.",
        "Visit example.org or node.js, version 2.Beta, today.",
    ]


def test_a_line_break_always_ends_a_sentence():
    assert split_sentences("A headline\nMr.\r\nSmith came\n\n\nto town") == [
        "A headline",
        "Mr.",
        "Smith came",
        "to town",
    ]


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_no_text_has_no_sentences(text):
    assert split_sentences(text) == []


@given(st.text(alphabet="aB1 .!?…。！？；”\"')）》\n\t中文MrDS,，", max_size=80) | st.text(max_size=80))
def test_nothing_is_lost_and_no_piece_is_empty(text):
    pieces = split_sentences(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece and piece == piece.strip() for piece in pieces)


@given(st.text(alphabet="aB1 .!?…。！？；”\"')）中M\n", max_size=60))
def test_a_piece_without_letters_or_digits_stands_only_at_the_start_of_a_line(text):
    for line in text.split("\n"):
        assert all(any(map(str.isalnum, piece)) for piece in split_sentences(line)[1:])
