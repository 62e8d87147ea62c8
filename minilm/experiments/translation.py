"""`minilm translation`: train an encoder and decoder on one task, and compare it with what is simpler.  F18, F23.

The command trains with every seed, measures on a test set that no choice was made on, draws which part of the source each
character of a translation looks at, and keeps the model for `minilm translate`.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from minilm.errors import InputError, check_least
from minilm.examples.seq2seq import Rounds, encode_pairs
from minilm.experiments.table import details_table
from minilm.experiments.translation_scores import DECIMALS
from minilm.experiments.translation_tasks import TASKS, Parts, Task, own_task
from minilm.files.atomic import write_json, write_text
from minilm.files.notes import Notes
from minilm.models.config import parameter_count
from minilm.models.initialisation import initialise, warm_start
from minilm.models.seq2seq import Seq2Seq, Seq2SeqConfig, learning_rate_scales
from minilm.pretrained.protocol import save_model
from minilm.text.memory import TranslationMemory, save_samples
from minilm.text.parallel import learn_tokenizer, pair_vectors
from minilm.text.tokenizer import Tokenizer
from minilm.training.loop import LearningRate, Progress, choose_device
from minilm.training.memory import cost, cost_in_words
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.translation import SequenceToSequence, align, translate, translate_by_agreement
from minilm.viz.alignment import alignment_map

WITH, WITHOUT, ALONE = "Transformer", "Transformer without copy head", "Transformer without neighbours"
EVALUATIONS, BETAS = 4, (0.9, 0.98)


@dataclass(frozen=True)
class TranslationOptions:
    """Train a Transformer that turns one text into another, and compare it with what is simpler.

    `dates`: dates and numbers, English to Chinese, from a grammar. `strings`: strings of user interfaces, English to Chinese, as
    translators wrote them. `headlines`: articles of a Chinese newspaper and their headlines."""

    task: Literal["dates", "strings", "headlines"] = "dates"
    source: Path | None = None
    """A file of your own instead of a task, one text per line …"""
    target: Path | None = None
    """… and the file with their translations, line by line."""
    minutes: float | None = None
    """How long to train; the task's own if not given: 5 for dates, 7 for the others."""
    steps: int | None = None
    """The same in steps, which give the same model every time."""
    seeds: int = 1
    """How many models are trained; the table has the mean and the standard deviation."""
    beams: int = 4
    """1: always the most likely token; more: search for the most probable text, with this number of beams."""
    length_penalty: float = 1.0
    """Beams are compared by log P / length^penalty: 0 favours short texts, 1 is the mean per token."""
    samples: int | None = None
    """How many translations are drawn for each text: the one that agrees most with all of them is taken. With 0 it is the best
    beam. The task's own if not given: 24 for strings and headlines."""
    label_smoothing: float | None = None
    """The share of the target that all tokens get alike; the task's own if not given."""
    dropout: float | None = None
    copy: bool = True
    """A head that may copy tokens of the source."""
    neighbours: int | None = None
    """How many translations of its nearest neighbours the model reads behind each source; the task's own if not given: 2 for
    strings, 0 for the others."""
    word_vectors: bool | None = None
    """Start the embeddings from vectors that are counted in the pairs, so that words are near their translations; the task's own
    if not given: yes for strings and headlines."""
    compare: bool = False
    """More rows: the same model without the copy head, and without neighbours, trained for the same time."""
    width: int = 128
    layers: int = 2
    heads: int = 4
    batch: int = 64
    learning_rate: float = 2e-3
    muon_learning_rate: float | None = None
    """Above 0, the matrices of the blocks are updated by Muon, with this peak, and the rest by AdamW. The task's own if not given:
    0.01 for strings and headlines, 0 for dates."""
    out: Path | None = None
    """runs/translation-dates, for instance, if not given."""
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "beams", "batch")
        check_least(self, 0, *(name for name in ("neighbours", "samples") if getattr(self, name) is not None))
        if (self.source is None) != (self.target is None):
            raise InputError("a file of your own needs its other side: give --source and --target together.")
        if self.minutes is not None and self.steps is not None:
            raise InputError("give --minutes or --steps, not both.")
        if self.label_smoothing is not None and not 0 <= self.label_smoothing < 1:
            raise InputError(f"label_smoothing must be from 0 to below 1, not {self.label_smoothing}.")
        if self.minutes is not None or self.steps is not None:
            Budget(steps=self.steps, minutes=self.minutes)
        self.config(vocab_size=300, dropout=self.dropout or 0.0)  # checks the sizes before anything is read
        self.optimisation(self.config(300, 0.0))  # and so do these

    def config(self, vocab_size: int, dropout: float, copy: bool = True) -> Seq2SeqConfig:
        """The shape of the model."""
        sizes: dict[str, Any] = dict(
            width=self.width, layers=self.layers, heads=self.heads, feed_forward=4 * self.width
        )
        return Seq2SeqConfig(vocab_size, **sizes, max_length=512, dropout=dropout, copy=copy)

    def optimisation(self, config: Seq2SeqConfig) -> Optimisation:
        """How the weights of a model with this shape are updated."""
        muon = self.chosen().muon_learning_rate if self.muon_learning_rate is None else self.muon_learning_rate
        rate = LearningRate(self.learning_rate, warmup=0.1)
        return Optimisation(rate, betas=BETAS, scales=learning_rate_scales(config), muon_learning_rate=muon)

    @property
    def folder(self) -> Path:
        name = self.task if self.source is None else self.source.stem
        return self.out or Path("runs") / f"translation-{name}"

    def chosen(self) -> Task:
        """The task."""
        if self.source is not None and self.target is not None:
            return own_task(self.source, self.target)
        return TASKS[self.task]


