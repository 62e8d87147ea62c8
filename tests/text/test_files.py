"""The user's own files: their content is read correctly, and every fault is reported in one clear sentence."""

import csv
import io
import json

import pytest
from hypothesis import given, settings, strategies as st

from minilm.errors import InputError
from minilm.files.notes import Notes
from minilm.text.characters import visible
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


def test_line_feeds_and_carriage_returns_end_a_line_and_nothing_else(write):
    path = write("a.txt", "a\u2028b\x85c\x0b\x0c\x1cd\ne\rf\r\n\r\n\rg")
    assert list(text_lines(path)) == ["a\u2028b\x85c\x0b\x0c\x1cd\n", "e\r", "f\r\n", "\r\n", "\r", "g"]
    assert list(text_documents(write("b.txt", "One.\rTwo.\r\rThree.\r"))) == [["One.", "Two."], ["Three."]]


@given(st.lists(st.sampled_from(["a", "é", "\u2028", "\x85", "\r", "\n", "\ufeff", "好"]), max_size=12))
@settings(derandomize=True)
def test_lines_are_those_of_pythons_universal_newlines(tmp_path_factory, pieces):
    path = tmp_path_factory.getbasetemp() / "universal.txt"
    path.write_bytes("".join(pieces).encode())
    with open(path, encoding="utf-8-sig", newline=None) as file:
        assert [line.rstrip("\r\n") for line in text_lines(path)] == [line.rstrip("\n") for line in file]


@pytest.mark.parametrize(
    "blank", ["\u200b", "\ufeff", "\u00ad", "\u200e \u200f", "\x07", "\ufe0f", "\u3164", "\u2800", "\u0301"]
)
def test_a_line_of_invisible_characters_is_blank_and_said(write, blank):
    notes = Notes(lambda text: None)
    path = write("a.txt", f"One.\n{blank}\nTwo.\n \n{blank}\n")
    assert list(text_documents(path, notes)) == [["One."], ["Two."]]
    number = f"U+{ord(blank[0]):04X}"
    said = f"2 line(s) with invisible characters alone were read as blank lines, such as line 2 of {path} ({number}"
    assert notes.lines[0].startswith(said) and len(notes.lines) == 1


def test_hidden_files_are_not_read_and_what_is_left_out_is_said(write, tmp_path):
    write("a.txt", "A one.\n")
    write("._a.txt", b"\0\5\x16\7 Mac OS X")
    write(".DS_Store", b"\0\0")
    write("b.md", "not this")
    (tmp_path / "more").mkdir()
    notes = Notes(lambda text: None)
    assert list(text_documents(tmp_path, notes)) == [["A one."]]
    only = "only .txt files that are not hidden are"
    assert notes.lines == [f"3 file(s) or folder(s) in {tmp_path} are not read, such as ._a.txt: {only}."]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.conll", "EU\tB-ORG\nrejects\tO\n"),
        ("a.iob2", "EU NNP B-ORG\n"),
        ("a.txt", "EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nNew York\tS-LOC\n"),
        ("a.txt", "# text = EU rejects\nEU\tO-B\nrejects\tO\n\n# text = York\nYork\tLOC_S\n"),
        ("a.txt", "-DOCSTART- -X- O O\n\n王\tB-PER\n坐\tO\n下\tO\n" * 9),
        ("a.txt", "迈向/v 充满/v 希望/n 的/u 新/a 世纪/n\n一九九八年/t 新年/t 讲话/n ./.\n"),
    ],
)
def test_tagged_words_are_not_learnt_as_text(write, name, content):
    assert "a tag for every word" in message(lambda: text_documents(write(name, content)))


@pytest.mark.parametrize("name", ["a.json", "a.html", "a.XML", "a.ipynb"])
def test_formats_with_signs_of_their_own_are_no_text(write, name):
    assert "is not plain text, which a model would learn as text: " in message(
        lambda: text_documents(write(name, "<p>One.</p>"))
    )


def test_text_with_slashes_and_letters_that_look_like_tags_is_text(write):
    for text in (
        "He and/or she came.\nYes/no?\nand/or\n",
        "Vitamin B-12\nVitamin B-6\nVitamin B-1\nB-1 B-2\n",
        "O\nO\nO\n",
    ):
        assert len(next(text_documents(write("a.txt", text)))) >= 3


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


