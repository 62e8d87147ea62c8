r"""Softmax.  F08, F10, F18.  15 minutes, easy."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def flawed(z, wrong=frozenset()):
    if "no_max" in wrong:
        largest = 0.0
    elif wrong & {"one_max", "whole"}:
        largest = z.max()
    else:
        largest = z.max(axis=0 if "axis_0" in wrong else -1, keepdims=not wrong & {"no_keepdims", "no_keepdims_max"})
    e = np.exp(z - largest)
    if wrong & {"whole", "whole_sum"}:
        return e / e.sum()
    return e / e.sum(axis=0 if "axis_0" in wrong else -1, keepdims=not wrong & {"no_keepdims", "no_keepdims_sum"})


def shares(e):
    """Divide each row by its sum."""
    return e / e.sum(-1, keepdims=True)


def exponentials(z):
    return np.exp(z - z.max(-1, keepdims=True))


BASIC = {
    "mean_shift": lambda z: shares(np.exp(z - z.mean(-1, keepdims=True))),
    "min_shift": lambda z: shares(np.exp(z - z.min(-1, keepdims=True))),
    "first_shift": lambda z: shares(np.exp(z - z[..., :1])),
    "axis_1": lambda z: np.moveaxis(shares(exponentials(np.moveaxis(z, axis := min(1, z.ndim - 1), -1))), -1, axis),
    "columns_max": lambda z: shares(np.exp(z - z.max(axis=0))),
    "no_exp": shares,
    "no_exp_shifted": lambda z: shares(z - z.max(-1, keepdims=True)),
    "squares": lambda z: shares(z**2),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "base_2": lambda z: shares(np.exp2(z - z.max(-1, keepdims=True))),
    "base_10": lambda z: shares(10 ** (z - z.max(-1, keepdims=True))),
    "minus": lambda z: shares(np.exp(z.min(-1, keepdims=True) - z)),
    "log": lambda z: z - np.logaddexp.reduce(z, axis=-1)[..., None],
    "not_divided": lambda z: np.exp(z - z.max(-1, keepdims=True)),
    "by_mean": lambda z: shares(np.exp(z - z.max(-1, keepdims=True))) * z.shape[-1],
    "twice": lambda z: shares(np.exp(shares(np.exp(z - z.max(-1, keepdims=True))))),
    "length": lambda z: (e := np.exp(z - z.max(-1, keepdims=True))) / np.sqrt((e * e).sum(-1, keepdims=True)),
}
MORE = """  key · what it looks like · a question
mean_shift · each row is shifted by its mean instead of its largest logit, so exp can still overflow ·
    a row holds 1000 and four zeros: how large is its largest logit after you have subtracted the mean?
min_shift · each row is shifted by its smallest logit instead of its largest ·
    after your shift, is the largest exponent of a row 0, or can it still be 1000?
first_shift · each row is shifted by its first logit instead of its largest, so exp can still overflow ·
    a row begins with 0 and ends with 1000: what is its largest logit after you have subtracted the first?
axis_1 · the softmax runs along axis 1, whatever the number of axes ·
    which axis of an array [2, 3, 4] is the last one?
columns_max · the maximum is taken over the first axis, the sum over the last ·
    does your shift subtract the same number from all logits of a row?
no_exp · the logits themselves are divided by their sum: there is no exp ·
    what comes out for a negative logit, and can a probability be negative?
no_exp_shifted · the shifted logits are divided by their sum: there is no exp ·
    which of your probabilities belongs to the largest logit, and should that one be the smallest?
squares · the logits are squared, where exp belongs ·
    the logits −2 and 2: do they get the same probability in your code?
sigmoid · this is the sigmoid of each logit, not the softmax of the row ·
    what does each row of your output sum to?
base_2 · 2 to the power of z is used instead of exp ·
    if one logit is larger by 1, how many times as likely should its class be?
base_10 · 10 to the power of z is used instead of exp ·
    if one logit is larger by 1, how many times as likely should its class be?
minus · the sign of the logits is reversed ·
    which class should be the most likely one: that of the largest logit, or that of the smallest?
log · this is the logarithm of the softmax ·
    can a probability be negative?
not_divided · the exponentials are not divided by their sum ·
    what does each row of your output sum to?
by_mean · the exponentials are divided by their mean instead of their sum ·
    what does each row of your output sum to?
twice · the softmax is applied twice ·
    how many times does exp stand in your code, and how many times in the formula?
length · the exponentials are divided by the length of the row, the root of the sum of squares ·
    what does each row of your output sum to?
