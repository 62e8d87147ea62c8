"""Tasks about whole texts: one class.  F07, F28, F30."""

from dataclasses import dataclass

from minilm.errors import InputError
from minilm.examples.labelled import encode_texts
from minilm.models.heads import TextHeadConfig
from minilm.training.entity_report import as_markdown, label_rows
from minilm.training.inference import predicted_labels, probabilities
from minilm.training.metrics import measure_texts, text_scores
from minilm.training.task import Prediction, Task


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
