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
    return z - np.log(np.exp(z).sum(-1))[..., None]  # log-softmax of a log-softmax changes nothing


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
    task="The logarithm of the softmax over the last axis, for logits of any size: finite where the softmax itself is 0.",
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
            "a number added to all logits of a row changes nothing", shifted, lambda y, moved: np.allclose(y, moved)
        ),
    ),
    needs=("softmax",),
    forbidden=("log_softmax",),
    steps=(
        "take the largest logit of each row out [..., 1]; the result does not change, and exp cannot overflow",
        "log of the sum of the exponentials, row by row [..., 1]: the sum holds an exp(0) = 1, so its log is safe",
        "subtract it; nowhere is a probability written down that could round to 0",
    ),
    right={"row by row": row_by_row, "two at a time": pairwise, "taken twice": twice, "scipy's sum": borrowed_sum},
    wrong={
        "log_of_softmax": Wrong(
            "the logarithm is taken of a softmax that is worked out first",
            "what is the softmax of (0, 1000), and what is its log?",
        ),
        "max_lost": Wrong(
            "the largest logit is taken out before exp and not put back after log",
            "log Σ exp(z − m) is not log Σ exp z: what is between them?",
        ),
        "max_twice": Wrong(
            "the largest logit is put back twice",
            "follow the m: how often was it taken out, how often does it come back?",
        ),
        "axis_0": Wrong(
            "the sum runs along the first axis instead of the last", "does exp of each row of yours sum to 1?"
        ),
        "no_max": Wrong(
            "exp of the logits as they are, without taking the largest out first", "what is exp(1000) to a computer?"
        ),
    },
    flawed=flawed,
    hints=(
        "log(a / b) = log a − log b: the logarithm of the numerator exp zₖ is zₖ itself, and exp and log never meet there.",
        "z [..., K] → minus its largest [..., 1] → log of the sum of exp along the last axis, kept as [..., 1] → difference "
        "[..., K].",
        "z = z minus its max (axis=-1, keepdims=True);  return z minus log(sum of exp(z), axis=-1, keepdims=True)",
    ),
)
