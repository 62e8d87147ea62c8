"""How good a model is: the metrics of F30, computed by scikit-learn and seqeval."""

import warnings

import torch
from seqeval.metrics import f1_score as entity_f1, precision_score as entity_precision, recall_score as entity_recall
from sklearn.metrics import accuracy_score, f1_score
from torch import nn

from minilm.examples.batching import Dataset
from minilm.training.inference import predicted_labels, predicted_tags, true_tags


def measure_texts(model: nn.Module, examples: Dataset, device: torch.device) -> dict[str, float]:
    """Accuracy, and the mean of the F1 of all classes."""
    guessed = predicted_labels(model, examples, device)
    return {
        "accuracy": float(accuracy_score(examples.labels, guessed)),
        "macro_f1": float(f1_score(examples.labels, guessed, average="macro", zero_division=0)),
    }


def measure_tags(model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device) -> dict[str, float]:
    """Precision, recall and F1 of whole entities. An entity is correct if all its words and its kind are."""
    return entity_scores(true_tags(examples, tags), predicted_tags(model, examples, tags, device))


def entity_scores(true: list[list[str]], guessed: list[list[str]]) -> dict[str, float]:
    """Precision, recall and F1 of whole entities, from the tags of each line."""
    with warnings.catch_warnings():  # if a model finds nothing, its precision is 0, and no warning is needed
        warnings.simplefilter("ignore")
        return {
            "f1": float(entity_f1(true, guessed)),
            "precision": float(entity_precision(true, guessed)),
            "recall": float(entity_recall(true, guessed)),
        }
