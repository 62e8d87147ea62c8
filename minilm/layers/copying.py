r"""A head that copies: it points at a token of the source, or chooses one from the vocabulary.  F18.

Letters:  B batch · S length of the source · T length of the target · C model width · V vocabulary
Source:   See, Liu and Manning (2017), Get To The Point: Summarization with Pointer-Generator Networks, §2.2.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

TINY = 1e-30  # added to probabilities before the logarithm


class CopyHead(nn.Module):
    r"""P(w) = (1 − g) · softmax(z)_w + g · Σ_{s : x_s = w} a_s,   a = softmax(q Kᵀ / √C),   g = σ(u · h + c).

    z are the logits of the vocabulary, h the decoder's last hidden states, which q is made of, and K is made of the encoder's. The
    gate g says how much is copied, and the pointer a from where. Source: See, Liu and Manning (2017), equations 8 and 9.
    """

    def __init__(self, width: int):
        super().__init__()
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)

    def pointer(
        self,
        h: Float[Tensor, "B T C"],
        states: Float[Tensor, "B S C"],
        may_attend: Bool[Tensor, "B 1 1 S"] | None,
    ) -> tuple[Float[Tensor, "B T S"], Float[Tensor, "B T 1"]]:
        """a and g."""
        scores = self.query(h) @ self.key(states).mT / h.size(-1) ** 0.5  # [B, T, S]
        if may_attend is not None:
            scores = scores.masked_fill(~may_attend[:, 0], -torch.inf)
        return scores.softmax(dim=-1), self.gate(h).sigmoid()

    def forward(
        self,
        z: Float[Tensor, "B T V"],
        h: Float[Tensor, "B T C"],
        states: Float[Tensor, "B S C"],
        source_ids: Int[Tensor, "B S"],
        may_attend: Bool[Tensor, "B 1 1 S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """log P, which is as good as logits: its softmax is P."""
        a, g = self.pointer(h, states, may_attend)
        p = (1 - g) * z.softmax(dim=-1)
        where = source_ids[:, None].expand(-1, h.size(1), -1)  # [B, T, S]
        return (p.scatter_add(-1, where, g * a) + TINY).log()

    def start(self, scheme: str) -> None:
        """At first, a tenth of the probability is copied."""
        self.gate.weight.zero_()
        self.gate.bias.fill_(-2.2)
