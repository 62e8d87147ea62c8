"""The watch of a race: a clock that stands still while a model is measured, and the curve of what was measured."""

import time

from torch import nn

from minilm.bench.options import BenchOptions
from minilm.examples.batching import Batch
from minilm.training.objectives import BertPretraining


class Watch:
    """The clock of one contender, which starts now and stands still while its model is measured, and its curve."""

    def __init__(self, held_out: list[Batch], options: BenchOptions):
        self.held_out, self.target = held_out, options.target
        self.every, self.limit = options.every_seconds, 60 * options.limit_minutes
        self.rows: list[dict] = []
        self.over = False
        self.paused, self.began = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long the clock has run."""
        return time.perf_counter() - self.began - self.paused

    def look(self, model: nn.Module, step: int, last: bool = False) -> bool:
        """Measure the model if it is time to, or if this is the `last` step. True if its race is over: it has reached the
        target, or the time is up."""
        seconds = self.seconds
        due = not self.rows or seconds >= self.rows[-1]["seconds"] + self.every or seconds >= self.limit
        if not due and not last:
            return False
        started = time.perf_counter()
        loss = BertPretraining(0.0).measure(model, self.held_out)["mlm_loss"]
        self.rows.append({"step": step, "seconds": seconds, "mlm_loss": loss})
        self.over = loss <= self.target or seconds >= self.limit
        self.paused += time.perf_counter() - started
        return self.over
