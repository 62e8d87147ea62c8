r"""The losses, written by hand, on logits.  F01, F04–F06, F08, F11, F25–F28, F31, F35.

All of them are the same empirical risk, L(θ) = 1/N Σᵢ ℓ(yᵢ, P(y∣xᵢ; θ)) (F01), and differ in what the N examples are:

    F05  a yes or no per example      binary_cross_entropy(logits [N], targets [N])
    F08  a class per example          cross_entropy(logits [N, K], labels [N])
    F25  the masked words             cross_entropy(logits [B, T, V], labels [B, T]), −100 where nothing was masked
    F26  "is next" or "is not"        cross_entropy(logits [B, 2], labels [B]), −100 for a row that is no pair
    F27  pretraining                  F25 + F26
    F28  a task, F11 a sequence       cross_entropy with the K of that task
    F31  the tags of a sentence       crf_loss(crf, logits [B, T, K], labels [B, T]), scored together

Letters:  N examples · K classes
A loss is the mean over the positions that count, and says how many they are. Labels that do not count are −100, never 0:
0 is a class like any other (for instance "is next"), and a loss that skips it never learns that class.
"""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.layers.crf import CRF


class Loss(NamedTuple):
    """The mean over the positions that count, in nats, and how many they are."""

    value: Float[Tensor, ""]
    count: int  # type: ignore[assignment] # it hides the method `count` of a tuple


def cross_entropy(
    logits: Float[Tensor, "*batch K"], labels: Int[Tensor, "*batch"], label_smoothing: float = 0.0
) -> Loss:
    r"""−1/N Σᵢ log softmax(zᵢ)(yᵢ), over the N labels that are not −100.  F08, F11, F25, F26, F28.

    log softmax(z)ₖ = zₖ − log Σⱼ exp zⱼ, never the logarithm of a softmax that may have rounded to 0.
    With smoothing ε the label keeps 1 − ε and the K classes share ε:  (1 − ε)·(−log ŷ(y)) − ε/K Σₖ log ŷ(k).

    Where nothing counts the value is 0 and so is the gradient (the mean of nothing would be NaN).

    Raises:
        InputError: a label is neither −100 nor in 0 … K − 1, there is not one label for each row, or the smoothing is not in [0, 1].
    Source: Szegedy et al. (2016), Rethinking the Inception Architecture, §7, for the smoothing.
    """
    if not 0 <= label_smoothing <= 1:
        raise InputError(f"label_smoothing is {label_smoothing}; it is a probability, so give a number from 0 to 1.")
    _one_for_each(logits.shape[:-1], labels)
    z, y = _counted(logits.flatten(0, -2), labels.flatten().long())
    K = z.size(-1)
    if len(y):
        low, high = (int(bound) for bound in y.aminmax())
        if low < 0 or high >= K:
            wrong = low if low < 0 else high
            raise InputError(
                f"label {wrong} is outside 0..{K - 1}, the {K} classes of the logits; mark what does not count by -100."
            )
    log_y_hat = z.log_softmax(dim=-1)  # [N, K]; one kernel, and half the time of z − z.logsumexp
    losses = -log_y_hat.gather(-1, y[:, None])[:, 0]  # [N]
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing * log_y_hat.mean(dim=-1)
    return _mean(losses)


def candidate_cross_entropy(
    logits: Float[Tensor, "*batch K"],
    labels: Int[Tensor, "*batch"],
    candidates: Int[Tensor, " K"],
    weights: Float[Tensor, " K"],
) -> Loss:
    r"""−1/N Σᵢ (zᵢ(yᵢ) − log Σₖ wₖ exp zᵢₖ): a softmax over the K `candidates`, each of which stands for wₖ classes.  F08, F23.

    The candidates are sorted; every label that is not −100 is one of them, with a weight of 1. If the others are drawn at
    random and wₖ is 1 over the probability that k is among them, the expected value of the sum is the whole sum, that of
    `cross_entropy` over all classes; and if all classes are candidates, the loss is that loss.
    Source: Jean et al. (2015), On Using Very Large Target Vocabulary for Neural Machine Translation, §3.
    """
    places = torch.searchsorted(candidates, labels.contiguous().clamp(min=0))
    return cross_entropy(logits + weights.log().to(logits), places.masked_fill(labels == IGNORED, IGNORED))


def crf_loss(
    crf: CRF,
    logits: Float[Tensor, "B T K"],
    labels: Int[Tensor, "B T"],
    begins: Bool[Tensor, " B"] | None = None,
    ends: Bool[Tensor, " B"] | None = None,
) -> Loss:
    r"""−1/N Σ log P(y ∣ x): over sentences, and divided by the number N of their words.  F31.

    The logits at labels that are not −100 are the CRF's emissions. Divided by words, and not by sentences, the loss is as
    large as that of F08 (the two are equal as long as A, start and end are 0), whatever the lengths in a batch.

    Raises InputError for a label outside −100, 0 … K − 1, for labels that take a step that the CRF's constraints forbid, or unless
    there is one label for each word.
    """
    _one_for_each(logits.shape[:-1], labels)
    emissions, attention_mask, places = labelled_first(logits, labels)
    losses = crf(emissions, labels.gather(1, places), attention_mask, begins, ends)
    count = int(attention_mask.sum())
    return Loss(losses.sum() / max(count, 1), count)


