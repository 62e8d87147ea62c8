r"""What a model is trained for: the loss of one batch, and the figures that are measured on held-out batches.

See `training/objective.py` for what an objective consists of.

Letters:  B batch · T length · K classes · V vocabulary
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.training.head_losses import has_classes, loss_without_classes
from minilm.training.loop import Step
from minilm.training.losses import Loss, candidate_cross_entropy, crf_loss, cross_entropy
from minilm.training.objective import Mean, Unchanging
from minilm.training.vocabulary_loss import vocabulary_loss

FIRST = 0.1  # the share of a run in which next sentence has its whole weight


@dataclass(frozen=True)
class BertPretraining:
    r"""L = L_MLM + w · L_NSP, each the mean over its own labels that count.  F25, F26, F27.

    In both, −100 marks what does not count; if they shared a loss that ignores label 0 instead, every pair whose B does
    follow A (label 0) would be lost. w is `next_sentence_weight`; 0 leaves next sentence out. The model is called as
    `model(input_ids, token_type_ids, attention_mask, masked)` and returns a `PretrainingOutput`; a batch needs `labels`
    [B, T] (−100 where nothing was masked) and `nsp_labels` [B] (−100 for a row that is no pair).

    After the first tenth of a run, `rest` of w is left. Next sentence has to be learned before the masked words have taken
    what the heads know of the segments for their own purposes; later it has to be kept, for which less is enough.
    """

    next_sentence_weight: float = 1.0
    rest: float = 1.0

    def at(self, progress: float) -> "BertPretraining":
        """The objective with the weight that w has when this share of the run is done."""
        if progress < FIRST or self.rest == 1:
            return self
        return replace(self, next_sentence_weight=self.next_sentence_weight * self.rest, rest=1.0)

    @property
    def curves(self) -> tuple[str, ...]:
        """Next sentence is measured only if it is learned."""
        return ("mlm_loss", "nsp_accuracy") if self.next_sentence_weight else ("mlm_loss",)

    def losses(self, model: nn.Module, batch: Batch) -> tuple[Loss, Loss, Tensor]:
        """The masked-token loss, the next-sentence loss, and the number of pairs that were classified correctly."""
        assert batch.labels is not None and batch.nsp_labels is not None
        masked = (batch.labels.flatten() != IGNORED).nonzero().flatten()  # [M]
        output = model(batch.input_ids, batch.token_type_ids, batch.attention_mask, masked)
        mlm = vocabulary_loss(output.mlm_logits, batch.labels.flatten()[masked], overwrite=True)
        nsp = cross_entropy(output.nsp_logits, batch.nsp_labels)
        return mlm, nsp, (output.nsp_logits.argmax(dim=-1) == batch.nsp_labels).sum()

    def counts(self, batch: Batch) -> tuple[int, int]:
        """How many labels of each loss count in a batch, before the model is called."""
        assert batch.labels is not None and batch.nsp_labels is not None
        return int((batch.labels != IGNORED).sum()), int((batch.nsp_labels != IGNORED).sum())

    def parts(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, Loss]]:
        """Both losses, each with its weight in the sum."""
        mlm, nsp, _ = self.losses(model, batch)
        return {"masked words": (1.0, mlm), "next sentence": (self.next_sentence_weight, nsp)}

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The weighted sum of both losses to minimise, and each of them to display."""
        mlm, nsp, _ = self.losses(model, batch)
        losses = {"masked words": mlm, "next sentence": nsp}
        shown = {name: loss.value.detach() for name, loss in losses.items() if loss.count}
        return Step(mlm.value + self.next_sentence_weight * nsp.value, shown, batch.tokens)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """The masked-token loss and the next-sentence loss in nats, the accuracy of next sentence, and the number of pairs.

        A figure over nothing is left out: of a text without a known word, or of batches without a pair.
        """
        model.eval()
        mlm, nsp, right = Mean(), Mean(), 0
        for batch in batches:
            one, other, correct = self.losses(model, batch)
            mlm.add(one)
            nsp.add(other)
            right += int(correct)
        measured: dict[str, float] = {"mlm_loss": mlm.value} if mlm.count else {}
        if nsp.count and self.next_sentence_weight:
            measured |= {"nsp_loss": nsp.value, "nsp_accuracy": right / nsp.count, "pairs": nsp.count}
        return measured

    def summary(self, measured: dict[str, float]) -> str:
        """As "masked words 5.123 nats  next sentence 61.2%"."""
        words = f"masked words {measured['mlm_loss']:.3f} nats" if "mlm_loss" in measured else "no masked words"
        return words + (f"  next sentence {measured['nsp_accuracy']:.1%}" if "nsp_accuracy" in measured else "")


