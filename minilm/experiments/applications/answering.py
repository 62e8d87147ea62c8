"""A service that answers: it finds the known question nearest to a new one, and says nothing if it is too far away.

A reply is resolved if it is an answer that belongs to the question, false if it is another one, and an abstention if the cosine
is below a threshold. The threshold is chosen on a development part: the lowest one at which at most a given share of all
questions gets a false answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import NamedTuple

import numpy as np

from minilm.errors import InputError
from minilm.experiments.applications.vectors import TextVectors, median_milliseconds
from minilm.files.notes import Note, unheard
from minilm.files.tensors import read_json
from minilm.text import corpus
from minilm.text.written_answers import TOPICS, Question, key_of

BASE = (
    "tech_support",
    "computers",
    "science",
    "history",
    "trivia",
    "coding",
)  # topics whose questions have answers here
ANSWERABLE, NEAR, FAR = "answerable", "near miss", "another topic"


class Asked(NamedTuple):
    """A question that is put to the service: its kind, the answers that are right (none, if it should abstain), and its `source`.

    Questions with the same source ask for the same thing, so that they must be in the same part of a split.
    """

    text: str
    kind: str
    right: frozenset[str]
    source: str


class Reply(NamedTuple):
    """What the service has to say: an answer, the known question that it belongs to, and the cosine of the two questions."""

    answer: str
    question: str
    cosine: float


@dataclass(frozen=True)
class Service:
    """Known questions with their answers, and the vectors that they are found by."""

    known: list[Question]
    vectors: TextVectors
    table: np.ndarray  # [N, E], one row for each known question

    @classmethod
    def of(cls, known: list[Question], vectors: TextVectors) -> "Service":
        """Fit the vectors to the known questions. Raises InputError if there are none."""
        if not known:
            raise InputError("there is no question with an answer to learn.")
        texts = [question.text for question in known]
        vectors.fit(texts)
        return cls(known, vectors, vectors(texts))

    def replies(self, texts: Sequence[str]) -> list[Reply]:
        """The answer of the nearest known question, for each text. Of several answers it is the first one."""
        cosines = self.vectors(texts) @ self.table.T  # [Q, N]
        best = cosines.argmax(axis=1)
        return [
            Reply(self.known[i].answers[0], self.known[i].text, float(cosine))
            for i, cosine in zip(best, cosines.max(axis=1), strict=True)
        ]

    def milliseconds(self, texts: Sequence[str]) -> float:
        """The median time of one reply on one core, question by question; one before them does not count."""
        self.replies(texts[:1])
        return median_milliseconds([partial(self.replies, [text]) for text in texts])


def known_questions(note: Note = unheard) -> tuple[list[Question], dict[str, list[Question]], int]:
    """The questions of the topics that the service answers, those of all topics by topic, and how many rows they have in the files."""
    found = {topic: corpus.written_answers(topic, note) for topic in TOPICS}
    by_topic = {topic: rows.questions for topic, rows in found.items()}
    known = [question for topic in BASE for question in by_topic[topic]]
    return known, by_topic, sum(found[topic].rows for topic in BASE)


def asked_questions(by_topic: dict[str, list[Question]]) -> list[Asked]:
    """The questions of `asked.json`, and those of the topics that the service knows nothing of.

    None of them has the words of a known question: such a question, which would be found by looking it up, is left out.
    """
    file = read_json(resources.files(__package__) / "asked.json")  # type: ignore[arg-type]
    out = []
    for topic, numbers in file["answered"].items():
        for number, texts in numbers.items():
            question = by_topic[topic][int(number) - 1]
            out += [Asked(text, ANSWERABLE, frozenset(question.answers), f"{topic} {number}") for text in texts]
    out += [Asked(text, NEAR, frozenset(), text) for text in file["near_misses"]]
    for topic, questions in by_topic.items():
        if topic not in BASE:
            out += [Asked(question.text, FAR, frozenset(), question.text) for question in questions]
    known = {key_of(question.text) for topic in BASE for question in by_topic[topic]}
    return [asked for asked in out if key_of(asked.text) not in known]


def halves(asked: list[Asked], seed: int) -> tuple[list[Asked], list[Asked]]:
    """A development and a test part. Questions with the same source are in the same one; there are as many from other topics as
    near misses, drawn at random."""
    rng = np.random.default_rng(seed)
    parts: tuple[list[Asked], list[Asked]] = ([], [])
    near = sum(each.kind == NEAR for each in asked)
    for kind in (ANSWERABLE, NEAR, FAR):
        mine = [each for each in asked if each.kind == kind]
        sources = list(dict.fromkeys(each.source for each in mine))
        order = [sources[i] for i in rng.permutation(len(sources))]
        order = order[:near] if kind == FAR else order
        for part, chosen in zip(parts, (order[: len(order) // 2], order[len(order) // 2 :]), strict=True):
            part.extend(each for each in mine if each.source in set(chosen))
    return parts


class Outcome(NamedTuple):
    """What became of a question: its kind, whether the reply would be right, and its cosine."""

    kind: str
    right: bool
    cosine: float


def outcomes(service: Service, asked: Sequence[Asked]) -> list[Outcome]:
    """What would become of each question if the service never abstained."""
    replies = service.replies([each.text for each in asked])
    return [
        Outcome(each.kind, reply.answer in each.right, reply.cosine) for each, reply in zip(asked, replies, strict=True)
    ]


def threshold_for(found: Sequence[Outcome], false_answers: float) -> float:
    """The lowest cosine at which at most this share of all questions gets a false answer.

    It is halfway between two cosines that occur. Everything may be answered if even then the share is not exceeded.
    """
    allowed = int(false_answers * len(found) + 1e-9)
    wrong = sorted((each.cosine for each in found if not each.right), reverse=True)
    if len(wrong) <= allowed:
        return -1.0
    most = wrong[allowed]  # the highest cosine that must not be answered
    above = min((each.cosine for each in found if each.cosine > most), default=1.0)
    return (most + above) / 2


def figures(found: Sequence[Outcome], threshold: float) -> dict[str, float]:
    """Shares: of the answerable questions, those whose nearest question is right, and those resolved; of all, those that get
    a false answer and those that get none; and the false answers and abstentions of each kind."""
    answerable = [each for each in found if each.kind == ANSWERABLE]

    def share(chosen: Iterable[bool]) -> float:
        values = list(chosen)
        return sum(values) / len(values) if values else float("nan")

    out = {
        "right at 1": share(each.right for each in answerable),
        "resolved": share(each.right and each.cosine >= threshold for each in answerable),
        "false answers": share(not each.right and each.cosine >= threshold for each in found),
        "abstained": share(each.cosine < threshold for each in found),
    }
    for kind in (ANSWERABLE, NEAR, FAR):
        mine = [each for each in found if each.kind == kind]
        out[f"false, {kind}"] = share(not each.right and each.cosine >= threshold for each in mine)
    return out
