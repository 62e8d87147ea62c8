"""Labelled data of every kind, by its name: what it is, how it is read, and texts that occur more than once."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import tyro

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text import corpus
from minilm.text.files import LABELLED, TAGGED, Example, in_tag_columns, text_lines
from minilm.text.questions import Question, question_lines
from minilm.text.tagged import TaggedLine
from minilm.training.span_task import SpanTask
from minilm.training.tasks import Task, TextTask, TokenTask
from minilm.training.text_tasks import LabelsTask, NumberTask, RelationTask
from minilm.training.word_tasks import TagTask, UnitTask, WordTask


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


KINDS: dict[str, type[Task]] = {
    "classes": TextTask,
    "labels": LabelsTask,
    "number": NumberTask,
    "relations": RelationTask,
    "answers": SpanTask,
    "entities": TokenTask,
    "tags": TagTask,
    "words": WordTask,
}
Kind = Literal["", "classes", "labels", "number", "relations", "answers", "entities", "tags", "words"]
OF_CORPUS: dict[str, type[Task]] = {corpus.POS: TagTask, corpus.SEGMENTATION: WordTask}


def task_for(name: str, asked: str = "") -> type[Task]:
    """The kind of task that the data is for: the one that is `asked` for, or what the data says by its name.

    Raises InputError if the data cannot be for what is asked.
    """
    usual = OF_CORPUS.get(name, TokenTask if is_tagged(name) else TextTask)
    if not asked or KINDS[asked] is usual:
        return usual
    kind = KINDS[asked]
    if name in corpus.CORPORA:
        own = next(word for word, known in KINDS.items() if known is usual)
        raise InputError(f"--task {asked} does not go with the corpus {name!r}, which is for --task {own}.")
    refuse_other_files(kind, f"--task {asked}", name)
    return kind


def refuse_other_files(kind: type[Task], what: str, name: str) -> None:
    """Raises InputError if a task about every word is to read a table, or one about texts a file of tagged words."""
    if issubclass(kind, UnitTask) != is_tagged(name):
        has = "a tag for every word" if is_tagged(name) else "labels of whole texts"
        wants = "tags for every word" if issubclass(kind, UnitTask) else "labels of whole texts"
        raise InputError(f"{what} needs {wants}, and {name} has {has}.")


def read(name: str, columns: Columns, note: Note = unheard, kind: type[Task] | None = None) -> list:
    """The labelled examples of a corpus or file, for a kind of task (None: the one that its name says).

    Raises InputError for a file whose ending does not say what it holds.
    """
    kind = kind or task_for(name)
    if issubclass(kind, SpanTask):
        return list(question_lines(Path(name)))
    if is_tagged(name):
        return corpus.tagged(name, note, entities=issubclass(kind, TokenTask))
    path = Path(name)
    if path.is_file() and path.suffix.lower() not in LABELLED:
        endings = f"labelled texts end in {', '.join(LABELLED)}, and tagged words (CoNLL) in {', '.join(TAGGED)}"
        looks = " It looks like CoNLL." if looks_like_conll(path) else ""
        raise InputError(f"{name} does not say by its ending what it holds: {endings}; rename it.{looks}")
    return corpus.labelled(name, columns.text_column, columns.label_column, columns.pair_column, note, kind.holds)


def looks_like_conll(path: Path) -> bool:
    """Whether the first lines of a text file are words with their tags."""
    try:
        return in_tag_columns(list(islice(text_lines(path), 40)))
    except InputError:
        return False


def words_of(example: Example | TaggedLine | Question) -> tuple[str, ...]:
    """The words of an example, without regard to case and spaces: two examples with the same words have the same text."""
    if isinstance(example, TaggedLine):
        return tuple(token.casefold() for token in example.tokens)
    if isinstance(example, Question):
        return *example.text.casefold().split(), "\n", *example.question.casefold().split()
    second = [] if example.pair is None else ["\n", *example.pair.casefold().split()]
    return *example.text.casefold().split(), *second


def texts_of(examples: list) -> Iterator[str]:
    """Every text of the examples: first texts, second texts, and tagged lines with spaces between their tokens."""
    for example in examples:
        if isinstance(example, TaggedLine):
            yield " ".join(example.tokens)
        elif isinstance(example, Question):
            yield from (example.text, example.question)
        else:
            yield example.text
            if example.pair is not None:
                yield example.pair


def in_both(examples: list, others: list) -> list[int]:
    """The places of the examples whose text occurs among the others, too."""
    known = {words_of(example) for example in others}
    return [i for i, example in enumerate(examples) if words_of(example) in known]


def label_of(example: Example | TaggedLine | Question):
    """What is learned from an example."""
    if isinstance(example, TaggedLine):
        return tuple(example.tags)
    return example.answer if isinstance(example, Question) else example.label


def set_aside(part: Part, size: int, seed: int) -> tuple[Part, ...]:
    """(the rest, a development part of `size` examples), or the whole part if the size is 0.

    They are drawn with `seed`, and copies of what is drawn are left out of the rest.
    Raises InputError if nothing would be left to learn from.
    """
    if not size:
        return (part,)
    n = len(part.examples)
    if size >= n:
        raise InputError(f"--development {size} of {n} examples leaves none to learn from: set fewer aside.")
    order = np.random.default_rng(seed).permutation(n).tolist()
    drawn = sorted(order[:size])
    rest = sorted(order[size:])
    copies = set(in_both([part.examples[i] for i in rest], [part.examples[i] for i in drawn]))
    rest = [i for place, i in enumerate(rest) if place not in copies]
    if not rest:
        raise InputError(f"every example of {part.where} is in the development part as well: give different texts.")
    return tuple(
        Part([part.examples[i] for i in chosen], part.where, [part.places[i] for i in chosen])
        for chosen in (rest, drawn)
    )


def say_duplicates(examples: list, where: str, note: Note) -> None:
    """Say how many texts occur more than once, and how many of them contradict each other."""
    labels: dict[tuple[str, ...], list] = {}
    for example in examples:
        label = label_of(example)
        labels.setdefault(words_of(example), []).append(label)
    several = {words: given for words, given in labels.items() if len(given) > 1}
    if several:
        differ = [words for words, given in several.items() if len(set(given)) > 1]
        such = (
            f", {len(differ):,} of them with different labels, such as {' '.join(differ[0])[:60]!r}" if differ else ""
        )
        occur = "text occurs" if len(several) == 1 else "texts occur"
        note(f"{len(several):,} {occur} more than once in {where}{such}.")
