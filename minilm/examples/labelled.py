"""Labelled texts, text pairs and tagged lines → token ids with labels.  F07, F28, F31."""

from collections.abc import Sequence

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labels import IGNORED
from minilm.files.notes import Note, unheard
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer


def label_names(labels: list[str], where: str) -> tuple[str, ...]:
    """The different labels, sorted. Raises InputError if there is only one, because then there is nothing to learn."""
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise InputError(f"{where} has only one class, '{names[0]}': a classifier needs examples of two or more.")
    return names


def dataset(
    rows: list[list[int]], token_type_ids: list[list[int]], labels: list, tokenizer: Tokenizer, owner: list[int]
) -> Dataset:
    """The columns of a data set for fine-tuning, with the values that pad them."""
    columns = {"input_ids": rows, "token_type_ids": token_type_ids, "labels": labels}
    return Dataset(columns, {"input_ids": tokenizer.pad, "token_type_ids": 0, "labels": IGNORED}, owner)


def encode_texts(
    examples: list[Example],
    labels: tuple[str, ...],
    tokenizer: Tokenizer,
    max_length: int | None,
    truncate: bool = False,
    where: str = "the data",
    places: Sequence[int] | None = None,
    note: Note = unheard,
) -> Dataset:
    """Texts, or pairs of texts, as rows of ids with special tokens and segments, one label per row (−100 if there is none).

    `max_length` is the longest row that the model takes, with special tokens (None: any length). `places[i]` is the place
    of example i in `where`, counted from 0, so that messages name the right text even after shuffling.

    Raises InputError for a label that is not among `labels`, and for a text that is too long, unless `truncate` allows it
    to be cut at its end (in a pair, the longer text is cut first). How many were cut is said in a `note`.
    """
    were_cut: list[str] = []
    number = {label: i for i, label in enumerate(labels)}
    first = tokenizer.ids([example.text for example in examples])
    second = tokenizer.ids([example.pair or "" for example in examples])
    rows, token_type_ids, numbers = [], [], []
    for i, example in enumerate(examples):
        a, b = first[i], None if example.pair is None else second[i]
        room = None if max_length is None else max_length - (2 if b is None else 3)
        length = len(a) + len(b or [])
        name = f"text {(i if places is None else places[i]) + 1} of {where}"
        if room is not None and length > room:
            if not truncate:
                raise InputError(
                    f"{name} has {length} tokens and the model takes {room}: "
                    "shorten it, or allow long texts to be cut with --truncate."
                )
            a, b = cut(a, b, room)
            were_cut.append(f"{name} from {length:,} to {room:,} tokens")
        if example.label is not None and example.label not in number:
            raise InputError(
                f"{name} has the label '{example.label}', which was not seen in training "
                f"(the labels are {', '.join(labels)})."
            )
        row, segments = tokenizer.pair(a, b)
        rows.append(row)
        token_type_ids.append(segments)
        numbers.append(IGNORED if example.label is None else number[example.label])
    if were_cut:
        texts = "text was" if len(examples) == 1 else "texts were"
        note(f"{len(were_cut):,} of {len(examples):,} {texts} cut at the end to fit into the model: {were_cut[0]}.")
    return dataset(rows, token_type_ids, numbers, tokenizer, list(range(len(rows))))


def cut(a: list[int], b: list[int] | None, room: int) -> tuple[list[int], list[int] | None]:
    """Shorten both at their ends until they have `room` tokens together, the longer one first.

    If both are longer than half of the room, an odd token is left to the longer one, or to B if they are equally long: so
    `tokenizers` does it, and models that others trained were trained so.
    """
    if b is None:
        return a[:room], None
    shorter = min(len(a), len(b), room // 2)
    kept_a, kept_b = (shorter, room - shorter) if len(a) <= len(b) else (room - shorter, shorter)
    return a[:kept_a], b[:kept_b]


SENTENCE_END = frozenset("。！？；.!?;")


def encode_tagged(
    lines: list[TaggedLine],
    tags: tuple[str, ...],
    tokenizer: Tokenizer,
    max_length: int | None,
    where: str = "the data",
) -> Dataset:
    """One id and one tag for each word. A line that does not fit is cut after a sentence, or else where the room ends.

    Special tokens carry −100: they are not words, and counting them as O would make the score look better than it is.
    Raises InputError for a tag that is not among `tags`.
    """
    number = {tag: i for i, tag in enumerate(tags)}
    rows, token_type_ids, labels, owner = [], [], [], []
    for i, (line, ids) in enumerate(zip(lines, tokenizer.ids_of_words([line.tokens for line in lines]), strict=True)):
        unknown = sorted(set(line.tags) - number.keys())
        if unknown:
            raise InputError(
                f"line {i + 1} of {where} has the tag '{unknown[0]}', which was not seen in training "
                f"(the tags are {', '.join(tags)})."
            )
        for start, end in pieces(line.tokens, None if max_length is None else max_length - 2):
            row, segments = tokenizer.pair(ids[start:end])
            rows.append(row)
            token_type_ids.append(segments)
            labels.append([IGNORED, *(number[tag] for tag in line.tags[start:end]), IGNORED])
            owner.append(i)
    return dataset(rows, token_type_ids, labels, tokenizer, owner)


def pieces(tokens: list[str], room: int | None) -> list[tuple[int, int]]:
    """The start and end of each piece of a line, so that none has more than `room` tokens; cuts follow sentences if possible."""
    borders, start = [], 0
    while room is not None and len(tokens) - start > room:
        ends = [i + 1 for i in range(start, start + room) if tokens[i] in SENTENCE_END]
        end = ends[-1] if ends else start + room
        borders.append((start, end))
        start = end
    return [*borders, (start, len(tokens))]
