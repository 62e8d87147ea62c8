r"""What stands on an encoder: the pooler, the masked-LM head, and the heads for fine-tuning.  F07, F25, F28.

An encoder is any module that is called as `encoder(input_ids, token_type_ids, attention_mask)`, returns an
`EncoderOutput`, and knows its `config`, its `output_size` and the `depth_of` its parameters. It also takes
`query_positions` if "cls" pooling is to work with it, and has `last_hidden` if "last" pooling is to.

Letters:  B batch · T length · C width of the hidden states · V vocabulary · K classes or tags
Source:   Devlin et al. (2019), BERT, §3.
"""

import inspect
import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils import skip_init

from minilm.errors import InputError
from minilm.layers.crf import CRF
from minilm.layers.dropout import Dropout
from minilm.layers.normalization import LayerNorm
from minilm.layers.products import Linear, linear
from minilm.layers.transformer import ACTIVATIONS


class EncoderOutput(NamedTuple):
    """A vector for every position and, on request, the attention weights of every layer."""

    hidden: Float[Tensor, "B _ C"]
    attentions: list[Float[Tensor, "B H _ S"]] = []


class Pooler(nn.Module):
    """tanh(W x_[CLS] + b): one vector for the whole input, taken at its first position."""

    def __init__(self, width: int):
        super().__init__()
        self.dense = Linear(width, width)

    def forward(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        return torch.tanh(self.dense(hidden[:, 0]))


class MaskedLMHead(nn.Module):
    """Dense, GELU, norm, then one logit for every token of the vocabulary.  F25.

    The last product uses the embedding table itself: a token is predicted when the vector points towards its embedding.
    """

    def __init__(self, width: int, vocab_size: int, activation: str, epsilon: float):
        super().__init__()
        self.dense = Linear(width, width)
        self.activation = ACTIVATIONS[activation]
        self.norm = LayerNorm(width, epsilon)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, x: Float[Tensor, "*any C"], table: Float[Tensor, "V C"]) -> Float[Tensor, "*any V"]:
        x = self.norm(self.activation(self.dense(x)))
        return linear(x, table, self.bias)


