"""Using a trained model: probabilities and labels, vectors for sentences, masked words, attention weights.  F18, F25."""

from typing import Any

import numpy as np
import torch
from torch import nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labelled import encode_texts
from minilm.examples.labels import IGNORED
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.text.files import Example
from minilm.text.tokenizer import Tokenizer

TOKENS = 512  # in one batch, including padding: enough to keep a processor busy, and few enough for its cache


@torch.no_grad()
def probabilities(model: nn.Module, examples: Dataset, device: torch.device | None = None) -> list[np.ndarray]:
    """softmax(logits) for each row, in the order of the rows: [K] for a text, [T, K] for a tagged line."""
    model.eval()
    out: list[np.ndarray] = [np.empty(0)] * len(examples)
    for chosen in examples.in_order():
        batch = examples.batch(chosen).to(device or torch.device("cpu"))
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        y_hat = logits.softmax(dim=-1).float().cpu().numpy()
        for i, row in zip(chosen, y_hat, strict=True):
            out[i] = row if row.ndim == 1 else row[: len(examples.rows[i])]
    return out


def predicted_labels(model: nn.Module, examples: Dataset, device: torch.device | None = None) -> np.ndarray:
    """The most probable class of each text [N]."""
    return np.array([row.argmax() for row in probabilities(model, examples, device)])


def predicted_tags(
    model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device | None = None
) -> list[list[str]]:
    """The most probable tag of each word of each line. Lines that were cut into several rows are joined again."""
    lines: list[list[str]] = [[] for _ in range(max(examples.owner, default=-1) + 1)]
    for owner, labels, row in zip(examples.owner, examples.labels, probabilities(model, examples, device), strict=True):
        lines[owner] += [tags[k] for k, label in zip(row.argmax(axis=-1), labels, strict=True) if label != IGNORED]
    return lines


def true_tags(examples: Dataset, tags: tuple[str, ...]) -> list[list[str]]:
    """The tags of each line as they stand in the data."""
    lines: list[list[str]] = [[] for _ in range(max(examples.owner, default=-1) + 1)]
    for owner, labels in zip(examples.owner, examples.labels, strict=True):
        lines[owner] += [tags[label] for label in labels if label != IGNORED]
    return lines


def batches_by_length(lengths: np.ndarray, most: int = TOKENS) -> list[np.ndarray]:
    """Every index once, short texts first, in batches of at most `most` tokens including padding, or of a single text."""
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for end, i in enumerate(order):
        if end > start and (end + 1 - start) * lengths[i] > most:  # i is the longest so far
            batches.append(order[start:end])
            start = end
    return [*batches, order[start:]] if len(order) else []


@torch.inference_mode()
def sentence_vectors(
    model: SentenceEncoder,
    tokenizer: Tokenizer,
    texts: list[str],
    truncate: bool = False,
    where: str = "the texts",
    most: int = TOKENS,
) -> np.ndarray:
    """One vector per text, [N, C], in the order of the texts. All have length 1, so their dot products are cosines.

    Raises InputError for a text that is longer than the model takes, unless `truncate` allows cutting it.
    """
    examples = [Example(text) for text in texts]
    limit = getattr(model.config, "max_length", None)
    encoded = encode_texts(examples, (), tokenizer, limit, truncate, where)
    device = next(model.parameters()).device
    out = np.empty((len(texts), model.encoder.output_size), dtype=np.float32)
    for chosen in batches_by_length(encoded.lengths, most):
        batch = encoded.batch(chosen).to(device)
        mask = batch.attention_mask
        mask = None if mask is None or mask.all() else mask  # most batches have texts of one length
        out[chosen] = model(batch.input_ids, None, mask).float().cpu().numpy()
    return out


@torch.no_grad()
def fill(model: nn.Module, tokenizer: Tokenizer, text: str, top: int = 5) -> list[list[tuple[str, float]]]:
    """For each [MASK], the `top` tokens with the largest P(wᵢ | the tokens on both sides), the largest first.  F25.

    Raises InputError for a text without [MASK], for one that is too long, and for a model that does not guess masked words.
    """
    if not hasattr(model, "mlm_head"):
        raise InputError(f"{type(model).__name__} does not guess masked words: use a model that does.")
    row = one_row(model, *tokenizer.pair(tokenizer.ids([text], special=True)[0]))
    masked = (row[0][0] == tokenizer.mask).nonzero().flatten()
    if not len(masked):
        raise InputError(f"'{text}' has no [MASK]: write one where a word is to be guessed.")
    logits = model(row[0], row[1], masked=masked).mlm_logits  # [M, V]
    logits[:, tokenizer.special_ids] = -torch.inf
    probabilities, ids = logits.softmax(dim=-1).topk(min(top, tokenizer.size - len(tokenizer.special_ids)))
    return [
        list(zip(tokenizer.tokens(tokens.tolist()), y_hat.tolist(), strict=True))
        for tokens, y_hat in zip(ids, probabilities, strict=True)
    ]


@torch.no_grad()
def attention_of(
    model: nn.Module, tokenizer: Tokenizer, text: str, pair: str | None = None
) -> tuple[list[str], list[np.ndarray]]:
    """The tokens, with [CLS] and [SEP], and each layer's attention weights [H, T, T].  F18.

    Raises InputError for a text that is too long, and for a model without attention.
    """
    encoder: Any = model.encoder
    if not hasattr(encoder, "stack"):
        raise InputError(f"{type(encoder).__name__} has no attention to look at: use a Transformer.")
    second = None if pair is None else tokenizer.ids([pair])[0]
    ids, token_type_ids = tokenizer.pair(tokenizer.ids([text])[0], second)
    weights = encoder(*one_row(model, ids, token_type_ids), need_weights=True).attentions
    return tokenizer.tokens(ids), [layer[0].numpy() for layer in weights]


def one_row(model: nn.Module, ids: list[int], token_type_ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of one text. Raises InputError if the text is longer than the model takes."""
    max_length = getattr(model.config, "max_length", None)
    if max_length is not None and len(ids) > max_length:
        raise InputError(f"the text has {len(ids)} tokens and the model takes {max_length}: shorten it.")
    return torch.tensor([ids]), torch.tensor([token_type_ids])
