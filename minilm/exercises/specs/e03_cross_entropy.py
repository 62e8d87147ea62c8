r"""Cross-entropy with labels that do not count.  F08, F11, F25.  25 minutes, medium."""

import numpy as np
import torch

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.training.losses import Loss

IGNORED = -100


def flawed(logits, labels, label_smoothing=0.0, wrong=frozenset()):
    z, y = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1).long()
    mask = y != (0 if "class_0" in wrong else IGNORED)
    mask = y > 0 if "positive" in wrong else mask
    if "twice" in wrong:
        z = z.softmax(-1)
    log_y_hat = z.softmax(-1).log() if "log_of_softmax" in wrong else z.log_softmax(-1)
    losses = -log_y_hat[torch.arange(len(y)), y.clamp(min=0)]
    total, N = losses[mask].sum(), int(mask.sum())
    if "all_rows" in wrong or "all_rows_counted" in wrong:
        return Loss(total / len(y), len(y) if "all_rows_counted" in wrong else N)
    if "sum" in wrong:
        return Loss(total, N)
    if "classes" in wrong:
        return Loss(total / max(N, 1) / z.shape[-1], N)
    return Loss(total / (N if "nothing" in wrong else max(N, 1)), N)


def basic(key):
    """The function with one of the mistakes in MORE."""

    def code(logits, labels, label_smoothing=0.0):
        K = logits.shape[-1]
        mask = labels != IGNORED
        at, N = labels.clamp(min=0).long()[..., None], max(int(mask.sum()), 1)
        log_y_hat = logits.log_softmax(0 if key == "axis_0" else -1)
        picked = {
            "sigmoid": lambda: torch.nn.functional.logsigmoid(logits),
            "no_log": lambda: log_y_hat.exp(),
            "no_softmax": lambda: logits,
            "bits": lambda: log_y_hat / torch.tensor(2.0, dtype=logits.dtype).log(),
            "epsilon": lambda: (log_y_hat.exp() + 1e-8).log(),
            "clipped": lambda: log_y_hat.exp().clamp(min=1e-7).log(),
            "complement": lambda: -(1 - log_y_hat.exp()).log(),
        }.get(key, lambda: log_y_hat)()
        losses = -picked.gather(-1, at)[..., 0]
        if key == "entropy":
            losses = -(log_y_hat.exp() * log_y_hat).sum(-1)
        elif key == "own_answer":
            losses = -log_y_hat.amax(-1)
        elif key == "squares":
            losses = (log_y_hat.exp() - torch.nn.functional.one_hot(at[..., 0], K)).square().sum(-1)
        if key == "unconnected" and not mask.any():
            return Loss(torch.zeros((), dtype=logits.dtype), 0)
        losses = losses[mask] if key not in ("sentences", "ignored_as_0") else losses
        if key == "sentences":
            rows = mask.any(-1) if mask.ndim > 1 else torch.ones((), dtype=torch.bool)
            means = (losses * mask).sum(-1) / mask.sum(-1).clamp(min=1)
            return Loss(means[rows].mean() if mask.any() else logits.sum() * 0, int(mask.sum()))
        if key == "ignored_as_0":
            return Loss(losses.sum() / N, int(mask.sum()))
        value = losses.sum() / N * (-1 if key == "sign" else 1)
        return Loss(value, labels.numel() if key == "count_all" else N if key == "count_one" else int(mask.sum()))

    return code


