"""Files of texts with several labels, with numbers, and of questions: what is read and what is refused."""

import json

import pytest

from minilm.errors import InputError
from minilm.text.corpus import CORPORA, POS, SEGMENTATION, corpus_file, documents
from minilm.text.files import Example, text_lines
from minilm.text.questions import Question, question_lines
from minilm.text.tables import labelled_file
from minilm.text.tagged import bmes, characters_of_words, tag_characters, words_with_parts_of_speech
from minilm.training.metrics import words_of


def read(path, content, holds):
    path.write_text(content, encoding="utf-8")
    return list(labelled_file(path, holds=holds))


def test_several_labels_stand_between_semicolons_and_may_be_none(tmp_path):
    rows = read(tmp_path / "a.csv", "text,label\none, b ; a\ntwo,\nthree,a;\n", "labels")
    assert rows == [Example("one", "b;a"), Example("two", ""), Example("three", "a")]
    lines = [{"text": "one", "label": ["b", "a"]}, {"text": "two", "label": []}, {"text": "three", "label": "a;b"}]
    rows = read(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)), "labels")
    assert rows == [Example("one", "b;a"), Example("two", ""), Example("three", "a;b")]


@pytest.mark.parametrize(
    ("name", "content", "holds", "what"),
    [
        ("a.csv", "text,label\none,a;a\n", "labels", r"a.csv, line 2: the label 'a' is given twice"),
        ("a.csv", "text,label\none,a;A\n", "labels", r"differ only in"),
        (
            "a.jsonl",
            '{"text": "x", "label": ["a;b"]}',
            "labels",
            r"line 1: 'a;b' is no label: it is empty, or has a semi",
        ),
        ("a.jsonl", '{"text": "x", "label": ["a", 1]}', "labels", r"line 1: 'label' must be text"),
        ("a.jsonl", '{"text": "x", "label": ["a"]}', "text", r"line 1: 'label' must be text"),
        (
            "a.csv",
            "text,label\none,1\ntwo,abc\n",
            "number",
            r"line 3: the column 'label' holds 'abc', which is not a number\.",
        ),
        ("a.csv", 'text,label\none,"1,5"\n', "number", r"which is not a number; write a decimal point, not a comma"),
        (
            "a.csv",
            "text,label\none,nan\n",
            "number",
            r"line 2: the column 'label' holds 'nan', which is not a finite number",
        ),
        ("a.csv", "text,label\none,\n", "number", r"line 2: the column 'label' is empty"),
        ("a.jsonl", '{"text": "x", "label": true}', "number", r"line 1: 'label' must be text, not true"),
        ("a.csv", "text,label\none,1\n,2\n", "labels", r"line 3: the column 'text' is empty"),
    ],
)
def test_labels_and_numbers_that_are_refused(tmp_path, name, content, holds, what):
    with pytest.raises(InputError, match=what):
        read(tmp_path / name, content, holds)


def test_numbers_are_read_as_they_are_written(tmp_path):
    rows = read(tmp_path / "a.csv", "text,label\none, -1.50 \ntwo,2e3\n", "number")
    assert [row.label for row in rows] == ["-1.50", "2e3"]
    rows = read(tmp_path / "a.jsonl", '{"text": "x", "label": 1.25}\n{"text": "y", "label": 3}', "number")
    assert [float(row.label) for row in rows] == [1.25, 3.0]


GOOD = {"question": "谁来了？", "text": "江泽民来了，江泽民走了。", "answer": "江泽民", "start": 6}


def test_questions_are_read_with_the_place_of_their_answers(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text(
        "\n".join(json.dumps(row) for row in (GOOD, GOOD | {"answer": "走", "start": None})), encoding="utf-8"
    )
    first, second = question_lines(path)
    assert first == Question(*GOOD.values()) and (second.answer, second.start) == ("走", 9)
    assert [q.answer for q in question_lines(path, with_answers=False)] == [None, None]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": 10}, r"q.jsonl, line 2: the answer from 10 to 13 lies outside the text, which has 12 characters"),
        ({"start": -1}, r"lies outside the text"),
        ({"start": 1}, r"line 2: at 1 the text has '泽民来', not the answer '江泽民'"),
        ({"start": 1.0}, r"'start' must be a whole number, not 1.0"),
        ({"start": None}, r"the answer '江泽民' stands in the text more than once: give 'start'"),
        ({"answer": "李鹏", "start": None}, r"the answer '李鹏' does not stand in the text, word for word"),
        ({"answer": " "}, r"'answer' must be text with words in it"),
        ({"question": 3}, r"'question' must be text"),
        (
            {"answer": "江泽", "start": 6},
            r"line 2: the answer from 6 to 8 overlaps the one of line 1, from 6 to 9: keep one",
        ),
    ],
)
def test_answers_that_are_not_in_the_text_are_refused(tmp_path, changes, what):
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD | changes), encoding="utf-8")
    with pytest.raises(InputError, match=what):
        list(question_lines(path))


def test_files_that_hold_no_questions(tmp_path):
    for name, content, what in (
        ("q.csv", "question\n", r"does not end in .jsonl or .ndjson"),
        ("q.jsonl", "\n", "is empty: it has no questions"),
        ("q.jsonl", "[1]", "line 1: not a JSON object"),
        ("q.jsonl", "{", "line 1: not a JSON object"),
        ("q.jsonl", '{"question": "x", "text": "y"}', "line 1: has no 'answer'"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=what):
            list(question_lines(tmp_path / name))


def test_words_and_their_parts_of_speech_by_hand():
    line = "19980101-01-001-002/m  [中国/ns  共产党/n]nt  的/u  江/nr  泽民/nr  。/w"
    assert words_with_parts_of_speech(line) == (
        ["中国", "共产党", "的", "江", "泽民", "。"],
        ["ns", "n", "u", "nr", "nr", "w"],
    )
    tokens, tags = characters_of_words(line)
    assert "".join(tokens) == "中国共产党的江泽民。" and "".join(tags) == "BEBMESSBES"
    assert [bmes(n) for n in (1, 2, 4)] == [["S"], ["B", "E"], ["B", "M", "M", "E"]]
    assert words_of(tags) == [(0, 2), (2, 5), (5, 6), (6, 7), (7, 9), (9, 10)]
    assert words_of("MMEB") == [(0, 3), (3, 4)] and words_of("") == []  # contradictions leave no character out


def test_all_three_tags_of_the_newspaper_are_of_the_same_text():
    """Every fortieth line; all three corpora read one line of the file after the other."""
    lines = [line for line in text_lines(corpus_file(SEGMENTATION, "tag/199801.txt")) if line.strip()]
    assert len(lines) == CORPORA[POS].examples == CORPORA[SEGMENTATION].examples == 19_484
    for line in lines[::40]:
        names, words, borders = tag_characters(line), words_with_parts_of_speech(line), characters_of_words(line)
        assert names.tokens == borders.tokens == [*"".join(words.tokens)]
        assert [len(word) for word in words.tokens] == [end - start for start, end in words_of(borders.tags)]
        assert {*borders.tags} <= {*"BEMS"} and len(words.tokens) == len(words.tags)
    with pytest.raises(InputError, match="'peoples-daily-pos' has the text of 'peoples-daily': name that one"):
        documents(POS)
