"""Labelled data of every kind, by its name: what it is, how it is read, and texts that occur more than once."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text import corpus
from minilm.text.files import LABELLED, TAGGED, Example, in_tag_columns, text_lines
from minilm.text.tagged import TaggedLine
from minilm.training.tasks import Task, TextTask, TokenTask


@dataclass(frozen=True)
class Columns:
    """The columns to read in a CSV, TSV or JSON-lines file of your own."""

    text_column: str = "text"
    pair_column: str | None = None
    """The second text, for tasks on pairs."""
    label_column: str = "label"


InOwnFile = Annotated[Columns, tyro.conf.arg(name="")]  # --text-column, not --columns.text-column


class Part(NamedTuple):
    """Some of the examples, where they come from, and their places there, counted from 0."""

    examples: list
    where: str
    places: list[int]


@dataclass(frozen=True)
class Material:
    """Labelled examples, split into a training and a test part, and the task that they are for."""

    task: Task
    train: Part
    test: Part


def is_tagged(name: str) -> bool:
    """Whether the data has a tag for every word, judging by its name."""
    return name in corpus.TAGGED or Path(name).suffix.lower() in TAGGED


def task_for(name: str) -> type[TextTask] | type[TokenTask]:
    """The kind of task that the data is for."""
    return TokenTask if is_tagged(name) else TextTask


def read(name: str, columns: Columns, note: Note = unheard) -> list:
    """The labelled examples of a corpus or file. Raises InputError for a file whose ending does not say what it holds."""
    if is_tagged(name):
        return corpus.tagged(name, note)
    path = Path(name)
    if path.is_file() and path.suffix.lower() not in LABELLED:
        endings = f"labelled texts end in {', '.join(LABELLED)}, and tagged words (CoNLL) in {', '.join(TAGGED)}"
        looks = " It looks like CoNLL." if looks_like_conll(path) else ""
        raise InputError(f"{name} does not say by its ending what it holds: {endings}; rename it.{looks}")
    return corpus.labelled(name, columns.text_column, columns.label_column, columns.pair_column, note)


def looks_like_conll(path: Path) -> bool:
    """Whether the first lines of a text file are words with their tags."""
    try:
        return in_tag_columns(list(islice(text_lines(path), 40)))
    except InputError:
        return False


def words_of(example: Example | TaggedLine) -> tuple[str, ...]:
    """The words of an example, without regard to case and spaces: two examples with the same words have the same text."""
    if isinstance(example, TaggedLine):
        return tuple(token.casefold() for token in example.tokens)
    second = [] if example.pair is None else ["\n", *example.pair.casefold().split()]
    return *example.text.casefold().split(), *second


def texts_of(examples: list) -> Iterator[str]:
    """Every text of the examples: first texts, second texts, and tagged lines with spaces between their tokens."""
    for example in examples:
        if isinstance(example, TaggedLine):
            yield " ".join(example.tokens)
        else:
            yield example.text
            if example.pair is not None:
                yield example.pair


def in_both(examples: list, others: list) -> list[int]:
    """The places of the examples whose text occurs among the others, too."""
    known = {words_of(example) for example in others}
    return [i for i, example in enumerate(examples) if words_of(example) in known]


def say_duplicates(examples: list, where: str, note: Note) -> None:
    """Say how many texts occur more than once, and how many of them contradict each other."""
    labels: dict[tuple[str, ...], list] = {}
    for example in examples:
        label = tuple(example.tags) if isinstance(example, TaggedLine) else example.label
        labels.setdefault(words_of(example), []).append(label)
    several = {words: given for words, given in labels.items() if len(given) > 1}
    if several:
        differ = [words for words, given in several.items() if len(set(given)) > 1]
        such = (
            f", {len(differ):,} of them with different labels, such as {' '.join(differ[0])[:60]!r}" if differ else ""
        )
        occur = "text occurs" if len(several) == 1 else "texts occur"
        note(f"{len(several):,} {occur} more than once in {where}{such}.")
