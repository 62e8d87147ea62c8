r"""What an objective consists of; those that there are stand in `training/objectives.py`.

An objective is all that `training/run.py` needs to know about what is learned:
    step(model, batch)       the loss to minimise, the values to display, and the number of tokens processed
    at(progress)             the objective when this share of the run, from 0 to 1, is done: most are always the same
    measure(model, batches)  figures over held-out batches, by name; the model is left in evaluation mode
    summary(measured)        the most telling of these figures, in a few words
    curves                   the names of the figures that are drawn over the course of a run
"""

import math
from collections.abc import Iterable
from typing import Any, Protocol, runtime_checkable

from torch import nn

from minilm.examples.batching import Batch
from minilm.training.loop import Step
from minilm.training.losses import Loss


@runtime_checkable
class Objective(Protocol):
    """See the top of the file."""

    @property
    def curves(self) -> tuple[str, ...]: ...

    def step(self, model: nn.Module, batch: Batch) -> Step: ...

    def at(self, progress: float) -> "Objective": ...

    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]: ...

    def summary(self, measured: dict[str, float]) -> str: ...


@runtime_checkable
class Accumulable(Objective, Protocol):
    """An objective whose step may consist of several batches: its losses are means over labels that can be counted before."""

    def counts(self, batch: Batch) -> tuple[int, ...]: ...

    def parts(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, Loss]]: ...


class Unchanging:
    """An objective that is the same from the first step to the last."""

    def at(self, progress: float) -> Any:
        return self


class Mean:
    """The mean over everything that counts in several batches, which is not the mean of the batches' means."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, loss: Loss) -> None:
        self.total, self.count = self.total + float(loss.value) * loss.count, self.count + loss.count

    @property
    def value(self) -> float:
        """NaN where nothing counted, because 0 would be a perfect score."""
        return self.total / self.count if self.count else math.nan

    @classmethod
    def over(cls, objective: Any, model: nn.Module, batches: Iterable[Batch]) -> "Mean":
        """The mean of an objective's `loss(model, batch)` over everything that counts, with the model as it will be used."""
        model.eval()
        mean = cls()
        for batch in batches:
            mean.add(objective.loss(model, batch))
        return mean
