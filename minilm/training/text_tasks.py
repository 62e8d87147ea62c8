"""Tasks about whole texts: one class, several labels, a number, the relation of two entities.  F04, F05, F07, F28, F30."""

from dataclasses import dataclass, replace

import numpy as np

from minilm.errors import InputError
from minilm.examples.labelled import encode_texts, refuse_unknown
from minilm.examples.labels import IGNORED
from minilm.files.notes import unheard
from minilm.models.heads import NUMBER, SEVERAL, TextHeadConfig
from minilm.text.relations import choose_markers, marked
from minilm.text.tables import SEPARATOR, number_of
from minilm.training.entity_report import as_markdown, label_rows
from minilm.training.inference import of_rows, predicted_labels, probabilities
from minilm.training.metrics import measure_texts, number_scores, several_scores, text_scores
from minilm.training.task import Prediction, Task


@dataclass(frozen=True)
class TextTask(Task):
    """One label per text, or per pair of texts: `pairs` says which. None means that it is not known, and both are taken."""

    pairs: bool | None = None
    name, per_token, metric, holds = "text", False, "accuracy", "text"

    @staticmethod
    def labels_of(examples):
        return [example.label for example in examples if example.label is not None]

    @classmethod
    def learnt_from(cls, labels, examples, where="the data", note=unheard):
        return cls(labels, any(example.pair is not None for example in examples))

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
        return encode_texts(examples, self.labels, tokenizer, max_length, where=where, target=self.target(), **how)

    def target(self):
        """How an example becomes its label, if it is not the number of a class; see `encode_texts`."""
        return None

    def measure(self, model, examples, device):
        """Accuracy, and the mean of the F1 of all classes."""
        return measure_texts(model, examples, device)

    def reported(self, model, encoded, device, examples, known=None):
        """With precision, recall, F1 and support of each class."""
        guessed = predicted_labels(model, encoded, device)
        rows = label_rows(encoded.labels, guessed, self.labels)
        return text_scores(encoded.labels, guessed), as_markdown(rows, "class")

    def predict(self, model, examples, tokenizer, max_length, *, where="the texts", **how):
        """The most probable label of each text, and its probability."""
        encoded = self.encode(examples, tokenizer, max_length, where=where, **how)
        rows = probabilities(model, encoded, next(model.parameters()).device)
        return [
            Prediction(example.text, self.labels[int(row.argmax())], float(row.max()))
            for example, row in zip(examples, rows, strict=True)
        ]


@dataclass(frozen=True)
class LabelsTask(TextTask):
    """Any number of labels per text, each a yes or no of its own: ŷₖ = σ(zₖ).  F04, F05."""

    name, metric, holds = "labels", "micro_f1", "labels"

    @staticmethod
    def labels_of(examples):
        return [label for example in examples for label in split_labels(example.label or "")]

    @classmethod
    def names_of(cls, examples, where):
        names = tuple(sorted(set(cls.labels_of(examples))))
        if not names:
            raise InputError(f"no text of {where} has a label: there is nothing to learn.")
        return names

    def head(self, dropout=0.1, pooling="mean", crf=False, crf_constraints=False):
        return replace(super().head(dropout, pooling, crf, crf_constraints), problem_type=SEVERAL)

    def target(self):
        """0 or 1 for each label; all −100 if it is not known which the text has."""
        number = {label: k for k, label in enumerate(self.labels)}

        def labels(example, name):
            if example.label is None:
                return [IGNORED] * len(number)
            given = split_labels(example.label)
            refuse_unknown(given, number, name)
            return [int(label in given) for label in number]

        return labels

    def measure(self, model, examples, device):
        """Micro and macro F1 over the labels, and the share of texts whose labels are all right."""
        return several_scores(examples.labels, self.guessed(model, examples, device))

    def guessed(self, model, examples, device):
        """Which labels each text is given, [N, K]: those whose probability is at least a half."""
        rows = of_rows(model, examples, device, lambda logits: logits.sigmoid())
        return (np.array(rows) >= 0.5).astype(int)

    def reported(self, model, encoded, device, examples, known=None):
        """With precision, recall, F1 and support of each label."""
        guessed = self.guessed(model, encoded, device)
        return several_scores(encoded.labels, guessed), as_markdown(
            label_rows(encoded.labels, guessed, self.labels), "label"
        )

    def predict(self, model, examples, tokenizer, max_length, *, where="the texts", **how):
        """The labels of each text whose probability is at least a half; a dash if there are none."""
        encoded = self.encode(examples, tokenizer, max_length, where=where, **how)
        rows = of_rows(model, encoded, next(model.parameters()).device, lambda logits: logits.sigmoid())
        found = []
        for example, row in zip(examples, rows, strict=True):
            labels = tuple((label, float(p)) for label, p in zip(self.labels, row, strict=True) if p >= 0.5)
            shown = ", ".join(f"{label} {p:.3f}" for label, p in labels) or "–"
            found.append(Prediction(example.text, shown, None, shown=shown, labels=labels))
        return found


