r"""Dropout, forwards and backwards.  F03.  20 minutes, easy."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed
from minilm.exercises.specs.rates import different, largest, share, smallest, spread


class Dropout:
    """Drops (sets to 0) random numbers during training, and does nothing at inference.  F03.

    `p` is the probability that a number is dropped, 0 ≤ p < 1; `rng` is the NumPy generator to draw from.
    Source: Srivastava et al. (2014), Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    """

    def __init__(self, p: float, rng: np.random.Generator):
        self.p, self.rng = p, rng

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        """x if not training, else x ⊙ m / (1 − p) with a new mask m at each call: 1 with probability 1 − p, else 0."""
        self.factor = np.ones(x.shape)
        if training:
            self.factor = (self.rng.random(x.shape) >= self.p) / (1 - self.p)
        return x * self.factor

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """∂L/∂x, given ∂L/∂Y = `dY`, for the last call of `forward`."""
        # dropped numbers had no influence and the others were scaled: multiply by the same factor
        return dY * self.factor


class Flawed:
    def __init__(self, p, rng, wrong=frozenset()):
        self.p, self.rng, self.wrong = p, rng, wrong

    def mask(self, shape):
        if "rows" in self.wrong and len(shape) > 1:
            shape = (1, *shape[1:])
        if "last_axis" in self.wrong and len(shape) > 1:
            shape = (*(1 for _ in shape[1:]), shape[-1])
        if "tokens" in self.wrong and len(shape) > 2:
            shape = (shape[0], 1, *shape[2:])
        if "columns" in self.wrong and len(shape) > 1:
            shape = (*shape[:-1], 1)
        if "own_seed" in self.wrong:
            drawn = np.random.default_rng(0).random(shape)
        elif "once" in self.wrong and hasattr(self, "drawn"):
            drawn = self.drawn
        else:
            drawn = self.drawn = self.rng.random(shape)
        return drawn < self.p if "keeps_p" in self.wrong else drawn >= self.p

    def forward(self, x, training):
        training = not training if "turned" in self.wrong else training
        self.off = not training and "in_use" not in self.wrong
        if self.off and "stale" in self.wrong:
            return x * 1.0
        if self.off:
            self.keep, self.scale = np.ones(x.shape), 1.0
            return x * (1 - self.p) if "scaled_in_use" in self.wrong else x * 1.0
        self.scale = 1 / (1 - self.p)
        if self.wrong & {"no_scale", "scaled_in_use"}:
            self.scale = 1.0
        if "by_p" in self.wrong:
            self.scale = 1 / max(self.p, 1e-9)
        if "times" in self.wrong:
            self.scale = 1 - self.p
        self.keep = np.broadcast_to(self.mask(x.shape), x.shape)
        if "exact" in self.wrong:  # every row loses the same count of numbers
            ranks = self.rng.random(x.shape).argsort(-1).argsort(-1)
            self.keep = ranks >= round(self.p * x.shape[-1])
        if "root" in self.wrong:
            self.scale = 1 / np.sqrt(1 - self.p)
        if "as_many_as_kept" in self.wrong:  # divided by the share that was really kept
            self.scale = 1 / max(self.keep.mean(), 1e-9)
        if "positive_only" in self.wrong:
            self.keep = self.keep | (x < 0)
        if "two_scales" in self.wrong:
            self.keep = np.where(x < 0, self.keep * (1 - self.p), self.keep)
        if "back_by_output" in self.wrong:
            self.keep = self.keep & (x != 0)
        return x * self.keep * self.scale

    def backward(self, dY):
        if "new_mask" in self.wrong and not self.off:
            return dY * self.mask(dY.shape) * self.scale
        if "back_on" in self.wrong and self.off:
            return dY / (1 - self.p)
        if "back_complement" in self.wrong and not self.off:
            return dY * (1 - self.keep) * self.scale
        if "back_scale_twice" in self.wrong:
            return dY * self.keep * self.scale**2
        keep = np.ones(dY.shape) if "no_mask" in self.wrong else self.keep
        return dY * keep * (1.0 if "back_no_scale" in self.wrong else self.scale)


class Indexed:
    """Set the dropped numbers to 0 by indexing."""

    def __init__(self, p, rng):
        self.p, self.rng, self.off = p, rng, None

    def forward(self, x, training):
        self.off = self.rng.uniform(size=x.shape) < self.p if training and self.p else None
        return self.scaled(x)

    def scaled(self, x):
        if self.off is None:
            return x.copy()
        out = np.array(x) / (1 - self.p)
        out[self.off] = 0
        return out

    backward = scaled


class Binomial:
    def __init__(self, p, rng):
        self.keep, self.rng = 1 - p, rng

    def forward(self, x, training):
        self.m = self.rng.binomial(1, self.keep, size=x.shape) if training else self.keep
        return np.multiply(x, self.m) / self.keep

    def backward(self, dY):
        return np.einsum("...,...->...", dY, np.broadcast_to(self.m, dY.shape) / self.keep)


class ByChoice:
    def __init__(self, p, rng):
        self.rng, self.p, self.table = rng, [p, 1 - p], np.array([0.0, 1 / (1 - p)])

    def forward(self, x, training):
        self.picked = self.rng.choice(2, size=x.shape, p=self.p) if training else None
        return x if self.picked is None else x * self.table[self.picked]

    def backward(self, dY):
        return dY if self.picked is None else np.where(self.picked, dY * self.table[1], 0)


def counted(made, x, dY, p, seed):
    """What can be measured of a dropout layer without knowing the order of its draws."""
    layer = made(p, np.random.default_rng(seed))
    first, second = np.array(layer.forward(x, True)), np.array(layer.forward(x, True))
    dx = np.array(layer.backward(dY))
    again = np.array(made(p, np.random.default_rng(seed)).forward(x, True))
    other = np.array(made(p, np.random.default_rng(seed + 1)).forward(x, True))
    used = np.array(layer.forward(x, False))
    used_back = np.array(layer.backward(dY))
    zeros = np.zeros_like(x)
    layer.forward(zeros, True)
    back_from_zeros = np.array(layer.backward(dY))
    off = (first == 0).reshape(-1, x.shape[-1])
    some = 0 < off.mean() < 1
    return {
        "share dropped": share(off, p),
        "factor of the kept numbers": largest(first / x),
        "smallest factor of the kept numbers": smallest(first / x),
        "share of rows with their own mask": different(off) if some else 1.0,
        "share of columns with their own mask": different(off.T) if some else 1.0,
        "spread of the rows' shares": spread(off, p),
        "a new mask at each call": bool(not some or ((first == 0) != (second == 0)).any()),
        "the same seed gives the same numbers": bool((first == again).all()),
        "another seed gives other numbers": bool(not some or (first != other).any()),
        "change at inference": np.abs(used / x - 1).max() if (used / x - 1).any() else 0.0,
        "backward: drops what forward dropped": bool(((dx == 0) == (second == 0)).all()),
        "backward: share dropped": share(dx == 0, p),
        "backward: share dropped where x is 0": share(back_from_zeros == 0, p),
        "backward: factor of the kept numbers": largest(dx / dY),
        "backward: smallest factor": smallest(dx / dY),
        "backward: share dropped at inference": share(used_back == 0, p),
        "backward: factor at inference": largest(used_back / dY),
    }


def batch(rng, p, *shape, seed=None):
    """Numbers that are not 0: 120,000 of them, unless `shape` says otherwise."""
    x, dY = (
        rng.uniform(0.5, 2, size=shape or (300, 400)) * rng.choice([-1, 1], size=shape or (300, 400)) for _ in "xd"
    )
    return {"x": x, "dY": dY, "p": p, "seed": int(rng.integers(10**6)) if seed is None else seed}


def tiny():
    return {"x": np.ones((100, 200)), "dY": np.ones((100, 200)), "p": 0.2, "seed": 1}


MISTAKES = """  key · what it looks like · a question
no_scale · the remaining numbers are not divided by 1 − p ·
    with p = 0.5 half of the numbers are dropped: how large is their sum in training, and how large at inference?
