"""Labelled texts, text pairs and tagged lines → token ids with labels.  F07, F28, F31."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labels import IGNORED
from minilm.examples.subword_labels import subword_labels
from minilm.files.notes import Note, unheard
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine, line_number
from minilm.text.tokenizer import Tokenizer


def label_names(labels: list[str], where: str) -> tuple[str, ...]:
    """The different labels, sorted. Raises InputError if there is only one, because then there is nothing to learn."""
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise InputError(f"{where} has only one class, '{names[0]}': a classifier needs examples of two or more.")
    return names


def dataset(
    rows: list[list[int]],
    token_type_ids: list[list[int]],
    labels: list,
    tokenizer: Tokenizer,
    owner: list[int],
    **more: list,
) -> Dataset:
    """The columns of a data set for fine-tuning, with the values that pad them."""
    columns = {"input_ids": rows, "token_type_ids": token_type_ids, "labels": labels, **more}
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
    target: Callable[[Example, str], Any] | None = None,
) -> Dataset:
    """Texts, or pairs of texts, as rows of ids with special tokens and segments, one label per row (−100 if there is none).

    `target(example, name)` gives the labels of a task that has no classes, such as a number; `name` says, for a message, which
    text it is. `max_length` is the longest row that the model takes, with special tokens (None: any length). `places[i]` is the place
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
        if target is None and example.label is not None:
            refuse_unknown([example.label], number, name)
        row, segments = tokenizer.pair(a, b)
        rows.append(row)
        token_type_ids.append(segments)
        if target is not None:
            numbers.append(target(example, name))
        else:
            numbers.append(IGNORED if example.label is None else number[example.label])
    if were_cut:
        were = "was" if len(were_cut) == 1 else "were"
        note(
            f"{len(were_cut):,} of {len(examples):,} texts {were} cut at the end to fit into the model: {were_cut[0]}."
        )
    return dataset(rows, token_type_ids, numbers, tokenizer, list(range(len(rows))))


def refuse_unknown(given: Iterable[str], known: Collection[str], name: str) -> None:
    """Raises InputError, which begins with `name`, for a label that is not among those that are known."""
    for label in given:
        if label not in known:
            raise InputError(
                f"{name} has the label '{label}', which was not seen in training (the labels are {', '.join(known)})."
            )


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
    note: Note = unheard,
) -> Dataset:
    """All pieces of each word, of which the first carries the tag; the others, and special tokens, carry −100.

    A line that does not fit into a row is cut after a sentence, or else between two words; the columns `begins` and `ends` say
    of each row whether it begins and ends where its line does. Special tokens are not words:
    counting them as O would make the score look better than it is. `note` is told of words that are longer than a row.
    Raises InputError for a tag that is not among `tags`, and for a model whose rows have no room for a word.
    """
    number = {tag: i for i, tag in enumerate(tags)}
    room = None if max_length is None else max_length - 2
    if room is not None and room < 1:
        raise InputError(f"the model takes {max_length} tokens, and [CLS], a word and [SEP] need at least 3.")
    rows, token_type_ids, labels, owner, cut_short = [], [], [], [], []
    begins, ends = [], []
    for i, (line, words) in enumerate(
        zip(lines, tokenizer.pieces_of_words([line.tokens for line in lines]), strict=True)
    ):
        for k, tag in enumerate(line.tags):
            if tag not in number:
                known = f"which was not seen in training (the tags are {', '.join(tags)})"
                raise InputError(f"line {line_number(line, k) or i + 1} of {where} has the tag '{tag}', {known}.")
        if room is not None:
            cut_short += [token for token, ids in zip(line.tokens, words, strict=True) if len(ids) > room]
            words = [ids[:room] for ids in words]
        for start, end in pieces(line.tokens, room, [len(ids) for ids in words]):
            row, segments = tokenizer.pair([piece for ids in words[start:end] for piece in ids])
            owners = [None, *(k for k, ids in enumerate(words[start:end]) for _ in ids), None]
            (targets,) = subword_labels([[number[tag] for tag in line.tags[start:end]]], [owners])
            rows.append(row)
            token_type_ids.append(segments)
            labels.append(targets.tolist())
            owner.append(i)
            begins.append(start == 0)
            ends.append(end == len(line.tokens))
    if cut_short:
        what = (
            f"words with more pieces than a row of the model holds ({room}) were cut at their ends: {len(cut_short):,}"
        )
        note(f"{where}: {what}, such as '{cut_short[0][:20]}…'.")
    return dataset(rows, token_type_ids, labels, tokenizer, owner, begins=begins, ends=ends)


def pieces(tokens: list[str], room: int | None, sizes: Sequence[int] | None = None) -> list[tuple[int, int]]:
    """The first word and the last + 1 of each row of a line, so that none has more than `room` pieces.

    `sizes` says how many pieces each word has, at most `room` (None: one each). Rows end after sentences if possible.
    """
    sizes = [1] * len(tokens) if sizes is None else sizes
    borders, start, end, used = [], 0, 0, 0
    while room is not None and end < len(tokens):
        if used + sizes[end] <= room:
            used += sizes[end]
            end += 1
            continue
        ends = [i + 1 for i in range(start, end) if tokens[i] in SENTENCE_END]
        end = ends[-1] if ends else end
        borders.append((start, end))
        start, used = end, 0
    return [*borders, (start, len(tokens))]
