r"""The translation that agrees most with all others: minimum Bayes risk.  F23, generation.

Letters:  c a candidate · r one of R texts that were drawn from the model · n length of a run of characters

The most probable text is often a bad one: the probability is spread over many texts that mean the same, and a short or odd one
can be the single most probable of all. So draw several texts from the model, and take the candidate c that is most like
them on average: Σᵣ u(c, r), where u says how good c would be if r were right. That is the expected score of c under the
model.

Sources:  Kumar and Byrne (2004), Minimum Bayes-Risk Decoding for Statistical Machine Translation; Eikema and Aziz (2020), Is MAP
          Decoding All You Need?; Popović (2015) for chrF, the score u that is used here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

LONGEST, BETA = 6, 2  # chrF compares runs of one to six characters, and counts recall β² = 4 times as much as precision


def runs(text: str) -> list[Counter[str]]:
    """How often each run of n characters occurs in a text without its spaces, for n = 1 … 6."""
    letters = "".join(text.split())
    return [Counter(letters[i : i + n] for i in range(len(letters) - n + 1)) for n in range(1, LONGEST + 1)]


def likeness(candidate: Sequence[Counter[str]], reference: Sequence[Counter[str]]) -> float:
    r"""chrF of a candidate, given a reference, from 0 to 1: (1 + β²) P R / (β² P + R).

    P is the share of the candidate's runs that the reference has, R the share of the reference's runs that the candidate has,
    each the mean over the n for which both texts have runs. Both are given as `runs`.
    """
    precision, recall = [], []
    for ours, theirs in zip(candidate, reference, strict=True):
        if (mine := ours.total()) and (its := theirs.total()):
            common = (ours & theirs).total()
            precision.append(common / mine)
            recall.append(common / its)
    P, R = (sum(values) / max(1, len(values)) for values in (precision, recall))
    return (1 + BETA**2) * P * R / (BETA**2 * P + R) if P + R else 0.0


def most_agreed(candidates: Sequence[str], drawn: Mapping[str, float]) -> str:
    r"""The candidate c with the highest Σᵣ weight(r) · u(c, r); the first of them, if several are equally good."""
    weights = {text: (runs(text), weight) for text, weight in drawn.items()}

    def agreement(candidate: str) -> float:
        own = runs(candidate)
        return sum(weight * likeness(own, other) for other, weight in weights.values())

    return max(dict.fromkeys(candidates), key=agreement)
