r"""The documents' own model, Embedding → LSTM → LSTM → Dense: an encoder, and a language model.  F17, F23.

Letters:  B batch · T length · E embedding · Y output width = directions·hidden · V vocabulary
Source:   D1 §5.2, Embedding(1000, 64) → LSTM(128) → LSTM(128) → Dense(vocab, softmax): the defaults of `LSTMConfig`.

The models return logits. The softmax of F17 belongs to the loss, which takes its logarithm without overflow; applied
here as well, it would be taken twice. `attention_mask` [B, T] is True for tokens and False for padding, which stands at
the end.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from minilm.errors import InputError, check_least, check_most
from minilm.layers.dropout import Dropout
from minilm.layers.recurrent import Recurrent
from minilm.models.heads import EncoderOutput

# Larger sizes would exhaust memory or overflow an integer before PyTorch reports an error.
MOST = {"layers": 1_000} | dict.fromkeys(("vocab_size", "embedding", "hidden"), 10_000_000)


@dataclass(frozen=True)
class LSTMConfig:
    """The shape of a model. It is checked when it is made, so that a wrong size is named before anything is built."""

    vocab_size: int = 1000
    embedding: int = 64
    hidden: int = 128
    layers: int = 2
    bidirectional: bool = False
    dropout: float = 0.0  # on the embeddings and between the layers
    pad_id: int = 0

    def __post_init__(self) -> None:
        check_least(self, 1, *MOST)
        check_most(self, MOST)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not in [0, 1).")
        if not 0 <= self.pad_id < self.vocab_size:
            raise InputError(f"pad_id {self.pad_id} is not in the vocabulary of {self.vocab_size} tokens.")


class LSTMEncoder(nn.Module):
    """An embedding table and LSTM layers: a hidden state for every token.

    `embedding.weight` [V, E] starts as N(0, 1), with zeros in its row of padding; word vectors can be copied into it.
    """

    def __init__(self, config: LSTMConfig, generator: torch.Generator | None = None):
        super().__init__()
        c = self.config = config
        table = torch.randn(c.vocab_size, c.embedding, generator=generator)
        table[c.pad_id] = 0
        self.embedding = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=c.pad_id)
        self.lstm = Recurrent("lstm", c.embedding, c.hidden, c.layers, c.bidirectional, c.dropout, generator)
        self.dropout = Dropout(c.dropout)

    @property
    def output_size(self) -> int:
        """The width of the hidden states: both directions side by side."""
        return self.lstm.output_size

    @property
    def token_table(self) -> nn.Embedding:
        """The embedding table, which word vectors can be copied into."""
        return self.embedding

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Tensor | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
    ) -> EncoderOutput:
        """The last layer's outputs at every token, zeros at padding. `token_type_ids`, the segments of a pair, is accepted so
        that all encoders are called alike; an LSTM reads the [SEP].

        Raises InputError if a token stands after padding: a recurrence cannot step over a gap.
        """
        if attention_mask is not None and bool((attention_mask[:, 1:] & ~attention_mask[:, :-1]).any()):
            raise InputError("a row has a token after padding; an LSTM reads from left to right: put the padding last.")
        lengths = None if attention_mask is None else attention_mask.sum(dim=1)
        hidden, _ = self.lstm(self.dropout(self.embedding(input_ids)), lengths)
        return EncoderOutput(hidden)

    def last_hidden(
        self, hidden: Float[Tensor, "B T Y"], attention_mask: Bool[Tensor, "B T"] | None
    ) -> Float[Tensor, "B Y"]:
        """The state of each direction after the last token that it reads: the last one, and on the way back the first."""
        B, T, _ = hidden.shape
        ends = hidden.new_full((B,), T, dtype=torch.int64) if attention_mask is None else attention_mask.sum(dim=1)
        last = hidden[torch.arange(B, device=hidden.device), (ends - 1).clamp(min=0)]  # [B, Y]
        H = self.config.hidden
        return torch.cat([last[:, :H], hidden[:, 0, H:]], dim=-1) if self.config.bidirectional else last

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies: 0 for the embedding table, 1 for the first LSTM layer, and so on."""
        parts = name.split(".")
        return 1 + int(parts[2]) // self.lstm.directions if parts[:2] == ["lstm", "cells"] else 0


class LSTMLanguageModel(nn.Module):
    r"""logits of P(wₜ₊₁ ∣ w₁ … wₜ) at every t.  F17, F23.

    Raises InputError for a bidirectional config: the way back would see the token to be predicted.
    """

    def __init__(self, config: LSTMConfig | None = None, generator: torch.Generator | None = None):
        super().__init__()
        self.config = config or LSTMConfig()
        if self.config.bidirectional:
            raise InputError("a language model cannot be bidirectional: it would see the token that it has to predict.")
        self.encoder = LSTMEncoder(self.config, generator)
        self.dropout = Dropout(self.config.dropout)
        size = self.encoder.output_size
        self.head = skip_init(nn.Linear, size, self.config.vocab_size)  # drawn below, with the generator
        with torch.no_grad():
            self.head.weight.uniform_(-1 / math.sqrt(size), 1 / math.sqrt(size), generator=generator)
            self.head.bias.zero_()

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
        hidden = self.dropout(hidden if counted is None else hidden[counted])
        if among is None:
            return self.head(hidden)
        return F.linear(hidden, F.embedding(among, self.head.weight), self.head.bias.index_select(0, among))

    @property
    def context(self) -> None:
        """The most tokens that a prompt may have: an LSTM reads texts of any length."""
        return None

    @property
    def longest(self) -> None:
        """The most tokens of a text: any number."""
        return None

    def new_memory(self) -> "LSTMMemory":
        """An empty memory, for `next_logits`."""
        return LSTMMemory()

    def next_logits(
        self,
        input_ids: Int[Tensor, "B T"],
        memory: "LSTMMemory | None" = None,
        attention_mask: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B V"]:
        """The logits of the token that follows, for rows that all end with a token (padding stands in front).

        With a `memory`, `input_ids` follow what it holds, and are added to it. `attention_mask` covers all tokens read so far.
        """
        memory = LSTMMemory() if memory is None else memory
        T, lengths = input_ids.size(1), None
        if attention_mask is not None and not (mask := attention_mask[:, -T:]).all():
            order = (~mask).long().argsort(dim=1, stable=True)  # a recurrence reads the tokens first, then the padding
            input_ids, lengths = input_ids.gather(1, order), mask.sum(dim=1)
        x = self.encoder.dropout(self.encoder.embedding(input_ids))
        _, memory.state = self.encoder.lstm(x, lengths, memory.state)
        return self.head(self.dropout(memory.state[0][-1]))  # h of the last layer


class LSTMMemory:
    """What an LSTM keeps of the tokens that it has read: the state of every layer."""

    def __init__(self) -> None:
        self.state: tuple[Tensor, ...] | None = None  # (h, c), each [layers, B, H]

    def select(self, rows: Int[Tensor, " R"]) -> None:
        """Keep these rows of the batch, in this order."""
        if self.state is not None:
            self.state = tuple(part[:, rows] for part in self.state)
