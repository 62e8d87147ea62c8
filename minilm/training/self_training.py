r"""Self-training: a fitted model labels texts that nobody has labelled, and a new one learns from both.  F01.

    teacher  = fit(labelled)
    labelled⁺ = labelled ∪ { (x, argmaxₖ ŷ(k ∣ x)) : x unlabelled, maxₖ ŷ(k ∣ x) ≥ confidence }
    student  = fit(labelled⁺)

A model cannot see its own mistakes: what it is sure of and gets wrong, it teaches. The confidence keeps most of that out.

Sources:  Scudder (1965), Probability of Error of Some Adaptive Pattern-Recognition Machines; Lee (2013), Pseudo-Label.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.training.inference import probabilities


def sure_of(model: nn.Module, unlabelled: Dataset, confidence: float, device: torch.device | None = None) -> Dataset:
    """The texts whose most probable class has at least the probability `confidence`, with this class as their label.

    Labels that the texts may have are not looked at. Raises InputError for a confidence that is not above 0 and at most 1.
    """
    if not 0 < confidence <= 1:
        raise InputError(f"confidence must be above 0 and at most 1, not {confidence}.")
    y_hat = np.array(probabilities(model, unlabelled, device)).reshape(len(unlabelled), -1)  # [N, K]
    sure = [i for i, row in enumerate(y_hat) if row.max() >= confidence]
    found = unlabelled.subset(sure)
    labels = [int(y_hat[i].argmax()) for i in sure]
    return Dataset({**found.columns, "labels": labels}, found.pad_values, found.owner)


def agreed(guesses: Sequence[Sequence[list[str]]]) -> list[int]:
    """The numbers of the lines to which every model of `guesses` gives the same tags, and at least one.

    `guesses` are the tags of all lines by each model, as `predicted_tags` gives them.
    """
    first, *others = guesses
    return [i for i, tags in enumerate(first) if tags and all(other[i] == tags for other in others)]


def together(a: Dataset, b: Dataset) -> Dataset:
    """The rows of both, those of `a` first. The owners of `b` are counted on, so that no two examples have the same number."""
    columns = {name: [*a.columns[name], *b.columns[name]] for name in a.columns}
    first = max(a.owner, default=-1) + 1
    return Dataset(columns, a.pad_values, [*a.owner, *(first + owner for owner in b.owner)])
