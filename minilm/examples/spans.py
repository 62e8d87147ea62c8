"""Questions about a text, whose answers stand in it word for word.  F07, F28.

A row is `[CLS] question [SEP] a part of the text [SEP]`. A text that does not fit is read through several windows, which overlap,
so that an answer at the border of one is whole in the next. A window without the whole answer points at [CLS], position 0.

Letters:  B batch · T tokens of a row
Source:   Devlin et al. (2019), BERT, §4.2–4.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labelled import dataset
from minilm.examples.labels import IGNORED
from minilm.text.library_errors import whole_characters
from minilm.text.questions import Question
from minilm.text.tokenizer import Tokenizer

Span = tuple[int, int]
NO_ANSWER = 0  # [CLS]
SHARED = 0.5  # of a window, with the next


class Window(NamedTuple):
    """A row of a question: which tokens of the text it shows, and behind how many other tokens of the row."""

    first: int
    end: int
    before: int


def inside_text(
    input_ids: Int[Tensor, "B T"], token_type_ids: Int[Tensor, "B T"] | None, attention_mask: Bool[Tensor, "B T"] | None
) -> Bool[Tensor, "B T"]:
    """Where an answer may begin and end: at the tokens of the text (segment 1, without its [SEP]), and at [CLS]."""
    if token_type_ids is None:
        raise InputError("spans need segments that tell the question from the text: give token_type_ids.")
    mask = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask
    inside = (token_type_ids == 1) & mask
    last = inside.sum(dim=1) + (token_type_ids == 0).logical_and(mask).sum(dim=1) - 1  # [SEP]
    rows = torch.arange(len(input_ids), device=input_ids.device)
    inside[rows, last] = False
    inside[:, NO_ANSWER] = True
    return inside


def offsets_of(text: str, tokenizer: Tokenizer) -> list[Span]:
    """Where each token of a text stands in it: text[start:end]."""
    with whole_characters([text]):
        return tokenizer.backend.encode(text, add_special_tokens=False).offsets


def windows(length: int, room: int | None, before: int) -> list[Window]:
    """Windows over the tokens of a text, each of at most `room` tokens (None: any), that share half of their tokens."""
    if room is None or length <= room:
        return [Window(0, length, before)]
    step = max(1, int(room * (1 - SHARED)))
    firsts = [*range(0, length - room, step), length - room]
    return [Window(first, first + room, before) for first in firsts]


def tokens_of_answer(question: Question, offsets: Sequence[Span]) -> Span | None:
    """The first and the last token, of those of the text, that the answer touches. None if there is no answer."""
    if question.answer is None or question.start is None:
        return None
    start, end = question.start, question.start + len(question.answer)
    touched = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
    return (touched[0], touched[-1]) if touched else None


@dataclass(frozen=True)
class EncodedQuestions(Dataset):
    """Questions as rows; of each row its window, and of each question itself the offsets of the tokens of its text."""

    windows: list[Window]
    offsets: list[list[Span]]
    questions: list[Question]


def encode_questions(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    max_length: int | None,
    where: str = "the data",
    places: Sequence[int] | None = None,
) -> EncodedQuestions:
    """The rows of all questions. The labels of a row are [first, last], the tokens of its answer, or [0, 0] for [CLS].

    Raises InputError for a question that leaves no room for the text, a text without a token, and an answer of which the
    tokenizer keeps nothing.
    """
    asked = tokenizer.ids([question.question for question in questions])
    rows, segments, labels, owner, shown, all_offsets = [], [], [], [], [], []
    for i, (question, ids) in enumerate(zip(questions, asked, strict=True)):
        name = f"question {(i if places is None else places[i]) + 1} of {where}"
        (text,), offsets = tokenizer.ids([question.text]), offsets_of(question.text, tokenizer)
        before, span = len(ids) + 2, tokens_of_answer(question, offsets)
        room = None if max_length is None else max_length - before - 1
        if room is not None and room < 1:
            raise InputError(
                f"{name} has {len(ids)} tokens, and the model takes {max_length} with the text: shorten it."
            )
        if not text:
            raise InputError(f"{name} has a text without words.")
        if question.answer is not None and span is None:
            raise InputError(f"{name}: the tokenizer keeps nothing of the answer {question.answer[:30]!r}.")
        for window in windows(len(text), room, before):
            row, kinds = tokenizer.pair(ids, text[window.first : window.end])
            rows.append(row)
            segments.append(kinds)
            whole = span is not None and window.first <= span[0] and span[1] < window.end
            place = [token - window.first + before for token in span] if span and whole else [NO_ANSWER, NO_ANSWER]
            labels.append(place if question.answer is not None else [IGNORED, IGNORED])
            owner.append(i)
            shown.append(window)
        all_offsets.append(offsets)
    plain = dataset(rows, segments, labels, tokenizer, owner)
    return EncodedQuestions(plain.columns, plain.pad_values, owner, shown, all_offsets, list(questions))
