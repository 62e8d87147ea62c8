r"""The rows of a CSV or TSV file, where a stray quotation mark must never swallow rows.

A cell that begins with a quotation mark goes on to the next one, across as many lines as there are in between. If a text
begins with a quotation mark that nobody meant as a quote, the rows after it become part of that text:

    pos,"a good film            one row of two cells: pos, and
    neg,a bad film              "a good film\nneg,a bad film\npos,the size is 5"
    pos,the size is 5"

The `csv` module reads the file. In its strict mode it refuses a quote that is never closed, or closed in the middle of
other text. What is left are two stray marks that happen to look like a pair, as above. Such a "cell" has a shape that
hardly any text has: each of its lines, read alone, is a row of the table.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.characters import tidy, visible
from minilm.text.files import DELIMITERS, text_lines

_LINE_END = re.compile("\r\n|\r|\n")
_SPACES = " \t\xa0\u3000"
_FEW = 1_000  # a column with more values than this holds texts or numbers, not labels
_TWICE = 'write a quotation mark inside a quoted cell twice ("")'


def csv_rows(path: Path, note: Note = unheard) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells) of each row, first the header. Blank lines are skipped.

    All rows have as many cells as the header. `note` hears how many rows have line breaks inside a cell. Raises InputError
    for a quotation mark that is not closed or that swallows rows, and for a row with too many or too few cells. Whether a
    row was swallowed can sometimes be told only at the end of the file, when the labels are known.
    """
    csv.field_size_limit(2**31 - 1)  # the largest C long of Windows; sys.maxsize overflows there
    delimiter = DELIMITERS[path.suffix.lower()]
    lines: list[str] = []  # of the row that is being read
    reader = csv.reader(_kept(text_lines(path), lines), delimiter=delimiter, strict=True)
    shape: _Shape | None = None
    long_rows: list[tuple[int, int]] = []
    while True:
        first = reader.line_num + 1
        lines.clear()
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise _misquoted(path, first, lines, delimiter, error) from None
        if row is None:
            break
        if not row or (len(row) == 1 and not visible(row[0]) and not (shape and len(shape.header) == 1)):
            continue
        if shape is None:
            shape = _Shape(row, delimiter, path)
        else:
            _check(row, lines, shape, f"{path}, line {first}")
            shape.see(row, lines, first)
            if len(lines) > 1:
                long_rows.append((first, reader.line_num))
        yield first, row
    if shape:
        shape.refuse_swallowed_rows()
    if long_rows:
        place = "lines {} to {}".format(*long_rows[0])
        note(f"{len(long_rows):,} row(s) of {path} have line breaks inside a cell, the first one in {place}.")


def _kept(lines: Iterator[str], into: list[str]) -> Iterator[str]:
    for line in lines:
        into.append(line)
        yield line


def _check(row: list[str], lines: list[str], shape: "_Shape", where: str) -> None:
    """Raise InputError for a row of another length than the header's, and for one that is not what it was meant to be."""
    header, name = shape.header, "tabs" if shape.delimiter == "\t" else "commas"
    spaced = [
        cell for cell in row if cell[:1] in _SPACES and cell.lstrip(_SPACES)[:1] == '"' and cell in "".join(lines)
    ]
    if len(row) != len(header):
        advice = f"put quotes around a text that contains {name}"
        if spaced:
            advice = f"remove the space before the quotation mark of {spaced[0].strip()[:20]!r}"
        elif len(row) > len(header) and not any(map(visible, row[len(header) :])):
            advice = f"remove the {name} at the end of the line"
        elif len(row) < len(header):
            advice = "write one cell for each column"
        cells = f"{len(row)} cell{'s' if len(row) > 1 else ''} where the header has {len(header)}"
        raise InputError(f"{where}: {cells}; {advice}.")
    for cell in spaced:
        if len(cell.strip(_SPACES)) > 1 and cell.rstrip(_SPACES)[-1] == '"':
            what = f"a space stands before the quotation mark of {cell.strip()[:20]!r}"
            raise InputError(f"{where}: {what}, so that the marks would be part of the text; remove the space.")
    if len(row) > 1 and [tidy(cell) for cell in row] == header:
        raise InputError(f"{where}: this row repeats the header; remove it.")


class _Doubtful(NamedTuple):
    """A row of several lines, some of which have the right number of cells."""

    first: int
    last: int
    every_line: bool  # has the right number of cells
    prose: bool  # a space or a line end follows each comma inside the cell, as in prose and unlike in a table
    alone: list[list[str]]  # the cells of these lines, read alone; "" in columns that have too many values to compare


