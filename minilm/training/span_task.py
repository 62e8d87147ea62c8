"""The task of finding the answer to a question in a text.  F07, F28, F30."""

import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from minilm.errors import InputError
from minilm.examples.spans import NO_ANSWER, EncodedQuestions, encode_questions
from minilm.files.notes import unheard
from minilm.models.heads import SpanHeadConfig
from minilm.text.files import Example
from minilm.text.questions import Question
from minilm.text.segmentation import RULES
from minilm.training.inference import of_rows
from minilm.training.span_decoding import best_spans
from minilm.training.task import Entity, Prediction, Task

LONGEST = 30  # tokens of an answer


class Answer(NamedTuple):
    """What a model answers: text[start:end], and how much more it scores than "the answer is not here"."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class SpanTask(Task):
    """Where the answer to a question begins and ends in a text. Examples are `Question`s."""

    labels: tuple[str, ...] = ("start", "end")
    name, per_token, metric = "span", True, "f1"

    @classmethod
    def names_of(cls, examples, where):
        return ("start", "end")

    @staticmethod
    def labels_of(examples):
        return ["start", "end"]

    def head(self, dropout=0.1, pooling="mean", crf=False, crf_constraints=False):
        """No pooling, because every token has its own vector."""
        if crf or crf_constraints:
            raise InputError("a CRF is for tagged words, and these are answers in texts: leave it out.")
        return SpanHeadConfig(self.labels, dropout)

    def encode(self, examples, tokenizer, max_length, *, truncate=False, where="the data", places=None, note=unheard):
        """Long texts are read through several windows, so `truncate` is not needed."""
        return encode_questions(self.as_questions(examples, where, places), tokenizer, max_length, where, places)

    def as_questions(self, examples, where, places) -> list[Question]:
        """Questions as they are; of an `Example`, the second text is the question."""
        out = []
        for i, example in enumerate(examples):
            if isinstance(example, Example):
                if example.pair is None:
                    name = f"text {(i if places is None else places[i]) + 1} of {where}"
                    raise InputError(
                        f"{name} has no question: give it with --pair, or a file of JSON lines with 'question'."
                    )
                example = Question(example.pair, example.text)
            out.append(example)
        return out

    def measure(self, model, examples, device):
        """Exact match and F1 of the answers, as SQuAD measures them (Rajpurkar et al., 2016, §6.1)."""
        answers = self.answers(model, examples, device)
        true = [question.answer or "" for question in examples.questions]
        scores = [answer_scores(answer.text, right) for answer, right in zip(answers, true, strict=True)]
        exact, f1 = (float(np.mean(column)) for column in zip(*scores, strict=True))
        return {"exact": exact, "f1": f1}

    def answers(self, model, examples: EncodedQuestions, device) -> list[Answer]:
        """The best answer to each question, over all windows of its text."""
        found: dict[int, tuple[float, int, int]] = {}
        rows = of_rows(model, examples, device, lambda logits: logits)
        for owner, window, row in zip(examples.owner, examples.windows, rows, strict=True):
            length = window.end - window.first
            inside = np.zeros((1, len(row)), dtype=bool)
            inside[0, window.before : window.before + length] = True
            (first, last), none = best_spans(row[None, :, 0], row[None, :, 1], inside, LONGEST)[0], row[NO_ANSWER].sum()
            score = float(row[first, 0] + row[last, 1] - none)
            if owner not in found or score > found[owner][0]:
                shift = window.first - window.before
                found[owner] = score, int(first) + shift, int(last) + shift
        out = []
        for i, question in enumerate(examples.questions):
            score, first, last = found[i]
            start, end = examples.offsets[i][first][0], examples.offsets[i][last][1]
            out.append(Answer(question.text[start:end], start, end, score))
        return out

    def predict(
        self, model, examples, tokenizer, max_length, *, truncate=False, where="the texts", places=None, note=unheard
    ):
        """The answer to each question, with its offsets in the text."""
        encoded = self.encode(examples, tokenizer, max_length, where=where, places=places, note=note)
        answers = self.answers(model, encoded, next(model.parameters()).device)
        return [
            Prediction(
                *(question.text, answer.text, None, (Entity("answer", answer.text, answer.start, answer.end),)),
                shown=f"{answer.text} {answer.start}–{answer.end}",
            )
            for question, answer in zip(encoded.questions, answers, strict=True)
        ]


def units_of(text: str) -> list[str]:
    """What two answers are compared by: Chinese characters and words, in lower case, without punctuation and articles."""
    units = [text[a:b].casefold() for a, b in RULES["mixed"][0](text)]
    return [
        unit for unit in units if not all(unicodedata.category(c)[0] in "PS" for c in unit) and unit not in ARTICLES
    ]


ARTICLES = ("a", "an", "the")


def answer_scores(guessed: str, true: str) -> tuple[float, float]:
    """Exact match (0 or 1), and the F1 of the units that both have."""
    G, T = units_of(guessed), units_of(true)
    both = sum((Counter(G) & Counter(T)).values())
    return float(G == T), 2 * both / (len(G) + len(T)) if G or T else float(G == T)
