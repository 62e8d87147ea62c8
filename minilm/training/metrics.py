"""How good a model is: the metrics of F30, computed by scikit-learn and seqeval."""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from seqeval.metrics import f1_score as entity_f1, precision_score as entity_precision, recall_score as entity_recall
from seqeval.metrics.sequence_labeling import get_entities
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, mean_squared_error, r2_score
from torch import nn

from minilm.examples.batching import Dataset
from minilm.text.tag_schemes import recognise
from minilm.training.inference import predicted_labels, predicted_tags, true_tags

Measured = dict[str, float | None]  # figures by their names; None is 0 divided by 0


def measure_texts(model: nn.Module, examples: Dataset, device: torch.device) -> Measured:
    """Accuracy, and the mean of the F1 of all classes."""
    return text_scores(examples.labels, predicted_labels(model, examples, device))


def text_scores(true: Sequence | np.ndarray, guessed: Sequence | np.ndarray) -> Measured:
    """Accuracy, and the mean of the F1 of all classes that occur, from the class of each text (or of each word)."""
    return {
        "accuracy": float(accuracy_score(true, guessed)),
        "macro_f1": float(f1_score(true, guessed, average="macro", zero_division=0)),
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


def several_scores(true: Sequence | np.ndarray, guessed: Sequence | np.ndarray) -> Measured:
    """Micro and macro F1 over K labels, and the share of texts whose labels are all right, from zeros and ones [N, K].

    The macro F1 is the mean over the labels that occur, in the data or among the guesses.
    """
    true, guessed = np.asarray(true), np.asarray(guessed)
    held = np.flatnonzero(true.any(0) | guessed.any(0))
    f1 = {
        average: float(f1_score(true[:, held], guessed[:, held], average=average, zero_division=0))
        if len(held)
        else None
        for average in ("micro", "macro")
    }
    return {"micro_f1": f1["micro"], "macro_f1": f1["macro"], "all_right": float((true == guessed).all(axis=1).mean())}


def number_scores(true: Sequence | np.ndarray, guessed: Sequence | np.ndarray) -> Measured:
    """The mean squared error, the mean absolute error, and R², which is None if all true numbers are the same."""
    true, guessed = np.asarray(true, dtype=np.float64), np.asarray(guessed, dtype=np.float64)
    return {
        "r2": float(r2_score(true, guessed)) if true.std() > 0 else None,
        "mse": float(mean_squared_error(true, guessed)),
        "mae": float(mean_absolute_error(true, guessed)),
    }


def words_of(tags: Sequence[str]) -> list[tuple[int, int]]:
    """(first, last + 1) of each word in the tags B, M, E, S of a line.

    A word begins at B or S, and behind E or S. So every character is in one word, even if the tags contradict each other.
    """
    starts = [i for i, tag in enumerate(tags) if i == 0 or tag in "BS" or tags[i - 1] in "ES"]
    return list(itertools.pairwise([*starts, len(tags)]))


def word_scores(true: list[list[str]], guessed: list[list[str]]) -> Measured:
    """Precision, recall and F1 of whole words, from the tags B, M, E, S of each line; None is 0 divided by 0."""
    T, G = ({(i, *word) for i, tags in enumerate(lines) for word in words_of(tags)} for lines in (true, guessed))
    both = len(T & G)
    return {
        "f1": 2 * both / (len(T) + len(G)) if T or G else None,
        "precision": both / len(G) if G else None,
        "recall": both / len(T) if T else None,
    }