by_p · the remaining numbers are divided by p instead of 1 − p ·
    with p = 0.5 half of the numbers are dropped: how large is their sum in training, and how large at inference?
times · the remaining numbers are multiplied by 1 − p instead of divided by it ·
    with p = 0.5 half of the numbers are dropped: how large is their sum in training, and how large at inference?
scaled_in_use · the factor 1 − p is applied at inference instead (the form of 2014) ·
    should anything change at inference here?
keeps_p · a number is kept with probability p instead of 1 − p ·
    if p = 0.1, what share of the numbers should be dropped?
turned · numbers are dropped at inference and not during training ·
    what does `training` say: when should numbers be dropped?
in_use · numbers are dropped at inference as well ·
    if you ask a finished model the same question twice, should it give the same answer?
rows · every row has the same mask ·
    should all tokens of a batch lose the same features?
columns · every row is dropped or kept as a whole ·
    should single numbers be dropped, or whole tokens?
once · the mask is drawn once and kept for all calls ·
    when the next batch comes, should it lose the same numbers?
own_seed · it draws from a generator of its own, not from `rng` ·
    if the seed is different, should the same numbers be dropped?
exact · exactly the same number of entries is dropped in every row ·
    each number is drawn independently: can a row lose none of its numbers?
new_mask · backward draws a new mask ·
    which numbers influenced the output, and which of them should get a gradient?
