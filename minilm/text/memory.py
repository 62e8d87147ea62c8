"""A translation memory: the strings most like a new one that people have translated already, as a hint for a model.

Translators work with such memories, because programs say the same things again in other words. The model reads the new
source, and behind it the translations of its nearest neighbours, between tabs; with a copy head it can take over what fits.

Source:  Bulté and Tezcan (2019), Neural Fuzzy Repair: Integrating Fuzzy Matches into Neural Machine Translation.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from minilm.errors import InputError
from minilm.files.atomic import write_json
from minilm.files.tensors import read_json
from minilm.text.parallel import PLACEHOLDER, Pair, families, placeholders

BETWEEN = "\t"
FILE, SAMPLES = "memory.json", "translation.json"
BLOCK = 256  # sources that are compared with all pairs at a time
TITLE = re.compile(
    rf"({PLACEHOLDER.pattern})|\b[A-Z][a-z]*\b"
)  # a placeholder, or a word whose first letter alone is a capital


class TranslationMemory:
    """Pairs that people have translated, and how to find those that are most like a new source.

    Sources are compared by the cosine of their TF-IDF over runs of two to four letters, upper and lower case alike. With
    `fold`, a model reads them without the capitals of titles (`folded`).
    """

    def __init__(self, pairs: Sequence[Pair], fold: bool = False):
        if not pairs:
            raise InputError("a translation memory without pairs has no neighbours: give at least one.")
        self.pairs, self.fold = list(pairs), fold
        self.tf_idf = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), lowercase=True)
        self.known = self.tf_idf.fit_transform([source for source, _ in self.pairs])

    def best(self, sources: Sequence[str], count: int, leave_out: np.ndarray | None = None) -> np.ndarray:
        """The numbers of the `count` pairs whose sources are most like each source, the nearest first: [sources, count].

        With `leave_out` [pairs], the sources are the memory's own, and no pair is taken with the same number there.
        """
        found = []
        for start in range(0, len(sources), BLOCK):
            part = list(sources[start : start + BLOCK])
            alike = (self.tf_idf.transform(part) @ self.known.T).toarray()  # [block, pairs], the cosine, from 0 to 1
            if leave_out is not None:
                alike[leave_out[start : start + BLOCK, None] == leave_out] = -1
            found.append(np.argsort(-alike, axis=1, kind="stable")[:, :count])
        return np.concatenate(found)

    def nearest(self, sources: Sequence[str]) -> list[str]:
        """For each source the target of its nearest neighbour, with the placeholders of the source."""
        best = self.best(sources, 1)[:, 0]
        return [with_placeholders(self.pairs[i][1], source) for i, source in zip(best, sources, strict=True)]

    def read(self, source: str) -> str:
        """A source as the model reads it: see `folded`."""
        return folded(source) if self.fold else source

    def hints(self, sources: Sequence[str], neighbours: int, leave_out: np.ndarray | None = None) -> list[list[str]]:
        """For each source the targets of so many neighbours, with the placeholders of the source. `leave_out`: see `best`."""
        if not neighbours:
            return [[] for _ in sources]
        best = self.best(sources, neighbours, leave_out)
        return [[with_placeholders(self.pairs[i][1], s) for i in row] for s, row in zip(sources, best, strict=True)]

    def hinted(self, sources: Sequence[str], neighbours: int, leave_out: np.ndarray | None = None) -> list[str]:
        """Each source as the model reads it, with the targets of so many neighbours behind it."""
        found = self.hints(sources, neighbours, leave_out)
        return [with_hints(self.read(source), hint) for source, hint in zip(sources, found, strict=True)]

    def hinted_pairs(self, neighbours: int) -> list[Pair]:
        """The memory's own pairs, to learn from: no pair is a hint for itself or for one that is alike.

        (Otherwise the model would only learn to copy the first hint.)
        """
        sources, targets = zip(*self.pairs, strict=True)
        family = np.empty(len(self.pairs), dtype=np.int64)
        for number, members in enumerate(families(self.pairs)):
            family[members] = number
        return list(zip(self.hinted(sources, neighbours, family), targets, strict=True))

    def save(self, folder: Path, neighbours: int) -> None:
        """Write the memory into the folder of a model that reads so many neighbours."""
        write_json(folder / FILE, {"neighbours": neighbours, "fold": self.fold, "pairs": self.pairs})


def open_memory(folder: Path) -> tuple[TranslationMemory, int] | None:
    """The memory of the model in `folder` and how many neighbours it reads; None if it has none.

    Raises InputError for a file that is no memory.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    content = read_json(path, dict)
    try:
        pairs = [(str(source), str(target)) for source, target in content["pairs"]]
        return TranslationMemory(pairs, bool(content["fold"])), int(content["neighbours"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} is not a translation memory ({error!r}): train the model again.") from None


def save_samples(folder: Path, samples: int) -> None:
    """Write into a model's folder how many translations are to be drawn for each text. With 0 there is no such file."""
    if samples:
        write_json(folder / SAMPLES, {"samples": samples})


def samples_of(folder: Path) -> int:
    """How many translations are to be drawn for each text, with the model in `folder`. Raises InputError for a damaged file."""
    path = folder / SAMPLES
    if not path.is_file():
        return 0
    samples = read_json(path, dict).get("samples")
    if not isinstance(samples, int) or samples < 0:
        raise InputError(f"{path} does not say how many samples to draw: train the model again.")
    return samples


def with_hints(source: str, hints: Sequence[str]) -> str:
    """A source with the translations of its neighbours behind it, as a model reads them."""
    return BETWEEN.join([source, *hints])


def folded(source: str) -> str:
    """A source as a model reads it more easily: "Open File" and "open file" become " open file", with a space in front.

    So a word is the same token wherever it stands. Words with other capitals (JupyterLab, URL) and placeholders stay as they are,
    because they are often copied.
    """
    return " " + TITLE.sub(lambda found: found[0] if found[1] else found[0].lower(), source)


def with_placeholders(target: str, source: str) -> str:
    """The target with the placeholders of `source` in place of its own, one by one, as far as there are enough."""
    own = iter(list(placeholders(source).elements()))
    return PLACEHOLDER.sub(lambda found: next(own, found[0]), target)
