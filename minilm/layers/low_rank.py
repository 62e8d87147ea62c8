r"""Low-rank adaptation (LoRA) and its adaptive form (AdaLoRA): thin matrices are trained beside a frozen linear layer.  F28, F32.

Letters:  in, out sizes of the layer · r rank · α strength of the change
Sources:  Hu et al. (2021), LoRA: Low-Rank Adaptation of Large Language Models, §4.1; Zhang et al. (2023), AdaLoRA: Adaptive
          Budget Allocation for Parameter-Efficient Fine-Tuning, §3.1.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from minilm.errors import InputError


class LowRankLinear(nn.Module):
    r"""y = x Wᵀ + b + α/r · (x Aᵀ) Bᵀ around a trained `linear` layer (W [out, in], b [out]), whose weights are frozen.

    Only `self.A` [r, in] and `self.B` [out, r] are trained; both are an `nn.Parameter`. A is drawn with `generator` from a
    normal distribution of mean 0 and standard deviation 1/√in, and B starts at 0. So the layer begins with exactly the
    output of `linear`. Raises InputError if the rank is below 1.
    Source: Hu et al. (2021), LoRA.
    """

    def __init__(self, linear: nn.Linear, r: int, alpha: float, generator: torch.Generator):
        super().__init__()
        check_rank(r)
        out, size = linear.weight.shape
        self.linear = linear.requires_grad_(False)  # freezes the trained layer
        draw = torch.randn(r, size, generator=generator, dtype=linear.weight.dtype)
        self.A = nn.Parameter(draw / math.sqrt(size))
        self.B = nn.Parameter(torch.zeros(out, r, dtype=linear.weight.dtype))
        self.scale = alpha / r

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch out"]:
        # Down to r numbers first, then up: the product B A, which is as large as W, is never computed.
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.A), self.B)


class MergeableLowRank(LowRankLinear):
    """The same layer, which also answers `weight` and `bias` like the one linear layer that computes the same. Attention asks
    for them where queries and keys come from different tensors, and `merge` (`models/adaptation.py`) puts them in its place."""

    @property
    def weight(self) -> Float[Tensor, "out size"]:
        """W + α/r · B A: the weight of the one linear layer that computes the same."""
        return self.linear.weight + self.scale * self.B @ self.A

    @property
    def bias(self) -> Float[Tensor, " out"] | None:
        """b, which does not change."""
        return self.linear.bias


class AdaptiveLinear(nn.Module):
    r"""y = x Wᵀ + b + α/r · ((x Qᵀ) ⊙ λ) Pᵀ around a trained `linear` layer, whose weights are frozen.

    The change α/r · P diag(λ) Q has the form of a singular value decomposition: `P` [out, r], `lam` = λ [r] and `Q` [r, in]
    are trained, and a triplet (column of P, λᵢ, row of Q) is taken out by λᵢ = 0. So the rank can differ from layer to layer:
    `training/rank_budget.py` decides which triplets stay. `alpha / r` keeps the r of the start. P and Q are drawn with
    `generator`, with standard deviations 1/√out and 1/√in, so that their columns and rows are nearly orthonormal; λ starts
    at 0. Raises InputError if the rank is below 1.
    Source: Zhang et al. (2023), AdaLoRA, equation 3.
    """

    def __init__(self, linear: nn.Linear, r: int, alpha: float, generator: torch.Generator):
        super().__init__()
        check_rank(r)
        out, size = linear.weight.shape
        self.linear = linear.requires_grad_(False)
        dtype = linear.weight.dtype
        self.P = nn.Parameter(torch.randn(out, r, generator=generator, dtype=dtype) / math.sqrt(out))
        self.lam = nn.Parameter(torch.zeros(r, dtype=dtype))
        self.Q = nn.Parameter(torch.randn(r, size, generator=generator, dtype=dtype) / math.sqrt(size))
        self.scale = alpha / r

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch out"]:
        return self.linear(x) + self.scale * F.linear(F.linear(x, self.Q) * self.lam, self.P)

    @property
    def weight(self) -> Float[Tensor, "out size"]:
        """W + α/r · P diag(λ) Q: the weight of the one linear layer that computes the same."""
        return self.linear.weight + self.scale * (self.P * self.lam) @ self.Q

    @property
    def bias(self) -> Float[Tensor, " out"] | None:
        """b, which does not change."""
        return self.linear.bias

    def not_orthonormal(self) -> Float[Tensor, ""]:
        """‖PᵀP − I‖² + ‖QQᵀ − I‖², in the Frobenius norm: 0 where λ are singular values."""
        eye = torch.eye(len(self.lam), dtype=self.lam.dtype, device=self.lam.device)
        return (self.P.T @ self.P - eye).square().sum() + (self.Q @ self.Q.T - eye).square().sum()

    def keep(self, places: Tensor) -> None:
        """Keep only the triplets at these places; the others are taken out of the three matrices."""
        with torch.no_grad():
            self.P = nn.Parameter(self.P[:, places].clone())
            self.lam = nn.Parameter(self.lam[places].clone())
            self.Q = nn.Parameter(self.Q[places].clone())


def check_rank(r: int) -> None:
    if r < 1:
        raise InputError(f"the rank is {r}: it must be at least 1; a small one such as 8 trains few numbers.")