MORE = """  key · what it looks like · a question
sentences · the mean is taken of each sentence's mean, not of all labels that count ·
    one sentence has 2 labels, another 200: how much should each single label weigh?
positive · labels of class 0 are left out together with those of −100: `labels > 0` ·
    is 0 a class like any other here?
sign · the minus sign is missing ·
    the logarithm of a probability is negative: should a loss be negative?
bits · the logarithm has base 2 ·
    which base does the logarithm have that undoes exp?
no_log · it is minus the probability of the label, without the logarithm ·
    how much does your loss punish a model that gives the right class the probability 0?
no_softmax · it is minus the logit of the label: there is no softmax ·
    if you add 5 to all logits, should the loss change?
sigmoid · each logit goes through a sigmoid instead of the softmax ·
    what do your probabilities of one row sum to?
axis_0 · the softmax runs along the first axis instead of the last ·
    which axis of the logits holds the classes?
entropy · it is the entropy of the prediction: the label is never used ·
    if another class had been the right one, should the loss be the same?
own_answer · the loss is taken at the class that the model finds most likely, not at the label ·
    if another class had been the right one, should the loss be the same?
squares · it is the squared difference between probabilities and answer ·
    the task asks for minus a logarithm: where is it in your code?
complement · the logarithm is taken of 1 − ŷ ·
    if the model is certain and right, should the loss be near 0 or very large?
epsilon · a small number is added inside the logarithm ·
    if the model is certain and wrong, by how much does your loss differ from the true one?
clipped · the probabilities are cut off from below before the logarithm ·
    if the model is certain and wrong, by how much does your loss differ from the true one?
ignored_as_0 · labels of −100 are scored as if they were class 0, and only not counted ·
    you divide by the labels that count: which losses are in the sum?
count_all · the value is right, but the count includes the labels that are −100 ·
    how many labels count?
unconnected · if no label counts, the 0 has nothing to do with the logits: no gradient of 0 can flow back ·
    what does backward() do with a number that was not computed from the logits?
count_one · the value is right, but the count is 1 where no label counts ·
    how many labels count if all are −100?
"""


def loop(logits, labels, label_smoothing=0.0):
    K, total, N = logits.shape[-1], logits.sum() * 0, 0
    for z, y in zip(logits.reshape(-1, K), labels.reshape(-1).tolist()):
        if y != IGNORED:
            total = total + torch.logsumexp(z, 0) - z[y]
            N += 1
    return Loss(total / N if N else total, N)


def one_hot(logits, labels, label_smoothing=0.0):
    mask = labels != IGNORED
    answer = torch.nn.functional.one_hot(labels.clamp(min=0).long(), logits.shape[-1]) * mask[..., None]
    total = -torch.einsum("...k,...k->", answer.to(logits.dtype), logits.log_softmax(-1))
    return total / mask.sum().clamp(min=1), int(mask.sum())


def twice_the_log(logits, labels, label_smoothing=0.0):
    log_y_hat = logits.log_softmax(-1).log_softmax(-1).flatten(0, -2)  # the second log-softmax changes nothing
    y = labels.flatten().long()
    losses = torch.where(y == IGNORED, 0.0, -log_y_hat.gather(1, y.clamp(min=0)[:, None])[:, 0])
    return Loss(losses.sum() / max(int((y != IGNORED).sum()), 1), int((y != IGNORED).sum()))


def torchs(logits, labels, label_smoothing=0.0):
    total = torch.nn.functional.nll_loss(logits.log_softmax(-1).flatten(0, -2), labels.flatten(), reduction="sum")
    return Loss(total / max(1, (labels != IGNORED).sum().item()), (labels != IGNORED).sum().item())


def tensor(array):
    return torch.from_numpy(array)


def batch(rng, *shape, ignored=0):
    """Logits [.., K] and labels [..], with class 0 among them. The last `ignored` of each row do not count and have large logits."""
    logits, labels = rng.normal(scale=2, size=shape), rng.integers(shape[-1], size=shape[:-1])
    labels.flat[0] = 0
    if ignored:
        labels[..., -ignored:] = IGNORED
        logits[..., -ignored:, :] *= 1e3
    return {"logits": tensor(logits), "labels": tensor(labels)}


def ragged(rng, *counts, K):
    """A batch of sentences; sentence b has `counts[b]` labels that count, at any place, the last class among them."""
    made = batch(rng, len(counts), max(counts) + 2, K)
    for row, count in zip(made["labels"], counts):
        row[torch.from_numpy(rng.permutation(len(row))[count:])] = IGNORED
        row[row != IGNORED] = tensor(np.resize([K - 1, 0, 1], count))
    return made


def probes(rng):
    return {
        "every label counts": batch(rng, 5, 7),
        "sentences with different numbers of labels": ragged(rng, 1, 5, 3, K=4),
        "a sentence without any label that counts": ragged(rng, 4, 0, 2, K=3),
        "three labels of eight do not count": batch(rng, 8, 5, ignored=3),
        "sentences, padded": batch(rng, 2, 4, 6, ignored=1),
    }


