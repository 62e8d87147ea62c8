"""The shape of a Transformer, whatever its architecture; and how many numbers a model learns."""

from dataclasses import dataclass

from torch import nn

from minilm.errors import InputError, check_least, check_most
from minilm.layers.positions import POSITIONS, check_pairs
from minilm.layers.transformer import ACTIVATIONS

SIZES = ("vocab_size", "width", "layers", "heads", "feed_forward", "max_length", "token_types")
# Larger sizes would exhaust memory or overflow an integer before PyTorch reports an error.
MOST = dict.fromkeys(SIZES, 10_000_000) | {"layers": 1_000, "feed_forward": 40_000_000}


@dataclass(frozen=True)
class TransformerConfig:
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
    token_types: int = 2
    dropout: float = 0.0
    activation: str = "gelu"
    norm: str = "post"
    positions: str = "learned"
    epsilon: float = 1e-12
    pad_id: int = 0

    def __post_init__(self) -> None:
        check_shape(self, SIZES, norm=("post", "pre"), positions=POSITIONS, activation=tuple(ACTIVATIONS))


def check_shape(config, sizes: tuple[str, ...], **choices: tuple[str, ...]) -> None:
    """Raises InputError if a config has a size out of range, or another value than one of `choices` for a field."""
    check_least(config, 1, *sizes)
    check_most(config, {name: MOST[name] for name in sizes})
    if config.width % config.heads:
        raise InputError(
            f"width {config.width} is not divisible by {config.heads} heads: choose a multiple of {config.heads}."
        )
    if not 0 <= config.dropout < 1:
        raise InputError(f"dropout {config.dropout} is not in [0, 1).")
    for name, allowed in choices.items():
        if getattr(config, name) not in allowed:
            raise InputError(f"{name} '{getattr(config, name)}' is not known: choose one of {', '.join(allowed)}.")
    if config.positions == "rotary":
        check_pairs(config.width // config.heads)


def parameter_count(model: nn.Module) -> int:
    """How many numbers are learned. A table that is used twice counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
