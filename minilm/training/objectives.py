r"""What a model is trained for: the loss of one batch, and the figures that are measured on held-out batches.

An objective is all that `training/run.py` needs to know about a task:

    step(model, batch)       the loss to minimise, the values to display, and the number of tokens processed
    measure(model, batches)  figures over held-out batches, by name
    summary(measured)        the same figures as a piece of a sentence

Letters:  B batch · T length · K classes · V vocabulary
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.training.loop import Step
from minilm.training.losses import Loss, cross_entropy


class Objective(Protocol):
    """See the top of the file."""

    def step(self, model: nn.Module, batch: Batch) -> Step: ...

    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]: ...

    def summary(self, measured: dict[str, float]) -> str: ...


class Mean:
    """A mean over everything that counts in several batches, not a mean of the batches' means."""

    def __init__(self) -> None:
        self.total, self.count = 0.0, 0

    def add(self, loss: Loss) -> None:
        self.total, self.count = self.total + float(loss.value) * loss.count, self.count + loss.count

    @property
    def value(self) -> float:
        return self.total / max(self.count, 1)


@dataclass(frozen=True)
class BertPretraining:
    r"""L = L_MLM + w · L_NSP, each a mean over what counts for it alone.  F25, F26, F27.

    One loss with one label for "does not count" over both would lose every pair labelled 0. w is `next_sentence_weight`; 0
    leaves next sentence out.
    """

    next_sentence_weight: float = 1.0

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Loss, Loss, Tensor]:
        """The masked-token loss, the next-sentence loss, and how many pairs were judged right."""
        masked = (batch.labels.flatten() != IGNORED).nonzero().flatten()  # [M]
        output = model(batch.input_ids, batch.token_type_ids, batch.attention_mask, masked)
        mlm = cross_entropy(output.mlm_logits, batch.labels.flatten()[masked])
        nsp = cross_entropy(output.nsp_logits, batch.nsp_labels)
        return mlm, nsp, (output.nsp_logits.argmax(dim=-1) == batch.nsp_labels).sum()

    def step(self, model: nn.Module, batch: Batch) -> Step:
        mlm, nsp, _ = self.losses(model, batch)
        shown = {"masked words": mlm.value.detach(), "next sentence": nsp.value.detach()}
        return Step(mlm.value + self.next_sentence_weight * nsp.value, shown, batch.tokens)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """Masked-token loss in nats, next-sentence loss and accuracy, each over everything that counts."""
        model.eval()
        mlm, nsp, right = Mean(), Mean(), 0
        for batch in batches:
            one, other, correct = self.losses(model, batch)
            mlm.add(one)
            nsp.add(other)
            right += int(correct)
        accuracy = right / nsp.count
        return {"mlm_loss": mlm.value, "nsp_loss": nsp.value, "nsp_accuracy": accuracy, "pairs": nsp.count}

    def summary(self, measured: dict[str, float]) -> str:
        return f"masked words {measured['mlm_loss']:.3f} nats  next sentence {measured['nsp_accuracy']:.1%}"


@dataclass(frozen=True)
class CausalLM:
    r"""−1/N Σ log P(wₜ₊₁ ∣ w₁ … wₜ) over the tokens of a text but the first.  F17, F23.

    The model is called as `model(input_ids, attention_mask=…)` and returns logits [B, T, V]. The labels are the inputs
    moved one to the left, or `batch.labels` if they are given, for instance to leave a prompt out.
    """

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        logits = model(batch.input_ids, attention_mask=batch.attention_mask)[:, :-1]
        labels = batch.input_ids if batch.labels is None else batch.labels
        if batch.attention_mask is not None:
            labels = labels.masked_fill(~batch.attention_mask, IGNORED)
        return cross_entropy(logits, labels[:, 1:])

    def step(self, model: nn.Module, batch: Batch) -> Step:
        loss = self.loss(model, batch)
        return Step(loss.value, {"loss": loss.value.detach()}, batch.tokens)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """The loss in nats per token, and its exponential, the perplexity."""
        model.eval()
        mean = Mean()
        for batch in batches:
            mean.add(self.loss(model, batch))
        return {"loss": mean.value, "perplexity": float(torch.tensor(mean.value).exp())}

    def summary(self, measured: dict[str, float]) -> str:
        return f"next token {measured['loss']:.3f} nats  perplexity {measured['perplexity']:.1f}"


@dataclass(frozen=True)
class Classification:
    r"""H(y, softmax(logits)): over texts [B, K], or over the tokens that carry a tag [B, T, K].  F08, F28.

    `head_only` computes everything below the head as it will be used later, without dropout, because it is frozen.
    """

    label_smoothing: float = 0.0
    head_only: bool = False

    def loss(self, model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Loss:
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        return cross_entropy(logits, batch.labels, label_smoothing)

    def step(self, model: nn.Module, batch: Batch) -> Step:
        if self.head_only:
            model.eval()
        loss = self.loss(model, batch, self.label_smoothing).value
        return Step(loss, {"loss": loss.detach()}, batch.tokens)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """The loss without smoothing, over everything that carries a label."""
        model.eval()
        mean = Mean()
        for batch in batches:
            mean.add(self.loss(model, batch))
        return {"loss": mean.value}

    def summary(self, measured: dict[str, float]) -> str:
        return f"loss {measured['loss']:.3f}"
