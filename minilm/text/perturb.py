"""Texts with small changes whose effect on a model says whether it can be trusted.

Words are what stands between spaces; a change keeps everything else. Functions that draw take a NumPy generator.
"""

import re
import string
from collections.abc import Mapping

import numpy as np

LETTERS = re.compile(r"[^\W\d_]{4,}")  # a run of four letters or more
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")


def with_typos(text: str, share: float, rng: np.random.Generator) -> str:
    """The text in which a `share` of the words of four letters or more have two neighbouring letters exchanged.

    The first letter stays where it is, as in most slips of a typist. At least one word is changed if there is one.
    """
    found = list(LETTERS.finditer(text))
    if not found or share <= 0:
        return text
    count = max(1, round(share * len(found)))
    letters = list(text)
    for i in rng.permutation(len(found))[:count]:
        start, end = found[i].span()
        places = [p for p in range(start + 1, end - 1) if letters[p].lower() != letters[p + 1].lower()]
        if places:
            p = places[int(rng.integers(len(places)))]
            letters[p], letters[p + 1] = letters[p + 1], letters[p]
    return "".join(letters)


def shuffled(text: str, rng: np.random.Generator) -> str:
    """The same words in another order."""
    words = text.split()
    return " ".join(words[i] for i in rng.permutation(len(words)))


def without_punctuation(text: str) -> str:
    """The text without ASCII punctuation; an apostrophe inside a word stays."""
    kept = re.sub(rf"(?<!\w)'|'(?!\w)|[{re.escape(string.punctuation.replace(chr(39), ''))}]", " ", text)
    return " ".join(kept.split())


def swapped(text: str, partner: Mapping[str, str]) -> str:
    """The text in which each word that has a partner is replaced by it. Keys are in lower case; capitals are kept."""

    def other(match: re.Match) -> str:
        word = match[0]
        if (new := partner.get(word.lower())) is None:
            return word
        return new.upper() if len(word) > 1 and word.isupper() else new.capitalize() if word[0].isupper() else new

    return WORD.sub(other, text)


def words_in(text: str) -> set[str]:
    """The different words of a text in lower case."""
    return {word.lower() for word in WORD.findall(text)}
