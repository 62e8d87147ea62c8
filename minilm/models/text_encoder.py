r"""BERT as it is published most often: the encoder with nothing on it, or with its pooler; and texts as vectors.

Letters:  B batch · T length · C model width
Source:   Reimers and Gurevych (2019), Sentence-BERT, §3 (the mean of the words' vectors).
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.models.bert import Bert, BertConfig, Pooler, mean_of_words


class TextEncoder(nn.Module):
    """An encoder without a task. `pooler` is None where none was published."""

    def __init__(self, config: BertConfig, with_pooler: bool = True):
        super().__init__()
        self.config = config
        self.bert = Bert(config)
        self.pooler = Pooler(config.width) if with_pooler else None

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        types: Int[Tensor, "B T"] | None = None,
        real: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B C"]:
        """One vector of length 1 for each text: see `sentence_vector`."""
        return sentence_vector(self.bert(ids, types, real).words, real)


def sentence_vector(words: Float[Tensor, "B T C"], real: Bool[Tensor, "B T"] | None) -> Float[Tensor, "B C"]:
    r"""u/‖u‖ with u = 1/T Σₜ xₜ over the words that are not padding, [CLS] and [SEP] among them.

    All have length 1, so that the product of two of them is the cosine of their angle: 1 says the same meaning.
    """
    u = mean_of_words(words, real)
    return u / torch.linalg.vector_norm(u, dim=-1, keepdim=True).clamp(min=1e-12)
