r"""The frugal ways of fine-tuning: which few numbers of a pretrained model are trained, and what is added to it.  F08, F32, F33.

all        every weight (F02)
head       the head alone, as F08 is printed
top        the head and the last `top_layers` layers
biases     the head and every bias of the encoder
adapters   the head, a bottleneck behind both parts of every layer, and the norms
low-rank   the head, and two thin matrices beside the matrices of every layer
adaptive   the head, and low-rank changes whose ranks a budget shares out among the matrices
prompts    the head, and `prompt_length` vectors that stand before the tokens of every text

Whatever is trained has `requires_grad`, and nothing else has, so it can be saved alone (`pretrained/adapter.py`).

Letters:  C model width · P learned prompts · r rank · m size of a bottleneck
Sources:  Houlsby et al. (2019), Parameter-Efficient Transfer Learning for NLP; Hu et al. (2021), LoRA; Zhang et al. (2023),
          AdaLoRA; Ben Zaken et al. (2022), BitFit; Lester et al. (2021), The Power of Scale for Parameter-Efficient Prompt
          Tuning.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.layers.bottleneck import BottleneckLinear
from minilm.layers.low_rank import AdaptiveLinear, MergeableLowRank

WAYS = ("all", "head", "top", "biases", "adapters", "low-rank", "adaptive", "prompts")
PLACES = ("attention", "everywhere")
# option → the ways that it is for, and its value if none is given
OPTIONS: dict[str, tuple[tuple[str, ...], Any]] = {
    "top_layers": (("top",), 1),
    "rank": (("low-rank", "adaptive"), 8),
    "alpha": (("low-rank", "adaptive"), 16.0),
    "where": (("low-rank", "adaptive"), "attention"),
    "adapter_size": (("adapters",), 8),
    "prompt_length": (("prompts",), 8),
}
HEADS = ("head.", "crf.")  # how the names of what stands on the encoder begin; it is always trained
SHORTEST = 3  # tokens of a text: a word between [CLS] and [SEP]


@dataclass(frozen=True)
class Adaptation:
    """Which numbers are trained. Raises InputError for a way that is not known, and for an option of another way."""

    tune: str = "all"
    """What is trained: all, head, top (the last layers), biases, adapters, low-rank, adaptive (low-rank with a budget), or
    prompts (learned vectors before every text)."""
    top_layers: int | None = None
    """top: how many layers, counted from the head; 1 if not given."""
    rank: int | None = None
    """low-rank: the rank of every change; adaptive: their mean at the end; 8 if not given."""
    alpha: float | None = None
    """low-rank and adaptive: the change is multiplied by alpha / rank; 16 if not given."""
    where: str | None = None
    """low-rank and adaptive: the matrices that change, those of the attention or everywhere; attention if not given."""
    adapter_size: int | None = None
    """adapters: the numbers in each bottleneck; 8 if not given."""
    prompt_length: int | None = None
    """prompts: how many vectors; 8 if not given. Texts may be shorter by as many tokens."""

    def __post_init__(self) -> None:
        if self.tune not in WAYS:
            raise InputError(f"tune '{self.tune}' is not known: choose one of {', '.join(WAYS)}.")
        for name, (ways, _) in OPTIONS.items():
            value, option = getattr(self, name), "--" + name.replace("_", "-")
            if value is not None and self.tune not in ways:
                raise InputError(f"{option} is for --tune {' and '.join(ways)}, and this is {self.tune}: leave it out.")
            if name != "where" and value is not None and not 0 < value < math.inf:
                raise InputError(f"{option} must be above 0, not {value}.")
        if self.where not in (None, *PLACES):
            raise InputError(f"where '{self.where}' is not known: choose {' or '.join(PLACES)}.")

    def value(self, name: str) -> Any:
        """The option of this name, or its default."""
        given = getattr(self, name)
        return OPTIONS[name][1] if given is None else given

    @property
    def stated(self) -> "Adaptation":
        """The same, with every option of this way written out."""
        return replace(self, **{name: self.value(name) for name, (ways, _) in OPTIONS.items() if self.tune in ways})


def adapt(
    model: nn.Module, adaptation: Adaptation, generator: torch.Generator, ranks: Mapping[str, int] | None = None
) -> None:
    """Freeze what is not trained, and add what is. What is added begins without any effect, except for prompts.

    `model` has an `encoder`, and perhaps a `head` and a `crf` (a `Classifier`). `ranks` gives the rank of each adaptive layer
    by its name, as it was saved. Raises InputError for an encoder that has no place for this way, a rank that is larger than
    a matrix, more layers than there are, and prompts that leave no room for a text.
    """
    tune = adaptation.tune
    encoder: Any = model.encoder
    if tune == "all":
        return
    blocks: Any = getattr(getattr(encoder, "stack", None), "layers", None)
    if tune != "head" and blocks is None:
        raise InputError(
            f"tune '{tune}' needs a Transformer, and this is a {type(encoder).__name__}: choose all or head."
        )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(HEADS) or (tune == "biases" and name.endswith("bias")))
    if tune == "top":
        train_top(encoder.stack, adaptation.value("top_layers"))
    elif tune == "adapters":
        m = adaptation.value("adapter_size")
        for block in blocks:
            block.attention.output = BottleneckLinear(block.attention.output, m, generator)
            block.feed_forward.outer = BottleneckLinear(block.feed_forward.outer, m, generator)
            block.attention_norm.requires_grad_(True)
            block.feed_forward_norm.requires_grad_(True)
    elif tune in ("low-rank", "adaptive"):
        change_matrices(blocks, adaptation, generator, ranks or {})
    elif tune == "prompts":
        add_prompts(model, adaptation.value("prompt_length"), generator)


def train_top(stack: Any, layers: int) -> None:
    """Train the last `layers` layers, and the norm that comes after them in pre-norm."""
    if layers > len(stack.layers):
        raise InputError(f"--top-layers {layers} is more than the {len(stack.layers)} layers that the model has.")
    for block in stack.layers[-layers:]:
        block.requires_grad_(True)
    stack.final_norm.requires_grad_(True)


def change_matrices(blocks: Any, adaptation: Adaptation, generator: torch.Generator, ranks: Mapping[str, int]) -> None:
    """Put thin matrices beside the matrices of every block."""
    rank, alpha, adaptive = adaptation.value("rank"), adaptation.value("alpha"), adaptation.tune == "adaptive"
    first = starting_rank(rank) if adaptive else rank
    for number, block in enumerate(blocks):
        places = [(block.attention, "to_qkv"), (block.attention, "output")]
        if adaptation.value("where") == "everywhere":
            places += [(block.feed_forward, "inner"), (block.feed_forward, "outer")]
        for parent, name in places:
            linear: nn.Linear = getattr(parent, name)
            if first > (most := min(linear.weight.shape)):
                start = f", with which rank {rank} starts," if adaptive else ""
                raise InputError(
                    f"rank {first}{start} is larger than a matrix: {name} of layer {number + 1} is "
                    f"{linear.out_features} × {linear.in_features}, so choose at most {int(most * rank / first)}."
                )
            if not adaptive:
                setattr(parent, name, MergeableLowRank(linear, rank, alpha, generator))
                continue
            layer = AdaptiveLinear(linear, first, alpha, generator)
            kept = ranks.get(f"{number}.{name}")
            if kept is not None:
                layer.keep(torch.arange(kept))
            setattr(parent, name, layer)


def starting_rank(rank: int) -> int:
    """The rank with which the adaptive way starts: half as much again as it keeps in the mean, rounded up."""
    return rank + (rank + 1) // 2


def final_rank(first: int) -> int:
    """The rank that `starting_rank` was given."""
    return 2 * first // 3


def add_prompts(model: Any, P: int, generator: torch.Generator) -> None:
    """Put P vectors before every text. They begin as the embeddings of P tokens that are drawn."""
    encoder, config = model.encoder, model.config
    if config.max_length - P < SHORTEST:
        raise InputError(
            f"{P} prompts leave no room: the model takes {config.max_length} tokens, and a text needs at least {SHORTEST}; "
            f"choose --prompt-length {config.max_length - SHORTEST} or less."
        )
    table = encoder.token_table.weight
    drawn = torch.randint(len(table), (P,), generator=generator)
    encoder.prompts = nn.Parameter(table[drawn.to(table.device)].detach().clone())
    model.config = replace(config, max_length=config.max_length - P)  # what is left for a text


def trained_weights(model: nn.Module) -> dict[str, Tensor]:
    """What is trained, by name: all that has to be kept beside the model that it was added to."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def adaptive_layers(model: nn.Module) -> dict[str, AdaptiveLinear]:
    """The layers whose ranks share a budget, by their names, such as "encoder.stack.layers.0.attention.to_qkv"."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, AdaptiveLinear)}


def short_name(name: str) -> str:
    """The name of an adaptive layer in `ranks`: "encoder.stack.layers.0.attention.to_qkv" → "0.to_qkv"."""
    parts = name.split(".")
    return f"{parts[parts.index('layers') + 1]}.{parts[-1]}"


def merge(model: nn.Module) -> None:
    """Put one linear layer, with the weight W + the change, in the place of every low-rank and adaptive layer.

    The model then computes the same as before, up to rounding, in the time of the model that was adapted. Raises InputError
    if it has something that cannot be merged: an adapter, because of its activation, or prompts.
    """
    if any(isinstance(layer, BottleneckLinear) for layer in model.modules()):
        raise InputError("adapters cannot be merged, because of their activation: keep them beside the base.")
    if getattr(model.encoder, "prompts", None) is not None:
        raise InputError("prompts cannot be merged: they are no change of a weight; keep them beside the base.")
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, MergeableLowRank | AdaptiveLinear):
                with torch.no_grad():
                    layer.linear.weight.copy_(layer.weight)
                setattr(parent, name, layer.linear)
