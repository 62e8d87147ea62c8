"""Vocabularies: what gets a token (special tokens, characters, longer pieces), and the library's WordPiece around one."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import tokenizers
from tokenizers import models, normalizers, processors, trainers

from minilm.errors import InputError
from minilm.files.notes import Note

NAMES = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
SPECIAL_TOKENS = tuple(NAMES.values())

LONGEST_WORD = 100  # characters; the library makes a longer word [UNK], whatever the vocabulary holds
# what may be or hold a longer word; a character becomes four at most, and each Chinese one is a word of its own
LONG_RUN = re.compile(rf"[^ \t\n\r\u4e00-\u9fff]{{{LONGEST_WORD // 4 + 1},}}")
COVERAGE = 0.9999  # the share of the text whose characters enter a vocabulary before any longer piece


def first_characters(counts: dict[str, int], pieces: dict[str, list[str]], room: int) -> list[str]:
    """The characters that come before longer pieces: those of `COVERAGE`, and rarer ones in at most half of the room."""
    frequent, seen, total = [], 0, sum(counts.values())
    for c, count in counts.items():
        if seen >= COVERAGE * total:
            break
        frequent.append(c)
        seen += count
    chosen = fitting(frequent, pieces, room)
    used = sum(len(pieces[c]) for c in chosen)
    return chosen + fitting(list(counts)[len(frequent) :], pieces, room // 2 - used)


def fitting(characters: list[str], pieces: dict[str, list[str]], room: int) -> list[str]:
    """The characters, in their order, whose pieces fit into the room that those before them have left."""
    chosen = []
    for c in characters:
        if len(pieces[c]) <= room:
            chosen.append(c)
            room -= len(pieces[c])
    return chosen


def learn_pieces(files, without, vocab_size, pieces, alphabet, normalizer, pre_tokenizer) -> dict[str, int]:
    """The vocabulary that the library learns from the files with the characters of `alphabet`, as {piece: id}.

    `without` is what `long_words` found: for every pair of pieces the library looks through the whole of every word that holds
    it, so one word of a megabyte would take minutes, and teach nothing.
    """
    learner = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer, learner.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *(piece for c in sorted(alphabet) for piece in pieces[c][1:])],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    if without:
        learner.train_from_iterator(lines_of(files, without), trainer)
    else:
        learner.train([str(file) for file in files], trainer)
    return learner.get_vocab()


def long_words(files: list[Path], normalizer, pre_tokenizer, note: Note) -> dict[str, str]:
    """The runs of characters with a word of more than `LONGEST_WORD`, and what is left of each without these words.

    `note` hears of them.
    """
    left: dict[str, str] = {}
    found: dict[str, None] = {}  # a set that keeps its order
    for run in (run for line in lines_of(files) for run in LONG_RUN.findall(line)):
        if run not in left:
            words = [word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(run))]
            if too_long := [word for word in words if len(word) > LONGEST_WORD]:
                found.update(dict.fromkeys(too_long))
                left[run] = " ".join(word for word in words if len(word) <= LONGEST_WORD)
    if found:
        note(
            f"{len(found):,} different word(s) have more than {LONGEST_WORD} characters, such as '{next(iter(found))[:20]}…': "
            "they become [UNK], and the vocabulary learns nothing from them."
        )
    return left


def room_for_pieces(vocab_size: int) -> int:
    """How many pieces fit beside the special tokens. Raises InputError if there is no room for a single one."""
    if vocab_size <= len(SPECIAL_TOKENS):
        least = len(SPECIAL_TOKENS) + 1
        raise InputError(
            f"a vocabulary of {vocab_size} is too small: the special tokens need {least - 1}; give {least}."
        )
    return vocab_size - len(SPECIAL_TOKENS)


def say_what_differs(note: Note, size: int, wanted: int, counts: dict[str, int], known: set[str]) -> None:
    """Note a vocabulary smaller than the one that was asked for, and the characters for which there was no room."""
    if size < wanted:
        note(f"the vocabulary has {size:,} tokens, not the {wanted:,} asked for: the text gives no more pieces.")
    if missing := [c for c in counts if c not in known]:
        share = sum(counts[c] for c in missing) / sum(counts.values())
        note(
            f"{len(missing):,} of the {len(counts):,} different characters of the text do not fit into a vocabulary of "
            f"{wanted:,}, such as {missing[0]!r} (together {percent(share)} of the text): words that contain them become [UNK]."
        )


def percent(share: float) -> str:
    return f"{share:.2%}" if share >= 0.0001 else "less than 0.01%"


def lines_of(files: list[Path], without: Mapping[str, str] = {}) -> Iterator[str]:
    """The lines of the files, without what `long_words` found."""
    for file in files:
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                yield LONG_RUN.sub(lambda run: without.get(run[0], run[0]), line) if without else line


def commonest_characters(lines: Iterable[str], normalizer: normalizers.Normalizer) -> dict[str, int]:
    """How often each character occurs in the normalised text, the most frequent first; ties are ordered by code point."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line)
    normalised: Counter[str] = Counter()
    for character, count in counts.items():
        for c in normalizer.normalize_str(character):
            normalised[c] += count
    ranked = sorted(normalised.items(), key=lambda item: (-item[1], item[0]))
    return {c: count for c, count in ranked if not c.isspace()}


def wordpiece_backend(
    vocabulary: dict[str, int], normalizer, pre_tokenizer, decoder, unknown: str = "[UNK]"
) -> tokenizers.Tokenizer:
    backend = tokenizers.Tokenizer(
        models.WordPiece(vocabulary, unk_token=unknown, max_input_chars_per_word=LONGEST_WORD)
    )
    backend.normalizer, backend.pre_tokenizer, backend.decoder = normalizer, pre_tokenizer, decoder
    return backend


def with_bert_template(backend: tokenizers.Tokenizer, names: dict[str, str] = NAMES) -> tokenizers.Tokenizer:
    """Add BERT's template, so that other programs that open `tokenizer.json` also get [CLS] A [SEP] B [SEP]."""
    cls, sep = names["cls_token"], names["sep_token"]
    backend.post_processor = processors.TemplateProcessing(
        single=[cls, "$A", sep],
        pair=[cls, "$A", sep, "$B:1", f"{sep}:1"],
        special_tokens=[(token, backend.token_to_id(token)) for token in (cls, sep)],
    )
    return backend
