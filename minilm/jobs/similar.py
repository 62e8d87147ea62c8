"""Search by meaning: find the lines of a text that say nearly the same as a query."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro

from minilm.errors import InputError, check_least
from minilm.pretrained.protocol import open_encoder
from minilm.text import corpus, files
from minilm.training.inference import sentence_vectors
from minilm.training.loop import choose_device

BLOCK = 2_000  # lines that are in memory at the same time, however long the file is


@dataclass(frozen=True)
class SimilarOptions:
    """Find the lines of a text that are nearest in meaning to a query, even if they use other words."""

    queries: tyro.conf.Positional[tuple[str, ...]]
    file: str
    """A text file with one sentence per line, a folder of text files, or a corpus by name (see `minilm data`)."""
    model: Path = Path("all-minilm-l6-v2")
    """A published model by name, or the folder of a BERT."""
    top: int = 5
    truncate: bool = False
    """Cut lines that are longer than the model takes, instead of refusing them."""
    device: str = "auto"

    def __post_init__(self):
        check_least(self, 1, "top")


class Hit(NamedTuple):
    """A line, and the cosine of the angle between its vector and that of the query: 1 means the same meaning."""

    cosine: float
    line: str
    number: int  # of the line among those that are not blank, counted from 1


def similar(options: SimilarOptions, say: Callable[[str], None] = print) -> list[list[Hit]]:
    """For each query, the `top` nearest lines, the nearest first. The file is read once, block by block."""
    queries = [query for query in options.queries if query.strip()]
    if not queries:
        raise InputError('there is nothing to look for: give a query, such as "a film that moved me".')
    lines = lines_of(options.file)
    loaded = open_encoder(options.model)
    loaded.model.to(choose_device(options.device))
    wanted = sentence_vectors(loaded.model, loaded.tokenizer, queries, where="the queries")  # [Q, C]
    best: list[list[Hit]] = [[] for _ in queries]
    seen = 0
    while block := list(islice(lines, BLOCK)):
        where = f"lines {seen + 1:,} to {seen + len(block):,} of {options.file}"
        vectors = sentence_vectors(loaded.model, loaded.tokenizer, block, options.truncate, where)  # [N, C]
        for q, cosines in enumerate(wanted @ vectors.T):
            best[q] = nearest(best[q], cosines, block, seen, options.top)
        seen += len(block)
    if not seen:
        raise InputError(f"{options.file} has no line to compare with.")
    for query, hits in zip(queries, best, strict=True):
        say(query)
        for hit in hits:
            say(f"    {hit.cosine:.3f}  {hit.line}")
    return best


def nearest(best: list[Hit], cosines: np.ndarray, block: list[str], before: int, top: int) -> list[Hit]:
    """The `top` nearest of those found so far and those of a block. Of equal lines, only the first one counts."""
    known, new = {hit.line for hit in best}, {}
    for i, line in enumerate(block):
        if line not in known and line not in new:
            new[line] = Hit(float(cosines[i]), line, before + i + 1)
    return heapq.nsmallest(top, [*best, *new.values()], key=lambda hit: (-hit.cosine, hit.number))


def lines_of(name: str) -> Iterator[str]:
    """The lines that are not blank, or the sentences of a corpus. They are read one after another, as they are needed."""
    if Path(name).is_file() and Path(name).suffix.lower() not in files.LABELLED:
        return (line.strip() for line in files.text_lines(Path(name)) if line.strip())
    return (sentence for document in corpus.documents(name) for sentence in document)
