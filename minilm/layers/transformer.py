r"""Feed-forward network, Transformer block, and the stack of blocks.  F20.

Letters:  B batch · T length · Q number of query positions · M length of the memory · C model width · F feed-forward width
Sources:  Vaswani et al. (2017), §3.1 and §3.3 (post-norm); Xiong et al. (2020), On Layer Normalization in the
          Transformer Architecture (pre-norm).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import KVCache, MemoryCache, MultiHeadAttention, RotaryAttention
from minilm.layers.dropout import Dropout
from minilm.layers.normalization import LayerNorm
from minilm.layers.positions import RelativeBias, check_positions
from minilm.layers.products import Linear


def gelu(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""x · Φ(x) = x · ½ (1 + erf(x/√2)): each unit is scaled by the probability that a normal draw lies below it.

    This is the readable form; `ACTIVATIONS["gelu"]` is PyTorch's kernel for the same numbers.
    """
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    r"""The tanh approximation of GELU that some published models use ("gelu_new")."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "gelu_new": gelu_tanh, "relu": F.relu}


class FeedForward(nn.Module):
    r"""FFN(x) = W₂ act(W₁ x + b₁) + b₂, at each position separately.  F20."""

    def __init__(self, width: int, feed_forward: int, activation: str = "gelu"):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise InputError(f"activation '{activation}' is not known: choose one of {', '.join(ACTIVATIONS)}.")
        self.inner = Linear(width, feed_forward)
        self.outer = Linear(feed_forward, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Float[Tensor, "*any C"]) -> Float[Tensor, "*any C"]:
        return self.outer(self.activation(self.inner(x)))  # [*, C] → [*, F] → [*, C]


class TransformerBlock(nn.Module):
    r"""Attention, then the feed-forward network, each with a residual and a layer norm.  F20.

    post-norm (BERT):  x ← Norm(x + Attention(x));   x ← Norm(x + FFN(x))
    pre-norm:          x ← x + Attention(Norm(x));   x ← x + FFN(Norm(x))

    With `cross_attention` a third sub-layer stands between the two. Its queries come from x, its keys and values from
    `memory`, for example from the hidden states of an encoder.
    `attention` is the class of the attention layers: pass a subclass of `MultiHeadAttention` for another kind of positions.
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
        cross_attention: bool = False,
        attention: type[MultiHeadAttention] = MultiHeadAttention,
    ):
        super().__init__()
        if norm not in ("post", "pre"):
            raise InputError(f"norm '{norm}' is not known: choose post (BERT's order) or pre.")
        self.attention = attention(width, heads, dropout)
        self.attention_norm = LayerNorm(width, epsilon)
        self.cross_attention = attention(width, heads, dropout) if cross_attention else None
        self.cross_attention_norm = LayerNorm(width, epsilon) if cross_attention else None
        self.feed_forward = FeedForward(width, feed_forward, activation)
        self.feed_forward_norm = LayerNorm(width, epsilon)
        self.dropout = Dropout(dropout)
        self.norm = norm

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        may_attend: Bool[Tensor, "#B #H #T S"] | None = None,
        need_weights: bool = False,
        query_positions: Int[Tensor, "B Q"] | None = None,
        is_causal: bool = False,
        memory: Float[Tensor, "B M C"] | None = None,
        memory_may_attend: Bool[Tensor, "#B #H #T M"] | None = None,
        cache: KVCache | None = None,
        bias: Float[Tensor, "1 _ T S"] | None = None,
        memory_cache: MemoryCache | None = None,
    ) -> tuple[Float[Tensor, "B _ C"], Float[Tensor, "B H _ _"] | None]:
        """The hidden states after the block and, when `need_weights`, the weights of its self-attention; in a block with
        cross-attention, the weights of that, which say how the two texts belong together.

        `bias` is added to the scores of the self-attention.
        Given `query_positions`, only these positions of each row are computed, [B, Q, C]: they alone act as queries, while
        all positions act as keys and values. The numbers equal those of the full computation, for less work.
        Raises InputError if `memory` is given to a block without cross-attention or is missing for a block that has it, and
        if `query_positions` and a `cache` are given together.
        """
        if memory is None and self.cross_attention is not None:
            raise InputError("this block has cross-attention: give it a memory to attend to.")
        if memory is not None and self.cross_attention is None:
            raise InputError("this block takes no memory: make it with cross_attention=True.")
        normed = x if self.norm == "post" else self.attention_norm(x)
        if query_positions is None:
            attended, weights = self.attention(normed, may_attend, None, need_weights, is_causal, cache, bias=bias)
        else:
            may_attend = rows_of_mask(may_attend, query_positions, x.size(1), is_causal)
            memory_may_attend = rows_of_mask(memory_may_attend, query_positions, x.size(1))
            x, queries = at_positions(x, query_positions), at_positions(normed, query_positions)  # [B, Q, C]
            bias = None if bias is None else rows_of_bias(bias, query_positions)
            attended, weights = self.attention(
                queries, may_attend, normed, need_weights, cache=cache, query_positions=query_positions, bias=bias
            )
        x = x + self.dropout(attended)
        if self.norm == "post":
            x = self.attention_norm(x)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            queries = x if self.norm == "post" else self.cross_attention_norm(x)
            attended, weights = self.cross_attention(
                queries, memory_may_attend, memory, need_weights, cache=memory_cache
            )
            x = x + self.dropout(attended)
            x = self.cross_attention_norm(x) if self.norm == "post" else x
        if self.norm == "post":
            return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x))), weights


