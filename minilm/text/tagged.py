"""Text with tagged persons, places and organisations: CoNLL files, and the People's Daily of January 1998.

BIO tags: `B-PER` begins a person, `I-PER` continues it, and `O` means no entity. LOC and ORG work the same way.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.conll_columns import Row, sentences
from minilm.text.files import text_lines
from minilm.text.tag_schemes import BARE, BIO, OUTSIDE, Scheme, recognise

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


class NumberedLine(TaggedLine):
    """A tagged line of a file: `numbers` are the numbers of the file's lines in which its tokens stand, counted from 1.

    They are no third field, so that `tokens, tags = line` works for every tagged line.
    """

    numbers: Sequence[int]


def numbered(tokens: list[str], tags: list[str], numbers: Sequence[int]) -> NumberedLine:
    """A tagged line that knows where it stands in its file."""
    line = NumberedLine(tokens, tags)
    line.numbers = numbers
    return line


def line_number(line: TaggedLine, token: int = 0) -> int | None:
    """The number of the line in the file where a token of this line stands; None if it comes from no file."""
    return line.numbers[token] if isinstance(line, NumberedLine) and token < len(line.numbers) else None


def with_tags(line: TaggedLine, tags: list[str]) -> TaggedLine:
    """The same line with other tags."""
    return (
        numbered(line.tokens, tags, line.numbers) if isinstance(line, NumberedLine) else TaggedLine(line.tokens, tags)
    )


# ---------------------------------------------------------------------------------------------- CoNLL


def conll_lines(path: Path, note: Note = unheard) -> Iterator[TaggedLine]:
    """Sentences of a CoNLL file, which has a token and its tag on each line and a blank line between sentences.

    Columns are separated by tabs (then a token may contain spaces) or by spaces; the token is in the first column, the tag
    in the last. `-DOCSTART-` lines, comments (`# text = …`), and a first column that counts the tokens are skipped. Tags of
    every scheme in `tag_schemes.py` but bare ones are read as BIO. An `I-` that continues nothing begins an entity and is
    read as `B-`, as older IOB1 files write it. `note` is told what was skipped or changed.

    Raises InputError, naming the line, for an empty file, a token without a tag, a line with more or fewer columns than the
    first, and tags that do not mark entities.
    """
    found = sentences(path, note)
    if not found:
        raise InputError(
            f"{path} is empty: write a token and its tag on each line, and a blank line between sentences."
        )
    scheme = _scheme(path, found)
    repaired: list[int] = []
    for sentence in found:
        tags = [row.cells[-1] for row in sentence]
        bio = scheme.to_bio(tags)
        repaired += [row.number for row, tag, old in zip(sentence, bio, tags, strict=True) if tag != old]
        yield numbered([row.cells[0] for row in sentence], bio, [row.number for row in sentence])
    if scheme != BIO:
        note(f"{path}: the tags are {scheme.name} and were read as BIO.")
    elif repaired:
        what = f"tags I-… that continue nothing were read as B-…: {len(repaired):,}, the first in line {repaired[0]}"
        note(f"{path}: {what} (older files write them so).")
    for i in range(1, len(found[0][0].cells) - 1):
        if tag := next((row.cells[i] for sentence in found for row in sentence if row.cells[i].startswith("B-")), None):
            note(f"{path}: column {i + 1} holds tags, too, such as {tag}; those of the last column were read.")


def plain_conll_lines(path: Path, note: Note = unheard) -> Iterator[TaggedLine]:
    """Sentences of a CoNLL file whose last column may hold any tags, such as parts of speech; they are read as they are.

    Raises InputError, as `conll_lines` does, for a file that is empty or has rows of another form.
    """
    found = sentences(path, note)
    if not found:
        raise InputError(
            f"{path} is empty: write a token and its tag on each line, and a blank line between sentences."
        )
    for sentence in found:
        tokens, tags = ([row.cells[i] for row in sentence] for i in (0, -1))
        yield numbered(tokens, tags, [row.number for row in sentence])


def _scheme(path: Path, found: list[list[Row]]) -> Scheme:
    """The scheme of the tags. Raises InputError, naming a line, if there is none, or if borders between entities are lost."""
    places: dict[str, int] = {}
    for sentence in found:
        for row in sentence:
            places.setdefault(row.cells[-1], row.number)
    scheme = recognise(places, lambda tag: f"{path}, line {places[tag]}")
    if scheme == BARE:
        tag = next(tag for tag in places if tag != OUTSIDE)
        what = "it does not say where an entity begins, so neighbours cannot be told apart"
        how = f"write B-{tag[:20]} for the first token of an entity and I-{tag[:20]} for the others"
        raise InputError(f"{path}, line {places[tag]}: {tag[:20]!r} is not a BIO tag: {what}; {how}.")
    return scheme


# ------------------------------------------------------------------------- word/tag, as in the newspaper


def word_tag_lines(path: Path, read: Callable[[str], TaggedLine] | None = None) -> Iterator[TaggedLine]:
    """Read a file of `word/tag` lines as characters with BIO tags, or as `read` turns a line into tokens and tags.

    Raises InputError for an empty file or a bad item.
    """
    read = read or tag_characters
    empty = True
    for number, line in enumerate(text_lines(path), start=1):
        if line.strip():
            empty = False
            try:
                yield numbered(*(tagged := read(line)), [number] * len(tagged.tokens))
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


def words_with_parts_of_speech(line: str) -> TaggedLine:
    """`[中国/ns  共产党/n]nt  的/u` → 中国 ns, 共产党 n, 的 u: every word with its own tag, without the brackets of compounds."""
    words = _plain_words(_COMPOUND.sub(r" \1 ", _PAGE.sub("", line)))
    return TaggedLine([word for word, _ in words], [tag for _, tag in words])


def characters_of_words(line: str) -> TaggedLine:
    """`在/p  北京/ns  的/u` → 在 S, 北 B, 京 E, 的 S: which character begins a word, is inside one, ends one, or is one."""
    words = words_with_parts_of_speech(line).tokens
    return TaggedLine(
        [character for word in words for character in word], [tag for word in words for tag in bmes(len(word))]
    )


def bmes(length: int) -> list[str]:
    """The tags of the characters of a word: B, M …, E, or S for a word of one character."""
    return ["S"] if length == 1 else ["B", *["M"] * (length - 2), "E"]


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
