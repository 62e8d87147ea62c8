r"""Words, positions and segments as vectors.  F21.

Letters:  B batch · T length · V vocabulary · C model width
Sources:  Vaswani et al. (2017), §3.5 (sinusoids); Devlin et al. (2019), BERT, figure 2 (the sum of three).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.layers.dropout import Dropout
from minilm.layers.normalization import LayerNorm


def sinusoids(length: int, width: int) -> Float[Tensor, "T C"]:
    r"""PE(pos, 2i) = sin(pos / 10000^{2i/C}),  PE(pos, 2i+1) = cos(pos / 10000^{2i/C}).  F21.

    An odd width simply ends on a sine.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]  # [T, 1]
    even = torch.arange(0, width, 2, dtype=torch.float64)  # 2i
    angle = position / 10000 ** (even / width)  # [T, ⌈C/2⌉]
    table = torch.empty(length, width, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : width // 2]
    return table.to(torch.get_default_dtype())


class Embeddings(nn.Module):
    r"""LayerNorm(word + position + segment): what enters the first block.  F21.

    `positions` is "learned" (BERT's) or "sinusoidal" (fixed, nothing to learn). Without either, attention could not
    tell one order of the words from another.
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        max_length: int,
        types: int = 2,
        dropout: float = 0.0,
        positions: str = "learned",
        epsilon: float = 1e-12,
    ):
        super().__init__()
        if positions not in ("learned", "sinusoidal"):
            raise InputError(f"positions '{positions}' are not known: choose learned or sinusoidal.")
        self.words = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(max_length, width)
        if positions == "sinusoidal":
            self.positions.weight = nn.Parameter(sinusoids(max_length, width), requires_grad=False)
        self.types = nn.Embedding(types, width)
        self.norm = LayerNorm(width, epsilon)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Int[Tensor, "B T"], types: Int[Tensor, "B T"] | None = None) -> Float[Tensor, "B T C"]:
        """Raises InputError when the text is longer than the model's table of positions."""
        T, max_length = ids.size(1), self.positions.num_embeddings
        if T > max_length:
            raise InputError(f"a text of {T} tokens does not fit: this model takes {max_length}. Shorten or cut it.")
        segment = self.types.weight[0] if types is None else self.types(types)
        x = self.words(ids) + self.positions.weight[:T] + segment  # [B, T, C]
        return self.dropout(self.norm(x))
