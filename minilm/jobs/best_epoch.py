"""One line per epoch on a development part, which also decides which epoch is kept.  F30."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import nn

from minilm.examples.batching import Dataset
from minilm.jobs.evaluate import shown
from minilm.training.objectives import Classification
from minilm.training.task import Task


@dataclass
class BestEpoch:
    """Measures a model on the development part after every epoch, and says so. `measured` keeps the figures of all epochs."""

    task: Task
    development: Dataset
    epochs: int
    device: torch.device
    say: Callable[[str], None] = print
    measured: list[dict] = field(default_factory=list)
    best: float = float("-inf")

    def __call__(self, model: nn.Module) -> float:
        """The figure by which epochs are compared: larger is better."""
        batches = (self.development.batch(chosen).to(self.device) for chosen in self.development.in_order())
        loss = Classification().measure(model, batches)["loss"]
        found = self.task.measure(model, self.development, self.device)
        score = self.task.better(found)
        better, self.best = score > self.best, max(score, self.best)
        self.measured.append({"epoch": len(self.measured) + 1, "loss": loss, **found})
        best = " · the best so far" if better else ""
        self.say(f"epoch {len(self.measured)} of {self.epochs}: development loss {loss:.3f}, {shown(found)}{best}")
        return score
