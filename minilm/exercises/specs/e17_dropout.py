r"""Dropout, forwards and backwards.  F03."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


class Dropout:
    """Switches off numbers at random while training, and does nothing in use.  F03.

    `p` is the probability that a number is switched off, 0 ≤ p < 1; `rng` a NumPy generator, the only one to draw from.
    Source: Srivastava et al. (2014), Dropout: A Simple Way to Prevent Neural Networks from Overfitting.
    """

    def __init__(self, p: float, rng: np.random.Generator):
        self.p, self.rng = p, rng

    def forward(self, x: np.ndarray, training: bool) -> np.ndarray:
        """x ⊙ m / (1 − p) while training, m being drawn anew at each call: 1 with probability 1 − p, else 0; else x."""
        self.factor = np.ones(x.shape)
        if training:
            self.factor = (self.rng.random(x.shape) >= self.p) / (1 - self.p)
        return x * self.factor

    def backward(self, dY: np.ndarray) -> np.ndarray:
        """∂L/∂x for ∂L/∂Y = `dY`, through the call of `forward` before it."""
        # the numbers that were off had no say, the others were made larger: by the same factor
        return dY * self.factor


class Flawed:
    def __init__(self, p, rng, wrong=frozenset()):
        self.p, self.rng, self.wrong = p, rng, wrong

    def mask(self, shape):
        if "rows" in self.wrong and len(shape) > 1:
            shape = (1, *shape[1:])
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
        self.off = not training and "in_use" not in self.wrong
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
        if "exact" in self.wrong:  # each row loses the same number
            ranks = self.rng.random(x.shape).argsort(-1).argsort(-1)
            self.keep = ranks >= round(self.p * x.shape[-1])
        return x * self.keep * self.scale

    def backward(self, dY):
        if "new_mask" in self.wrong and not self.off:
            return dY * self.mask(dY.shape) * self.scale
        keep = np.ones(dY.shape) if "no_mask" in self.wrong else self.keep
        return dY * keep * (1.0 if "back_no_scale" in self.wrong else self.scale)


class Indexed:
    """Numbers are set to 0 where they are off."""

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


def share(found, p):
    """The share that was found, as one of the shares that were meant, unless it is too far from them to be chance (z > 6)."""
    measured = found.mean()
    for meant in (p, 1 - p):
        if abs(measured - meant) <= 6 * np.sqrt(max(meant * (1 - meant), 1e-12) / found.size):
            return meant
    return round(float(measured), 1)


def spread(found, p):
    """How unlike the rows' shares are: 1 where each number is drawn for itself, far from it where not."""
    if not 0 < p < 1 or not 0 < found.mean() < 1 or min(found.shape) < 100:
        return 1.0
    expected = found.mean() * (1 - found.mean())
    by_row = found.mean(axis=1).var() * found.shape[1] / expected
    return 1.0 if 0.5 < by_row < 2 else np.sign(by_row - 1) * 10.0


def largest(factors):
    """The one that is farthest from 0, with its sign."""
    return factors.flat[np.abs(factors).argmax()]


def different(masks):
    """The share of rows that no other row is like."""
    return len({row.tobytes() for row in masks}) / len(masks)


def counted(made, x, dY, p, seed):
    """What can be said of a dropout without knowing in which order it draws."""
    layer = made(p, np.random.default_rng(seed))
    first, second = np.array(layer.forward(x, True)), np.array(layer.forward(x, True))
    dx = np.array(layer.backward(dY))
    again = np.array(made(p, np.random.default_rng(seed)).forward(x, True))
    other = np.array(made(p, np.random.default_rng(seed + 1)).forward(x, True))
    used = np.array(layer.forward(x, False))
    used_back = np.array(layer.backward(dY))
    off = first == 0
    some = 0 < off.mean() < 1
    return {
        "share switched off": share(off, p),
        "factor of the others": largest(first / x),
        "share of rows with a mask of their own": different(off) if some else 1.0,
        "share of columns with a mask of their own": different(off.T) if some else 1.0,
        "spread of the rows' shares": spread(off, p),
        "drawn anew at each call": bool(not some or (off != (second == 0)).any()),
        "same seed, same numbers": bool((first == again).all()),
        "other seed, other numbers": bool(not some or (first != other).any()),
        "changed in use": np.abs(used / x - 1).max() if (used / x - 1).any() else 0.0,
        "backward: off where forward was off": bool(((dx == 0) == (second == 0)).all()),
        "backward: share switched off": share(dx == 0, p),
        "backward: factor of the others": largest(dx / dY),
        "backward: factor in use": largest(used_back / dY),
    }