class _Shape:
    """What the rows of a single line show about a table, to tell a cell of several lines from rows that were swallowed."""

    def __init__(self, header: list[str], delimiter: str, path: Path):
        self.header = [tidy(name) for name in header]
        self.delimiter, self.path, self.rows = delimiter, path, 0
        self.spaced = any(name[:1] in _SPACES for name in header[1:] if name)  # "text, label": a space after each comma
        self.values: list[set[str] | None] = [set() for _ in header]  # of each column, while they are few
        self.doubtful: list[_Doubtful] = []
        if any(delimiter in name and _LINE_END.search(name) for name in header):
            raise InputError(f"{path}, line 1: the header goes on in another line; remove its stray quotation mark.")

    def see(self, row: list[str], lines: list[str], first: int) -> None:
        """Count the values of a row of a single line; remember one of several lines if it may be several rows."""
        if len(lines) == 1:
            self.rows += 1
            self.spaced |= '"' not in lines[0] and any(cell[:1] in _SPACES for cell in row[1:] if cell)
            for place, cell in enumerate(row):
                known = self.values[place]
                if known is not None:
                    known.add(_bare(cell))
                    if len(known) > _FEW:
                        self.values[place] = None
        elif len(row) > 1:
            alone = [line.split(self.delimiter) for line in lines if visible(line)]
            rows = [cells for cells in alone if len(cells) == len(row)]
            if len(rows) > 1:
                prose = not any(re.search(rf"{self.delimiter}\S", cell) for cell in row if _LINE_END.search(cell))
                few = [
                    ["" if known is None else _bare(cell) for cell, known in zip(cells, self.values, strict=True)]
                    for cells in rows
                ]
                self.doubtful.append(_Doubtful(first, first + len(lines) - 1, len(rows) == len(alone), prose, few))

    def refuse_swallowed_rows(self) -> None:
        """Raise InputError if the lines of a long row read as rows of their own.

        If some columns have few values (as labels have), two lines with such values are enough: a text has one, where its
        own row begins or ends. In a table without such a column, every line must have the right number of cells, and the
        commas must not look like those of prose.
        """
        few = [
            (i, known) for i, known in enumerate(self.values) if known is not None and self.rows >= 10 * len(known) > 0
        ]
        for row in self.doubtful:
            if few:
                swallowed = sum(all(cells[i] in known for i, known in few) for cells in row.alone) > 1
            else:
                swallowed = row.every_line and (self.spaced or not row.prose)
            if swallowed:
                what = f"a quotation mark opens a cell that ends in line {row.last}, but each of these lines reads as a row"
                advice = "remove the marks, or, if the line breaks belong to the text, replace them with spaces"
                raise InputError(f"{self.path}, line {row.first}: {what}; {advice}.")


def _bare(cell: str) -> str:
    return tidy(cell).strip('"').strip()


def _misquoted(path: Path, first: int, lines: list[str], delimiter: str, error: csv.Error) -> InputError:
    """The error for a row that the `csv` module refuses, with the line where the faulty cell begins."""
    if "unexpected end" in str(error):
        what = "a cell begins with a quotation mark that is never closed; remove it, or close the cell"
        return InputError(f"{path}, line {first + _opened(lines, delimiter)}: {what}.")
    if "expected after" not in str(error):
        return InputError(f"{path}, line {first}: {error}.")
    last = first + len(lines) - 1
    # Was the cell that is open at the beginning of the last line closed there as it should be?
    closed = re.match(f'(?:[^"]|"")*"(?={re.escape(delimiter)}|[\r\n]|$)', lines[-1])
    opened = last if len(lines) == 1 or closed else first + _opened(lines[:-1], delimiter)
    if opened == last:
        return InputError(f"{path}, line {last}: more text follows a quoted cell; {_TWICE}, and nothing after it.")
    what = f"a cell begins with a quotation mark, and the next one is in the middle of line {last}"
    return InputError(f"{path}, line {opened}: {what}; close the cell, or remove the mark, and {_TWICE}.")


def _opened(lines: list[str], delimiter: str) -> int:
    """In which of the lines (counted from 0) the cell begins that is still open at their end."""
    cell = next(csv.reader(iter(lines), delimiter=delimiter))[-1]
    return len(lines) - 1 - len(_LINE_END.findall(cell)) + bool(_LINE_END.search(lines[-1]))
