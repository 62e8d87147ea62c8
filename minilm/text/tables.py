"""CSV, TSV and JSON-lines files: rows as labelled examples or as documents."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.characters import code_points, likeness, tidy, visible
from minilm.text.csv_rows import csv_rows
from minilm.text.files import (
    DELIMITERS,
    JSON_LINES,
    LABELLED,
    TAGGED,
    Example,
    refuse_half_characters,
    text_lines,
)
from minilm.text.sentences import split_sentences


class Column(NamedTuple):
    """A column to read. `advice` says what to do if there is none of this name."""

    name: str
    advice: str
    is_label: bool = False
    holds: str = "text"
    """What a label is: "text", several "labels" with ; between them (or a list in JSON, and maybe none), or a "number"."""


class Cell(NamedTuple):
    """The text of a cell. `spelled` is the JSON of a value that is not text: 1 and "1" have the same text."""

    text: str
    spelled: str = ""


def column_documents(path: Path, text_column: str = "text", note: Note = unheard) -> Iterator[list[str]]:
    """The text column of a CSV, TSV or JSON-lines file: each row is one document, split into sentences."""
    wanted = [Column(text_column, f"Rename the column with the text to {text_column!r}.")]
    for _, (cell,) in _rows(path, wanted, note):
        yield [sentence for sentence in split_sentences(cell.text) if visible(sentence)]


def labelled_file(
    path: Path,
    text_column: str = "text",
    label_column: str | None = "label",
    pair_column: str | None = None,
    note: Note = unheard,
    holds: str = "text",
) -> Iterator[Example]:
    """The rows of a CSV, TSV or JSON-lines file. Give `label_column=None` if you do not need labels or have none.

    `holds` says what a label is: "text"; several "labels", with a semicolon between them, or as a list in JSON (an empty cell
    or list is no label); or a "number". An `Example` holds all of them as one text, as a cell of a CSV file would.

    Texts are read as they are. Labels lose the spaces and invisible characters around them and are composed (NFC); `note`
    hears how many were changed. Raises InputError for two labels that differ only in case, width or the like.
    """
    names = {"text": text_column, "label": label_column, "pair": pair_column}
    wanted = {
        part: Column(name, f"Name it with --{part}-column.", part == "label", holds if part == "label" else "text")
        for part, name in names.items()
        if name is not None
    }
    labels = _Labels(path)
    for number, cells in _rows(path, list(wanted.values()), note):
        row = dict(zip(wanted, cells, strict=True))
        label = labels.read(row["label"], number, wanted["label"]) if "label" in row else None
        yield Example(row["text"].text, label, row["pair"].text if "pair" in row else None)
    labels.say(note)


SEPARATOR = ";"  # between the labels of a text that has several


def number_of(text: str, where: str) -> float:
    """The number that a cell holds. Raises InputError, which begins with `where`, if there is none."""
    try:
        value = float(tidy(text))
    except ValueError:
        point = "; write a decimal point, not a comma" if re.fullmatch(r"[+-]?\d+,\d+", tidy(text)) else ""
        raise InputError(f"{where} holds {text[:30]!r}, which is not a number{point}.") from None
    if not math.isfinite(value):
        raise InputError(f"{where} holds {text[:30]!r}, which is not a finite number.")
    return value


class _Labels:
    """Tidies the labels of a file and compares them with one another."""

    def __init__(self, path: Path):
        self.path = path
        self.seen: dict[str, tuple[str, int]] = {}  # likeness: the spelling and the line where it came first
        self.known: set[tuple[str, str]] = set()
        self.changed, self.example = 0, ""

    def read(self, cell: Cell, number: int, column: Column) -> str:
        """The label of a row, checked for what its column holds."""
        if column.holds == "number":
            number_of(cell.text, f"{self.path}, line {number}: the column {column.name!r}")
            return tidy(cell.text)
        if column.holds == "text":
            return self.tidied(cell, number)
        parts = [part for part in cell.text.split(SEPARATOR) if visible(part)]
        labels = [self.tidied(Cell(part), number) for part in parts]
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise InputError(f"{self.path}, line {number}: the label {twice[0]!r} is given twice.")
        return SEPARATOR.join(labels)

    def tidied(self, cell: Cell, number: int) -> str:
        label = tidy(cell.text)
        if "\n" in label or "\r" in label:
            raise InputError(
                f"{self.path}, line {number}: the label has a line break ({label[:30]!r}); write it in one line."
            )
        if label != cell.text:
            self.changed += 1
            self.example = self.example or f"{cell.text!r} in line {number}"
        spelled = cell.spelled or repr(label)
        if (label, spelled) not in self.known:
            before, line = self.seen.setdefault(likeness(label), (spelled, number))
            if before != spelled:
                what = f"the labels {before} (line {line}) and {spelled} (line {number})"
                how = "upper and lower case, in invisible characters or in the way they are written"
                raise InputError(f"{self.path}: {what} differ only in {how}; write them alike.")
            self.known.add((label, spelled))
        return label

    def say(self, note: Note) -> None:
        if self.changed:
            what = "spaces or invisible characters around them were removed, or accents composed (NFC)"
            note(f"{self.changed:,} label(s) of {self.path} were tidied ({what}), such as {self.example}.")


def _rows(path: Path, wanted: list[Column], note: Note) -> Iterator[tuple[int, list[Cell]]]:
    """(line number, wanted cells) of every row. Each cell has visible text."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{path} is a folder, but labelled data must be one file ({', '.join(LABELLED)}).")
    if suffix not in LABELLED:
        formats = "labelled texts must be in one of these formats"
        tagged = f"tagged words in a file that ends in {', '.join(TAGGED)}"
        raise InputError(f"{path} does not end in {', '.join(LABELLED)}: {formats}, and {tagged}.")
    empty = True
    for number, cells in (_json_rows if suffix in JSON_LINES else _table_rows)(path, wanted, note):
        empty = False
        for cell, column in zip(cells, wanted, strict=True):
            if not visible(cell.text) and not (column.holds == "labels" and not cell.text.strip()):
                unseen = cell.text.strip()
                what = f"has only invisible characters ({code_points(unseen)})" if unseen else "is empty"
                raise InputError(f"{path}, line {number}: the column {column.name!r} {what}.")
        yield number, cells
    if empty:
        raise InputError(f"{path} is empty: it has no rows.")


