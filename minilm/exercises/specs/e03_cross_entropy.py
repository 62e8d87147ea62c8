r"""Cross-entropy with labels that do not count.  F08, F11, F25."""

import torch

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong
from minilm.training.losses import Loss

IGNORED = -100


def flawed(logits, labels, label_smoothing=0.0, wrong=frozenset()):
    z, y = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1).long()
    mask = y != (0 if "class_0" in wrong else IGNORED)
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


def probes(rng):
    return {
        "every label counts": batch(rng, 5, 7),
        "three labels of eight do not count": batch(rng, 8, 5, ignored=3),
        "sentences, padded": batch(rng, 2, 4, 6, ignored=1),
    }


def edges(rng):
    nothing = batch(rng, 3, 4)
    nothing["labels"] = torch.full_like(nothing["labels"], IGNORED)
    large = batch(rng, 4, 5)
    large["logits"] = large["logits"] * 1e3
    return {"logits of a thousand": large, "no label counts": nothing, "a single example": batch(rng, 1, 3)}


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
        inputs=lambda rng: {"one label of four does not count": batch(rng, 4, 3, ignored=1)}, wrt=("logits",)
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
