r"""Layer normalisation.  F20.

Letters:  C model width
Source:   Ba, Kiros and Hinton (2016), Layer Normalization.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def layer_norm(
    x: Float[Tensor, "*any C"], gain: Float[Tensor, " C"], bias: Float[Tensor, " C"], epsilon: float
) -> Float[Tensor, "*any C"]:
    r"""γ ⊙ (x − μ) / √(σ² + ε) + β, with μ and σ² over the C features of each position.

    The variance is the biased one (divided by C, not C − 1), and ε is added inside the root.
    """
    mean = x.mean(dim=-1, keepdim=True)
    variance = (x - mean).square().mean(dim=-1, keepdim=True)
    return gain * (x - mean) / torch.sqrt(variance + epsilon) + bias


def fused_layer_norm(
    x: Float[Tensor, "*any C"], gain: Float[Tensor, " C"], bias: Float[Tensor, " C"], epsilon: float
) -> Float[Tensor, "*any C"]:
    """The same numbers as `layer_norm` from PyTorch's kernel, in one pass.  F20."""
    return F.layer_norm(x, gain.shape, gain, bias, epsilon)


class LayerNorm(nn.Module):
    """`layer_norm` with its two learned vectors. `fused` chooses `fused_layer_norm`."""

    def __init__(self, width: int, epsilon: float = 1e-12):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.epsilon = epsilon
        self.fused = True

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
        norm = fused_layer_norm if self.fused else layer_norm
        return norm(x, self.gain, self.bias, self.epsilon)
