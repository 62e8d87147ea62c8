r"""Log-softmax.  F08, F11.  15 minutes, easy."""

import numpy as np
from scipy.special import logsumexp

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def flawed(z, wrong=frozenset()):
    axis = 0 if "axis_0" in wrong else -1
    largest = 0.0 if "no_max" in wrong else z.max(axis=axis, keepdims=True)
    e = np.exp(z - largest)
    total = e.sum(axis=axis, keepdims=True)
    if "log_of_softmax" in wrong:
        return np.log(e / total)
    times = 0 if "max_lost" in wrong else 2 if "max_twice" in wrong else 1
    return z - (np.log(total) + times * largest)


def shifted_by(z, m):
    return z - m - np.log(np.exp(z - m).sum(-1, keepdims=True))


BASIC = {
    "mean_shift": lambda z: shifted_by(z, z.mean(-1, keepdims=True)),
    "min_shift": lambda z: shifted_by(z, z.min(-1, keepdims=True)),
    "first_shift": lambda z: shifted_by(z, z[..., :1]),
    "absolute": lambda z: shifted_by(z, np.abs(z).max(-1, keepdims=True)),
    "one_max": lambda z: shifted_by(z, z.max()),
    "whole": lambda z: z - z.max() - np.log(np.exp(z - z.max()).sum()),
    "no_log": lambda z: np.exp(pairwise(z)),
    "no_log_of_sum": lambda z: (
        z - z.max(-1, keepdims=True) - np.exp(z - z.max(-1, keepdims=True)).sum(-1, keepdims=True)
    ),
    "no_sum": lambda z: z - z.max(-1, keepdims=True),
    "no_exp": lambda z: z - np.log(np.abs(z.sum(-1, keepdims=True))),
    "mean": lambda z: pairwise(z) + np.log(z.shape[-1]),
    "bits": lambda z: pairwise(z) / np.log(2),
    "base_10": lambda z: pairwise(z) / np.log(10),
    "log1p": lambda z: shifted_by(z, z.max(-1, keepdims=True)) * 0 + np.log1p(np.exp(pairwise(z))),
    "sign": lambda z: -pairwise(z),
    "plus": lambda z: 2 * z - pairwise(z),
    "epsilon": lambda z: np.log(np.exp(pairwise(z)) + 1e-8),
    "clipped": lambda z: np.log(np.maximum(np.exp(pairwise(z)), 1e-12)),
    "sigmoid": lambda z: -np.logaddexp(0, -z),
}
MORE = """  key · what it looks like · a question
mean_shift · each row is shifted by its mean instead of its largest logit, so exp can still overflow ·
    a row holds 1000 and four zeros: how large is its largest logit after you have subtracted the mean?
min_shift · each row is shifted by its smallest logit instead of its largest ·
    after your shift, is the largest exponent of a row 0, or can it still be 1000?
first_shift · each row is shifted by its first logit instead of its largest, so exp can still overflow ·
    a row begins with 0 and ends with 1000: what is its largest logit after you have subtracted the first?
absolute · each row is shifted by its largest absolute value instead of its largest logit ·
    all logits are near −1000: what is exp(−1000 − 1000)?
one_max · one maximum is subtracted from the whole array instead of one from each row ·
    one row holds 1000 and another holds 0: what is the log of the sum of exp(0 − 1000)?
whole · the maximum and the sum are taken over the whole array instead of over each row ·
    does exp of each of your rows sum to 1?
no_log · this is the softmax itself, without the logarithm ·
    the logarithm of a probability: can it be positive?
no_log_of_sum · the sum of the exponentials is subtracted, not its logarithm ·
    log(a / b) = log a − log b: what is b here, and where is its logarithm?
no_sum · only the maximum is subtracted, not the logarithm of the sum ·
    does exp of each of your rows sum to 1?
no_exp · the logits are summed as they are, without exp ·
    log Σ exp z: where is the exp in your code?
mean · the logarithm is taken of the mean of the exponentials, not of their sum ·
    does exp of each of your rows sum to 1, or to the number of classes?
bits · the logarithm has base 2 ·
    which base does the logarithm have that undoes exp?
base_10 · the logarithm has base 10 ·
    which base does the logarithm have that undoes exp?
log1p · 1 is added inside the logarithm ·
    the logarithm of a probability: can it be positive?
sign · the sign is reversed ·
    is the logarithm of a number between 0 and 1 positive or negative?
plus · the logarithm of the sum is added instead of subtracted ·
    log(a / b): is it log a + log b or log a − log b?
epsilon · a small number is added inside the logarithm ·
    if the softmax rounds to 0, what does your code return, and what is the right answer?
clipped · the probabilities are cut off from below before the logarithm ·
    if the softmax rounds to 0, what does your code return, and what is the right answer?
sigmoid · this is the logarithm of the sigmoid of each logit, not of the softmax of the row ·
    does exp of each of your rows sum to 1?
"""


