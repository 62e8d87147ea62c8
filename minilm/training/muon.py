r"""Muon: steps of equal size in every direction of a matrix.  F03.

Letters:  θ a matrix of weights · g its gradient · m the running sum of g · μ momentum · η learning rate · λ weight decay
Source:   Jordan et al. (2024), Muon: An optimizer for hidden layers in neural networks.

A gradient is mostly a few directions: its singular values fall quickly, and a step along g hardly moves the weak ones, in
which the rare words are. Muon replaces g = U S Vᵀ by U Vᵀ, so that all directions move equally far. AdamW does something
like it number by number; Muon does it for the matrix as a whole. It is for the matrices inside the blocks. Tables of
embeddings, heads, norms and biases are updated by AdamW, in the same optimizer.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.layers.transformer import TransformerBlock
from minilm.training.optimizer import AdamW

COEFFICIENTS = 3.4445, -4.7750, 2.0315


def orthogonalised(G: Float[Tensor, "N R C"], steps: int = 5) -> Float[Tensor, "N R C"]:
    r"""U Vᵀ of N matrices G = U S Vᵀ, roughly and quickly: X ← aX + b(XXᵀ)X + c(XXᵀ)²X, five times from X = G/‖G‖.  F03.

    Each step leaves U and V as they are and turns every singular value s into as + bs³ + cs⁵. That drives all of them
    towards 1: after five steps, everything between 0.01 and 1 lies between 0.68 and 1.14. Products of matrices are
    all that it needs, and they are what a processor does best; a singular value decomposition takes many times as long.
    Source: Jordan et al. (2024), who chose a, b and c so that small singular values grow as fast as possible.
    """
    a, b, c = COEFFICIENTS
    tall = G.size(1) > G.size(2)
    X = G.transpose(1, 2) if tall else G  # XXᵀ is then the smaller of the two products
    X = X / (X.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(steps):
        A = X @ X.transpose(1, 2)
        X = a * X + torch.baddbmm(b * A, A, A, alpha=c) @ X
    return X.transpose(1, 2) if tall else X


class Muon(AdamW):
    r"""m ← μm + g;  θ ← θ − ηλθ;  θ ← θ − η √max(1, R/C) · orthogonalised(g + μm) for a matrix θ [R, C].  F03.

    A group with `matrices` is updated in this way, and any other group as by `AdamW`. `matrices` says how many matrices
    of the same size lie on top of each other in each of its tensors: 3 for query, key and value in one, which are
    orthogonalised one by one. g + μm is Nesterov's: the momentum after the step that is being taken.
    `matrix_groups` splits the groups of a model accordingly.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], momentum: float = 0.95, **options: Any):
        self.momentum = momentum
        super().__init__(groups, **options)

    def remembered(self, group):
        return ("m",) if group.get("matrices") else self.remembers

    def move(self, theta, g, group, learning_rate, t, memory):
        n = group.get("matrices")
        if not n:
            return super().move(theta, g, group, learning_rate, t, memory)
        m = memory["m"].mul_(self.momentum).add_(g)
        step = orthogonalised(g.add(m, alpha=self.momentum).view(n, -1, g.size(1)))  # [n, R, C]
        R, C = step.shape[1:]
        if decay := group["weight_decay"]:
            theta.mul_(1 - learning_rate * decay)
        theta.sub_(step.reshape(theta.shape), alpha=learning_rate * max(1, R / C) ** 0.5)


def matrix_groups(groups: Iterable[dict[str, Any]], model: nn.Module, scale: float) -> list[dict[str, Any]]:
    """The groups of `parameter_groups`, with the matrices of the model's blocks in groups of their own, for `Muon`.

    They are the weights of all linear layers inside a `TransformerBlock`. `scale` multiplies their learning rate: it is the
    learning rate of Muon divided by that of AdamW. Query, key and value, which attention keeps in one tensor, count as
    three matrices.

    Raises:
        InputError: the model has no such matrix.
    """
    matrices = {
        id(layer.weight): getattr(layer, "stacked", 1)
        for block in model.modules()
        if isinstance(block, TransformerBlock)
        for layer in block.modules()
        if isinstance(layer, nn.Linear)
    }
    split: list[dict[str, Any]] = []
    for group in groups:
        parts: dict[int, dict[str, Any]] = {}
        for name, parameter in zip(group["names"], group["params"], strict=True):
            n = matrices.get(id(parameter), 0)
            empty = {**group, "scale": group["scale"] * (scale if n else 1), "matrices": n, "params": [], "names": []}
            part = parts.setdefault(n, empty)
            part["params"].append(parameter)
            part["names"].append(name)
        split += parts.values()
    if not any(group["matrices"] for group in split):
        raise InputError(
            f"Muon is for the matrices of Transformer blocks, and this {type(model).__name__} trains none."
        )
    return split
