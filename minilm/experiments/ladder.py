"""One honest table: the same task, the same labels, the same test set, and one model per rung."""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from tqdm import tqdm

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.experiments.intervals import f1_interval
from minilm.experiments.table import HIGH, LOW, over_seeds
from minilm.files.atomic import write_json
from minilm.files.processes import end_with_parent
from minilm.files.tensors import read_json
from minilm.models.config import parameter_count
from minilm.models.heads import Classifier
from minilm.pretrained.protocol import save_model
from minilm.text.tokenizer import Tokenizer
from minilm.training.entity_report import MACRO, MICRO, WEIGHTED, names_in, overlaps, report
from minilm.training.inference import predicted_tags
from minilm.training.supervised import Recipe, fit
from minilm.training.task import Task
from minilm.training.tasks import TokenTask

DROPOUT = 0.1


class Outcome(NamedTuple):
    """One model, fitted once. `details` are further figures by name; for a tagger, the F1 of each kind of entity, of the
    names that its labelled lines contain, and of new ones, and the 95 % interval that other test lines would give its F1."""

    score: float
    seconds: float
    parameters: int
    details: Mapping[str, float] = {}


@dataclass(frozen=True)
class Material:
    """What the rungs of a ladder share: a task, examples to draw labelled ones from, and a test set. It never changes.

    `examples` and `test_examples` are as they were read; `pool` and `test` are the same, encoded by `tokenizer`.
    """

    task: Task
    examples: list
    test_examples: list
    tokenizer: Tokenizer
    max_length: int | None
    device: torch.device
    pool: Dataset
    test: Dataset

    @classmethod
    def encoded(
        cls, task: Task, parts: tuple[list, list], tokenizer: Tokenizer, max_length: int | None, device: torch.device
    ) -> "Material":
        """Encode the examples of both parts. Long texts are cut."""
        pool, test = (task.encode(part, tokenizer, max_length, truncate=True) for part in parts)
        return cls(task, *parts, tokenizer, max_length, device, pool, test)

    def drawn(self, labels: int, seed: int) -> list[int]:
        """The numbers of the `labels` examples that a seed draws, in order: the same ones for every rung."""
        n = len(self.examples)
        if labels > n:
            raise InputError(f"{labels:,} labels were asked for, but there are {n:,} examples to learn from.")
        return sorted(np.random.default_rng(seed).permutation(n)[:labels].tolist())

    def with_examples(self, examples: list, test_examples: list) -> "Material":
        """The same task with other examples."""
        parts = examples, test_examples
        return Material.encoded(self.task, parts, self.tokenizer, self.max_length, self.device)

    def measured(self, model: Classifier, labels: int, seed: int) -> tuple[float, dict[str, float]]:
        """The score of a model on the test set, and the details of an `Outcome`, for the labels that it was fitted to."""
        if isinstance(self.task, TokenTask):
            return self.found(predicted_tags(model, self.test, self.task.labels, self.device), labels, seed)
        score = self.task.measure(model, self.test, self.device)[self.task.metric]
        assert score is not None  # the test set of a ladder has something to find
        return score, {}

    def found(self, guessed: list[list[str]], labels: int, seed: int) -> tuple[float, dict[str, float]]:
        """The F1 of the BIO tags that were guessed for the test lines, and the details of an `Outcome`."""
        known = names_in([self.examples[i] for i in self.drawn(labels, seed)])
        rows = {row.name: row.f1 or 0.0 for row in report(self.test_examples, guessed, known)}
        bounds = f1_interval(*overlaps([line.tags for line in self.test_examples], guessed))
        rows |= dict(zip((LOW, HIGH), bounds, strict=True))
        return rows.pop(MICRO), {name: round(f1, 4) for name, f1 in rows.items() if name not in (MACRO, WEIGHTED)}

    def sample(self, labels: int, seed: int) -> Dataset:
        """These examples, encoded."""
        chosen = set(self.drawn(labels, seed))
        return self.pool.subset([i for i, owner in enumerate(self.pool.owner) if owner in chosen])


@runtime_checkable
class Climber(Protocol):
    """A row of the table, whatever stands behind it."""

    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str:
        """One line that explains it."""

    def run(self, material: Material, labels: int, seed: int) -> Outcome: ...


@dataclass(frozen=True)
class Rung:
    """A row of the table that is trained: its name, how its model is built for a seed, what is trained, and the recipe.

    `keep` is a folder for the model of the first seed; `material` takes the place of the ladder's, for a model with a
    tokenizer of its own. `epochs` (number of labels → epochs, found by `minilm bench epochs`) takes the place of the recipe's:
    few labels need more rounds. The entry for the nearest number of labels (by their ratio) counts.
    """

    name: str
    build: Callable[[Task, int], Classifier]
    trained: Literal["everything", "head"]
    recipe: Recipe
    what: str = ""
    keep: Path | None = None
    material: Material | None = None
    epochs: Mapping[int, int] = field(default_factory=dict)

    def recipe_for(self, labels: int) -> Recipe:
        """The recipe for so many labels."""
        recipe = replace(self.recipe, head_only=self.trained == "head")
        if not self.epochs:
            return recipe
        nearest = min(self.epochs, key=lambda known: (abs(math.log(known / labels)), known))
        return replace(recipe, epochs=self.epochs[nearest])

    def run(self, material: Material, labels: int, seed: int) -> Outcome:
        """Fit the model to `labels` examples, and measure it on the test set."""
        material = self.material or material
        model = self.build(material.task, seed).to(material.device)
        recipe = self.recipe_for(labels)
        seconds = fit(model, material.sample(labels, seed), recipe, seed, material.device, bar=False)
        score, details = material.measured(model, labels, seed)
        if self.keep is not None and seed == 0:
            save_model(self.keep, model.cpu(), material.tokenizer)
        return Outcome(score, seconds, parameter_count(model), details)


