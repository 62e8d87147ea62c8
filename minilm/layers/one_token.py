r"""One token at a time, with as few calls as possible: the pre-norm stack once more, for a model that writes.  F20, F23.

Letters:  B batch · S tokens read so far, the new one included · C model width · H heads · D size of a head

A model that writes passes through its blocks for every single token. The products are so small then that finding the
modules and calling them takes as long as computing. So the weights are looked up once, and a step is nothing but products.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.layers.attention import KVCache, MultiHeadAttention
from minilm.layers.normalization import LayerNorm, fused_layer_norm
from minilm.layers.products import Linear


class BlockWeights(NamedTuple):
    """What a pre-norm block computes with: a weight and a bias for each product, a gain, a bias and ε for each norm."""

    heads: int
    attention_norm: tuple[Tensor, Tensor, float]
    to_qkv: tuple[Tensor, Tensor]
    output: tuple[Tensor, Tensor]
    feed_forward_norm: tuple[Tensor, Tensor, float]
    inner: tuple[Tensor, Tensor]
    outer: tuple[Tensor, Tensor]
    activation: Callable[[Tensor], Tensor]


class OneToken:
    """The blocks of a `TransformerStack` and its last norm for one new token per row: the same numbers as its `forward` with
    these caches, without dropout. `OneToken.fits` says whether a stack can be read like this."""

    def __init__(self, stack: Any) -> None:
        self.blocks = [
            BlockWeights(
                block.attention.heads,
                norm_of(block.attention_norm),
                linear_of(block.attention.to_qkv),
                linear_of(block.attention.output),
                norm_of(block.feed_forward_norm),
                linear_of(block.feed_forward.inner),
                linear_of(block.feed_forward.outer),
                block.feed_forward.activation,
            )
            for block in stack.layers
        ]
        self.final_norm = norm_of(stack.final_norm)

    @staticmethod
    def fits(stack: Any) -> bool:
        """Whether all blocks are pre-norm, without cross-attention, with `MultiHeadAttention` itself and plain products."""
        return all(
            block.norm == "pre"
            and block.cross_attention is None
            and type(block.attention) is MultiHeadAttention
            and block.attention.kept is None
            and all(type(linear).forward in (nn.Linear.forward, Linear.forward) for linear in linears(block))
            for block in stack.layers
        )

    def __call__(
        self, x: Float[Tensor, "B C"], caches: list[KVCache], bias: Float[Tensor, "#B #H 1 S"] | None = None
    ) -> Float[Tensor, "B C"]:
        """The hidden states. `bias` is added to the scores of every block: relative positions, −∞ at padding."""
        B, C = x.shape
        for block, cache in zip(self.blocks, caches, strict=True):
            qkv = F.linear(fused_layer_norm(x, *block.attention_norm), *block.to_qkv).view(B, 3, block.heads, 1, -1)
            k, v = cache.append(qkv[:, 1:])  # each [B, H, S, D]
            heads = F.scaled_dot_product_attention(qkv[:, 0], k, v, attn_mask=bias)  # [B, H, 1, D]
            x = x + F.linear(heads.reshape(B, C), *block.output)
            inner = F.linear(fused_layer_norm(x, *block.feed_forward_norm), *block.inner)  # [B, F]
            x = x + F.linear(block.activation(inner), *block.outer)
        return fused_layer_norm(x, *self.final_norm)


def wide_product(x: Float[Tensor, "*any C"], weight: Float[Tensor, "V C"]) -> Float[Tensor, "*any V"]:
    """x Wᵀ for thousands of outputs, such as the tokens of a vocabulary.

    For several rows in single precision on a processor, without gradients, oneDNN computes it: the same sums in about two
    thirds of the time. (PyTorch takes oneDNN's kernels when it is given oneDNN's tensors.)
    """
    usual = torch.is_grad_enabled() or x.dtype != torch.float32 or x.device.type != "cpu" or x.numel() <= x.size(-1)
    if usual or not torch.backends.mkldnn.is_available():
        return F.linear(x, weight)
    return F.linear(x.to_mkldnn(), weight).to_dense()


def linears(block: Any) -> list[nn.Module]:
    """The four products of a block."""
    return [block.attention.to_qkv, block.attention.output, block.feed_forward.inner, block.feed_forward.outer]


def linear_of(module: nn.Linear) -> tuple[Tensor, Tensor]:
    """W and b of W x + b."""
    return module.weight, module.bias


def norm_of(module: LayerNorm) -> tuple[Tensor, Tensor, float]:
    """γ, β and ε of a layer norm."""
    return module.gain, module.bias, module.epsilon
