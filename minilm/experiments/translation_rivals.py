"""What a translation model should beat: looking strings up, taking the nearest neighbour, repeating the first sentence."""

import re
from collections.abc import Callable, Sequence

from sklearn.feature_extraction.text import TfidfVectorizer

from minilm.text.parallel import PLACEHOLDER, Pair, placeholders
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
    """The target of the source in `learnt` that is most alike, by the cosine of its TF-IDF over runs of two to four letters.

    Its placeholders are exchanged for those of the source, in their order.
    """
    tf_idf = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), lowercase=True)
    known = tf_idf.fit_transform([source for source, _ in learnt])
    alike = (tf_idf.transform(list(sources)) @ known.T).toarray().argmax(axis=1)
    return [with_placeholders(learnt[i][1], source) for i, source in zip(alike, sources, strict=True)]


def with_placeholders(target: str, source: str) -> str:
    """The target with the placeholders of `source` in place of its own, one by one, as far as there are enough."""
    own = iter(list(placeholders(source).elements()))
    return PLACEHOLDER.sub(lambda found: next(own, found[0]), target)


def first_sentence(learnt: Sequence[Pair], sources: Sequence[str]) -> list[str]:
    """The first sentence of each source."""
    return [split_sentences(source)[0] for source in sources]


def beginning(learnt: Sequence[Pair], sources: Sequence[str]) -> list[str]:
    """As many characters from the beginning of each source as a target has on average."""
    length = round(sum(len(target) for _, target in learnt) / len(learnt))
    return [source[:length] for source in sources]