no_mask · backward lets every gradient through ·
    which numbers influenced the output, and which of them should get a gradient?
back_no_scale · the factor 1/(1 − p) is missing in backward ·
    Y = x ⊙ m / (1 − p): what is ∂Y/∂x where m = 1?
last_axis · one mask of the size of the last axis serves the whole batch ·
    should all tokens of a batch lose the same features?
tokens · all tokens of a sentence have the same mask ·
    should all tokens of a sentence lose the same features?
root · the numbers that are left are divided by the root of 1 − p ·
    with p = 0.5 half of the numbers are dropped: how large is their sum in training, and how large at inference?
as_many_as_kept · the numbers that are left are divided by the share that was really kept, not by 1 − p ·
    does the formula contain the mask's own mean, or the probability?
positive_only · only positive numbers are dropped ·
    does the probability to be dropped depend on the number itself?
two_scales · only the positive numbers are scaled ·
    does the factor depend on the number itself?
stale · at inference, backward still uses the mask of the last training step ·
    at inference Y is x: what is ∂Y/∂x?
back_on · backward scales the gradients at inference as well ·
    at inference Y is x: what is ∂Y/∂x?
back_by_output · backward takes every 0 of the output for a dropped number ·
    if x is 0 and was kept, may its gradient pass?
back_complement · backward lets through exactly what forward dropped ·
    which numbers influenced the output, and which of them should get a gradient?
back_scale_twice · backward divides by 1 − p twice ·
    Y = x ⊙ m / (1 − p): what is ∂Y/∂x where m = 1?
"""
EXERCISE = Exercise(
    target="minilm.exercises.specs.e17_dropout.Dropout",
    section=("13", "Learning by heart, and what helps"),
    task="During training, each number is dropped (set to 0) with probability p, and the others are scaled up so that the "
    "expected value stays the same. At inference nothing changes. Draw from the `rng` you are given; the check measures "
    "rates, so the order of your draws does not matter.",
    returns={"dropout": ""},
    tiny=tiny,
    probes=lambda rng: {
        "120,000 numbers, p = 0.3": batch(rng, 0.3),
        "a small p": batch(rng, 0.1, 120, 150),
        "as many rows as columns": batch(rng, 0.6, 150, 150),
        "sentences, tokens, features": batch(rng, 0.25, 10, 20, 50),
    },
    edges=lambda rng: {"p = 0": batch(rng, 0.0, 20, 30), "nearly all dropped": batch(rng, 0.9, 120, 150)},
    properties=(
        Property(
            "the expected value of every number stays the same: the share that is kept times the factor is 1",
            lambda rng: {"p = 0.4": batch(rng, 0.4, 150, 200)},
            lambda out: abs((1 - out[0]) * out[1] - 1) < 1e-9,
        ),
    ),
    run=counted,
    keep=("__init__",),
    forbidden=("layers.dropout.dropout", "formulas.head.dropout", "functional.dropout", "nn.Dropout"),
    steps=(
        "forward: remember what backward will need",
        "backward: each gradient gets the same factor as its number got in forward",
    ),
    right={"indexed": Indexed, "binomial": Binomial, "by choice": ByChoice},
    wrong=listed(MISTAKES),
    flawed=Flawed,
    hints=(
        "Draw a new mask m of zeros and ones at each call, one draw per number. On average the share 1 − p remains, so a "
        "division brings it back to 1. The gradient takes the same path as the numbers.",
        "m = rng.random(shape) at or above p, with the shape of x; Y = x ⊙ m / (1 − p). Store m (or the factor) in self. "
        "backward: dY ⊙ m / (1 − p), with the same m. If not training: Y = x and dx = dY.",
        "forward: if training: draw, store 0 or 1 / (1 minus p), return x times that; else store ones, return x.  backward: "
        "return dY times what was stored",
    ),
)
