"""Using a trained model: probabilities and labels, vectors for sentences, masked words, attention weights.  F18, F25."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labels import IGNORED
from minilm.files.notes import Note, unheard
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.text.tokenizer import Tokenizer

TOKENS = 512  # in one batch, including padding: enough to keep a processor busy, and few enough for its cache


def probabilities(model: nn.Module, examples: Dataset, device: torch.device | None = None) -> list[np.ndarray]:
    """softmax(logits) for each row, in the order of the rows: [K] for a text, [T, K] for a tagged line.

    Raises InputError if a score is not a number.
    """
    return of_rows(model, examples, device, lambda logits: logits.softmax(dim=-1))


def logits_of(model: nn.Module, examples: Dataset, device: torch.device | None = None) -> list[np.ndarray]:
    """The logits of each row, in the order of the rows. Raises InputError if a score is not a number."""
    return of_rows(model, examples, device, lambda logits: logits)


@torch.no_grad()
def of_rows(
    model: nn.Module, examples: Dataset, device: torch.device | None, function: Callable[[Tensor], Tensor]
) -> list[np.ndarray]:
    """A function of the logits for each row, in the order of the rows, without padding."""
    model.eval()
    out: list[np.ndarray] = [np.empty(0)] * len(examples)
    for chosen in examples.in_order():
        batch = examples.batch(chosen).to(device or torch.device("cpu"))
        logits = model(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        y_hat = function(logits).float().cpu().numpy()
        for i, row in zip(chosen, y_hat, strict=True):
            out[i] = row if row.ndim == 1 else row[: len(examples.rows[i])]
            refuse_nan(out[i][None], f"the score of example {examples.owner[i] + 1}")
    return out


def predicted_labels(model: nn.Module, examples: Dataset, device: torch.device | None = None) -> np.ndarray:
    """The most probable class of each text [N]."""
    return np.array([row.argmax() for row in probabilities(model, examples, device)])


def predicted_tags(
    model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device | None = None
) -> list[list[str]]:
    """The most probable tag of each word of each line, or the tags of its most probable path if the model has a CRF.

    Lines that were cut into several rows are joined again; a CRF sees them joined.
    """
    if getattr(model, "crf", None) is not None:
        return _viterbi_tags(model, examples, tags, device)
    lines: list[list[str]] = [[] for _ in range(max(examples.owner, default=-1) + 1)]
    for owner, labels, row in zip(examples.owner, examples.labels, probabilities(model, examples, device), strict=True):
        lines[owner] += [tags[k] for k, label in zip(row.argmax(axis=-1), labels, strict=True) if label != IGNORED]
    return lines


@torch.no_grad()
def _viterbi_tags(
    model: nn.Module, examples: Dataset, tags: tuple[str, ...], device: torch.device | None
) -> list[list[str]]:
    """The best path of each line, whose emissions are the logits at its words.  F31."""
    crf: Any = model.crf
    parts: list[list[np.ndarray]] = [[] for _ in range(max(examples.owner, default=-1) + 1)]
    rows = of_rows(model, examples, device, lambda logits: logits)
    for owner, labels, row in zip(examples.owner, examples.labels, rows, strict=True):
        parts[owner].append(row[np.array(labels) != IGNORED])
    E = [np.concatenate(line) if line else np.empty((0, len(tags)), np.float32) for line in parts]
    lines: list[list[str]] = [[] for _ in E]
    lengths = np.array([len(line) for line in E])
    for chosen in batches_by_length(lengths) if lengths.any() else ():
        padded = pad_sequence([torch.from_numpy(E[i]) for i in chosen], batch_first=True).to(crf.A)
        words = torch.arange(padded.size(1)) < torch.from_numpy(lengths[chosen])[:, None]
        y_hat = crf.viterbi(padded, words.to(padded.device))[0].tolist() if padded.size(1) else [[] for _ in chosen]
        for i, path in zip(chosen, y_hat, strict=True):
            lines[i] = [tags[k] for k in path[: lengths[i]]]
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


class Sentences(NamedTuple):
    """Texts as rows of ids, ready for a sentence encoder, and how long each was before it was cut."""

    data: Dataset
    lengths: list[int]  # with special tokens and prompt
    limit: int | None
    prompt_tokens: int  # of each row that take no part in the pooling

    @property
    def cut(self) -> list[int]:
        """The places of the texts that were cut, counted from 0."""
        return [] if self.limit is None else [i for i, n in enumerate(self.lengths) if n > self.limit]


def encode_sentences(
    model: SentenceEncoder, tokenizer: Tokenizer, texts: list[str], truncate: bool = False, where: str = "the texts"
) -> Sentences:
    """The texts with the model's prompt, cut to the length that was agreed for it, as `sentence-transformers` does.

    Raises InputError for a text that is longer than the model takes, if no such length was agreed and `truncate` does not
    allow cutting it.
    """
    settings = model.settings
    limits = [n for n in (settings.max_length, getattr(model.config, "max_length", None)) if n is not None]
    limit = min(limits, default=None)
    ids = tokenizer.ids([settings.prompt + text for text in texts])
    lengths = [len(row) + 2 for row in ids]
    if limit is not None and not (truncate or settings.stated):
        for i, length in enumerate(lengths):
            if length > limit:
                raise InputError(
                    f"text {i + 1} of {where} has {length - 2} tokens and the model takes {limit - 2}: "
                    "shorten it, or allow long texts to be cut with --truncate."
                )
    rows = [tokenizer.pair(row if limit is None else row[: limit - 2])[0] for row in ids]
    data = Dataset({"input_ids": rows}, {"input_ids": tokenizer.pad}, list(range(len(rows))))
    prompt_tokens = 0
    if settings.prompt and not settings.include_prompt:
        prompt_tokens = len(tokenizer.ids([settings.prompt])[0]) + 1  # with [CLS]
        prompt_tokens = prompt_tokens if limit is None else min(prompt_tokens, limit - 1)
    return Sentences(data, lengths, limit, prompt_tokens)


@torch.inference_mode()
def vectors_of(
    model: SentenceEncoder, sentences: Sentences, where: str = "the texts", most: int = TOKENS
) -> np.ndarray:
    """One vector per text, [N, E], in the order of the texts. Raises InputError if one of them is not finite."""
    device = next(model.parameters()).device
    out = np.empty((len(sentences.data), model.output_size), dtype=np.float32)
    for chosen in batches_by_length(sentences.data.lengths, most):
        batch = sentences.data.batch(chosen).to(device)
        mask = batch.attention_mask
        mask = None if mask is None or mask.all() else mask  # most batches have texts of one length
        out[chosen] = model(batch.input_ids, None, mask, sentences.prompt_tokens).float().cpu().numpy()
    refuse_nan(out, f"the vector of text {{}} of {where}")
    return out


def sentence_vectors(
    model: SentenceEncoder,
    tokenizer: Tokenizer,
    texts: list[str],
    truncate: bool = False,
    where: str = "the texts",
    most: int = TOKENS,
    note: Note = unheard,
) -> np.ndarray:
    """One vector per text, [N, E], in the order of the texts, as the model's settings say. Unless these say otherwise, all
    have length 1, so their dot products are cosines.

    Texts that are longer than the length that was agreed for the model (`max_seq_length`) are cut, which is noted. Where none
    was agreed, a text that is longer than the model takes raises InputError, unless `truncate` allows cutting it.
    """
    sentences = encode_sentences(model, tokenizer, texts, truncate, where)
    if cut := sentences.cut:
        note(words_about_cuts(len(cut), len(texts), where, sentences.limit, cut[0] + 1, sentences.lengths[cut[0]]))
    return vectors_of(model, sentences, where, most)


def words_about_cuts(cut: int, texts: int, where: str, limit: int | None, number: int, length: int) -> str:
    """The sentence about texts that were cut, with an example: the text with this number and length."""
    return (
        f"{cut:,} of {texts:,} texts {'was' if cut == 1 else 'were'} cut at {limit} tokens, which is all that the model reads: "
        f"text {number:,} of {where}{', for example,' if cut > 1 else ''} has {length:,}."
    )


def refuse_nan(numbers: np.ndarray | torch.Tensor, what: str) -> None:
    """Raise InputError if a row of `numbers` is not finite; `what` names it, with {} for its number, counted from 1.

    NaN compares as neither larger nor smaller, so a ranking of such scores would look like a result.
    """
    finite = np.isfinite(np.asarray(numbers)).all(axis=tuple(range(1, numbers.ndim)))  # [N]
    if not finite.all():
        raise InputError(
            f"{what.format(int(finite.argmin()) + 1)} is not a number (NaN or infinity): the model's weights are broken."
        )


@torch.no_grad()
def fill(model: nn.Module, tokenizer: Tokenizer, text: str, top: int = 5) -> list[list[tuple[str, float]]]:
    """For each [MASK], the `top` tokens with the largest P(wᵢ | the tokens on both sides), the largest first.  F25.

    Only tokens of the vocabulary are candidates: a table that was padded to a round size has rows without any.
    Raises InputError for a text without [MASK], for one that is too long, and for a model that does not guess masked words.
    """
    if not hasattr(model, "mlm_head"):
        raise InputError(f"{type(model).__name__} does not guess masked words: use a model that does.")
    row = one_row(model, *tokenizer.pair(tokenizer.ids([text], special=True)[0]))
    masked = (row[0][0] == tokenizer.mask).nonzero().flatten()
    if not len(masked):
        raise InputError(f"'{text}' has no [MASK]: write one where a word is to be guessed.")
    logits = model(row[0], row[1], masked=masked).mlm_logits  # [M, V]
    refuse_nan(logits, "the score of [MASK] {}")
    candidates = sorted(set(tokenizer.backend.get_vocab().values()) - set(tokenizer.special_ids))
    probabilities, places = logits[:, candidates].softmax(dim=-1).topk(min(top, len(candidates)))
    return [
        list(zip(tokenizer.tokens(candidates[place] for place in row), y_hat.tolist(), strict=True))
        for row, y_hat in zip(places.tolist(), probabilities, strict=True)
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
    for i, layer in enumerate(weights, 1):
        refuse_nan(layer, f"the attention of layer {i}")
    return tokenizer.tokens(ids), [layer[0].numpy() for layer in weights]


def one_row(model: nn.Module, ids: list[int], token_type_ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of one text. Raises InputError if the text is longer than the model takes."""
    max_length = getattr(model.config, "max_length", None)
    if max_length is not None and len(ids) > max_length:
        raise InputError(f"the text has {len(ids)} tokens and the model takes {max_length}: shorten it.")
    device = next(model.parameters()).device
    return torch.tensor([ids], device=device), torch.tensor([token_type_ids], device=device)
