"""What labels are for: one label per text, or one tag per token.  F07, F28, F30, F31.

A task knows its labels, the head that it needs, how to encode its examples, how to measure a model, and how to show the
model's predictions. A new kind of task is a new class with these methods.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labelled import encode_tagged, encode_texts
from minilm.files.notes import Note, unheard
from minilm.models.heads import HeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import predicted_tags, probabilities
from minilm.training.metrics import measure_tags, measure_texts


class Prediction(NamedTuple):
    """What a model predicts for a text: its label, or the entities in it, as "PER 江泽民, LOC 北京"."""

    text: str
    label: str
    probability: float | None  # of the label; None for entities


@dataclass(frozen=True)
class Task:
    """A kind of label, and the signatures that all kinds share; see the top of the file."""

    labels: tuple[str, ...]
    name: ClassVar[str]
    per_token: ClassVar[bool]  # whether every token has a label, or the text as a whole
    metric: ClassVar[str]  # the figure that tables show

    @staticmethod
    def labels_of(examples: list) -> list[str]:
        """Every label that occurs in the examples."""
        raise NotImplementedError

    def head(self, dropout: float = 0.1, pooling: str = "mean") -> HeadConfig:
        """The head that a model needs for this task."""
        raise NotImplementedError

    def encode(
        self,
        examples: list,
        tokenizer: Tokenizer,
        max_length: int | None,
        truncate: bool = False,
        where: str = "the data",
        places: Sequence[int] | None = None,
        note: Note = unheard,
    ) -> Dataset:
        """Token ids with labels; see `encode_texts` for what `truncate`, `where` and `places` mean and what is raised."""
        raise NotImplementedError

    def measure(self, model: nn.Module, examples: Dataset, device: torch.device) -> dict[str, float]:
        """How good a model is, by the names of the metrics."""
        raise NotImplementedError

    def predict(
        self,
        model: nn.Module,
        examples: list[Example],
        tokenizer: Tokenizer,
        max_length: int | None,
        truncate: bool = False,
        where: str = "the texts",
        note: Note = unheard,
    ) -> list[Prediction]:
        """What a model predicts for each text. Raises InputError for a text that is too long, unless `truncate` allows cutting."""
        raise NotImplementedError


@dataclass(frozen=True)
class TextTask(Task):
    """One label per text, or per pair of texts: `pairs` says which. None means that it is not known, and both are taken."""

    pairs: bool | None = None
    name, per_token, metric = "text", False, "accuracy"

    @staticmethod
    def labels_of(examples):
        return [example.label for example in examples if example.label is not None]

    def head(self, dropout=0.1, pooling="mean"):
        return TextHeadConfig(self.labels, dropout, pooling, self.pairs)

    def encode(
        self, examples, tokenizer, max_length, truncate=False, where="the data", places=None, note: Note = unheard
    ):
        """Raises InputError, too, for single texts where the model was trained on pairs, and for the reverse."""
        lone = [example.pair is None for example in examples]
        if self.pairs and any(lone):
            which = f"text {lone.index(True) + 1} of {where}"
            raise InputError(
                f"{which} has no second text, and the model was trained on pairs: give it with --pair, or name the column "
                "of a table with --pair-column."
            )
        if self.pairs is False and not all(lone):
            which = f"text {lone.index(False) + 1} of {where}"
            raise InputError(
                f"{which} has a second text, and the model was trained on single texts: leave out --pair and --pair-column."
            )
        return encode_texts(examples, self.labels, tokenizer, max_length, truncate, where, places, note)

    def measure(self, model, examples, device):
        """Accuracy, and the mean of the F1 of all classes."""
        return measure_texts(model, examples, device)

    def predict(self, model, examples, tokenizer, max_length, truncate=False, where="the texts", note=unheard):
        """The most probable label of each text, and its probability."""
        encoded = self.encode(examples, tokenizer, max_length, truncate, where, note=note)
        rows = probabilities(model, encoded, next(model.parameters()).device)
        return [
            Prediction(example.text, self.labels[int(row.argmax())], float(row.max()))
            for example, row in zip(examples, rows, strict=True)
        ]


class TokenTask(Task):
    """One tag per token, from which entities are read."""

    name, per_token, metric = "token", True, "f1"

    @staticmethod
    def labels_of(examples):
        return [tag for line in examples for tag in line.tags]

    def head(self, dropout=0.1, pooling="mean"):
        return TokenHeadConfig(self.labels, dropout)  # no pooling, because every token has its own vector

    def encode(self, examples, tokenizer, max_length, truncate=False, where="the data", places=None, note=unheard):
        """Long lines are cut into several rows and joined again later, so `truncate` is not needed."""
        return encode_tagged(examples, self.labels, tokenizer, max_length, where)

    def measure(self, model, examples, device):
        """Precision, recall and F1 of whole entities."""
        return measure_tags(model, examples, self.labels, device)

    def predict(self, model, examples, tokenizer, max_length, truncate=False, where="the texts", note=unheard):
        """The entities of each text. Chinese is tagged by characters, other scripts by the words between spaces."""
        words = [units(example.text) for example in examples]
        lines = [TaggedLine(line, [self.labels[0]] * len(line)) for line in words]
        encoded = self.encode(lines, tokenizer, max_length, truncate, where)
        tags = predicted_tags(model, encoded, self.labels, next(model.parameters()).device)
        return [
            Prediction(example.text, shown(entities(line, guessed)), None)
            for example, line, guessed in zip(examples, words, tags, strict=True)
        ]


def task_of(head: HeadConfig) -> Task:
    """The task that a classifier with this head was trained for."""
    if isinstance(head, TextHeadConfig):
        return TextTask(head.labels, head.pairs)
    return TokenTask(head.labels)


def units(text: str) -> list[str]:
    """The units that a tagger tags: the characters of Chinese, the words between spaces of other scripts."""
    return [c for c in text if not c.isspace()] if CHINESE.search(text) else text.split()


CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff]")


def entities(words: list[str], tags: list[str]) -> list[tuple[str, str]]:
    """(kind, name) of each run of tags B-kind, I-kind, I-kind … An I- after another kind or after O opens a name, too."""
    found: list[tuple[str, list[str]]] = []
    before = "O"
    for word, tag in zip(words, tags, strict=True):
        if tag.startswith("B-") or (tag.startswith("I-") and before[2:] != tag[2:]):
            found.append((tag[2:], [word]))
        elif tag.startswith("I-"):
            found[-1][1].append(word)
        before = tag
    space = " " if any(len(word) > 1 for word in words) else ""
    return [(kind, space.join(name)) for kind, name in found]


def shown(found: list[tuple[str, str]]) -> str:
    """Entities as "PER 江泽民, LOC 北京"; a dash if there are none."""
    return ", ".join(f"{kind} {name}" for kind, name in found) or "–"
