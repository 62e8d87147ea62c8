"""What labels are for: one label per text, or one tag per token.  F07, F28, F30, F31.

A task knows its labels, the head that it needs, how to encode its examples, how to measure a model, and how to show the
model's predictions. A new kind of task is a new class with these methods.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labelled import encode_tagged, encode_texts
from minilm.files.notes import Note, unheard
from minilm.models.heads import HeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.verbaliser import VerbaliserConfig
from minilm.text.files import Example
from minilm.text.segmentation import RULES, TOKENIZER, Span, rule_named
from minilm.text.segmentation_choice import ENOUGH, as_shown, choose_rule, longest_unspaced, share_given_back
from minilm.text.tag_schemes import BIO, Scheme, recognise
from minilm.text.tagged import TaggedLine, with_tags
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import predicted_tags, probabilities
from minilm.training.metrics import Measured, entities, measure_tags, measure_texts


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


@dataclass(frozen=True)
class TextTask(Task):
    """One label per text, or per pair of texts: `pairs` says which. None means that it is not known, and both are taken."""

    pairs: bool | None = None
    name, per_token, metric = "text", False, "accuracy"

    @staticmethod
    def labels_of(examples):
        return [example.label for example in examples if example.label is not None]

    def head(self, dropout=0.1, pooling="mean", crf=False, crf_constraints=False):
        if crf or crf_constraints:
            raise InputError("a CRF is for tagged words, and these are labels of whole texts: leave it out.")
        return TextHeadConfig(self.labels, dropout, pooling, self.pairs)

    def encode(self, examples, tokenizer, max_length, *, where="the data", **how):
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
        return encode_texts(examples, self.labels, tokenizer, max_length, where=where, **how)

    def measure(self, model, examples, device):
        """Accuracy, and the mean of the F1 of all classes."""
        return measure_texts(model, examples, device)

    def predict(self, model, examples, tokenizer, max_length, *, where="the texts", **how):
        """The most probable label of each text, and its probability."""
        encoded = self.encode(examples, tokenizer, max_length, where=where, **how)
        rows = probabilities(model, encoded, next(model.parameters()).device)
        return [
            Prediction(example.text, self.labels[int(row.argmax())], float(row.max()))
            for example, row in zip(examples, rows, strict=True)
        ]


@dataclass(frozen=True)
class TokenTask(Task):
    """One tag per unit of the text, from which entities are read.

    `units` and `longest_word` say how a text is cut into units; see `TokenHeadConfig`. The labels follow any scheme of
    `text/tag_schemes.py`; the tags of examples are BIO, or the labels themselves.
    """

    units: str = TOKENIZER
    longest_word: int = 0
    name, per_token, metric = "token", True, "f1"

    @classmethod
    def learnt_from(
        cls, labels: tuple[str, ...], lines: list[TaggedLine], where: str = "the data", note: Note = unheard
    ) -> "TokenTask":
        """The task whose units are those of the training data. `note` is told how text will be cut."""
        choice = choose_rule([line.tokens for line in lines])
        share = f"{math.floor(1000 * choice.share) / 10:g} % of the training tokens"
        lost = f"; not, for instance, {choice.lost!r}" if choice.lost else ""
        spaces = "; Chinese words must have spaces between them" if choice.longest_word else ""
        what = f"the tagger will cut text by the rule {choice.rule!r} ({RULES[choice.rule][1]}{spaces})"
        note(f"{where}: {what}, which gives back {share}{lost}.")
        return cls(labels, choice.rule, choice.longest_word)

    @staticmethod
    def labels_of(examples):
        return [tag for line in examples for tag in line.tags]

    def head(self, dropout=0.1, pooling="mean", crf=False, crf_constraints=False):
        """No pooling, because every token has its own vector."""
        if crf_constraints and not crf:
            raise InputError("constraints are for a CRF: ask for one as well, or leave them out.")
        steps = self.scheme.allowed_steps(self.labels) if crf_constraints else []
        allowed = tuple("".join("01"[step] for step in row) for row in steps)
        return TokenHeadConfig(self.labels, dropout, self.units, self.longest_word, crf, allowed)

    def encode(self, examples, tokenizer, max_length, *, truncate=False, where="the data", places=None, note=unheard):
        """Long lines are cut into several rows and joined again later, so `truncate` is not needed. Nor are `places`, because
        a line knows its number in the file."""
        lines = [self.in_own_tags(line) for line in examples]
        return encode_tagged(lines, self.labels, tokenizer, max_length, where, note)

    def check_units(self, lines: list[TaggedLine], where: str, note: Note) -> None:
        """Tell `note` if the tokens of a file are not the units that the model was trained on."""
        if self.units == TOKENIZER or not lines:
            return
        share = share_given_back([line.tokens for line in lines], self.units, self.longest_word)
        if share < ENOUGH:
            unlike = f"only {share:.0%} of its tokens are units that the tagger was trained on"
            note(f"{where}: {unlike} (rule {self.units!r}: {RULES[self.units][1]}).")

    def in_own_tags(self, line: TaggedLine) -> TaggedLine:
        """The line with its BIO tags written as the labels of the model are."""
        own = all(tag in self.labels for tag in line.tags)
        if own and self.scheme == BIO:
            return line
        return with_tags(line, self.scheme.from_bio(self.scheme.to_bio(line.tags) if own else line.tags, self.labels))

    @cached_property
    def scheme(self) -> Scheme:
        """How the labels are written. Raises InputError if they name no entities."""
        return recognise(self.labels, lambda tag: "the labels of the model")

    def measure(self, model, examples, device):
        """Precision, recall and F1 of whole entities."""
        return measure_tags(model, examples, self.labels, device)

    def predict(
        self, model, examples, tokenizer, max_length, *, truncate=False, where="the texts", places=None, note=unheard
    ):
        """The entities of each text. An example may also be a `TaggedLine`: then its own tokens are tagged, and its text is
        what `as_shown` makes of them."""
        scheme = self.scheme
        self.check_units([example for example in examples if isinstance(example, TaggedLine)], where, note)
        cut = [
            self.cut(example, tokenizer, f"text {(i if places is None else places[i]) + 1} of {where}", note)
            for i, example in enumerate(examples)
        ]
        lines = [TaggedLine([text[a:b] for a, b in spans], [self.labels[0]] * len(spans)) for text, spans in cut]
        encoded = encode_tagged(lines, self.labels, tokenizer, max_length, where, note)
        guessed = predicted_tags(model, encoded, self.labels, next(model.parameters()).device)
        return [
            Prediction(text, shown(found := found_entities(text, spans, scheme.to_bio(tags))), None, found)
            for (text, spans), tags in zip(cut, guessed, strict=True)
        ]

    def cut(
        self, example: Example | TaggedLine, tokenizer: Tokenizer, name: str, note: Note = unheard
    ) -> tuple[str, list[Span]]:
        """A text and the offsets of its units. Raises InputError for Chinese without spaces if the units are words."""
        if isinstance(example, TaggedLine):
            return as_shown(example.tokens, self.units, self.longest_word)
        text = example.text
        spans = tokenizer.words_of(text) if self.units == TOKENIZER else rule_named(self.units)(text)
        if self.longest_word and (longest := longest_unspaced(text)) > self.longest_word:
            what = f"{longest} characters without a space, and the model was trained on words of at most {self.longest_word}"
            raise InputError(
                f"{name} has {what}: put spaces between the words, or give a CoNLL file of words with --file."
            )
        if self.longest_word and longest_unspaced(text) > 1 and not text.strip().count(" "):
            note(f"{name} has no space, so what stands between its punctuation marks was taken as one word.")
        return text, spans


def task_of(head: HeadConfig) -> Task:
    """The task that a classifier with this head was trained for."""
    if isinstance(head, TextHeadConfig):
        return TextTask(head.labels, head.pairs)
    if isinstance(head, VerbaliserConfig):
        from minilm.training.prompt_task import PromptTask  # it is a TextTask

        return PromptTask(head.labels, template=head.template)
    assert isinstance(head, TokenHeadConfig)
    return TokenTask(head.labels, head.units, head.longest_word)


def found_entities(text: str, spans: list[Span], tags: list[str]) -> tuple[Entity, ...]:
    """The entities that BIO tags of the units mark in a text."""
    borders = [(kind, spans[first][0], spans[last - 1][1]) for kind, first, last in entities(tags)]
    return tuple(Entity(kind, text[start:end], start, end) for kind, start, end in borders)


def shown(found: Sequence[Entity], offsets: bool = False) -> str:
    """Entities as "PER 江泽民, LOC 北京", or with offsets as "PER 江泽民 0–3, LOC 北京 4–6"; a dash if there are none."""
    return ", ".join(f"{e.kind} {e.text}" + (f" {e.start}–{e.end}" if offsets else "") for e in found) or "–"
