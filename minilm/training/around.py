"""An objective around another one: it adds something to the loss, and is the other one in everything else."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from minilm.examples.batching import Batch
from minilm.training.loop import Step
from minilm.training.objective import Objective


class Around:
    """The objective inside. What comes around it overrides `step`."""

    def __init__(self, objective: Objective):
        self.objective = objective

    @property
    def curves(self) -> tuple[str, ...]:
        return self.objective.curves

    def at(self, progress: float) -> Any:
        self.objective = self.objective.at(progress)
        return self

    def step(self, model: nn.Module, batch: Batch) -> Step:
        return self.objective.step(model, batch)

    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        return self.objective.measure(model, batches)

    def summary(self, measured: dict[str, float]) -> str:
        return self.objective.summary(measured)
