"""Prepare a corpus for training: plain text, tokenizer and token ids. This happens once; every later run reuses it.

<cache>/<corpus>-<key>/
    train.txt  held_out.txt     one sentence per line, a blank line between documents; you can read them
    tokenizer.json              learned from train.txt only
    notes.txt                   what the tokenizer does not see of train.txt, if there is anything
    train/  held_out/           the stores of token ids
    prepared.json               written last: if it exists, everything else is complete
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minilm.errors import InputError
from minilm.files.atomic import write_text
from minilm.files.lock import in_turn
from minilm.files.notes import FILE as NOTES, Note, Notes, unheard
from minilm.text import corpus
from minilm.text.causal_tokenizer import train_bytes
from minilm.text.files import LABELLED, text_files
from minilm.text.remarks import Seen
from minilm.text.store import Store, open_store, write_store
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece


@dataclass(frozen=True)
class Prepared:
    folder: Path
    tokenizer: Tokenizer
    train: Store
    held_out: Store
    seconds: float  # 0 if everything was there already


def prepare(
    name: str,
    cache: Path,
    vocab_size: int = 8192,
    units: str = "wordpiece",
    lowercase: bool = True,
    held_out: int = 4000,
    seed: int = 0,
    tokenizer: Tokenizer | None = None,
    say: Callable[[str], None] = print,
    strip_accents: bool | None = None,
    note: Note = unheard,
    pairs: bool = True,
) -> Prepared:
    """Prepare the corpus `name` (a corpus or a path) in `cache`, or reuse what an earlier run prepared.

    `held_out` documents (at most a fifth of all) never enter training. `units` is one of `UNITS`.
    `strip_accents` None: as `lowercase` says. If you give a `tokenizer`, it is used instead of learning one. `note` hears
    what was left out and what the tokenizer does not see, also when an earlier run prepared the corpus. With `pairs`, both
    parts of the corpus must give sentence pairs. Raises InputError if the settings or the corpus do not work.
    """
    if units not in UNITS:
        raise InputError(f"units '{units}' are not known: choose one of {', '.join(UNITS)}.")
    if vocab_size < 100:
        raise InputError(f"a vocabulary of {vocab_size} is too small: give at least 100.")
    given = hashlib.sha256(tokenizer.to_json().encode()).hexdigest() if tokenizer else None
    settings = [fingerprint(name), vocab_size, units, lowercase, strip_accents, held_out, seed, given, VERSION]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = cache / f"{Path(name).stem[:LONGEST_NAME]}-{key}"
    started = time.perf_counter()
    if not (folder / "prepared.json").exists():
        with in_turn(folder / "preparing.lock", lambda: say(f"waiting for another process, which is preparing {name}")):
            if not (folder / "prepared.json").exists():  # the other one may have done it meanwhile
                how = (vocab_size, units, lowercase, strip_accents)
                fill(folder, name, held_out, seed, tokenizer, how, pairs, say)
                write_text(folder / "prepared.json", json.dumps(settings))
    if (folder / NOTES).exists():
        for line in (folder / NOTES).read_text(encoding="utf-8").rstrip("\n").split("\n"):
            note(line)
    seconds = time.perf_counter() - started
    try:
        parts = Tokenizer.load(folder), open_store(folder / "train"), open_store(folder / "held_out")
    except InputError as error:
        again = f"delete the folder {folder}, and the next run makes it again"
        raise InputError(f"{str(error).removesuffix('.')}; {again}.") from None
    return Prepared(folder, *parts, seconds if seconds > 1 else 0.0)


def fill(
    folder: Path,
    name: str,
    held_out: int,
    seed: int,
    tokenizer: Tokenizer | None,
    how: tuple[int, str, bool, bool | None],
    pairs: bool,
    say: Callable[[str], None],
) -> None:
    """Write everything but `prepared.json`. `how` a vocabulary is learned: its size, units, lowercase, strip_accents."""
    say(f"reading {name}")
    folder.mkdir(parents=True, exist_ok=True)
    notes, keep_accents = Notes(unheard), ""
    write_texts(corpus.documents(name, note=notes), held_out, seed, folder, name, pairs)
    if tokenizer is None:
        say("learning the vocabulary")
        tokenizer = learn_vocabulary(folder / "train.txt", *how, notes)
        keep_accents = "--strip-accents False keeps accents" if how[-1] is None else ""
    tokenizer.save(folder)
    say("turning text into ids")
    seen = Seen(tokenizer)
    write_store(read_documents(folder / "train.txt"), tokenizer, folder / "train", notes, seen.add)
    for sentence in seen.sentences(f"the text of {name}", keep_accents):
        notes(sentence)
    write_store(read_documents(folder / "held_out.txt"), tokenizer, folder / "held_out", notes)
    notes.write(folder)


UNITS = ("wordpiece", "characters", "bytes")
VERSION = 3  # raise it when the contents of the files change, so that old files are not reused
LONGEST_NAME = 40  # characters of the corpus in the name of a folder, where many systems allow 255 bytes


def fingerprint(name: str) -> str:
    """One hash of what the corpus contains and how it is read, wherever it lies: an edited file counts as another corpus."""
    if name in corpus.CORPORA:
        return "-".join(corpus.CORPORA[name].files.values())
    corpus.documents(name)  # raises InputError if there is no such file
    path = Path(name)
    digest = hashlib.sha256(path.suffix.lower().encode() if path.suffix.lower() in LABELLED else b"text")
    for file in text_files(path):
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def write_texts(
    documents: Iterator[list[str]],
    held_out: int,
    seed: int,
    folder: Path,
    name: str = "the corpus",
    pairs: bool = True,
) -> None:
    """Write every document to train.txt or held_out.txt, reading the corpus only once. A single document, such as a book, is
    cut in two: the last fifth of its sentences (at most `held_out`) is held out.

    We can draw the held-out documents only when we know how many documents there are, but reading the corpus twice would
    cost too much. So all documents first go to a draft file, which is then split line by line.

    Raises InputError if one of the two parts is empty or, with `pairs`, cannot give a sentence pair.
    """
    draft = folder / "all.growing"
    sizes: list[int] = []  # sentences of each document
    with open(draft, "w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            lines = [" ".join(sentence.split()) for sentence in document]
            file.writelines(line + "\n" for line in lines if line)
            file.write("\n")
            sizes.append(sum(map(bool, lines)))
    cut = 0  # the number of sentences before the cut through a single document
    if len(sizes) == 1:
        cut = sizes[0] - max(3 if pairs else 1, min(held_out, sizes[0] // 5))
        sizes, chosen = [max(cut, 0), sizes[0] - max(cut, 0)], {1}
    else:
        chosen = set(held_out_documents(len(sizes), held_out, seed).tolist())
    check_parts(sizes, chosen, name, pairs)
    paths = folder / "train.txt", folder / "held_out.txt"
    with (
        open(draft, encoding="utf-8") as source,
        open(paths[0], "w", encoding="utf-8", newline="\n") as train,
        open(paths[1], "w", encoding="utf-8", newline="\n") as held,
    ):
        number = 0
        for count, line in enumerate(source, start=1):
            (held if number in chosen else train).write(line)
            number += line == "\n" or count == cut
    os.remove(draft)


def check_parts(sizes: list[int], chosen: set[int], name: str, pairs: bool = True) -> None:
    """Raise InputError if a part has no sentence or, with `pairs`, too few: two from one document, and a third for a false pair."""
    parts = [size for i, size in enumerate(sizes) if i not in chosen], [sizes[i] for i in sorted(chosen)]
    for part, what in zip(parts, ("training", "held-out"), strict=True):
        which = f"the {what} part of {name} ({sum(part)} sentence(s) in {len(part)} document(s))"
        how = "write one sentence per line, a blank line between documents"
        if pairs and (max(part, default=0) < 2 or sum(part) < 3):
            raise InputError(
                f"no sentence pairs can be made from {which}: {how}, and 2 or more sentences in each; or train without pairs, "
                "with --next-sentence-weight 0."
            )
        if not sum(part):
            raise InputError(f"nothing is left for {which}: {how}, and at least two sentences.")


def held_out_documents(count: int, held_out: int, seed: int) -> np.ndarray:
    """The numbers of the held-out documents: `held_out` of them, but at most a fifth of all and at least one."""
    held_out = max(1, min(held_out, count // 5)) if count > 1 else 0
    return np.random.default_rng(seed).permutation(count)[:held_out]


def learn_vocabulary(
    text: Path,
    vocab_size: int,
    units: str,
    lowercase: bool,
    strip_accents: bool | None = None,
    note: Note = unheard,
) -> Tokenizer:
    """The tokenizer for these settings, learned from one text file. `strip_accents` None: as `lowercase` says."""
    if units == "wordpiece":
        return train_wordpiece([text], vocab_size, lowercase, strip_accents, note)
    if units == "bytes":
        return train_bytes([text], vocab_size, lowercase, strip_accents, note)
    with open(text, encoding="utf-8") as lines:
        return train_characters(lines, vocab_size, lowercase, strip_accents, note)


def read_documents(text: Path) -> Iterator[list[str]]:
    """The documents of a file that `write_texts` wrote, one at a time."""
    document: list[str] = []
    with open(text, encoding="utf-8") as lines:
        for line in lines:
            if line == "\n":
                yield document
                document = []
            else:
                document.append(line[:-1])
    if document:
        yield document


def document_sizes(text: Path, tokenizer: Tokenizer, store: Store) -> np.ndarray:
    """How long the text of each document of a store is, in characters and in bytes of UTF-8: int64 [documents, 2].

    `text` is the file that the store was made from. The sentences of a document count with a space between them.
    """
    documents = [" ".join(sentences) for sentences in read_documents(text) if sentences]
    if len(documents) > len(store.documents) - 1:  # without the documents of which the tokenizer sees nothing
        documents = [document for document, ids in zip(documents, tokenizer.ids(documents), strict=True) if ids]
    return np.array([(len(document), len(document.encode())) for document in documents], dtype=np.int64)
