"""The characters of a vocabulary: which ones get a token of their own, and what is said about the others."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import normalizers

from minilm.files.notes import Note

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


def lines_of(files: list[Path]) -> Iterator[str]:
    for file in files:
        with open(file, encoding="utf-8") as lines:
            yield from lines


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
