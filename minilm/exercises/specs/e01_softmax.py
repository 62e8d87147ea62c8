r"""Softmax.  F08, F10, F18."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


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
        "one class": {"z": z[:, :1]},
    }


def shifted(rng):
    z = rng.normal(size=(3, 4))
    return {"z": {"z": z}, "z with 5 added to each row": {"z": z + 5}}


EXERCISE = Exercise(
    target="minilm.formulas.cross_entropy.softmax",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="Turn each row of logits into a row of probabilities, over the last axis, however many axes there are.",
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
            "a number added to all logits of a row changes nothing", shifted, lambda y, moved: np.allclose(y, moved)
        ),
    ),
    forbidden=("softmax", "log_softmax"),
    steps=(
        "take the largest logit of each row out: exp cannot overflow then, and the quotient stays what it was",
        "exp of what is left [..., K]",
        "divide by each row's own sum [..., 1]",
    ),
    right={
        "row by row": row_by_row,
        "by logarithms": by_logarithms,
        "axis in front": axis_in_front,
        "einsum": einsum,
    },
    wrong={
        "no_max": Wrong(
            "exp of the logits as they are, without taking the largest out first",
            "what is exp(1000) to a computer, and what is inf / inf?",
        ),
        "whole": Wrong(
            "maximum and sum are those of the whole array instead of each row's",
            "what does each row of your output sum to?",
        ),
        "whole_sum": Wrong(
            "the sum is taken over the whole array instead of each row", "what does each row of your output sum to?"
        ),
        "axis_0": Wrong(
            "the softmax runs along the first axis instead of the last",
            "which axis are the classes, and which the examples?",
        ),
        "one_max": Wrong(
            "one largest logit for the whole array instead of one for each row",
            "one row holds 1000, another 0: what is left of exp(0 − 1000)?",
        ),
        "no_keepdims": Wrong(
            "maximum and sum have lost their last axis (keepdims)",
            "[4, 7] minus [4]: which axis of the first does NumPy put beside the 4?",
        ),
        "no_keepdims_max": Wrong(
            "the maximum has lost its last axis (keepdims)",
            "[4, 7] minus [4]: which axis of the first does NumPy put beside the 4?",
        ),
        "no_keepdims_sum": Wrong(
            "the sum has lost its last axis (keepdims)",
            "[4, 7] divided by [4]: which axis of the first does NumPy put beside the 4?",
        ),
    },
    flawed=flawed,
    hints=(
        "A probability is a share: exp makes every logit positive, and the row's sum makes them add up to 1. A common factor "
        "in numerator and denominator cancels, and exp(−m) with m the row's largest logit is a good one to choose.",
        "z [..., K] → its largest along the last axis, kept as [..., 1] → e = exp(z − largest) [..., K] → e divided by its own "
        "sum along the last axis, kept as [..., 1].",
        "largest = max of z, axis=-1, keepdims=True;  e = exp of (z minus largest);  return e over (sum of e, axis=-1, "
        "keepdims=True)",
    ),
)
