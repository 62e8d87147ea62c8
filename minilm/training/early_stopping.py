r"""Early stopping: train until the held-out metric stops improving, and keep the weights with which it was best.

Source: Prechelt (1998), Early Stopping – But When?
"""

import math

import torch
from torch import Tensor, nn

from minilm.errors import InputError


class EarlyStopping:
    """Watches a metric, remembers the best weights (in memory), and puts them back.

        stopping = EarlyStopping(patience=3)
        while not stopping.should_stop:
            train_an_epoch(model)
            stopping.update(accuracy(model), model)
        stopping.restore(model)

    `patience` is the number of evaluations in a row without a new best after which training ends. "Better" means strictly
    better; NaN is never better, and neither is the worst possible value (−inf for "max", +inf for "min").

    Raises:
        InputError: `patience` is below 1, or `mode` is neither "max" nor "min".
    """

    def __init__(self, patience: int, mode: str = "max"):
        if patience < 1:
            raise InputError(
                f"patience must be at least 1, not {patience}: it is the number of evaluations to wait for a new best."
            )
        if mode not in ("max", "min"):
            raise InputError(f'mode must be "max" (for an accuracy) or "min" (for a loss), not {mode!r}.')
        self.patience = patience
        self.mode = mode
        self.best = -math.inf if mode == "max" else math.inf
        self.waited = 0
        self._weights: dict[str, Tensor] | None = None

    def update(self, metric: float, model: nn.Module) -> bool:
        """Record one evaluation. Returns True if it is the best so far, in which case the weights are copied."""
        better = metric > self.best if self.mode == "max" else metric < self.best  # False for NaN
        if better:
            self.best, self.waited = metric, 0
            self._weights = {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}
        else:
            self.waited += 1
        return better

    @property
    def should_stop(self) -> bool:
        """Whether `patience` evaluations in a row have brought no new best."""
        return self.waited >= self.patience

    @torch.no_grad()
    def restore(self, model: nn.Module) -> None:
        """Put the best weights back into the same tensors, so that an optimizer and a tied output still point at them.

        Raises:
            InputError: no evaluation so far was better than the worst possible value.
        """
        if self._weights is None:
            raise InputError("there are no best weights to restore: every metric so far was NaN, or there was none.")
        for name, tensor in _tensors(model).items():
            tensor.copy_(self._weights[name])


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, each tied one once (`state_dict` would name it, and copy it, twice)."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
