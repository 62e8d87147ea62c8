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
from minilm.files.notes import Note, Notes, aside
from minilm.pretrained.protocol import open_encoder
from minilm.pretrained.run_folder import LoadedModel
from minilm.text import corpus, files
from minilm.text.characters import visible
from minilm.text.remarks import Seen, remark
from minilm.training.inference import encode_sentences, sentence_vectors, vectors_of, words_about_cuts
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
    """Cut lines that are longer than the model takes, instead of refusing them. (A model of sentence-transformers says itself
    where lines are cut.)"""
    device: str = "auto"

    def __post_init__(self):
        check_least(self, 1, "top")


class Hit(NamedTuple):
    """A line, and how near its vector is to that of the query. Unless the model asks for another similarity, this is the
    cosine of the angle between them: 1 means the same meaning."""

    cosine: float
    line: str
    number: int  # of the line among those that are not blank, counted from 1


def similar(options: SimilarOptions, say: Callable[[str], None] = print) -> list[list[Hit]]:
    """For each query, the `top` nearest lines, the nearest first. The file is read once, block by block."""
    queries = list(options.queries)
    if not queries or not all(map(visible, queries)):
        raise InputError('there is nothing to look for: give a query, such as "a film that moved me".')
    lines, note = lines_of(options.file), Notes(aside if say is print else say)
    loaded = open_encoder(options.model, note)
    model, tokenizer, settings = loaded.model.to(choose_device(options.device)), loaded.tokenizer, loaded.model.settings
    note_defaults(loaded, note)
    remark(tokenizer, queries, "the queries", note)
    wanted = sentence_vectors(model, tokenizer, queries, options.truncate, "the queries", note=note)  # [Q, E]
    best: list[list[Hit]] = [[] for _ in queries]
    seen, cuts, example, unseen = 0, 0, (0, 0), Seen(tokenizer)
    while block := list(islice(lines, BLOCK)):
        where = f"lines {seen + 1:,} to {seen + len(block):,} of {options.file}"
        unseen.add(block)
        sentences = encode_sentences(model, tokenizer, block, options.truncate, where)
        vectors = vectors_of(model, sentences, where)  # [N, E]
        for q, scores in enumerate(similarity(wanted, vectors, settings.similarity)):
            best[q] = nearest(best[q], scores, block, seen, options.top)
        if sentences.cut and not cuts:
            example = (seen + sentences.cut[0] + 1, sentences.lengths[sentences.cut[0]])
        seen, cuts = seen + len(block), cuts + len(sentences.cut)
    if not seen:
        raise InputError(f"{options.file} has no line to compare with.")
    if cuts:
        note(words_about_cuts(cuts, seen, options.file, sentences.limit, *example))
    for sentence in unseen.sentences(options.file, ""):
        note(sentence)
    for query, hits in zip(queries, best, strict=True):
        say(query)
        for hit in hits:
            say(f"    {hit.cosine:.3f}  {hit.line}")
    return best


def note_defaults(loaded: LoadedModel, note: Note) -> None:
    """Say what nobody chose for this model, and what its authors chose and minilm leaves out."""
    settings = loaded.model.settings
    if not settings.stated:
        note(
            f"{loaded.folder} does not say how a text becomes a vector (no modules.json): it is the mean of its tokens."
        )
    if settings.similarity != "cosine":
        note(f"{loaded.folder} asks for the similarity '{settings.similarity}'; the figures are no cosines.")
    if settings.prompts and settings.default_prompt is None and any(prompt for _, prompt in settings.prompts):
        names = ", ".join(name for name, prompt in settings.prompts if prompt)
        note(f"{loaded.folder} has prompts for some uses ({names}) and none for all; texts are read without one.")


def similarity(queries: np.ndarray, lines: np.ndarray, kind: str = "cosine") -> np.ndarray:
    """How near each line [N, E] is to each query [Q, E], as [Q, N]; distances have a minus sign, so larger is nearer."""
    if kind in ("euclidean", "manhattan"):
        order = 2 if kind == "euclidean" else 1
        return np.stack([-np.linalg.norm(lines - query, ord=order, axis=1) for query in queries])
    if kind == "cosine":
        queries, lines = (x / np.linalg.norm(x, axis=1, keepdims=True).clip(1e-12) for x in (queries, lines))
    return queries @ lines.T


def nearest(best: list[Hit], cosines: np.ndarray, block: list[str], before: int, top: int) -> list[Hit]:
    """The `top` nearest of those found so far and those of a block. Of equal lines, only the first one counts."""
    known, new = {hit.line for hit in best}, {}
    for i, line in enumerate(block):
        if line not in known and line not in new:
            new[line] = Hit(float(cosines[i]), line, before + i + 1)
    return heapq.nsmallest(top, [*best, *new.values()], key=lambda hit: (-hit.cosine, hit.number))


def lines_of(name: str) -> Iterator[str]:
    """The lines that show something, or the sentences of a corpus. They are read one after another, as they are needed.

    Raises InputError for a file of tagged words, because its lines are no text.
    """
    path = Path(name)
    if path.is_file() and path.suffix.lower() not in (*files.LABELLED, *files.TAGGED):
        return (line.strip() for line in files.text_lines(path) if visible(line))
    return (sentence for document in corpus.documents(name) for sentence in document)
