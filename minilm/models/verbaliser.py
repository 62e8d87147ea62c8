r"""A prompt with a verbaliser: the head for masked words answers a question about a text, and needs no head of its own.  F33.

The text is put into a template, such as "{text} It was [MASK].", and every label has words that would stand for it there:
"great" for positive, "terrible" for negative. The logit of a label is the mean of the logits of its words at [MASK]:

    z_k = mean over the words w of label k of z_w        P(k ∣ x) = softmax(z − prior)_k

`prior` is what the labels get before any text is read (or 0): a model may find "great" likelier than "terrible" everywhere.

Letters:  B batch · T length · C width of the hidden states · K labels
Sources:  Schick and Schütze (2021), Exploiting Cloze Questions for Few-Shot Text Classification, §3.1; Zhao et al. (2021),
          Calibrate Before Use (the prior).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.models.heads import HeadConfig

TEXT, MASK = "{text}", "[MASK]"


@dataclass(frozen=True)
class VerbaliserConfig(HeadConfig):
    """The template, and for each label its words with commas between them. `prior` has a number per label, or is empty."""

    template: str = f"{TEXT} It was {MASK}."
    words: tuple[str, ...] = ()
    prior: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in (TEXT, MASK):
            if self.template.count(part) != 1:
                raise InputError(f"the template {self.template!r} must have {part} exactly once.")
        if len(self.words) != len(self.labels) or not all(self.words_of(k) for k in range(len(self.words))):
            raise InputError(
                f"the labels {', '.join(self.labels)} need at least one word each, and have {list(self.words)}."
            )
        every = [word for k in range(len(self.words)) for word in self.words_of(k)]
        if twice := sorted({word for word in every if every.count(word) > 1}):
            raise InputError(f"the word {twice[0]!r} cannot stand for two labels.")
        if self.prior and len(self.prior) != len(self.labels):
            raise InputError(f"the prior has {len(self.prior)} numbers for {len(self.labels)} labels.")

    def words_of(self, label: int) -> list[str]:
        """The words that stand for a label, by its number."""
        return [word.strip() for word in self.words[label].split(",") if word.strip()]


class Verbaliser(nn.Module):
    """logits [B, K] from the head for masked words of a pretrained model, at the one [MASK] of each row.  F33.

    `ids[k]` are the tokens of label k's words, and `mask` is the id of [MASK]. The last block computes that position alone,
    and the head the scores of these words alone: the same numbers as the whole head gives them.
    """

    def __init__(self, pretrained: Any, head: VerbaliserConfig, ids: Sequence[Sequence[int]], mask: int):
        super().__init__()
        if not hasattr(pretrained, "mlm_head"):
            raise InputError(
                f"{type(pretrained).__name__} does not guess masked words, and a verbaliser reads its guesses."
            )
        self.encoder, self.mlm_head = pretrained.encoder, pretrained.mlm_head
        self.config, self.head_config, self.ids, self.mask = self.encoder.config, head, ids, mask

    def forward(
        self,
        input_ids: Int[Tensor, "B T"],
        token_type_ids: Int[Tensor, "B T"] | None = None,
        attention_mask: Bool[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B K"]:
        """One logit per label. Raises InputError for a row without exactly one [MASK]."""
        at = input_ids == self.mask
        if not (at.sum(dim=1) == 1).all():
            raise InputError("every text needs exactly one [MASK]: put it into the template first.")
        place = at.int().argmax(dim=1, keepdim=True)  # [B, 1]
        h = self.encoder(input_ids, token_type_ids, attention_mask, query_positions=place).hidden[:, 0]  # [B, C]
        head, table = self.mlm_head, self.encoder.token_table.weight
        h = head.norm(head.activation(head.dense(h)))
        words = torch.tensor([i for row in self.ids for i in row], device=h.device)
        scores = F.linear(h, table[words], head.bias[words])  # [B, words]
        logits = torch.stack([part.mean(dim=1) for part in scores.split([len(row) for row in self.ids], dim=1)], dim=1)
        return logits - logits.new_tensor(self.head_config.prior) if self.head_config.prior else logits

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the K labels."""
        return self.head_config.labels

    def depth_of(self, name: str) -> int:
        """How deep the parameter `name` lies; the head is as deep as the last block."""
        part, _, rest = name.partition(".")
        return self.encoder.depth_of(rest) if part == "encoder" else self.config.layers
