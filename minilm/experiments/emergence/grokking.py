r"""Grokking: a sum on a clock, a + b modulo p. A network knows half of the sums by heart long before it can do the others.  F36.

Letters:  p the numbers on the clock · N sums · C size of an embedding · F hidden units · λ weight decay

    z = W₂ relu(W₁ (e_a + e_b) + c₁) + c₂,   e_0 … e_{p−1} a table of embeddings [p, C],   logits z [p]

The two embeddings are added, so a + b and b + a are one and the same question. Every sum is therefore in the data once, with
a ≤ b: if b + a were held out while a + b is learned from, it would be known without any arithmetic. All sums that are learned
from are one batch, the same at every step.

Sources:  Power et al. (2022), Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets; Gromov (2023), Grokking
          Modular Arithmetic.
"""

import time
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minilm.experiments.emergence.moments import moments
from minilm.models.config import parameter_count
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW

P, C, F = 59, 64, 128
STEPS, LEARNING_RATE, BETAS, MEASUREMENTS = 4_500, 3e-3, (0.9, 0.98), 48
KNOWN, UNSEEN, SIZE = "accuracy, learned from", "accuracy, held out", "size of the weights"
KNOWN_AT, UNSEEN_AT = "step of 99 %, learned from", "step of 90 %, held out"
DECAY, NO_DECAY, MORE, SCRAMBLED = "decay", "no decay", "decay, three quarters", "decay, scrambled"


class Arm(NamedTuple):
    """What differs between the arms."""

    decay: float  # λ
    share: float = 0.5  # of the sums that are learned from
    scrambled: bool = False  # whether every sum has a random answer, so that there is no rule


ARMS = {
    DECAY: Arm(1.0),
    NO_DECAY: Arm(0.0),
    MORE: Arm(1.0, share=0.75),
    SCRAMBLED: Arm(1.0, scrambled=True),
}


class Sums(NamedTuple):
    """Pairs of numbers, and the answer to each."""

    a: Int[Tensor, " N"]
    b: Int[Tensor, " N"]
    answers: Int[Tensor, " N"]


def all_sums(p: int, generator: torch.Generator, scrambled: bool = False) -> Sums:
    """Every pair a ≤ b once, in random order, with a + b modulo p; `scrambled`, with the answers of other pairs."""
    a, b = torch.triu_indices(p, p)
    order = torch.randperm(len(a), generator=generator)
    a, b = a[order], b[order]
    answers = (a + b) % p
    return Sums(a, b, answers[torch.randperm(len(a), generator=generator)] if scrambled else answers)


def split(sums: Sums, share: float) -> tuple[Sums, Sums]:
    """The first part of the sums, to learn from, and the rest."""
    n = round(share * len(sums.a))
    return Sums(*(column[:n] for column in sums)), Sums(*(column[n:] for column in sums))


class Clock(nn.Module):
    """The network at the top of the file."""

    def __init__(self, p: int, width: int, hidden: int, generator: torch.Generator):
        super().__init__()
        self.embedding = nn.Embedding(p, width)
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, p)
        with torch.no_grad():
            self.embedding.weight.normal_(0, width**-0.5, generator=generator)
            for layer in (self.first, self.second):
                layer.weight.normal_(0, layer.in_features**-0.5, generator=generator)
                layer.bias.zero_()

    def forward(self, a: Int[Tensor, " N"], b: Int[Tensor, " N"]) -> Float[Tensor, "N p"]:
        """The logits of all answers."""
        return self.second(self.first(self.embedding(a) + self.embedding(b)).relu())


@torch.no_grad()
def accuracy(model: Clock, sums: Sums) -> float:
    """The share of the sums whose most probable answer is right."""
    return float((model(sums.a, sums.b).argmax(dim=-1) == sums.answers).float().mean())


def size(model: nn.Module) -> float:
    """√Σ θ²: the length of all weights as one vector."""
    return float(sum(parameter.detach().square().sum() for parameter in model.parameters()) ** 0.5)


def fit(arm: str, seed: int, share: float = 1.0, bar: bool = False) -> dict[str, Any]:
    """Train an arm on all its sums at once, and measure both accuracies on the way."""
    decay, part, scrambled = ARMS[arm]
    steps, began = max(2, round(STEPS * share)), time.process_time()
    generator = torch.Generator().manual_seed(seed)
    learned, held_out = split(all_sums(P, generator, scrambled), part)
    model = Clock(P, C, F, generator)
    optimizer = AdamW([{"params": list(model.parameters()), "weight_decay": decay}], betas=BETAS)
    curve, wanted = [], set(moments(steps, MEASUREMENTS))
    for step in range(1, steps + 1):
        loss = cross_entropy(model(learned.a, learned.b), learned.answers).value
        loss.backward()
        optimizer.step(LEARNING_RATE)
        optimizer.zero_grad()
        if step in wanted:
            figures = {KNOWN: accuracy(model, learned), UNSEEN: accuracy(model, held_out), SIZE: size(model)}
            curve.append({"step": step, "loss": float(loss.detach())} | figures)
    record: dict[str, Any] = {"arm": arm, "seed": seed, "steps": steps, "sums": len(learned.a)}
    record["parameters"] = parameter_count(model)
    record |= {name: curve[-1][name] for name in (KNOWN, UNSEEN, SIZE)}
    for name, of, level in ((KNOWN_AT, KNOWN, 0.99), (UNSEEN_AT, UNSEEN, 0.9)):
        if (first := first_step(curve, of, level)) is not None:
            record[name] = first
    return record | {"curve": curve, "seconds": time.process_time() - began}


def first_step(curve: list[dict], figure: str, level: float) -> int | None:
    """The first measured step at which the figure is at least this, or None if it never is."""
    return next((point["step"] for point in curve if point[figure] >= level), None)
