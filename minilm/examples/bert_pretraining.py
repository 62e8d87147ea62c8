"""The batches of BERT's pretraining, fresh at every step: sentence pairs with masked tokens.  F25, F26.

A batch depends on nothing but the seed and the number of the step, so a resumed run continues as if it had never stopped.
"""

import numpy as np
import torch

from minilm.examples.batching import Batch, batches_of_like_length, hash_of, pad
from minilm.examples.masked_lm import mask_tokens
from minilm.examples.next_sentence import BLOCK, Pairs, draw_pairs
from minilm.text.store import Store
from minilm.text.tokenizer import Tokenizer


class PretrainingBatches:
    """`batches[step]`, without end: rows [CLS] A [SEP] B [SEP] with masked tokens, and the labels of both objectives.

    Each row has at most `length` tokens, and a batch has at most `size` rows. Pairs and masks are drawn anew in every epoch.
    """

    def __init__(self, store: Store, tokenizer: Tokenizer, length: int, size: int, seed: int, mask_rate: float = 0.15):
        self.store, self.tokenizer = store, tokenizer
        self.length, self.size, self.seed, self.mask_rate = length, size, seed, mask_rate
        documents = len(store.documents) - 1
        self.blocks = [range(i, min(i + BLOCK, documents)) for i in range(0, documents, BLOCK)]
        self.round, self.first_step = -1, 0
        self.batches: list[np.ndarray] = []
        self.pairs: Pairs | None = None

    def _open_round(self, number: int) -> None:
        """Draw the pairs of round `number` from one block of documents; the blocks take turns."""
        rng = np.random.default_rng([self.seed, number])
        self.pairs = draw_pairs(self.store, self.length - 3, rng, self.blocks[number % len(self.blocks)])
        self.batches = batches_of_like_length(self.pairs.lengths, self.size, rng)
        self.round = number

    def __getitem__(self, step: int) -> Batch:
        if self.round < 0 or step < self.first_step:
            self.first_step = 0
            self._open_round(0)
        while step - self.first_step >= len(self.batches):
            self.first_step += len(self.batches)
            self._open_round(self.round + 1)
        return self.make(self.batches[step - self.first_step], step)

    def make(self, chosen: np.ndarray, step: int) -> Batch:
        """The batch of these pairs of the current round, with the masks of this step."""
        pairs, ids, t = self.pairs, self.store.ids, self.tokenizer
        assert pairs is not None, "a round is opened first"
        rows = [
            t.pair(ids[pairs.a_start[i] : pairs.a_end[i]].tolist(), ids[pairs.b_start[i] : pairs.b_end[i]].tolist())
            for i in chosen
        ]
        original = pad([row for row, _ in rows], t.pad)
        token_type_ids = pad([segments for _, segments in rows], 0)
        generator = torch.Generator().manual_seed(hash_of(self.seed, step))
        corrupted, labels = mask_tokens(original, t.special_ids, t.mask, t.size, generator, self.mask_rate)
        mask = original != t.pad
        nsp_labels = torch.from_numpy(pairs.label[chosen])
        return Batch(corrupted, token_type_ids, None if mask.all() else mask, labels, nsp_labels)
