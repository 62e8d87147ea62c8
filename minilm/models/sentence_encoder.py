r"""An encoder without a task, with its pooler if it has one; and texts as vectors.

Letters:  B batch · T length · C model width · P poolings side by side · E size of a text's vector
Source:   Reimers and Gurevych (2019), Sentence-BERT, §3 (the mean of the tokens' vectors, the maximum, [CLS]).
"""

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.models.heads import Pooler, mean_of_tokens

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
# What may follow the product of a dense layer: functions of one number, as PyTorch names and defines them.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    kind.__name__: kind
    for kind in (nn.Identity, nn.Tanh, nn.ReLU, nn.GELU, nn.Sigmoid, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Softplus)
}


@dataclass(frozen=True)
class DenseConfig:
    """A dense layer on a text's vector: f(W u + b), with or without b."""

    inputs: int
    outputs: int
    bias: bool = True
    activation: str = "Tanh"

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation '{self.activation}' is not known: choose one of {', '.join(ACTIVATIONS)}.")


NORMALIZE = "normalize"  # the other layer that there is: u/‖u‖


@dataclass(frozen=True)
class SentenceSettings:
    """How a text becomes one vector. The defaults are the mean of its tokens' vectors, scaled to length 1.

    Raises InputError for a pooling or a similarity that is not known.
    """

    pooling: tuple[str, ...] = ("mean",)
    """How the tokens' vectors become one. Several results stand side by side."""
    layers: tuple[DenseConfig | str, ...] = (NORMALIZE,)
    """What follows, in this order."""
    max_length: int | None = None
    """Longer texts are cut to this number of tokens, with special tokens. None: no such length was agreed."""
    lowercase: bool = False
    """Whether text is put into small letters before the tokenizer reads it."""
    prompts: tuple[tuple[str, str], ...] = ()
    """Beginnings that texts may have, by name."""
    default_prompt: str | None = None
    """The name of the prompt that every text gets."""
    include_prompt: bool = True
    """Whether the tokens of the prompt take part in the pooling."""
    similarity: str = "cosine"
    """How two vectors are compared."""
    truncate_dim: int | None = None
    """Only the first so many features of a vector are kept."""
    stated: bool = False
    """Whether somebody chose these settings for this model, or they are the defaults."""

    def __post_init__(self) -> None:
        for pooling in self.pooling:
            if pooling not in POOLINGS:
                raise InputError(f"pooling '{pooling}' is not known: choose one of {', '.join(POOLINGS)}.")
        if self.similarity not in SIMILARITIES:
            raise InputError(f"similarity '{self.similarity}' is not known: choose one of {', '.join(SIMILARITIES)}.")

    @property
    def prompt(self) -> str:
        """What is put before every text."""
        return dict(self.prompts).get(self.default_prompt or "", "")


class Dense(nn.Module):
    """f(W u + b)."""

    def __init__(self, config: DenseConfig):
        super().__init__()
        self.linear = nn.Linear(config.inputs, config.outputs, config.bias)
        self.activation = ACTIVATIONS[config.activation]()

    def forward(self, u: Float[Tensor, "B _"]) -> Float[Tensor, "B _"]:
        return self.activation(self.linear(u))


class Normalize(nn.Module):
    """u/‖u‖: vectors of length 1, so that the product of two of them is the cosine of their angle. 0 stays 0."""

    def forward(self, u: Float[Tensor, "B E"]) -> Float[Tensor, "B E"]:
        return u / torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp(min=1e-12)


class SentenceEncoder(nn.Module):
    """An encoder without a task, which is how most models are published. `pooler` is None where none was published.

    `settings` say how a text becomes a vector; `after` are their layers. Raises InputError if these do not fit together.
    """

    def __init__(self, encoder: nn.Module, with_pooler: bool = True, settings: SentenceSettings = SentenceSettings()):
        super().__init__()
        self.encoder = cast(Any, encoder)
        self.config = self.encoder.config
        self.settings = settings
        self.pooler = Pooler(self.encoder.output_size) if with_pooler else None
        size = self.encoder.output_size * len(settings.pooling)
        for layer in settings.layers:
            if isinstance(layer, DenseConfig):
                if layer.inputs != size:
                    raise InputError(f"a dense layer takes {layer.inputs} features, and it is given {size}.")
                size = layer.outputs
        self.output_size = size if settings.truncate_dim is None else min(size, settings.truncate_dim)
        self.after = nn.ModuleList(
            Dense(layer) if isinstance(layer, DenseConfig) else Normalize() for layer in settings.layers
        )

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
        prompt_tokens: int = 0,
    ) -> Float[Tensor, "B E"]:
        """One vector per text. The first `prompt_tokens` of each row take no part in the pooling."""
        hidden = self.encoder(input_ids, token_type_ids, attention_mask).hidden
        counts = attention_mask
        if prompt_tokens:
            after = torch.arange(hidden.size(1), device=hidden.device) >= prompt_tokens
            counts = after.expand(hidden.shape[:2]) if attention_mask is None else attention_mask & after
        u = torch.cat([pooled(hidden, counts, pooling) for pooling in self.settings.pooling], dim=-1)
        for layer in self.after:
            u = layer(u)
        return u[:, : self.output_size]


def pooled(
    hidden: Float[Tensor, "B T C"], counts: Bool[Tensor, "B T"] | None, pooling: str = "mean"
) -> Float[Tensor, "B C"]:
    """One vector from the hidden states of a text, over the positions where `counts` is True (None: over all of them).

    mean: 1/n Σₜ xₜ · mean_sqrt_len_tokens: 1/√n Σₜ xₜ · weightedmean: Σₜ t·xₜ / Σₜ t with t = 1 at the row's first position
    max: the largest value of each feature · cls and lasttoken: the vector at the first and at the last such position
    """
    if pooling == "mean":
        return mean_of_tokens(hidden, counts)
    B, T, C = hidden.shape
    counts = torch.ones(B, T, dtype=torch.bool, device=hidden.device) if counts is None else counts
    each = counts[:, :, None]  # [B, T, 1]
    if pooling == "max":
        return hidden.masked_fill(~each, -math.inf).max(dim=1).values
    if pooling == "mean_sqrt_len_tokens":
        return (hidden * each).sum(dim=1) / each.sum(dim=1).to(hidden.dtype).clamp(min=1e-9).sqrt()
    position = torch.arange(1, T + 1, device=hidden.device)
    if pooling == "weightedmean":
        weights = each * position[:, None].to(hidden.dtype)  # [B, T, 1]
        return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)
    place = counts.int().argmax(dim=1) if pooling == "cls" else (counts * position).argmax(dim=1)  # [B]
    at = hidden[torch.arange(B, device=hidden.device), place]
    return at if pooling == "cls" else at * counts.any(dim=1, keepdim=True)  # as nothing is last where nothing counts
