r"""BERT: the encoder, its two pretraining heads, and the heads for fine-tuning.  F07, F25–F28.

Letters:  B batch · T length · M masked positions · Q positions asked for in a row · C model width · V vocabulary
          K classes or tags
Source:   Devlin et al. (2019), BERT: Pre-training of Deep Bidirectional Transformers, §3.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.attention import padding_mask
from minilm.layers.dropout import Dropout
from minilm.layers.embeddings import Embeddings
from minilm.layers.normalization import LayerNorm
from minilm.layers.transformer import ACTIVATIONS, Encoder

# beyond, the machine is filled before it complains, or cannot count the numbers
MOST = dict.fromkeys(("vocab_size", "width", "heads", "max_length", "types"), 10_000_000)
MOST |= {"layers": 1_000, "feed_forward": 40_000_000}


@dataclass(frozen=True)
class BertConfig:
    """The shape of a model. Checked when made, so that a wrong size is named before anything is built."""

    vocab_size: int = 8192
    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int = 512
    max_length: int = 128
    types: int = 2
    dropout: float = 0.0
    activation: str = "gelu"
    norm: str = "post"
    positions: str = "learned"
    epsilon: float = 1e-12
    pad_id: int = 0

    def __post_init__(self):
        for name in ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length", "types"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1.")
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise InputError(f"{name} {getattr(self, name):,} must be at most {most:,}.")
        if self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by {self.heads} heads: choose a multiple of {self.heads}."
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not in [0, 1).")
        choices = {"norm": ("post", "pre"), "positions": ("learned", "sinusoidal"), "activation": tuple(ACTIVATIONS)}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} '{getattr(self, name)}' is not known: choose one of {', '.join(allowed)}.")


class Encoded(NamedTuple):
    """What the encoder gives: a vector for every word and, on request, who looked at whom in every layer."""

    words: Float[Tensor, "B _ C"]
    attentions: list[Float[Tensor, "B H _ T"]] = []


class Bert(nn.Module):
    """Embeddings, then blocks."""

    def __init__(self, config: BertConfig):
        super().__init__()
        c = self.config = config
        options = dict(dropout=c.dropout, epsilon=c.epsilon)
        self.embeddings = Embeddings(c.vocab_size, c.width, c.max_length, c.types, positions=c.positions, **options)
        self.encoder = Encoder(
            c.layers, c.width, c.heads, c.feed_forward, activation=c.activation, norm=c.norm, **options
        )

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        types: Int[Tensor, "B T"] | None = None,
        real: Bool[Tensor, "B T"] | None = None,
        need_weights: bool = False,
        asked: Int[Tensor, "B Q"] | None = None,
    ) -> Encoded:
        """`types` says which segment a word is in (None: all in the first), `real` which words are not padding.

        Given `asked`, the vectors are those of these positions alone, [B, Q, C]; the same numbers for less work.
        """
        x = self.embeddings(ids, types)
        may_attend = None if real is None or real.all() else padding_mask(real)  # a mask costs time
        return Encoded(*self.encoder(x, may_attend, need_weights, asked))


class Pooler(nn.Module):
    """tanh(W x_[CLS] + b): one vector for the whole input, taken at its first position."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, words: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        return torch.tanh(self.dense(words[:, 0]))


class MaskedWordHead(nn.Module):
    """Dense, GELU, norm, then one score for every word of the vocabulary.  F25.

    The last product uses the embedding table itself: a word is predicted when the vector points at its embedding.
    """

    def __init__(self, width: int, vocab_size: int, activation: str, epsilon: float):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.activation = ACTIVATIONS[activation]
        self.norm = LayerNorm(width, epsilon)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Float[Tensor, "*any C"], table: Float[Tensor, "V C"]) -> Float[Tensor, "*any V"]:
        x = self.norm(self.activation(self.dense(x)))
        return F.linear(x, table, self.bias)


class PretrainingScores(NamedTuple):
    words: Float[Tensor, "*any V"]
    is_next: Float[Tensor, "B 2"]
    attentions: list[Float[Tensor, "B H T T"]] = []