def edges(rng):
    nothing = batch(rng, 3, 4)
    nothing["labels"] = torch.full_like(nothing["labels"], IGNORED)
    large = batch(rng, 4, 5)
    large["logits"] = large["logits"] * 1e3
    large["labels"] = large["logits"].argmin(-1)
    sure = {"logits": 40.0 * torch.eye(4, dtype=torch.float64)[[2, 0, 1]], "labels": torch.tensor([2, 0, 3])}
    return {
        "logits of a thousand": large,
        "a model that is certain": sure,
        "no label counts": nothing,
        "a single example": batch(rng, 1, 3),
        "as many examples as classes": batch(rng, 4, 4),
        "four axes": batch(rng, 2, 3, 2, 5, ignored=1),
    }


def ignored_twice(rng):
    first = batch(rng, 6, 4, ignored=2)
    other = {**first, "logits": first["logits"].clone()}
    other["logits"][-2:] += 7
    return {"some logits": first, "other logits where nothing counts": other}


EXERCISE = Exercise(
    target="minilm.training.losses.cross_entropy",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="Compute the loss of every classifier and every language model from the logits. A label of −100 does not "
    "count: leave it out of the sum and of the number that the sum is divided by. Return Loss(value, count). "
    "(label_smoothing belongs to exercise 28: ignore it here.)",
    returns={"value": "", "count": ""},
    tiny=lambda: {
        "logits": torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0], [9.0, 0.0, 0.0]], dtype=torch.float64),
        "labels": torch.tensor([2, 0, IGNORED]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the logits of rows that do not count have no influence",
            ignored_twice,
            lambda a, b: abs(a[0] - b[0]) < 1e-9,
        ),
        Property(
            "if all logits are equal, the loss is log K",
            lambda rng: {"z": {"logits": torch.zeros(3, 5, dtype=torch.float64), "labels": torch.arange(3)}},
            lambda out: abs(out[0] - torch.tensor(5.0).double().log().item()) < 1e-9,
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {
            "one label of four does not count": batch(rng, 4, 3, ignored=1),
            "no label counts": batch(rng, 2, 3) | {"labels": torch.tensor([IGNORED, IGNORED])},
        },
        wrt=("logits",),
    ),
    needs=("softmax", "log_softmax"),
    forbidden=("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss"),
    steps=(
        "merge all axes but the last: logits [N, K], labels [N]; keep only the rows whose label is not −100",
        "the log-softmax of the logits [N, K]",
        "minus its entry at the label: one loss per example [N]",
        "the mean of these losses, and how many there are; if no label counts, the mean is 0, not 0/0",
    ),
    right={
        "a loop": loop,
        "one-hot and einsum": one_hot,
        "the log-softmax twice": twice_the_log,
        "the sum by torch, divided by hand": torchs,
    },
    wrong={
        "twice": Wrong(
            "the logits go through a softmax first, and then through a second one inside the loss",
            "does the loss expect logits or probabilities, and how small can yours become?",
        ),
        "sum": Wrong(
            "the losses are summed, not averaged", "what happens to your loss when the batch is twice as large?"
        ),
        "all_rows": Wrong(
            "the sum is divided by the number of all labels, including those that are −100",
            "if you add ten labels that do not count, should the loss change?",
            family="all",
        ),
        "all_rows_counted": Wrong(
            "labels of −100 are counted like all others",
            "if you add ten labels that do not count, should the loss or the count change?",
            family="all",
        ),
        "classes": Wrong(
            "the mean is taken over the classes as well",
            "if all logits are equal, should the loss be log K or log K / K?",
        ),
        "nothing": Wrong(
            "if no label counts, 0 is divided by 0",
            "what should the loss be if no label counts, and what would NaN do to the weights?",
        ),
        "class_0": Wrong(
            "labels of class 0 are left out instead of labels of −100",
            "is 0 a class like any other here?",
        ),
        "log_of_softmax": Wrong(
            "the logarithm is taken of a softmax that may have rounded to 0",
            "what is the softmax of (0, 1000), and what is its log?",
        ),
        **listed(MORE, lambda key: None if key == "positive" else basic(key)),
    },
    flawed=flawed,
    hints=(
        "The loss of one example is −log of the probability that the model gives to the right class. It is easiest to remove "
        "the rows whose label is −100 first, before you compute anything with them.",
        "logits [*batch, K] → [N, K], labels → [N]; mask = labels ≠ −100 [N]; log_softmax of the rows that count; pick one "
        "entry per row with gather or by indexing [rows, labels]; sum / max(how many, 1).",
        "z, y = the rows that count;  log_y_hat = z.log_softmax(-1);  losses = -log_y_hat[row i, y[i]];  return "
        "Loss(losses.sum() / max(len(losses), 1), len(losses))",
    ),
)
