"""The tasks of `minilm translation`: where the pairs come from, how they are split, what is measured, and what to beat."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilm.experiments import translation_rivals as rivals, translation_scores as scores
from minilm.files.notes import Note
from minilm.text import corpus, grammar
from minilm.text.parallel import Pair, read_parallel, shorter, split_apart, without_duplicates


class Parts(NamedTuple):
    """Pairs to learn from, to make choices on, and to measure."""

    training: list[Pair]
    development: list[Pair]
    test: list[Pair]


@dataclass(frozen=True)
class Task:
    """One kind of translation. `score` is the figure that decides, `minutes` is what training takes if nobody says otherwise."""

    title: str
    parts: Callable[[Note], Parts]
    measure: Callable[[Sequence[Pair], Sequence[str]], dict[str, float]]
    score: str
    rivals: Mapping[str, rivals.Rival]
    minutes: float
    vocab_size: int
    dropout: float
    label_smoothing: float
    tokens: int  # the most that are written
    neighbours: int = 0  # translations of its nearest neighbours that the model reads behind each source
    samples: int = 0  # translations that are drawn, of which the one that agrees most with the others is taken
    muon_learning_rate: float = 0.0  # of the matrices of the blocks; 0: AdamW for all
    word_vectors: bool = False  # whether the embeddings start from vectors that are counted in the pairs
    fold: bool = False  # whether the model reads sources without the capitals of titles
    look_at: tuple[str, ...] = field(default=())  # sources whose translation and alignment are shown


GENERATED, SPLIT = 22_000, 0  # pairs of the grammar; the seed of every split, so that all runs share their test set


def dates(note: Note) -> Parts:
    """Different pairs of the grammar, in random parts."""
    pairs = grammar.pairs(GENERATED, SPLIT)
    order = np.random.default_rng(SPLIT).permutation(len(pairs))
    shuffled = [pairs[i] for i in order]
    return Parts(shuffled[2000:], shuffled[1000:2000], shuffled[:1000])


def strings(note: Note) -> Parts:
    """The strings of JupyterLab, Django and Sphinx; no two parts share a source or a target, nor one that is alike."""
    pairs = [pair for name in corpus.PARALLEL for pair in corpus.parallel(name)]
    return Parts(*split_apart(shorter(without_duplicates(pairs), 120, note), test=500, development=300, seed=SPLIT))


LONGEST_HEADLINE, BEGINNING = 30, 120  # characters


def headlines(note: Note) -> Parts:
    """Articles of the newspaper, as far as their beginning, and their headlines."""
    pairs = []
    for article in corpus.documents("peoples-daily"):
        headline, body = article[0], "".join(article[1:])
        if len(headline) <= LONGEST_HEADLINE and not re.search("[。！？：]", headline) and len(body) >= BEGINNING:
            pairs.append((body[:BEGINNING], headline))
    note(f"{len(pairs):,} articles have a headline; the model reads the first {BEGINNING} characters of each.")
    return Parts(*split_apart(without_duplicates(pairs), test=300, development=200, seed=SPLIT))


def own_files(source: Path, target: Path) -> Callable[[Note], Parts]:
    """The pairs of two files of your own; a tenth of them is the test set, and another tenth the development part."""

    def parts(note: Note) -> Parts:
        pairs = shorter(without_duplicates(read_parallel(source, target)), 400, note)
        tenth = max(1, len(pairs) // 10)
        return Parts(*split_apart(pairs, tenth, tenth, SPLIT))

    return parts


LOOK_UP = {"dictionary look-up": rivals.look_up, "nearest neighbour": rivals.nearest}
LEAD = {"first sentence": rivals.first_sentence, "beginning of it": rivals.beginning}
TASKS = {
    "dates": Task(
        title="dates and numbers",
        parts=dates,
        measure=scores.exact_by_length,
        score=scores.EXACT,
        rivals=LOOK_UP,
        minutes=5.0,
        vocab_size=600,
        dropout=0.0,
        label_smoothing=0.0,
        tokens=60,
        look_at=("Sunday, May 3rd, 1998 at 3:05 pm", "twelve million three hundred and four thousand and five"),
    ),
    "strings": Task(
        title="strings of user interfaces",
        parts=strings,
        measure=scores.translated,
        score=scores.CHRF,
        rivals=LOOK_UP,
        minutes=7.0,
        vocab_size=4096,
        dropout=0.2,
        label_smoothing=0.1,
        tokens=100,
        neighbours=2,
        samples=24,
        muon_learning_rate=0.01,
        word_vectors=True,
        fold=True,
        look_at=("Show the right sidebar", "Cannot open the file %1"),
    ),
    "headlines": Task(
        title="headlines",
        parts=headlines,
        measure=scores.summarised,
        score=scores.ROUGE["rougeL"],
        rivals=LEAD,
        minutes=7.0,
        vocab_size=4096,
        dropout=0.2,
        label_smoothing=0.1,
        tokens=40,
        samples=24,
        muon_learning_rate=0.01,
        word_vectors=True,
    ),
}


def own_task(source: Path, target: Path) -> Task:
    """A task with your own files: measured and compared as strings are, and read with their capitals."""
    title, parts = f"{source.name} → {target.name}", own_files(source, target)
    return replace(TASKS["strings"], title=title, parts=parts, tokens=200, fold=False, look_at=())
