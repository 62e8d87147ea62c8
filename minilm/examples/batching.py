"""Encoded examples, and batches of them: examples of similar lengths, padded to the longest in the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minilm.examples.labels import IGNORED


def pad(rows: list[list[int]], value: int) -> Int[Tensor, "B T"]:
    """The rows as one tensor, each filled up with `value` to the length of the longest."""
    out = torch.full((len(rows), max(map(len, rows))), value, dtype=torch.int64)
    for i, row in enumerate(rows):
        out[i, : len(row)] = torch.as_tensor(row)
    return out


def batches_of_like_length(
    lengths: np.ndarray, size: int, rng: np.random.Generator, pool: int = 64, together: int = 1, begun: int = 0
) -> list[np.ndarray]:
    """Every index once, in batches of `size` whose lengths are close, so that padding to the longest costs almost nothing.

    The indices are shuffled, sorted by length within pools of `pool` steps, and cut into batches, which are shuffled.

    Where a step learns from several batches `together`, these are neighbours in the sorted order, as if they were one batch that
    is so many times as large: of the processes that share a step, none then waits for one with longer rows. The first `begun`
    batches belong to a step that began before. (The rows of a step could also be dealt out evenly after they were drawn. But rows
    of different lengths share a batch then, and padding takes what was won; or they form more batches, which are smaller.)
    """
    order = rng.permutation(len(lengths))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), size * pool * together):
        chunk = order[start : start + size * pool * together]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    begun = min(begun, len(batches))
    steps = (len(batches) - begun) // together
    rest = batches[steps * together :]  # they end a step that began before, and begin one that ends later
    mixed = [batch for step in rng.permutation(steps) * together for batch in batches[step : step + together]]
    return rest[:begun] + mixed + rest[begun:]


def hash_of(*numbers: int) -> int:
    """One 63-bit seed made from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@dataclass(frozen=True)
class Batch:
    """The examples of one step. `attention_mask` is False for padding, and None if there is none.

    `labels` are what the objective needs: one class or one number per text [B], zeros and ones for several labels [B, K], one
    class or token per position [B, T], or the first and the last token of an answer [B, 2]; −100 marks what does not count.
    `nsp_labels` are 0 where the second sentence follows the first. `begins` and `ends` are False for a row that does not begin,
    or end, where its line does, because the line was cut. `text_sizes` are the characters and
    bytes of the document that ends in a row, 0 where none does. `source_ids` are the texts that `input_ids` translate or sum up,
    and `source_mask` is False for their padding. `candidates` are the tokens that a next token is compared with, and
    `candidate_weights` how many each stands for (see `examples/candidates.py`). What the objective does not need is None.
    """

    input_ids: Int[Tensor, "B T"]
    token_type_ids: Int[Tensor, "B T"] | None = None
    attention_mask: Bool[Tensor, "B T"] | None = None
    labels: Int[Tensor, "..."] | Float[Tensor, " B"] | None = None
    nsp_labels: Int[Tensor, " B"] | None = None
    begins: Bool[Tensor, " B"] | None = None
    ends: Bool[Tensor, " B"] | None = None
    text_sizes: Int[Tensor, "B 2"] | None = None
    source_ids: Int[Tensor, "B S"] | None = None
    source_mask: Bool[Tensor, "B S"] | None = None
    candidates: Int[Tensor, " K"] | None = None
    candidate_weights: Float[Tensor, " K"] | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens in the batch, without padding."""
        return self.input_ids.numel() if self.attention_mask is None else int(self.attention_mask.sum())

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        moved: dict[str, Any] = {name: t if t is None else t.to(device) for name, t in tensors.items()}
        return replace(self, **moved)


@dataclass(frozen=True)
class Dataset:
    """Encoded examples, column by column. The columns have the names of the fields of `Batch`; `input_ids` must be there.

    A column holds either a list of numbers per row, which is padded with `pad_values[name]` (−100 if that is not given), or
    a single number per row. `owner[i]` is the example that row i was cut from, because a long example may become several
    rows.
    """

    columns: Mapping[str, list]
    pad_values: Mapping[str, int]
    owner: list[int]

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def rows(self) -> list[list[int]]:
        """The token ids of each row."""
        return self.columns["input_ids"]

    @property
    def labels(self) -> list:
        """The label of each row, or the list of its tokens' labels."""
        return self.columns["labels"]

    @property
    def lengths(self) -> np.ndarray:
        """The number of tokens of each row."""
        return np.array([len(row) for row in self.rows])

    def subset(self, chosen: Sequence[int] | np.ndarray) -> "Dataset":
        """The rows with these indices, in this order."""
        columns = {name: [values[i] for i in chosen] for name, values in self.columns.items()}
        return Dataset(columns, self.pad_values, [self.owner[i] for i in chosen])

    def batch(self, chosen: Sequence[int] | np.ndarray) -> Batch:
        """The rows with these indices as tensors, padded to the longest of them."""
        columns = {}
        for name, values in self.columns.items():
            picked = [values[i] for i in chosen]
            per_token = isinstance(picked[0], list)
            columns[name] = pad(picked, self.pad_values.get(name, IGNORED)) if per_token else torch.tensor(picked)
        masks = {"attention_mask": self.rows}
        if "source_ids" in self.columns:
            masks["source_mask"] = self.columns["source_ids"]
        for name, rows in masks.items():
            columns[name] = pad([[1] * len(rows[i]) for i in chosen], 0).bool()
        return Batch(**columns)

    def shuffled(self, size: int, rng: np.random.Generator) -> list[np.ndarray]:
        """The indices of every row once, in random batches of rows with similar lengths: one epoch."""
        return batches_of_like_length(self.lengths, size, rng)

    def in_order(self, size: int = 64) -> list[np.ndarray]:
        """The indices of every row once, short rows first: for measuring."""
        order = np.argsort(self.lengths, kind="stable")
        return [order[i : i + size] for i in range(0, len(order), size)]
