r"""The gradient of cross-entropy, by hand.  F08, F11.  20 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.formulas.cross_entropy import log_softmax, softmax


def cross_entropy_gradient(z: np.ndarray, y: np.ndarray, dL: float = 1.0) -> np.ndarray:
    r"""∂/∂z [N, K] of the mean cross-entropy for logits `z` [N, K] and classes `y` [N], times the upstream gradient `dL`.

    A label of −100 does not count: the gradient of its row is 0, and the mean is taken over the other rows. If no label
    counts, the whole gradient is 0.
    """
    mask = y != -100  # [N]
    dz = softmax(z)  # the probabilities that the model gives [N, K]
    dz[mask, y[mask]] -= 1  # minus the truth: 1 at the right class, 0 elsewhere
    return dL * dz * mask[:, None] / max(mask.sum(), 1)


def cross_entropy(z, y, dL=1.0):
    mask = y != -100
    return -log_softmax(z)[mask, y[mask]].sum() / max(mask.sum(), 1)


def predicted(z, wrong):
    """ŷ, or what stands in its place."""
    if "sigmoid" in wrong:
        return 1 / (1 + np.exp(-z))
    if "axis_0" in wrong:
        return softmax(z.T).T
    return z if "no_softmax" in wrong else log_softmax(z) if "log" in wrong else softmax(z)


def flawed(z, y, dL=1.0, wrong=frozenset()):
    mask = y > 0 if "positive" in wrong else y != -100
    y_hat, N = predicted(z, wrong), mask.sum()
    answer = np.zeros((len(y), np.where(mask, y, 0).max() + 1) if "width" in wrong else z.shape)
    answer[slice(None) if "every_row" in wrong else mask, y[mask]] = 1
    dL = dL or 1.0 if "zero_is_none" in wrong else dL
    dz = -answer / y_hat if "by_p" in wrong else y_hat - answer
    if "slope" in wrong:
        dz = dz * y_hat * (1 - y_hat)
    if "no_answer" in wrong:
        dz = y_hat
    if "label_only" in wrong:
        dz = dz * answer
    if "answer_only" in wrong:
        dz = -answer * (1 - y_hat) if "by_p" in wrong else -answer
    if "classes" in wrong:
        dz = dz / z.shape[1]
    if "twice" in wrong:
        dz = 2 * dz
    if "upstream_added" in wrong:
        dL, dz = 1.0, dz + dL * max(N, 1)
    if "ignored" not in wrong:
        dz = dz * mask[:, None]
    if "not_divided" not in wrong:
        dz = dz / (len(y) if "all_rows" in wrong else N if "nothing" in wrong else max(N, 1))
    return dz * (1.0 if "no_upstream" in wrong else dL) * (-1 if "sign" in wrong else 1)


MORE = """  key · what it looks like · a question
positive · labels of class 0 are left out together with those of −100: `y > 0` ·
    is 0 a class like any other here?
no_answer · this is the softmax alone: the 1 at the right class is not subtracted ·
    if the model is certain and right, how large should its gradient be?
answer_only · only the −1 at the right class is there, without the softmax ·
    the loss is log Σ exp z − z_y: what is the derivative of the first term?
label_only · only the logit of the right class gets a gradient ·
    if the probability of the right class is to rise, what must happen to the logits of the others?
slope · it is multiplied by ŷ(1 − ŷ) once too often ·
    ŷ − y already contains the derivative of the softmax: where else do you multiply by it?
no_softmax · the logits are used where the softmax belongs ·
    is the derivative of log Σ exp z a logit or a probability?
log · the log-softmax is used where the softmax belongs ·
    can the derivative of log Σ exp z be negative?
sigmoid · the sigmoid of each logit is used where the softmax belongs ·
    what must each row of the gradient sum to?
axis_0 · the softmax runs along the first axis instead of the last ·
    which axis of z holds the classes?
classes · it is divided by the number of classes as well ·
    over what is the loss a mean: the examples, or the classes too?
twice · it is twice as large as it should be ·
    which function has the derivative 2x, and is it part of this loss?
zero_is_none · an upstream gradient of 0 is taken for one that was not given ·
    what is `0 or 1` in Python, and what should the gradient be if dL is 0?
width · the one-hot rows are only as wide as the largest label ·
    how many classes are there if the last one does not occur in this batch?
every_row · the 1 is subtracted in the columns of all labels, in every row: `dz[:, y]` ·
    how many ones does the answer of one example contain?
upstream_added · the upstream gradient dL is added, not multiplied ·
    if the loss is multiplied by 3, what happens to its gradient?
