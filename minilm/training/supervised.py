"""Fine-tuning: fit a model to labelled examples, and measure it.  F07, F08, F28, F30.

The models need only agree on being called with `ids`, `types` and `real`: BERT and LSTM are trained by the same lines.
"""

import time
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.labelled import IGNORED, LabelledSet
from minilm.layers.dropout import use_generator
from minilm.training.early_stopping import EarlyStopping
from minilm.training.loop import Progress, Rate, Step, train
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW, parameter_groups
from minilm.training.schedule import Budget

RATE, PUBLISHED_RATE = 1e-3, 1e-4
MOST_EPOCHS = 10_000  # beyond, it is a slip


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted to labels."""

    epochs: int = 8
    batch: int = 16
    rate: float | None = None
    """The peak; if not given 1e-3, and 1e-4 for a model that others published."""
    embedding_rate: float = 0.1
    """The embeddings learn at this share of the rate."""
    layer_decay: float = 1.0
    """Every layer further from the head learns at this share of the rate of the one above it."""
    warmup: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    label_smoothing: float = 0.0
    head_only: bool = False
    """Train W⁰ and b⁰ alone, which is what F08 says as printed (a linear probe)."""
    patience: int = 0
    """Stop when this many epochs brought nothing better on a tenth of the training examples; 0: never."""

    def __post_init__(self):
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1.")
        if self.epochs > MOST_EPOCHS:
            raise InputError(f"epochs {self.epochs:,} must be at most {MOST_EPOCHS:,}.")
        for name in ("embedding_rate", "weight_decay", "patience"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} {getattr(self, name)} must not be negative.")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay {self.layer_decay} is not above 0 and up to 1 (1: none).")
        if not 0 <= self.label_smoothing <= 1:
            raise InputError(f"label_smoothing {self.label_smoothing} is not in [0, 1].")
        if not self.clip > 0:
            raise InputError(f"clip {self.clip} is not above 0.")
        self.rates().at(0)  # all of this before any data is read

    def rates(self) -> Rate:
        """The rate over the whole fit."""
        return Rate(RATE if self.rate is None else self.rate, self.warmup, self.schedule)


def freeze_all_but_head(model: nn.Module) -> None:
    """Leave only W⁰ and b⁰ to learn.  F08 as printed."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head."))


