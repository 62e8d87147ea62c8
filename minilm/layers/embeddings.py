r"""Tokens, positions and segments as vectors.  F21.

Letters:  B batch · T length · V vocabulary · C model width
Sources:  Vaswani et al. (2017), §3.5 (sinusoids); Devlin et al. (2019), BERT, figure 2 (the sum of three).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.layers.dropout import Dropout
from minilm.layers.normalization import LayerNorm
from minilm.layers.positions import check_positions, sinusoids


class Embeddings(nn.Module):
    r"""LayerNorm(token + position + segment): what enters the first block.  F21.

    `positions` is "learned" (BERT's choice) or "sinusoidal" (fixed, with nothing to learn); with "relative" and "rotary"
    nothing is added here, because attention itself knows how far apart two tokens are. Without any of the four, attention
    could not tell one order of the tokens from another. With "mpnet", there is a table beside the bias of "relative", as in
    published MPNets (`rows_of_mpnet`).
    """

    def __init__(
        self,
        vocab_size: int,
        width: int,
        max_length: int,
        token_types: int = 2,
        dropout: float = 0.0,
        positions: str = "learned",
        epsilon: float = 1e-12,
    ):
        super().__init__()
        check_positions(positions)
        self.max_length, self.rows_of_mpnet = max_length, positions == "mpnet"
        self.tokens = nn.Embedding(vocab_size, width)
        rows = {"learned": max_length, "sinusoidal": max_length, "mpnet": max_length + 2}.get(positions)
        self.positions = nn.Embedding(rows, width) if rows else None
        if positions == "sinusoidal" and self.positions is not None:
            self.positions.weight = nn.Parameter(sinusoids(max_length, width), requires_grad=False)
        self.token_types = nn.Embedding(token_types, width)
        self.norm = LayerNorm(width, epsilon)
        self.dropout = Dropout(dropout)

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        start: int = 0,
        prompts: Float[Tensor, "P C"] | None = None,
    ) -> Float[Tensor, "B _ C"]:
        """`start` is the position of the first token: with a key/value cache, the number of tokens read before.

        `prompts` are P vectors that stand before the tokens of every text (F33): they take the first P positions, belong to
        the first segment, and the result is [B, P + T, C].

        Raises InputError when the text is longer than `max_length`, and when a model of one segment is given two of them.
        """
        P = 0 if prompts is None else len(prompts)
        end = start + P + input_ids.size(1)
        if end > self.max_length:
            raise InputError(
                f"a text of {end} tokens does not fit: this model takes {self.max_length}. Shorten or cut it."
            )
        if token_type_ids is not None and self.token_types.num_embeddings == 1 and token_type_ids.any():
            raise InputError("this model was made for single texts (it has one token type), and it was given a pair.")
        x = self.tokens(input_ids)  # [B, T, C]
        if prompts is not None:
            x = torch.cat([prompts.expand(len(x), -1, -1), x], dim=1)  # [B, P + T, C]
            token_type_ids = None if token_type_ids is None else F.pad(token_type_ids, (P, 0))
        segment = self.token_types.weight[0] if token_type_ids is None else self.token_types(token_type_ids)
        x = x + segment
        if self.positions is not None:
            rows = rows_of_mpnet(input_ids, start, P) if self.rows_of_mpnet else slice(start, end)
            x = x + self.positions.weight[rows]
        return self.dropout(self.norm(x))


def rows_of_mpnet(input_ids: Int[Tensor, "B T"], start: int = 0, prompts: int = 0) -> Int[Tensor, "B _"]:
    """The row of MPNet's table of positions for each token: 2, 3, 4 … for the tokens of a text, and 1 for padding.

    Token 1 counts as padding, whatever stands for it in the vocabulary, and takes no place. `prompts` vectors before the
    tokens take one place each.
    """
    counts = F.pad(input_ids != 1, (prompts, 0), value=True)
    return torch.where(counts, counts.cumsum(dim=1) + start + 1, 1)
