"""Find exact and near duplicates, to check that no test sentence was in the training data.

Two texts often share a short run of words (a "shingle") by accident, but hardly ever one of five words. A sentence counts
as a near duplicate if half of its shingles occur in the other text too.

Source:  Broder (1997), On the resemblance and containment of documents.
"""

import re
from collections import Counter
from collections.abc import Iterable

RUN = 5  # words in a shingle
WORD = re.compile(r"\w+")


def shingles(text: str, run: int = RUN) -> list[str]:
    """Every run of `run` words, ignoring case and punctuation, or the whole text if it is shorter."""
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + run]) for i in range(max(1, len(words) - run + 1))]


def duplicates(candidates: list[str], others: Iterable[str], share: float = 0.5, run: int = RUN) -> set[int]:
    """The numbers of the candidates whose shingles occur, to at least the given `share`, in another candidate or in `others`.

    Only the candidates' shingles are kept in memory, so `others` may be as long as you like.
    """
    own = [set(shingles(text, run)) for text in candidates]
    times = Counter(shingle for each in own for shingle in each)
    seen = {shingle for shingle, count in times.items() if count > 1}
    for text in others:
        seen.update(shingle for shingle in shingles(text, run) if shingle in times)
    return {i for i, each in enumerate(own) if sum(shingle in seen for shingle in each) >= share * len(each)}
