"""Tables against two referees, `csv` and pandas: the same rows or a refusal, but never other or fewer rows without a word.

The tables are generated: what a writer writes in every dialect, lines that no writer would write, and right tables with one
or two quotation marks too many or too few.
"""

import csv
import io
import itertools
import random
import unicodedata
import warnings

import pandas
import pytest
import regex

from minilm.errors import InputError
from minilm.files.notes import Notes
from minilm.text import characters, corpus
from minilm.text.files import DELIMITERS, Example
from minilm.text.tables import labelled_file

PIECES = (
    *(
        "good",
        "film",
        "is",
        "a",
        "5",
        "没有",
        "é",
        "e\u0301",
        "I\u2028you",
        "x\x85y",
        "a\x0cb",
        "\u200b",
        "\ufeff",
        "👍️",
    ),
    *('"', '""', '"quoted"', "'", "don't", '\\"', ",", ", ", "\t", ";", " ", "  ", ".", "!", "\\", "|", "#", "\x0b"),
)
BREAKS = ("\n", "\n\n", "\r\n", "\r")


def cell(rng, pieces=PIECES):
    while not characters.visible(text := "".join(rng.choice(pieces) for _ in range(rng.randint(1, 7)))):
        pass
    return text


def read(path):
    """The rows of a table, or None if it is refused."""
    try:
        return [(each.text, each.pair, each.label) for each in labelled_file(path, pair_column="pair")]
    except InputError as refusal:
        assert "\n" not in str(refusal) and str(path) in str(refusal)
        return None


def by_csv(path, **dialect):
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=DELIMITERS[path.suffix], **dialect)
        return [tuple(row) for row in rows if row and (len(row) > 1 or characters.visible(row[0]))][1:]