@dataclass(frozen=True)
class Baseline:
    """A row of the table without gradient descent: a function from the material, the labels and the seed to its outcome."""

    name: str
    score: Callable[[Material, int, int], Outcome]
    what: str = ""

    def run(self, material: Material, labels: int, seed: int) -> Outcome:
        return self.score(material, labels, seed)


def climb(
    rungs: list[Climber],
    material: Material,
    labels: tuple[int, ...],
    seeds: int,
    workers: int = 1,
    bar: bool = True,
    kept: Path | None = None,
) -> list[dict]:
    """Every rung with every number of labels and every seed: rows {model, labels, seed, <metric>, seconds, parameters, and
    the details of the outcome}.

    Each fit gets one thread, and `workers` of them run side by side: small products gain little from a second thread, and
    the figures are the same on any number of cores. With `kept`, a folder, every fit is written there, and one that is there is
    not fitted again.
    """
    rows: list[dict] = []
    metric = material.task.metric
    jobs = [(rung, count, seed) for count in labels for rung in rungs for seed in range(seeds)]
    progress = tqdm(total=len(jobs), desc="fine-tuning", unit="model", disable=None if bar else True, leave=False)
    with pool_of(workers) as submit, progress:
        waiting = [(rung, count, submit(remembered, kept, rung, material, count, seed)) for rung, count, seed in jobs]
        for i, (rung, count, outcome) in enumerate(waiting):
            rows.append(row_of(rung.name, count, i % seeds, metric, outcome()))
            progress.update()
            if i % seeds == seeds - 1:
                scores = [row[metric] for row in rows[-seeds:]]
                progress.write(f"{count:6,} labels  {rung.name:44} {over_seeds(scores)}")
    return rows


def row_of(model: str, labels: int, seed: int, metric: str, outcome: Outcome) -> dict:
    """An outcome as a row of the table."""
    facts = {"model": model, "labels": labels, "seed": seed, metric: round(outcome.score, 4)}
    return facts | {"seconds": round(outcome.seconds, 1), "parameters": outcome.parameters} | dict(outcome.details)


def rows_kept(kept: Path, rungs: list[Climber], labels: Sequence[int], seeds: int, metric: str) -> list[dict]:
    """The rows of those fits that are in the folder `kept`; nothing is fitted."""
    jobs = [(rung.name, count, seed) for count in labels for rung in rungs for seed in range(seeds)]
    found = [(job, path) for job in jobs if (path := fit_file(kept, *job)).exists()]
    return [row_of(*job, metric, Outcome(**read_json(path))) for job, path in found]


def fit_file(kept: Path, model: str, labels: int, seed: int) -> Path:
    """Where a fit is kept."""
    name = re.sub(r"\W+", "-", model.lower())
    return kept / f"{name}-{labels}-{seed}.json"


def remembered(kept: Path | None, rung: Climber, material: Material, labels: int, seed: int) -> Outcome:
    """The outcome of a fit, from the folder `kept` if it is there."""
    if kept is None:
        return rung.run(material, labels, seed)
    path = fit_file(kept, rung.name, labels, seed)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        outcome = rung.run(material, labels, seed)
        write_json(path, outcome._asdict() | {"details": dict(outcome.details)})
    return Outcome(**read_json(path))


@contextmanager
def pool_of(workers: int) -> Iterator[Callable[..., Callable[[], Any]]]:
    """submit(function, *arguments) → a function that waits for its value. The workers end when this process does."""
    if workers == 1:
        yield lambda function, *arguments: partial(function, *arguments)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=worker_begins) as pool:
        try:
            yield lambda function, *arguments: pool.submit(function, *arguments).result
        except BaseException:  # Ctrl-C, or a fit that failed: what still waits is not started
            pool.shutdown(cancel_futures=True)
            raise


def with_every_seed(one_seed: Callable[[Any, int], Any], options: Any, title: str, workers: int) -> list:
    """`one_seed(options, seed)` for each of `options.seeds` seeds, side by side, with one bar (`options.progress`) for all."""
    alone = replace(options, progress=options.progress and workers == 1)
    found, hidden = [], None if options.progress else True
    bar = tqdm(total=options.seeds, desc=title, unit="seed", disable=hidden, leave=False)
    with pool_of(workers) as submit, bar:
        for wait in [submit(one_seed, alone, seed) for seed in range(options.seeds)]:
            found.append(wait())
            bar.update()
    return found


def worker_begins() -> None:
    """What a worker does first."""
    torch.set_num_threads(1)
    end_with_parent()


def workers_for(device: torch.device) -> int:
    """One fit per core, at most four; one at a time if a graphics card does the work."""
    return min(4, os.cpu_count() or 1) if device.type == "cpu" else 1
