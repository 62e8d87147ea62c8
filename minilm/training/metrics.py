"""How good is a model? The metrics of F30, computed by scikit-learn and seqeval."""

import warnings

import torch
from seqeval.metrics import f1_score as entity_f1, precision_score as entity_precision, recall_score as entity_recall
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

from minilm.examples.batching import Dataset
from minilm.training.inference import predicted_labels, predicted_tags, true_tags


def measure_texts(model: nn.Module, examples: Dataset, device: torch.device) -> dict[str, float]:
    """Accuracy, and the mean of the classes' F1."""
    guessed = predicted_labels(model, examples, device)
    return {
        "accuracy": float(accuracy_score(examples.labels, guessed)),
        "macro_f1": float(f1_score(examples.labels, guessed, average="macro", zero_division=0)),
    }


def measure_tags(model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device) -> dict[str, float]:
    """Precision, recall and F1 of whole entities: an entity is right if all its words and its kind are right."""
    return entity_scores(true_tags(examples, tags), predicted_tags(model, examples, tags, device))


def entity_scores(true: list[list[str]], guessed: list[list[str]]) -> dict[str, float]:
    """Precision, recall and F1 of whole entities, from the tags of each line."""
    with warnings.catch_warnings():  # a model that finds nothing has a precision of 0; there is no need to warn
        warnings.simplefilter("ignore")
        return {
            "f1": float(entity_f1(true, guessed)),
            "precision": float(entity_precision(true, guessed)),
            "recall": float(entity_recall(true, guessed)),
        }
