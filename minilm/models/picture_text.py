r"""Two towers for pictures and texts, which meet in one space.  F35.

Letters:  B pictures, N texts · m pixels · P patches · T tokens · C width of the towers · D size of the common space

    u = W¹ mean(Transformer(patches)),  v = W² mean(Transformer(tokens))        S = exp(τ) · û v̂ᵀ

Sources:  Radford et al. (2021), Learning Transferable Visual Models From Natural Language Supervision, §2.4–2.5 (τ starts at
          log 1/0.07, and exp(τ) is at most 100); Dosovitskiy et al. (2021), An Image is Worth 16x16 Words (patches as tokens).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.errors import InputError, check_least
from minilm.layers.dropout import Dropout
from minilm.layers.transformer import TransformerStack
from minilm.models.config import check_shape
from minilm.models.heads import mean_of_tokens

LARGEST_SCALE = 100.0


@dataclass(frozen=True)
class PictureTextConfig:
    """The shape of both towers. Raises InputError for a size that cannot be, or a side that patches do not fill."""

    vocab_size: int
    side: int = 8
    patch: int = 2
    levels: int = 17
    longest: int = 24
    width: int = 64
    layers: int = 2
    heads: int = 4
    size: int = 32
    dropout: float = 0.1
    positions: str = "learned"

    def __post_init__(self) -> None:
        check_shape(self, ("vocab_size", "width", "layers", "heads"), positions=("learned",))
        check_least(self, 1, "side", "patch", "levels", "longest", "size")
        if self.side % self.patch:
            raise InputError(f"patches of {self.patch} × {self.patch} pixels do not fill a side of {self.side}.")


class Tower(nn.Module):
    """Vectors with places, a stack of pre-norm blocks, the mean, and a matrix into the common space."""

    def __init__(self, config: PictureTextConfig, longest: int):
        super().__init__()
        c = config
        self.positions = nn.Embedding(longest, c.width)
        self.dropout = Dropout(c.dropout)
        options: dict[str, Any] = dict(dropout=c.dropout, norm="pre")
        self.stack = TransformerStack(c.layers, c.width, c.heads, 4 * c.width, **options)
        self.to_common = nn.Linear(c.width, c.size, bias=False)

    def forward(
        self, x: Float[Tensor, "B T C"], attention_mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B D"]:
        x = self.dropout(x + self.positions.weight[: x.size(1)])
        may_attend = None if attention_mask is None else attention_mask[:, None, None, :]
        return self.to_common(mean_of_tokens(self.stack(x, may_attend)[0], attention_mask))


class PictureText(nn.Module):
    """Vectors of pictures and of texts, and how well they fit each other."""

    def __init__(self, config: PictureTextConfig):
        super().__init__()
        c = self.config = config
        self.patches = nn.Linear(c.patch**2, c.width)
        self.tokens = nn.Embedding(c.vocab_size, c.width)
        self.picture_tower = Tower(c, (c.side // c.patch) ** 2)
        self.text_tower = Tower(c, c.longest)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # τ

    @property
    def scale(self) -> Float[Tensor, ""]:
        """s = exp(τ)."""
        return self.log_scale.clamp(max=math.log(LARGEST_SCALE)).exp()

    def pictures(self, pixels: Int[Tensor, "B m"]) -> Float[Tensor, "B D"]:
        """û of pictures, whose pixels are 0 … levels − 1."""
        c = self.config
        n = c.side // c.patch
        x = pixels.to(self.patches.weight.dtype) / (c.levels - 1)
        x = x.view(-1, n, c.patch, n, c.patch).transpose(2, 3).reshape(len(pixels), n * n, c.patch**2)  # [B, P, patch²]
        return nn.functional.normalize(self.picture_tower(self.patches(x)), dim=-1)

    def texts(
        self, input_ids: Int[Tensor, "B T"], attention_mask: Bool[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B D"]:
        """v̂ of texts. Raises InputError for a text that is too long."""
        if input_ids.size(1) > self.config.longest:
            raise InputError(
                f"a text of {input_ids.size(1)} tokens does not fit: this model takes {self.config.longest}."
            )
        return nn.functional.normalize(self.text_tower(self.tokens(input_ids), attention_mask), dim=-1)

    def forward(
        self, input_ids: Int[Tensor, "N T"], attention_mask: Bool[Tensor, "N T"] | None, pixels: Int[Tensor, "B m"]
    ) -> Float[Tensor, "B N"]:
        """S: row i compares picture i with all texts."""
        return self.scale * self.pictures(pixels) @ self.texts(input_ids, attention_mask).T
