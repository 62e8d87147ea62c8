r"""Low-rank adaptation (LoRA): two thin matrices are trained beside a frozen linear layer.  F28.

Letters:  in, out sizes of the layer · r rank · α strength of the change
Source:   Hu et al. (2021), LoRA: Low-Rank Adaptation of Large Language Models, §4.1.
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


def check_rank(r: int) -> None:
    if r < 1:
        raise InputError(f"the rank is {r}: it must be at least 1; a small one such as 8 trains few numbers.")
