"""The user's own files: their content is read correctly, and every fault is reported in one clear sentence."""

import csv
import io
import json

import pytest
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.text.files import Example, text_documents, text_lines
from minilm.text.tables import column_documents, labelled_file


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def message(call):
    with pytest.raises(InputError) as caught:
        list(call())
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------------------------------- text


def test_a_blank_line_stands_between_documents(write):
    path = write("a.txt", "\n\nOne.\n Two. \n\n \t\n\nThree.\r\nFour.")
    assert list(text_documents(path)) == [["One.", "Two."], ["Three.", "Four."]]


def test_without_a_blank_line_the_file_is_one_document(write):
    assert list(text_documents(write("a.txt", "一。\n二。\n三。\n"))) == [["一。", "二。", "三。"]]


def test_a_byte_order_mark_is_no_part_of_the_text(write):
    assert list(text_documents(write("a.txt", b"\xef\xbb\xbfOne.\n"))) == [["One."]]


def test_only_a_line_feed_ends_a_line(write):
    assert list(text_lines(write("a.txt", "a\u2028b\x85c\nd"))) == ["a\u2028b\x85c\n", "d"]


def test_a_folder_is_read_in_the_order_of_names_and_a_file_border_is_a_document_border(write, tmp_path):
    write("b.txt", "B one.\n\nB two.")
    write("a.txt", "A one.\nA two.")
    write("c.TXT", "C one.")
    write("notes.md", "not this")
    (tmp_path / "d.txt").mkdir()
    assert list(text_documents(tmp_path)) == [["A one.", "A two."], ["B one."], ["B two."], ["C one."]]


def test_text_is_read_as_it_is_asked_for(write):
    path = write("a.txt", b"One.\n\nTwo.\n\n\xff\xfe\n")
    reader = text_documents(path)
    assert [next(reader), next(reader)] == [["One."], ["Two."]]
    with pytest.raises(InputError):
        next(reader)


