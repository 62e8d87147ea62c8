r"""Learning in the prompt: "x₁ y₁ x₂ y₂ … x" is followed by y, and y = w·x with a w that only the prompt knows.  F36.

Letters:  B prompts · D size of x · K examples in a prompt · C model width · w the task of a prompt · k examples read so far

    w ~ N(0, I),   xᵢ ~ N(0, I),   yᵢ = w·xᵢ / √D + ε,   ε ~ N(0, σ²),   drawn anew for every prompt

A causal Transformer reads the numbers as vectors and says y at every x. Its weights are the same for all prompts, so whatever
it knows of w it has found out while it read. How good it can be is known: with k examples, the smallest expected square belongs
to the mean of the posterior, which for a normal w is ridge regression with λ = σ² D (`formulas/prompt_regression.py`).

Source: Garg et al. (2022), What Can Transformers Learn In-Context?; Raventós et al. (2023), Pretraining task diversity.
"""

import time
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from minilm.formulas.prompt_regression import least_squares, ridge
from minilm.layers.transformer import TransformerStack
from minilm.models.config import parameter_count
from minilm.models.initialisation import initialise
from minilm.training.loop import LearningRate, Progress, Step, train
from minilm.training.muon import Muon, matrix_groups
from minilm.training.optimizer import parameter_groups
from minilm.training.schedule import Budget

D, K, NOISE = 4, 12, 0.5
SHOTS = 2 * D  # where the model is compared with least squares
BATCH, HELD_OUT, MEASUREMENTS = 64, 2048, 24
ON_THE_WAY = 512  # so many of the held-out prompts are measured during the training
WIDE = 2.0  # w of this deviation is beyond what any model was trained on
RATE, MUON_RATE = 2e-3, 0.02
THREE, ONE, THIRTY_TWO, EIGHT, SHUFFLED = (
    "three layers",
    "one layer",
    "three layers, 32 tasks",
    "three layers, 8 tasks",
    "three layers, y of another prompt",
)
ERROR, TO_LEAST_SQUARES, TO_RIDGE = "error after 8", "error / least squares", "error / ridge"
OWN, FEW, FAR = "own tasks: error after 8", "error after 2", "w twice as large: error / least squares"


class Arm(NamedTuple):
    """What differs between the arms."""

    layers: int
    steps: int
    tasks: int = 0  # how many different w the training has; 0: a new one for every prompt
    shuffled: bool = False  # whether the y come from another prompt, so that nothing can be learned from them


ARMS = {
    THREE: Arm(3, 700),
    ONE: Arm(1, 1000),
    THIRTY_TWO: Arm(3, 700, tasks=32),
    EIGHT: Arm(3, 400, tasks=8),
    SHUFFLED: Arm(3, 150, shuffled=True),
}


class Prompts(NamedTuple):
    """Examples of a task per row."""

    x: Float[Tensor, "B K D"]
    y: Float[Tensor, "B K"]


def tasks_of(count: int, seed: int) -> np.ndarray:
    """A fixed set of w [count, D]."""
    return np.random.default_rng((seed, 4)).normal(size=(count, D))


def prompts(
    count: int, seed: tuple[int, ...], tasks: np.ndarray | None = None, deviation: float = 1.0, shuffled: bool = False
) -> Prompts:
    """Prompts of K examples, each with a w of its own: a new one of this deviation, or one of the `tasks` [N, D].

    If `shuffled`, each x has the y of another prompt: the same numbers, without what connects them."""
    rng = np.random.default_rng(seed)
    w = deviation * rng.normal(size=(count, D)) if tasks is None else tasks[rng.integers(len(tasks), size=count)]
    x = rng.normal(size=(count, K, D))
    y = np.einsum("bkd,bd->bk", x, w) / D**0.5 + NOISE * rng.normal(size=(count, K))
    if shuffled:
        y = rng.permuted(y, axis=0)
    return Prompts(*(torch.tensor(a, dtype=torch.float32) for a in (x, y)))


