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
        check_least(self, 1, *SIZES)
        check_most(self, MOST)
        if self.width % self.heads:
            raise InputError(
                f"width {self.width} is not divisible by {self.heads} heads: choose a multiple of {self.heads}."
            )
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not in [0, 1).")
        choices = {"norm": ("post", "pre"), "positions": POSITIONS, "activation": tuple(ACTIVATIONS)}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} '{getattr(self, name)}' is not known: choose one of {', '.join(allowed)}.")
        if self.positions == "rotary":
            check_pairs(self.width // self.heads)


def parameter_count(model: nn.Module) -> int:
    """How many numbers are learned. A table that is used twice counts once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
