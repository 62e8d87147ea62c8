"""What is exchanged in a sentence to see whether a model minds: words for people, and neutral words as a control."""

from typing import NamedTuple

from minilm.text.files import Example
from minilm.text.perturb import swapped, words_in

# From the first word to the second. "her" is left out as a first word: it may be "his" or "him".
GENDER = {
    **{"he": "she", "himself": "herself", "his": "her", "him": "her", "man": "woman", "men": "women", "boy": "girl"},
    **{"boys": "girls", "father": "mother", "dad": "mom", "son": "daughter"},
    **{"brother": "sister", "brothers": "sisters", "husband": "wife", "uncle": "aunt", "king": "queen"},
    **{
        "prince": "princess",
        "actor": "actress",
        "actors": "actresses",
        "hero": "heroine",
        "mr": "mrs",
        "male": "female",
    },
}
AMBIGUOUS = frozenset({"her", "hers"})
ORIGINS = ("french", "british", "german", "italian", "russian", "chinese", "japanese", "korean", "indian", "mexican")
# Neutral: what a critic thinks of a film does not depend on any of these.
NEUTRAL = {
    **{"film": "movie", "films": "movies", "two": "three", "city": "town", "year": "month", "years": "months"},
    **{"hour": "minute", "hours": "minutes", "director": "filmmaker", "screen": "stage", "house": "building"},
    **{"morning": "evening", "car": "truck", "street": "road", "television": "radio", "book": "novel", "here": "there"},
}
# Templates in which a negation turns the answer round, with adjectives that leave no doubt.
TEMPLATES = ("this film is {} .", "the acting is {} .", "the story is {} and the ending is {} too .")
POSITIVE = (
    "good",
    "great",
    "funny",
    "moving",
    "beautiful",
    "clever",
    "charming",
    "interesting",
    "exciting",
    "enjoyable",
)
NEGATIVE = ("bad", "boring", "terrible", "awful", "dull", "stupid", "predictable", "ugly", "tedious", "weak")


class Swap(NamedTuple):
    """A sentence in two versions that differ in words of one group: the first and the second of each pair."""

    group: str
    first: str
    second: str


def both_ways(group: str, pairs: dict[str, str], texts: list[str], skip: frozenset[str] = frozenset()) -> list[Swap]:
    """Every sentence with a word of `pairs`, and its other version, whichever of the two stands in the data.

    Sentences with words of both sides, or with one of `skip`, are left out.
    """
    back = {b: a for a, b in pairs.items() if list(pairs.values()).count(b) == 1}
    out = []
    for text in texts:
        words = words_in(text)
        has_first, has_second = words & pairs.keys(), words & set(pairs.values())
        if words & skip or bool(has_first) == bool(has_second):
            continue
        out.append(Swap(group, text, swapped(text, pairs)) if has_first else Swap(group, swapped(text, back), text))
    return out


def swaps(texts: list[str]) -> list[Swap]:
    """Every sentence that has words of a group: gender (from he to she), origin (from american to others), neutral."""
    origin = [text for text in texts if "american" in words_in(text) and not words_in(text) & set(ORIGINS)]
    return [
        *both_ways("gender", GENDER, texts, AMBIGUOUS),
        *(
            Swap("origin", text, swapped(text, {"american": ORIGINS[i % len(ORIGINS)]}))
            for i, text in enumerate(origin)
        ),
        *both_ways("neutral", NEUTRAL, texts),
    ]


def negations() -> tuple[list[Example], list[Example]]:
    """The templates as they are, and with "not"; the label of a negated one is the other one."""
    plain, negated = [], []
    for template in TEMPLATES:
        for label, other, adjectives in (("positive", "negative", POSITIVE), ("negative", "positive", NEGATIVE)):
            for adjective in adjectives:
                text = template.replace("{}", adjective)
                plain.append(Example(text, label))
                negated.append(Example(text.replace(" is ", " is not "), other))
    return plain, negated
