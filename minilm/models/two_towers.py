r"""Two towers: one turns what a person liked into a vector, the other an item, and their product says how well they fit.

Letters:  B batch · T liked items · I items · E size of a text's vector · D size of the towers

    u = 1/T Σₜ W⁰ vₜ        P(next = i) = softmax over i of (u · W¹ vᵢ / √D + bᵢ)

vᵢ are vectors of texts and are not trained, so that an item that nobody has liked yet has its place as well. b learns how popular an
item is. What a person has liked already is not recommended again.

Source:  Covington, Adams and Sargin (2016), Deep Neural Networks for YouTube Recommendations, §3 (the mean of what was watched, and
         a softmax over all items).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.layers.dropout import Dropout
from minilm.models.heads import mean_of_tokens

NEVER = -1e4  # the logit of what is not recommended


class TwoTowers(nn.Module):
    """`vectors` [I, E] are those of the items' texts, `popularity` [I] the logits to start from."""

    v: Tensor

    def __init__(
        self,
        vectors: Float[Tensor, "I E"],
        popularity: Float[Tensor, " I"],
        size: int = 64,
        dropout: float = 0.1,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.register_buffer("v", vectors)
        E = vectors.size(1)
        self.likes, self.items = nn.Linear(E, size, bias=False), nn.Linear(E, size, bias=False)
        with torch.no_grad():
            W = torch.randn(size, E, generator=generator) / math.sqrt(E)
            self.likes.weight.copy_(W)
            self.items.weight.copy_(W)  # both alike, so that what is like the liked items fits from the beginning
        self.b = nn.Parameter(popularity.clone())
        self.dropout = Dropout(dropout)

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B I"]:
        """The logits of all items for people who liked those of `input_ids`; a row of `attention_mask` says which of them count."""
        u = mean_of_tokens(self.likes(self.dropout(self.v[input_ids])), attention_mask)  # [B, D]
        logits = u @ self.items(self.v).T * (self.v.size(1) / math.sqrt(u.size(1))) + self.b  # [B, I]
        seen = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask
        liked = torch.zeros(logits.shape, dtype=torch.int64).scatter_add_(1, input_ids, seen.long())
        return logits.masked_fill(liked > 0, NEVER)
