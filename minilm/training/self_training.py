r"""Self-training: fitted models label texts without labels, and a new one learns from both.  F01.

    one class per text    teacher   = fit(labelled)
                          labelled⁺ = labelled ∪ { (x, argmaxₖ ŷ(k ∣ x)) : x unlabelled, maxₖ ŷ(k ∣ x) ≥ confidence }
                          student   = fit(labelled⁺)

    a tag per word        tₖ        = fit(labelled) for k = 1 … K, each with other dropout and another head
                          labelled⁺ = labelled, several times, ∪ { (x, t₁(x)) : x unlabelled, t₁(x) = t₂(x) = … = t_K(x) }
                          student   = fit(labelled⁺)

A model cannot see its own mistakes: what it is sure of and gets wrong, it teaches. The confidence keeps most of that out. For a whole
line, one model's confidence says little: it would have to be sure of every tag. Models that differ by chance make different
mistakes, so where they all say the same, it is more often right.

Sources:  Scudder (1965), Probability of Error of Some Adaptive Pattern-Recognition Machines; Blum and Mitchell (1998), Combining
          Labeled and Unlabeled Data with Co-Training; Zhou and Li (2005), Tri-Training; Lee (2013), Pseudo-Label.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.models.heads import Classifier
from minilm.text.tagged import TaggedLine
from minilm.training.inference import predicted_tags, probabilities

APART = 100  # between the seeds of two teachers


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


@dataclass(frozen=True)
class Learner:
    """How models are made and fitted: taggers here, and in `jobs/self_training.py` classifiers, too, which need no `encode`.

    `fit` takes a model, examples, a seed and the epochs (None: as many as the teachers get), and returns the seconds that it took.
    """

    new: Callable[[int], Classifier]
    fit: Callable[[Classifier, Dataset, int, int | None], float]
    encode: Callable[[list[TaggedLine]], Dataset]
    tags: tuple[str, ...]
    device: torch.device


class Taught(NamedTuple):
    """A student, the seconds that it and its teachers took, and the lines on which these agreed: their numbers and their tags."""

    student: Classifier
    seconds: float
    chosen: list[int]
    tags: list[list[str]]


def taught_by_several(
    learner: Learner,
    labelled: Dataset,
    lines: list[TaggedLine],
    teachers: int,
    copies: int,
    epochs: int,
    seed: int,
    on_agreed: Callable[[list[TaggedLine]], object] = len,
) -> Taught:
    """Fit `teachers` models to the labelled lines, let them tag `lines`, and fit a student to both for `epochs` rounds.

    In each round the student reads every labelled line `copies` times, and once each of the others to which all teachers give the same
    tags. `on_agreed` is called with these before the student is fitted. The tags that `lines` may have are not looked at.
    """
    bare = [TaggedLine(line.tokens, [learner.tags[0]] * len(line.tokens)) for line in lines]
    unlabelled, seconds, guesses = learner.encode(bare), 0.0, []
    for k in range(teachers):
        own = seed + APART * k
        teacher = learner.new(own)
        seconds += learner.fit(teacher, labelled, own, None)
        guesses.append(predicted_tags(teacher, unlabelled, learner.tags, learner.device))
    chosen = agreed(guesses)
    tagged = [TaggedLine(bare[i].tokens, guesses[0][i]) for i in chosen]
    on_agreed(tagged)
    learn = labelled
    for more in [labelled] * (copies - 1) + [learner.encode(tagged)] * bool(tagged):
        learn = together(learn, more)
    student = learner.new(seed)
    seconds += learner.fit(student, learn, seed, epochs)
    return Taught(student, seconds, chosen, [line.tags for line in tagged])
