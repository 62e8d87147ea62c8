r"""GPT: a Transformer that reads from left to right and predicts the next token at every position.  F18, F20, F23.

Letters:  B batch · T length · S tokens read so far, the new ones included · C model width · V vocabulary · W context
Sources:  Radford et al. (2018), Improving Language Understanding by Generative Pre-Training; Radford et al. (2019), Language
          Models are Unsupervised Multitask Learners, §2.3 (the norm in front of each branch, and one more at the end).

The blocks are pre-norm, and a token is predicted when the last hidden state points towards its embedding: the output
weights are the embedding table. How far the model looks back is its context of W = `max_length` tokens. With "learned" or
"sinusoidal" positions there is a table of W vectors, and no text can be longer. With "relative" and "rotary" ones there is
none, so the context moves along with the text: a token attends to itself and to the W − 1 tokens before it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import KVCache, padding_mask
from minilm.layers.dropout import Dropout
from minilm.layers.one_token import OneToken, wide_product
from minilm.layers.positions import sinusoids
from minilm.layers.products import linear
from minilm.layers.transformer import ACTIVATIONS, TransformerStack
from minilm.models.bert_start import look_next_door, small_branches
from minilm.models.config import check_shape
from minilm.models.heads import EncoderOutput
from minilm.models.initialisation import TABLE_DEVIATION

SIZES = ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length")
POSITIONS = ("relative", "learned", "sinusoidal", "rotary")
OFFSETS = (-1, -2, -3, -4)  # with relative positions, head h starts by preferring the token at OFFSETS[h]


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a model. It is checked when it is made, so that a wrong size is named before anything is built.

    Raises InputError for a size below 1, a width that is not divisible by the heads, a choice that is not known, or heads of
    an odd size together with rotary positions.
    """

    vocab_size: int = 8192
    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 512
    max_length: int = 128
    dropout: float = 0.0
    activation: str = "gelu"
    positions: str = "relative"
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check_shape(self, SIZES, positions=POSITIONS, activation=tuple(ACTIVATIONS))

    @property
    def has_table(self) -> bool:
        """Whether positions are a table of `max_length` vectors, which no text may leave."""
        return self.positions in ("learned", "sinusoidal")


def position_table(config: Any) -> nn.Embedding | None:
    """The table of positions, if a config (`has_table`) asks for one: learned vectors, or waves that stay as they are."""
    if not config.has_table:
        return None
    table = nn.Embedding(config.max_length, config.width)
    if config.positions == "sinusoidal":
        table.weight = nn.Parameter(sinusoids(config.max_length, config.width), requires_grad=False)
    return table


