"""What a translation model should beat: looking strings up, taking the nearest neighbour, repeating the first sentence."""

import re
from collections.abc import Callable, Sequence

from minilm.text.memory import TranslationMemory
from minilm.text.parallel import PLACEHOLDER, Pair
from minilm.text.sentences import split_sentences

Rival = Callable[[Sequence[Pair], Sequence[str]], list[str]]  # (what may be learnt from, sources) → what is written

WORDS = re.compile(rf"{PLACEHOLDER.pattern}|\w+|\s+|[^\w\s]")
ENDS = ".…:。："
LONGEST = 12  # words and spaces of a phrase


def look_up(learnt: Sequence[Pair], sources: Sequence[str]) -> list[str]:
    """From left to right, the longest phrase that is a string of `learnt`; a word that is none stays as it is.

    Upper and lower case, and what stands at the end of a string (full stop, colon), make no difference.
    """
    known: dict[str, str] = {}
    for source, target in learnt:
        known.setdefault(source.lower().strip(ENDS), target.strip(ENDS))
    return [phrase_by_phrase(source, known) for source in sources]


def phrase_by_phrase(source: str, known: dict[str, str]) -> str:
    """See `look_up`."""
    words, out, at = WORDS.findall(source), "", 0
    while at < len(words):
        for length in range(min(LONGEST, len(words) - at), 0, -1):
            if (found := known.get("".join(words[at : at + length]).lower())) is not None:
                out, at = out + found, at + length
                break
        else:
            out, at = out + ("" if words[at].isspace() else words[at]), at + 1
    return out


def nearest(learnt: Sequence[Pair], sources: Sequence[str]) -> list[str]:
    """The target of the source in `learnt` that is most alike (`text/memory.py`), with the placeholders of the new source."""
    return TranslationMemory(learnt).nearest(sources)


def first_sentence(learnt: Sequence[Pair], sources: Sequence[str]) -> list[str]:
    """The first sentence of each source."""
    return [split_sentences(source)[0] for source in sources]


def beginning(learnt: Sequence[Pair], sources: Sequence[str]) -> list[str]:
    """As many characters from the beginning of each source as a target has on average."""
    length = round(sum(len(target) for _, target in learnt) / len(learnt))
    return [source[:length] for source in sources]