def at_positions(x: Float[Tensor, "B T C"], query_positions: Int[Tensor, "B Q"]) -> Float[Tensor, "B Q C"]:
    """The vectors at these positions of each row."""
    return x.gather(1, query_positions[:, :, None].expand(-1, -1, x.size(-1)))


def rows_of_bias(bias: Float[Tensor, "1 H T S"], query_positions: Int[Tensor, "B Q"]) -> Float[Tensor, "B H Q S"]:
    """The rows of a bias that belong to the query positions.

    They are looked up as in an embedding table, because the gradient of `bias[0][:, query_positions]` adds its parts up in
    whatever order the threads arrive: the same seed would not give the same bits.
    """
    _, H, T, S = bias.shape
    rows = F.embedding(query_positions, bias[0].transpose(0, 1).reshape(T, H * S))  # [B, Q, H·S]
    return rows.view(*query_positions.shape, H, S).transpose(1, 2)  # [B, Q, H, S] → [B, H, Q, S]


def rows_of_mask(
    may_attend: Bool[Tensor, "#B #H #T S"] | None, query_positions: Int[Tensor, "B Q"], T: int, is_causal: bool = False
) -> Bool[Tensor, "#B #H #Q S"] | None:
    """The rows of an attention mask that belong to the query positions, combined with the causal mask if `is_causal`."""
    if may_attend is not None and may_attend.size(2) > 1:
        rows = query_positions[:, None, :, None].expand(-1, may_attend.size(1), -1, may_attend.size(3))  # [B, ·, Q, S]
        may_attend = may_attend.expand(len(query_positions), -1, -1, -1).gather(2, rows)
    if is_causal:
        earlier = torch.arange(T, device=query_positions.device) <= query_positions[:, None, :, None]  # [B, 1, Q, T]
        may_attend = earlier if may_attend is None else may_attend & earlier
    return may_attend


class TransformerStack(nn.Module):
    """Blocks, one after the other. Pre-norm needs one more norm at the end, because nothing else has normed the sum.

    With `positions` "relative" (or "mpnet"), all blocks share one `RelativeBias`; with "rotary", their attention is
    `RotaryAttention`.
    Other positions are part of the embeddings. `options` are those of `TransformerBlock`.
    Raises InputError for positions that are not known, and if "rotary" comes with another class of attention.
    """

    def __init__(self, layers: int, width: int, heads: int, feed_forward: int, positions: str = "learned", **options):
        super().__init__()
        check_positions(positions)
        if positions == "rotary" and not issubclass(options.setdefault("attention", RotaryAttention), RotaryAttention):
            raise InputError("rotary positions bring their own attention: leave `attention` out, or subclass it.")
        self.relative_bias = RelativeBias(heads) if positions in ("relative", "mpnet") else None
        blocks = [TransformerBlock(width, heads, feed_forward, **options) for _ in range(layers)]
        self.layers: Any = nn.ModuleList(blocks)
        pre_norm = options.get("norm", "post") == "pre"
        self.final_norm: Any = LayerNorm(width, options.get("epsilon", 1e-12)) if pre_norm else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        may_attend: Bool[Tensor, "#B #H #T S"] | None = None,
        need_weights: bool = False,
        query_positions: Int[Tensor, "B Q"] | None = None,
        is_causal: bool = False,
        memory: Float[Tensor, "B M C"] | None = None,
        memory_may_attend: Bool[Tensor, "#B #H #T M"] | None = None,
        caches: list[KVCache] | None = None,
        memory_caches: list[MemoryCache] | None = None,
    ) -> tuple[Float[Tensor, "B _ C"], list[Float[Tensor, "B _ _ _"]]]:
        """The hidden states after the last block and, when `need_weights`, the attention weights of every block in order.

        Given `query_positions`, the last block computes these positions alone, [B, Q, C], because nothing reads its other
        outputs. `caches` has one `KVCache` for each block, and `memory_caches` a `MemoryCache`. Raises InputError if `caches`
        has more or fewer, and as a block does.
        """
        if caches is not None and len(caches) != len(self.layers):
            raise InputError(f"{len(caches)} caches do not fit {len(self.layers)} blocks: give one for each.")
        bias = None
        if self.relative_bias is not None:
            T = x.size(1)
            S = caches[0].keys_for(T) if caches else T
            bias = self.relative_bias(T, S, start=S - T)
        every_layer = []
        for i, block in enumerate(self.layers):
            positions = query_positions if i == len(self.layers) - 1 else None
            cache = None if caches is None else caches[i]
            memory_cache = None if memory_caches is None else memory_caches[i]
            x, weights = block(
                *(x, may_attend, need_weights, positions, is_causal, memory, memory_may_attend, cache, bias),
                memory_cache=memory_cache,
            )
            every_layer.append(weights)
        return self.final_norm(x), every_layer if need_weights else []

    def depth_of(self, name: str) -> int:
        """How many blocks lie between the input and the parameter `name`, counting its own: 1 for "layers.0.…".

        The final norm, which comes after the last block, counts as part of it; the bias that all blocks share, as part of the
        first.
        """
        part, _, rest = name.partition(".")
        if part == "relative_bias":
            return 1
        return 1 + int(rest.split(".")[0]) if part == "layers" else len(self.layers)


def use_fused(model: nn.Module, fused: bool) -> None:
    """Choose PyTorch's kernels (True) or the formulas written out (False) in every layer that has both."""
    module: Any
    for module in model.modules():
        if hasattr(module, "fused"):
            module.fused = fused
