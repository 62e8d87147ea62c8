"""Tasks that label every unit of a text: entities, parts of speech, borders of words.  F07, F28, F30, F31."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from minilm.errors import InputError
from minilm.examples.labelled import encode_tagged
from minilm.files.notes import Note, unheard
from minilm.models.heads import TokenHeadConfig
from minilm.text.files import Example
from minilm.text.segmentation import RULES, TOKENIZER, Span, rule_named
from minilm.text.segmentation_choice import ENOUGH, as_shown, choose_rule, longest_unspaced, share_given_back
from minilm.text.tag_schemes import BIO, Scheme, recognise
from minilm.text.tagged import TaggedLine, with_tags
from minilm.text.tokenizer import Tokenizer
from minilm.training.entity_report import as_markdown, label_rows, report
from minilm.training.inference import predicted_tags, true_tags
from minilm.training.metrics import bio_tags, entities, entity_scores, measure_tags, text_scores, word_scores, words_of
from minilm.training.task import Entity, Prediction, Task


@dataclass(frozen=True)
class UnitTask(Task):
    """What the tasks share that label every unit of a text.

    `units` and `longest_word` say how a text is cut into units; see `TokenHeadConfig`.
    """

    units: str = TOKENIZER
    longest_word: int = 0
    per_token: ClassVar[bool] = True
    marks: ClassVar[str]  # what the labels say, as `TokenHeadConfig` names it

    @classmethod
    def learnt_from(
        cls, labels: tuple[str, ...], examples: list[TaggedLine], where: str = "the data", note: Note = unheard
    ) -> "UnitTask":
        """The task whose units are those of the training data. `note` is told how text will be cut."""
        choice = choose_rule([line.tokens for line in examples])
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
        steps = self.allowed_steps() if crf_constraints else []
        allowed = tuple("".join("01"[step] for step in row) for row in steps)
        return TokenHeadConfig(self.labels, dropout, self.units, self.longest_word, crf, allowed, self.marks)

    def allowed_steps(self) -> list[list[bool]]:
        """Which step from label to label is possible, [K + 1][K + 1]; see `Scheme.allowed_steps`."""
        raise NotImplementedError

    def in_own_tags(self, line: TaggedLine) -> TaggedLine:
        """The line with its tags written as the labels of the model are."""
        return line

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
            raise InputError(f"{name} has {what}: put spaces between the words, or give a CoNLL file of words.")
        if self.longest_word and longest_unspaced(text) > 1 and not text.strip().count(" "):
            note(f"{name} has no space, so what stands between its punctuation marks was taken as one word.")
        return text, spans

    def cut_and_tagged(
        self, model, examples, tokenizer: Tokenizer, max_length: int | None, where: str, places, note: Note
    ) -> list[tuple[str, list[Span], list[str]]]:
        """Of each text: the text, the offsets of its units, and the label that the model gives each of them. An example may also
        be a `TaggedLine`: then its own tokens are labelled, and its text is what `as_shown` makes of them."""
        self.check_units([example for example in examples if isinstance(example, TaggedLine)], where, note)
        cut = [
            self.cut(example, tokenizer, f"text {(i if places is None else places[i]) + 1} of {where}", note)
            for i, example in enumerate(examples)
        ]
        lines = [TaggedLine([text[a:b] for a, b in spans], [self.labels[0]] * len(spans)) for text, spans in cut]
        encoded = encode_tagged(lines, self.labels, tokenizer, max_length, where, note)
        guessed = predicted_tags(model, encoded, self.labels, next(model.parameters()).device)
        return [(text, spans, tags) for (text, spans), tags in zip(cut, guessed, strict=True)]


@dataclass(frozen=True)
class TokenTask(UnitTask):
    """One tag per unit of the text, from which entities are read.

    The labels follow any scheme of `text/tag_schemes.py`; the tags of examples are BIO, or the labels themselves.
    """

    name, metric, marks = "token", "f1", "entities"

    def allowed_steps(self):
        return self.scheme.allowed_steps(self.labels)

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

    def reported(self, model, encoded, device, examples, known=None):
        """With a row for each kind of entity."""
        true, guessed = bio_tags(model, encoded, self.labels, device)
        lines = [with_tags(line, tags) for line, tags in zip(examples, true, strict=True)]
        rows = report(lines, guessed, known)
        return entity_scores(true, guessed), as_markdown(rows) if rows else ""

    def predict(
        self, model, examples, tokenizer, max_length, *, truncate=False, where="the texts", places=None, note=unheard
    ):
        """The entities of each text, or of the tokens of a `TaggedLine`."""
        found = []
        scheme = self.scheme
        for text, spans, tags in self.cut_and_tagged(model, examples, tokenizer, max_length, where, places, note):
            marked = found_entities(text, spans, scheme.to_bio(tags))
            found.append(Prediction(text, shown(marked), None, marked))
        return found


@dataclass(frozen=True)
class TagTask(UnitTask):
    """One label per unit of the text, each by itself, such as the part of speech of a word."""

    name, metric, marks = "tag", "accuracy", "tags"

    def allowed_steps(self):
        raise InputError(
            "constraints are for tags that say where something begins and ends: leave out --crf-constraints."
        )

    def measure(self, model, examples, device):
        """The share of the units that get their own label, and the mean of the F1 of all labels."""
        true, guessed = self.all_tags(model, examples, device)
        return text_scores(true, guessed)

    def reported(self, model, encoded, device, examples, known=None):
        """With a row for each label."""
        number = {label: k for k, label in enumerate(self.labels)}
        true, guessed = ([number[tag] for tag in tags] for tags in self.all_tags(model, encoded, device))
        return text_scores(true, guessed), as_markdown(label_rows(true, guessed, self.labels), "label")

    def all_tags(self, model, examples, device) -> tuple[list[str], list[str]]:
        """The true and the guessed label of every unit, line after line."""
        true, guessed = true_tags(examples, self.labels), predicted_tags(model, examples, self.labels, device)
        return sum(true, []), sum(guessed, [])

    def predict(
        self, model, examples, tokenizer, max_length, *, truncate=False, where="the texts", places=None, note=unheard
    ):
        """Every unit with its label, as "在/p 北京/ns"."""
        found = []
        for text, spans, tags in self.cut_and_tagged(model, examples, tokenizer, max_length, where, places, note):
            labels = tuple(Entity(tag, text[a:b], a, b) for tag, (a, b) in zip(tags, spans, strict=True))
            line = " ".join(f"{each.text}/{each.kind}" for each in labels) or "–"
            found.append(Prediction(text, line, None, labels, line))
        return found


BORDERS = ("B", "E", "M", "S")  # begins a word, ends it, is inside it, is one alone


@dataclass(frozen=True)
class WordTask(UnitTask):
    """Which characters begin, continue and end a word, or are one alone: B, M, E, S. It measures whole words.

    Source: Xue (2003), Chinese word segmentation as character tagging.
    """

    name, metric, marks = "word", "f1", "words"

    def __post_init__(self) -> None:
        if odd := [label for label in self.labels if label not in BORDERS]:
            raise InputError(f"the borders of words are written B, M, E and S, and there is the tag {odd[0]!r}.")

    def allowed_steps(self):
        begins, ends = [label in "BS" for label in self.labels], [label in "ES" for label in self.labels]
        rows = [[end == begin for begin in begins] + [end] for end in ends]
        return [*rows, [*begins, True]]  # a line begins with a word, and ends with one

    def measure(self, model, examples, device):
        """Precision, recall and F1 of whole words: both borders have to be right."""
        return word_scores(true_tags(examples, self.labels), predicted_tags(model, examples, self.labels, device))

    def predict(
        self, model, examples, tokenizer, max_length, *, truncate=False, where="the texts", places=None, note=unheard
    ):
        """The words of each text, with two spaces between them, and their offsets."""
        found = []
        for text, spans, tags in self.cut_and_tagged(model, examples, tokenizer, max_length, where, places, note):
            offsets = [(spans[a][0], spans[b - 1][1]) for a, b in words_of(tags)]
            words = tuple(Entity("word", text[a:b], a, b) for a, b in offsets)
            line = "  ".join(word.text for word in words) or "–"
            found.append(Prediction(text, line, None, words, line))
        return found


def found_entities(text: str, spans: list[Span], tags: list[str]) -> tuple[Entity, ...]:
    """The entities that BIO tags of the units mark in a text."""
    borders = [(kind, spans[first][0], spans[last - 1][1]) for kind, first, last in entities(tags)]
    return tuple(Entity(kind, text[start:end], start, end) for kind, start, end in borders)


def shown(found: Sequence[Entity], offsets: bool = False) -> str:
    """Entities as "PER 江泽民, LOC 北京", or with offsets as "PER 江泽民 0–3, LOC 北京 4–6"; a dash if there are none."""
    return ", ".join(f"{e.kind} {e.text}" + (f" {e.start}–{e.end}" if offsets else "") for e in found) or "–"