@dataclass(frozen=True)
class CausalLM(Unchanging):
    r"""−1/N Σ log P(wₜ₊₁ ∣ w₁ … wₜ) over all tokens of a text except the first.  F17, F23.

    The model is called as `model(input_ids, attention_mask=…)` and returns logits [B, T, V]. Position t is asked for token
    t + 1 of `input_ids`, or of `batch.labels` [B, T] if they are given: they repeat the tokens, with −100 in place of those
    that do not count, such as a prompt; then the model is also given `counted` [B, T], and returns logits [N, V] of the N
    positions where it is True. Padding never counts.

    For a batch with `candidates` [K], the model is given them as `among` [K], returns K logits per position instead of V, and
    the loss is `candidate_cross_entropy`.
    """

    curves: ClassVar[tuple[str, ...]] = ("loss",)

    def loss(self, model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Loss:
        """The mean in nats over the tokens that count, and how many they are."""
        ids, mask, labels = batch.input_ids, batch.attention_mask, self.labels(batch)
        read = slice(0, max(1, ids.size(1) - 1))  # nothing is predicted from the last token, so it is not read
        mask = None if mask is None else mask[:, read]
        if batch.labels is None or ids.size(1) < 2:
            logits = self.logits(model, batch, ids[:, read], mask)
            return self.compare(logits[:, : ids.size(1) - 1], labels[:, 1:], batch, label_smoothing)
        counted = labels[:, 1:] != IGNORED  # the product with the vocabulary is expensive, so only where it is needed
        logits = self.logits(model, batch, ids[:, read], mask, counted)
        return self.compare(logits, labels[:, 1:][counted], batch, label_smoothing)

    def labels(self, batch: Batch) -> Tensor:
        """[B, T]: the tokens, with −100 in place of those that do not count."""
        labels = batch.input_ids if batch.labels is None else batch.labels
        return labels if batch.attention_mask is None else labels.masked_fill(~batch.attention_mask, IGNORED)

    def counts(self, batch: Batch) -> tuple[int]:
        """How many tokens of a batch count, before the model is called."""
        return (int((self.labels(batch)[:, 1:] != IGNORED).sum()),)

    def parts(self, model: nn.Module, batch: Batch) -> dict[str, tuple[float, Loss]]:
        """The loss with its weight."""
        return {"loss": (1.0, self.loss(model, batch))}

    def compare(self, logits: Tensor, labels: Tensor, batch: Batch, label_smoothing: float) -> Loss:
        """The loss of these logits: over all tokens, or over the candidates of the batch."""
        if batch.candidates is None or batch.candidate_weights is None:
            return vocabulary_loss(logits, labels, label_smoothing)
        return candidate_cross_entropy(logits, labels, batch.candidates, batch.candidate_weights)

    def logits(
        self, model: nn.Module, batch: Batch, input_ids: Tensor, mask: Tensor | None, counted: Tensor | None = None
    ) -> Tensor:
        """How the model is called for the tokens of a batch that are read: [B, T, V], or [N, V] where `counted` is True."""
        more = {} if counted is None else {"counted": counted}
        more |= {} if batch.candidates is None else {"among": batch.candidates}
        return model(input_ids, attention_mask=mask, **more)

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The loss, to minimise and to display."""
        loss = self.loss(model, batch)
        return Step(loss.value, {"loss": loss.value.detach()}, batch.tokens)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        r"""The loss in nats per token, and its exponential, the perplexity.

        A vocabulary of longer tokens has a larger loss per token for the same text. So if the batches hold whole documents and
        say how long their text is (`text_sizes`), the whole loss is also given per character and per byte of UTF-8:

            bits per character = −Σ log₂ P(wₜ ∣ w₁ … wₜ₋₁) / number of characters

        over all tokens of the documents, END included. Vocabularies can be compared by it as far as their tokens keep the text:
        what a tokenizer drops (capitals, accents, spaces) or makes [UNK] costs its model nothing.
        """
        sizes: list[Tensor] = []
        loss = Mean.over(self, model, noting_sizes(batches, sizes))
        measured = {"loss": loss.value, "perplexity": float(torch.tensor(loss.value).exp())}
        if sizes:
            characters, in_bytes = torch.cat(sizes).sum(dim=0).tolist()
            bits = loss.total / math.log(2)
            measured |= {"bits_per_character": bits / characters, "bits_per_byte": bits / in_bytes}
        return measured

    def summary(self, measured: dict[str, float]) -> str:
        """As "next token 5.123 nats  perplexity 167.8  1.523 bits per character"."""
        words = f"next token {measured['loss']:.3f} nats  perplexity {measured['perplexity']:.1f}"
        bits = measured.get("bits_per_character")
        return words if bits is None else f"{words}  {bits:.3f} bits per character"


@dataclass(frozen=True)
class Answers(CausalLM):
    """`CausalLM` for conversations: for the first `warm_up` of a run, every token of a row counts, and then the answers alone.

    Reading costs the same in both parts, and the history of an answer is language, too: as long as a model is still learning
    words, it learns them twice as fast from the whole row. What it is for, it learns in the end.  F29.
    """

    warm_up: float = 0.0
    everything: bool = False

    def at(self, progress: float) -> "Answers":
        """The objective when this share of the run is done."""
        return replace(self, everything=progress < self.warm_up)

    def loss(self, model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Loss:
        """The mean in nats over the tokens that count now, and how many they are."""
        return super().loss(model, replace(batch, labels=None) if self.everything else batch, label_smoothing)


def noting_sizes(batches: Iterable[Batch], sizes: list[Tensor]) -> Iterator[Batch]:
    """The batches; `sizes` collects their `text_sizes`, if they have them."""
    for batch in batches:
        if batch.text_sizes is not None:
            sizes.append(batch.text_sizes)
        yield batch


@dataclass(frozen=True)
class Classification(Unchanging):
    r"""What a `Classifier` is trained for, which its head says. For classes and tags it is the cross-entropy,

    −1/N Σ log softmax(logits)(y): over texts [B, K], or over the tokens that carry a tag [B, T, K].  F08, F28.

    For a model with a CRF it is −1/N Σ log P(y ∣ x), over the lines of the batch and divided by their tokens (F31). The parts
    of a line that was cut count as lines without the start, or the end, that they do not have.

    For several labels it is the binary cross-entropy of every label (F05), for a number the mean squared error, and for spans
    the mean of the cross-entropies of start and end.

    `head_only` is for an encoder that is frozen: training then computes everything as it will be used later, without
    dropout.
    """

    label_smoothing: float = 0.0
    head_only: bool = False
    curves: ClassVar[tuple[str, ...]] = ("loss",)

    def loss(self, model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Loss:
        """The mean in nats over the labels that are not −100, and how many they are. (Of a number, it is no nats.)"""
        assert batch.labels is not None
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        head = getattr(model, "head_config", None)
        if not has_classes(head):
            return loss_without_classes(head, logits, batch, label_smoothing)
        crf: Any = getattr(model, "crf", None)
        if crf is None:
            return cross_entropy(logits, batch.labels, label_smoothing)
        if label_smoothing:
            raise InputError(
                f"label_smoothing {label_smoothing} is not for a CRF, which scores whole paths: set it to 0."
            )
        return crf_loss(crf, logits, batch.labels, batch.begins, batch.ends)

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The loss with label smoothing to minimise, and the same to display."""
        if self.head_only:
            model.eval()
        loss = self.loss(model, batch, self.label_smoothing).value
        return Step(loss, {"loss": loss.detach()}, batch.tokens)

    @torch.no_grad()
    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """The loss in nats without label smoothing, over everything that carries a label."""
        return {"loss": Mean.over(self, model, batches).value}

    def summary(self, measured: dict[str, float]) -> str:
        """As "loss 0.123"."""
        return f"loss {measured['loss']:.3f}"
