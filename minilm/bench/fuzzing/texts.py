"""Running text, tagged words, and what a tokenizer makes of any text: read by minilm, and line by line by a few lines of Python."""

import re
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from minilm.bench.fuzzing.target import Case, Target
from minilm.files.notes import Note
from minilm.text.causal_tokenizer import train_bytes
from minilm.text.characters import shows, tidy, visible
from minilm.text.files import text_documents
from minilm.text.prepare import Prepared, prepare, read_documents
from minilm.text.remarks import remark
from minilm.text.tagged import (
    TaggedLine,
    characters_of_words,
    conll_lines,
    plain_conll_lines,
    tag_characters,
    word_tag_lines,
    words_with_parts_of_speech,
)
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece

TOKENS = "Anna lives in Bonn , and 江 泽民 went to New-York . 1 # don't x/y ½ 🙂 - O".split()
SENTENCES = (
    "The old house stood by the river.",
    "Nobody lived in it.",
    "北京今天很冷。",
    "I\u2028you",
    "Zwölf  Boxkämpfer",
    "12",
)
LINE_END = re.compile("\r\n|\r|\n")
SCHEMES = (
    ("O", "B-PER", "I-PER"),
    ("O", "B-X", "M-X", "E-X", "S-X"),
    ("O", "I-LOC"),
    ("NN", "VB", "."),
    ("O", "B", "I"),
)


def lines_in(path: Path) -> list[str]:
    return LINE_END.split(path.read_bytes().decode("utf-8").removeprefix("\ufeff"))


# ---- running text


def make_text(folder: Path, number: int) -> None:
    rng = Random(number)
    for name in ("a.txt", "b.txt")[: 1 + number % 2]:
        documents = ["\n".join(rng.choices(SENTENCES, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 6))]
        (folder / name).write_text("\n\n".join(documents) + "\n" * rng.randint(0, 2), encoding="utf-8", newline="")


def read_text(case: Case, note: Note) -> list[list[str]]:
    several = case.number % 2
    return list(text_documents(case.folder if several else case.folder / "a.txt", note))


def lost_of_text(case: Case, found: list[list[str]], notes: list[str]) -> str:
    names = ("a.txt", "b.txt")[: 1 + case.number % 2]
    wanted = [line.strip() for name in names for line in lines_in(case.folder / name) if visible(line)]
    ours = [sentence for document in found for sentence in document]
    return "" if wanted == ours else f"the file has {len(wanted)} lines that can be seen, and minilm reads {len(ours)}"


def make_corpus(folder: Path, number: int) -> None:
    rng = Random(number)
    documents = ["\n".join(rng.choices(SENTENCES, k=rng.randint(2, 5))) for _ in range(rng.randint(4, 8))]
    (folder / "corpus.txt").write_text("\n\n".join(documents) + "\n", encoding="utf-8")


def read_corpus(case: Case, note: Note) -> Prepared:
    """What `minilm pretrain` does before it trains: the text, the vocabulary, and the ids."""
    units, cache_folder = ("wordpiece", "characters", "bytes")[case.number % 3], case.folder.parent / "cache"
    how = (str(case.folder / "corpus.txt"), cache_folder, 300, units, case.number % 2 == 0)
    return prepare(*how, say=note, note=note, pairs=False)


def lost_of_corpus(case: Case, found: Prepared, notes: list[str]) -> str:
    wanted = sum(visible(line) for line in lines_in(case.folder / "corpus.txt"))
    parts = ((found.train, "train.txt"), (found.held_out, "held_out.txt"))
    texts = [sum(map(len, read_documents(found.folder / name))) for _, name in parts]
    stored = [len(store.sentences) - 1 for store, _ in parts]
    if sum(texts) != wanted:
        return f"the corpus has {wanted} sentences, and the prepared texts {sum(texts)}"
    if stored != texts and not any("without any token" in line for line in notes):
        return f"the prepared texts have {texts} sentences, and the stores {stored}"
    return ""


# ---- tagged words


def make_conll(folder: Path, number: int) -> None:
    rng = Random(number)
    tags, gap = SCHEMES[number % len(SCHEMES)], rng.choice(("\t", " "))
    columns = rng.choice((2, 2, 3, 4))
    lines: list[str] = ["-DOCSTART- -X- O", ""] * rng.randint(0, 1)
    for _ in range(rng.choice((1, 3, 8))):
        lines += ["# text = a comment"] * (rng.random() < 0.1)
        kind = rng.choice("XY")
        for i in range(rng.randint(1, 7)):
            row = [str(i + 1)] * (columns == 4) + [rng.choice(TOKENS)] + [rng.choice(("NN", "VB"))] * (columns > 2)
            lines.append(gap.join([*row, tags[0] if kind == "X" and number % 5 < 3 else rng.choice(tags)]))
        lines.append("")
    (folder / "tagged.conll").write_text("\n".join(lines), encoding="utf-8")


