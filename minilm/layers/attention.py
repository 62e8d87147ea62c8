r"""Scaled dot-product and multi-head attention, written out.  F18, F19, F21.

Letters:  B batch · T query length · S key length · H heads · D size of a head · C = H·D model width
Source:   Vaswani et al. (2017), Attention Is All You Need, §3.2.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.biased_attention import biased_attention, takes_shortcut
from minilm.layers.dropout import Dropout
from minilm.layers.positions import check_pairs, rotate
from minilm.layers.products import Linear, linear


def attention(
    q: Float[Tensor, "*batch T D"],
    k: Float[Tensor, "*batch S D"],
    v: Float[Tensor, "*batch S Dv"],
    may_attend: Bool[Tensor, "..."] | None = None,
    dropout: nn.Module | None = None,
    bias: Float[Tensor, "..."] | None = None,
) -> tuple[Float[Tensor, "*batch T Dv"], Float[Tensor, "*batch T S"]]:
    r"""softmax(Q Kᵀ / √D + bias) V, and the weights.  F18.

    `may_attend` (broadcast to [*, T, S]) is True where a query may attend. A query that may attend to no key gets zeros.
    `bias` (broadcast to the same shape) is what positions add to the scores (F21).
    `dropout` is applied to the weights; the weights that are returned are those before it.
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # [*, T, S]; √D keeps their variance at 1
    if bias is not None:
        scores = scores + bias
    if may_attend is not None:
        scores = scores.masked_fill(~may_attend, -math.inf)
    weights = scores.softmax(dim=-1)
    if may_attend is not None:  # a row of -inf alone is 0/0; such a query sees nothing
        weights = weights.masked_fill(~may_attend, 0.0)
    used = weights if dropout is None else dropout(weights)
    return used @ v, weights


def fused_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S Dv"],
    may_attend: Bool[Tensor, "..."] | None = None,
    bias: Float[Tensor, "..."] | None = None,
    is_causal: bool = False,
) -> Float[Tensor, "B H T Dv"]:
    """The same numbers as `attention` from PyTorch's kernel, which never stores the [T, S] weights.  F18.

    With a `bias` that is trained, it does store them, because its gradient is theirs before the softmax. `is_causal` is for
    T = S, without a mask and a bias: the kernel then leaves out what comes after each query.
    """
    if may_attend is None:
        return by_kernel(q, k, v, bias, is_causal)
    sees_something = may_attend.any(dim=-1, keepdim=True)  # [B, ·, ·, 1]
    # The kernel may return NaN for a query that sees nothing: let it attend to everything, then set its result to 0.
    mask = may_attend | ~sees_something
    heads = by_kernel(q, k, v, mask if bias is None else bias.masked_fill(~mask, -math.inf))
    return heads.masked_fill(~sees_something, 0.0)


def by_kernel(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool = False) -> Tensor:
    """PyTorch's kernel, or what is faster than its slow way for a bias that is trained (`layers/biased_attention.py`)."""
    if mask is not None and takes_shortcut(q, mask):
        return biased_attention(q, k, v, mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal)


def causal_mask(T: int, S: int | None = None, device: torch.device | None = None) -> Bool[Tensor, "T S"]:
    """True where key s is not after query t. With S > T the queries are the last T of the S positions.  F18."""
    S = T if S is None else S
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(diagonal=S - T)


def padding_mask(attention_mask: Bool[Tensor, "B S"]) -> Bool[Tensor, "B 1 1 S"]:
    """From "this position is a token" [B, S] to "every query of every head may attend to it" [B, 1, 1, S].  F18."""
    return attention_mask[:, None, None, :]


