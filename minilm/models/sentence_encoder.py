r"""An encoder without a task, with its pooler if it has one; and texts as vectors.

Letters:  B batch · T length · C model width
Source:   Reimers and Gurevych (2019), Sentence-BERT, §3 (the mean of the tokens' vectors).
"""

from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.models.heads import Pooler, mean_of_tokens


class SentenceEncoder(nn.Module):
    """An encoder without a task, which is how most models are published. `pooler` is None where none was published."""

    def __init__(self, encoder: nn.Module, with_pooler: bool = True):
        super().__init__()
        self.encoder = cast(Any, encoder)
        self.config = self.encoder.config
        self.pooler = Pooler(self.encoder.output_size) if with_pooler else None

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """One vector of length 1 per text: see `sentence_vector`."""
        hidden = self.encoder(input_ids, token_type_ids, attention_mask).hidden
        return sentence_vector(hidden, attention_mask)


def sentence_vector(hidden: Float[Tensor, "B T C"], attention_mask: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B C"]:
    r"""u/‖u‖ with u = 1/T Σₜ xₜ over the tokens that are not padding, [CLS] and [SEP] among them.

    All vectors have length 1, so the product of two of them is the cosine of their angle: 1 means the same meaning.
    """
    u = mean_of_tokens(hidden, attention_mask)
    return u / torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp(min=1e-12)
