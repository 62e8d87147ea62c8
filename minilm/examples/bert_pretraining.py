"""The batches of BERT's pretraining, fresh at every step: sentence pairs with masked tokens.  F25, F26.

Text that fits into no pair comes alone, as [CLS] A [SEP], and has no next-sentence label. A batch depends on nothing but the
seed and the number of the step, so a resumed run continues as if it had never stopped.
"""

import numpy as np
import torch

from minilm.examples.batching import Batch, batches_of_like_length, hash_of, pad
from minilm.examples.labels import IGNORED
from minilm.examples.masked_lm import mask_tokens
from minilm.examples.next_sentence import BLOCK, document_windows, draw_pairs, lone_windows
from minilm.files.notes import Note
from minilm.text.store import Store
from minilm.text.tokenizer import Tokenizer


class PretrainingBatches:
    """`batches[step]`, without end: rows [CLS] A [SEP] B [SEP] with masked tokens, and the labels of both objectives.

    Each row has at most `length` tokens, and a batch has at most `size` rows. Pairs and masks are drawn anew in every epoch,
    and from the second epoch on, a pair that is too long loses other parts of its text each time.
    Without `next_sentence` there are no pairs: every document is cut into rows [CLS] A [SEP], so any text will do.
    Where a step learns from several batches `together`, their rows are of like length (see `batches_of_like_length`).
    Raises InputError, when the first batch is asked for, if pairs are wanted and the text has too few sentences for them.
    """

    def __init__(
        self,
        store: Store,
        tokenizer: Tokenizer,
        length: int,
        size: int,
        seed: int,
        mask_rate: float = 0.15,
        next_sentence: bool = True,
        together: int = 1,
    ):
        self.store, self.tokenizer = store, tokenizer
        self.length, self.size, self.seed, self.mask_rate = length, size, seed, mask_rate
        self.next_sentence, self.together = next_sentence, together
        documents = len(store.documents) - 1
        self.blocks = [range(i, min(i + BLOCK, documents)) for i in range(0, documents, BLOCK)]
        self.round, self.first_step = -1, 0
        self.batches: list[np.ndarray] = []
        self.rows = np.zeros((0, 5), dtype=np.int64)  # a_start, a_end, b_start, b_end, label

    def open_round(self, number: int) -> None:
        """Draw the rows of round `number` from one block of documents; the blocks take turns."""
        self.store.forget_pages()
        rng = np.random.default_rng([self.seed, number])
        self.rows = self.draw(rng, self.blocks[number % len(self.blocks)], moving=number >= len(self.blocks))
        lengths = self.rows[:, 1] - self.rows[:, 0] + self.rows[:, 3] - self.rows[:, 2]
        begun = -self.first_step % self.together
        self.batches = batches_of_like_length(lengths, self.size, rng, together=self.together, begun=begun)
        self.round = number

    def draw(self, rng: np.random.Generator, documents: range, moving: bool = False) -> np.ndarray:
        """Rows of [a_start, a_end, b_start, b_end, label]: pairs first, then text without a second part, labelled −100."""
        if self.next_sentence:
            p = draw_pairs(self.store, self.length - 3, rng, documents, moving)
            pairs = np.stack([p.a_start, p.a_end, p.b_start, p.b_end, p.label], axis=1)
            lone = lone_windows(self.store, self.length - 3, rng, documents, len(pairs))
        else:
            pairs = np.zeros((0, 5), dtype=np.int64)
            lone = document_windows(self.store, self.length - 2, rng, documents)
        nothing = np.zeros((len(lone), 2), dtype=np.int64)
        return np.concatenate([pairs, np.hstack([lone, nothing, np.full((len(lone), 1), IGNORED)])])

    def say_lone(self, note: Note) -> None:
        """Say how much text fits into no sentence pair, and so trains masked words alone."""
        if not self.next_sentence:
            return
        self.open_round(0)
        lone = self.rows[:, 4] == IGNORED
        if share := lone.mean():
            note(
                f"{lone.sum():,} of {len(lone):,} rows of the first round ({share:.1%}) are text that fits into no sentence "
                "pair, such as documents of one sentence: they train masked words alone, without next sentence."
            )

    def __getitem__(self, step: int) -> Batch:
        if self.round < 0 or step < self.first_step:
            self.first_step = 0
            self.open_round(0)
        while step - self.first_step >= len(self.batches):
            self.first_step += len(self.batches)
            self.open_round(self.round + 1)
        return self.make(self.batches[step - self.first_step], step)

    def make(self, chosen: np.ndarray, step: int) -> Batch:
        """The batch of these rows of the current round, with the masks of this step."""
        ids, t = self.store.ids, self.tokenizer
        rows = [
            t.pair(ids[a_start:a_end].tolist(), None if label == IGNORED else ids[b_start:b_end].tolist())
            for a_start, a_end, b_start, b_end, label in self.rows[chosen].tolist()
        ]
        original = pad([row for row, _ in rows], t.pad)
        mask = pad([[True] * len(row) for row, _ in rows], False).bool()
        token_type_ids = pad([segments for _, segments in rows], 0)
        generator = torch.Generator().manual_seed(hash_of(self.seed, step))
        corrupted, labels = mask_tokens(original, t.special_ids, t.mask, t.size, generator, self.mask_rate)
        nsp_labels = torch.from_numpy(self.rows[chosen, 4])
        return Batch(corrupted, token_type_ids, None if mask.all() else mask, labels, nsp_labels)
