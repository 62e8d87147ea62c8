r"""Pictures as texts: first a token for the class, then one token for each pixel, row by row.  F24.

Letters:  N pictures · m pixels · G grey levels · K classes · x [N, m] the pixels · y [N] the classes

    ids = G + y, x₁, x₂ … x_m        so that P(x₁ … x_m ∣ y) is what a causal language model computes (F23)

The digits come with scikit-learn: 1,797 handwritten digits of 8 × 8 pixels in 17 levels of grey, from 0 (paper) to 16 (ink). They
are the part of the UCI collection that was written by thirteen people, in the order in which they were collected.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int
from sklearn.datasets import load_digits
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.batching import Batch


@dataclass(frozen=True)
class Pictures:
    """N pictures of m pixels in `levels` grey levels, and the class of each.

    Raises InputError if there are none, if they and their classes do not fit, or for a pixel or a class out of range.
    """

    x: np.ndarray  # [N, m]
    y: np.ndarray  # [N]
    levels: int
    classes: int

    def __post_init__(self) -> None:
        for name, values, count in (("pixel", self.x, self.levels), ("class", self.y, self.classes)):
            if not np.size(values):
                raise InputError("there are no pictures: give at least one.")
            if values.dtype.kind not in "iu" or values.min() < 0 or values.max() >= count:
                raise InputError(f"a {name} must be a whole number from 0 to {count - 1}.")
        if len(self.x) != len(self.y):
            raise InputError(
                f"there are {len(self.x):,} pictures and {len(self.y):,} classes: give one class per picture."
            )

    def __len__(self) -> int:
        return len(self.y)

    @property
    def pixels(self) -> int:
        """m: the number of pixels of a picture."""
        return self.x.shape[1]

    @property
    def vocab_size(self) -> int:
        """G + K: the grey levels, and a token for each class."""
        return self.levels + self.classes

    @property
    def class_tokens(self) -> list[int]:
        """The token of each class."""
        return list(range(self.levels, self.vocab_size))

    def subset(self, chosen: Sequence[int] | np.ndarray) -> "Pictures":
        """The pictures with these numbers, in this order."""
        return replace(self, x=self.x[chosen], y=self.y[chosen])

    def rows(self, y: int | None = None) -> Int[Tensor, "N T"]:
        """The tokens of every picture: its class and its m pixels, T = 1 + m. `y` puts one class in place of all others.

        Raises InputError for a class that is not known.
        """
        if y is not None:
            self.check_class(y)
        classes = self.y if y is None else np.full(len(self), y)
        return torch.from_numpy(np.concatenate([self.levels + classes[:, None], self.x], axis=1))

    def check_class(self, y: int) -> None:
        """Raises InputError for a class that is not known."""
        if not 0 <= y < self.classes:
            raise InputError(f"class {y} is not known: the classes are 0 to {self.classes - 1}.")

    def prior(self) -> np.ndarray:
        """P(y) [K]: the share of each class. Raises InputError if there is no picture of one of them."""
        n = np.bincount(self.y, minlength=self.classes)
        if not n.all():
            raise InputError(
                f"there is no picture of class {n.argmin()}, so nothing can be learned about it: add some."
            )
        return n / len(self)


def digits() -> Pictures:
    """The handwritten digits of scikit-learn, in their order."""
    x, y = load_digits(return_X_y=True)
    return Pictures(x.astype(np.int64), y.astype(np.int64), levels=17, classes=10)


def split(pictures: Pictures, development: int, test: int, seed: int | None) -> tuple[Pictures, Pictures, Pictures]:
    """(to learn from, development part, test part): drawn with `seed`, or in the order of the pictures if it is None.

    Whoever wrote a digit of the test part has also written some of those to learn from if the parts are drawn. In order, the
    test part holds other people's digits, for the most part. Raises InputError if nothing would be left to learn from.
    """
    N = len(pictures)
    if min(development, test) < 1 or development + test >= N:
        raise InputError(
            f"a development part of {development:,} and a test part of {test:,} do not fit into {N:,} pictures: make "
            "each at least 1, and leave at least 1 to learn from."
        )
    order = np.arange(N) if seed is None else np.random.default_rng(seed).permutation(N)
    borders = (0, N - development - test, N - test, N)
    learn, tune, measure = (pictures.subset(order[a:b]) for a, b in zip(borders, borders[1:], strict=False))
    return learn, tune, measure


class PictureBatches:
    """Batches of pictures for `CausalLM`: every picture once per round, in a random order. Batch i depends on i alone."""

    def __init__(self, pictures: Pictures, size: int, seed: int = 0):
        if not 1 <= size <= len(pictures):
            raise InputError(
                f"a batch of {size:,} pictures cannot be drawn from {len(pictures):,}: choose another size."
            )
        self.ids, self.size, self.seed = pictures.rows(), size, seed
        self.per_round = len(pictures) // size  # the few that are left over wait for another round

    def __getitem__(self, step: int) -> Batch:
        number, place = divmod(step, self.per_round)
        order = np.random.default_rng([self.seed, number]).permutation(len(self.ids))
        return Batch(self.ids[order[place * self.size : (place + 1) * self.size]])