class GPTEncoder(nn.Module):
    """Embeddings, then a stack of pre-norm blocks in which a token attends to itself and to the tokens before it."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        c = self.config = config
        self.tokens = nn.Embedding(c.vocab_size, c.width)
        self.positions = position_table(c)
        self.dropout = Dropout(c.dropout)
        options: dict[str, Any] = dict(dropout=c.dropout, activation=c.activation, norm="pre", epsilon=c.epsilon)
        self.stack = TransformerStack(c.layers, c.width, c.heads, c.feed_forward, c.positions, **options)

    @property
    def output_size(self) -> int:
        """The width of the hidden states."""
        return self.config.width

    @property
    def token_table(self) -> nn.Embedding:
        """The embedding table, which word vectors can be copied into."""
        return self.tokens

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B S"] | None = None,
        need_weights: bool = False,
        caches: list[KVCache] | None = None,
    ) -> EncoderOutput:
        """The hidden states of the T tokens. `token_type_ids`, the segments of a pair, is accepted so that all encoders are
        called alike; a model that reads from left to right needs none.

        With `caches`, one for each block, `input_ids` are the tokens that follow those that the caches hold. `attention_mask`
        is False for padding and covers all S tokens read so far. Padding may stand in front or at the end: a token's position
        counts the tokens before it. Raises InputError for a text that leaves the table of positions.
        """
        T, before = input_ids.size(1), caches[0].read if caches else 0
        if attention_mask is not None and attention_mask.all():
            attention_mask = None  # a mask costs time
        x = self.tokens(input_ids)  # [B, T, C]
        if self.positions is not None:
            x = x + self.place(before, T, attention_mask)
        keys = caches[0].keys_for(T) if caches else T
        may_attend = None if attention_mask is None else padding_mask(attention_mask[:, -keys:])
        if keys > self.config.max_length:
            query, key = torch.arange(keys - T, keys, device=x.device), torch.arange(keys, device=x.device)
            near = (key > query[:, None] - self.config.max_length)[None, None]  # [1, 1, T, S]
            may_attend = near if may_attend is None else may_attend & near
        return EncoderOutput(*self.stack(self.dropout(x), may_attend, need_weights, is_causal=True, caches=caches))

    def one_token(
        self, input_ids: Int[Tensor, " B"], memory: "GPTMemory", attention_mask: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B C"]:
        """`forward` for one new token per row, in much less time (see `OneToken`)."""
        if attention_mask is not None and attention_mask.all():
            attention_mask = None
        x, S = F.embedding(input_ids, memory.tokens), memory.caches[0].keys_for(1)  # [B, C]
        if self.config.has_table:
            places = self.place(memory.caches[0].read, 1, attention_mask)  # [1, C] or [B, 1, C]
            x = x + (places if attention_mask is None else places[:, 0])
        bias = None if memory.bias is None else memory.bias[..., -S:]  # [1, H, 1, S]
        if attention_mask is not None:
            bias = x.new_zeros(1, 1, 1, S) if bias is None else bias
            bias = bias.masked_fill(~attention_mask[:, None, None, -S:], -torch.inf)
        return memory.one_token(x, memory.caches, bias)

    def place(
        self, before: int, T: int, attention_mask: Bool[Tensor, "B S"] | None
    ) -> Float[Tensor, "T C"] | Float[Tensor, "B T C"]:
        """The vectors of the positions of T tokens that follow `before` others, out of the table."""
        assert self.positions is not None
        if attention_mask is None:
            end = before + T
        else:
            places = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)[:, -T:]  # [B, T]
            end = int(places.max()) + 1
        if end > self.config.max_length:
            raise InputError(
                f"a text of {end} tokens does not fit: this model takes {self.config.max_length}. Shorten or cut it."
            )
        return self.positions.weight[before:end] if attention_mask is None else self.positions(places)

    def last_hidden(
        self, hidden: Float[Tensor, "B T C"], attention_mask: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B C"]:
        """The hidden state of the last token, which has seen all others. Padding stands at the end."""
        if attention_mask is None:
            return hidden[:, -1]
        ends = (attention_mask.sum(dim=1) - 1).clamp(min=0)
        return hidden[torch.arange(len(hidden), device=hidden.device), ends]

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies: 0 for the embeddings, 1 for the first block, and so on."""
        part, _, rest = name.partition(".")
        return self.stack.depth_of(rest) if part == "stack" else 0

    def start(self, scheme: str) -> None:
        """What this architecture adds to the fan-in start (see `models/initialisation.py`).

        Nothing norms the embeddings before the first block adds its output, which is of size 1, so entries of size 0.08 would
        drown in it. They start √C times as large, and the last norm at 1/√C, so that the logits keep their size. For Adam to take
        the same steps as before, the learning rates must have these factors too: `learning_rate_scales`.
        """
        root = self.config.width**0.5
        self.tokens.weight.mul_(root)
        final_norm: Any = self.stack.final_norm
        final_norm.gain.fill_(1 / root)
        if self.positions is not None and self.positions.weight.requires_grad:
            self.positions.weight.copy_(sinusoids(*self.positions.weight.shape) * TABLE_DEVIATION * root)
        if scheme == "neighbours":
            small_branches(self.stack)
            if self.stack.relative_bias is not None:
                look_next_door(self.stack, OFFSETS)


