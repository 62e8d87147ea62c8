"""The data that the programs are run on, written once as files that can be read: reviews, labelled sentences, tagged lines.

No sentence to measure on stands, whole or almost whole, in the reviews or among the sentences to learn from, and no line of the
newspaper in the articles that were pretrained on (`english.py`, `chinese.py`).
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from minilm.experiments.chinese import Chinese, line_numbers
from minilm.experiments.english import unseen
from minilm.files.atomic import write_text
from minilm.text import corpus
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine

REVIEWS, HELD_OUT_REVIEWS = 600, 100  # of D1
SENTENCES, DEVELOPMENT = 2_000, 500  # of D0 and D3, to measure on and to choose on
LINES = 4_000  # of D4, to draw labelled ones from
FILES = {
    "reviews.txt": "D1",
    "sentences-train.csv": "D0, D3",
    "sentences-development.csv": "D3",
    "sentences-test.csv": "D0",
    "newspaper-train.conll": "D4",
    "newspaper-test.conll": "D4",
}


def write_data(folder: Path, documents: Iterable[str], say: Callable[[str], None]) -> None:
    """Write the files that these documents need and that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name for name, users in FILES.items() if set(users.split(", ")) & set(documents)}
    missing = {name for name in wanted if not (folder / name).exists()}
    if "reviews.txt" in missing:
        some = islice(corpus.documents("imdb"), REVIEWS)
        write_text(folder / "reviews.txt", "\n".join("".join(f"{s}\n" for s in document) for document in some))
    if any(name.startswith("sentences") for name in missing):
        write_sentences(folder, say)
    if any(name.startswith("newspaper") for name in missing):
        write_newspaper(folder, say)


def write_sentences(folder: Path, say: Callable[[str], None]) -> None:
    """Sentences about films with their labels, in three parts."""
    examples = corpus.labelled("rotten-tomatoes")
    reviews = (" ".join(document) for document in corpus.documents("imdb"))
    pool, test, left_out = unseen(examples, reviews, SENTENCES)
    say(
        f"{left_out} of {len(examples):,} sentences occur, whole or almost whole, in the film reviews or twice in the set, and "
        f"are left out. {len(test):,} are there to measure on."
    )
    parts = {"development": pool[:DEVELOPMENT], "train": pool[DEVELOPMENT:], "test": test}
    for name, part in parts.items():
        write_text(folder / f"sentences-{name}.csv", table_of(part))


def write_newspaper(folder: Path, say: Callable[[str], None]) -> None:
    """Lines of a newspaper, with a tag for every character, in two parts."""
    lines = corpus.tagged("peoples-daily")
    inside, test = line_numbers(lines, Chinese.pretraining.held_out, say)
    drawn = np.random.default_rng(1).permutation(inside)[:LINES].tolist()
    for name, numbers in {"train": drawn, "test": test}.items():
        write_text(folder / f"newspaper-{name}.conll", columns_of([lines[i] for i in numbers]))


def table_of(examples: Sequence[Example]) -> str:
    """Labelled texts as CSV."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["text", "label"])
    rows.writerows([example.text, example.label] for example in examples)
    return text.getvalue()


def columns_of(lines: Sequence[TaggedLine]) -> str:
    """Tagged lines as CoNLL: a token and its tag in each line, and a blank line between two lines of text."""
    return "\n".join(
        "".join(f"{token}\t{tag}\n" for token, tag in zip(line.tokens, line.tags, strict=True)) for line in lines
    )
