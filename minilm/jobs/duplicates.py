"""Is a test sentence in anything that was trained on? Exact and near duplicates, by what they share.

Two texts share a run of words ("shingle") by accident when it is short and hardly ever when it is five words long. A
sentence counts as a near duplicate when half of its shingles stand in the other text too.

Source:  Broder (1997), On the resemblance and containment of documents.
"""

import re
from collections import Counter
from collections.abc import Iterable

RUN = 5  # words in a shingle
WORD = re.compile(r"\w+")


def shingles(text: str, run: int = RUN) -> list[str]:
    """Every run of `run` words, without case and punctuation; the whole text if it is shorter."""
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + run]) for i in range(max(1, len(words) - run + 1))]


def duplicates(candidates: list[str], others: Iterable[str], share: float = 0.5, run: int = RUN) -> set[int]:
    """The numbers of the candidates that stand, whole or by `share` of their shingles, in one another or in `others`.

    Only the candidates' shingles are kept in memory; `others` may be as long as it likes.
    """
    own = [set(shingles(text, run)) for text in candidates]
    times = Counter(shingle for each in own for shingle in each)
    seen = {shingle for shingle, count in times.items() if count > 1}
    for text in others:
        seen.update(shingle for shingle in shingles(text, run) if shingle in times)
    return {i for i, each in enumerate(own) if sum(shingle in seen for shingle in each) >= share * len(each)}
