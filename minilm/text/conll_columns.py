"""The columns of a CoNLL file: which of them holds the words, and which lines hold none.

A line has a word, perhaps further columns, and a tag. Files differ in what stands around that: numbers in front of the words,
comments, line ends of older systems. What can be told is skipped and said; what cannot is refused with its line.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.files.notes import Note
from minilm.text.characters import shows
from minilm.text.files import text_lines
from minilm.text.tag_schemes import OUTSIDE, marks_border

_COMMENT = re.compile(r"#\s*[\w.:-]+\s*=")  # # text = …
_RANGE = re.compile(
    r"\d+[-–.]\d+"
)  # 1-2 and 1.1 in CoNLL-U: several words written as one, and words that are not written
_COUNTED = re.compile(r"(.*?)(\d{1,18})(\D{0,2})")  # 1 and 1. and t1 and 50_1; Python reads no number of 5,000 digits


class Row(NamedTuple):
    """A line of the file: its number, counted from 1, and its columns."""

    number: int
    cells: list[str]


def sentences(path: Path, note: Note) -> list[list[Row]]:
    """The sentences of a CoNLL file: for each token, the line's number and its columns, the word first and the tag last.

    Raises InputError for a line without a tag or with another number of columns than the others, and for a first column
    that cannot hold words.
    """
    found = [list(sentence) for sentence in _sentences(path)]
    rows = [row for sentence in found for row in sentence]
    first = next((row for row in rows if not row.cells[0].startswith("#")), None)
    comments = _comments(rows, first)
    if comments:
        example = " ".join(comments[0].cells)[:40]
        note(f"{path}: lines that are comments were skipped: {len(comments)}, such as {example!r} in line "
             f"{comments[0].number}.")  # fmt: skip
    skipped = {row.number for row in comments}
    found = [kept for sentence in found if (kept := [row for row in sentence if row.number not in skipped])]
    for sentence in found:
        for row in sentence:
            _check_width(path, row, found[0][0])
    return _without_invisible(path, _without_numbers(path, found, note), note)


def _sentences(path: Path) -> Iterator[list[Row]]:
    sentence: list[Row] = []
    for number, line in enumerate(text_lines(path), start=1):
        cells = _cells(line.rstrip("\r\n"))
        if cells and not cells[0].startswith("-DOCSTART-"):
            sentence.append(Row(number, cells))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _cells(line: str) -> list[str]:
    """The columns of a line, separated by tabs if there is one, or else by spaces; none if nothing can be seen in it."""
    if not any(map(shows, line)):
        return []
    if "\t" in line:
        cells = [_stripped(cell) for cell in line.split("\t")]
    else:
        cells = [_stripped(cell) for cell in re.split(" +", line.strip(" "))]
        if line[0] == " " and len(cells) == 1 and (cells[0] == OUTSIDE or marks_border(cells[0])):
            cells = ["", *cells]  # the token is a space
    while not cells[-1]:
        cells.pop()
    return cells


def _stripped(cell: str) -> str:
    """The cell without spaces and other invisible characters at its ends."""
    if cell and shows(cell[0]) and shows(cell[-1]):
        return cell
    seen = [i for i, character in enumerate(cell) if shows(character)]
    return cell[seen[0] : seen[-1] + 1] if seen else ""


def _comments(rows: list[Row], first: Row | None) -> list[Row]:
    """The lines that begin with # and are not the word # with its tag."""
    marked = [row for row in rows if row.cells[0].startswith("#")]
    if not marked:
        return []
    others = [row for row in rows if not row.cells[0].startswith("#")]
    width = len(first.cells) if first else 2
    seen = [{row.cells[i] for row in others if len(row.cells) > i} | {"#", "_", "-", "SYM"} for i in range(width)]
    counted = bool(others) and width > 2 and all(_COUNTED.fullmatch(row.cells[0]) for row in others)

    def is_word(row: Row) -> bool:
        cells = row.cells
        if counted or len(cells) != width or _COMMENT.match(" ".join(cells)):
            return False
        tagged = cells[-1] == OUTSIDE or marks_border(cells[-1]) or cells[-1] in seen[-1] - {"#", "_", "-", "SYM"}
        return tagged and all(cells[i] in seen[i] for i in range(1, width - 1))

    return [row for row in marked if not is_word(row)]


def _check_width(path: Path, row: Row, first: Row) -> None:
    if len(row.cells) < 2:
        what = f"{row.cells[0][:20]!r} has no tag; write a token, a tab and its tag on each line"
        raise InputError(f"{path}, line {row.number}: {what}.")
    if len(row.cells) != len(first.cells):
        what = f"{len(row.cells)} columns, but line {first.number} has {len(first.cells)}"
        raise InputError(
            f"{path}, line {row.number}: {what}; if a token contains spaces, put tabs between the columns."
        )


# ------------------------------------------------------------------------- numbers in front of the words


def _without_numbers(path: Path, found: list[list[Row]], note: Note) -> list[list[Row]]:
    """The sentences without a first column that only counts the tokens. Raises InputError if it holds no words otherwise."""
    width = len(found[0][0].cells) if found else 0
    longest = max(map(len, found), default=0)
    if _counts_tokens(found) and longest > 1 and (width > 2 or len(found) > 1):
        if width == 2 and not all(row.cells[0].isdecimal() for sentence in found for row in sentence):
            return found
        if width == 2:
            raise InputError(f"{path}: the first column only counts the tokens, and there is no column of words.")
        kept = [
            [Row(row.number, row.cells[1:]) for row in sentence if not _RANGE.fullmatch(row.cells[0])]
            for sentence in found
        ]
        ranges = sum(map(len, found)) - sum(map(len, kept))
        also = f"; lines such as 1-2, which repeat words of other lines, were left out: {ranges:,}" if ranges else ""
        note(f"{path}: the first column counts the tokens and was skipped, and the second holds the words{also}.")
        return [sentence for sentence in kept if sentence]
    if width > 2 and longest > 2:
        first = [[row.cells[0] for row in sentence] for sentence in found]
        if all(cell.isdecimal() for cells in first for cell in cells) or all(len(set(cells)) == 1 for cells in first):
            what = f"the first column ({first[0][0][:20]!r} …) does not hold the words"
            raise InputError(
                f"{path}, line {found[0][0].number}: {what}; remove it, so that each line begins with a word."
            )
    return found


def _counts_tokens(found: list[list[Row]]) -> bool:
    """Whether the first column counts the tokens of each sentence, or of the whole file, from 0 or 1."""
    expected = None
    for sentence in found:
        before, around = None, None
        for row in sentence:
            if _RANGE.fullmatch(row.cells[0]) and len(row.cells) > 2:
                continue
            match = _COUNTED.fullmatch(row.cells[0])
            if not match or (around is not None and around != (match[1], match[3])):
                return False
            number, around = int(match[2]), (match[1], match[3])
            if number not in ((0, 1, expected) if before is None else (before + 1,)):
                return False
            before = number
        expected = None if before is None else before + 1
    return bool(found)


def _without_invisible(path: Path, found: list[list[Row]], note: Note) -> list[list[Row]]:
    """The sentences without tokens that cannot be seen, such as a zero-width space."""
    lost = [row.number for sentence in found for row in sentence if not row.cells[0]]
    if lost:
        note(f"{path}: tokens that are invisible were left out: {len(lost):,}, the first in line {lost[0]}.")
    kept = [[row for row in sentence if row.cells[0]] for sentence in found]
    return [sentence for sentence in kept if sentence]
