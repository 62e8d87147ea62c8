"""Learning to match pictures and texts, and using what was learned: retrieval, and classes that are named by a sentence.  F35."""

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from minilm.examples.batching import Batch
from minilm.models.picture_text import PictureText
from minilm.training.loop import Step
from minilm.training.losses import Loss, contrastive
from minilm.training.objective import Unchanging


class Contrastive(Unchanging):
    r"""½ (CE(S, i) + CE(Sᵀ, i)) over the pairs of a batch: `source_ids` are pixels, `input_ids` their captions.  F35."""

    curves: ClassVar[tuple[str, ...]] = ("loss",)

    def loss(self, model: nn.Module, batch: Batch) -> Loss:
        """The mean over both directions, in nats, and how many pairs there are."""
        return contrastive(model(batch.input_ids, batch.attention_mask, batch.source_ids))

    def step(self, model: nn.Module, batch: Batch) -> Step:
        """The loss, to minimise and to display."""
        loss = self.loss(model, batch)
        return Step(loss.value, {"loss": loss.value.detach()}, loss.count)

    def measure(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """The mean loss over several batches."""
        with torch.no_grad():
            return {"loss": float(np.mean([float(self.loss(model.eval(), batch).value) for batch in batches]))}

    def summary(self, measured: dict[str, Any]) -> str:
        return f"contrastive loss {measured['loss']:.3f}"


@torch.no_grad()
def compare(model: PictureText, batch: Batch, pixels: np.ndarray) -> Float[np.ndarray, "B N"]:
    """The cosine of every picture [B, m] with every caption of the batch [N]."""
    model.eval()
    u, v = model.pictures(torch.from_numpy(pixels)), model.texts(batch.input_ids, batch.attention_mask)
    return (u @ v.T).double().numpy()
