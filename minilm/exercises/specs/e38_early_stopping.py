r"""Early stopping.  F03.  25 minutes, medium."""

import copy

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def fit(model, train_epoch, held_out_loss, patience: int, most: int) -> int:
    r"""Train until `patience` epochs in a row have brought no new lowest loss on held-out examples, but at most `most` epochs; then
    restore the best weights. Returns the number of epochs that were trained.

    `train_epoch(model)` changes `model.weights`, an array, in place and returns the training loss. Call `held_out_loss(model)`
    after every epoch. Better means strictly lower; NaN is never better. If no epoch was ever better, the weights stay as they are.
    """
    best, least, waited, epochs = None, np.inf, 0, 0
    while epochs < most and waited < patience:
        train_epoch(model)
        epochs += 1
        loss = held_out_loss(model)
        if loss < least:  # False for NaN
            best, least, waited = model.weights.copy(), loss, 0  # a copy, because training changes the array
        else:
            waited += 1
    if best is not None:
        model.weights[:] = best
    return epochs


def flawed(model, train_epoch, held_out_loss, patience, most, wrong=frozenset()):
    best, least, waited, epochs, before = None, np.inf, 0, 0, np.inf
    patience += ("late" in wrong) - ("early" in wrong)
    for key, first in {"from_0": 0.0, "from_9999": 9999.0}.items():
        least = first if key in wrong else least
    if wrong & {"start_counts", "first_kept"}:
        best, least = model.weights.copy(), held_out_loss(model) if "start_counts" in wrong else least
    for key, other in {"three": 3, "one": 1, "no_patience": most + 1}.items():
        patience = other if key in wrong else patience
    while epochs < most and waited < patience:
        old = model.weights.copy()
        train = train_epoch(model)
        epochs += 1
        loss = train if "training" in wrong else held_out_loss(model)
        better = loss <= least if "ties" in wrong else loss < least
        if "min_delta" in wrong:
            better = loss < least - 1e-4
        if "relative" in wrong:
            better = loss < least * (1 - 1e-3) if np.isfinite(least) else loss < least
        if "rounded" in wrong:
            better = round(loss, 4) < round(least, 4) if np.isfinite(loss) and np.isfinite(least) else loss < least
        if "absolute" in wrong:
            better = abs(loss) < abs(least)
        if "zero_is_none" in wrong and least == 0:
            better = loss == loss
        if "smoothed" in wrong and np.isfinite(before) and np.isfinite(loss):
            better = (loss + before) / 2 < least
        if "stops_at_nan" in wrong and loss != loss:
            break
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
            best = model.weights.mean() + 0 * best if "mean" in wrong else best
            waited = waited if "not_reset" in wrong else 0
        else:
            waited += 2 if "twice" in wrong else 1
    if "only_early" in wrong and waited < patience:  # restored only after a stop, not after the last epoch
        return epochs
    if "loss_returned" in wrong:
        epochs = least
    if best is not None and "last" not in wrong:
        model.weights[:] = best
    return int(epochs - waited) if "best_returned" in wrong else epochs


def all_then_look(model, train_epoch, held_out_loss, patience, most):
    """Keep everything, and look back."""
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
    """Weights and nothing else."""

    def __init__(self, weights):
        self.weights = weights


def run(fit, start, path, training, held_out, patience):
    """Training with a known course: after epoch t the weights are path[t] and the losses training[t] and held_out[t].
    After the last epoch nothing changes any more, so that a loop that never ends meets the time limit."""
    model, t = Model(np.array(start, dtype=float)), [-1]

    def now() -> int:
        return min(t[0], len(path) - 1)

    def train_epoch(model):
        t[0] += 1
        model.weights[:] = path[now()]
        return float(training[now()])

    def held_out_loss(model):
        if t[0] < 0:  # before the first epoch, a loss that no epoch will reach
            return -1e18
        return float(held_out[now()]) if np.array_equal(model.weights, path[now()]) else np.inf

    epochs = fit(model, train_epoch, held_out_loss, patience, len(path))
    return {"weights": np.array(model.weights), "epochs returned": epochs, "epochs trained": t[0] + 1}


def course(rng, *held_out, patience):
    """The training loss always falls, except for one pause as long as the patience, which stops a loop that watches it."""
    T = len(held_out)
    training = np.sort(rng.uniform(0.1, 3, size=T))[::-1].copy()
    training[1 : 1 + patience] = training[0] + 0.1
    return {
        **{"start": rng.normal(size=3), "path": rng.normal(size=(T, 3))},
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
        "better by very little": course(rng, 2, *(2 - 1e-7 * np.arange(1, 7)), 2.5, patience=2),
        "losses of a million": course(rng, 3e6, 2e6, 2.5e6, 2e6 - 0.5, 3e6, 3e6, 3e6, 1e6, patience=3),
        "losses below zero": course(rng, 0.5, -1, -3, -2, -2.5, -4, -3, patience=3),
    }


def edges(rng):
    return {
        "a patience of 1": course(rng, 3, 2, 2.5, 1, patience=1),
        "the first epoch was the best": course(rng, 1, 2, 3, 4, 5, 6, patience=2),
        "NaN now and then": course(rng, 3, np.nan, 2, np.nan, np.nan, np.nan, 1, 1, patience=3),
        "the last epoch was not the best": course(rng, 4, 2, 3, patience=3),
        "a long patience": course(rng, *rng.permutation(np.arange(2.0, 12.0)), 1, 3, patience=9),
        "a loss of 0": course(rng, 2, 0, 5, 4, 3, 2, patience=3),
        "NaN from the start": course(rng, np.nan, np.nan, np.nan, np.nan, patience=2),
    }