class BertForPretraining(nn.Module):
    """The encoder with both heads: masked words (F25) and next sentence (F26)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.pooler = Pooler(config.width)
        self.masked_words = MaskedWordHead(config.width, config.vocab_size, config.activation, config.epsilon)
        self.next_sentence = nn.Linear(config.width, 2)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        types: Int[Tensor, "B T"] | None = None,
        real: Bool[Tensor, "B T"] | None = None,
        masked: Int[Tensor, " M"] | None = None,
        need_weights: bool = False,
    ) -> PretrainingScores:
        """Scores for the words [M, V] at the positions `masked` (counted through the flattened batch, in order), or at
        all positions [B, T, V] when it is None. With 15 % masked, the others are six sevenths of the largest product, and
        of what the last block does: it works out the masked words and [CLS] alone."""
        if masked is None:
            words, attentions = self.bert(ids, types, real, need_weights)
            wanted = words
        else:
            asked, row, column = by_row(masked, *ids.shape)
            words, attentions = self.bert(ids, types, real, need_weights, asked)
            wanted = words[row, column]  # [M, C]
        scores = self.masked_words(wanted, self.bert.embeddings.words.weight)
        return PretrainingScores(scores, self.next_sentence(self.pooler(words)), attentions)


def by_row(
    masked: Int[Tensor, " M"], B: int, T: int
) -> tuple[Int[Tensor, "B Q"], Int[Tensor, " M"], Int[Tensor, " M"]]:
    """The positions of each row that are asked for, and where among them each of `masked` (flat, rising) stands.

    Every row begins with 0, [CLS]; rows with fewer masked words than others are filled up with it.
    Raises InputError when `masked` does not rise: a word would be scored from the vector of another one.
    """
    if (masked.diff() <= 0).any():
        raise InputError("the masked positions must be in rising order, each once: sort them.")
    row, position = masked // T, masked % T
    in_row = torch.bincount(row, minlength=B)  # [B]
    column = (
        1 + torch.arange(len(masked), device=masked.device) - (in_row.cumsum(0) - in_row)[row]
    )  # 1, 2, … in its row
    asked = masked.new_zeros(B, 1 + int(in_row.max()))
    asked[row, column] = position
    return asked, row, column


@dataclass(frozen=True)
class HeadConfig:
    """What stands on the encoder for a task: `labels` by name, and where the text's one vector comes from."""

    labels: tuple[str, ...] = field(default_factory=tuple)
    task: str = "text"  # "text": one label a text · "token": one label a word
    pooling: str = "mean"  # "mean": of the real words · "cls": the pooler's vector at [CLS]
    dropout: float = 0.1

    def __post_init__(self):
        if len(self.labels) < 2:
            raise InputError(f"a classifier needs at least two labels, here: {list(self.labels)}.")
        if self.task not in ("text", "token") or self.pooling not in ("mean", "cls"):
            raise InputError(f"task '{self.task}' with pooling '{self.pooling}' is not known: text|token, mean|cls.")


def mean_of_words(words: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B C"]:
    """The mean over the words that are not padding."""
    if real is None:
        return words.mean(dim=1)
    weights = real.to(words.dtype)[:, :, None]  # [B, T, 1]
    return (words * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class BertClassifier(nn.Module):
    r"""logits = BERT(x) W⁰ + b⁰.  F07.

    For a text, BERT(x) is one vector (see `HeadConfig.pooling`); for tagging it is the vector of each word.
    """

    def __init__(self, config: BertConfig, head: HeadConfig):
        super().__init__()
        self.config = config
        self.head_config = head
        self.bert = Bert(config)
        self.pooler = Pooler(config.width) if head.task == "text" and head.pooling == "cls" else None
        self.dropout = Dropout(head.dropout)
        self.head = nn.Linear(config.width, len(head.labels))

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        types: Int[Tensor, "B T"] | None = None,
        real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B K"] | Float[Tensor, "B T K"]:
        if self.pooler is not None:  # it looks at [CLS] alone, and so the last block works out nothing else
            x = self.pooler(self.bert(ids, types, real, asked=torch.zeros_like(ids[:, :1])).words)
        else:
            x = self.bert(ids, types, real).words
            x = mean_of_words(x, real) if self.head_config.task == "text" else x
        return self.head(self.dropout(x))


def parameter_count(model: nn.Module) -> int:
    """How many numbers are learned; a table that is used twice counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
