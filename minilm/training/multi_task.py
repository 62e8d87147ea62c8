r"""Two tasks, two heads, one encoder: what helps with the second task may help with the first.  F28.

    L(θ, W¹, W²) = L₁(θ, W¹) + w · L₂(θ, W²)        so   ∂L/∂θ = ∂L₁/∂θ + w · ∂L₂/∂θ

Every step takes one batch of each task. The encoder gets the sum of both gradients, each head its own alone.

Sources:  Caruana (1997), Multitask Learning; Liu et al. (2019), Multi-Task Deep Neural Networks for Natural Language Understanding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from minilm.examples.batching import Batch, Dataset
from minilm.training.around import Around
from minilm.training.loop import Step
from minilm.training.objective import Objective
from minilm.training.objectives import Classification


@dataclass(frozen=True)
class SecondTask:
    """A model on the encoder of the first one, the batch of each of its steps, what it is trained for, and its weight w."""

    model: nn.Module
    batch_at: Callable[[int], Batch]
    objective: Objective = Classification()
    weight: float = 1.0


def endless(examples: Dataset, size: int, seed: int) -> Callable[[int], Batch]:
    """A function from the number of a step to its batch: one epoch after another, each in a new order."""
    rng = np.random.default_rng(seed)
    order: list[np.ndarray] = []

    def batch_at(step: int) -> Batch:
        while step >= len(order):
            order.extend(examples.shuffled(size, rng))
        return examples.batch(order[step])

    return batch_at


class TwoTasks(Around):
    """The loss of the first task and w times that of the second."""

    def __init__(self, objective: Objective, second: SecondTask):
        super().__init__(objective)
        self.second, self.steps = second, 0

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """Both losses to minimise, and both to display."""
        first, second = self.objective.step(model, batch), self.second
        other = second.batch_at(self.steps).to(batch.input_ids.device)
        self.steps += 1
        more = second.objective.step(second.model, other)
        shown = {f"second {name}": value for name, value in more.shown.items()}
        loss = first.loss + second.weight * more.loss
        return replace(first, loss=loss, shown=first.shown | shown, tokens=first.tokens + more.tokens)


@contextmanager
def beside(model: Any, second: SecondTask | None) -> Iterator[None]:
    """While it lasts, the second model is a part of the first, so that its head is trained, moved and saved with it."""
    if second is not None:
        model.beside = second.model
    try:
        yield
    finally:
        if second is not None:
            del model.beside
            second.model.eval()