MISTAKES = """  key · what it looks like · a question
training · it looks at the training loss ·
    when a model memorises its examples, which of the two losses shows it?
last · the last weights stay in place; the best ones are not restored ·
    the model got no better while you waited: which weights do you want in the end?
reference · you kept the array itself, which training goes on changing, and not a copy of it ·
    train_epoch changes the weights in place: what does your "best" hold ten epochs later?
one_before · the weights from before the best epoch are kept ·
    does the loss that you looked at belong to the weights that you kept?
early · it stops one epoch too early ·
    patience 3: how many epochs in a row may pass without a new best?
late · it stops one epoch too late ·
    patience 3: how many epochs in a row may pass without a new best?
not_reset · the count of epochs without a new best is not reset to 0 ·
    when a new best has just come, how long have you waited since?
last_epoch · it compares with the epoch before, not with the best ·
    5, 3, 4, 3.9, 3.8: should the weights of 3.8 be kept?
ties · an equal loss counts as better ·
    if a model makes no progress at all, when does your training stop?
nan · NaN counts as better ·
    is NaN < 1 true, and is NaN >= 1 true?
largest · the largest loss is taken as the best ·
    should a loss be large or small?
min_delta · an improvement counts only if it is larger than a small number ·
    what does the docstring say about better: strictly lower, or lower by something?
relative · an improvement counts only if it is larger than a small share of the loss ·
    what does the docstring say about better: strictly lower, or lower by something?
rounded · the losses are rounded before they are compared ·
    is 1.99999 lower than 2?
absolute · the absolute values of the losses are compared ·
    which is lower, −3 or −1?
smoothed · each loss is averaged with the one before it ·
    whose weights are kept, and whose loss was looked at?
from_0 · the lowest loss starts at 0 ·
    which loss is lower than your first value of "lowest"?
from_9999 · the lowest loss starts at a number that a real loss can exceed ·
    a loss of a million: is it lower than your first value of "lowest"?
start_counts · the loss before the first epoch counts as well ·
    after what does the docstring say that held_out_loss is called?
first_kept · if no epoch was ever better, the weights from the start come back ·
    what does the docstring say if no epoch was ever better?
three · the patience is a constant of your own ·
    where does your code use the argument patience?
one · the first epoch without a new best ends the training ·
    where does your code use the argument patience?
zero_is_none · a lowest loss of 0 is taken for "there is no best yet" ·
    what is `not 0.0` in Python?
no_patience · it always trains to the end ·
    where does your code use the argument patience?
stops_at_nan · it stops as soon as a loss is NaN ·
    NaN is not better: how many epochs that are not better may there be in a row?
mean · every weight becomes the mean of the best weights ·
    what exactly did you keep of the best weights?
twice · every epoch without a new best counts twice ·
    patience 3: how many epochs in a row may pass without a new best?
only_early · the best weights come back only if training was stopped early ·
    the last epoch was not the best: which weights do you want in the end?
loss_returned · it returns the lowest loss, not how many epochs were trained ·
    what does the docstring promise to return?
best_returned · it returns the best epoch, not how many epochs were trained ·
    what does the docstring promise to return?
"""
FAMILY = dict.fromkeys(("last", "reference"), "the weights of the last epoch")  # both mistakes leave these
FAMILY |= dict.fromkeys(("min_delta", "rounded"), "very small improvements")

EXERCISE = Exercise(
    target="minilm.exercises.specs.e38_early_stopping.fit",
    section=("01", "Learning by heart"),
    task="Write a training loop that knows when to stop. The check uses made-up losses, so that the right answer is known.",
    returns={"weights": "weight", "epochs returned": "", "epochs trained": ""},
    tiny=lambda: {
        "start": np.array([0.0]),
        **{"path": np.arange(1.0, 6)[:, None], "training": np.array([5.0, 4.0, 3.0, 2.0, 1.0])},
        "held_out": np.array([5.0, 3.0, 3.5, 4.0, 2.0]),
        "patience": 2,
    },
    probes=probes,
    edges=edges,
    run=run,
    shown_first=("epochs trained", "epochs returned"),
    properties=(
        Property(
            "if every epoch is better, training goes on to the end",
            lambda rng: {"better to the end": course(rng, 5, 4, 3, 2, 1, patience=1)},
            lambda out: out[1] == out[2] == 5,
        ),
    ),
    forbidden=("EarlyStopping", "early_stopping", "fit"),
    steps=(
        "there is no best yet, and the count of epochs without a new best is 0",
        "while neither the epochs nor the patience are used up: train one epoch and look at the loss on held-out examples",
        "if it is strictly lower than ever before: keep a copy of the weights and reset the count; otherwise add one to the "
        "count",
        "at the end, copy the best weights back into the model, if there are any",
    ),
    right={"looking back": all_then_look, "deep copies": deep_copies, "recursive": recursive},
    wrong=listed(MISTAKES, families=FAMILY),
    flawed=flawed,
    hints=(
        "The training loss falls as long as you train. The loss on held-out examples falls too, but rises again when the model "
        "begins to memorise. You notice that only some epochs later, so you must have kept the best weights.",
        "Remember three things: the lowest loss so far, a copy of the weights that had it, and how many epochs have passed "
        "since. Each epoch changes either all three, or only the last.",
        "while neither `most` nor the patience is used up: train, count, look;  if loss < least: least = loss, keep a copy, "
        "waited = 0;  else waited + 1.  At the end copy the kept weights back;  return epochs",
    ),
)
