"""Texts → vectors of length 1 whose products are cosines, in batches of like lengths."""

import numpy as np
import torch

from minilm.examples.labelled import encode_texts
from minilm.models.text_encoder import TextEncoder
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer

TOKENS = 512  # of one batch, padding included: enough to keep a processor busy, and small enough for its cache


def batches_by_length(lengths: np.ndarray, most: int = TOKENS) -> list[np.ndarray]:
    """Every index once, the short ones first, in batches that hold at most `most` tokens when padded (or one text)."""
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for end, i in enumerate(order):
        if end > start and (end + 1 - start) * lengths[i] > most:  # i is the longest so far
            batches.append(order[start:end])
            start = end
    return [*batches, order[start:]] if len(order) else []


@torch.inference_mode()
def sentence_vectors(
    model: TextEncoder,
    tokenizer: Tokenizer,
    texts: list[str],
    truncate: bool = False,
    where: str = "the texts",
    most: int = TOKENS,
) -> np.ndarray:
    """One row [C] for each text [N, C], in their order: see `minilm/models/text_encoder.py`.

    Raises InputError for a text that is longer than the model takes, unless `truncate` lets it be cut.
    """
    examples = [Example(text) for text in texts]
    encoded = encode_texts(examples, (), tokenizer, model.config.max_length, truncate, where)
    device = next(model.parameters()).device
    out = np.empty((len(texts), model.config.width), dtype=np.float32)
    for chosen in batches_by_length(encoded.lengths, most):
        batch = encoded.batch(chosen).to(device)
        real = None if batch.real.all() else batch.real  # most batches have texts of one length only
        out[chosen] = model(batch.ids, None, real).float().cpu().numpy()
    return out