def mean_of_tokens(hidden: Float[Tensor, "B T C"], attention_mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B C"]:
    """The mean of the hidden states over the tokens that are not padding."""
    if attention_mask is None:
        return hidden.mean(dim=1)
    weights = attention_mask.to(hidden.dtype)[:, :, None]  # [B, T, 1]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


def at_markers(hidden: Float[Tensor, "B T C"], input_ids: Int[Tensor, "B T"], markers: tuple[int, ...]) -> Tensor:
    """The hidden states where each marker stands first, side by side: [B, 2C]. A text without one has that of [CLS] there."""
    first = torch.stack([(input_ids == marker).long().argmax(dim=1) for marker in markers], dim=1)  # [B, 2]
    return hidden.gather(1, first[:, :, None].expand(-1, -1, hidden.size(-1))).flatten(1)


POOLINGS = ("mean", "cls", "last", "markers")
ONE_CLASS, SEVERAL, NUMBER = "single_label_classification", "multi_label_classification", "regression"
MARKS = ("entities", "tags", "words")


@dataclass(frozen=True)
class HeadConfig:
    """The labels of a classifier by name, in the order of its logits, and the dropout in front of the last product."""

    labels: tuple[str, ...] = ()
    dropout: float = 0.1

    @property
    def fewest(self) -> int:
        """The number of labels that it needs at least."""
        return 2

    def __post_init__(self) -> None:
        if len(self.labels) < self.fewest:
            raise InputError(f"a classifier needs at least two labels, and there are {list(self.labels)}.")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not in [0, 1).")


@dataclass(frozen=True)
class TextHeadConfig(HeadConfig):
    """What is said about a text: one class, several labels or a number.

    `pooling` says where the text's one vector comes from: "mean" is the mean of its tokens, "cls" the pooler's vector at [CLS],
    "last" the hidden state after the last token (for recurrent encoders), and "markers" the hidden states of the two tokens
    `markers` side by side, which stand before the two entities of a relation. `pairs` says whether the model was trained on
    pairs of texts; None if that is not known, as with models that others published.

    `problem_type` has the names of `transformers`. Of a number, `labels` holds the name alone; while the model learns, its one
    logit is scaled by `scale` and moved by `center`, the deviation and the mean of the numbers that it learns from.
    """

    pooling: str = "mean"
    pairs: bool | None = None
    problem_type: str = ONE_CLASS
    markers: tuple[int, ...] = ()
    center: float = 0.0
    scale: float = 1.0

    @property
    def fewest(self) -> int:
        return 2 if self.problem_type == ONE_CLASS else 1

    def __post_init__(self) -> None:
        if self.problem_type not in (ONE_CLASS, SEVERAL, NUMBER):
            raise InputError(
                f"problem_type '{self.problem_type}' is not known: choose {ONE_CLASS}, {SEVERAL} or {NUMBER}."
            )
        super().__post_init__()
        if self.problem_type == NUMBER and len(self.labels) != 1:
            raise InputError(f"a model that predicts a number has one label, its name, and not {list(self.labels)}.")
        if (self.pooling == "markers") != (len(self.markers) == 2) or len(set(self.markers)) != len(self.markers):
            raise InputError("pooling 'markers' needs two different tokens as markers, and no other pooling has any.")
        if self.pooling not in POOLINGS:
            raise InputError(f"pooling '{self.pooling}' is not known: choose one of {', '.join(POOLINGS)}.")


@dataclass(frozen=True)
class TokenHeadConfig(HeadConfig):
    """One label per unit of the text.

    `units` names the rule by which text is cut into units (`text/segmentation.py`), as the training data was. "tokenizer"
    means the tokenizer's own words; it holds for published taggers and for folders that do not say. `longest_word` is
    above 0 if the units include words of Chinese, or of another script without spaces: it is the length of the longest
    such word, and text must have spaces between its words.

    With `crf`, the tags of a line are scored together, by a linear-chain CRF on the logits. `crf_allowed` says which steps are
    possible there, as K + 1 strings of K + 1 digits: digit j of string i is "1" if tag j may follow tag i. The last string is
    the start of a line, and the last digit its end. If it is empty, all steps are possible.
    """

    units: str = "tokenizer"
    longest_word: int = 0
    crf: bool = False
    crf_allowed: tuple[str, ...] = ()
    marks: str = "entities"
    """What the labels say: where "entities" are, one thing about each unit by itself ("tags"), or the borders of "words"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.marks not in MARKS:
            raise InputError(f"marks '{self.marks}' is not known: choose one of {', '.join(MARKS)}.")
        size = len(self.labels) + 1
        table = [row for row in self.crf_allowed if isinstance(row, str) and len(row) == size and {*row} <= {*"01"}]
        if self.crf_allowed and not (self.crf and len(table) == len(self.crf_allowed) == size):
            raise InputError(
                f"crf_allowed must be {size} strings of {size} digits 0 and 1 for {size - 1} labels, and needs crf."
            )

    @property
    def allowed_steps(self) -> Bool[Tensor, "_ _"] | None:
        """`crf_allowed` as the CRF takes it."""
        return torch.tensor([[digit == "1" for digit in row] for row in self.crf_allowed]) if self.crf_allowed else None


@dataclass(frozen=True)
class SpanHeadConfig(HeadConfig):
    """Where the answer to a question stands in a text: a logit for its first token and one for its last, at every token."""

    labels: tuple[str, ...] = ("start", "end")


class Classifier(nn.Module):
    r"""logits = encoder(x) W⁰ + b⁰.  F07.

    For a text, encoder(x) is one vector (see `TextHeadConfig.pooling`); for tagging and for spans, it is the hidden state of
    each token.
    If the head has a CRF, the logits at the first pieces of a line's words are its emissions (F31), `crf` holds its other
    scores, and the model's answer is the best path and not the best tag of each word.
    Raises InputError for a pooling that the encoder does not support.
    """

    def __init__(self, encoder: nn.Module, head: HeadConfig, generator: torch.Generator | None = None):
        super().__init__()
        self.encoder = cast(Any, encoder)  # what an encoder has stands above; a type of nn.Module cannot say it
        self.config = self.encoder.config
        self.head_config = head
        self.pooling = head.pooling if isinstance(head, TextHeadConfig) else None
        self.markers = head.markers if isinstance(head, TextHeadConfig) else ()
        takes_positions = "query_positions" in inspect.signature(encoder.forward).parameters
        if (self.pooling == "cls" and not takes_positions) or (
            self.pooling == "last" and not hasattr(encoder, "last_hidden")
        ):
            raise InputError(f"pooling '{self.pooling}' does not work with {type(encoder).__name__}: choose mean.")
        self.pooler = Pooler(self.encoder.output_size) if self.pooling == "cls" else None
        self.dropout = Dropout(head.dropout)
        width = self.encoder.output_size * (2 if self.pooling == "markers" else 1)
        self.head = skip_init(nn.Linear, width, len(head.labels))  # drawn below, with the generator
        bound = 1 / math.sqrt(width)
        with torch.no_grad():
            self.head.weight.uniform_(-bound, bound, generator=generator)
            self.head.bias.zero_()
        self.crf: CRF | None = None
        if isinstance(head, TokenHeadConfig) and head.crf:
            self.crf = CRF(len(head.labels), head.allowed_steps)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the K classes or tags."""
        return self.head_config.labels

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B K"] | Float[Tensor, "B T K"]:
        """One logit per class for each text, [B, K], or one per tag for each token, [B, T, K]."""
        if self.pooler is not None:  # it reads [CLS] alone, so the last block computes nothing else
            first = torch.zeros_like(input_ids[:, :1])
            x = self.pooler(self.encoder(input_ids, token_type_ids, attention_mask, query_positions=first).hidden)
        else:
            x = self.encoder(input_ids, token_type_ids, attention_mask).hidden
            if self.pooling == "mean":
                x = mean_of_tokens(x, attention_mask)
            elif self.pooling == "last":
                x = self.encoder.last_hidden(x, attention_mask)
            elif self.pooling == "markers":
                x = at_markers(x, input_ids, self.markers)
        logits = self.head(self.dropout(x))
        head = self.head_config
        if isinstance(head, TextHeadConfig) and (head.center, head.scale) != (0.0, 1.0):
            wide = torch.promote_types(logits.dtype, torch.float32)  # in bf16, 1900 and 1903 are the same number
            logits = head.center + head.scale * logits.to(wide)
        return logits

    @torch.no_grad()
    def settle(self) -> None:
        """Move `center` and `scale` into W⁰ and b⁰: the model computes the same number as before, as a plain linear head."""
        head = self.head_config
        if isinstance(head, TextHeadConfig):
            self.head.weight.mul_(head.scale)
            self.head.bias.mul_(head.scale).add_(head.center)
            self.head_config = replace(head, center=0.0, scale=1.0)

    def depth_of(self, name: str) -> int | float:
        """How deep the parameter `name` lies: in the encoder as it says; the head lies behind all of its layers."""
        part, _, rest = name.partition(".")
        return self.encoder.depth_of(rest) if part == "encoder" else math.inf
