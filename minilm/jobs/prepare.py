"""A corpus made ready for training: plain text, tokenizer, ids. Done once; every later run finds it.

<cache>/<corpus>-<key>/
    train.txt  held_out.txt     one sentence a line, a blank line between documents: look at them
    tokenizer.json              learnt from train.txt alone
    train/  held_out/           the stores of ids
    prepared.json               written last: its presence says that the rest is complete
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
from minilm.text import corpus
from minilm.text.store import Store, open_store, write_store
from minilm.text.tokenizer import Tokenizer, train_characters, train_wordpiece


@dataclass(frozen=True)
class Prepared:
    folder: Path
    tokenizer: Tokenizer
    train: Store
    held_out: Store
    seconds: float  # 0 when everything was found


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
) -> Prepared:
    """`name` is a corpus or a path. `held_out` documents (at most a fifth of them) never enter training.

    `units` is "wordpiece" or "characters"; a `tokenizer` that is given is used instead of a new one.
    """
    if units not in ("wordpiece", "characters"):
        raise InputError(f"units '{units}' are not known: choose wordpiece or characters.")
    if vocab_size < 100:
        raise InputError(f"a vocabulary of {vocab_size} is too small: give at least 100.")
    given = hashlib.sha256(tokenizer.to_json().encode()).hexdigest() if tokenizer else None
    settings = [fingerprint(name), vocab_size, units, lowercase, held_out, seed, given, VERSION]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]
    folder = cache / f"{Path(name).stem}-{key}"
    started = time.perf_counter()
    if not (folder / "prepared.json").exists():
        say(f"reading {name}")
        folder.mkdir(parents=True, exist_ok=True)
        write_texts(corpus.documents(name), held_out, seed, folder, name)
        if tokenizer is None:
            say("learning the vocabulary")
            tokenizer = learn_vocabulary(folder / "train.txt", vocab_size, units, lowercase)
        (folder / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        say("turning text into ids")
        for part in ("train", "held_out"):
            write_store(read_documents(folder / f"{part}.txt"), tokenizer, folder / part)
        (folder / "prepared.json").write_text(json.dumps(settings), encoding="utf-8")
    seconds = time.perf_counter() - started
    try:
        parts = Tokenizer.load(folder), open_store(folder / "train"), open_store(folder / "held_out")
    except InputError as error:
        again = f"delete the folder {folder}, and it will be made again"
        raise InputError(f"{str(error).removesuffix('.')}; {again}.") from None
    return Prepared(folder, *parts, seconds if seconds > 1 else 0.0)


VERSION = 2  # raise it when the files' contents change, so that old ones are not taken for new ones


def fingerprint(name: str) -> str:
    """What the corpus contains, as one hash: a file that was edited is another corpus."""
    if name in corpus.CORPORA:
        return "-".join(corpus.CORPORA[name].files.values())
    path = Path(name)
    files = sorted(file for file in path.iterdir() if file.suffix.lower() == ".txt") if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(str(file).encode())
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def write_texts(
    documents: Iterator[list[str]], held_out: int, seed: int, folder: Path, name: str = "the corpus"
) -> None:
    """Every document into train.txt or held_out.txt, in one reading. A single document, such as a book, is cut in two: the
    last fifth of its sentences (at most `held_out`) is held out.

    Which documents are held out must be drawn before their number is known: a first reading would cost as much as all the
    rest. So all go to a draft, which is then dealt out line by line.

    Raises InputError if one of the two parts cannot give a sentence pair.
    """
    draft = folder / "all.growing"
    sizes: list[int] = []  # sentences of each document
    with open(draft, "w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            lines = [" ".join(sentence.split()) for sentence in document]
            file.writelines(line + "\n" for line in lines if line)
            file.write("\n")
            sizes.append(sum(map(bool, lines)))
    cut = 0  # the sentences before the border that is drawn through a single document
    if len(sizes) == 1:
        cut = sizes[0] - max(3, min(held_out, sizes[0] // 5))
        sizes, chosen = [max(cut, 0), sizes[0] - max(cut, 0)], {1}
    else:
        chosen = set(held_out_documents(len(sizes), held_out, seed).tolist())
    check_pairs(sizes, chosen, name)
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


def check_pairs(sizes: list[int], chosen: set[int], name: str) -> None:
    """A pair needs two sentences of one document, and a false one a third from elsewhere."""
    parts = [size for i, size in enumerate(sizes) if i not in chosen], [sizes[i] for i in sorted(chosen)]
    for part, what in zip(parts, ("to learn from", "held out"), strict=True):
        if max(part, default=0) < 2 or sum(part) < 3:
            raise InputError(
                f"no sentence pairs can be made of what is {what} in {name} ({sum(part)} sentence(s) in {len(part)} "
                "document(s)): write one sentence a line and a blank line between documents, two sentences or more in each."
            )


def held_out_documents(count: int, held_out: int, seed: int) -> np.ndarray:
    """The numbers of the documents that are kept apart: `held_out` of them, a fifth at most, one at least."""
    held_out = max(1, min(held_out, count // 5)) if count > 1 else 0
    return np.random.default_rng(seed).permutation(count)[:held_out]


def learn_vocabulary(text: Path, vocab_size: int, units: str, lowercase: bool) -> Tokenizer:
    if units == "wordpiece":
        return train_wordpiece([text], vocab_size, lowercase)
    with open(text, encoding="utf-8") as lines:
        return train_characters(lines, vocab_size, lowercase)


def read_documents(text: Path) -> Iterator[list[str]]:
    """Documents of a file that `write_texts` wrote."""
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
