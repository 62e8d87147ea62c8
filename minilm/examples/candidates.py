r"""Fewer tokens to compare the next one with: those of the batch, and others drawn at random.  F23.

Letters:  V vocabulary · U different tokens in a batch · K candidates
Source:   Jean et al. (2015), On Using Very Large Target Vocabulary for Neural Machine Translation, §3.

A small model spends most of a step on the product of its hidden states with all V tokens. With K candidates it costs K/V of
that. The U tokens of the batch are always candidates, as themselves (weight 1). Of the V − U others, K − U are drawn, all
with the same probability, and each stands for (V − U)/(K − U) tokens. So the weights sum to V, and the sum under the
softmax has the right expected value. This is for learning only: whoever measures compares with all tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from minilm.examples.batching import Batch


@dataclass(frozen=True)
class WithCandidates:
    """`batches[step]`, with the tokens of the batch and `others` more as its candidates. What is drawn depends on nothing but
    the seed and the number of the step, so that a run can be resumed."""

    batch_at: Callable[[int], Batch]
    vocab_size: int
    others: int
    seed: int

    def __getitem__(self, step: int) -> Batch:
        batch, rng = self.batch_at(step), np.random.default_rng([self.seed, step])
        candidates, weights = candidates_for(batch.input_ids, self.vocab_size, self.others, rng)
        return replace(batch, candidates=candidates, candidate_weights=weights)


def candidates_for(ids: Tensor, V: int, others: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """The tokens of `ids` and `others` more (or all there are), sorted, [K], and how many tokens each stands for, [K]."""
    here = np.zeros(V, dtype=bool)
    here[ids.numpy()] = True
    rest = np.flatnonzero(~here)
    drawn = rng.choice(rest, min(others, len(rest)), replace=False, shuffle=False)
    weights = np.where(here, 1.0, len(rest) / max(1, len(drawn)))
    here[drawn] = True
    candidates = np.flatnonzero(here)
    return torch.from_numpy(candidates), torch.from_numpy(weights[candidates]).to(torch.get_default_dtype())