def read_conll(case: Case, note: Note) -> list[TaggedLine]:
    entities = case.number % len(SCHEMES) not in (3, 4)
    return list((conll_lines if entities else plain_conll_lines)(case.folder / "tagged.conll", note))


def lost_of_conll(case: Case, found: list[TaggedLine], notes: list[str]) -> str:
    """A line that can be seen is a token, unless a note says which kind of line was skipped."""
    rows = [line for line in lines_in(case.folder / "tagged.conll") if any(map(shows, line))]
    rows = [row for row in rows if not tidy(row).startswith("-DOCSTART-")]  # with a character inside, it is a token
    ours = sum(len(line.tokens) for line in found)
    if any(len(line.tokens) != len(line.tags) for line in found):
        return "a line has another number of tags than of tokens"
    said = any(word in line for line in notes for word in ("comments", "invisible", "repeat words"))
    return (
        ""
        if ours == len(rows) or (said and ours < len(rows))
        else f"the file has {len(rows)} tokens, and minilm reads {ours}"
    )


NEWSPAPER: tuple[str, ...] = (
    "19980101-01-001-001/m  江/nr  泽民/nr  在/p  北京/ns",
    "[中国/ns  共产党/n]nt  万岁/i  ！/w",
)
NEWSPAPER += ("a/b/n  1/m", "欧阳/nr 山尊/nr")
WAYS = (tag_characters, words_with_parts_of_speech, characters_of_words)


def make_word_tags(folder: Path, number: int) -> None:
    lines = Random(number).choices(NEWSPAPER, k=1 + number % 7)
    (folder / "tagged.txt").write_text("\n\n".join(lines) + "\n", encoding="utf-8")


def read_word_tags(case: Case, note: Note) -> list[TaggedLine]:
    return list(word_tag_lines(case.folder / "tagged.txt", WAYS[case.number % 3]))


def lost_of_word_tags(case: Case, found: list[TaggedLine], notes: list[str]) -> str:
    wanted = sum(bool(line.strip()) for line in lines_in(case.folder / "tagged.txt"))
    if any(len(line.tokens) != len(line.tags) for line in found):
        return "a line has another number of tags than of tokens"
    return "" if wanted == len(found) else f"the file has {wanted} lines with words, and minilm reads {len(found)}"


# ---- texts for a tokenizer that is whole


@cache
def tokenizers(home: Path) -> list[Tokenizer]:
    """WordPiece, characters, and bytes, learned from the sentences above."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "sentences.txt"
    path.write_text("\n".join(SENTENCES) + "\n", encoding="utf-8")
    return [train_wordpiece([path], 200), train_characters(SENTENCES, 60, lowercase=False), train_bytes([path], 300)]


def make_words(folder: Path, number: int) -> None:
    tokenizers(folder.parent / "learned")
    (folder / "words.txt").write_text("\n".join(Random(number).choices(SENTENCES, k=4)), encoding="utf-8")


def read_words(case: Case, note: Note) -> Any:
    """Everything that the wrapper does with a text. Half of the texts keep bytes that are no UTF-8, as half characters."""
    tokenizer = tokenizers(case.folder.parent / "learned")[case.number % 3]
    content = (case.folder / "words.txt").read_bytes()
    text = content.decode("utf-8", errors="surrogateescape" if case.number % 4 else "replace")
    (row,) = tokenizer.ids([text])
    lines = tokenizer.pieces_of_words([text.split()])
    remark(tokenizer, [text], "the text", note)
    return (
        tokenizer,
        text,
        row,
        lines,
        tokenizer.words_of(text),
        tokenizer.unknown_parts(text),
        tokenizer.pair(row, row),
    )


def lost_of_words(case: Case, found: Any, notes: list[str]) -> str:
    tokenizer, text, row, (line,), spans, unknown, (pair, types) = found
    if not all(0 <= i < tokenizer.size for i in row) or len(pair) != len(types):
        return "an id lies outside the vocabulary"
    if {tokenizer.pad, tokenizer.cls, tokenizer.sep, tokenizer.mask} & {*row} - {tokenizer.unknown}:
        return "a text became a special token"
    if len(line) != len(text.split()) or not all(line):
        return f"{len(text.split())} words have the pieces of {len([word for word in line if word])}"
    if any(not 0 <= a <= b <= len(text) for a, b in spans):
        return "a word lies outside the text"
    if case.number % 3 == 2 and tokenizer.text(row) != text:
        return f"bytes give back {tokenizer.text(row)[:60]!r} for {text[:60]!r}"
    return ""


TARGETS = (
    Target("text", make_text, read_text, lost_of_text),
    Target("corpus", make_corpus, read_corpus, lost_of_corpus, writes="cache"),
    Target("conll", make_conll, read_conll, lost_of_conll),
    Target("word-tag", make_word_tags, read_word_tags, lost_of_word_tags),
    Target("words", make_words, read_words, lost_of_words, names_file=False),
)
