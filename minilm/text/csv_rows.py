r"""The rows of a CSV or TSV file, where a stray quotation mark must never swallow rows.

A cell that begins with a quotation mark goes on to the next one, across as many lines as there are in between. If a text
begins with a quotation mark that nobody meant as a quote, the rows after it become part of that text:

    pos,"a good film            one row of two cells: pos, and
    neg,a bad film              "a good film\nneg,a bad film\npos,the size is 5"
    pos,the size is 5"

The `csv` module reads the file. In its strict mode it refuses a quote that is never closed, or closed in the middle of
other text. What is left are two stray marks that happen to look like a pair, as above. Such a "cell" has a shape that
hardly any text has: its lines, read alone, are rows of the table.
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
_MARK = re.compile(r'(?<![\d"])"+')  # after a digit it is the sign for inches
_QUOTE_AFTER_SPACE = re.compile(f'[{_SPACES}]+"')
_FEW = 1_000  # a column with more values than this holds texts or numbers, not labels
_ENOUGH = 20  # rows, to know the values of such a column
_NAME = 16  # characters that a label may have, even if the others are shorter
_THOUSANDS = re.compile(r"\d{3}(?!\d)")
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
    written = "".join(lines)
    marked = [cell for cell in _without_quotes(row, written) if '"' in cell] if '"' in written else []
    spaced = [cell for cell in marked if _QUOTE_AFTER_SPACE.match(cell)]
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
    for cell in marked:
        if cell[-1] == '"' and len(_MARK.findall(cell)) % 2:
            what = f"the quotation mark at the end of {cell[-20:]!r} closes a cell that none opens"
            raise InputError(f"{where}: {what}; put one at the beginning, or remove it.")
    if len(row) > 1 and [tidy(cell) for cell in row] == header:
        raise InputError(f"{where}: this row repeats the header; remove it.")


def _without_quotes(row: list[str], written: str) -> list[str]:
    """The cells that stand in the file as they are, without quotes around them."""
    bare, place = [], 0
    for cell in row:
        if written[place : place + 1] == '"':
            place += len(cell) + cell.count('"') + 3  # each mark inside is written twice, and then comes the delimiter
        else:
            bare.append(cell)
            place += len(cell) + 1
    return bare


class _Doubtful(NamedTuple):
    """A line of a row of several lines that could be a row by itself."""

    first: int  # the lines of the row
    last: int
    prose: bool  # a space follows a comma
    cells: list[str]  # "" in columns that have too many values to compare
    others: dict[int, str]  # the cells in columns where the long row has no line break


class _Shape:
    """What the rows of a single line show about a table, to tell a cell of several lines from rows that were swallowed."""

    def __init__(self, header: list[str], delimiter: str, path: Path):
        self.header = [tidy(name) for name in header]
        self.delimiter, self.path, self.rows = delimiter, path, 0
        self.spaced = any(name[:1] in _SPACES for name in header[1:] if name)  # "text, label": a space after each comma
        self.values: list[set[str] | None] = [set() for _ in header]  # of each column, while they are few
        self.longest = [0 for _ in header]
        self.ascii = [True for _ in header]
        self.doubtful: list[_Doubtful] = []
        if any(delimiter in name and _LINE_END.search(name) for name in header):
            raise InputError(f"{path}, line 1: the header goes on in another line; remove its stray quotation mark.")

    def see(self, row: list[str], lines: list[str], first: int) -> None:
        """Remember the values of a row, and which lines of one of several lines could be rows."""
        broken = {place for place, cell in enumerate(row) if len(lines) > 1 and _LINE_END.search(cell)}
        for place, cell in enumerate(row):
            if place in broken:
                continue
            self.longest[place] = max(self.longest[place], len(cell))
            self.ascii[place] &= cell.isascii()
            known = self.values[place]
            if known is not None:
                known.add(_plain(cell))
                if len(known) > _FEW:
                    self.values[place] = None
        self.rows += 1
        if broken:
            self.doubtful += self.like_rows(row, lines, first, broken)
        else:
            self.spaced |= '"' not in lines[0] and any(cell[:1] in _SPACES for cell in row[1:] if cell)

    def like_rows(self, row: list[str], lines: list[str], first: int, broken: set[int]) -> Iterator[_Doubtful]:
        """The lines of a row of several lines that could be rows. `broken`: the places of its cells with line breaks."""
        if self.delimiter == "\t" and any("\t" in row[place] for place in broken):  # hardly any text has a tab
            yield _Doubtful(first, first + len(lines) - 1, False, [], {})
        for number, line in enumerate(lines):
            # the beginning of a text in the last column looks like a whole row anyway, and so does the end of one in the first
            if (number == 0 and min(broken) == len(row) - 1) or (number == len(lines) - 1 and max(broken) == 0):
                continue
            for place in broken if len(row) > 1 else ():
                cells = self.cells_of(line.rstrip("\r\n"), place)
                if any(cells[1:]) and not any(map(_is_thousands, cells, cells[1:])):
                    prose = any(cell[:1] in _SPACES for cell in cells[1:] if cell)
                    few = [
                        "" if known is None else _plain(cell) for cell, known in zip(cells, self.values, strict=True)
                    ]
                    others = {other: cell for other, cell in enumerate(cells) if other not in broken}
                    yield _Doubtful(first, first + len(lines) - 1, prose, few, others)

    def cells_of(self, line: str, place: int) -> list[str]:
        """The cells of a line that is read alone, if it has enough. Of too many, some belong to the text at this place."""
        cells = line.split(self.delimiter)
        more = len(cells) - len(self.header)
        if more > 0 and '"' in line:
            quoted = next(csv.reader([line], delimiter=self.delimiter))
            if len(quoted) == len(self.header):
                return quoted
        text = self.delimiter.join(cells[place : place + more + 1])
        return [*cells[:place], text, *cells[place + more + 1 :]] if more >= 0 else []

    def fits(self, cell: str, place: int) -> bool:
        """Whether a cell looks like those of its column, where values come again: as short as they are, and ASCII like them."""
        known = self.values[place]
        if known is None or len(known) == self.rows:
            return True  # a column of texts, or too few rows to say anything
        return len(cell) <= max(2 * self.longest[place] + 2, _NAME) and (cell.isascii() or not self.ascii[place])

    def refuse_swallowed_rows(self) -> None:
        """Raise InputError if a line of a long row reads as a row of its own.

        If some columns have few values (as labels have), a line with such values is a row. Without such columns it is one
        if its cells look like those of their columns, and its commas unlike those of prose.
        """
        enough = [(i, known) for i, known in enumerate(self.values) if known and self.rows >= 4 * len(known)]
        few = enough if self.rows >= _ENOUGH else []
        for line in self.doubtful:
            if few and not line.cells:
                continue
            if labels := [(i, known) for i, known in few if i in line.others]:
                swallowed = all(line.cells[i] in known for i, known in labels)
            else:
                fits = all(self.fits(cell, place) for place, cell in line.others.items())
                swallowed = fits and (self.spaced or not line.prose)
            if swallowed:
                what = f"a quotation mark opens a cell that ends only in line {line.last}, and its lines look like rows"
                advice = "remove the mark if it opens no quote, or write spaces for the line breaks if they belong to the text"
                raise InputError(f"{self.path}, line {line.first}: {what}; {advice}.")


def _plain(cell: str) -> str:
    return tidy(cell).strip('"').strip()


def _is_thousands(before: str, after: str) -> bool:
    """Whether the comma between two cells is that of a number such as 1,000."""
    return before[-1:].isdigit() and bool(_THOUSANDS.match(after))


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
