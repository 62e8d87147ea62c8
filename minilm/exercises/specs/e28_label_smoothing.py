r"""Label smoothing.  F08."""

import torch

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong
from minilm.training.losses import Loss

IGNORED = -100


def flawed(logits, labels, label_smoothing=0.0, wrong=frozenset()):
    K, eps = logits.shape[-1], label_smoothing
    z, y = logits.reshape(-1, K), labels.reshape(-1).long()
    counts = y != IGNORED
    log_y_hat = z.log_softmax(-1)
    share = 1 / K if "one_v" in wrong else eps / (K - 1) if "others" in wrong else eps / K
    if "column_0" in wrong:
        share = eps / (K - 1)
    kept = 1.0 if "kept" in wrong else eps if "polarity" in wrong else 1 - eps
    if "polarity" in wrong:
        share = (1 - eps) / K
    if "no_smoothing" in wrong:
        kept, share = 1.0, 0.0
    label = torch.nn.functional.one_hot(y.clamp(min=0), K).to(z.dtype)
    spread = torch.full_like(label, share)
    if "others" in wrong:
        spread = spread * (1 - label)
    if "column_0" in wrong:
        spread = torch.cat([torch.zeros_like(spread[:, :1]), spread[:, 1:]], dim=1)
    if "mean_of_p" in wrong:  # the logarithm of the mean, not the mean of the logarithms
        losses = -kept * (label * log_y_hat).sum(-1) - eps * (log_y_hat.exp().mean(-1)).log()
    else:
        losses = -((kept * label + spread) * log_y_hat).sum(-1)
    if "rows" in wrong:  # the label of a row that does not count is left out, its ε/K is not
        losses = torch.where(counts, losses, -(spread * log_y_hat).sum(-1))
        return Loss(losses.sum() / max(int(counts.sum()), 1), int(counts.sum()))
    total = losses[counts].sum()
    return Loss(total / (len(y) if "over_pads" in wrong else max(int(counts.sum()), 1)), int(counts.sum()))


def loops(logits, labels, label_smoothing=0.0):
    K, total, N = logits.shape[-1], logits.sum() * 0, 0
    for z, y in zip(logits.reshape(-1, K), labels.reshape(-1).tolist()):
        if y == IGNORED:
            continue
        for k in range(K):
            q = label_smoothing / K + (1 - label_smoothing) * (k == y)
            total = total + q * (torch.logsumexp(z, 0) - z[k])
        N += 1
    return total / max(N, 1), N


def whole_answers(logits, labels, label_smoothing=0.0):
    K, counts = logits.shape[-1], labels != IGNORED
    q = torch.eye(K, dtype=logits.dtype)[labels.clamp(min=0)] * (1 - label_smoothing) + label_smoothing / K
    total = torch.einsum("...k,...k,...->", q, -logits.log_softmax(-1), counts.to(logits.dtype))
    return Loss(total / counts.sum().clamp(min=1), int(counts.sum()))


def two_parts(logits, labels, label_smoothing=0.0):
    """log Σ exp z once, less what the answer weighs of the logits themselves."""
    z, y = logits.flatten(0, -2), labels.flatten()
    z, y = z[y != IGNORED], y[y != IGNORED]
    right, mean = z[torch.arange(len(y)), y], z.mean(-1)
    losses = z.logsumexp(-1) - (right + label_smoothing * (mean - right))
    return Loss(losses.mean() if len(y) else z.sum(), len(y))


def torchs(logits, labels, label_smoothing=0.0):
    z, y = logits.flatten(0, -2), labels.flatten()
    N = int((y != IGNORED).sum())
    q = torch.zeros_like(z).scatter(1, y.clamp(min=0)[:, None], 1 - label_smoothing) + label_smoothing / z.shape[-1]
    total = torch.nn.functional.kl_div(z.log_softmax(-1), q, reduction="none").sum(-1) - (q * q.log()).nansum(-1)
    return Loss(torch.where(y != IGNORED, total, 0.0).sum() / max(N, 1), N)


def batch(rng, *shape, ignored=0, label_smoothing=0.2):
    """Logits [.., K] and labels [..], class 0 among them; the last `ignored` of each row do not count and have large logits."""
    logits, labels = rng.normal(scale=2, size=shape), rng.integers(shape[-1], size=shape[:-1])
    labels.flat[0] = 0
    if ignored:
        labels[..., -ignored:] = IGNORED
        logits[..., -ignored:, :] *= 1e3
    return {
        "logits": torch.from_numpy(logits),
        "labels": torch.from_numpy(labels),
        "label_smoothing": label_smoothing,
    }


def probes(rng):
    return {
        "every label counts": batch(rng, 5, 7),
        "three labels of eight do not count": batch(rng, 8, 5, ignored=3, label_smoothing=0.1),
        "sentences, padded": batch(rng, 2, 4, 6, ignored=1, label_smoothing=0.3),
        "two classes": batch(rng, 4, 2, label_smoothing=0.15),
    }


