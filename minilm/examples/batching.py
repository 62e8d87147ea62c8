"""Batches of like lengths, padded to the longest in the batch; and the batches of pretraining, fresh at every step.

What a step sees is a function of the seed and the number of the step alone. That is all a resumed run needs to know to
go on as if it had never stopped.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from minilm.examples.masked_lm import mask_words
from minilm.examples.next_sentence import BLOCK, Pairs, draw_pairs
from minilm.text.store import Store
from minilm.text.tokenizer import Tokenizer


def pad(rows: list[list[int]], value: int) -> Int[Tensor, "B T"]:
    """One row under the other, filled up with `value` to the longest."""
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.as_tensor(row)
    return out


def batches_of_like_length(
    lengths: np.ndarray, size: int, rng: np.random.Generator, pool: int = 64
) -> list[np.ndarray]:
    """Every index once, in batches of `size` whose lengths are close: shuffle, sort within pools of `pool` batches,
    cut, shuffle the batches. Padding to the longest then costs next to nothing."""
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), size * pool):
        chunk = order[start : start + size * pool]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


@dataclass
class PretrainingBatch:
    """[CLS] A [SEP] B [SEP], words masked, with both answers. `real` is None when nothing is padding."""

    ids: Int[Tensor, "B T"]
    types: Int[Tensor, "B T"]
    real: Bool[Tensor, "B T"] | None
    words: Int[Tensor, "B T"]  # the masked words' ids, −100 elsewhere
    is_next: Int[Tensor, " B"]  # 0 = B follows A

    @property
    def tokens(self) -> int:
        return self.ids.numel() if self.real is None else int(self.real.sum())

    def to(self, device: torch.device) -> "PretrainingBatch":
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: t if t is None else t.to(device) for name, t in tensors.items()})


class PretrainingBatches:
    """`batches[step]`: drawn afresh each epoch from `seed`, without end."""

    def __init__(self, store: Store, tokenizer: Tokenizer, length: int, size: int, seed: int, mask_rate: float = 0.15):
        self.store, self.tokenizer = store, tokenizer
        self.length, self.size, self.seed, self.mask_rate = length, size, seed, mask_rate
        documents = len(store.documents) - 1
        self.blocks = [range(i, min(i + BLOCK, documents)) for i in range(0, documents, BLOCK)]
        self.round, self.first_step = -1, 0
        self.batches: list[np.ndarray] = []
        self.pairs: Pairs | None = None

    def _open_round(self, number: int) -> None:
        """Draw the pairs of round `number`: one block of documents, all blocks in turn."""
        rng = np.random.default_rng([self.seed, number])
        self.pairs = draw_pairs(self.store, self.length - 3, rng, self.blocks[number % len(self.blocks)])
        self.batches = batches_of_like_length(self.pairs.lengths, self.size, rng)
        self.round = number

    def __getitem__(self, step: int) -> PretrainingBatch:
        if self.round < 0 or step < self.first_step:
            self.first_step = 0
            self._open_round(0)
        while step - self.first_step >= len(self.batches):
            self.first_step += len(self.batches)
            self._open_round(self.round + 1)
        return self.make(self.batches[step - self.first_step], step)

    def make(self, chosen: np.ndarray, step: int) -> PretrainingBatch:
        pairs, ids = self.pairs, self.store.ids
        rows = [
            self.tokenizer.pair(
                ids[pairs.a_start[i] : pairs.a_end[i]].tolist(), ids[pairs.b_start[i] : pairs.b_end[i]].tolist()
            )
            for i in chosen
        ]
        original = pad([row for row, _ in rows], self.tokenizer.pad)
        types = pad([segments for _, segments in rows], 0)
        generator = torch.Generator().manual_seed(hash_of(self.seed, step))
        t = self.tokenizer
        corrupted, words = mask_words(original, t.special_ids, t.mask, t.size, generator, self.mask_rate)
        real = original != t.pad
        return PretrainingBatch(
            corrupted, types, None if real.all() else real, words, torch.from_numpy(pairs.label[chosen])
        )


def hash_of(*numbers: int) -> int:
    """One 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