"""


def row_by_row(z):
    out = np.empty(z.shape)
    for index in np.ndindex(z.shape[:-1]):
        e = [np.exp(x - max(z[index])) for x in z[index]]
        out[index] = [x / sum(e) for x in e]
    return out


def by_logarithms(z):
    return np.exp(z - np.logaddexp.reduce(z, axis=-1)[..., None])


def axis_in_front(z):
    z = np.moveaxis(z, -1, 0)  # [K, ...]: now everything broadcasts by itself
    e = np.exp(z - z.max(axis=0))
    return np.moveaxis(e / e.sum(axis=0), 0, -1)


def einsum(z):
    e = np.exp(z - np.expand_dims(np.max(z, -1), -1))
    return np.einsum("...k,...->...k", e, 1 / np.einsum("...k->...", e))


def probes(rng):
    return {
        "a batch": {"z": rng.normal(scale=2, size=(4, 7))},
        "a square": {"z": rng.normal(scale=2, size=(5, 5))},
        "three axes": {"z": rng.normal(scale=2, size=(2, 3, 6))},
        "a single row": {"z": rng.normal(scale=2, size=4)},
    }


def edges(rng):
    z = rng.normal(size=(3, 5))
    return {
        "logits of a thousand": {"z": 1e3 + z},
        "logits of minus a thousand": {"z": z - 1e3},
        "rows of very different size": {"z": z + np.array([[0.0], [1e3], [-1e3]])},
        "one logit far above the others": {"z": z + 2e3 * np.eye(3, 5)},
        "one logit far below the others": {"z": z - 2e3 * np.eye(3, 5)},
        "one class": {"z": z[:, :1]},
        "a single row of thousands": {"z": 3e3 * z[0]},
        "four axes": {"z": z[None, :, None] + np.zeros((2, 1, 2, 1))},
    }


def shifted(rng):
    z = rng.normal(size=(3, 4))
    return {"z": {"z": z}, "z with 5 added to each row": {"z": z + 5}}


EXERCISE = Exercise(
    target="minilm.formulas.cross_entropy.softmax",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="Turn each row of logits into a row of probabilities: take the softmax over the last axis. There may be any number of "
    "axes before it.",
    returns={"ŷ": "batch class"},
    tiny=lambda: {"z": np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "every row sums to 1",
            lambda rng: {"z": {"z": rng.normal(size=(3, 6))}},
            lambda y: np.allclose(y.sum(-1), 1),
        ),
        Property(
            "adding a number to all logits of a row changes nothing", shifted, lambda y, moved: np.allclose(y, moved)
        ),
    ),
    forbidden=("softmax", "log_softmax"),
    steps=(
        "subtract the largest logit of each row: then exp cannot overflow, and the quotient does not change",
        "exp of the differences [..., K]",
        "divide each row by its own sum [..., 1]",
    ),
    right={
        "row by row": row_by_row,
        "by logarithms": by_logarithms,
        "axis in front": axis_in_front,
        "einsum": einsum,
    },
    wrong={
        "no_max": Wrong(
            "exp is applied to the logits as they are, without subtracting the largest one first",
            "what is exp(1000) on a computer, and what is inf / inf?",
        ),
        "whole": Wrong(
            "the maximum and the sum are taken over the whole array instead of over each row",
            "what does each row of your output sum to?",
        ),
        "whole_sum": Wrong(
            "the sum is taken over the whole array instead of over each row",
            "what does each row of your output sum to?",
        ),
        "axis_0": Wrong(
            "the softmax runs along the first axis instead of the last",
            "which axis holds the classes, and which axis holds the examples?",
        ),
        "one_max": Wrong(
            "one maximum is subtracted from the whole array instead of one from each row",
            "one row holds 1000 and another holds 0: what is exp(0 − 1000)?",
        ),
        "no_keepdims": Wrong(
            "the maximum and the sum have lost their last axis (keepdims is missing)",
            "when you compute [4, 7] minus [4], which axis of the first array does NumPy line up with the 4?",
        ),
        "no_keepdims_max": Wrong(
            "the maximum has lost its last axis (keepdims is missing)",
            "when you compute [4, 7] minus [4], which axis of the first array does NumPy line up with the 4?",
        ),
        "no_keepdims_sum": Wrong(
            "the sum has lost its last axis (keepdims is missing)",
            "when you divide [4, 7] by [4], which axis of the first array does NumPy line up with the 4?",
        ),
        **listed(MORE, BASIC.get),
    },
    flawed=flawed,
    hints=(
        "A probability is a share of a whole. exp makes every logit positive, and dividing by the row's sum makes the shares "
        "add up to 1. You may multiply numerator and denominator by the same factor: exp(−m) is a good one, where m is the "
        "row's largest logit.",
        "z [..., K] → its maximum along the last axis, kept as [..., 1] → e = exp(z − maximum) [..., K] → e divided by its own "
        "sum along the last axis, kept as [..., 1].",
        "largest = max of z, axis=-1, keepdims=True;  e = exp of (z minus largest);  return e over (sum of e, axis=-1, "
        "keepdims=True)",
    ),
)