class Reader(nn.Module):
    """A causal Transformer that reads x₁ y₁ x₂ y₂ … as vectors and says a number at every x: a GPT without a vocabulary."""

    def __init__(self, layers: int, width: int = 64, heads: int = 4):
        super().__init__()
        self.read_x, self.read_y = nn.Linear(D, width), nn.Linear(1, width)
        self.stack = TransformerStack(layers, width, heads, 4 * width, "relative", norm="pre", epsilon=1e-5)
        self.say = nn.Linear(width, 1)

    def forward(self, x: Float[Tensor, "B K D"], y: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """ŷ for every x, from it and the examples before it: its own y stands behind it."""
        both = torch.stack([self.read_x(x), self.read_y(y[..., None])], dim=2)  # [B, K, 2, C]
        hidden, _ = self.stack(both.flatten(1, 2)[:, :-1], is_causal=True)  # x₁ y₁ … x_K: [B, 2K − 1, C]
        return self.say(hidden[:, ::2])[..., 0]


def new_model(layers: int, seed: int) -> Reader:
    model = Reader(layers)
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    return model


def regression(given: Prompts, penalty: float = 0.0) -> np.ndarray:
    """ŷ [B, K] of ridge regression on the examples before each one; of least squares if the penalty λ is 0.

    Without examples, both say 0. (The w of y = w·x/√D is found up to √D, which changes nothing in ŷ: a prior of N(0, I) for w
    is one of N(0, I/D) for w/√D, hence λ = σ² D.)"""
    x, y = (a.double().numpy() for a in given)
    said = np.zeros(y.shape)
    for k in range(1, y.shape[1]):
        X, t = x[:, :k], y[:, :k]
        w = ridge(X, t, penalty) if penalty else least_squares(X, t)  # [B, D]
        said[:, k] = np.einsum("bd,bd->b", x[:, k], w)
    return said


def errors(said: np.ndarray, given: Prompts) -> np.ndarray:
    """The mean square of ŷ − y after 0, 1, … K − 1 examples, [K]."""
    return ((said - given.y.double().numpy()) ** 2).mean(axis=0)


@torch.no_grad()
def model_errors(model: Reader, given: Prompts) -> np.ndarray:
    """`errors` of a model; it is left in evaluation mode."""
    return errors(model.eval()(*given).double().numpy(), given)


def loss_at(model: Reader, given: Prompts) -> Step:
    """The mean square over all places of the prompts: every x asks, with 0, 1, … K − 1 examples before it."""
    loss = (model(*given) - given.y).square().mean()
    return Step(loss, {"loss": loss.detach()}, 2 * given.y.numel())


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train an arm, and measure it along the way on prompts with tasks that it has not seen."""
    layers, steps, count, shuffled = ARMS[arm]
    steps, began = max(2, round(steps * share)), time.process_time()
    tasks = tasks_of(count, seed) if count else None
    model, held_out = new_model(layers, seed), prompts(HELD_OUT, (seed, 1))
    some, curve = Prompts(*(a[:ON_THE_WAY] for a in held_out)), list[dict]()

    def measure(progress: Progress) -> None:
        curve.append({"step": progress.step, ERROR: float(model_errors(model, some)[SHOTS])})
        model.train()

    groups = matrix_groups(parameter_groups(model, 0.01), model, MUON_RATE / RATE)
    progress = Progress()
    measure(progress)

    def step_at(step: int) -> Step:
        return loss_at(model, prompts(BATCH, (seed, 2, step), tasks, shuffled=shuffled))

    how: dict[str, Any] = dict(progress=progress, on_pause=measure, title=arm, bar=bar)
    how["pause_at"] = [i / MEASUREMENTS for i in range(1, MEASUREMENTS)]
    train(model, Muon(groups), step_at, Budget(steps=steps), LearningRate(RATE, 0.05), **how)
    if progress.step < steps:
        raise KeyboardInterrupt
    if curve[-1]["step"] != steps:
        measure(progress)
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "parameters": parameter_count(model)}
    record |= compared(model, held_out, seed)
    if tasks is not None:
        record[OWN] = float(model_errors(model, prompts(HELD_OUT, (seed, 3), tasks))[SHOTS])
    return record | {"curve": curve, "seconds": time.process_time() - began}


def compared(model: Reader, held_out: Prompts, seed: int) -> dict[str, Any]:
    """The errors of a model beside those of least squares and ridge on the same prompts, and the same for larger w."""
    own, fitted = model_errors(model, held_out), errors(regression(held_out), held_out)
    best, far = errors(regression(held_out, NOISE**2 * D), held_out), prompts(HELD_OUT, (seed, 5), deviation=WIDE)
    found: dict[str, Any] = {"by shots": own.tolist(), "least squares": fitted.tolist(), "ridge": best.tolist()}
    found |= {ERROR: own[SHOTS], FEW: own[2], TO_LEAST_SQUARES: own[SHOTS] / fitted[SHOTS]}
    found |= {TO_RIDGE: own[SHOTS] / best[SHOTS]}
    found[FAR] = model_errors(model, far)[SHOTS] / errors(regression(far), far)[SHOTS]
    return {name: value if isinstance(value, list) else float(value) for name, value in found.items()}
