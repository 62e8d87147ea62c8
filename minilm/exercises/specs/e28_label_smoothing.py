r"""Label smoothing.  F08.  25 minutes, medium."""

import torch

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.exercises.specs.e03_cross_entropy import ragged
from minilm.training.losses import Loss

IGNORED = -100


def flawed(logits, labels, label_smoothing=0.0, wrong=frozenset()):
    K, eps = logits.shape[-1], label_smoothing
    z, y = logits.reshape(-1, K), labels.reshape(-1).long()
    mask = y > 0 if "positive" in wrong else y != IGNORED
    log_y_hat = z.log_softmax(-1)
    if "no_log" in wrong:
        log_y_hat = log_y_hat.exp()
    if "no_softmax" in wrong:
        log_y_hat = z
    if "axis_0" in wrong and len(z):
        log_y_hat = z.log_softmax(0)
    if "bits" in wrong:
        log_y_hat = log_y_hat / torch.tensor(2.0, dtype=z.dtype).log()
    if "epsilon" in wrong:
        log_y_hat = (log_y_hat.exp() + 1e-8).log()
    if "fixed" in wrong:
        eps = 0.1
    share = 1 / K if "one_v" in wrong else eps / (K - 1) if "others" in wrong else eps / K
    if "column_0" in wrong:
        share = eps / (K - 1)
    kept = 1.0 if "kept" in wrong else eps if "polarity" in wrong else 1 - eps
    if "polarity" in wrong:
        share = (1 - eps) / K
    if "not_shared" in wrong:
        share = eps
    if "only_shared" in wrong:
        kept = 0.0
    if "half" in wrong:
        kept, share = 1 - eps / 2, eps / 2 / K
    if "others_full" in wrong:
        kept = 1 - eps - share
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
    if "sign" in wrong:
        losses = -losses
    if "entropy" in wrong:  # the entropy of the answer is subtracted: a KL divergence
        q = (1 - eps) * label + eps / K
        losses = losses + torch.special.xlogy(q, q).sum(-1)
    if "sentences" in wrong:
        rows = losses.masked_fill(~mask, 0.0).reshape(labels.shape).sum(-1), mask.reshape(labels.shape).sum(-1)
        some = rows[1] > 0
        return Loss((rows[0] / rows[1].clamp(min=1)).sum() / max(int(some.sum()), 1), int(mask.sum()))
    if "classes" in wrong:
        losses = losses / K
    if "rows" in wrong:  # a row that does not count loses its label, but keeps its ε/K
        losses = torch.where(mask, losses, -(spread * log_y_hat).sum(-1))
        return Loss(losses.sum() / max(int(mask.sum()), 1), int(mask.sum()))
    total = losses[mask].sum()
    if wrong & {"sum", "count_all"}:
        return Loss(
            total / (1 if "sum" in wrong else max(int(mask.sum()), 1)),
            len(y) if "sum" not in wrong else int(mask.sum()),
        )
    return Loss(total / (len(y) if "over_pads" in wrong else max(int(mask.sum()), 1)), int(mask.sum()))


MORE = """  key · what it looks like · a question
sentences · the mean is taken of each sentence's mean, not of all labels that count ·
    one sentence has 2 labels, another 200: how much should each single label weigh?
positive · labels of class 0 are left out together with those of −100: `labels > 0` ·
    is 0 a class like any other here?
sign · the minus sign is missing ·
    the logarithm of a probability is negative: should a loss be negative?
bits · the logarithm has base 2 ·
    which base does the logarithm have that undoes exp?
no_log · the probabilities are used without the logarithm ·
    the docstring asks for a cross-entropy: where is its logarithm?
no_softmax · the logits are used as log-probabilities ·
    does exp of a row of logits sum to 1?
axis_0 · the softmax runs along the first axis instead of the last ·
    which axis of the logits holds the classes?
epsilon · a small number is added inside the logarithm ·
    if the model is certain and wrong, by how much does your loss differ from the true one?
fixed · ε is a constant of your own, not label_smoothing ·
    where does your code use label_smoothing?
not_shared · every class gets ε, instead of a share of it ·
    what do all the shares of one answer sum to in your code?
only_shared · the label keeps nothing of its own: all classes get ε/K ·
    what do all the shares of one answer sum to in your code?
half · only half of ε is shared ·
    what share does the label keep in the formula?
others_full · the label keeps 1 − ε and no share of ε ·
    who shares ε here: only the other classes, or all K?
entropy · the entropy of the answer is subtracted: this is the KL divergence ·
    if ŷ is exactly the answer q, should a cross-entropy be 0?
sum · the losses are summed, not averaged ·
    what happens to your loss when the batch is twice as large?
classes · the mean is taken over the classes as well ·
    if all logits are equal, should the loss be log K or log K / K?
count_all · the value is right, but the count includes the labels that are −100 ·
    how many labels count?
"""


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
    K, mask = logits.shape[-1], labels != IGNORED
    q = torch.eye(K, dtype=logits.dtype)[labels.clamp(min=0)] * (1 - label_smoothing) + label_smoothing / K
    total = torch.einsum("...k,...k,...->", q, -logits.log_softmax(-1), mask.to(logits.dtype))
    return Loss(total / mask.sum().clamp(min=1), int(mask.sum()))


