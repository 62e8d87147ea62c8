"""What a pretraining run reads: the prepared corpus, its word vectors, the batches of training and of measuring."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.candidates import WithCandidates
from minilm.examples.causal_lm import TextWindows
from minilm.files.lock import in_turn
from minilm.files.notes import Note, unheard
from minilm.text.prepare import Prepared, document_sizes, prepare
from minilm.text.remarks import unknown_share
from minilm.text.tokenizer import Tokenizer
from minilm.text.word_vectors import local_and_document_vectors

if TYPE_CHECKING:
    from minilm.jobs.pretrain import PretrainOptions

HELD_OUT_PAIRS = 2048
HELD_OUT_WINDOWS, WINDOWS_AT_ONCE = 1024, 32  # of a language model, which has logits at every position


def batches_for(
    options: "PretrainOptions", prepared: Prepared, together: int = 1
) -> PretrainingBatches | TextWindows | WithCandidates:
    """The batches of the run: `batches[step]` is that of a step, or every step has so many of them `together`."""
    o = options
    sizes = prepared.train, prepared.tokenizer, o.length, o.batch, o.seed
    if o.adapter.objective == "bert":
        return PretrainingBatches(*sizes, o.mask_rate, o.pairs, together)
    windows = TextWindows(*sizes, together)
    if not o.candidates:
        return windows
    return WithCandidates(windows.__getitem__, prepared.tokenizer.size, o.candidates, o.seed)


def held_out_batches(prepared: Prepared, length: int, objective: str = "bert", pairs: bool = True) -> Sequence[Batch]:
    """The same held-out examples at every measurement and in every run, whatever its seed."""
    part = prepared.held_out
    if objective != "bert":
        return held_out_windows(prepared, length)
    batches = PretrainingBatches(part, prepared.tokenizer, length, 64, seed=2**31, next_sentence=pairs)
    first = batches[0]  # this draws the whole first round
    return [first, *(batches[i] for i in range(1, min(HELD_OUT_PAIRS // 64, len(batches.batches))))]


def held_out_windows(prepared: Prepared, length: int, most: int = HELD_OUT_WINDOWS) -> list[Batch]:
    """Whole documents in windows, with the sizes of their texts: drawn once and for all, about `most` windows."""
    part, tokenizer = prepared.held_out, prepared.tokenizer
    windows = TextWindows(part, tokenizer, length, WINDOWS_AT_ONCE, seed=0)
    order = np.random.default_rng(2**31).permutation(len(part.documents) - 1)
    counts = -(-(np.diff(part.document_borders)[order] + 1) // (length - 1))  # windows of each document
    chosen = order[: max(1, int(np.searchsorted(counts.cumsum(), most, side="right")))]
    return windows.whole(chosen.tolist(), document_sizes(prepared.folder / "held_out.txt", tokenizer, part))


def check_words(prepared: Prepared) -> None:
    """Raises InputError if no token of a part is in the vocabulary: there would be nothing to guess, and a loss of 0."""
    for part, what in ((prepared.train, "training"), (prepared.held_out, "held-out")):
        unknown = unknown_share(part.ids, prepared.tokenizer)
        part.forget_pages()
        if unknown == 1:
            raise InputError(
                f"none of the {part.tokens:,} tokens of the {what} part is in the vocabulary, so nothing can be learned from "
                "it: give another --tokenizer, or leave it out to learn one from the text."
            )


def vectors_for(prepared: Prepared, options: "PretrainOptions") -> np.ndarray:
    """The word vectors of a prepared corpus, counted once and kept beside it."""
    config = options.model_config(prepared.tokenizer.size)
    size, window, seed = options.adapter.vector_size(config, options.init), options.window, options.seed
    if size > prepared.tokenizer.size:
        raise InputError(
            f"the vocabulary has only {prepared.tokenizer.size} tokens, too few for word vectors of size {size}: make --width "
            "smaller, give more text, or leave the vectors out with --no-word-vectors."
        )
    path = prepared.folder / f"vectors-{size}-{window}-{seed}.npy"
    if (vectors := kept_vectors(path)) is not None:
        return vectors
    with in_turn(path.with_suffix(".lock"), say=lambda: None):
        if (vectors := kept_vectors(path)) is not None:  # another process has counted them meanwhile
            return vectors
        ids, borders, tokenizer = prepared.train.ids, prepared.train.document_borders, prepared.tokenizer
        vectors = local_and_document_vectors(ids, borders, tokenizer.size, size, seed, window, tokenizer.special_ids)
        prepared.train.forget_pages()
        growing = path.with_name(path.name + ".growing.npy")
        np.save(growing, vectors)
        os.replace(growing, path)
    return vectors


def kept_vectors(path: Path) -> np.ndarray | None:
    """What was counted before, or None if it is not there or damaged."""
    with suppress(OSError, ValueError, EOFError):
        return np.load(path, allow_pickle=False)
    return None


def prepare_for(options: "PretrainOptions", say: Callable[[str], None], note: Note = unheard) -> Prepared:
    """The corpus of these options, prepared now or found prepared. `note` hears what the tokenizer does not see of it."""
    given = Tokenizer.load(options.tokenizer) if options.tokenizer else None
    o = options
    settings = o.vocab_size, o.units, bool(o.lowercase), o.held_out
    extra: dict[str, Any] = dict(tokenizer=given, strip_accents=o.strip_accents, pairs=o.pairs)
    return prepare(o.corpus, o.cache, *settings, say=say, note=note, **extra)
