"""One honest table: the same task, the same labels, the same test set, one model a rung."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from minilm.examples.labelled import LabelledSet
from minilm.jobs.finetune import measure_set
from minilm.jobs.folders import encoder_into
from minilm.models.bert import BertClassifier, BertConfig, HeadConfig, parameter_count
from minilm.models.initialisation import initialise, warm_start
from minilm.models.lstm import LSTMClassifier, LSTMConfig, LSTMTagger
from minilm.training.supervised import Recipe, fit, subset


class Outcome(NamedTuple):
    """One model, fitted once."""

    score: float
    seconds: float
    parameters: int


class Rung(NamedTuple):
    """A row of the table: its name, one line on what it is, and how to get its outcome for (labels, seed)."""

    name: str
    what: str
    run: Callable[[int, int], Outcome]


@dataclass(frozen=True)
class Study:
    """What the neural rungs share: encoded examples to draw from and to test on, and what pretraining left behind."""

    pool: LabelledSet
    test: LabelledSet
    labels: tuple[str, ...]
    kind: str  # "text" or "token"
    config: BertConfig
    vectors: np.ndarray  # word vectors [V, C]
    pretrained: Path
    recipes: dict[str, Recipe]
    device: torch.device
    progress: bool = True
    last: dict[tuple[str, str, str], nn.Module] = field(default_factory=dict)  # what each rung fitted last

    def sample(self, labels: int, seed: int) -> LabelledSet:
        """`labels` texts (or lines) of the pool, the same ones for every model."""
        owners = np.unique(self.pool.owner)
        chosen = set(np.random.default_rng(seed).permutation(owners)[:labels].tolist())
        return subset(self.pool, [i for i, owner in enumerate(self.pool.owner) if owner in chosen])

    def neural(self, what: str, start: str, recipe: str) -> Callable[[int, int], Outcome]:
        """A rung for `what` = "lstm" or "minilm", which starts from "scratch", "vectors" or "pretrained"."""

        def run(labels: int, seed: int) -> Outcome:
            model = self.lstm(seed) if what == "lstm" else self.minilm(seed)
            if start == "vectors":
                warm_start(model.embedding if what == "lstm" else model.bert.embeddings.words, self.vectors)
            if start == "pretrained":
                encoder_into(model, self.pretrained)
            model.to(self.device)
            seconds = fit(model, self.sample(labels, seed), self.recipes[recipe], seed, self.device, self.progress)
            self.last[what, start, recipe] = model
            score = measure_set(model, self.test, self.device)
            return Outcome(score["f1" if self.kind == "token" else "accuracy"], seconds, parameter_count(model))

        return run

    def lstm(self, seed: int) -> nn.Module:
        """D1's two layers of 128 (F17), on embeddings of the same width as MiniLM's; both ways for tagging."""
        config = LSTMConfig(
            vocab_size=self.config.vocab_size,
            embedding=self.config.width,
            classes=len(self.labels),
            bidirectional=self.kind == "token",
            dropout=0.1,
        )
        model = (LSTMTagger if self.kind == "token" else LSTMClassifier)(config, torch.Generator().manual_seed(seed))
        model.labels = self.labels
        return model

    def minilm(self, seed: int) -> BertClassifier:
        model = BertClassifier(replace(self.config, dropout=0.1), HeadConfig(self.labels, self.kind))
        initialise(model, generator=torch.Generator().manual_seed(seed))
        model.labels = self.labels
        return model


def climb(
    rungs: list[Rung], labels: tuple[int, ...], seeds: int, metric: str, say: Callable[[str], None]
) -> list[dict]:
    """Every rung with every number of labels and every seed: rows {model, labels, seed, metric, seconds, parameters}."""
    rows = []
    for count in labels:
        for rung in rungs:
            outcomes = [rung.run(count, seed) for seed in range(seeds)]
            for seed, outcome in enumerate(outcomes):
                facts = {"model": rung.name, "labels": count, "seed": seed, metric: round(outcome.score, 4)}
                rows.append(facts | {"seconds": round(outcome.seconds, 1), "parameters": outcome.parameters})
            scores = [outcome.score for outcome in outcomes]
            say(f"{count:6,} labels  {rung.name:32} {np.mean(scores):.3f} ± {deviation(scores):.3f}")
    return rows


def deviation(scores: list[float]) -> float:
    """The standard deviation over the seeds (n − 1)."""
    return float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0


def summarise(rows: list[dict], metric: str) -> list[dict]:
    """One row for each model and number of labels, in the order of the table."""
    out = []
    for key in dict.fromkeys((row["model"], row["labels"]) for row in rows):
        same = [row for row in rows if (row["model"], row["labels"]) == key]
        scores = [row[metric] for row in same]
        seconds = float(np.mean([row["seconds"] for row in same]))
        facts = {"model": key[0], "labels": key[1], "mean": float(np.mean(scores)), "deviation": deviation(scores)}
        out.append(facts | {"seconds": seconds, "parameters": same[0]["parameters"]})
    return out


def markdown_table(rows: list[dict], metric: str) -> str:
    """The table as it stands on the screen, in `report.md` and in the README."""
    lines = [f"| model | labels | {metric} | training | parameters |", "|---|---:|---:|---:|---:|"]
    for row in summarise(rows, metric):
        score = f"{row['mean']:.3f} ± {row['deviation']:.3f}"
        parameters = f"{row['parameters']:,}" if row["parameters"] else "–"
        lines.append(f"| {row['model']} | {row['labels']:,} | {score} | {row['seconds']:.0f} s | {parameters} |")
    return "\n".join(lines)


def mean_of(rows: list[dict], metric: str, model: str, labels: int) -> float:
    return next(row["mean"] for row in summarise(rows, metric) if (row["model"], row["labels"]) == (model, labels))
