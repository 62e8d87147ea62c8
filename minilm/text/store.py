"""The token ids of a corpus on disk: one long row of numbers, with the borders of sentences and documents.

A store is a folder of three memory-mapped arrays: however long the corpus is, only the pages in use take up memory. It is
written once, batch by batch, and every later run reuses it.

    ids.raw         every token of the corpus, in order                       [tokens]
    sentences.raw   where each sentence starts, and the end                   [sentences + 1]
    documents.raw   the first sentence of each document, and the end          [documents + 1]
"""

import itertools
import json
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.tokenizer import Tokenizer

DTYPES = ("uint16", "uint32")  # of ids, by the size of the vocabulary
BATCH = 2_000  # sentences tokenised at a time: enough to use all cores, but little memory


@dataclass(frozen=True)
class Store:
    ids: np.ndarray  # uint16 or uint32 [tokens]
    sentences: np.ndarray  # int64 [sentences + 1]
    documents: np.ndarray  # int64 [documents + 1]

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def document_borders(self) -> np.ndarray:
        """Where each document starts in `ids`, and where the last one ends: int64 [documents + 1]."""
        return self.sentences[self.documents]

    def forget_pages(self) -> None:
        """Let go of what was read of the files: the system keeps it for as long as it has room, but no longer as memory of this
        process. Numbers that are asked for again are read again."""
        for numbers in (self.ids, self.sentences, self.documents):
            file: Any = numbers.base
            if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):  # Windows has no such call
                file.madvise(mmap.MADV_DONTNEED)

    def __str__(self) -> str:
        counts = self.tokens, len(self.sentences) - 1, len(self.documents) - 1
        return "{:,} tokens, {:,} sentences, {:,} documents".format(*counts)


def write_store(
    documents: Iterable[list[str]],
    tokenizer: Tokenizer,
    folder: Path,
    note: Note = unheard,
    see: Callable[[list[str], list[list[int]]], None] = lambda texts, ids: None,
) -> Store:
    """Tokenise `documents` (each a list of sentences) into `folder`, without holding all of them in memory.

    The folder appears only when it is complete, so a run that is killed half-way leaves nothing that looks finished.
    `note` hears how many sentences were left out because the tokenizer finds no token in them. `see` is given all sentences
    and their ids on the way, batch by batch.
    Raises InputError if the corpus has no words.
    """
    growing = folder.with_name(folder.name + ".growing")
    shutil.rmtree(growing, ignore_errors=True)
    growing.mkdir(parents=True)
    dtype = np.uint16 if tokenizer.size <= 2**16 else np.uint32
    tokens = sentences = 0
    left_out: list[str] = []
    with (
        open(growing / "ids.raw", "wb") as ids_file,
        open(growing / "sentences.raw", "wb") as sentences_file,
        open(growing / "documents.raw", "wb") as documents_file,
    ):
        for batch in batches(documents):
            # a space stands between sentences; tokenizers that keep spaces would otherwise join them
            texts = [" " * (i > 0) + sentence for document in batch for i, sentence in enumerate(document)]
            rows = tokenizer.ids(texts)
            see(texts, rows)
            lengths = np.array([len(row) for row in rows], dtype=np.int64)
            counts = np.array([len(document) for document in batch], dtype=np.int64)
            starts = tokens + np.cumsum(lengths) - lengths
            kept = lengths > 0  # a sentence may have no tokens (a lone control character)
            left_out += [sentence for sentence, some in zip(itertools.chain(*batch), kept, strict=True) if not some]
            owner = np.repeat(np.arange(len(batch)), counts)[kept]
            counts = np.bincount(owner, minlength=len(batch))
            np.concatenate([np.array(row, dtype=dtype) for row in rows] or [np.zeros(0, dtype)]).tofile(ids_file)
            starts[kept].tofile(sentences_file)
            (sentences + np.cumsum(counts) - counts)[counts > 0].tofile(documents_file)
            tokens += int(lengths.sum())
            sentences += int(counts.sum())
        np.array([tokens], dtype=np.int64).tofile(sentences_file)
        np.array([sentences], dtype=np.int64).tofile(documents_file)
    if not tokens:
        shutil.rmtree(growing)
        raise InputError("the corpus is empty: it contains no words.")
    if left_out:
        note(f"{len(left_out):,} sentence(s) without any token were left out, such as {left_out[0][:40]!r}.")
    meta = {"dtype": np.dtype(dtype).name}
    (growing / "store.json").write_text(json.dumps(meta), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(growing, folder)
    return open_store(folder)


def batches(documents: Iterable[list[str]]) -> Iterator[list[list[str]]]:
    """Lists of whole documents, about `BATCH` sentences at a time."""
    batch, sentences = [], 0
    for document in documents:
        if not document:
            continue
        batch.append(document)
        sentences += len(document)
        if sentences >= BATCH:
            yield batch
            batch, sentences = [], 0
    if batch:
        yield batch


def open_store(folder: Path) -> Store:
    """Memory-map a store that `write_store` made. Raises InputError if it is missing or damaged."""
    try:
        dtype = json.loads((folder / "store.json").read_text(encoding="utf-8"))["dtype"]
        if dtype not in DTYPES:
            raise ValueError(f"ids of the type {dtype}")
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not a store of token ids: it has no store.json.") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"the store of token ids in {folder} is damaged: its store.json cannot be read.") from None
    try:
        store = Store(
            np.memmap(folder / "ids.raw", dtype=dtype, mode="r"),
            np.memmap(folder / "sentences.raw", dtype=np.int64, mode="r"),
            np.memmap(folder / "documents.raw", dtype=np.int64, mode="r"),
        )
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"the store of token ids in {folder} is damaged: {error}.") from None
    if store.sentences[-1] != store.tokens or store.documents[-1] != len(store.sentences) - 1:
        raise InputError(f"the store of token ids in {folder} is damaged: its end is missing.")
    if any(row[0] != 0 or not (row[:-1] < row[1:]).all() for row in (store.sentences, store.documents)):
        raise InputError(f"the store of token ids in {folder} is damaged: its borders are out of order.")
    return store
