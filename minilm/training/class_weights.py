r"""Class weights: rare classes count for more, so that a model cannot win by never naming them.  F08.

    wₖ = N / (K · Nₖ)        N labels, K classes, Nₖ labels of class k: together, every class then weighs N / K
    L  = Σᵢ w(yᵢ) · (−log ŷᵢ(yᵢ)) / Σᵢ w(yᵢ)

Source:  King and Zeng (2001), Logistic Regression in Rare Events Data, §4.2.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Batch, Dataset
from minilm.examples.labels import IGNORED
from minilm.training.head_losses import has_classes
from minilm.training.loop import Step
from minilm.training.losses import Loss
from minilm.training.objectives import Classification


def weighted_cross_entropy(
    logits: Float[Tensor, "*batch K"],
    labels: Int[Tensor, "*batch"],
    weights: Float[Tensor, " K"],
    label_smoothing: float = 0.0,
) -> Loss:
    r"""Σᵢ [(1 − ε) w(yᵢ) (−log ŷᵢ(yᵢ)) + ε/K Σₖ wₖ (−log ŷᵢ(k))] / Σᵢ w(yᵢ), over the labels that are not −100.

    With smoothing ε, each class keeps its weight in the part that the K classes share. Where nothing counts, the value is 0.
    """
    z, y = logits.flatten(0, -2), labels.flatten().long()
    z, y = z[y != IGNORED], y[y != IGNORED]
    K = z.size(-1)
    log_y_hat = z.log_softmax(dim=-1)  # [N, K]
    losses = -weights[y] * log_y_hat.gather(-1, y[:, None])[:, 0]  # [N]
    if label_smoothing:
        losses = (1 - label_smoothing) * losses - label_smoothing / K * (log_y_hat @ weights)
    return Loss(losses.sum() / weights[y].sum().clamp(min=torch.finfo(weights.dtype).tiny), len(y))


def balanced_weights(examples: Dataset, K: int) -> tuple[float, ...]:
    """wₖ of every class, counted in the labels that are not −100. A class without labels has no use for a weight: it gets 0."""
    labels = np.concatenate([np.atleast_1d(label) for label in examples.labels])
    counts = np.bincount(labels[labels != IGNORED].astype(int), minlength=K)
    N = counts.sum()
    return tuple(float(N / (K * n)) if n else 0.0 for n in counts)


@dataclass(frozen=True)
class WeightedClassification(Classification):
    """`Classification` with class weights while the model learns. What is measured stays unweighted."""

    weights: tuple[float, ...] = ()

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The weighted loss with label smoothing, to minimise and to display."""
        if self.head_only:
            model.eval()
        assert batch.labels is not None
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        weights = torch.tensor(self.weights, device=logits.device, dtype=logits.dtype)
        loss = weighted_cross_entropy(logits, batch.labels, weights, self.label_smoothing).value
        return Step(loss, {"loss": loss.detach()}, batch.tokens)


def classification_for(
    model: nn.Module, examples: Dataset, weighted: bool, smoothing: float, head_only: bool
) -> Classification:
    """What a classifier is trained for, with the weights of the examples' classes if they are to be `weighted`.

    Raises InputError for weights where labels are no classes, and for a CRF, which scores whole paths.
    """
    if not weighted:
        return Classification(smoothing, head_only)
    head = getattr(model, "head_config", None)
    if head is None or not has_classes(head):
        raise InputError("class weights are for classes, and this head has none: leave them out.")
    if getattr(model, "crf", None) is not None:
        raise InputError("class weights are not for a CRF, which scores whole paths: leave one of the two out.")
    return WeightedClassification(smoothing, head_only, weights=balanced_weights(examples, len(head.labels)))