def _table_rows(path: Path, wanted: list[Column], note: Note) -> Iterator[tuple[int, list[Cell]]]:
    rows = csv_rows(path, note)
    for _, header in rows:
        places = [_place(str(path), header, column, DELIMITERS[path.suffix.lower()]) for column in wanted]
        for number, row in rows:
            yield number, [Cell(row[place]) for place in places]


def _json_rows(path: Path, wanted: list[Column], note: Note) -> Iterator[tuple[int, list[Cell]]]:
    for number, line in enumerate(text_lines(path), start=1):
        where = f"{path}, line {number}"
        if not visible(line):
            continue
        row = _parsed(line.removeprefix("\ufeff"), where)
        if not isinstance(row, _Object):
            raise InputError(f'{where}: not an object, such as {{"text": "...", "label": "..."}}.')
        names = [row.names[_place(f"{where},", row.names, column)] for column in wanted]
        yield number, [_json_cell(row[name], column, where) for name, column in zip(names, wanted, strict=True)]


def _json_cell(value: Any, column: Column, where: str) -> Cell:
    """Text and whole numbers are read. true and false can only be labels. A list, null, 1.5 or NaN is none of these."""
    if column.holds == "labels" and isinstance(value, list) and all(isinstance(each, str) for each in value):
        if odd := [each for each in value if SEPARATOR in each or not visible(each)]:
            raise InputError(f"{where}: {odd[0][:40]!r} is no label: it is empty, or has a semicolon in it.")
        value = SEPARATOR.join(value)
    if column.holds == "number" and isinstance(value, float):
        value = repr(value)
    if not isinstance(value, str | int) or (
        isinstance(value, bool) and (not column.is_label or column.holds == "number")
    ):
        raise InputError(f"{where}: {column.name!r} must be text, not {json.dumps(value)[:40]}.")
    refuse_half_characters(str(value), f"{where}: {column.name!r}")
    return Cell(str(value), "" if isinstance(value, str) else json.dumps(value))


class _Object(dict):
    """A JSON object that also knows the `names` as they were written: a dictionary alone forgets that a key came twice."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        self.names = [name for name, _ in pairs]


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        why = f"not JSON ({error.msg} at column {error.colno})"
    except RecursionError:
        why = "brackets are nested too deeply"
    except ValueError:  # Python limits the digits of a number
        why = "a number has too many digits"
    raise InputError(f"{where}: {why}.")


_OTHER = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "vertical bars"}


def _place(where: str, header: list[str], column: Column, delimiter: str | None = None) -> int:
    """The place of a column. Raises InputError if the header has none or two of this name."""
    names, wanted = [tidy(name) for name in header], tidy(column.name)
    if names.count(wanted) > 1:
        raise InputError(f"{where} has {names.count(wanted)} columns named {wanted!r}: rename all but one.")
    if wanted in names:
        return names.index(wanted)
    if delimiter and wanted.casefold() != header[0].casefold() and header[0].casefold().startswith("sep="):
        raise InputError(f"{where} begins with {header[0]!r}, which only Excel understands: remove that line.")
    for other, plural in _OTHER.items():
        apart = [tidy(name).strip('"') for name in ",".join(header).split(other)]
        if delimiter and other != delimiter and wanted in apart:
            needed = f"separate them with {_OTHER[delimiter]}"
            suffix = {"\t": ".tsv", ",": ".csv"}.get(other)
            advice = f"rename it to end in {suffix}, or {needed}" if suffix else needed
            raise InputError(f"{where} separates its columns with {plural}: {advice}.")
    have = ", ".join(" ".join(name.split())[:40] for name in names[:30])
    raise InputError(f"{where} has no column {wanted!r} (it has: {have}). {column.advice}")