def fit(
    model: nn.Module,
    examples: LabelledSet,
    recipe: Recipe,
    seed: int,
    device: torch.device | None = None,
    bar: bool = True,
    on_epoch=None,
) -> float:
    """Train `model` in place and return the seconds it took. The same seed gives the same model, bit for bit.

    `on_epoch(epoch, progress)` is called after every epoch. With `patience`, the best epoch's weights are put back.
    Raises KeyboardInterrupt on Ctrl-C: a model that is half fitted must not pass for one that is.
    """
    started = time.perf_counter()
    device = device or torch.device("cpu")
    use_generator(model, torch.Generator(device=device).manual_seed(seed))
    if recipe.head_only:
        freeze_all_but_head(model)
    rng = np.random.default_rng(seed)
    chosen = np.arange(len(examples))
    valid, stopping = [], None
    if recipe.patience:
        order = rng.permutation(chosen)
        valid, chosen = order[: max(1, len(order) // 10)], np.sort(order[max(1, len(order) // 10) :])
        stopping = EarlyStopping(recipe.patience, mode="min")
    training, validation = subset(examples, chosen), subset(examples, valid)
    per_epoch = -(-len(training) // recipe.batch)
    optimizer = AdamW(parameter_groups(model, recipe.weight_decay, recipe.embedding_rate, recipe.layer_decay))
    order: list[np.ndarray] = []

    def losses_at(step: int) -> Step:
        nonlocal order
        if step % per_epoch == 0:
            order = training.shuffled(recipe.batch, rng)
        batch = training.batch(order[step % per_epoch]).to(device)
        if recipe.head_only:
            model.eval()  # what is frozen is used as it will be used: without dropout
        loss = loss_of(model, batch, recipe.label_smoothing)
        return Step(loss, {"loss": loss.detach()}, int(batch.real.sum()))

    budget = Budget(steps=recipe.epochs * per_epoch)
    ends = [epoch / recipe.epochs for epoch in range(1, recipe.epochs)]
    rate = recipe.rates()
    done = Progress()
    steps = train(model, optimizer, losses_at, budget, rate, recipe.clip, done, ends, "fine-tuning", bar)
    with closing(steps):
        for epoch, progress in enumerate(steps, start=1):
            if progress.step < epoch * per_epoch:
                break  # Ctrl-C in the middle of an epoch
            if on_epoch:
                on_epoch(epoch, progress)
            if stopping:
                stopping.update(mean_loss(model, validation, device), model)
                if stopping.should_stop:
                    break
    if done.step < budget.steps and not (stopping and stopping.should_stop):
        raise KeyboardInterrupt
    if stopping:
        stopping.restore(model)
    model.eval()
    return time.perf_counter() - started


def loss_of(model: nn.Module, batch, label_smoothing: float = 0.0) -> Tensor:
    """H(y, softmax(logits)): over texts [B, K], or over the words that carry a tag [B, T, K].  F08."""
    logits = model(batch.ids, types=batch.types, real=batch.real)
    return cross_entropy(logits, batch.labels, label_smoothing).value


@torch.no_grad()
def mean_loss(model: nn.Module, examples: LabelledSet, device: torch.device) -> float:
    model.eval()
    total = count = 0.0
    for chosen in examples.in_order():
        batch = examples.batch(chosen).to(device)
        loss = cross_entropy(model(batch.ids, types=batch.types, real=batch.real), batch.labels)
        total, count = total + float(loss.value) * loss.count, count + loss.count
    return total / max(count, 1)


def subset(examples: LabelledSet, chosen) -> LabelledSet:
    """Some of the examples."""
    take = lambda values: [values[i] for i in chosen]  # noqa: E731
    e = examples
    return LabelledSet(take(e.rows), take(e.types), take(e.labels), e.pad_id, take(e.owner))


@torch.no_grad()
def probabilities(model: nn.Module, examples: LabelledSet, device: torch.device | None = None) -> list[np.ndarray]:
    """softmax(logits) for each row, in the order of the rows: [K] for a text, [T, K] for a tagged line."""
    model.eval()
    out: list[np.ndarray | None] = [None] * len(examples)
    for chosen in examples.in_order():
        batch = examples.batch(chosen).to(device or torch.device("cpu"))
        y_hat = model(batch.ids, types=batch.types, real=batch.real).softmax(dim=-1).float().cpu().numpy()
        for i, row in zip(chosen, y_hat, strict=True):
            out[i] = row if row.ndim == 1 else row[: len(examples.rows[i])]
    return out


def predicted_labels(model: nn.Module, examples: LabelledSet, device: torch.device | None = None) -> np.ndarray:
    """The likeliest class of each text [N]."""
    return np.array([row.argmax() for row in probabilities(model, examples, device)])


def predicted_tags(
    model: nn.Module, examples: LabelledSet, tags: tuple[str, ...], device: torch.device | None = None
) -> list[list[str]]:
    """The likeliest tag of each word of each line, lines that were cut put together again."""
    lines: list[list[str]] = [[] for _ in range(max(examples.owner, default=-1) + 1)]
    for owner, labels, row in zip(examples.owner, examples.labels, probabilities(model, examples, device), strict=True):
        lines[owner] += [tags[k] for k, label in zip(row.argmax(axis=-1), labels, strict=True) if label != IGNORED]
    return lines


def true_tags(examples: LabelledSet, tags: tuple[str, ...]) -> list[list[str]]:
    lines: list[list[str]] = [[] for _ in range(max(examples.owner, default=-1) + 1)]
    for owner, labels in zip(examples.owner, examples.labels, strict=True):
        lines[owner] += [tags[label] for label in labels if label != IGNORED]
    return lines
