"""What a tokenizer does not see of a text: unknown words, stripped accents, removed characters, special tokens.

A model never notices such a loss: it answers as confidently as ever. So the jobs ask here, and say it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from minilm.files.notes import Note
from minilm.text.tokenizer import Tokenizer
from minilm.text.vocabulary import percent

CHUNK = 1_000_000  # characters that are tokenised, or numbers of an array that are read, at a time
REMOVED = re.compile("[\x1c-\x1f\x85]")
SPACES = re.compile(r"[^\S\x1c-\x1f\x85]+")
LONGEST_EXAMPLE = 30  # characters


def unknown_share(ids: Iterable[int] | np.ndarray, tokenizer: Tokenizer) -> float:
    """The share of [UNK] among token ids, from 0 to 1; 0 if there are none. A memory-mapped array is read in pieces."""
    row = ids if isinstance(ids, np.ndarray) else np.fromiter(ids, np.int64)
    starts = range(0, len(row), CHUNK)
    return sum(int((row[i : i + CHUNK] == tokenizer.unknown).sum()) for i in starts) / max(len(row), 1)


def remark(tokenizer: Tokenizer, texts: Iterable[str], where: str, note: Note, keep_accents: str = "") -> None:
    """Note, in one sentence each, what the tokenizer does not see of `texts`, with a count and an example:

    unknown tokens, texts of which it knows nothing, accents that it strips, characters that it removes, and special tokens
    such as [MASK] that are written in a text and are read as plain text. Nothing is said where nothing is lost.

    `where` names the texts in the sentences. `keep_accents` says what to do to keep accents, if something can be done.
    Join the words of a tagged line with spaces. All texts are read; where they are turned into ids anyway, ask `Seen`.
    """
    seen = Seen(tokenizer)
    for chunk in chunks(texts):
        seen.add(chunk)
    for sentence in seen.sentences(where, keep_accents):
        note(sentence)


def chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists of about `CHUNK` characters."""
    chunk, size = [], 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= CHUNK:
            yield chunk
            chunk, size = [], 0
    yield chunk