def row_by_row(z):
    out = np.empty(z.shape)
    for index in np.ndindex(z.shape[:-1]):
        largest = max(z[index])
        log_sum = largest + np.log(sum(np.exp(x - largest) for x in z[index]))
        out[index] = [x - log_sum for x in z[index]]
    return out


def pairwise(z):
    return z - np.logaddexp.reduce(z, axis=-1, keepdims=True)  # log(exp a + exp b), two at a time


def twice(z):
    z = pairwise(z)
    return z - np.log(np.exp(z).sum(-1))[..., None]  # the log-softmax of a log-softmax is the same again


def borrowed_sum(z):
    return z - logsumexp(z, axis=-1, keepdims=True)


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
        "logits of a thousand": {"z": z + 1e3},
        "one logit far above the others": {"z": z + 1e3 * np.eye(3, 5)},
        "one logit far below the others": {"z": z - 2e3 * np.eye(3, 5)},
        "rows of very different size": {"z": z + np.array([[0.0], [1e3], [-1e3]])},
        "a single row of thousands": {"z": 3e3 * z[0]},
        "four axes": {"z": z[None, :, None] + np.zeros((2, 1, 2, 1))},
        "one class": {"z": z[:, :1]},
    }


def shifted(rng):
    z = rng.normal(size=(3, 4))
    return {"z": {"z": z}, "z with 5 added": {"z": z + 5}}


EXERCISE = Exercise(
    target="minilm.formulas.cross_entropy.log_softmax",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="Compute the logarithm of the softmax over the last axis. It must work for logits of any size and stay finite even "
    "where the softmax itself rounds to 0.",
    returns={"log ŷ": "batch class"},
    tiny=lambda: {"z": np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0]])},
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "exp of every row sums to 1",
            lambda rng: {"z": {"z": rng.normal(size=(3, 6))}},
            lambda y: np.allclose(np.exp(y).sum(-1), 1),
        ),
        Property(
            "adding a number to all logits of a row changes nothing", shifted, lambda y, moved: np.allclose(y, moved)
        ),
    ),
    needs=("softmax",),
    forbidden=("log_softmax",),
    steps=(
        "subtract the largest logit of each row [..., 1]: the result does not change, and exp cannot overflow",
        "the log of the sum of the exponentials, row by row [..., 1]: the sum contains exp(0) = 1, so its log is safe",
        "subtract this log: no probability is ever computed that could round to 0",
    ),
    right={"row by row": row_by_row, "two at a time": pairwise, "taken twice": twice, "scipy's sum": borrowed_sum},
    wrong={
        "log_of_softmax": Wrong(
            "the softmax is computed first, and then its logarithm",
            "what is the softmax of (0, 1000), and what is its log?",
        ),
        "max_lost": Wrong(
            "the largest logit is subtracted before exp but not added back after log",
            "log Σ exp(z − m) is not log Σ exp z: what is the difference?",
        ),
        "max_twice": Wrong(
            "the largest logit is added back twice",
            "follow the m: how many times is it subtracted, and how many times is it added back?",
        ),
        "axis_0": Wrong(
            "the sum runs along the first axis instead of the last", "does exp of each of your rows sum to 1?"
        ),
        "no_max": Wrong(
            "exp is applied to the logits as they are, without subtracting the largest one first",
            "what is exp(1000) on a computer?",
        ),
        **listed(MORE, BASIC.get),
    },
    flawed=flawed,
    hints=(
        "log(a / b) = log a − log b. The logarithm of the numerator exp zₖ is simply zₖ, so you need neither exp nor log for "
        "it.",
        "z [..., K] → minus its maximum [..., 1] → log of the sum of exp along the last axis, kept as [..., 1] → the difference "
        "[..., K].",
        "z = z minus its max (axis=-1, keepdims=True);  return z minus log(sum of exp(z), axis=-1, keepdims=True)",
    ),
)