def learning_rate_scales(config: GPTConfig) -> dict[str, float]:
    """The factors that belong to `GPTEncoder.start`, by how the names of a GPT's parameters begin."""
    root = config.width**0.5
    return {"encoder.tokens.": root, "encoder.positions.": root, "encoder.stack.final_norm.": 1 / root}


class GPTMemory:
    """What a GPT keeps of the tokens that it has read: the keys and values of every block; and what it need not look up for
    every token. It belongs to the weights of the moment in which it is made."""

    def __init__(self, model: "GPT"):
        encoder, W = model.encoder, model.config.max_length
        self.caches = [KVCache(None if model.config.has_table else W) for _ in encoder.stack.layers]
        self.tokens = encoder.tokens.weight
        self.one_token: Any = OneToken(encoder.stack) if OneToken.fits(encoder.stack) else None
        relative = encoder.stack.relative_bias
        self.bias = None if relative is None else relative(1, W, start=W - 1)  # [1, H, 1, W]: its last S are for S keys

    def select(self, rows: Int[Tensor, " R"]) -> None:
        """Keep these rows of the batch, in this order."""
        for cache in self.caches:
            cache.select(rows)


class GPT(nn.Module):
    r"""logits of P(wₜ₊₁ ∣ w₁ … wₜ) at every t, from the hidden states and the embedding table.  F23."""

    def __init__(self, config: GPTConfig | None = None):
        super().__init__()
        self.config = config or GPTConfig()
        self.encoder = GPTEncoder(self.config)

    @property
    def context(self) -> int:
        """The most tokens that a prompt may have."""
        return self.config.max_length

    @property
    def longest(self) -> int | None:
        """The most tokens of a text, prompt included; None if the context moves along."""
        return self.config.max_length if self.config.has_table else None

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"] | None = None,
        counted: Bool[Tensor, "B T"] | None = None,
        among: Int[Tensor, " K"] | None = None,
    ) -> Float[Tensor, "*any _"]:
        """Logits [B, T, V]. Row t predicts token t + 1: the labels are `input_ids` moved one to the left, the last one −100.

        With `counted`, only the logits [N, V] of the N positions where it is True; with `among`, only those of these K tokens.
        """
        hidden = self.encoder(input_ids, attention_mask=attention_mask).hidden
        return self.logits(hidden if counted is None else hidden[counted], among)

    def logits(
        self, hidden: Float[Tensor, "*any C"], among: Int[Tensor, " K"] | None = None
    ) -> Float[Tensor, "*any _"]:
        """The product of each hidden state with the embedding of each token, or of each of these K tokens."""
        table = self.encoder.tokens.weight
        return linear(hidden, table if among is None else F.embedding(among, table))

    def new_memory(self) -> GPTMemory:
        """An empty memory, for `next_logits`."""
        return GPTMemory(self)

    def next_logits(
        self,
        input_ids: Int[Tensor, "B T"],
        memory: GPTMemory | None = None,
        attention_mask: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B V"]:
        """The logits of the token that follows, for rows that all end with a token (padding stands in front).

        With a `memory`, `input_ids` follow what it holds, and are added to it. `attention_mask` covers all tokens read so far.
        """
        caches = None if memory is None else memory.caches
        if memory is not None and memory.one_token and memory.caches[0].read and input_ids.size(1) == 1:
            if not (self.training or torch.is_grad_enabled()):
                return wide_product(self.encoder.one_token(input_ids[:, 0], memory, attention_mask), memory.tokens)
        hidden = self.encoder(input_ids, None, attention_mask, caches=caches).hidden
        return self.logits(hidden[:, -1])

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies; there is nothing above the blocks."""
        return self.encoder.depth_of(name.partition(".")[2])
