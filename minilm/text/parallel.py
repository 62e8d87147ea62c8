"""Pairs of texts that mean the same: reading them, splitting them without leaks, and a tokenizer for both sides.

A pair is (source, target). A placeholder is what a program replaces when it shows a string: %1, %s, %(name)s, {name}. A
translation that loses one is worse than none, because the program then fails.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from jaxtyping import Float
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.text.files import text_lines
from minilm.text.tokenizer import Tokenizer
from minilm.text.vocabulary import SPECIAL_TOKENS, room_for_pieces, with_bert_template
from minilm.text.word_vectors import appearances, unit, word_vectors

Pair = tuple[str, str]

PLACEHOLDER = re.compile(r"%\(\w+\)[a-zA-Z]|%\d+|%[sdrif]|\{[\w.!:]*\}")
# A placeholder, a Chinese character and a digit are pieces of their own, so that each can be copied; so is everything else
# that is no letter. The other letters form words, with the space before them.
PIECES = rf"{PLACEHOLDER.pattern}|\p{{Han}}|\d| ?[\p{{L}}&&[^\p{{Han}}]]+|[^\p{{L}}\d]"


def placeholders(text: str) -> Counter[str]:
    """The placeholders of a text, and how often each occurs."""
    return Counter(PLACEHOLDER.findall(text))


def read_parallel(source: Path, target: Path) -> list[Pair]:
    """The pairs of two text files: line n of one means the same as line n of the other.

    Raises InputError if a file is missing or empty, if they have different numbers of lines, or if a line is empty.
    """
    sides: list[list[str]] = []
    for path in (source, target):
        if not path.is_file():
            raise InputError(f"no such file: {path}.")
        lines = [line.strip() for line in text_lines(path)]
        if not any(lines):
            raise InputError(f"{path} is empty: write one text per line.")
        if "" in lines:
            raise InputError(
                f"{path}, line {lines.index('') + 1} is empty: remove it in both files, or write its text."
            )
        sides.append(lines)
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            f"{source} has {len(sides[0]):,} lines and {target} has {len(sides[1]):,}: line n of one must mean the same as line "
            "n of the other."
        )
    return list(zip(*sides, strict=True))


def likeness(text: str) -> str:
    """What two strings have in common that a person would call the same: letters and digits alone, without placeholders."""
    return re.sub(r"[\W_]+", "", PLACEHOLDER.sub("", text).casefold()) or text


def without_duplicates(pairs: Iterable[Pair]) -> list[Pair]:
    """The first pair of each source. (Programs translate the same string again, sometimes in another way.)"""
    first: dict[str, str] = {}
    for source, target in pairs:
        first.setdefault(source, target)
    return list(first.items())


def shorter(pairs: Sequence[Pair], longest: int, note: Note = unheard) -> list[Pair]:
    """The pairs whose source and target have at most `longest` characters; `note` hears how many are left out."""
    kept = [pair for pair in pairs if max(map(len, pair)) <= longest]
    if len(kept) < len(pairs):
        note(
            f"{len(pairs) - len(kept):,} of {len(pairs):,} pairs have more than {longest} characters; they are left out."
        )
    return kept


def families(pairs: Sequence[Pair]) -> list[list[int]]:
    """The numbers of the pairs in groups: two pairs are in one group if their sources or their targets are alike."""
    leader = list(range(len(pairs)))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    seen: dict[tuple[int, str], int] = {}
    for i, pair in enumerate(pairs):
        for key in enumerate(map(likeness, pair)):
            leader[find(i)] = find(seen.setdefault(key, i))
    groups: dict[int, list[int]] = {}
    for i in range(len(pairs)):
        groups.setdefault(find(i), []).append(i)
    return list(groups.values())


def split_apart(
    pairs: Sequence[Pair], test: int, development: int, seed: int
) -> tuple[list[Pair], list[Pair], list[Pair]]:
    """(training, development, test): random parts, such that no source or target of one is alike to one of another.

    Whole families (see above) go to one part; of a family in the development part or the test set, one pair is used.
    Raises InputError if there are too few families.
    """
    groups = families(pairs)
    if len(groups) < test + development + 1:
        raise InputError(
            f"{len(pairs):,} pairs, of which {len(groups):,} are different, cannot be split into {test:,} for the test, "
            f"{development:,} for choices and some to learn from: give more pairs."
        )
    order = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    held_out = [[pairs[group[0]] for group in part] for part in (order[:test], order[test : test + development])]
    chosen = sorted(i for group in order[test + development :] for i in group)
    return [pairs[i] for i in chosen], held_out[1], held_out[0]


def learn_tokenizer(pairs: Iterable[Pair], vocab_size: int = 4096) -> Tokenizer:
    """One tokenizer for both sides, so that a token of the source can be copied: byte-level BPE within `PIECES`.

    Every text comes back exactly. Raises InputError if `vocab_size` leaves no room for the 256 bytes.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if room_for_pieces(vocab_size) < len(alphabet):
        least = len(SPECIAL_TOKENS) + len(alphabet)
        raise InputError(f"a vocabulary of {vocab_size} is too small for bytes: give at least {least}.")
    backend = tokenizers.Tokenizer(models.BPE())
    pieces = pre_tokenizers.Split(Regex(PIECES), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([pieces, as_bytes])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIAL_TOKENS), initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator((text for pair in pairs for text in pair), trainer)
    return Tokenizer(with_bert_template(backend))


def pair_vectors(pairs: Sequence[Pair], tokenizer: Tokenizer, size: int, seed: int) -> Float[np.ndarray, "V C"]:
    """One vector of length 1 for every token of both languages, such that a word is near its translation.  F34.

    Both sides of a pair count as one document. *delete* and 删 occur in the same documents, so they get nearly the same vector,
    and a model that starts from them need not find out from scratch which words belong together. Tokens that no pair has
    get zeros. The vectors have `size` features, or as many as there are tokens or pairs if these are fewer.
    Source: Dumais, Landauer and Littman (1997), Automatic Cross-Linguistic Information Retrieval using Latent Semantic
    Indexing; the counts are weighted as in `word_vectors`.
    """
    sides = [tokenizer.ids(list(side)) for side in zip(*pairs, strict=True)]
    documents = [[*source, *target] for source, target in zip(*sides, strict=True)]
    ids = np.array([i for document in documents for i in document], dtype=np.int64)
    borders = np.cumsum([0, *map(len, documents)])
    counts = appearances(ids, borders, tokenizer.size, sorted(tokenizer.special_ids))
    return unit(word_vectors(counts, min(size, *counts.shape), seed))
