"""The batches of a language model that reads from left to right: windows of documents, fresh at every step.  F23.

A document is read as BEGIN w₁ … w_n END, with the tokens of the tokenizer that begin and end a text. So the model learns how
texts begin and when they are over, and "everything before" ends where the document does: no window holds tokens of two
documents, so neither the loss nor the attention crosses a border.
"""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch

from minilm.examples.batching import Batch, batches_of_like_length, pad
from minilm.examples.next_sentence import BLOCK
from minilm.text.store import Store
from minilm.text.tokenizer import Tokenizer


class TextWindows:
    """`windows[step]`, without end: at most `size` windows of at most `length` tokens, padded to the longest of them.

    A round goes once through a block of documents, and the blocks take turns. It predicts every token of its documents
    exactly once, END included: a window begins with the last token of the one before it, which it reads and does not predict.
    From the second time on, a long document is cut at other places. Windows of similar lengths stand in one batch, so that
    padding is rare. A batch depends on nothing but the seed and the number of the step, so that a run can be resumed. It needs
    no labels, because they are the tokens themselves: `CausalLM` shifts them by one. Where a step learns from several batches
    `together`, their windows are of like length (see `batches_of_like_length`).
    """

    def __init__(self, store: Store, tokenizer: Tokenizer, length: int, size: int, seed: int, together: int = 1):
        self.ids, self.borders = store.ids, np.asarray(store.document_borders)
        self.begin, self.end, self.pad = tokenizer.begin, tokenizer.end, tokenizer.pad
        self.length, self.size, self.seed, self.together = length, size, seed, together
        documents = len(self.borders) - 1
        self.blocks = [range(i, min(i + BLOCK, documents)) for i in range(0, documents, BLOCK)]
        self.round, self.first_step = -1, 0
        self.batches: list[np.ndarray] = []
        self.rows = np.zeros((0, 3), dtype=np.int64)  # as `cut` returns them

    def open_round(self, number: int) -> None:
        """Cut the documents of round `number` into windows, and these into batches."""
        rng = np.random.default_rng([self.seed, number])
        moving = number >= len(self.blocks)
        self.rows = self.cut(self.blocks[number % len(self.blocks)], rng if moving else None)
        lengths, begun = self.rows[:, 2] - self.rows[:, 1], -self.first_step % self.together
        self.batches = batches_of_like_length(lengths, self.size, rng, together=self.together, begun=begun)
        self.round = number

    def cut(self, documents: Iterable[int], rng: np.random.Generator | None = None) -> np.ndarray:
        """Windows (document, a, b): with BEGIN as its token 0, tokens a to b of the document are read, and a + 1 to b predicted.

        With `rng`, the first window of a document that needs several has a random length.
        """
        step, rows = self.length - 1, []
        for i in documents:
            last = int(self.borders[i + 1] - self.borders[i]) + 1  # the place of END
            cut = int(rng.integers(1, step + 1)) if rng is not None and last > step else step
            cuts = [0, *range(cut, last, step), last]
            rows += [(i, a, b) for a, b in zip(cuts, cuts[1:], strict=False)]
        return np.array(rows, dtype=np.int64).reshape(-1, 3)

    def __getitem__(self, step: int) -> Batch:
        if self.round < 0 or step < self.first_step:
            self.first_step = 0
            self.open_round(0)
        while step - self.first_step >= len(self.batches):
            self.first_step += len(self.batches)
            self.open_round(self.round + 1)
        return self.make(self.rows[self.batches[step - self.first_step]])

    def make(self, rows: np.ndarray) -> Batch:
        """The batch of these windows."""
        out = [self.window(*row) for row in rows.tolist()]
        mask = pad([[1] * len(row) for row in out], 0).bool()
        return Batch(pad(out, self.pad), attention_mask=None if mask.all() else mask)

    def window(self, document: int, a: int, b: int) -> list[int]:
        """The tokens a to b of a document with its frame."""
        start, end = self.borders[document : document + 2].tolist()
        inside = self.ids[start + max(a, 1) - 1 : min(start + b, end)].tolist()
        return [self.begin] * (a == 0) + inside + [self.end] * (start + b > end)

    def whole(self, documents: Iterable[int], text_sizes: np.ndarray) -> list[Batch]:
        """Every window of these documents once, for measuring. `text_sizes` [documents, 2] says how many characters and bytes
        the text of each document of the store has; a batch has those of the documents that end in its rows."""
        rows = self.cut(documents)
        rows = rows[np.argsort(rows[:, 1] - rows[:, 2], kind="stable")]
        ends = rows[:, 2] == self.borders[rows[:, 0] + 1] - self.borders[rows[:, 0]] + 1
        sizes = torch.from_numpy(np.where(ends[:, None], text_sizes[rows[:, 0]], 0))
        parts = [slice(i, i + self.size) for i in range(0, len(rows), self.size)]
        return [replace(self.make(rows[part]), text_sizes=sizes[part]) for part in parts]