def batch(rng, p, *shape, seed=None):
    """Numbers that are not 0: 200,000, unless said otherwise."""
    x, dY = (
        rng.uniform(0.5, 2, size=shape or (400, 500)) * rng.choice([-1, 1], size=shape or (400, 500)) for _ in "xd"
    )
    return {"x": x, "dY": dY, "p": p, "seed": int(rng.integers(10**6)) if seed is None else seed}


def tiny():
    return {"x": np.ones((100, 200)), "dY": np.ones((100, 200)), "p": 0.2, "seed": 1}


MASK = "which numbers had a say in the output, and which ones should learn from it?"
SCALE = "with p = 0.5 half of the numbers are gone: what has become of their sum, and what of it in use?"
OWN = "two words in one batch: should they lose the same features?"
WRONG = {
    "no_scale": ("what is left is not divided by 1 − p", SCALE),
    "by_p": ("it is divided by p instead of 1 − p", SCALE),
    "times": ("it is multiplied by 1 − p instead of divided", SCALE),
    "scaled_in_use": ("the factor 1 − p comes in use instead (the form of 2014)", "may anything change in use here?"),
    "keeps_p": (
        "it keeps a number with the probability p instead of 1 − p",
        "p = 0.1: how much should be switched off?",
    ),
    "in_use": ("it switches off in use as well", "the same question twice: should a finished model answer alike?"),
    "rows": ("every row has the same mask", OWN),
    "columns": ("every row is switched off as a whole", "is a number switched off, or a whole word?"),
    "once": ("the mask is drawn once and kept for all calls", "the next batch comes: which numbers may it use?"),
    "own_seed": ("it draws from a generator of its own, not from rng", "another seed: should the same numbers be off?"),
    "exact": ("each row loses exactly the same number", "each number is drawn for itself: could a row lose none?"),
    "new_mask": ("backward draws a mask of its own", MASK),
    "no_mask": ("backward lets everything through", MASK),
    "back_no_scale": ("backward lacks the factor 1/(1 − p)", "Y = x ⊙ m / (1 − p): what is ∂Y/∂x where m = 1?"),
}
EXERCISE = Exercise(
    target="minilm.exercises.specs.e17_dropout.Dropout",
    section=("10", "Learning by heart, and what helps"),
    task="While training each number is switched off with probability p, and the others are made larger, so that the expected value "
    "stays. In use nothing changes. Draw from the `rng` you are given; the check looks at rates, not at the order of your draws.",
    returns={"dropout": ""},
    tiny=tiny,
    probes=lambda rng: {
        "200,000 numbers, p = 0.3": batch(rng, 0.3),
        "a small p": batch(rng, 0.1, 200, 300),
        "as many rows as columns": batch(rng, 0.6, 200, 200),
    },
    edges=lambda rng: {"p = 0": batch(rng, 0.0, 20, 30), "nearly all off": batch(rng, 0.9, 200, 300)},
    properties=(
        Property(
            "the expected value of every number stays: share that is on, times factor, is 1",
            lambda rng: {"p = 0.4": batch(rng, 0.4, 150, 200)},
            lambda out: abs((1 - out[0]) * out[1] - 1) < 1e-9,
        ),
    ),
    run=counted,
    keep=("__init__",),
    forbidden=("layers.dropout.dropout", "formulas.head.dropout", "functional.dropout", "nn.Dropout"),
    steps=(
        "remember what backward will need",
        "backward: each number goes back by the factor it came by",
    ),
    right={"indexed": Indexed, "binomial": Binomial, "by choice": ByChoice},
    wrong={key: Wrong(name, question) for key, (name, question) in WRONG.items()},
    flawed=Flawed,
    hints=(
        "A mask m of zeros and ones, drawn anew for each call, number by number. Of 1 − p that is left make 1 again, by a division. "
        "The gradient goes the way the numbers went.",
        "m = rng.random(shape) at or above p, of the shape of x; Y = x ⊙ m / (1 − p). Keep m (or the factor) in self. backward: "
        "dY ⊙ m / (1 − p), with the same m. Not training: Y = x, and dx = dY.",
        "forward: if training: draw, keep what is 0 or 1 / (1 minus p), return x times it; else keep ones, return x.  backward: "
        "return dY times what was kept",
    ),
)
