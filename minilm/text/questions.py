"""Questions about a text whose answers stand in it: JSON lines with `question`, `text`, `answer` and `start`.

    {"question": "谁会见了客人？", "text": "江泽民主席今天会见了客人。", "answer": "江泽民", "start": 0}

`start` is the number of characters before the answer. It may be left out if the answer stands in the text only once.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from minilm.errors import InputError
from minilm.text.characters import visible
from minilm.text.files import JSON_LINES, refuse_half_characters, text_lines


class Question(NamedTuple):
    """A question, the text that answers it, and the answer, text[start : start + len(answer)]; None if it is to be found."""

    question: str
    text: str
    answer: str | None = None
    start: int | None = None


def question_lines(path: Path, with_answers: bool = True) -> Iterator[Question]:
    """The questions of a JSON-lines file. Without `with_answers`, answers are not read.

    Raises InputError, which names the line, for a file of another kind, a missing field, an answer that does not stand in the
    text at `start`, one that stands there several times if there is no `start`, and answers to one question that overlap.
    """
    if path.suffix.lower() not in JSON_LINES:
        raise InputError(f"{path} does not end in {' or '.join(JSON_LINES)}: write one question per line, as JSON.")
    empty = True
    seen: dict[
        tuple[str, str], list[tuple[int, int, int]]
    ] = {}  # (question, text): the line, start and end of its answers
    for number, line in enumerate(text_lines(path), start=1):
        if visible(line):
            empty = False
            question = one_question(parsed(line, f"{path}, line {number}"), f"{path}, line {number}", with_answers)
            if question.answer is not None and question.start is not None:
                others = seen.setdefault((question.question, question.text), [])
                refuse_overlap(question.start, question.start + len(question.answer), others, f"{path}, line {number}")
                others.append((number, question.start, question.start + len(question.answer)))
            yield question
    if empty:
        raise InputError(f"{path} is empty: it has no questions.")


def refuse_overlap(start: int, end: int, others: list[tuple[int, int, int]], where: str) -> None:
    """Raises InputError if an answer shares characters with another answer to the same question about the same text."""
    for number, a, b in others:
        if start < b and a < end and (start, end) != (a, b):
            raise InputError(
                f"{where}: the answer from {start} to {end} overlaps the one of line {number}, from {a} to {b}: keep one of them."
            )


def parsed(line: str, where: str) -> dict[str, Any]:
    """The JSON object of a line."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise InputError(
            f'{where}: not a JSON object, such as {{"question": "...", "text": "...", "answer": "...", "start": 0}}.'
        )
    return row


def one_question(row: dict[str, Any], where: str, with_answers: bool = True) -> Question:
    """The question of one line, checked."""
    parts = []
    for name in ("question", "text", "answer")[: 3 if with_answers else 2]:
        value = row.get(name)
        if not isinstance(value, str) or not visible(value):
            what = f"has no {name!r}" if name not in row else f"{name!r} must be text with words in it"
            raise InputError(f"{where}: {what}.")
        refuse_half_characters(value, f"{where}: {name!r}")
        parts.append(value)
    if not with_answers:
        return Question(parts[0], parts[1])
    question, text, answer = parts
    return Question(question, text, answer, place_of(answer, text, row.get("start"), where))


def place_of(answer: str, text: str, start: Any, where: str) -> int:
    """Where the answer begins in the text. Raises InputError if it does not stand there, or may stand in several places."""
    if start is None:
        if answer not in text:
            raise InputError(f"{where}: the answer {answer[:30]!r} does not stand in the text, word for word.")
        if text.find(answer, text.find(answer) + 1) >= 0:
            raise InputError(f"{where}: the answer {answer[:30]!r} stands in the text more than once: give 'start'.")
        return text.find(answer)
    if type(start) is not int:
        raise InputError(f"{where}: 'start' must be a whole number, not {json.dumps(start)[:30]}.")
    if start < 0 or start + len(answer) > len(text):
        raise InputError(
            f"{where}: the answer from {start} to {start + len(answer)} lies outside the text, which has {len(text)} characters."
        )
    if text[start : start + len(answer)] != answer:
        raise InputError(
            f"{where}: at {start} the text has {text[start : start + len(answer)][:30]!r}, not the answer {answer[:30]!r}."
        )
    return start
