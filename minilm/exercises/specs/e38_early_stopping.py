r"""Early stopping.  F03."""

import copy
import re

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


def fit(model, train_epoch, held_out_loss, patience: int, most: int) -> int:
    r"""Train until `patience` epochs in a row brought no new least loss on held-out examples, at most `most` epochs; then put
    the best weights back. Returns the number of epochs that were trained.

    `train_epoch(model)` changes `model.weights`, an array, in place and returns the training loss; `held_out_loss(model)` is
    looked at after every epoch. Better means strictly less; NaN is never better. If nothing ever was, the weights stay.
    """
    best, least, waited, epochs = None, np.inf, 0, 0
    while epochs < most and waited < patience:
        train_epoch(model)
        epochs += 1
        loss = held_out_loss(model)
        if loss < least:  # False for NaN
            best, least, waited = model.weights.copy(), loss, 0  # a copy: the array itself goes on being trained
        else:
            waited += 1
    if best is not None:
        model.weights[:] = best
    return epochs


def flawed(model, train_epoch, held_out_loss, patience, most, wrong=frozenset()):
    best, least, waited, epochs, before = None, np.inf, 0, 0, np.inf
    patience += ("late" in wrong) - ("early" in wrong)
    while epochs < most and waited < patience:
        old = model.weights.copy()
        train = train_epoch(model)
        epochs += 1
        loss = train if "training" in wrong else held_out_loss(model)
        better = loss <= least if "ties" in wrong else loss < least
        if "nan" in wrong:
            better = not loss >= least
        if "last_epoch" in wrong:
            better = loss < before
        if "largest" in wrong:
            better = loss > (-np.inf if least == np.inf else least)
        before = loss
        if better:
            best, least = model.weights if "reference" in wrong else model.weights.copy(), loss
            best = old if "one_before" in wrong else best
            waited = waited if "not_reset" in wrong else 0
        else:
            waited += 1
    if best is not None and "last" not in wrong:
        model.weights[:] = best
    return int(epochs - waited) if "best_returned" in wrong else epochs


def all_then_look(model, train_epoch, held_out_loss, patience, most):
    """Everything is kept, and one looks back."""
    losses, weights = [], []
    for _ in range(most):
        train_epoch(model)
        losses.append(held_out_loss(model))
        weights.append(np.array(model.weights))
        seen = [np.inf if np.isnan(loss) else loss for loss in losses]
        since = len(seen) - 1 - int(np.argmin(seen)) if np.isfinite(seen).any() else len(seen)
        if since >= patience:
            break
    if weights and np.isfinite(seen).any():
        model.weights[...] = weights[int(np.argmin(seen))]
    return len(losses)


def deep_copies(model, train_epoch, held_out_loss, patience, most):
    kept, epoch, best_epoch = None, 0, 0
    while epoch < most and epoch - best_epoch < patience:
        train_epoch(model)
        epoch += 1
        loss = held_out_loss(model)
        if not np.isnan(loss) and (kept is None or loss < kept[0]) and loss != np.inf:
            kept, best_epoch = (loss, copy.deepcopy(model)), epoch
    if kept:
        np.copyto(model.weights, kept[1].weights)
    return epoch


def recursive(model, train_epoch, held_out_loss, patience, most):
    def go_on(epochs, left, least, best):
        if epochs == most or left == 0:
            if best is not None:
                model.weights = best
            return epochs
        train_epoch(model)
        loss = held_out_loss(model)
        if loss < least:
            return go_on(epochs + 1, patience, loss, model.weights.copy())
        return go_on(epochs + 1, left - 1, least, best)

    return go_on(0, patience, np.inf, None)


class Model:
    """Weights, and nothing else."""

    def __init__(self, weights):
        self.weights = weights


def run(fit, start, path, training, held_out, patience):
    """A training whose course is known beforehand: after epoch t the weights are path[t], the losses training[t], held_out[t]."""
    model, t = Model(np.array(start, dtype=float)), [-1]

    def train_epoch(model):
        t[0] += 1
        model.weights[:] = path[t[0]]
        return float(training[t[0]])

    def held_out_loss(model):
        return float(held_out[t[0]]) if np.array_equal(model.weights, path[t[0]]) else np.inf

    epochs = fit(model, train_epoch, held_out_loss, patience, len(path))
    return {"weights": np.array(model.weights), "epochs returned": epochs, "epochs trained": t[0] + 1}


def course(rng, *held_out, patience):
    """The training loss falls all the while, but for one place where it does not, so that it too can be waited for."""
    T = len(held_out)
    training = np.sort(rng.uniform(0.1, 3, size=T))[::-1].copy()
    training[1 : 1 + patience] = training[0] + 0.1
    return {
        "start": rng.normal(size=3),
        "path": rng.normal(size=(T, 3)),
        "training": training,
        "held_out": np.array(held_out, dtype=float),
        "patience": patience,
    }


