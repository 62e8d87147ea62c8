"""The batches of a language model that reads from left to right: windows of text, fresh at every step.  F23."""

import numpy as np
import torch

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.text.store import Store


class TextWindows:
    """`windows[step]`, without end: `size` windows of `length` tokens each, from random places of the text.

    A batch depends on nothing but the seed and the number of the step, so that a run can be resumed. It needs no labels,
    because they are the tokens themselves: `CausalLM` shifts them by one. Raises InputError if the text is shorter than
    one window.
    """

    def __init__(self, store: Store, length: int, size: int, seed: int):
        if len(store.ids) < length:
            raise InputError(
                f"the text has {len(store.ids)} tokens, fewer than one window of {length}: give more text."
            )
        self.ids, self.length, self.size, self.seed = store.ids, length, size, seed

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        starts = rng.integers(0, len(self.ids) - self.length + 1, self.size)
        rows = np.stack([self.ids[start : start + self.length] for start in starts]).astype(np.int64)
        return Batch(torch.from_numpy(rows))