"""


def loop(z, y, dL=1.0):
    dz, N = np.zeros(z.shape), max(1, sum(label != -100 for label in y))
    for i, label in enumerate(y):
        if label == -100:
            continue
        for k, p in enumerate(softmax(z[i])):
            dz[i, k] = dL * (p - (k == label)) / N
    return dz


def one_hot(z, y, dL=1.0):
    mask = (y != -100).astype(float)
    answer = np.eye(z.shape[1])[np.maximum(y, 0)]
    return np.einsum("nk,n->nk", softmax(z) - answer, mask) * dL / max(mask.sum(), 1)


def the_long_way(z, y, dL=1.0):
    mask, out = y != -100, np.zeros(z.shape)
    if not mask.any():
        return out
    p = softmax(z[mask])
    jacobian = np.einsum("nk,kj->nkj", p, np.eye(z.shape[1])) - p[:, :, None] * p[:, None, :]
    dp = -np.eye(z.shape[1])[y[mask]] / p
    out[mask] = (dp[:, None, :] @ jacobian)[:, 0] * (dL / max(mask.sum(), 1))
    return out


def batch(rng, N, K, ignored=(), dL=1.0):
    z, y = rng.normal(scale=1.5, size=(N, K)), rng.integers(K, size=N)
    y[:1], y[-1:] = 0, K - 1
    y[list(ignored)] = -100
    return {"z": z, "y": y, "dL": dL}


def probes(rng):
    return {
        "every label counts": batch(rng, 4, 6),
        "two labels do not count": batch(rng, 7, 5, (1, 4), dL=rng.normal() + 3),
        "the first and the last label do not count": batch(rng, 6, 3, (0, 5, 2), dL=2.5),
        "as many examples as classes": batch(rng, 4, 4, (1,), dL=-1.5),
        "a class that occurs twice": {**batch(rng, 3, 4), "y": np.array([2, 2, 0]), "dL": -0.7},
    }


def edges(rng):
    large = batch(rng, 3, 4, dL=2.0)
    large["z"] = large["z"] + 1e3 * np.array([[0.0], [1.0], [-1.0]])
    return {
        "logits of a thousand": large,
        "no label counts": batch(rng, 3, 4, (0, 1, 2), dL=2.0),
        "a single example": batch(rng, 1, 5),
        "a single class": batch(rng, 3, 1),
        "an upstream gradient of 0": batch(rng, 3, 4, (1,), dL=0.0),
    }


EXERCISE = Exercise(
    target="minilm.exercises.specs.e04_cross_entropy_gradient.cross_entropy_gradient",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="Write the gradient that a language model receives at every token. Derive it with a pencil: the result is shorter than "
    "its derivation.",
    returns={"dz": "example class"},
    tiny=lambda: {
        "z": np.array([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0], [1.0, 0.0, 0.0]]),
        "y": np.array([2, 0, -100]),
        "dL": 1.0,
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "every row sums to 0", lambda rng: {"z": batch(rng, 4, 5, (2,))}, lambda dz: np.allclose(dz.sum(-1), 0)
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"one label does not count": batch(rng, 4, 3, (2,), dL=1.7)},
        wrt=("z",),
        forward=cross_entropy,
        upstream="dL",
    ),
    needs=("softmax", "cross_entropy"),
    given=("minilm.formulas.cross_entropy.softmax",),
    forbidden=("cross_entropy_gradient", "backward", "grad"),
    right={"a loop": loop, "one-hot and einsum": one_hot, "through the Jacobian": the_long_way},
    wrong={
        "not_divided": Wrong(
            "this is the gradient of the sum of the losses, not of their mean", "what was the loss divided by?"
        ),
        "ignored": Wrong(
            "the rows whose label is −100 get a gradient too",
            "should a label that does not count have any influence on the weights?",
        ),
        "by_p": Wrong(
            "this is the gradient with respect to the probabilities, not the logits",
            "the softmax stands between z and ŷ: where does your gradient pass through it?",
        ),
        "sign": Wrong(
            "the sign is reversed",
            "when you take a step against the gradient, should the logit of the right class rise or fall?",
        ),
        "no_upstream": Wrong(
            "the upstream gradient dL is not used", "if the loss is doubled, what should happen to your gradient?"
        ),
        "all_rows": Wrong(
            "the mean is taken over all rows, including those that do not count",
            "was the loss divided by N, or by the number of labels that count?",
        ),
        "nothing": Wrong(
            "if no label counts, 0 is divided by 0",
            "if the loss is 0 whatever the logits are, what is its gradient?",
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "The loss of a row is log Σ exp z − z_y. The derivative of the first term with respect to zₖ is the softmax ŷₖ; the "
        "derivative of z_y is 1 at the label and 0 elsewhere.",
        "ŷ = softmax(z) [N, K] → minus 1 at [row, label] in the rows that count → 0 in the other rows → divided by the number "
        "of rows that count → times dL.",
        "dz = softmax(z);  dz[counting rows, their labels] -= 1;  dz[other rows] = 0;  return dL * dz / max(number of counting "
        "rows, 1)",
    ),
)
