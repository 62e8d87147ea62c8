"""What an experiment of the lab consists of, and how its predictions are judged.  F36."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Records = Sequence[Mapping[str, Any]]


class Verdict(NamedTuple):
    """Whether a prediction came true, and the figures that say so."""

    held: bool
    figures: str


@dataclass(frozen=True)
class Prediction:
    """A sentence that is printed before anything runs, and how it is judged afterwards, from all records."""

    says: str
    judge: Callable[[Records], Verdict]


@dataclass(frozen=True)
class Experiment:
    """Models that are trained alike but for one thing, so that what appears in one arm and not in another has a cause.

    `fit(arm, seed, share, bar)` trains the model of an arm for this share of its steps, and returns its record: "arm", "seed",
    "seconds" (of the processor), "parameters", the `figures` of the table, and whatever `draw` and the predictions need, all as
    plain numbers and lists, since it becomes JSON. `draw(records, folder)` writes pictures and returns their names.
    """

    name: str
    question: str
    definition: str  # what the documents call emergence, which this experiment tests
    arms: Mapping[str, str]  # name → what is different in it
    predictions: Sequence[Prediction]
    fit: Callable[..., dict]
    figures: Mapping[str, str]  # name → how it is written
    draw: Callable[[Records, Path], list[str]]
    how_to_read: str  # what the columns mean
    pretrained: bool = False  # whether `fit` is also given `runs`, the folders of pretrained models (`abilities.Runs`)


def of(records: Records, arm: str, figure: str) -> np.ndarray:
    """A figure of all seeds of an arm."""
    return np.array([record[figure] for record in records if record["arm"] == arm])


def listed(values: np.ndarray, form: str = "{:.2f}") -> str:
    """As "0.01, 0.02, 0.01", with a dash where there is no figure."""
    return ", ".join("–" if np.isnan(value) else form.format(value) for value in values)
