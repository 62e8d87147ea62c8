"""How good a model is: the metrics of F30, computed by scikit-learn and seqeval."""

import warnings

import torch
from seqeval.metrics import f1_score as entity_f1, precision_score as entity_precision, recall_score as entity_recall
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

from minilm.examples.batching import Dataset
from minilm.text.tag_schemes import recognise
from minilm.training.inference import predicted_labels, predicted_tags, true_tags

Measured = dict[str, float | None]  # figures by their names; None is 0 divided by 0


def measure_texts(model: nn.Module, examples: Dataset, device: torch.device) -> Measured:
    """Accuracy, and the mean of the F1 of all classes."""
    guessed = predicted_labels(model, examples, device)
    return {
        "accuracy": float(accuracy_score(examples.labels, guessed)),
        "macro_f1": float(f1_score(examples.labels, guessed, average="macro", zero_division=0)),
    }


def measure_tags(model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device) -> Measured:
    """Precision, recall and F1 of whole entities. An entity is correct if all its words and its kind are.

    The model's tags may follow any scheme of `text/tag_schemes.py`.
    """
    return entity_scores(*bio_tags(model, examples, tags, device))


def bio_tags(
    model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device
) -> tuple[list[list[str]], list[list[str]]]:
    """The true and the guessed tags of each line, as BIO."""
    scheme = recognise(tags, lambda tag: "the labels of the model")
    true, guessed = true_tags(examples, tags), predicted_tags(model, examples, tags, device)
    return [scheme.to_bio(line) for line in true], [scheme.to_bio(line) for line in guessed]


def entity_scores(true: list[list[str]], guessed: list[list[str]]) -> Measured:
    """Precision, recall and F1 of whole entities, from the BIO tags of each line.

    A figure that would be 0 divided by 0 is None: the precision of a model that finds nothing, the recall on data without
    entities, and F1 if both are so.
    """
    with warnings.catch_warnings():  # it warns of what is None here
        warnings.simplefilter("ignore")
        f1, precision, recall = (float(score(true, guessed)) for score in (entity_f1, entity_precision, entity_recall))
    any_true, any_guessed = any(map(entities, true)), any(map(entities, guessed))
    return {
        "f1": f1 if any_true or any_guessed else None,
        "precision": precision if any_guessed else None,
        "recall": recall if any_true else None,
    }


def entities(tags: list[str]) -> list[tuple[str, int, int]]:
    """(type, first, last + 1) of each entity in the BIO tags of a line."""
    return [(kind, first, last + 1) for kind, first, last in get_entities(tags)]