@pytest.mark.parametrize("content", ["", "\n \n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(write, content):
    path = write("a.txt", content)
    assert message(lambda: text_documents(path)).startswith(f"{path} is empty")


def test_a_file_that_is_not_utf8_is_refused_with_the_place(write):
    path = write("a.txt", "gut\nschön\n".encode("latin-1"))
    assert message(lambda: text_documents(path)) == f"{path} is not UTF-8 (byte 4 of line 2): save it as UTF-8."
    path = write("wide.txt", "plain".encode("utf-16-be"))
    assert "zero byte in line 1" in message(lambda: text_documents(path))


def test_a_folder_without_text_files_is_refused(tmp_path):
    assert message(lambda: text_documents(tmp_path)) == f"the folder {tmp_path} has no .txt files."


def test_a_file_that_cannot_be_opened_is_refused(tmp_path):
    assert message(lambda: text_lines(tmp_path / "none.txt")).startswith("cannot read")


# --------------------------------------------------------------------------------------- labelled


def test_csv_tsv_and_json_lines_give_the_same_examples(write):
    expected = [Example('Good, "very" good.\nYes.', "positive"), Example("坏", "0")]
    rows = [("positive", expected[0].text), ("0", expected[1].text)]
    tables = {}
    for name, delimiter in (("a.csv", ","), ("a.tsv", "\t")):
        table = io.StringIO()
        csv.writer(table, delimiter=delimiter).writerows([("label", " text "), *rows])
        tables[name] = table.getvalue()
    lines = [
        json.dumps({"label": "positive", "text": rows[0][1], "stars": 5}),
        "",
        json.dumps({"text": "坏", "label": 0}),
    ]
    tables["a.jsonl"] = tables["a.NDJSON"] = "\n".join(lines)
    for name, content in tables.items():
        assert list(labelled_file(write(name, b"\xef\xbb\xbf" + content.encode()))) == expected


def test_columns_can_have_other_names_and_a_pair(write):
    path = write("a.csv", "first,second,same\na,b,yes\n\nc,d,no\n")
    assert list(labelled_file(path, "first", "same", "second")) == [Example("a", "yes", "b"), Example("c", "no", "d")]
    assert list(labelled_file(path, "second", None)) == [Example("b"), Example("d")]


def test_a_text_longer_than_the_csv_modules_own_limit_is_read(write):
    text = "word " * 40_000
    assert next(labelled_file(write("a.csv", f"text,label\n{text},x\n"))) == Example(text, "x")


def test_the_text_column_of_a_table_is_documents(write):
    path = write("a.csv", 'text,label\n"One. Two.",x\nThree.,y\n')
    assert list(column_documents(path)) == [["One.", "Two."], ["Three."]]


def test_a_missing_column_names_those_there_are_and_the_option(write):
    path = write("a.csv", "review,stars\nfine,5\n")
    assert message(lambda: labelled_file(path)) == (
        f"{path} has no column 'text' (it has: review, stars). Name it with --text-column."
    )
    assert message(lambda: labelled_file(path, "review")).endswith("Name it with --label-column.")
    assert message(lambda: labelled_file(path, "review", "stars", "other")).endswith("Name it with --pair-column.")
    path = write("a.jsonl", '{"text": "a", "label": "b"}\n{"text": "a", "stars": 3}\n')
    assert message(lambda: labelled_file(path)) == (
        f"{path}, line 2, has no column 'label' (it has: text, stars). Name it with --label-column."
    )


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('text,label\n"a\nb",x\n"c\nd\ne"\nf,y\n', "line 4: 1 cell where the header has 2"),
        ("text,label\na,x\nb, and c,y\n", "line 3: 3 cells where the header has 2"),
        ("text,label\na,x\n\n ,y\n", "line 4: the column 'text' is empty"),
        ("text,label\na,\n", "line 2: the column 'label' is empty"),
    ],
)
def test_a_row_with_missing_cells_is_refused_with_its_line(write, content, what):
    assert what in message(lambda: labelled_file(write("a.csv", content)))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ('{"text": "a", "label": "b"}\n{"text": "a",\n', "line 2: not JSON"),
        pytest.param("\n" + "[" * 200_000 + "]" * 200_000, "line 2: brackets are nested too deeply", id="deep"),
        pytest.param('{"text": "a", "label": ' + "9" * 6_000 + "}", "line 1: a number has too many digits", id="huge"),
        (
            r'{"text": "a \ud800 b", "label": "x"}',
            r"line 1: 'text' contains half a character (the lone surrogate \ud800)",
        ),
        (r'{"text": "a", "label": "\udcff"}', r"line 1: 'label' contains half a character (the lone surrogate \udcff)"),
        ('["a", "b"]\n', "line 1: not an object"),
        ('{"text": "a", "label": null}\n', "line 1: 'label' must be text, not null"),
        ('{"text": ["a"], "label": "b"}\n', "line 1: 'text' must be text"),
    ],
)
def test_a_bad_json_line_is_refused_with_its_line(write, content, what):
    assert what in message(lambda: labelled_file(write("a.jsonl", content)))


@pytest.mark.parametrize("content", ["", "\n\n", "text,label\n", "text,label\n\n"])
def test_a_table_without_rows_is_refused(write, content):
    assert "is empty" in message(lambda: labelled_file(write("a.csv", content)))


def test_folders_and_other_suffixes_are_no_tables(write, tmp_path):
    assert "is a folder" in message(lambda: labelled_file(tmp_path))
    assert "does not end in .csv, .tsv" in message(lambda: labelled_file(write("a.xlsx", "PK")))


def test_a_table_that_is_not_utf8_is_refused_with_the_place(write):
    path = write("a.csv", "text,label\nschön,gut\n".encode("latin-1"))
    assert "not UTF-8 (byte 4 of line 2)" in message(lambda: labelled_file(path))


@given(
    st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), min_size=1)] * 2), min_size=1)
)
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    rows = [row for row in rows if all(cell.strip() for cell in row)] or [("a", "b")]
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    assert [(example.text, example.label) for example in labelled_file(path)] == rows


def test_both_halves_of_a_character_are_one_character(write):
    path = write("a.jsonl", r'{"text": "\ud83d\ude00", "label": "x"}')
    assert list(labelled_file(path)) == [Example("\U0001f600", "x")]
