"""One honest table: the same task, the same labels, the same test set, one model a rung."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from minilm.errors import InputError
from minilm.examples.labelled import LabelledSet, encode_texts
from minilm.jobs.finetune import measure_set
from minilm.jobs.folders import bert_config, encoder_into, save_bert, tokenizer_for
from minilm.models.bert import BertClassifier, BertConfig, HeadConfig, parameter_count
from minilm.models.initialisation import initialise, warm_start
from minilm.models.lstm import LSTMClassifier, LSTMConfig, LSTMTagger
from minilm.published import PUBLISHED as PUBLISHED_MODELS, locate
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer
from minilm.training.supervised import PUBLISHED_RATE, Recipe, fit, subset


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
    keep: Path  # where the fine-tuned model of the first seed is written, for a look at what it says

    def sample(self, labels: int, seed: int) -> LabelledSet:
        """`labels` texts (or lines) of the pool, the same ones for every model."""
        chosen = set(drawn(max(self.pool.owner) + 1, labels, seed))
        return subset(self.pool, [i for i, owner in enumerate(self.pool.owner) if owner in chosen])

    def neural(self, what: str, start: str, recipe: str, labels: int, seed: int) -> Outcome:
        """The rung of `what` = "lstm" or "minilm", which starts from "scratch", "vectors", "start" or "pretrained".

        "start" is where pretraining itself started: word vectors, and heads that look at their neighbours.
        """
        scheme = "fan-in" if start in ("scratch", "vectors") else "neighbours"
        model = self.lstm(seed) if what == "lstm" else self.minilm(seed, scheme)
        if start in ("vectors", "start"):
            warm_start(model.embedding if what == "lstm" else model.bert.embeddings.words, self.vectors)
        if start == "pretrained":
            encoder_into(model, self.pretrained)
        model.to(self.device)
        seconds = fit(model, self.sample(labels, seed), self.recipes[recipe], seed, self.device, bar=False)
        score = measure_set(model, self.test, self.device)
        parameters = parameter_count(model)
        if recipe == "pretrained" and seed == 0:
            save_bert(self.keep, model.cpu(), Tokenizer.load(self.pretrained))
        return Outcome(score["f1" if self.kind == "token" else "accuracy"], seconds, parameters)

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

    def minilm(self, seed: int, scheme: str) -> BertClassifier:
        model = BertClassifier(replace(self.config, dropout=0.1), HeadConfig(self.labels, self.kind))
        initialise(model, scheme, torch.Generator().manual_seed(seed))
        model.labels = self.labels
        return model


def drawn(n: int, labels: int, seed: int) -> list[int]:
    """Which `labels` of n examples a seed draws, in order."""
    if labels > n:
        raise InputError(f"{labels:,} labels were asked for, but there are {n:,} examples to learn from.")
    return sorted(np.random.default_rng(seed).permutation(n)[:labels].tolist())


def neural_rungs(study: Study) -> list[Rung]:
    """The rungs that both ladders have."""

    def rung(name: str, what: str, *how: str) -> Rung:
        return Rung(name, what, partial(study.neural, *how))

    return [
        rung("LSTM", "two layers of 128 (F17), from scratch", "lstm", "scratch", "lstm"),
        rung("LSTM + word vectors", "its embeddings start from F34", "lstm", "vectors", "lstm"),
        rung("MiniLM", "the Transformer from scratch", "minilm", "scratch", "scratch"),
        rung("MiniLM + word vectors", "its embeddings start from F34", "minilm", "vectors", "vectors"),
        rung("MiniLM + word vectors + neighbour heads", "where pretraining starts", "minilm", "start", "start"),
        rung("MiniLM pretrained, head only", "F08 as printed: W⁰ and b⁰ alone", "minilm", "pretrained", "head"),
        rung("MiniLM pretrained, fine-tuned", "F02: all of θ moves", "minilm", "pretrained", "pretrained"),
    ]


PUBLISHED = Recipe(epochs=4, rate=PUBLISHED_RATE, embedding_rate=0.1)


def published_rung(
    model: str | Path,
    texts: tuple[list[Example], list[Example]],
    labels: tuple[str, ...],
    device: torch.device,
    recipe: Recipe = PUBLISHED,
) -> Rung:
    """A model that others trained, on the same texts (to learn from, to test on) cut into its own tokens."""
    path = locate(model)
    config = bert_config(path)
    tokenizer = tokenizer_for(config, path)
    parts = [encode_texts(part, labels, tokenizer, config.max_length, truncate=True) for part in texts]
    nothing = np.empty((0, config.width))  # it needs no word vectors of ours, and is not kept
    study = Study(*parts, labels, "text", config, nothing, path, {"published": recipe}, device, path)
    title = PUBLISHED_MODELS[str(model)].title if str(model) in PUBLISHED_MODELS else path.name
    run = partial(study.neural, "minilm", "pretrained", "published")
    return Rung(f"{title}, fine-tuned", "what scale brings", run)


def climb(
    rungs: list[Rung],
    labels: tuple[int, ...],
    seeds: int,
    metric: str,
    workers: int = 1,
    bar: bool = True,
) -> list[dict]:
    """Every rung with every number of labels and every seed: rows {model, labels, seed, metric, seconds, parameters}.

    Each fit is given one thread, and `workers` of them run side by side: small products gain little from a second
    thread, and the figures are the same on any number of cores.
    """
    rows = []
    jobs = [(rung, count, seed) for count in labels for rung in rungs for seed in range(seeds)]
    progress = tqdm(total=len(jobs), desc="fine-tuning", unit="model", disable=None if bar else True, leave=False)
    with pool_of(workers) as submit, progress:
        waiting = [(rung, count, submit(rung.run, count, seed)) for rung, count, seed in jobs]
        for i, (rung, count, outcome) in enumerate(waiting):
            score, seconds, parameters = outcome()
            progress.update()
            facts = {"model": rung.name, "labels": count, "seed": i % seeds, metric: round(score, 4)}
            rows.append(facts | {"seconds": round(seconds, 1), "parameters": parameters})
            if i % seeds == seeds - 1:
                scores = [row[metric] for row in rows[-seeds:]]
                progress.write(f"{count:6,} labels  {rung.name:40} {np.mean(scores):.3f} ± {deviation(scores):.3f}")
    return rows


@contextmanager
def pool_of(workers: int) -> Iterator[Callable[..., Callable[[], Outcome]]]:
    """submit(function, *arguments) → a function that waits for its value."""
    if workers == 1:
        yield lambda function, *arguments: partial(function, *arguments)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield lambda function, *arguments: pool.submit(function, *arguments).result
        except BaseException:  # Ctrl-C, or a fit that failed: what still waits is not begun
            pool.shutdown(cancel_futures=True)
            raise


def workers_for(device: torch.device) -> int:
    """One fit a core, four at most; one at a time where a graphics card does the work."""
    return min(4, os.cpu_count() or 1) if device.type == "cpu" else 1


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