def labelled_first(
    logits: Float[Tensor, "B T K"], labels: Int[Tensor, "B T"]
) -> tuple[Float[Tensor, "B N K"], Bool[Tensor, "B N"], Int[Tensor, "B N"]]:
    """The logits at labels that are not −100, in order and without gaps, the mask for them, and their places in the row."""
    counts = labels != IGNORED
    N = max(1, int(counts.sum(1).max()))
    places = (~counts).long().argsort(dim=1, stable=True)[:, :N]
    z = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return z.gather(1, places[..., None].expand(-1, -1, z.size(-1))), counts.gather(1, places), places


def binary_cross_entropy(logits: Float[Tensor, "*batch"], targets: Float[Tensor, "*batch"]) -> Loss:
    r"""−1/N Σ [y log ŷ + (1 − y) log(1 − ŷ)] with ŷ = σ(z), over the N targets that are not −100.  F04, F05.

    On the logits this is log(1 + exp z) − y·z, whose gradient is (σ(z) − y)/N, F06. The printed form, on ŷ, takes the
    logarithm of 0 as soon as σ(z) rounds to 0 or 1; `logaddexp` avoids that by taking the larger exponent out first.
    (The usual max(z, 0) − y·z + log(1 + exp −|z|) is the same number, but autograd computes a wrong slope at z = 0.)

    Raises:
        InputError: a target is neither −100 nor in [0, 1], or there is not one target for each logit.
    """
    _one_for_each(logits.shape, targets)
    z, y = _counted(logits.flatten(), targets.flatten())
    if len(y):
        low, high = (float(bound) for bound in y.aminmax())
        if not (low >= 0 and high <= 1):
            wrong = high if low >= 0 else low
            raise InputError(
                f"target {wrong:g} is not a probability from 0 to 1; mark what does not count with {IGNORED}."
            )
    return _mean(torch.logaddexp(z, torch.zeros_like(z)) - y * z)


def contrastive(logits: Float[Tensor, "N N"]) -> Loss:
    r"""½ (CE(S, i) + CE(Sᵀ, i)): which text belongs to each picture, and which picture to each text.  F35.

    Row i and column i of the similarities S belong together; all other entries are wrong answers.
    Source: Radford et al. (2021), Learning Transferable Visual Models From Natural Language Supervision, §2.3.
    """
    i = torch.arange(len(logits), device=logits.device)
    return Loss((cross_entropy(logits, i).value + cross_entropy(logits.T, i).value) / 2, len(logits))


def squared_error(predicted: Float[Tensor, " N"], targets: Float[Tensor, " N"], scale: float = 1.0) -> Loss:
    r"""1/N Σ ((ŷ − y) / scale)², the mean squared error of N numbers.  D0 §3.2.

    `scale` is the deviation of the numbers that are learned from, so that the loss is about 1 for a model that always says
    their mean, whatever their unit; the mean squared error in that unit is scale² times as large.
    Raises InputError unless there is one target for each prediction, where they would be broadcast.
    """
    _one_for_each(predicted.shape, targets)
    return _mean(((predicted - targets.to(predicted.dtype)) / scale).square())


def span_loss(logits: Float[Tensor, "B T 2"], labels: Int[Tensor, "B 2"], inside: Bool[Tensor, "B T"]) -> Loss:
    r"""½ (−log P(start) − log P(end)), the mean over the rows whose labels are not −100.  F28.

    P is a softmax over the positions where `inside` is True: the tokens of the text, and [CLS], which stands for "the answer is
    not in this row". So a question, a separator and padding can never be an answer. Source: Devlin et al. (2019), BERT, §4.2.
    Raises InputError for a label at a position that is not inside.
    """
    counts = (labels != IGNORED).all(dim=1)
    z, y, inside = logits[counts], labels[counts], inside[counts]
    if len(y) and not inside.gather(1, y).all():
        raise InputError(
            "an answer lies outside the text: its first and last token must be tokens of the text, or [CLS]."
        )
    z = z.masked_fill(~inside[:, :, None], -torch.inf).transpose(1, 2).reshape(-1, z.size(1))  # [2B, T]
    loss = cross_entropy(z, y.flatten())
    return Loss(loss.value, len(y))


def l2(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    r"""½ Σ θ², summed over all parameters; add λ times this to a loss.

    Because of the ½, its gradient is θ itself, so λ·l2 does what `SGD` and `Adam` do with `weight_decay` = λ. `AdamW` does
    something else: its decay does not go through the moments. Raises InputError if there are no parameters.
    """
    parameters = list(parameters)
    if not parameters:
        raise InputError("l2 got no parameters: pass model.parameters(), not an iterator that is already used up.")
    return 0.5 * reduce(torch.add, (parameter.square().sum() for parameter in parameters))


def _one_for_each(predicted: torch.Size, labels: Tensor) -> None:
    """Raises InputError unless there is one label for each prediction: `gather` would take the first rows, and say nothing."""
    if predicted != labels.shape:
        raise InputError(
            f"the labels have the shape {list(labels.shape)}, and what is predicted {list(predicted)}: give one label for each."
        )


def _counted(z: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of `z` and `y` that count. The others are left out instead of being multiplied by 0, because 0 × inf is NaN."""
    if z.dtype in (torch.float16, torch.bfloat16):
        z = z.float()  # three digits are enough for an activation, but not for a loss curve
    mask = y != IGNORED
    return (z, y) if mask.all() else (z[mask], y[mask])


def _mean(losses: Float[Tensor, " N"]) -> Loss:
    return Loss(losses.sum() / max(len(losses), 1), len(losses))
