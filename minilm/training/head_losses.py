"""The losses of heads whose labels are no classes: several labels, a number, the start and the end of an answer.  F05, F28."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.spans import inside_text
from minilm.models.heads import ONE_CLASS, SEVERAL, SpanHeadConfig
from minilm.training.losses import Loss, binary_cross_entropy, span_loss, squared_error


def has_classes(head: Any) -> bool:
    """Whether exactly one class, or one tag per token, is right, so that the loss is a cross-entropy (or that of a CRF)."""
    return not isinstance(head, SpanHeadConfig) and getattr(head, "problem_type", ONE_CLASS) == ONE_CLASS


def loss_without_classes(head: Any, logits: Float[Tensor, "..."], batch: Batch, label_smoothing: float = 0.0) -> Loss:
    """The loss of several labels [B, K], of a number [B, 1], or of spans [B, T, 2].

    Raises InputError for label smoothing, which shares a class's probability among the others.
    """
    assert batch.labels is not None
    if label_smoothing:
        raise InputError(f"label_smoothing {label_smoothing} is for classes, and this head has none: set it to 0.")
    if isinstance(head, SpanHeadConfig):
        return span_loss(logits, batch.labels, inside_text(batch.input_ids, batch.token_type_ids, batch.attention_mask))
    if head.problem_type == SEVERAL:
        return binary_cross_entropy(logits, batch.labels.to(logits.dtype))
    return squared_error(logits[:, 0], batch.labels.to(logits.dtype), head.scale)