def split_labels(text: str) -> list[str]:
    """The labels of a text that has several."""
    return [label for label in text.split(SEPARATOR) if label]


@dataclass(frozen=True)
class NumberTask(TextTask):
    """A number per text. While a model learns, the number is taken in deviations from the mean of the training examples.

    D0 §3.2 names the mean squared error.
    """

    center: float = 0.0
    scale: float = 1.0
    name, metric, holds = "number", "r2", "number"

    @classmethod
    def names_of(cls, examples, where):
        return ("number",)

    @classmethod
    def learnt_from(cls, labels, examples, where="the data", note=unheard):
        """With the mean and the deviation of the numbers that are learned from. Raises InputError if all are the same."""
        numbers = [number_of(example.label, f"a label of {where}") for example in examples]
        center, scale = float(np.mean(numbers)), float(np.std(numbers))
        if not scale > 0:
            raise InputError(f"every number of {where} is {center:g}: there is nothing to learn.")
        return cls(labels, any(example.pair is not None for example in examples), center, scale)

    def head(self, dropout=0.1, pooling="mean", crf=False, crf_constraints=False):
        plain = super(NumberTask, replace(self, labels=("number", ""))).head(dropout, pooling, crf, crf_constraints)
        return replace(plain, labels=self.labels, problem_type=NUMBER, center=self.center, scale=self.scale)

    def target(self):
        return lambda example, name: float(IGNORED) if example.label is None else number_of(example.label, name)

    def better(self, measured):
        return -(measured["mse"] or 0.0)

    def measure(self, model, examples, device):
        """The mean squared error, the mean absolute error, and R²: 1 − MSE / the variance of the true numbers."""
        return number_scores(examples.labels, self.numbers(model, examples, device))

    def numbers(self, model, examples, device):
        """What the model predicts for each text, [N]."""
        return np.array([row[0] for row in of_rows(model, examples, device, lambda logits: logits)])

    def reported(self, model, encoded, device, examples, known=None):
        return self.measure(model, encoded, device), ""

    def predict(self, model, examples, tokenizer, max_length, *, where="the texts", **how):
        """The number of each text, with four significant digits."""
        encoded = self.encode(examples, tokenizer, max_length, where=where, **how)
        numbers = self.numbers(model, encoded, next(model.parameters()).device)
        return [
            Prediction(example.text, f"{number:.4g}", None, shown=f"{number:.4g}", labels=(("number", float(number)),))
            for example, number in zip(examples, numbers, strict=True)
        ]


@dataclass(frozen=True)
class RelationTask(TextTask):
    """How two entities of a text are related: one class. The text has markers round both, `<e1>…</e1>` and `<e2>…</e2>`.

    The model sees them as two tokens that no training text has, one before and one behind each entity, and reads its answer from
    the hidden states at the first of each. Source: Baldini Soares et al. (2019), Matching the Blanks, §3.2 (entity markers, entity
    start); Zhou and Chen (2021), An Improved Baseline for Sentence-level Relation Extraction (markers from the vocabulary).
    """

    markers: tuple[int, ...] = ()
    signs: tuple[str, ...] = ()
    name, holds = "relation", "text"

    @classmethod
    def learnt_from(cls, labels, examples, where="the data", note=unheard):
        return cls(labels, False)

    def for_tokenizer(self, tokenizer, examples):
        """The task with two tokens of the vocabulary that none of the examples has. Raises InputError if there are not two."""
        signs = choose_markers(tokenizer, [example.text for example in examples])
        return replace(self, signs=signs, markers=tuple(tokenizer.ids([sign])[0][0] for sign in signs))

    def head(self, dropout=0.1, pooling="mean", crf=False, crf_constraints=False):
        plain = super().head(dropout, "mean", crf, crf_constraints)
        return replace(plain, pooling="markers", markers=self.markers)

    def encode(self, examples, tokenizer, max_length, *, where="the data", places=None, **how):
        """Raises InputError, too, for a text without both pairs of markers, and for one that is cut before the second."""
        signs = self.signs or tuple(tokenizer.tokens(self.markers))
        if len(signs) != 2:
            raise InputError("the markers of a relation are not chosen yet: call `for_tokenizer` first.")
        texts = []
        for i, example in enumerate(examples):
            name = f"text {(i if places is None else places[i]) + 1} of {where}"
            texts.append(example._replace(text=marked(example.text, signs, name)))
        encoded = super().encode(texts, tokenizer, max_length, where=where, places=places, **how)
        for i, row in enumerate(encoded.rows):
            if not {*self.markers} <= {*row}:
                raise InputError(
                    f"text {(i if places is None else places[i]) + 1} of {where} was cut before its second entity."
                )
        return encoded
