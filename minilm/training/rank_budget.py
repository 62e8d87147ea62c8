r"""The rank budget of adaptive low-rank tuning: which triplets of which layers stay.  F32.

Every changed matrix starts with more rank than it may keep. How much a number w matters is its sensitivity, |w · ∂L/∂w|,
which says how much the loss would change without it. It is noisy, so it is averaged over the steps, and multiplied by how
much it varies:

    I ← |w ∂L/∂w|     Ī ← β₁ Ī + (1 − β₁) I     U ← β₂ U + (1 − β₂) |I − Ī|     s(w) = Ī · U
    S = s(λᵢ) + mean over column i of P of s + mean over row i of Q of s              for the triplet i

The budget b falls from all triplets to those that may stay, b = b_T + (b₀ − b_T)(1 − progress)³. At a pruning, the b triplets
with the largest S of all layers together stay, and the λ of the others becomes 0.

Source:  Zhang et al. (2023), AdaLoRA: Adaptive Budget Allocation for Parameter-Efficient Fine-Tuning, §3.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from minilm.examples.batching import Batch
from minilm.layers.low_rank import AdaptiveLinear
from minilm.models.adaptation import adaptive_layers, final_rank
from minilm.training.around import Around
from minilm.training.loop import Step
from minilm.training.objective import Objective

BETA = 0.85  # β₁ and β₂
ORTHOGONAL = 0.1  # the weight of ‖PᵀP − I‖² + ‖QQᵀ − I‖² in the loss (the paper's γ)
FIRST, LAST = 0.1, 0.6  # the budget falls between these shares of the run
EVERY = 5  # steps between two prunings, so that a triplet that was taken out can come back


def budget_at(progress: float, start: int, end: int) -> int:
    """How many triplets may stay when this share of the run, from 0 to 1, is done."""
    if progress <= FIRST:
        return start
    left = max(0.0, 1 - (progress - FIRST) / (LAST - FIRST))
    return int(end + (start - end) * left**3)


class Importance:
    """The importance of every triplet of some layers, from the gradients of step after step."""

    def __init__(self, layers: Mapping[str, AdaptiveLinear], beta: float = BETA):
        self.layers, self.beta = layers, beta
        self.mean: dict[tuple[str, str], Tensor] = {}  # Ī
        self.spread: dict[tuple[str, str], Tensor] = {}  # U

    @torch.no_grad()
    def add(self, key: tuple[str, str], w: Tensor) -> None:
        """Count the gradient of `w`, which is P, lam or Q of a layer: `key` is the layer's name and the matrix's."""
        assert w.grad is not None
        now, beta = (w * w.grad).abs(), self.beta
        mean, spread = self.mean.get(key, torch.zeros_like(w)), self.spread.get(key, torch.zeros_like(w))
        self.mean[key] = beta * mean + (1 - beta) * now
        self.spread[key] = beta * spread + (1 - beta) * (now - self.mean[key]).abs()

    def scores(self) -> dict[str, Tensor]:
        """S [r] of each layer's triplets."""
        out = {}
        for name in self.layers:
            P, lam, Q = (self.mean[name, part] * self.spread[name, part] for part in ("P", "lam", "Q"))
            out[name] = lam + P.mean(dim=0) + Q.mean(dim=1)
        return out


class RankBudget(Around):
    """An objective for a model with adaptive layers: the loss of another objective, the pull of P and Q towards orthonormal
    ones, and the pruning between the steps. `finish` takes out for good what was pruned."""

    def __init__(self, objective: Objective, model: nn.Module):
        super().__init__(objective)
        self.layers = adaptive_layers(model)
        self.importance, self.progress, self.steps = Importance(self.layers), 0.0, 0
        self.start = sum(len(layer.lam) for layer in self.layers.values())
        self.end = sum(final_rank(len(layer.lam)) for layer in self.layers.values())
        self.hooks = [
            getattr(layer, part).register_post_accumulate_grad_hook(self.hook(name, part))
            for name, layer in self.layers.items()
            for part in ("P", "lam", "Q")
        ]

    def hook(self, name: str, part: str):
        """PyTorch calls it with the matrix as soon as its gradient is there."""
        return lambda w: self.importance.add((name, part), w)

    def at(self, progress: float) -> "RankBudget":
        self.progress = progress
        return super().at(progress)

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The loss to minimise, and the loss without the pull to display."""
        due = self.steps % EVERY == 0 or self.progress >= LAST
        if self.steps and due:
            self.prune()
        self.steps += 1
        step = self.objective.step(model, batch)
        pull = torch.stack([layer.not_orthonormal() for layer in self.layers.values()]).sum()
        return replace(step, loss=step.loss + ORTHOGONAL * pull)

    def chosen(self, budget: int) -> dict[str, Tensor]:
        """For each layer, which of its triplets are among the `budget` most important ones of all layers, as booleans [r]."""
        scores = self.importance.scores()
        together = torch.cat(list(scores.values()))
        stay = torch.zeros(len(together), dtype=torch.bool, device=together.device)
        stay[together.argsort(descending=True, stable=True)[:budget]] = True
        return dict(zip(scores, stay.split([len(score) for score in scores.values()]), strict=True))

    @torch.no_grad()
    def prune(self) -> None:
        """Set λ to 0 for the triplets that the budget has no room for."""
        for name, stay in self.chosen(budget_at(self.progress, self.start, self.end)).items():
            self.layers[name].lam.mul_(stay)

    def finish(self) -> None:
        """Take the triplets out that are not among the last budget. The layers then have different ranks."""
        for hook in self.hooks:
            hook.remove()
        for name, stay in self.chosen(self.end).items():
            self.layers[name].keep(stay.nonzero().flatten())


def with_rank_budget(objective: Any, model: nn.Module) -> Any:
    """The objective itself, or a `RankBudget` around it if the model has adaptive layers."""
    return RankBudget(objective, model) if adaptive_layers(model) else objective
