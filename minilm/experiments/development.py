"""A development part: choices such as the number of epochs are made on it, so that the test set measures no choice."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from minilm.errors import InputError
from minilm.text.duplicates import RUN, duplicates
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine

AnyExample = TypeVar("AnyExample", Example, TaggedLine)


def spaced(example: Example | TaggedLine) -> str:
    """The text of an example, with spaces between the tokens of a tagged line."""
    if isinstance(example, TaggedLine):
        return " ".join(example.tokens)
    return example.text if example.pair is None else f"{example.text} {example.pair}"


def development(
    examples: list[AnyExample], test: Iterable[AnyExample], size: int, seed: int, run: int = RUN
) -> tuple[list[AnyExample], list[AnyExample]]:
    """(the rest, the development part): `size` of the examples, drawn with `seed`, whose text occurs nowhere else.

    No example is drawn of which half or more of the runs of `run` words occur in another example or in `test` (see
    `text/duplicates.py`); such examples stay in the rest. For Chinese characters a run of 12 is about as long as five words.
    Both parts keep the order of `examples`. Raises InputError if there are too few examples to draw, or none would be left.
    """
    found = duplicates([spaced(example) for example in examples], map(spaced, test), run=run)
    order = [i for i in np.random.default_rng(seed).permutation(len(examples)).tolist() if i not in found]
    if not 0 < size <= len(order) or size == len(examples):
        raise InputError(
            f"cannot draw a development part of {size:,} from {len(examples):,} examples, of which {len(order):,} occur "
            "only once: draw at least 1, and leave at least 1 to learn from."
        )
    drawn = set(order[:size])
    rest = [example for i, example in enumerate(examples) if i not in drawn]
    return rest, [examples[i] for i in sorted(drawn)]
