"""The examples of a model that turns one text into another: a source, and the target that belongs to it.

A source is read as x₁ … x_S END. A target is read as BEGIN y₁ … y_T END: the decoder reads BEGIN y₁ … y_T and is asked for
y₁ … y_T END, so that it also learns how a text begins and when it is over.
"""

from collections.abc import Sequence

import numpy as np

from minilm.errors import InputError
from minilm.examples.batching import Batch, Dataset
from minilm.text.tokenizer import Tokenizer


def encode_pairs(pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer, max_length: int) -> Dataset:
    """Every pair (source, target) as a row: columns `source_ids` and `input_ids`.

    Raises InputError, with the number of the pair, for a text without tokens or one that has more than `max_length`.
    """
    columns: dict[str, list] = {"source_ids": [], "input_ids": []}
    sources, targets = (tokenizer.ids([pair[side] for pair in pairs]) for side in (0, 1))
    for i, ((source, target), x, y) in enumerate(zip(pairs, sources, targets, strict=True), 1):
        columns["source_ids"].append(source_row(tokenizer, x, source, max_length, f"source {i}"))
        columns["input_ids"].append([tokenizer.begin, *source_row(tokenizer, y, target, max_length - 1, f"target {i}")])
    return Dataset(columns, dict.fromkeys(columns, tokenizer.pad), list(range(len(pairs))))


def source_row(tokenizer: Tokenizer, ids: list[int], text: str, longest: int, name: str = "the text") -> list[int]:
    """The tokens of a text and the one that ends it. Raises InputError if there are none, or more than `longest`."""
    if not ids:
        raise InputError(f"{name} {text[:40]!r} has no tokens: give a text.")
    if len(ids) + 1 > longest:
        raise InputError(
            f"{name} ({text[:40]!r}…) has {len(ids) + 1} tokens, and the model takes {longest}: shorten it."
        )
    return [*ids, tokenizer.end]


class Rounds:
    """`rounds[step]`, without end: the batches of a data set, in another order in every round.

    A batch depends on nothing but the seed and the number of the step, so that a run can be resumed.
    """

    def __init__(self, examples: Dataset, size: int, seed: int):
        self.examples, self.size, self.seed = examples, size, seed
        self.per_round = -(-len(examples) // size)
        self.round, self.order = -1, list[np.ndarray]()

    def __getitem__(self, step: int) -> Batch:
        number, place = divmod(step, self.per_round)
        if number != self.round:
            self.order = self.examples.shuffled(self.size, np.random.default_rng([self.seed, number]))
            self.round = number
        return self.examples.batch(self.order[place])
