r"""BERT: the encoder, and the encoder with its two pretraining heads.  F25–F27, F33.

Letters:  B batch · T length · P learned prompts · M masked positions · Q query positions in a row · C model width · V vocabulary
Source:   Devlin et al. (2019), BERT: Pre-training of Deep Bidirectional Transformers, §3.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import padding_mask
from minilm.layers.embeddings import Embeddings
from minilm.layers.transformer import TransformerStack
from minilm.models.bert_start import start_heads
from minilm.models.config import TransformerConfig
from minilm.models.heads import EncoderOutput, MaskedLMHead, Pooler
from minilm.models.wave_start import positions_from_sinusoids


class Bert(nn.Module):
    """Embeddings, then a stack of blocks in which every token may attend to every other."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        c = self.config = config
        options: dict[str, Any] = dict(dropout=c.dropout, epsilon=c.epsilon)
        self.embeddings = Embeddings(
            c.vocab_size, c.width, c.max_length, c.token_types, positions=c.positions, **options
        )
        self.stack = TransformerStack(
            *(c.layers, c.width, c.heads, c.feed_forward, c.positions), activation=c.activation, norm=c.norm, **options
        )
        self.prompts: nn.Parameter | None = None  # [P, C], learned vectors before every text (`models/adaptation.py`)

    @property
    def output_size(self) -> int:
        """The width of the hidden states, which every head on top of them needs to know."""
        return self.config.width

    @property
    def token_table(self) -> nn.Embedding:
        """The embedding table, which word vectors can be copied into."""
        return self.embeddings.tokens

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
        need_weights: bool = False,
        query_positions: Int[Tensor, "B Q"] | None = None,
    ) -> EncoderOutput:
        """`token_type_ids` says which segment a token is in (None: all in the first), `attention_mask` is False for padding.

        Given `query_positions`, the hidden states are those of these positions alone, [B, Q, C]: the same numbers for less
        work. If the model has learned prompts (F33), every token attends to them, too, and the hidden states are still those
        of the text.
        """
        P = 0 if self.prompts is None else len(self.prompts)
        x = self.embeddings(input_ids, token_type_ids, prompts=self.prompts)  # [B, P + T, C]
        # a mask costs time, so none is passed where nothing is padding
        if attention_mask is None or attention_mask.all():
            may_attend = None
        else:
            may_attend = padding_mask(F.pad(attention_mask, (P, 0), value=True))
        if query_positions is not None:
            return EncoderOutput(*self.stack(x, may_attend, need_weights, query_positions + P))
        hidden, attentions = self.stack(x, may_attend, need_weights)
        return EncoderOutput(hidden[:, P:], attentions)

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies: 0 for the embeddings, 1 for the first block, and so on."""
        part, _, rest = name.partition(".")
        return self.stack.depth_of(rest) if part == "stack" else 0

    def start(self, scheme: str) -> None:
        """What this architecture adds to the fan-in start (see `models/initialisation.py`)."""
        positions_from_sinusoids(self.embeddings)
        if scheme == "neighbours":
            start_heads(self.config, self.embeddings, self.stack)


class PretrainingOutput(NamedTuple):
    """The logits of both pretraining heads and, on request, the attention weights of every layer."""

    mlm_logits: Float[Tensor, "*any V"]
    nsp_logits: Float[Tensor, "B 2"]
    attentions: list[Float[Tensor, "B H _ T"]] = []


class BertForPretraining(nn.Module):
    """The encoder with both heads: masked language model (F25) and next sentence (F26)."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.encoder = Bert(config)
        self.pooler = Pooler(config.width)
        self.mlm_head = MaskedLMHead(config.width, config.vocab_size, config.activation, config.epsilon)
        self.nsp_head = nn.Linear(config.width, 2)

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
        masked: Int[Tensor, " M"] | None = None,
        need_weights: bool = False,
    ) -> PretrainingOutput:
        """Logits [M, V] at the positions `masked` (counted through the flattened batch, in rising order), or at all
        positions [B, T, V] when it is None.

        With 15 % of the tokens masked, the other positions would make up six sevenths of the largest product and of the
        last block's work, so the last block computes the masked positions and [CLS] alone.
        """
        if masked is None:
            hidden, attentions = self.encoder(input_ids, token_type_ids, attention_mask, need_weights)
            wanted = hidden
        else:
            query_positions, row, column = by_row(masked, *input_ids.shape)
            hidden, attentions = self.encoder(input_ids, token_type_ids, attention_mask, need_weights, query_positions)
            wanted = hidden[row, column]  # [M, C]
        mlm_logits = self.mlm_head(wanted, self.encoder.embeddings.tokens.weight)
        return PretrainingOutput(mlm_logits, self.nsp_head(self.pooler(hidden)), attentions)

    def depth_of(self, name: str) -> int:
        """The heads are as deep as the last block."""
        part, _, rest = name.partition(".")
        return self.encoder.depth_of(rest) if part == "encoder" else self.config.layers


def by_row(
    masked: Int[Tensor, " M"], B: int, T: int
) -> tuple[Int[Tensor, "B Q"], Int[Tensor, " M"], Int[Tensor, " M"]]:
    """The query positions of each row, and where among them each of `masked` (flat, rising) stands: its row and column.

    Every row begins with 0, [CLS]; rows with fewer masked tokens than others are filled up with it.
    Raises InputError when `masked` does not rise: a token would then be predicted from the vector of another one.
    """
    if (masked.diff() <= 0).any():
        raise InputError("the masked positions must be in rising order, each once: sort them.")
    row, position = masked // T, masked % T
    in_row = torch.bincount(row, minlength=B)  # [B]
    first_of_row = in_row.cumsum(0) - in_row
    column = 1 + torch.arange(len(masked), device=masked.device) - first_of_row[row]  # 1, 2, … in its row
    query_positions = masked.new_zeros(B, 1 + int(in_row.max()))
    query_positions[row, column] = position
    return query_positions, row, column