@settings(derandomize=True)
@given(st.lists(st.tuples(*[st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))] * 2), min_size=1))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    """Line breaks inside a cell have a test of their own, in test_tables_referee.py."""
    rows = [row for row in rows if all(map(visible, row))] or [("a", "b")]
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "other"), *rows])
    assert [(example.text, example.pair) for example in labelled_file(path, "text", None, "other")] == rows


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_every_line_end_ends_a_row(write, name, end):
    delimiter = "\t" if name == "a.tsv" else ","
    rows = [f"text{delimiter}label", f"a{delimiter}x", f"b{delimiter}y", ""]
    if name == "a.jsonl":
        rows = ['{"text": "a", "label": "x"}', '{"text": "b", "label": "y"}', ""]
    assert list(labelled_file(write(name, end.join(rows)))) == [Example("a", "x"), Example("b", "y")]


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        (
            "a.csv",
            'label,text\npos,fine\npos,"a good film\nneg,bad\n',
            "line 3: a cell begins with a quotation mark that is n",
        ),
        (
            "a.csv",
            'text,label\nfine,pos\n"good film,pos\n"bad,neg\n',
            "line 3: a cell begins with a quotation mark, and the",
        ),
        (
            "a.csv",
            'label,text\npos,"a good film\nneg,bad film"\n',
            "line 2: a quotation mark opens a cell that ends only in",
        ),
        (
            "a.csv",
            'text,label\n"a good film,pos\nbad film",neg\n',
            "line 2: a quotation mark opens a cell that ends only in",
        ),
        ("a.tsv", 'text\tlabel\n"a\tb\nc"\tpos\n', "line 2: a quotation mark opens a cell that ends only in line 3"),
        ("a.csv", '"text,label\na,b\n', "line 1: a cell begins with a quotation mark that is never closed"),
        ("a.csv", '"text,label\na",b\n', "line 1: the header goes on in another line"),
        ("a.csv", 'text,label\n"so \\"good\\" it is",pos\n', "line 2: more text follows a quoted cell"),
        ("a.tsv", 'text\tlabel\n"Great" film\tpos\n', "line 2: more text follows a quoted cell"),
        (
            "a.csv",
            'text,label\ngood film",pos\n',
            "line 2: the quotation mark at the end of 'good film\"' closes a cell",
        ),
        ("a.csv", 'text,label\na, "pos"\n', "line 2: a space stands before the quotation mark of '\"pos\"'"),
        ("a.csv", 'label,text\nx, "a, b"\n', "line 2: 3 cells where the header has 2; remove the space before"),
        ("a.csv", "text,label\na,pos,\n", "line 2: 3 cells where the header has 2; remove the commas at the end"),
        ("a.csv", "text,label,id\na,pos\n", "line 2: 2 cells where the header has 3; write one cell for each column"),
        ("a.csv", "text,label\na,x\ntext,label\n", "line 3: this row repeats the header"),
        ("a.csv", "text;label\na;b\n", "separates its columns with semicolons: separate them with commas."),
        ("a.csv", "text\tlabel\na\tb\n", "separates its columns with tabs: rename it to end in .tsv"),
        ("a.tsv", "text,label\na,b\n", "separates its columns with commas: rename it to end in .csv"),
        ("a.csv", "sep=;\ntext;label\na;b\n", "begins with 'sep=;', which only Excel understands"),
        ("a.csv", "text,label,label\na,b,c\n", "has 2 columns named 'label': rename all but one"),
        ("a.csv", "text, text,label\na,b,c\n", "has 2 columns named 'text': rename all but one"),
        (
            "a.jsonl",
            '{"text": "a", "label": "x", "label": "y"}',
            "line 1, has 2 columns named 'label': rename all but one",
        ),
        ("a.jsonl", '{"text": "a", "label": NaN}', "line 1: 'label' must be text, not NaN"),
        ("a.jsonl", '{"text": "a", "label": 1.0}', "line 1: 'label' must be text, not 1.0"),
        ("a.jsonl", '{"text": true, "label": 1}', "line 1: 'text' must be text, not true"),
        ("a.csv", "text,label\n\u200b,x\n", "line 2: the column 'text' has only invisible characters (U+200B)"),
        ("a.csv", "text,label\nx,\ufeff\n", "line 2: the column 'label' has only invisible characters (U+FEFF)"),
        (
            "a.jsonl",
            r'{"text": "\u00ad", "label": 1}',
            "line 1: the column 'text' has only invisible characters (U+00AD)",
        ),
        ("a.csv", 'text,label\na,"x\ny"\n', "line 2: the label has a line break ('x\\ny'); write it in one line"),
    ],
)
def test_what_could_be_read_wrongly_is_refused_with_its_place(write, name, content, what):
    assert what in message(lambda: labelled_file(write(name, content)))


