r"""Encoder and decoder: a Transformer that reads one text and writes another.  F18, F20, F23.

Letters:  B batch · S length of the source · T length of the target · C model width · V vocabulary
Source:   Vaswani et al. (2017), Attention Is All You Need, §3.

The encoder reads the source, and every token of it may attend to every other. The decoder is a GPT with one more attention in
each block: after it has looked at what is written so far, it looks at the source (cross-attention). Both, and the output, share
one embedding table. Names, numbers and placeholders are often the same in both texts, so a copy head may point at a token of the
source instead of choosing one from the vocabulary (`layers/copying.py`).
"""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.layers.attention import KVCache, MemoryCache, padding_mask
from minilm.layers.copying import CopyHead
from minilm.layers.dropout import Dropout
from minilm.layers.positions import sinusoids
from minilm.layers.products import linear
from minilm.layers.transformer import ACTIVATIONS, TransformerStack
from minilm.models.bert_start import look_next_door, small_branches
from minilm.models.config import check_shape
from minilm.models.gpt import OFFSETS, POSITIONS, SIZES, position_table
from minilm.models.heads import EncoderOutput
from minilm.models.initialisation import TABLE_DEVIATION


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The shape of a model; encoder and decoder have `layers` blocks each. It is checked when it is made.

    `max_length` is the most tokens of a source, and of a target, with the tokens that begin and end it. Raises InputError as
    `GPTConfig` does.
    """

    vocab_size: int = 4096
    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 512
    max_length: int = 128
    dropout: float = 0.1
    activation: str = "gelu"
    norm: str = "pre"
    positions: str = "relative"
    epsilon: float = 1e-5
    copy: bool = True

    def __post_init__(self) -> None:
        check_shape(self, SIZES, norm=("pre", "post"), positions=POSITIONS, activation=tuple(ACTIVATIONS))

    @property
    def has_table(self) -> bool:
        """Whether positions are a table of `max_length` vectors, which no text may leave."""
        return self.positions in ("learned", "sinusoidal")


def new_stack(c: Seq2SeqConfig, cross_attention: bool = False) -> TransformerStack:
    """The blocks of the encoder, or those of the decoder."""
    options: dict[str, Any] = dict(dropout=c.dropout, activation=c.activation, norm=c.norm, epsilon=c.epsilon)
    sizes = c.layers, c.width, c.heads, c.feed_forward, c.positions
    return TransformerStack(*sizes, **options, cross_attention=cross_attention)


class Seq2SeqEncoder(nn.Module):
    """The reader: embeddings and a stack of blocks. The decoder uses its table of tokens, too."""

    def __init__(self, config: Seq2SeqConfig):
        super().__init__()
        c = self.config = config
        self.tokens = nn.Embedding(c.vocab_size, c.width)
        self.positions = position_table(c)
        self.dropout = Dropout(c.dropout)
        self.stack = new_stack(c)

    @property
    def output_size(self) -> int:
        """The width of the hidden states."""
        return self.config.width

    @property
    def token_table(self) -> nn.Embedding:
        """The embedding table, which word vectors can be copied into."""
        return self.tokens

    def embed(
        self, input_ids: Int[Tensor, "B T"], table: nn.Embedding | None, before: int = 0
    ) -> Float[Tensor, "B T C"]:
        """The vectors of tokens, the first of which stands at the place `before`, with those of their positions.

        Raises InputError for a text that leaves the table of positions.
        """
        x, end = self.tokens(input_ids), before + input_ids.size(1)
        if table is None:
            return self.dropout(x)
        if end > self.config.max_length:
            raise InputError(
                f"a text of {end} tokens does not fit: this model takes {self.config.max_length}. Shorten or cut it."
            )
        return self.dropout(x + table.weight[before:end])

    def forward(
        self,
        input_ids: Int[Tensor, "B S"],
        token_type_ids: Int[Tensor, "B S"] | None = None,
        attention_mask: Bool[Tensor, "B S"] | None = None,
        need_weights: bool = False,
    ) -> EncoderOutput:
        """The hidden states of the source. `token_type_ids` is accepted so that all encoders are called alike."""
        x = self.embed(input_ids, self.positions)
        return EncoderOutput(*self.stack(x, mask_of(attention_mask), need_weights))

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies: 0 for the embeddings, 1 for the first block, and so on."""
        part, _, rest = name.partition(".")
        return self.stack.depth_of(rest) if part == "stack" else 0


def mask_of(source_mask: Bool[Tensor, "B S"] | None) -> Bool[Tensor, "B 1 1 S"] | None:
    """The mask of attention to a source; None if nothing of it is padding, because a mask costs time."""
    return None if source_mask is None or bool(source_mask.all()) else padding_mask(source_mask)


class Seq2SeqMemory:
    """What the decoder keeps while it writes: the encoder's states, and the keys and values of both kinds of attention."""

    def __init__(self, model: "Seq2Seq", states: Tensor, source_ids: Tensor, source_mask: Tensor | None):
        self.states, self.source_ids, self.source_mask = states, source_ids, source_mask
        self.caches = [KVCache() for _ in model.decoder.layers]
        self.memory_caches = [MemoryCache() for _ in model.decoder.layers]

    def select(self, rows: Int[Tensor, " R"]) -> None:
        """Keep these rows of the batch, in this order."""
        self.states, self.source_ids = self.states[rows], self.source_ids[rows]
        self.source_mask = None if self.source_mask is None else self.source_mask[rows]
        for own, crossed in zip(self.caches, self.memory_caches, strict=True):
            own.select(rows)
            crossed.select(rows)