def probes(rng):
    return {
        "best in the middle": course(rng, 5, 4, 3, 3.5, 3.2, 3.1, 3.4, 3.3, 1, patience=3),
        "a pause, then better": course(rng, 5, 4, 4.5, 4.2, 3, 3.3, 2.8, 2.9, 2.85, 2.7, patience=3),
        "the same loss again": course(rng, 5, 2, 2, 2, 2, 2, 2, 3, 1, patience=2),
        "up and down": course(rng, 6, 5, 5.5, 4, 4.5, 4.2, 3, 3.9, 3.8, 3.7, 3.6, patience=4),
        "better to the end": course(rng, 4, 3, 2, 1, patience=2),
    }


def edges(rng):
    return {
        "a patience of 1": course(rng, 3, 2, 2.5, 1, patience=1),
        "the first epoch was the best": course(rng, 1, 2, 3, 4, 5, 6, patience=2),
        "NaN now and then": course(rng, 3, np.nan, 2, np.nan, np.nan, np.nan, 1, 1, patience=3),
        "NaN from the start": course(rng, np.nan, np.nan, np.nan, np.nan, patience=2),
    }


MISTAKES = """  key · what it looks like · a question
training · it looks at the training loss ·
    a model that learns everything by heart: which of the two losses gives it away?
last · the last weights are left in place, not the best ones put back ·
    for as many epochs as you waited the model got no better: whose weights do you want?
reference · what was kept is the array that goes on being trained, not a copy ·
    train_epoch changes the weights in place: what does your "best" hold ten epochs later?
one_before · the weights from before the best epoch are kept ·
    is the loss that you looked at that of the weights you kept?
early · it stops one epoch too early ·
    patience 3: how many epochs in a row may pass without a new best?
late · it stops one epoch too late ·
    patience 3: how many epochs in a row may pass without a new best?
not_reset · the count of epochs without a new best is not set back to 0 ·
    a new best has come: how long has one waited since?
last_epoch · it compares with the epoch before, not with the best ·
    5, 3, 4, 3.9, 3.8: does 3.8 deserve to be kept?
ties · the same loss again counts as better ·
    a model that stands still: when would your training stop?
nan · NaN counts as better ·
    is NaN < 1 true, and is NaN >= 1?
largest · the largest loss is taken for the best ·
    is a loss to be large or small?
best_returned · what is returned is the best epoch, not how many were trained ·
    what does the docstring promise to return?
"""
FAMILY = dict.fromkeys(("last", "reference"), "the weights of the last epoch")  # what both leave behind

EXERCISE = Exercise(
    target="minilm.exercises.specs.e38_early_stopping.fit",
    section=("01", "Learning by heart"),
    task="A training loop that knows when to stop. The courses of losses that it is tried on are made up, so that the right "
    "answer is known.",
    returns={"weights": "weight", "epochs returned": "", "epochs trained": ""},
    tiny=lambda: {
        "start": np.array([0.0]),
        "path": np.array([[1.0], [2.0], [3.0], [4.0], [5.0]]),
        "training": np.array([5.0, 4.0, 3.0, 2.0, 1.0]),
        "held_out": np.array([5.0, 3.0, 3.5, 4.0, 2.0]),
        "patience": 2,
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "a course that only gets better is trained to its end",
            lambda rng: {"better to the end": course(rng, 5, 4, 3, 2, 1, patience=1)},
            lambda out: out[1] == out[2] == 5,
        ),
    ),
    forbidden=("EarlyStopping", "early_stopping", "fit"),
    steps=(
        "nothing is the best yet, and nobody has waited",
        "while there are epochs left and patience too: train one, look at the loss on held-out examples",
        "strictly less than ever before: keep a copy of the weights and begin to wait anew; else one more has been waited for",
        "at the end the best weights go back into the model, if there are any",
    ),
    right={"looking back": all_then_look, "deep copies": deep_copies, "recursive": recursive},
    wrong={
        key: Wrong(name, question, family=FAMILY.get(key, ""))
        for key, name, question in re.findall(r"(\w+) · (.+) ·\n +(.+)", MISTAKES)
    },
    flawed=flawed,
    hints=(
        "The training loss falls as long as one trains. The loss on examples that were held out falls, and rises again when "
        "learning turns into learning by heart. One sees that only some epochs later, so the best weights must have been kept.",
        "Three things to remember: the least loss so far, a copy of the weights that had it, and how many epochs have passed "
        "since. Each epoch changes either all three or only the last.",
        "as long as neither `most` nor the patience is used up: train, count, look;  if loss < least: least = loss, keep a copy, "
        "waited = 0;  else waited + 1.  At the end copy the kept weights back;  return epochs",
    ),
)
