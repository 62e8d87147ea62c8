"""The user's own files: plain text as documents; CSV, TSV and JSON lines as labelled examples.

Every problem with a file raises an `InputError` that names the file and, if possible, the line.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.text.sentences import split_sentences

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
LABELLED = (*DELIMITERS, *JSON_LINES)
HALF = re.compile("[\ud800-\udfff]")


class Example(NamedTuple):
    """One text (or a pair of texts) with its label. `None` means that there is no label or no second text."""

    text: str
    label: str | None = None
    pair: str | None = None


def text_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, with their line ends, decoded one by one so that an error can name the line."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    byte = f"byte {error.start + 1} of line {number}"
                    raise InputError(f"{path} is not UTF-8 ({byte}): save it as UTF-8.") from None
                if "\0" in text:
                    raise InputError(f"{path} is not plain text (a zero byte in line {number}): save it as UTF-8.")
                yield text
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None


def refuse_half_characters(text: str, where: str) -> None:
    """Raise InputError for a lone surrogate (half a character): JSON can contain one, but UTF-8 cannot encode it."""
    if found := HALF.search(text):
        half = f"half a character (the lone surrogate \\u{ord(found[0]):04x})"
        raise InputError(f"{where} contains {half}: remove it, or write the whole character.")


def text_documents(path: Path) -> Iterator[list[str]]:
    """Documents of a text file, or of every `.txt` file in a folder, in the order of the file names.

    Each line is one sentence. A blank line or the end of a file ends a document.
    """
    found = False
    for file in _text_files(path):
        sentences: list[str] = []
        for line in text_lines(file):
            if sentence := line.strip():
                sentences.append(sentence)
            elif sentences:
                found = True
                yield sentences
                sentences = []
        if sentences:
            found = True
            yield sentences
    if not found:
        raise InputError(f"{path} is empty: write one sentence per line, with a blank line between documents.")


def _text_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".txt" and file.is_file())
    if not files:
        raise InputError(f"the folder {path} has no .txt files.")
    return files


def column_documents(path: Path, text_column: str = "text") -> Iterator[list[str]]:
    """The text column of a CSV, TSV or JSON-lines file: each row is one document, split into sentences."""
    for _, (text,) in _rows(path, {"--text-column": text_column}):
        yield split_sentences(text)


def labelled_file(
    path: Path, text_column: str = "text", label_column: str | None = "label", pair_column: str | None = None
) -> Iterator[Example]:
    """The rows of a CSV, TSV or JSON-lines file. Give `label_column=None` if you do not need labels or have none."""
    wanted = {"--text-column": text_column}
    if label_column is not None:
        wanted["--label-column"] = label_column
    if pair_column is not None:
        wanted["--pair-column"] = pair_column
    for _, cells in _rows(path, wanted):
        row = dict(zip(wanted, cells, strict=True))
        yield Example(row["--text-column"], row.get("--label-column"), row.get("--pair-column"))


def _rows(path: Path, wanted: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    """(line number, wanted cells) of every row. `wanted` maps each command-line option to the column that it names."""
    suffix = path.suffix.lower()
    if path.is_dir():
        raise InputError(f"{path} is a folder, but labelled data must be one file ({', '.join(LABELLED)}).")
    if suffix not in LABELLED:
        raise InputError(
            f"{path} does not end in {', '.join(LABELLED)}: labelled data must be in one of these formats."
        )
    read = _json_rows if suffix in JSON_LINES else _csv_rows
    empty = True
    for number, cells in read(path, wanted):
        empty = False
        for cell, column in zip(cells, wanted.values(), strict=True):
            if not cell.strip():
                raise InputError(f"{path}, line {number}: the column {column!r} is empty.")
        yield number, cells
    if empty:
        raise InputError(f"{path} is empty: it has no rows.")


def _csv_rows(path: Path, wanted: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(2**31 - 1)  # the largest C long of Windows; sys.maxsize overflows there
    reader = csv.reader(text_lines(path), delimiter=DELIMITERS[path.suffix.lower()])
    header: list[str] = []
    places: list[int] = []
    before = 0
    try:
        for row in reader:
            number, before = before + 1, reader.line_num  # the line where the row begins
            if not row or (len(row) == 1 and not row[0].strip() and len(header) != 1):
                continue
            if not header:
                header = [name.strip() for name in row]
                places = [_place(str(path), header, option, column) for option, column in wanted.items()]
                continue
            if len(row) != len(header):
                cells = f"{len(row)} cell{'s' if len(row) > 1 else ''} where the header has {len(header)}"
                quotes = f"put quotes around a text that contains {_named(path)}"
                raise InputError(f"{path}, line {number}: {cells}; {quotes}.")
            yield number, [row[place] for place in places]
    except csv.Error as error:
        raise InputError(f"{path}, line {before + 1}: {error}.") from None


def _named(path: Path) -> str:
    return "tabs" if path.suffix.lower() == ".tsv" else "commas"


def _place(where: str, header: list[str], option: str, column: str) -> int:
    if column not in header:
        raise InputError(f"{where} has no column {column!r} (it has: {', '.join(header)}). Name it with {option}.")
    return header.index(column)


def _json_rows(path: Path, wanted: dict[str, str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        row = _parsed(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise InputError(f'{path}, line {number}: not an object, such as {{"text": "...", "label": "..."}}.')
        cells = []
        for option, column in wanted.items():
            _place(f"{path}, line {number},", list(row), option, column)
            value = row[column]
            if not isinstance(value, str | int):  # labels may be numbers or true/false, but not a list or null
                raise InputError(f"{path}, line {number}: {column!r} must be text, not {json.dumps(value)[:40]}.")
            refuse_half_characters(str(value), f"{path}, line {number}: {column!r}")
            cells.append(str(value))
        yield number, cells


def _parsed(line: str, where: str):
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        why = f"not JSON ({error.msg} at column {error.colno})"
    except RecursionError:
        why = "brackets are nested too deeply"
    except ValueError:  # Python limits the digits of a number
        why = "a number has too many digits"
    raise InputError(f"{where}: {why}.")