class Seq2Seq(nn.Module):
    r"""logits of P(yₜ₊₁ ∣ x, y₁ … yₜ) at every t, for a source x and a target y.  F23 with a source."""

    def __init__(self, config: Seq2SeqConfig | None = None):
        super().__init__()
        c = self.config = config or Seq2SeqConfig()
        self.encoder = Seq2SeqEncoder(c)
        self.positions = position_table(c)
        self.decoder = new_stack(c, cross_attention=True)
        self.copy = CopyHead(c.width) if c.copy else None

    def forward(
        self,
        source_ids: Int[Tensor, "B S"],
        input_ids: Int[Tensor, "B T"],
        source_mask: Bool[Tensor, "B S"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Row t predicts token t + 1 of the target. Padding stands at the end, where no token before it attends to it."""
        states = self.encoder(source_ids, attention_mask=source_mask).hidden
        return self.decode(input_ids, states, source_ids, source_mask)

    def decode(
        self,
        input_ids: Int[Tensor, "B T"],
        states: Float[Tensor, "B S C"],
        source_ids: Int[Tensor, "B S"],
        source_mask: Bool[Tensor, "B S"] | None = None,
        memory: Seq2SeqMemory | None = None,
    ) -> Float[Tensor, "B T V"]:
        """The logits after each of the target's tokens, for the encoder's `states`. With a `memory`, they follow what it holds."""
        h, _ = self.hidden(input_ids, states, source_mask, memory)
        z = linear(h, self.encoder.tokens.weight)
        return z if self.copy is None else self.copy(z, h, states, source_ids, mask_of(source_mask))

    def hidden(
        self,
        input_ids: Int[Tensor, "B T"],
        states: Float[Tensor, "B S C"],
        source_mask: Bool[Tensor, "B S"] | None = None,
        memory: Seq2SeqMemory | None = None,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "B T C"], list[Float[Tensor, "B H T S"]]]:
        """The decoder's hidden states and, when `need_weights`, the weights of every block's cross-attention: the alignment."""
        caches = None if memory is None else memory.caches
        x = self.encoder.embed(input_ids, self.positions, caches[0].read if caches else 0)
        options: dict[str, Any] = dict(memory=states, memory_may_attend=mask_of(source_mask), caches=caches)
        options["memory_caches"] = None if memory is None else memory.memory_caches
        return self.decoder(x, None, need_weights, is_causal=True, **options)

    def reading(self, source_ids: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"] | None = None) -> "Reader":
        """This model with the sources that it has read, ready to write: `generate` and `beam_search` take it."""
        return Reader(self, source_ids, source_mask)

    @property
    def longest(self) -> int | None:
        """The most tokens of a target; None if there is no table of positions."""
        return self.config.max_length if self.config.has_table else None

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies. The decoder stands on the encoder."""
        part, _, rest = name.partition(".")
        if part == "encoder":
            return self.encoder.depth_of(rest)
        if part == "decoder":
            return self.config.layers + self.decoder.depth_of(rest)
        return 0 if part == "positions" else 2 * self.config.layers

    def start(self, scheme: str) -> None:
        """What this architecture adds to the fan-in start, for the reasons that `GPTEncoder.start` gives: embeddings √C times as
        large, the norm before the product with the embeddings at 1/√C, and heads that begin by looking next door."""
        root = self.config.width**0.5
        if self.config.norm == "pre":
            self.encoder.tokens.weight.mul_(root)
            final_norm: Any = self.decoder.final_norm
            final_norm.gain.fill_(1 / root)
            for table in (self.encoder.positions, self.positions):
                if table is not None and table.weight.requires_grad:
                    table.weight.copy_(sinusoids(*table.weight.shape) * TABLE_DEVIATION * root)
        if scheme == "neighbours":
            for stack, offsets in ((self.encoder.stack, (-1, 1, -2, 2)), (self.decoder, OFFSETS)):
                small_branches(stack)
                if stack.relative_bias is not None:
                    look_next_door(stack, offsets)


def learning_rate_scales(config: Seq2SeqConfig) -> dict[str, float]:
    """The factors that belong to `Seq2Seq.start`, by how the names of a model's parameters begin."""
    root = config.width**0.5
    tables = dict.fromkeys(("encoder.tokens.", "encoder.positions.", "positions."), root)
    return tables | {"decoder.final_norm.": 1 / root} if config.norm == "pre" else {}


class Reader(nn.Module):
    """A model and the source texts that it has read. It writes as a language model does, one target for each source."""

    def __init__(self, model: Seq2Seq, source_ids: Int[Tensor, "B S"], source_mask: Bool[Tensor, "B S"] | None = None):
        super().__init__()
        self.model, self.source_ids, self.source_mask = model, source_ids, source_mask
        self.context, self.longest = model.config.max_length, model.longest

    def new_memory(self) -> Seq2SeqMemory:
        """Read the sources, once, and begin to write."""
        states = self.model.encoder(self.source_ids, attention_mask=self.source_mask).hidden
        return Seq2SeqMemory(self.model, states, self.source_ids, self.source_mask)

    def next_logits(
        self,
        input_ids: Int[Tensor, "B T"],
        memory: Seq2SeqMemory | None = None,
        attention_mask: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B V"]:
        """The logits of the token that follows in each target. Raises InputError for targets of different lengths, and without a
        memory if there are not as many targets as sources."""
        if attention_mask is not None:
            raise InputError("targets of different lengths cannot be continued together: continue them one by one.")
        if memory is None and len(input_ids) != len(self.source_ids):
            raise InputError(f"{len(input_ids)} targets for {len(self.source_ids)} sources: use the cache.")
        now = self.new_memory() if memory is None else memory
        return self.model.decode(input_ids, now.states, now.source_ids, now.source_mask, now)[:, -1]
