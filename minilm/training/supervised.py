"""Fine-tuning: fit a model to labelled examples.  F07, F08, F28.

Every model is called with `input_ids`, `token_type_ids` and `attention_mask`, so the same lines train BERT and LSTM.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from minilm.errors import InputError, check_least, check_most
from minilm.examples.batching import Batch, Dataset
from minilm.training.class_weights import classification_for
from minilm.training.early_stopping import EarlyStopping
from minilm.training.loop import LearningRate, Progress
from minilm.training.multi_task import SecondTask, TwoTasks, beside
from minilm.training.penalties import with_penalties
from minilm.training.precision import in_precision
from minilm.training.rank_budget import RankBudget, with_rank_budget
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.unfreezing import Unfreezing

LEARNING_RATE, PUBLISHED_LEARNING_RATE = 1e-3, 1e-4
MOST_EPOCHS = 10_000  # a larger number is a typing error
CRF = "crf."  # how the names of a CRF's parameters begin


@dataclass(frozen=True)
class Recipe:
    """How a model is fitted to labels. Raises InputError for a value outside its range."""

    epochs: int = 8
    batch: int = 16
    learning_rate: float | None = None
    """The peak. If it is not given: 1e-3, or 1e-4 for a model that others published."""
    embedding_learning_rate_scale: float = 0.1
    """The embeddings learn at this share of the learning rate."""
    layer_decay: float = 1.0
    """Each layer further from the head learns at this share of the learning rate of the layer above it."""
    warmup: float = 0.1
    schedule: str = "linear"
    unfreeze_every: int = 0
    """Train the head alone first, and after every so many epochs one more layer, from the top down; 0 trains all from the start."""
    weight_decay: float = 0.01
    l2: float = 0.0
    """λ of the penalty λ · ½ Σ θ² in the loss. (Weight decay is not in the loss, and so not changed by Adam.)"""
    l2_start: float = 0.0
    """α of the penalty α · ½ Σ (θ − θ⁰)² in the loss, which pulls the encoder back to its weights before fine-tuning."""
    clip: float = 1.0
    label_smoothing: float = 0.0
    class_weights: bool = False
    """Weigh each class by N / (K · its number of labels), so that rare classes count as much as frequent ones."""
    crf_learning_rate_scale: float = 10.0
    """The scores of a CRF (A, start and end) learn at this multiple of the learning rate."""
    head_only: bool = False
    """Train W⁰ and b⁰ alone, as F08 is printed (a linear probe), and the CRF if there is one."""
    patience: int = 0
    """Stop when the loss on a tenth of the training examples has not improved for this many epochs; 0 means never."""

    def __post_init__(self) -> None:
        check_least(self, 1, "epochs", "batch")
        check_most(self, {"epochs": MOST_EPOCHS})
        check_least(self, 0, "patience", "crf_learning_rate_scale", "unfreeze_every", "l2", "l2_start")
        if not 0 <= self.label_smoothing <= 1:
            raise InputError(f"label_smoothing must be from 0 to 1, not {self.label_smoothing}.")
        self.optimisation()  # this checks the rest before any data is read

    def optimisation(self) -> Optimisation:
        """How the weights are updated."""
        peak = LEARNING_RATE if self.learning_rate is None else self.learning_rate
        learning_rate = LearningRate(peak, self.warmup, self.schedule)
        scale = self.embedding_learning_rate_scale
        scales = {CRF: self.crf_learning_rate_scale}
        return Optimisation(learning_rate, self.weight_decay, scale, self.layer_decay, self.clip, scales=scales)


def freeze_all_but_head(model: nn.Module) -> None:
    """Freeze everything except W⁰ and b⁰, F08 as printed, and the scores of a CRF that stands on them."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("head.", CRF)))


def fit(
    model: nn.Module,
    examples: Dataset,
    recipe: Recipe,
    seed: int,
    device: torch.device | None = None,
    bar: bool = True,
    on_epoch: Callable[[int, Progress], object] | None = None,
    judge: Callable[[nn.Module], float] | None = None,
    augment: Callable[[Batch], Batch] | None = None,
    second: SecondTask | None = None,
    precision: str = "float32",
) -> float:
    """Train `model` in place and return the seconds it took. The same seed gives the same model, bit for bit.

    `on_epoch(epoch, progress)` is called after every epoch. With `patience`, the weights of the best epoch are put back.
    `judge(model)` measures a development part that the caller has set aside: then nothing else is, the best epoch is the one
    with its largest figure, and with `patience` training ends when that no longer grows.
    `augment(batch)` changes the texts of every batch (`examples/augmentation.py`). A `second` task is trained on the same encoder.
    With the `precision` "bf16", products are computed in it while the model learns (`training/precision.py`), but not while it is
    measured.
    Raises KeyboardInterrupt after Ctrl-C, so that a half-fitted model is not taken for a fitted one.
    """
    started = time.perf_counter()
    if recipe.head_only:
        freeze_all_but_head(model)
    rng = np.random.default_rng(seed)
    validation, stopping = None, None
    if judge:
        stopping = EarlyStopping(recipe.patience or recipe.epochs)
    elif recipe.patience:
        places = rng.permutation(np.arange(len(examples)))
        tenth = max(1, len(places) // 10)
        validation, examples = examples.subset(places[:tenth]), examples.subset(np.sort(places[tenth:]))
        stopping = EarlyStopping(recipe.patience, mode="min")
    per_epoch = -(-len(examples) // recipe.batch)
    unfreezing = Unfreezing(model, recipe.unfreeze_every) if recipe.unfreeze_every else None
    order: list[np.ndarray] = []

    def batch_at(step: int) -> Batch:
        nonlocal order
        epoch, place = divmod(step, per_epoch)
        if not place:
            order = examples.shuffled(recipe.batch, rng)
            if unfreezing:
                unfreezing.begin(epoch + 1)
        batch = examples.batch(order[place])
        return augment(batch) if augment else batch

    measured = classification_for(model, examples, recipe.class_weights, recipe.label_smoothing, recipe.head_only)
    ranks = with_rank_budget(measured, model)
    objective = with_penalties(ranks, model, recipe.l2, recipe.l2_start)
    device = device or torch.device("cpu")
    if second:
        objective = TwoTasks(objective, replace(second, model=in_precision(second.model, precision, device)))

    def after_epoch(progress: Progress) -> bool:
        epoch, steps_over = divmod(progress.step, per_epoch)
        if steps_over:
            return False  # a pause in the middle of an epoch: the user pressed Ctrl-C
        if on_epoch:
            on_epoch(epoch, progress)
        if stopping and judge:
            stopping.update(judge(model), model)
        elif stopping and validation:
            batches = (validation.batch(chosen).to(run.device) for chosen in validation.in_order())
            stopping.update(measured.measure(model, batches)["loss"], model)
        return bool(stopping and stopping.should_stop)

    with beside(model, second):
        budget = Budget(steps=recipe.epochs * per_epoch)
        run = TrainingRun(model, objective, batch_at, budget, recipe.optimisation(), seed, device, precision=precision)
        run.train([epoch / recipe.epochs for epoch in range(1, recipe.epochs)], after_epoch, "fine-tuning", bar)
        if not run.done and not (stopping and stopping.should_stop):
            raise KeyboardInterrupt
        if stopping:
            stopping.restore(model)
    if unfreezing:
        unfreezing.end()
    if isinstance(ranks, RankBudget):
        ranks.finish()
    model.eval()
    return time.perf_counter() - started
