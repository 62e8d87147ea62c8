"""Text with tagged persons, places and organisations: CoNLL files, and the People's Daily of January 1998.

BIO tags: `B-PER` begins a person, `I-PER` continues it, and `O` means no entity. LOC and ORG work the same way.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.text.files import text_lines

ENTITY = {"nr": "PER", "ns": "LOC", "nt": "ORG"}  # the tag set of Peking University
# Surnames of two characters: in 欧阳 山尊 the second word is the given name; in 沛新 小丰 it is another person.
_SURNAMES = frozenset(
    "欧阳 司马 司徒 诸葛 上官 夏侯 皇甫 尉迟 公孙 慕容 令狐 宇文 长孙 端木 东方 南宫 西门 呼延 轩辕 申屠 濮阳".split()
)
_COMPOUND = re.compile(r"\[([^\[\]]+)\]/?([A-Za-z]+)")  # [中国/ns  共产党/n]nt
_PAGE = re.compile(r"\d{8}-\d\d-\d{3}-\d{3}/m\s*")  # 19980101-01-001-001/m, a paragraph's number in some copies


class TaggedLine(NamedTuple):
    """Tokens and their BIO tags, one tag per token."""

    tokens: list[str]
    tags: list[str]


# ---------------------------------------------------------------------------------------------- CoNLL


def conll_lines(path: Path) -> Iterator[TaggedLine]:
    """Sentences of a CoNLL file, which has a token and its tag on each line and a blank line between sentences.

    Columns are separated by a tab or spaces; the token is in the first, the tag in the last. `-DOCSTART-` lines are
    skipped. An `I-` that continues nothing begins an entity and is read as `B-`, as older IOB1 files write it.
    Raises InputError for an empty file, a token without a tag, or a tag other than O, B-… or I-….
    """
    found = False
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate(text_lines(path), start=1):
        columns = line.split()
        if columns and columns[0] != "-DOCSTART-":
            if len(columns) < 2:
                what = f"{columns[0][:20]!r} has no tag; write a token, a tab and its tag on each line"
                raise InputError(f"{path}, line {number}: {what}.")
            tag = columns[-1]
            if tag != "O" and not re.fullmatch(r"[BI]-\S+", tag):
                raise InputError(f"{path}, line {number}: {tag[:20]!r} is not a BIO tag; write O, B-… or I-….")
            if tag[0] == "I" and (not tags or tags[-1][1:] != tag[1:]):
                tag = "B" + tag[1:]
            tokens.append(columns[0])
            tags.append(tag)
        elif tokens:
            found = True
            yield TaggedLine(tokens, tags)
            tokens, tags = [], []
    if tokens:
        found = True
        yield TaggedLine(tokens, tags)
    if not found:
        raise InputError(
            f"{path} is empty: write a token and its tag on each line, and a blank line between sentences."
        )


# ------------------------------------------------------------------------- word/tag, as in the newspaper


def word_tag_lines(path: Path) -> Iterator[TaggedLine]:
    """Read a file of `word/tag` lines as characters with BIO tags. Raises InputError for an empty file or a bad item."""
    empty = True
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            empty = False
            try:
                yield tag_characters(line)
            except InputError as error:
                raise InputError(f"{path}, line {number}: {error}") from None
    if empty:
        raise InputError(f"{path} is empty: it needs lines of word/tag.")


def tag_characters(line: str) -> TaggedLine:
    """`江/nr  泽民/nr  在/p  北京/ns` → 江 B-PER, 泽 I-PER, 民 I-PER, 在 O, 北 B-LOC, 京 I-LOC.

    A surname and the given name after it are one person, although each has its own tag. A bracketed compound is one
    entity with the tag of its bracket; the tags inside it are ignored.
    """
    tokens: list[str] = []
    tags: list[str] = []
    for word, tag in _join_names(_words(line)):
        tokens += word
        if entity := ENTITY.get(tag):
            tags += [f"B-{entity}"] + [f"I-{entity}"] * (len(word) - 1)
        else:
            tags += ["O"] * len(word)
    return TaggedLine(tokens, tags)


def plain_text(line: str) -> str:
    """The line without its tags and brackets."""
    return "".join(word for word, _ in _words(line))


def _words(line: str) -> list[tuple[str, str]]:
    words: list[tuple[str, str]] = []
    line, end = _PAGE.sub("", line), 0
    for compound in _COMPOUND.finditer(line):
        words += _plain_words(line[end : compound.start()])
        inside = _plain_words(compound[1])
        words += [("".join(word for word, _ in inside), compound[2])] if compound[2] in ENTITY else inside
        end = compound.end()
    return words + _plain_words(line[end:])


def _plain_words(text: str) -> list[tuple[str, str]]:
    words = []
    for item in text.split():
        word, slash, tag = item.rpartition("/")
        if not (slash and word and tag):
            raise InputError(f"{item[:20]!r} does not have the form word/tag.")
        words.append((word, tag))
    return words


def _join_names(words: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Join each surname with its given name, but keep neighbours apart: 王/nr 谨/nr 王/nr 锦鹄/nr is two persons."""
    run: list[str] = []
    for word, tag in words:
        if tag == "nr":
            run.append(word)
            continue
        if run:
            yield from ((name, "nr") for name in _persons(run))
            run = []
        yield word, tag
    yield from ((name, "nr") for name in _persons(run))


def _persons(run: list[str]) -> list[str]:
    """The persons in a run of name words.

    A surname (one character, or one of the double surnames) takes the next word as its given name; any other word is a
    person by itself (老吴, 叶利钦). Two surnames and a given name with no other name around them belong to one married
    woman (陈 方 安生).
    """
    if [len(word) for word in run] == [1, 1, 2]:
        return ["".join(run)]
    persons, place = [], 0
    while place < len(run):
        surname = len(run[place]) == 1 or run[place] in _SURNAMES
        width = 2 if surname and place + 1 < len(run) else 1
        persons.append("".join(run[place : place + width]))
        place += width
    return persons


# ------------------------------------------------------------------------- where an article begins

_DATELINE = re.compile(r"(据?新华社|据?本报|中新社).{0,40}?[讯电]")
_NUMBERED = re.compile(r"[（(●▲■◆△□]|[一二三四五六七八九十]+、|[０-９0-9]+[．、.]|第[一二三四五六七八九十]+，")


def article_borders(lines: Iterable[str]) -> list[range]:
    """The line numbers of each article, for a newspaper that does not mark where articles begin.

    An article begins at its headline or, if it has none, at its date line (`本报讯`, `新华社北京１月６日电`): the
    first line of that kind after running text. A headline is short and has no full stop. Sub-headings that are numbered
    or have at most four characters do not begin an article.
    """
    starts, count, running = [0], 0, True
    for number, line in enumerate(lines):
        count = number + 1
        headline = _is_headline(line)
        note = line.startswith("（") and line.endswith("）")
        begins = len(line) > 4 and headline or _DATELINE.match(line) is not None
        if begins and running and number:
            starts.append(number)
            running = False
        elif number == 0:
            running = False
        if not headline and not note:
            running = True
    return [range(a, b) for a, b in zip(starts, [*starts[1:], count], strict=True)] if count else []


def _is_headline(line: str) -> bool:
    bare = line.rstrip("”』」》’")
    closed = bare.endswith(tuple("！？；…：，、")) or re.search(r"[！？；]（.*）$", line)  # 谢谢！（新华社电）
    return len(line) <= 60 and "。" not in line and not closed and not _NUMBERED.match(line)