def two_parts(logits, labels, label_smoothing=0.0):
    """log Σ exp z once, minus the mean of the logits themselves, weighted by the answer q."""
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
        "sentences with different numbers of labels": {**ragged(rng, 1, 5, 3, K=4), "label_smoothing": 0.25},
        "a sentence without any label that counts": {**ragged(rng, 4, 0, 2, K=3), "label_smoothing": 0.05},
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
    """A model that is exactly as certain as the answer, and one that is much more certain."""
    y = torch.from_numpy(rng.integers(4, size=5))
    q = 0.8 * torch.eye(4, dtype=torch.float64)[y] + 0.05
    answer = {"labels": y, "label_smoothing": 0.2}
    return {
        "ŷ as certain as the answer": {"logits": q.log(), **answer},
        "ŷ more certain": {"logits": 5 * q.log(), **answer},
    }


EXERCISE = Exercise(
    target="minilm.training.losses.cross_entropy",
    section=("02", "Many classes: softmax and cross-entropy"),
    task="Compute the cross-entropy of exercise 3 with answers that are not quite certain: the label keeps 1 − ε (ε is "
    "`label_smoothing`), and ALL K classes, including the label's own, share ε. A label of −100 does not count. Return "
    "Loss(value, count).",
    docstring="""The mean cross-entropy over the N labels that are not −100, with the answers q = (1 − ε)·onehot(y) + ε/K.  F08.

    `logits` [.., K], `labels` [..], ε = `label_smoothing`. If no label counts, the value and its gradient are 0.
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
        Property("rows that do not count may have any logits", other_rows, lambda a, b: abs(a[0] - b[0]) < 1e-9),
        Property(
            "being more certain than the answer costs more than being as certain", sure, lambda a, b: bool(a[0] < b[0])
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"one label of four does not count": batch(rng, 4, 3, ignored=1)}, wrt=("logits",)
    ),
    needs=("log_softmax", "cross_entropy"),
    forbidden=("cross_entropy", "CrossEntropyLoss", "nll_loss", "NLLLoss"),
    steps=(
        "logits as [N, K] and labels as [N], only the rows that count",
        "the log-softmax [N, K]",
        "for each row: 1 − ε times the label's part, plus ε times the mean over all K classes",
        "the mean over the labels that count, or 0 if there are none",
    ),
    right={"loops": loops, "whole answers": whole_answers, "two parts": two_parts, "by KL divergence": torchs},
    wrong={
        "one_v": Wrong(
            "each class gets 1/K instead of ε/K", "what do all the shares of one answer sum to in your code?"
        ),
        "others": Wrong(
            "only the K − 1 other classes share ε (the other convention)",
            "who shares ε here: only the other classes, or all K?",
        ),
        "column_0": Wrong(
            "class 0 gets no share, as if it were padding",
            "how is padding marked here: by a class, or by the label −100?",
        ),
        "rows": Wrong(
            "rows that do not count still get their share of ε",
            "the label of a padded position does not count: how much of its loss should be left?",
        ),
        "over_pads": Wrong(
            "the mean is taken over all rows, including those that do not count",
            "if there is twice as much padding, should the loss be half as large?",
        ),
        "kept": Wrong("the label keeps 1 instead of 1 − ε", "the classes share ε: where is it taken from?"),
        "polarity": Wrong("ε and 1 − ε are swapped", "with ε = 0, how much should the label keep?"),
        "no_smoothing": Wrong("there is no smoothing", "where does your code use label_smoothing?"),
        "mean_of_p": Wrong(
            "the logarithm of the mean probability is taken, not the mean of the logarithms",
            "Σₖ ε/K · log ŷₖ: is the sum inside the logarithm?",
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "Cross-entropy is −Σₖ qₖ log ŷₖ for any distribution q, not only for a one-hot one. Here q is nearly one-hot: every "
        "class has ε/K, and the label has 1 − ε more.",
        "rows that count: z [N, K], y [N] → log ŷ [N, K] → −log ŷ at the label [N], times 1 − ε, plus the mean over k of −log ŷ "
        "[N], times ε → the sum over the rows, divided by N.",
        "keep the rows that count;  l = log softmax;  a = minus l at [row, label];  b = minus the mean of l over the last "
        "axis;  value = sum of ((1 minus eps) a + eps b) / max(N, 1);  return Loss(value, N)",
    ),
)