class KVCache:
    """The keys and values of the tokens that one attention layer has read so far, so that they are computed only once.

    To write the next token, a model needs one new query, and the keys and values of all tokens before it. So make
    `caches = [KVCache() for _ in stack.layers]`, and at every step give the new tokens alone, with these `caches`.

    The tensor has more room than it uses, and twice as much whenever that runs out: one that grew by a position at every
    step would be copied at every step. With a `window` of W, a query attends to the last W positions, its own included,
    and older ones are forgotten. A cache is for using a model: no gradient flows back through earlier steps.
    """

    def __init__(self, window: int | None = None) -> None:
        self.window = window
        self.read = 0  # how many positions were read in all: the place of the next one
        self.first = self.end = 0  # what is stored lies from `first` up to `end`
        self.stored: Tensor | None = None  # keys and values, [B, 2, H, room, D]

    @property
    def keys(self) -> Tensor | None:
        """[B, H, room, D]; None before the first token."""
        return None if self.stored is None else self.stored[:, 0]

    @property
    def values(self) -> Tensor | None:
        """[B, H, room, D]; None before the first token."""
        return None if self.stored is None else self.stored[:, 1]

    def __len__(self) -> int:
        """How many positions are stored."""
        return self.end - self.first

    def keys_for(self, T: int) -> int:
        """S, the number of keys that `extend` will return for T new positions."""
        S = self.end - self.first + T
        return S if self.window is None else min(S, self.window)

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values [B, H, T, D] of new positions; returns those of all positions, [B, H, S, D]."""
        return self.append(torch.stack([k, v], dim=1))

    def append(self, new: Float[Tensor, "B 2 H T D"]) -> tuple[Tensor, Tensor]:
        """As `extend`, for keys and values in one tensor.

        Raises InputError if several new positions do not fit into the window, because each would need another one.
        """
        T = new.size(-2)
        S = self.keys_for(T)
        if T > 1 and S < len(self) + T:
            raise InputError(f"{T} new positions do not fit into a window of {self.window}: give them one at a time.")
        if self.stored is None or self.end + T > self.stored.size(-2):
            self.stored = self.with_room(new)
        self.stored.narrow(-2, self.end, T).copy_(new)
        self.end, self.read = self.end + T, self.read + T
        self.first = self.end - S
        k, v = self.stored.narrow(-2, self.first, S).unbind(1)
        return k, v

    def with_room(self, new: Tensor) -> Tensor:
        """What is stored, at the front of a tensor that has room for as many positions again."""
        count = len(self)
        larger = new.new_empty(*new.shape[:-2], 2 * max(count + new.size(-2), 32), new.size(-1))
        if self.stored is not None:
            larger[..., :count, :] = self.stored[..., self.first : self.end, :]
        self.first, self.end = 0, count
        return larger

    def select(self, rows: Int[Tensor, " R"]) -> None:
        """Keep these rows of the batch, in this order; a row may be taken several times (beam search does that)."""
        if self.stored is not None:
            self.stored = self.stored.index_select(0, rows)


class MemoryCache:
    """The keys and values that one cross-attention layer makes of a memory. They are the same at every step of writing, so
    they are computed once, at the first one. (A `KVCache` would append them every time.)"""

    def __init__(self) -> None:
        self.keys: Tensor | None = None  # [B, H, M, D]
        self.values: Tensor | None = None

    def select(self, rows: Int[Tensor, " R"]) -> None:
        """Keep these rows of the batch, in this order."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = self.keys.index_select(0, rows), self.values.index_select(0, rows)


class StackedLinear(Linear):
    """A linear layer whose weight is `stacked` matrices on top of each other: W^Q, W^K and W^V."""

    stacked = 3


