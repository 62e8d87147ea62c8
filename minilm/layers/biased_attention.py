r"""Attention with a bias that is trained, with its gradient written by hand, for where speed may change the last digits.  F18, F21.

Letters:  B batch · H heads · T query length · S key length · D size of a head

    P = softmax(Q Kᵀ / √D + bias),  O = P V,  and with δ = ∂L/∂O:
    ∂L/∂V = Pᵀ δ,   ∂L/∂P = δ Vᵀ,   ∂L/∂Z = P ∘ (∂L/∂P − Σₛ P ∘ ∂L/∂P)  for the scores Z,
    ∂L/∂bias = Σ ∂L/∂Z  over what it was broadcast to,   ∂L/∂Q = ∂L/∂Z K / √D,   ∂L/∂K = ∂L/∂Zᵀ Q / √D

PyTorch's kernel leaves such a bias to a slower way, which looks at every row of weights for queries that see nothing. Here there are
none: `fused_attention` lets each query attend to something. This way is taken where `MINILM_PRODUCTS=onednn` has said that digits
are not compared (`layers/products.py`).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from minilm.layers.products import chosen_products


def takes_shortcut(q: Tensor, bias: Tensor) -> bool:
    """Whether the gradient is written by hand: for a bias that is trained, in single precision, where digits may change."""
    if not (bias.requires_grad and torch.is_grad_enabled()) or chosen_products() != "onednn":
        return False
    if q.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False
    return q.dtype == bias.dtype == torch.float32


def biased_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S Dv"],
    bias: Float[Tensor, "..."],
) -> Float[Tensor, "B H T Dv"]:
    """softmax(Q Kᵀ / √D + bias) V. The bias (broadcast to [B, H, T, S]) may hold −inf, but not in a whole row."""
    return _BiasedAttention.apply(q, k, v, bias)


class _BiasedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, bias):
        q = q * (1 / math.sqrt(q.size(-1)))
        p = (q @ k.transpose(-2, -1)).add_(bias).softmax(dim=-1)  # [B, H, T, S]
        ctx.save_for_backward(q, k, v, p)
        ctx.bias_size = bias.size()
        return p @ v

    @staticmethod
    @once_differentiable
    def backward(ctx, d_out):
        q, k, v, p = ctx.saved_tensors  # q is divided by √D already
        dv = p.transpose(-2, -1) @ d_out
        dp = d_out @ v.transpose(-2, -1)
        dz = torch.ops.aten._softmax_backward_data(dp, p, -1, p.dtype)  # p ∘ (dp − Σₛ p ∘ dp), in one pass
        dq = (dz @ k).mul_(1 / math.sqrt(q.size(-1)))
        return dq, dz.transpose(-2, -1) @ q, dv, dz.sum_to_size(ctx.bias_size)