def edges(rng):
    nothing = batch(rng, 3, 4)
    nothing["labels"] = torch.full_like(nothing["labels"], IGNORED)
    large = batch(rng, 4, 5)
    large["logits"] = large["logits"] * 1e3
    return {
        "no smoothing": batch(rng, 4, 5, label_smoothing=0.0),
        "nothing left of the label": batch(rng, 4, 5, label_smoothing=1.0),
        "logits of thousands": large,
        "nothing counts": nothing,
        "a single label": batch(rng, 1, 5),
    }


def other_rows(rng):
    first = batch(rng, 6, 4, ignored=2)
    other = {**first, "logits": first["logits"] * torch.tensor([1.0, 1, 1, 1, -1, 3])[:, None]}
    return {"some logits": first, "other logits where nothing counts": other}


def sure(rng):
    """A model as sure as it should be, and one far surer."""
    y = torch.from_numpy(rng.integers(4, size=5))
    q = 0.8 * torch.eye(4, dtype=torch.float64)[y] + 0.05
    answer = {"labels": y, "label_smoothing": 0.2}
    return {"ŷ as smooth as the answer": {"logits": q.log(), **answer}, "ŷ surer": {"logits": 5 * q.log(), **answer}}


EXERCISE = Exercise(
    target="minilm.training.losses.cross_entropy",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="The cross-entropy of exercise 3 with an answer that is not quite certain: the label keeps 1 − ε (ε is `label_smoothing`), "
    "and ALL K classes, the label's own among them, share ε. A label of −100 does not count. Return Loss(value, count).",
    docstring="""The mean cross-entropy over the N labels that are not −100, with the answers q = (1 − ε)·onehot(y) + ε/K.  F08.

    `logits` [.., K], `labels` [..], ε = `label_smoothing`. Where nothing counts the value is 0 and so is the gradient.
    Source: Szegedy et al. (2016), Rethinking the Inception Architecture, §7.""",
    returns={"value": "", "count": ""},
    tiny=lambda: {
        "logits": torch.tensor([[0.0, 1.0, 2.0], [3.0, 3.0, 3.0], [9.0, 0.0, 0.0]], dtype=torch.float64),
        "labels": torch.tensor([2, 0, IGNORED]),
        "label_smoothing": 0.3,
    },
    probes=probes,
    edges=edges,
    properties=(
        Property("what does not count may have any logits", other_rows, lambda a, b: abs(a[0] - b[0]) < 1e-9),
        Property("to be surer than the answer costs more than to be as sure", sure, lambda a, b: bool(a[0] < b[0])),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"one label of four does not count": batch(rng, 4, 3, ignored=1)}, wrt=("logits",)
    ),
    needs=("log_softmax", "cross_entropy"),
    forbidden=("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss"),
    steps=(
        "logits as [N, K] and labels as [N], only those that count",
        "the log softmax [N, K]",
        "of each row: 1 − ε times the label's part, and ε times the mean over all K classes",
        "the mean over the labels that count, 0 where there are none",
    ),
    right={"loops": loops, "whole answers": whole_answers, "two parts": two_parts, "by KL divergence": torchs},
    wrong={
        "one_v": Wrong(
            "each class gets 1/K instead of ε/K", "all the shares of an answer together: what do yours sum to?"
        ),
        "others": Wrong(
            "ε is shared by the K − 1 other classes alone (the other convention)",
            "who shares ε here: the others, or all K classes?",
        ),
        "column_0": Wrong(
            "class 0 gets no share, as if it were padding",
            "how does padding show here: by a class, or by the label −100?",
        ),
        "rows": Wrong(
            "rows that do not count get their share of ε all the same",
            "the label of a padded word is gone: what is left of its loss?",
        ),
        "over_pads": Wrong(
            "the mean is taken over all rows, those that do not count included",
            "twice as much padding: should the loss be half as large?",
        ),
        "kept": Wrong("the label keeps 1 instead of 1 − ε", "where does the ε come from that the classes share?"),
        "polarity": Wrong("ε and 1 − ε are exchanged", "with ε = 0, what should be left of the label?"),
        "no_smoothing": Wrong("there is no smoothing", "what does your loss do with label_smoothing?"),
        "mean_of_p": Wrong(
            "the logarithm is taken of the mean probability, not the mean of the logarithms",
            "Σₖ ε/K · log ŷₖ: does the sum stand inside the logarithm?",
        ),
    },
    flawed=flawed,
    hints=(
        "Cross-entropy is −Σₖ qₖ log ŷₖ for any distribution q, not only for a one-hot one. Here q is nearly one-hot: ε/K everywhere, "
        "and 1 − ε more at the label.",
        "rows that count: z [N, K], y [N] → log ŷ [N, K] → −log ŷ at the label [N], times 1 − ε, plus −mean over k of log ŷ [N], "
        "times ε → the sum over N.",
        "keep the counting rows;  l = log softmax;  a = minus l at [row, label];  b = minus the mean of l over the last axis;  "
        "value = sum of ((1 minus eps) a + eps b) / max(N, 1);  return Loss(value, N)",
    ),
)