def by_pandas(path):
    """The rows as pandas reads them, or None if it refuses, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = pandas.read_csv(
                path, sep=DELIMITERS[path.suffix], dtype=str, keep_default_na=False, index_col=False, encoding="utf-8"
            )
        except (pandas.errors.ParserError, pandas.errors.EmptyDataError):
            return None
    return list(table.itertuples(index=False, name=None))


DIALECTS = list(
    itertools.product(
        (".csv", ".tsv"), ("\n", "\r\n", "\r"), (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC), (False, True)
    )
)


@pytest.mark.parametrize("breaks", [False, True], ids=["single lines", "line breaks in cells"])
def test_what_a_writer_writes_is_read_as_the_referees_read_it(breaks, tmp_path):
    rng = random.Random(1)
    refused = 0
    for suffix, line_end, quoting, mark in DIALECTS * 4:
        pieces = (*PIECES, *BREAKS) if breaks else PIECES
        if quoting == csv.QUOTE_MINIMAL:  # the writer of Python 3.11 quotes no other line end than its own
            pieces = tuple(piece for piece in pieces if piece not in BREAKS or set(piece) <= set(line_end))
        rows = [(cell(rng, pieces), cell(rng, pieces), rng.choice(("yes", "no"))) for _ in range(rng.randint(1, 9))]
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=DELIMITERS[suffix], lineterminator=line_end, quoting=quoting)
        writer.writerows([("text", "pair", "label"), *rows])
        path = tmp_path / f"a{suffix}"
        path.write_bytes(b"\xef\xbb\xbf" * mark + text.getvalue().encode())
        found = read(path)
        assert by_csv(path) == rows
        assert found in (rows, None)
        refused += found is None
        assert by_pandas(path) == rows
    assert refused <= (0.25 if breaks else 0) * len(DIALECTS) * 4


RAW = (
    *PIECES,
    *'""""""',
    *",,,,\t\t\t\t",
    *"\n\n\n\n\r",
    "\r\n",
    ',"',
    '",',
    '"\n',
    '\n"',
    '\t"',
    "yes",
    "no",
    ",yes\n",
    "\tno\n",
)


@pytest.mark.parametrize("suffix", DELIMITERS)
def test_lines_that_no_writer_writes_are_read_as_the_referees_read_them_or_refused(suffix, tmp_path):
    rng, delimiter = random.Random(2), DELIMITERS[suffix]
    accepted = 0
    for _ in range(400):
        lines = [delimiter.join(("text", "pair", "label")) + rng.choice(("\n", "\r\n", "\r"))]
        for _ in range(rng.randint(1, 4)):
            end = rng.choice(("\n", "\n", "\r\n", "\r", ""))
            regular = [cell(rng).replace(delimiter, " ") for _ in range(2)] + [rng.choice(("yes", "no"))]
            lines.append(
                "".join(rng.choice(RAW) for _ in range(rng.randint(1, 9)))
                if rng.random() < 0.3
                else delimiter.join(regular) + end
            )
        path = tmp_path / f"a{suffix}"
        path.write_text("".join(lines), encoding="utf-8", newline="")
        if (found := read(path)) is not None:
            accepted += 1
            expected = [(text, pair, characters.tidy(label)) for text, pair, label in by_csv(path, strict=True)]
            assert found == expected, path.read_text(encoding="utf-8", newline="")
    assert 40 < accepted < 370


# ------------------------------------------------------------------- one or two quotation marks too many or too few


def right_table(rng, suffix, quoted, labels):
    """The lines of a right table, and its rows. Every row has its own number, so that a lost one is seen."""
    delimiter, lines, rows = DELIMITERS[suffix], [], []
    order = rng.sample(("text", "pair", "label"), 3)
    lines.append(delimiter.join(order) + "\n")
    for number in range(rng.choice((3, 6, 30))):
        words = rng.choices(
            ("a", "fine", "bad", "well, then", "of", "1999", "电影", "don't", '5" disk', "so-so"), k=rng.randint(1, 5)
        )
        row = {"text": f"{number} " + " ".join(words), "pair": f"pair {number}", "label": rng.choice(labels)}
        lines.append(
            delimiter.join(
                '"' + row[name].replace('"', '""') + '"'
                if delimiter in row[name] or rng.random() < quoted
                else row[name]
                for name in order
            )
            + "\n"
        )
        rows.append(tuple(row[name] for name in ("text", "pair", "label")))
    return lines, rows


def without_marks(rows):
    return [tuple(part.replace('"', "") for part in row) for row in rows]


@pytest.mark.parametrize("suffix", DELIMITERS)
@pytest.mark.parametrize("marks", [1, 2])
def test_quotation_marks_too_many_or_too_few_never_lose_a_row(suffix, marks, tmp_path):
    rng = random.Random(marks)
    accepted = total = 0
    for _ in range(30):
        labels = rng.choice((("yes", "no"), ("1", "2", "3"), ("label A", "label B")))
        lines, rows = right_table(rng, suffix, rng.choice((0, 0, 0.3, 1)), labels)
        text = "".join(lines)
        path = tmp_path / f"a{suffix}"
        path.write_text(text, encoding="utf-8", newline="")
        assert read(path) == rows
        starts = [i for i, c in enumerate(text) if i == 0 or text[i - 1] in DELIMITERS[suffix] + "\n"]
        ends = [i for i, c in enumerate(text) if c in DELIMITERS[suffix] + "\n"]
        there = [i for i, c in enumerate(text) if c == '"']
        for _ in range(12):
            pieces = [*text, ""]
            for _ in range(marks):
                place = rng.choice(rng.choice((range(len(text)), starts, ends, there or starts)))
                pieces[place] = "" if pieces[place] == '"' and rng.random() < 0.7 else '"' + pieces[place]
            changed = "".join(pieces)
            path.write_text(changed, encoding="utf-8", newline="")
            found, total = read(path), total + 1
            if found is not None:
                accepted += 1
                assert without_marks(found) == without_marks(rows), changed
    assert 0.08 * total < accepted < 0.6 * total


@pytest.mark.parametrize("suffix", DELIMITERS)
@pytest.mark.parametrize("column", ["first", "middle", "last"])
def test_a_stray_mark_is_named_with_the_line_in_which_it_stands(suffix, column, tmp_path):
    """Also where cells of several lines come before it, in other rows and in the same one."""
    delimiter, names = DELIMITERS[suffix], ["pair", "label"]
    names.insert(("first", "middle", "last").index(column), "text")
    long = {"text": '"one\r\ntwo"', "pair": '"three\nfour"', "label": "yes"}
    for rows in range(1, 6):
        for stray in range(rows):
            lines, expected = [delimiter.join(names)], 0
            for number in range(rows):
                row = long if number % 2 == 0 else {"text": f"text {number}", "pair": "p", "label": "no"}
                if number == stray:
                    row = {**row, "text": '"stray'}
                    before = delimiter.join(row[name] for name in names[: names.index("text")])
                    expected = "\n".join(lines).count("\n") + 2 + before.count("\n")
                lines.append(delimiter.join(row[name] for name in names))
            path = tmp_path / f"a{suffix}"
            path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
            with pytest.raises(InputError, match=f"line {expected}: "):
                list(labelled_file(path, pair_column="pair"))


# ------------------------------------------------------------------- texts of several lines


@pytest.mark.parametrize("suffix", DELIMITERS)
@pytest.mark.parametrize("names", [("text", "label"), ("label", "text")])
def test_reviews_with_paragraphs_are_read(suffix, names, tmp_path):
    """1,000 film reviews, a third of them with line breaks: none of them looks like rows that were swallowed."""
    reviews = corpus.labelled("imdb")[::25]
    reviews = [each._replace(text=each.text.replace("\n\n", "\n")) if i % 2 else each for i, each in enumerate(reviews)]
    path = tmp_path / f"reviews{suffix}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, delimiter=DELIMITERS[suffix])
        writer.writeheader()
        writer.writerows({"text": each.text, "label": each.label} for each in reviews)
    notes = Notes(lambda text: None)
    assert list(labelled_file(path, note=notes)) == reviews
    broken = sum("\n" in each.text for each in reviews)
    assert broken > 150 and notes.lines[0].startswith(f"{broken:,} row(s) of {path} have line breaks inside a cell")


def test_labels_tell_a_long_text_from_swallowed_rows(tmp_path):
    """The same shape, twice: in a table with known labels, only the rows that end in one of them were swallowed."""
    head = "text,label\n" + "".join(f"a film number {i},{('pos', 'neg')[i % 2]}\n" for i in range(40))
    path = tmp_path / "a.csv"
    path.write_text(head + '"It cost 1,000.\nNothing more.",neg\n', encoding="utf-8")
    assert list(labelled_file(path))[-1] == Example("It cost 1,000.\nNothing more.", "neg")
    for rows in ('"a good film,pos\na bad one",neg\n', '"a good film,pos\nx,neg\n\ny, neg\na bad one",neg\n'):
        path.write_text(head + rows, encoding="utf-8")
        with pytest.raises(InputError, match="line 42: a quotation mark opens a cell that ends only in line"):
            list(labelled_file(path))


# ------------------------------------------------------------------- characters


def test_every_character_without_a_picture_is_invisible():
    """The referee: the Unicode properties, as the library `regex` knows them."""
    ignored = regex.compile(r"\p{Default_Ignorable_Code_Point}")
    unseen = regex.compile(r"[\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800]")
    for number in (*range(0xD800), *range(0xE000, 0x20000), *range(0xE0000, 0xE1000)):
        c = chr(number)
        seen = unicodedata.category(c) not in ("Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me") and not unseen.fullmatch(c)
        assert characters.visible(c) == characters.visible(f" {c}\u200b") == seen, f"U+{number:04X}"
        assert bool(characters.IGNORED.fullmatch(c)) == bool(ignored.fullmatch(c)), f"U+{number:04X}"
