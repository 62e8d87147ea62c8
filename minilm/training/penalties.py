r"""A penalty on the weights, added to the loss: for large weights, or for weights far from where they started.  F01.

    L(θ) + λ · ½ Σ θ²                L2: its gradient λθ pulls every weight towards 0
    L(θ) + α · ½ Σ (θ − θ⁰)²         L2 from the start: α(θ − θ⁰) pulls the encoder back to what it knew before fine-tuning

Both sums go over the weights that learn, except biases and the gains of norms (everything that is 1-d); the second leaves out
the head, which knew nothing. Added to the loss, a penalty goes through Adam's √v̂ like every gradient, which the decoupled
`weight_decay` of AdamW does not.

Source:  Li, Grandvalet and Davoine (2018), Explicit Inductive Bias for Transfer Learning with Convolutional Networks (L2-SP).
"""

from dataclasses import replace

from torch import nn

from minilm.examples.batching import Batch
from minilm.models.adaptation import HEADS
from minilm.training.around import Around
from minilm.training.loop import Step
from minilm.training.losses import l2
from minilm.training.objective import Objective


class Penalised(Around):
    """The loss of another objective with both penalties; λ is `towards_zero`, α is `towards_start`."""

    def __init__(self, objective: Objective, model: nn.Module, towards_zero: float = 0.0, towards_start: float = 0.0):
        super().__init__(objective)
        self.towards_zero, self.towards_start = towards_zero, towards_start
        learn = {name: p for name, p in model.named_parameters() if p.requires_grad and p.ndim > 1}
        self.weights = list(learn.values())
        self.started = [
            (p, p.detach().clone()) for name, p in learn.items() if towards_start and not name.startswith(HEADS)
        ]

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The loss with the penalties to minimise, and the loss without them to display."""
        step = self.objective.step(model, batch)
        loss = step.loss
        if self.towards_zero:
            loss = loss + self.towards_zero * l2(self.weights)
        if self.started:
            loss = loss + self.towards_start * l2(now - before for now, before in self.started)
        return replace(step, loss=loss)


def with_penalties(objective: Objective, model: nn.Module, towards_zero: float, towards_start: float) -> Objective:
    """The objective itself if both are 0, or a `Penalised` around it."""
    if towards_zero or towards_start:
        return Penalised(objective, model, towards_zero, towards_start)
    return objective
