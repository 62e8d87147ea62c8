r"""Log-softmax.  F08, F11."""

import numpy as np
from scipy.special import logsumexp

from minilm.exercises.spec import Exercise, Property, Wrong


def flawed(z, wrong=frozenset()):
    axis = 0 if "axis_0" in wrong else -1
    largest = 0.0 if "no_max" in wrong else z.max(axis=axis, keepdims=True)
    e = np.exp(z - largest)
    total = e.sum(axis=axis, keepdims=True)
    if "log_of_softmax" in wrong:
        return np.log(e / total)
    times = 0 if "max_lost" in wrong else 2 if "max_twice" in wrong else 1
    return z - (np.log(total) + times * largest)


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
        "rows of very different size": {"z": z + np.array([[0.0], [1e3], [-1e3]])},
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
