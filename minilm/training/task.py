"""What all kinds of labels share: the base of every task, and what a model predicts.

A task knows its labels, the head that it needs, how to encode its examples, how to measure a model, and how to show the
model's predictions. A new kind of task is a new class with these methods.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from minilm.examples.batching import Dataset
from minilm.examples.labelled import label_names
from minilm.files.notes import Note, unheard
from minilm.models.heads import HeadConfig
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer
from minilm.training.metrics import Measured


class Entity(NamedTuple):
    """An entity in a text: its type, and text[start:end], which is exactly what stands there."""

    kind: str
    text: str
    start: int
    end: int


class Prediction(NamedTuple):
    """What a model predicts for a text: its label, or the entities in it, as "PER 江泽民, LOC 北京"."""

    text: str
    label: str
    probability: float | None  # of the label; None for entities
    entities: tuple[Entity, ...] = ()
    shown: str = ""  # what is printed of it, where that is not the label with its probability, or the entities with their offsets
    labels: tuple[
        tuple[str, float], ...
    ] = ()  # every label that the text has, with its probability, where it may have several


@dataclass(frozen=True)
class Task:
    """A kind of label, and the signatures that all kinds share; see the top of the file."""

    labels: tuple[str, ...]
    name: ClassVar[str]
    per_token: ClassVar[bool]  # whether every token has a label, or the text as a whole
    metric: ClassVar[str]  # the figure that tables show
    holds: ClassVar[str] = "text"  # what a label in a table is; see `tables.labelled_file`

    @staticmethod
    def labels_of(examples: list) -> list[str]:
        """Every label that occurs in the examples."""
        raise NotImplementedError

    def head(
        self, dropout: float = 0.1, pooling: str = "mean", crf: bool = False, crf_constraints: bool = False
    ) -> HeadConfig:
        """The head that a model needs for this task. With `crf`, tags are scored together; with `crf_constraints`, only in
        the order that their scheme allows. Raises InputError for a CRF on labels of texts, and for constraints without it."""
        raise NotImplementedError

    def encode(
        self,
        examples: list,
        tokenizer: Tokenizer,
        max_length: int | None,
        *,
        truncate: bool = False,
        where: str = "the data",
        places: Sequence[int] | None = None,
        note: Note = unheard,
    ) -> Dataset:
        """Token ids with labels; see `encode_texts` for what `truncate`, `where` and `places` mean and what is raised."""
        raise NotImplementedError

    def measure(self, model: nn.Module, examples: Dataset, device: torch.device) -> Measured:
        """How good a model is, by the names of the metrics; None is 0 divided by 0."""
        raise NotImplementedError

    def reported(
        self, model: nn.Module, encoded: Dataset, device: torch.device, examples: list, known: set | None = None
    ) -> tuple[Measured, str]:
        """What `measure` returns, and a table with a row for each label; without labels to tell apart, the table is empty.
        `encoded` are the `examples`. `known` are names that a tagger has learned from; see `entity_report.py`."""
        return self.measure(model, encoded, device), ""

    def better(self, measured: Measured) -> float:
        """The figure by which two models are compared: larger is better. 0 divided by 0 is worse than 0."""
        value = measured[self.metric]
        return -1.0 if value is None else value

    @classmethod
    def names_of(cls, examples: list, where: str) -> tuple[str, ...]:
        """The labels that a model for these examples needs, sorted. Raises InputError if there are too few to learn from."""
        return label_names(cls.labels_of(examples), where)

    def for_tokenizer(self, tokenizer: Tokenizer, examples: list) -> "Task":
        """The task with what depends on the tokenizer and on all texts that are read, such as signs that none of them has."""
        return self

    @classmethod
    def learnt_from(
        cls, labels: tuple[str, ...], examples: list, where: str = "the data", note: Note = unheard
    ) -> "Task":
        """The task whose settings are those of the training data; `note` is told of choices."""
        return cls(labels)

    def predict(
        self,
        model: nn.Module,
        examples: list[Example],
        tokenizer: Tokenizer,
        max_length: int | None,
        *,
        truncate: bool = False,
        where: str = "the texts",
        places: Sequence[int] | None = None,
        note: Note = unheard,
    ) -> list[Prediction]:
        """What a model predicts for each text; the rest is as for `encode`.

        Raises InputError for a text that is too long, unless `truncate` allows cutting it.
        """
        raise NotImplementedError
