r"""Adapters: a small network with a bottleneck behind a frozen linear layer.  F32.

Letters:  in, out sizes of the layer · m size of the bottleneck
Source:   Houlsby et al. (2019), Parameter-Efficient Transfer Learning for NLP, §2.1.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError


class BottleneckLinear(nn.Module):
    r"""h + W↑ gelu(W↓ h + b↓) + b↑ with h = linear(x): an adapter behind a trained `linear` layer, which is frozen.

    Only `down` (W↓ [m, out], b↓ [m]) and `up` (W↑ [out, m], b↑ [out]) are trained. W↓ is drawn with `generator` from a normal
    distribution of standard deviation 1/√out, and all else starts at 0: the layer begins with exactly the output of `linear`.
    Because of the activation, it cannot be merged into one linear layer afterwards. Raises InputError if m is below 1.
    """

    def __init__(self, linear: nn.Linear, m: int, generator: torch.Generator):
        super().__init__()
        if m < 1:
            raise InputError(f"the size of the adapter is {m}: it must be at least 1, such as 16.")
        out, dtype = linear.out_features, linear.weight.dtype
        self.linear = linear.requires_grad_(False)
        self.down, self.up = nn.Linear(out, m, dtype=dtype), nn.Linear(m, out, dtype=dtype)
        with torch.no_grad():
            self.down.weight.copy_(torch.randn(m, out, generator=generator, dtype=dtype) / math.sqrt(out))
            for zero in (self.down.bias, self.up.weight, self.up.bias):
                zero.zero_()

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch out"]:
        h = self.linear(x)
        return h + self.up(F.gelu(self.down(h)))  # [*, out] → [*, m] → [*, out]