class Seen:
    """Counts over texts that come chunk by chunk."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.texts = self.tokens = self.empty = 0
        self.unknown: Counter[str] = Counter()  # unknown words
        self.special: Counter[str] = Counter()  # special tokens that are written out
        self.accents: Counter[str] = Counter()  # characters that lose an accent, and accents that are lost
        self.removed: Counter[str] = Counter()
        self.lost_in: dict[str, str] = {}  # for each such character, the first word that has it
        self.first_empty = ""
        self.effects: dict[str, str] = {}  # what happens to each character so far
        ascii_kept = (c for c in map(chr, range(128)) if not effect(tokenizer, c))
        self.plain = "".join(ascii_kept).encode()

    def add(self, texts: list[str], rows: list[list[int]] | None = None) -> None:
        """Count what the tokenizer does not see of some texts more. `rows` are their ids, if somebody has them."""
        unknown = self.tokenizer.unknown
        incomplete = []
        for text, ids in zip(texts, self.tokenizer.ids(texts) if rows is None else rows, strict=True):
            self.texts += 1
            self.tokens += len(ids)
            if unknown in ids:
                incomplete.append(text)
            if text.strip() and ids.count(unknown) == len(ids):
                self.empty += 1
                self.first_empty = self.first_empty or f"text {self.texts}, {shortened(text.strip())}"
        self._add_unknown(Counter(word for text in incomplete for word in split(text)))
        self._add_characters(texts)
        for token in self.tokenizer.special_tokens:
            self.special[token] += sum(text.count(token) for text in texts if token in text)

    def _add_unknown(self, words: Counter[str]) -> None:
        """Count the parts of these words that are unknown."""
        for word, ids in zip(words, self.tokenizer.ids(list(words)), strict=True):
            if self.tokenizer.unknown in ids:
                for part in self.tokenizer.unknown_parts(word):
                    self.unknown[part] += words[word]

    def _add_characters(self, texts: list[str]) -> None:
        """Count the characters that are lost. Nearly all characters of most texts are plain: those are taken out at once."""
        special = set("".join(texts).encode().translate(None, self.plain).decode())
        for character in special - self.effects.keys():
            self.effects[character] = effect(self.tokenizer, character)
        lost = {c for c in special if self.effects[c]}
        for text in texts if lost else ():
            for word in split(text) if lost.intersection(text) else ():
                for c in lost.intersection(word):
                    counter = self.accents if self.effects[c] == "stripped" else self.removed
                    counter[c] += word.count(c)
                    self.lost_in.setdefault(c, word)

    def sentences(self, where: str, keep_accents: str) -> Iterator[str]:
        if unknown := self.unknown.total():
            word, count = self.unknown.most_common(1)[0]
            yield (
                f"the tokenizer does not know {unknown:,} of the {counted(self.tokens, 'token')} of {where} "
                f"({percent(unknown / self.tokens)}), most often {shortened(word)} ({times(count)}): they become [UNK]."
            )
        if self.empty:
            yield (
                f"in {self.empty:,} of the {self.texts:,} texts of {where}, the tokenizer knows nothing "
                f"(the first is {self.first_empty}): no answer about them means anything."
            )
        if self.accents:
            c, _ = self.accents.most_common(1)[0]
            word = example_of(self.lost_in[c], c)
            yield (
                f"accents are stripped from {counted(self.accents.total(), 'character')} of {where}: {word} is read as "
                f"{self.tokenizer.normalise(word).strip() or 'nothing'}{'; ' if keep_accents else ''}{keep_accents}."
            )
        if self.removed:
            c, count = self.removed.most_common(1)[0]
            yield (
                f"the tokenizer removes {counted(self.removed.total(), 'character')} of {where}, most often "
                f"{name_of(c)} ({times(count)})."
            )
        for token, count in self.special.most_common():
            if count:
                yield f"{token} is written {times(count)} in {where}; it is read as plain text, not as the special token."


def split(text: str) -> list[str]:
    """The words between spaces, as BERT sees them: some control characters are spaces for Python, and BERT removes them."""
    return [word for word in SPACES.split(text) if word] if REMOVED.search(text) else text.split()


def effect(tokenizer: Tokenizer, character: str) -> str:
    """What the tokenizer's normaliser takes from a character: "stripped" of its accent, "removed", or nothing ("").

    Selectors between two shapes of the same sign, such as the one behind ❤️, are not accents.
    """
    parts = unicodedata.normalize("NFD", character)
    bare = "".join(c for c in parts if unicodedata.category(c) != "Mn")
    normalised = tokenizer.normalise(f"a{character}a")
    if unicodedata.name(character, "").startswith("VARIATION SELECTOR"):
        return ""
    if bare != parts:
        return "stripped" if normalised == tokenizer.normalise(f"a{bare}a") else ""
    return "removed" if normalised == tokenizer.normalise("aa") else ""


def name_of(character: str) -> str:
    """A character that may be invisible, by its number and its name: U+200B ZERO WIDTH SPACE."""
    return f"U+{ord(character):04X} {unicodedata.name(character, 'CONTROL CHARACTER')}"


def example_of(word: str, character: str) -> str:
    """The word without the punctuation around it; of a long one, such as a line of Japanese, one letter with its accent.

    The character itself always stays: it may be a sign, such as ≠, of which = is left.
    """
    letters = [i for i, c in enumerate(word) if c == character or unicodedata.category(c)[0] not in "PSZC"]
    bare = word[letters[0] : letters[-1] + 1]
    if len(bare) <= LONGEST_EXAMPLE:
        return bare
    at = word.index(character)
    return word[at - 1 : at + 1] if at and unicodedata.combining(character) else character


def shortened(text: str) -> str:
    return repr(text if len(text) <= LONGEST_EXAMPLE else text[: LONGEST_EXAMPLE - 1] + "…")


def times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
