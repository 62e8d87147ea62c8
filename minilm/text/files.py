"""The user's own text files, read as documents. (Tables are read in `tables.py`.)

Every problem with a file raises an `InputError` that names the file and, if possible, the line.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.characters import code_points, visible
from minilm.text.tag_schemes import OUTSIDE, marks_border

DELIMITERS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
LABELLED = (*DELIMITERS, *JSON_LINES)
TAGGED = (
    ".conll",
    ".bio",
    ".bio2",
    ".bioes",
    ".bmes",
    ".bilou",
    ".iob",
    ".iob2",
    ".iobes",
)  # a token and its tag on each line
HALF = re.compile("[\ud800-\udfff]")

# Formats whose own signs and names would be learnt as text, and what to do instead.
_NOT_PLAIN = {
    **dict.fromkeys((*TAGGED, ".conllu"), "write the words alone, one sentence per line, into a .txt file"),
    **dict.fromkeys(
        (".json", ".ipynb"), "write one object per line into a .jsonl file, or plain text into a .txt file"
    ),
    **dict.fromkeys((".html", ".htm", ".xml", ".xhtml", ".rtf"), "save it as plain text in a .txt file"),
}
_WORD_AND_TAG = re.compile(r"\S+/[A-Za-z]{1,5}\$?|(\W)/\1")
_LOOK_AT = 20  # lines, to see whether a text is tagged


class Example(NamedTuple):
    """One text (or a pair of texts) with its label. `None` means that there is no label or no second text."""

    text: str
    label: str | None = None
    pair: str | None = None


def text_lines(path: Path) -> Iterator[str]:
    r"""The lines of a UTF-8 file, each with its line end: `\n`, `\r\n` or `\r`. No other character ends a line.

    A byte order mark at the beginning is no part of the text. Raises InputError, with the line, for a file that is not
    UTF-8 or has a zero byte.
    """
    try:
        # surrogateescape turns a wrong byte into half a character, so that we can say in which line it is
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            for number, line in enumerate(file, start=1):
                try:
                    line.encode()
                except UnicodeEncodeError as error:
                    byte = len(line[: error.start].encode()) + 1
                    where = f"byte {byte} of line {number}"
                    raise InputError(f"{path} is not UTF-8 ({where}): save it as UTF-8.") from None
                if "\0" in line:
                    raise InputError(f"{path} is not plain text (a zero byte in line {number}): save it as UTF-8.")
                if number > 1:
                    yield line
                elif line != "\ufeff":
                    yield line.removeprefix("\ufeff")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None


def refuse_half_characters(text: str, where: str) -> None:
    """Raise InputError for a lone surrogate (half a character): JSON can contain one, but UTF-8 cannot encode it."""
    if found := HALF.search(text):
        half = f"half a character (the lone surrogate \\u{ord(found[0]):04x})"
        raise InputError(f"{where} contains {half}: remove it, or write the whole character.")


def text_documents(path: Path, note: Note = unheard) -> Iterator[list[str]]:
    """Documents of a text file, or of every `.txt` file in a folder, in the order of the file names.

    Each line is one sentence. A line without visible text or the end of a file ends a document. `note` hears of lines with
    invisible characters alone, and of files in the folder that are not read. Raises InputError for a file that is not
    plain text, such as one with a tag on every line.
    """
    found, unseen, example = False, 0, ""
    for file in text_files(path, note):
        refuse_not_plain(file)
        first: list[str] = []  # lines, to see whether they are tagged
        sentences: list[str] = []
        for number, line in enumerate(text_lines(file), start=1):
            sentence = line.strip()
            if visible(sentence):
                sentences.append(sentence)
                if len(first) < _LOOK_AT:
                    first.append(line)
                    if len(first) == _LOOK_AT:
                        refuse_tags(first, file)
                continue
            if sentence:
                unseen += 1
                example = example or f"line {number} of {file} ({code_points(sentence)})"
            if sentences:
                found = True
                yield sentences
                sentences = []
        if len(first) < _LOOK_AT:
            refuse_tags(first, file)
        if sentences:
            found = True
            yield sentences
    if unseen:
        note(f"{unseen:,} line(s) with invisible characters alone were read as blank lines, such as {example}.")
    if not found:
        raise InputError(f"{path} is empty: write one sentence per line, with a blank line between documents.")


def refuse_not_plain(file: Path) -> None:
    """Raise InputError for a file whose ending says that it is no plain text."""
    if advice := _NOT_PLAIN.get(file.suffix.lower()):
        what = "has a tag for every word" if "words alone" in advice else "is not plain text"
        raise InputError(f"{file} {what}, which a model would learn as text: {advice}.")


def refuse_tags(lines: list[str], file: Path) -> None:
    """Raise InputError if all these lines are tagged words, which a model would learn as text."""
    words = [item for line in lines for item in line.split()]
    if (len(lines) >= 3 and in_tag_columns(lines)) or (len(words) >= 6 and all(map(_WORD_AND_TAG.fullmatch, words))):
        shown = " ".join(lines[-1].split())[:30]
        advice = "write the words alone, one sentence per line"
        raise InputError(f"{file} has a tag for every word ({shown!r}), which a model would learn as text: {advice}.")


def in_tag_columns(lines: list[str]) -> bool:
    """Whether the lines, two or more, are words with a tag in the last column. Comments and blank lines do not count."""
    rows = [line.split() for line in lines if visible(line) and not line.startswith(("#", "-DOCSTART-"))]
    return len(rows) > 1 and all(len(row) > 1 and _is_tag(row[-1]) for row in rows)


def _is_tag(word: str) -> bool:
    return word == OUTSIDE or (marks_border(word) and sum(map(str.isalpha, word)) > 1)  # B-12 is a vitamin


def text_files(path: Path, note: Note = unheard) -> list[Path]:
    """The file itself, or the `.txt` files of a folder, in the order of their names.

    Hidden files (such as the `._a.txt` that macOS writes beside `a.txt`) hold no text. `note` hears of what is not read.
    """
    if not path.is_dir():
        return [path]
    read, left_out = [], []
    for file in sorted(path.iterdir()):
        is_text, hidden = file.suffix.lower() == ".txt" and file.is_file(), file.name.startswith(".")
        if is_text and not hidden:
            read.append(file)
        elif is_text or not hidden:
            left_out.append(file.name)
    if not read:
        raise InputError(f"the folder {path} has no .txt files.")
    if left_out:
        only = "only .txt files that are not hidden are"
        note(f"{len(left_out):,} file(s) or folder(s) in {path} are not read, such as {left_out[0]}: {only}.")
    return read