class MultiHeadAttention(nn.Module):
    r"""Concat(head₁ … head_H) W^O with headᵢ = attention(Q Wᵢ^Q, K Wᵢ^K, V Wᵢ^V).  F19.

    One product makes Q, K and V of all heads at once: it is the 3·H small products of the formula, stacked.
    Given `memory` it is cross-attention: the queries come from `x`, keys and values from `memory`.
    The attribute `fused` chooses PyTorch's kernel where it gives the same numbers. `kept` names the heads that are left
    after others were removed (`layers/pruning.py`), by their old numbers; None: all are there.
    Raises InputError if the width is not divisible by the heads.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if heads < 1 or width % heads:
            raise InputError(f"width {width} is not divisible by {heads} heads: choose a multiple of {heads}.")
        self.heads = heads
        self.to_qkv = StackedLinear(width, 3 * width)
        self.output = Linear(width, width)
        self.dropout = Dropout(dropout)
        self.fused = True
        self.kept: list[int] | None = None

    def project(
        self, x: Tensor, memory: Tensor | None, start: int = 0, query_positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Q [B, H, T, D], K and V [B, H, S, D]. `start` is the position of the first token of `x`.

        With `query_positions` [B, T], `x` holds the vectors at these positions of `memory`, and this is self-attention.
        Override this method for positions that act on queries and keys, such as rotary ones.
        """
        if memory is None:
            q, k, v = self.to_qkv(x).chunk(3, dim=-1)  # each [B, T, C]
        else:
            weight, bias = self.to_qkv.weight, self.to_qkv.bias
            C = len(weight) // 3  # H·D
            q = linear(x, weight[:C], bias[:C])  # [B, T, C]
            k, v = linear(memory, weight[C:], bias[C:]).chunk(2, dim=-1)  # each [B, S, C]
        return split_heads(q, self.heads), split_heads(k, self.heads), split_heads(v, self.heads)

    def project_once(self, x: Tensor, memory: Tensor | None, cache: MemoryCache) -> tuple[Tensor, Tensor, Tensor]:
        """`project` for cross-attention, which looks up K and V in the cache from the second time on."""
        if cache.keys is None or cache.values is None:
            q, cache.keys, cache.values = self.project(x, memory)
            return q, cache.keys, cache.values
        weight, bias = self.to_qkv.weight, self.to_qkv.bias
        C = len(weight) // 3
        q = linear(x, weight[:C], bias[:C])
        return split_heads(q, self.heads), cache.keys, cache.values

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        may_attend: Bool[Tensor, "#B #H #T S"] | None = None,
        memory: Float[Tensor, "B M C"] | None = None,
        need_weights: bool = False,
        is_causal: bool = False,
        cache: KVCache | MemoryCache | None = None,
        query_positions: Int[Tensor, "B T"] | None = None,
        bias: Float[Tensor, "#B _ T S"] | None = None,
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B H T S"] | None]:
        """The attended vectors and, when `need_weights`, the attention weights of every head (else None).

        `is_causal` also forbids query t to attend to the keys after t. With a `cache`, the keys and values are those of all
        S tokens read so far, and `x` holds the T new ones; in cross-attention, a `MemoryCache` keeps those of the memory.
        `query_positions` is explained at `project`. `bias` is added to the scores.
        Raises InputError if a `KVCache` is given together with a memory, whose keys and values would be appended every time.
        """
        if isinstance(cache, KVCache) and memory is not None:
            raise InputError("a cache is for self-attention: pass no memory and no query_positions with it.")
        if isinstance(cache, MemoryCache):
            q, k, v = self.project_once(x, memory, cache)
        else:
            q, k, v = self.project(x, memory, 0 if cache is None else cache.read, query_positions)
            if cache is not None:
                k, v = cache.extend(k, v)
        if self.kept is not None and bias is not None and bias.size(1) > 1:
            bias = bias[:, self.kept]
        is_causal = is_causal and q.size(-2) > 1  # a single query is the last position, and nothing comes after it
        fused = self.fused and not need_weights and not self.dropout.active
        kernel_masks = fused and is_causal and may_attend is None and bias is None and q.size(-2) == k.size(-2)
        if is_causal and not kernel_masks:
            earlier = causal_mask(q.size(-2), k.size(-2), x.device)
            may_attend = earlier if may_attend is None else may_attend & earlier
        weights = None
        if fused:
            heads = fused_attention(q, k, v, may_attend, bias, kernel_masks)
        else:
            heads, weights = attention(q, k, v, may_attend, self.dropout, bias)
        return self.output(merge_heads(heads)), weights if need_weights else None


class RotaryAttention(MultiHeadAttention):
    """Multi-head attention whose queries and keys are turned by their positions (`rotate`); values are not.  F19, F21.

    Raises InputError, as `MultiHeadAttention` does, and for heads of an odd size, because features are turned in pairs.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__(width, heads, dropout)
        check_pairs(width // heads)

    def project(
        self, x: Tensor, memory: Tensor | None, start: int = 0, query_positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `MultiHeadAttention.project`, turned. In cross-attention, nothing is: the two texts have no common positions."""
        q, k, v = super().project(x, memory, start, query_positions)
        if memory is not None and query_positions is None:
            return q, k, v
        position = torch.arange(start, start + k.size(-2), device=x.device)[None]  # [1, S]
        return rotate(q, position if query_positions is None else query_positions), rotate(k, position), v


def split_heads(x: Float[Tensor, "B T C"], heads: int) -> Float[Tensor, "B H T D"]:
    """Cut the width into heads and put the heads beside the batch."""
    B, T, C = x.shape
    return x.view(B, T, heads, C // heads).transpose(1, 2)  # [B, T, H, D] → [B, H, T, D]


def merge_heads(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T C"]:
    """Undo `split_heads`. Without the transpose, which comes first, tokens and heads would be mixed up."""
    B, H, T, D = x.shape
    return x.transpose(1, 2).reshape(B, T, H * D)  # [B, H, T, D] → [B, T, H, D] → [B, T, H·D]
