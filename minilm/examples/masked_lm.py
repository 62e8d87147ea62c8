r"""Masked language modelling, the first of BERT's two objectives.  F25.

D3 §4.2.1 prints max P(wᵢ | M(w_{1:i−1})), which shows the model only the tokens on the left. In fact BERT is trained with
P(wᵢ | M(w_{1:n})), which shows it the tokens on both sides.

Letters:  B batch · T length · V vocabulary
Source:   Devlin et al. (2019), BERT, §3.1, task 1.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.labels import IGNORED


def mask_tokens(
    ids: Int[Tensor, "B T"],
    special_ids: list[int],
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    mask_rate: float = 0.15,
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    r"""The corrupted ids and the labels: the original id where a token was chosen, −100 elsewhere.

    Every token is chosen with probability `mask_rate`. One random number u then decides what happens to it:
    u < 0.8 → [MASK] · 0.8 ≤ u < 0.9 → a random token · otherwise → kept. (A second, independent draw for "kept" would
    give 81/10/9.) Special tokens are never chosen and never used as the random token. `ids` itself does not change.
    Raises InputError for a mask rate that is not between 0 and 1.
    """
    if not 0 < mask_rate < 1:
        raise InputError(f"mask rate {mask_rate} is not between 0 and 1: BERT's is 0.15.")
    special = torch.tensor(special_ids)
    is_word = ~torch.isin(ids, special)
    chosen = is_word & (torch.rand(ids.shape, generator=generator) < mask_rate)
    labels = ids.masked_fill(~chosen, IGNORED)

    u = torch.rand(ids.shape, generator=generator)
    ordinary = torch.ones(vocab_size, dtype=torch.bool).index_fill(0, special, False).nonzero().flatten()
    random_tokens = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)]
    corrupted = torch.where(chosen & (u < 0.8), mask_id, ids)
    corrupted = torch.where(chosen & (u >= 0.8) & (u < 0.9), random_tokens, corrupted)
    return corrupted, labels