@dataclass(frozen=True)
class Material:
    """What all models of one command have in common."""

    task: Task
    parts: Parts
    tokenizer: Tokenizer
    device: torch.device
    memory: TranslationMemory
    neighbours: int

    def read(self, sources: list[str]) -> list[str]:
        """The sources as the model reads them."""
        return self.memory.hinted(sources, self.neighbours)


def translation(options: TranslationOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Do all of it; returns the rows of `results.json`, one for each model and seed."""
    started, task, notes = time.perf_counter(), options.chosen(), Notes(say)
    parts = task.parts(notes)
    memory = TranslationMemory(parts.training, task.fold)
    tokenizer = learn_tokenizer(memory.hinted_pairs(0), task.vocab_size)
    neighbours = task.neighbours if options.neighbours is None else options.neighbours
    material = Material(task, parts, tokenizer, choose_device(options.device), memory, neighbours)
    say(f"{task.title}: {len(parts.training):,} pairs to learn from, {len(parts.test):,} for the test.")
    rows = []
    for name, rival in task.rivals.items():
        written = rival(parts.training, [source for source, _ in parts.test])
        rows.append(row_of(name, 0, task.measure(parts.test, written), material, 0.0, 0))
    kinds = {WITH if options.copy else WITHOUT: (options.copy, material)}
    if options.compare:
        kinds |= {WITHOUT: (False, material)}
        kinds |= {ALONE: (options.copy, replace(material, neighbours=0))} if neighbours else {}
    options.folder.mkdir(parents=True, exist_ok=True)
    examples: list[str] = []
    for name, (copy, given) in kinds.items():
        for seed in range(options.seeds):
            model, progress = trained(options, given, copy, seed, say)
            written = write_all(options, given, model, [source for source, _ in parts.test])
            measured = task.measure(parts.test, written)
            rows.append(row_of(name, seed, measured, material, progress.seconds, parameter_count(model)))
            rows[-1] |= {"steps": progress.step, "recipe": asdict(model.config)}
            write_json(options.folder / "results.json", rows)
            say(f"{name}, seed {seed}: {task.score} {measured[task.score]:.{DECIMALS.get(task.score, 3)}f}")
            if len(examples) == 0:  # the first model is kept
                save_model(options.folder / "model", model, tokenizer)
                if neighbours or task.fold:
                    memory.save(options.folder / "model", neighbours)
                save_samples(options.folder / "model", task.samples if options.samples is None else options.samples)
                examples = [f"{s} → {w}   ({t})" for (s, t), w in zip(parts.test, written, strict=True)][:12]
                show(options, material, model, say)
    write_json(options.folder / "results.json", rows)
    report = report_of(task, rows, examples, len(parts.training))
    write_text(options.folder / "report.md", report + "\n")
    say("\n" + report)
    say(f"\n{cost_in_words(cost(started))}. The results are in {options.folder}.")
    say(f'Try next:  minilm translate {options.folder / "model"} "…"')
    return rows


def row_of(
    name: str, seed: int, measured: dict[str, float], material: Material, seconds: float, parameters: int
) -> dict:
    """A row of `results.json`. A figure over nothing (placeholders where there are none) is left out."""
    facts = {"model": name, "labels": len(material.parts.training), "seed": seed, "seconds": seconds}
    return facts | {"parameters": parameters} | {k: v for k, v in measured.items() if not math.isnan(v)}


def trained(
    options: TranslationOptions, material: Material, copy: bool, seed: int, say: Callable[[str], None]
) -> tuple[Seq2Seq, Progress]:
    """A new model, trained; while it is, it is measured on the development part."""
    task, parts, tokenizer = material.task, material.parts, material.tokenizer
    config = options.config(tokenizer.size, task.dropout if options.dropout is None else options.dropout, copy)
    model = Seq2Seq(config)
    initialise(model, generator=torch.Generator().manual_seed(seed))
    if task.word_vectors if options.word_vectors is None else options.word_vectors:
        plain = material.memory.hinted_pairs(0)
        warm_start(model.encoder.tokens, pair_vectors(plain, tokenizer, config.width, seed))
    smoothing = task.label_smoothing if options.label_smoothing is None else options.label_smoothing
    objective = SequenceToSequence(label_smoothing=smoothing)
    minutes = task.minutes if options.steps is None and options.minutes is None else options.minutes
    learnt = material.memory.hinted_pairs(material.neighbours)
    rounds = Rounds(encode_pairs(learnt, tokenizer, config.max_length), options.batch, seed)
    how = options.optimisation(config)
    budget = Budget(steps=options.steps, minutes=minutes)
    run = TrainingRun(model, objective, rounds.__getitem__, budget, how, seed, material.device)
    sources, targets = map(list, zip(*parts.development, strict=True))
    held_out = encode_pairs(list(zip(material.read(sources), targets, strict=True)), tokenizer, config.max_length)

    def report(progress: Progress) -> None:
        batches = [held_out.batch(chosen).to(material.device) for chosen in held_out.in_order()]
        summary = objective.summary(objective.measure(model, batches))
        say(f"{progress.seconds / 60:5.1f} min  step {progress.step:6,}  {summary}")

    pauses = [i / EVALUATIONS for i in range(1, EVALUATIONS)]
    progress = run.train(pauses, report, f"seed {seed}", options.progress)
    if not run.done:
        raise KeyboardInterrupt
    return model.eval(), progress


def write_all(options: TranslationOptions, material: Material, model: Seq2Seq, sources: list[str]) -> list[str]:
    """What the model makes of every source."""
    memory, how = material.memory, (options.beams, options.length_penalty, material.task.tokens)
    samples = material.task.samples if options.samples is None else options.samples
    if not samples:
        return translate(model, material.tokenizer, material.read(sources), *how)
    hints = memory.hints(sources, material.neighbours)
    return translate_by_agreement(
        model, material.tokenizer, [memory.read(source) for source in sources], samples, hints, *how
    )


def show(options: TranslationOptions, material: Material, model: Seq2Seq, say: Callable[[str], None]) -> None:
    """Translate the task's own sentences, and draw what the first of them looks at."""
    if not material.task.look_at:
        return
    written = write_all(options, material, model, list(material.task.look_at))
    for source, target in zip(material.task.look_at, written, strict=True):
        say(f"{source} → {target}")
    first = material.read([material.task.look_at[0]])[0]
    source_tokens, target_tokens, weights = align(model, material.tokenizer, first, written[0])
    alignment_map(source_tokens, target_tokens, weights[-1].mean(axis=0), options.folder / "alignment.png")


def report_of(task: Task, rows: list[dict], examples: list[str], training: int) -> str:
    """The table, and what the first model wrote."""
    facts = {"model", "labels", "seed", "seconds", "parameters", "steps", "recipe"}
    names = list(dict.fromkeys(name for row in rows for name in row if name not in facts))
    table = details_table(rows, training, names, unit="pairs", decimals=DECIMALS)
    lines = "\n".join(f"* {line}" for line in examples)
    said = verdict(task, rows)
    written = f"The first sources of the test set (in brackets, what people wrote):\n\n{lines}"
    return f"# {task.title.capitalize()}\n\n{table}\n\n{said}\n\n{written}"


def verdict(task: Task, rows: list[dict]) -> str:
    """How far the first model stands from the best of what is simpler, by the figure that decides."""

    def mean_of(name: str) -> float:
        return float(np.mean([row[task.score] for row in rows if row["model"] == name]))

    best = max(task.rivals, key=mean_of)
    model = next(row["model"] for row in rows if row["model"] not in task.rivals)
    apart, digits = mean_of(model) - mean_of(best), DECIMALS.get(task.score, 3)
    return (
        f"In {task.score}, the {model} stands {abs(apart):.{digits}f} {'above' if apart >= 0 else 'below'} the best of the others "
        f"({best})."
    )