@pytest.mark.parametrize(
    "content",
    [
        'text,label\na "quoted" word,x\n',
        "text,label\na 'quoted word,x\n",
        'text,label\nthe size is 5",x\n',
        'text,label\n"a ""quoted"" word",x\n',
        'text,label,,\n"One, well.\n\nTwo.",x,,\n',
        'text,label\r\n"One.\r\nTwo, and, so, on.",x\r\n',
        'note,note,text,label\na,b,"c\u2028d\x85e\x0cf",x\n',
        'id,text,label\n1,"","y"\n'.replace('""', '"a"'),
    ],
)
def test_what_is_right_is_read_as_the_csv_module_reads_it(write, content):
    header, row = csv.reader(io.StringIO(content, newline=""))
    ((text, label, _),) = labelled_file(write("a.csv", content))
    assert (text, label) == (row[header.index("text")], row[header.index("label")])


def test_labels_are_tidied_and_said(write):
    path = write("a.csv", "text,label\na,pos\nb,pos \nc, pos\nd,\u200bpos\ufeff\ne,cafe\u0301\nf,caf\xe9\n")
    notes = Notes(lambda text: None)
    assert [example.label for example in labelled_file(path, note=notes)] == ["pos"] * 4 + ["caf\xe9"] * 2
    (line,) = notes.lines
    assert line.startswith(f"4 label(s) of {path} were tidied") and line.endswith("such as 'pos ' in line 3.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pos", "Pos"),
        ("pos", "ｐｏｓ"),
        ("1", "1.0"),
        ("1", "01"),
        ("a b", "a  b"),
        ("a b", "a\xa0b"),
        ("pos", "po\u200bs"),
        ("👍", "👍\ufe0f"),
    ],
)
def test_labels_that_differ_only_in_spelling_are_refused(write, one, other):
    said = message(lambda: labelled_file(write("a.csv", f"text,label\na,{one}\nb,no\nc,{other}\n")))
    assert f"the labels {one!r} (line 2) and {other!r} (line 4) differ only in" in said


def test_labels_of_json_keep_their_kind(write):
    rows = '{{"text": "a", "label": {}}}\n{{"text": "b", "label": {}}}\n'
    for one, other in (("1", '"1"'), ("true", '"True"'), ("true", '"true"')):
        assert "differ only in" in message(
            lambda one=one, other=other: labelled_file(write("a.jsonl", rows.format(one, other)))
        )
    assert [each.label for each in labelled_file(write("a.jsonl", rows.format(1, '"one"')))] == ["1", "one"]
    assert [each.label for each in labelled_file(write("a.jsonl", rows.format("true", "false")))] == ["True", "False"]


def test_rows_with_line_breaks_are_said(write):
    path = write("a.csv", 'text,label\na,x\n"One.\n\nTwo.",y\n"Three.\nFour.",x\n')
    notes = Notes(lambda text: None)
    assert len(list(labelled_file(path, note=notes))) == 3
    assert notes.lines == [f"2 row(s) of {path} have line breaks inside a cell, the first one in lines 3 to 5."]


def test_names_of_columns_are_compared_without_spaces_and_composed(write):
    path = write("a.csv", "\u200bGro\u0308\xdfe ,label\n1 m,x\n")
    assert list(labelled_file(path, "Gr\xf6\xdfe")) == [Example("1 m", "x")]
    path = write("a.jsonl", '{"text ": "a", "label": "x"}')
    assert list(labelled_file(path)) == [Example("a", "x")]


def test_documents_of_a_table_have_no_option_for_the_column(write):
    said = message(lambda: column_documents(write("a.csv", "review,stars\nfine,5\n")))
    assert said.endswith("(it has: review, stars). Rename the column with the text to 'text'.")


def test_a_sentence_of_invisible_characters_is_no_sentence(write):
    path = write("a.jsonl", r'{"text": "\u200b\nGood.\n\ufeff\n"}')
    assert list(column_documents(path)) == [["Good."]]


def test_both_halves_of_a_character_are_one_character(write):
    path = write("a.jsonl", r'{"text": "\ud83d\ude00", "label": "x"}')
    assert list(labelled_file(path)) == [Example("\U0001f600", "x")]
