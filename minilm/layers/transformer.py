r"""Feed-forward network, Transformer block and encoder.  F20.

Letters:  B batch · T length · Q positions asked for · C model width · F feed-forward width
Sources:  Vaswani et al. (2017), §3.1 and §3.3 (post-norm); Xiong et al. (2020), On Layer Normalization in the
          Transformer Architecture (pre-norm).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import MultiHeadAttention
from minilm.layers.dropout import Dropout
from minilm.layers.normalization import LayerNorm


def gelu(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""x · Φ(x) = x · ½ (1 + erf(x/√2)): each unit scaled by the chance that a normal draw lies below it.

    This is the readable form; `ACTIVATIONS["gelu"]` is PyTorch's kernel for the same numbers.
    """
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""The tanh approximation of GELU that some published models use ("gelu_new")."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS = {"gelu": F.gelu, "gelu_new": gelu_tanh, "relu": F.relu}


class FeedForward(nn.Module):
    r"""FFN(x) = W₂ act(W₁ x + b₁) + b₂, at every position alone.  F20."""

    def __init__(self, width: int, feed_forward: int, activation: str = "gelu"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise InputError(f"activation '{activation}' is not known: choose one of {', '.join(ACTIVATIONS)}.")
        self.inner = nn.Linear(width, feed_forward)
        self.outer = nn.Linear(feed_forward, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
        return self.outer(self.activation(self.inner(x)))  # [*, C] → [*, F] → [*, C]


class TransformerBlock(nn.Module):
    r"""Attention, then the feed-forward network, each with a residual and a layer norm.  F20.

    post-norm (BERT):  x ← Norm(x + Attention(x));   x ← Norm(x + FFN(x))
    pre-norm:          x ← x + Attention(Norm(x));   x ← x + FFN(Norm(x))

    Given `asked`, only these positions of each row are worked out: they ask, and all others are only looked at.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward: int,
        dropout: float = 0.0,
        activation: str = "gelu",
        norm: str = "post",
        epsilon: float = 1e-12,
    ):
        super().__init__()
        if norm not in ("post", "pre"):
            raise InputError(f"norm '{norm}' is not known: choose post (BERT's order) or pre.")
        self.attention = MultiHeadAttention(width, heads, dropout)
        self.attention_norm = LayerNorm(width, epsilon)
        self.feed_forward = FeedForward(width, feed_forward, activation)
        self.feed_forward_norm = LayerNorm(width, epsilon)
        self.dropout = Dropout(dropout)
        self.norm = norm

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        may_attend: Bool[Tensor, "#B #H #T T"] | None = None,
        need_weights: bool = False,
        asked: Int[Tensor, "B Q"] | None = None,
    ) -> tuple[Float[Tensor, "B _ C"], Float[Tensor, "B H _ T"] | None]:
        normed = x if self.norm == "post" else self.attention_norm(x)
        if asked is None:
            attended, weights = self.attention(normed, may_attend, need_weights=need_weights)
        else:
            x, queries = at_positions(x, asked), at_positions(normed, asked)  # [B, Q, C]
            attended, weights = self.attention(queries, may_attend, memory=normed, need_weights=need_weights)
        x = x + self.dropout(attended)
        if self.norm == "post":
            x = self.attention_norm(x)
            return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x))), weights


def at_positions(x: Float[Tensor, "B T C"], asked: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q C"]:
    """The vectors at the positions `asked` of each row."""
    return x.gather(1, asked[:, :, None].expand(-1, -1, x.size(-1)))


class Encoder(nn.Module):
    """Blocks, one after the other; pre-norm needs one norm more at the end, since nothing else has normed the sum."""

    def __init__(self, layers: int, width: int, heads: int, feed_forward: int, **options):
        super().__init__()
        blocks = [TransformerBlock(width, heads, feed_forward, **options) for _ in range(layers)]
        self.layers = nn.ModuleList(blocks)
        pre_norm = options.get("norm", "post") == "pre"
        self.final_norm = LayerNorm(width, options.get("epsilon", 1e-12)) if pre_norm else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        may_attend: Bool[Tensor, "#B #H #T T"] | None = None,
        need_weights: bool = False,
        asked: Int[Tensor, "B Q"] | None = None,
    ) -> tuple[Float[Tensor, "B _ C"], list[Float[Tensor, "B H _ T"]]]:
        """The vectors after the last block and, when `need_weights`, the attention weights of every block in order.

        Given `asked`, the last block works out these positions alone, [B, Q, C]: nobody looks at what it makes elsewhere.
        """
        every_layer = []
        for i, block in enumerate(self.layers, start=1):
            x, weights = block(x, may_attend, need_weights, asked if i == len(self.layers) else None)
            every_layer.append(weights)
        return self.final_norm(x), every_layer if need_weights else []


def use_fused(model: nn.Module, fused: bool) -> None:
    """Choose PyTorch's kernels (True) or the formulas written out (False) in every layer that has both."""
    for module in model.modules():
        if hasattr(module, "fused"):
            module.fused = fused
