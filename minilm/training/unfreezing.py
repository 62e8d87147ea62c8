r"""Gradual unfreezing: the head learns first, and then one more layer at a time, from the top down.  F02, F08.

    epoch      1 … e       e + 1 … 2e         2e + 1 … 3e      …   from n·e + e + 1
    learns     the head    and layer n        and layer n − 1  …   and the embeddings

At the start, the head is random, and its gradients would change layers that know something already. A layer that is frozen gets
no gradient, so its weights and the optimizer's memory of them do not move, not even by decay.

Letters:  e epochs per layer · n layers
Source:   Howard and Ruder (2018), Universal Language Model Fine-tuning for Text Classification, §3.3.
"""

from torch import nn

from minilm.training.optimizer import depths_of


class Unfreezing:
    """Says which of the parameters that are trained learn in an epoch. Raises InputError for a model that does not know its depths."""

    def __init__(self, model: nn.Module, epochs_per_layer: int):
        self.epochs_per_layer = epochs_per_layer
        self.depth, self.layers = depths_of(model)
        self.trained = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def begin(self, epoch: int) -> None:
        """Freeze and unfreeze for this epoch, counted from 1."""
        lowest = self.layers + 1 - (epoch - 1) // self.epochs_per_layer
        for name, parameter in self.trained.items():
            parameter.requires_grad_(self.depth[name] >= lowest)

    def end(self) -> None:
        """Everything that was trained says so again, so that it can be saved."""
        for parameter in self.trained.values():
            parameter.requires_grad_(True)
