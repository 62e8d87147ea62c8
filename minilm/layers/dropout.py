r"""Dropout with a visible random generator, so that a run can be repeated and resumed.

Source:  Srivastava et al. (2014), Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minilm.errors import InputError


def dropout(x: Float[Tensor, "*any"], p: float, generator: torch.Generator | None = None) -> Float[Tensor, "*any"]:
    r"""x ⊙ m / (1 − p) with mᵢ = 1 with probability 1 − p, else 0.

    The division keeps the expected value of every unit unchanged, so nothing has to change at test time.
    """
    keep = torch.rand(x.shape, generator=generator, device=x.device, dtype=torch.float32) >= p
    return x * keep / (1 - p)


class Dropout(nn.Module):
    """Dropout in training mode, the identity otherwise. Raises InputError unless 0 ≤ p < 1.

    It draws random numbers from `generator`; None means PyTorch's global generator. `use_generator` sets it for a model.
    """

    def __init__(self, p: float):
        super().__init__()
        if not 0 <= p < 1:
            raise InputError(f"dropout {p} is not in [0, 1): it is the share of units to switch off.")
        self.p = p
        self.generator: torch.Generator | None = None

    @property
    def active(self) -> bool:
        return self.training and self.p > 0

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return dropout(x, self.p, self.generator) if self.active else x

    def extra_repr(self) -> str:
        return f"p={self.p}"


def use_generator(model: nn.Module, generator: torch.Generator) -> None:
    """Let every dropout of `model` draw from `generator`, so that one seed fixes a run and one saved state resumes it."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.generator = generator
