"""What the server answers: predict, fill-mask, generate, similar, explore. Each turns checked fields into plain JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from minilm.errors import InputError
from minilm.explorer.requests import Check, Limits, checked, number, prompt, text, texts, whole, yes_or_no
from minilm.explorer.shown import short
from minilm.explorer.subject import Subject, framed
from minilm.explorer.views import shown_text
from minilm.jobs.similar import nearest, similarity
from minilm.pretrained.protocol import open_encoder
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.files import Example
from minilm.training.inference import fill, sentence_vectors
from minilm.training.tasks import task_of
from minilm.training.writing import write

SEED = 2**32 - 1
TOP = whole(1, lambda limits: limits.top)


@dataclass(frozen=True)
class Served:
    """A model, and the encoder in it, which `similar` asks; `lacking` says why there is none."""

    subject: Subject
    encoder: LoadedModel | None = None
    lacking: str = ""
    limits: Limits = field(default_factory=Limits)


def served(subject: Subject, limits: Limits | None = None) -> Served:
    """The subject with its encoder, if it can be opened alone. Raises InputError for a folder without a model."""
    if subject.loaded is None:
        raise InputError(f"{subject.folder} holds an experiment and no model: look at it with minilm explore.")
    limits = Limits() if limits is None else limits
    try:
        return Served(subject, open_encoder(subject.folder), limits=limits)
    except InputError as error:
        return Served(subject, None, str(error), limits)


def predict(served: Served, texts: list[str], pairs: list[str] | None = None, truncate: bool = False) -> dict[str, Any]:
    """What a fine-tuned model says of each text."""
    subject = served.subject
    pairs_given = [None] * len(texts) if pairs is None else pairs
    if len(pairs_given) != len(texts):
        raise InputError(
            f"texts and pairs differ in number ({len(texts)} and {len(pairs_given)}): give as many of both."
        )
    if pairs is not None and not subject.reads_pairs:
        raise InputError('this model tags single texts: leave "pairs" out.')
    examples = [Example(text, None, pair) for text, pair in zip(texts, pairs_given, strict=True)]
    assert subject.head is not None and subject.loaded is not None
    found = task_of(subject.head).predict(
        *(subject.model, examples, subject.tokenizer, subject.loaded.max_length), truncate=truncate, where="the request"
    )
    answers = []
    for each in found:
        answer: dict[str, Any] = {"text": each.text, "label": each.label}
        if each.probability is not None:
            answer["probability"] = short(each.probability)
        if each.labels:
            answer["labels"] = [{"label": name, "probability": short(p)} for name, p in each.labels]
        if each.entities:
            answer["entities"] = [entity._asdict() for entity in each.entities]
        answers.append(answer)
    return {"predictions": answers}


def fill_mask(served: Served, text: str, top: int = 5) -> dict[str, Any]:
    """The most probable tokens for each [MASK]."""
    filled = fill(served.subject.model, served.subject.tokenizer, text, top)
    return {"masks": [[{"token": token, "probability": short(p)} for token, p in guesses] for guesses in filled]}


def generate(
    served: Served,
    prompt: str = "",
    tokens: int = 40,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """A continuation of the prompt."""
    if 0 < temperature < 0.01:
        raise InputError('"temperature" must be 0 (always the most likely token), or at least 0.01.')
    (found,) = write(
        *(served.subject.model, served.subject.tokenizer, [prompt], tokens, temperature, top_k, top_p), seed=seed
    )
    return {"prompt": prompt, "text": found.text, "tokens": len(found.written.ids), "reason": found.written.reason}


def similar(served: Served, query: str, lines: list[str], top: int = 5, truncate: bool = False) -> dict[str, Any]:
    """The lines that are nearest in meaning to the query."""
    assert served.encoder is not None
    model, tokenizer = served.encoder.model, served.encoder.tokenizer
    vectors = sentence_vectors(model, tokenizer, [query, *lines], truncate, "the request (the query is text 1)")
    (scores,) = similarity(vectors[:1], vectors[1:], model.settings.similarity)
    hits = nearest([], scores, lines, 0, top)
    return {"hits": [{"line": hit.line, "place": hit.number - 1, "similarity": short(hit.cosine)} for hit in hits]}


def explore(served: Served, text: str, pair: str | None = None) -> dict[str, Any]:
    """All views of a text: what the page shows."""
    return shown_text(served.subject, framed(served.subject, text, pair))


class Endpoint(NamedTuple):
    """A question that the server answers: its name, its fields, and why this model cannot answer it ("": it can)."""

    name: str
    what: str
    answer: Callable[..., dict[str, Any]]
    needed: Mapping[str, Check]
    optional: Mapping[str, Check]
    cannot: Callable[[Served], str]

    def reply(self, served: Served, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Check the fields and answer. Raises InputError for what is wrong with them."""
        return self.answer(served, **checked(asked, self.needed, self.optional, served.limits))


def not_a_classifier(served: Served) -> str:
    return (
        ""
        if served.subject.head is not None
        else "this model was not fine-tuned and has no classes: serve one that was."
    )


def not_guessing(served: Served) -> str:
    return "" if served.subject.guesses else "this model guesses no hidden words: serve a pretrained BERT."


def not_writing(served: Served) -> str:
    return "" if served.subject.writes else "this model writes no texts: serve a GPT."


ENDPOINTS = {
    endpoint.name: endpoint
    for endpoint in (
        Endpoint("predict", "the label of each text", predict, {"texts": texts}, {"pairs": texts, "truncate": yes_or_no},
                 not_a_classifier),
        Endpoint("fill-mask", "the words that [MASK] hides", fill_mask, {"text": text}, {"top": TOP}, not_guessing),
        Endpoint("generate", "a continuation of the prompt", generate, {},
                 {"prompt": prompt, "tokens": whole(1, lambda limits: limits.tokens), "temperature": number(0, 5),
                  "top_k": whole(1, lambda _: 10**6), "top_p": number(0, 1), "seed": whole(0, lambda _: SEED)}, not_writing),
        Endpoint("similar", "the lines nearest in meaning to the query", similar, {"query": text, "lines": texts},
                 {"top": TOP, "truncate": yes_or_no}, lambda served: served.lacking),
        Endpoint("explore", "everything that the page shows of a text", explore, {"text": text}, {"pair": text}, lambda _: ""),
    )
}  # fmt: skip
