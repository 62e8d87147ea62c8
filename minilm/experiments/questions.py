"""`minilm questions`: answers that stand in a text, on questions made from a newspaper's headlines.  F28.

No package carries questions that people asked, so these are cloze questions, as Hermann et al. (2015), Teaching machines to read and
comprehend, made them from news: a name of the headline is replaced by a question word (谁, 哪里, 哪个单位), and the article below
answers it. They are easier than real questions, because headline and article share words, and some cannot be answered by reading
alone; the table says how far a rule comes that knows every name of the article.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from minilm.errors import InputError, check_least
from minilm.experiments.chinese import Chinese
from minilm.experiments.rungs import published, unpretrained
from minilm.experiments.table import figures_table
from minilm.files.atomic import write_json, write_text
from minilm.files.tensors import read_json
from minilm.models.config import parameter_count
from minilm.pretrained.protocol import encoder_config, save_model
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text import corpus
from minilm.text.duplicates import duplicates
from minilm.text.prepare import held_out_documents
from minilm.text.questions import Question
from minilm.text.tagged import TaggedLine
from minilm.training.loop import choose_device
from minilm.training.metrics import entities
from minilm.training.span_task import SpanTask, answer_scores
from minilm.training.supervised import Recipe, fit

ASKED = {"PER": "谁", "LOC": "哪里", "ORG": "哪个单位"}
LONGEST_TEXT = 400  # characters of an article
LONGEST_HEADLINE = 60
FIRST = "first name of the kind, by the newspaper's own tags"
CLOSEST = "name of the kind with the most words of the question around it"
SCRATCH, TUNED = "Transformer", "Transformer pretrained, fine-tuned"
RECIPE = Recipe(epochs=8, learning_rate=2e-3, embedding_learning_rate_scale=1.0)
FIGURES = {"exact": "{:.3f}", "f1": "{:.3f}"}


class Cloze(NamedTuple):
    """A question, and what a rule may know: the kind that is asked for, and every name of the text as (kind, start, end)."""

    question: Question
    kind: str
    names: list[tuple[str, int, int]]


@dataclass(frozen=True)
class QuestionsOptions:
    """Train models that find the answer to a question in a text, and compare them with rules that know all names of the text."""

    seeds: int = 3
    model: Path = Path("runs/quickstart-zh/pretrained")
    """The pretrained model."""
    out: Path = Path("runs/questions")
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds")
        if not (self.model / "config.json").exists():
            raise InputError(
                f"{self.model} holds no model: run `make quickstart-zh` first, or name another one with --model."
            )


def questions(options: QuestionsOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Make the questions, fit and measure every model, write the table and the questions, and return the rows.

    Every fit is kept in a file of its own, so a run that was stopped goes on when the command is given again.
    """
    device = choose_device(options.device)
    learn, test, left_out = parts()
    say(
        f"{len(learn):,} questions to learn from, and {len(test):,} about articles that no model has read "
        f"({', '.join(f'{sum(c.kind == kind for c in test)} {word}' for kind, word in ASKED.items())}). {left_out} were left out, "
        "as their article occurs, whole or almost whole, in what is learned from, or twice."
    )
    rows = [
        {"model": name, "seed": 0, **of_rule(test, rule), "seconds": 0.0, "parameters": 0}
        for name, rule in RULES.items()
    ]
    for name in (SCRATCH, TUNED):
        for seed in range(options.seeds):
            rows.append(fitted(options, name, seed, learn, test, device))
            say(f"{name}, seed {seed}: exact {rows[-1]['exact']:.3f}, F1 {rows[-1]['f1']:.3f}")
    table = figures_table(rows, FIGURES)
    write_json(options.out / "questions.json", rows)
    write_text(options.out / "report.md", f"# Questions made from headlines\n\n{table}\n")
    say(f"\n{table}\n\nThe results are in {options.out}: report.md, questions.json, finetuned/.")
    return rows


def fitted(
    options: QuestionsOptions, name: str, seed: int, learn: list[Cloze], test: list[Cloze], device: torch.device
) -> dict:
    """One model, fitted and measured, from its file if it is there."""
    path = options.out / "fits" / f"{'scratch' if name == SCRATCH else 'pretrained'}-{seed}.json"
    if path.exists():
        return read_json(path)
    config = encoder_config(options.model)[1]
    tokenizer, task = tokenizer_for(config, options.model), SpanTask()
    model = (unpretrained if name == SCRATCH else published)(task, seed, options.model).to(device)
    encoded, measured = (
        task.encode([cloze.question for cloze in some], tokenizer, config.max_length) for some in (learn, test)
    )
    seconds = fit(model, encoded, RECIPE, seed, device, options.progress)
    row = {"model": name, "seed": seed, **task.measure(model, measured, device), "seconds": round(seconds, 1)}
    row["parameters"] = parameter_count(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == TUNED and seed == 0:
        save_model(options.out / "finetuned", model.cpu(), tokenizer)
    write_json(path, row)
    return row


def parts() -> tuple[list[Cloze], list[Cloze], int]:
    """The questions about articles that the pretrained model has read, and about those that were held out; and how many of the
    latter were left out, because their article occurs, whole or almost whole, in what is learned from, or twice."""
    lines, articles = corpus.tagged("peoples-daily"), corpus.articles()
    held = set(held_out_documents(len(articles), Chinese.pretraining.held_out, 0).tolist())
    learn: list[Cloze] = []
    test: list[Cloze] = []
    for i, article in enumerate(articles):
        (test if i in held else learn).extend(cloze_questions([lines[k] for k in article]))
    asked = list(dict.fromkeys(cloze.question.text for cloze in test))
    copies = {
        asked[i] for i in duplicates(list(map(" ".join, asked)), (" ".join(c.question.text) for c in learn), run=12)
    }
    kept = [cloze for cloze in test if cloze.question.text not in copies]
    return learn, kept, len(test) - len(kept)


def cloze_questions(article: Sequence[TaggedLine]) -> Iterator[Cloze]:
    """A question for every name of the headline that occurs in the beginning of the article, at its first place there."""
    headline, *body = article
    if not body or len(headline.tokens) > LONGEST_HEADLINE or "。" in headline.tokens:
        return
    text, names = "", []
    for line in body:
        if text and len(text) + len(line.tokens) > LONGEST_TEXT:
            break
        names += [(kind, len(text) + a, len(text) + b) for kind, a, b in entities(line.tags)]
        text += "".join(line.tokens)
    text = text[:LONGEST_TEXT]
    names = [(kind, a, b) for kind, a, b in names if b <= len(text)]
    for kind, a, b in entities(headline.tags):
        answer = "".join(headline.tokens[a:b])
        places = [start for own, start, end in names if own == kind and text[start:end] == answer]
        if places and "".join(headline.tokens).count(answer) == 1:
            question = "".join([*headline.tokens[:a], ASKED[kind], *headline.tokens[b:]])
            yield Cloze(Question(question, text, answer, places[0]), kind, names)


def first_name(cloze: Cloze) -> str:
    """The first name of the text that is of the kind that is asked for."""
    return next(cloze.question.text[a:b] for kind, a, b in cloze.names if kind == cloze.kind)


def closest_name(cloze: Cloze) -> str:
    """Of the names of this kind, the one whose surroundings share the most pairs of characters with the question."""
    question, text = cloze.question.question, cloze.question.text
    asked = {question[i : i + 2] for i in range(len(question) - 1)}
    best, answer = -math.inf, ""
    for kind, a, b in cloze.names:
        around = text[max(0, a - 20) : a] + "\n" + text[b : b + 20]
        score = len(asked & {around[i : i + 2] for i in range(len(around) - 1)})
        if kind == cloze.kind and text[a:b] not in question and score > best:
            best, answer = score, text[a:b]
    return answer or first_name(cloze)


RULES: dict[str, Callable[[Cloze], str]] = {FIRST: first_name, CLOSEST: closest_name}


def of_rule(test: list[Cloze], rule: Callable[[Cloze], str]) -> dict[str, float]:
    """Exact match and F1 of a rule."""
    scores = np.array([answer_scores(rule(cloze), cloze.question.answer or "") for cloze in test])
    exact, f1 = scores.mean(axis=0).tolist()
    return {"exact": exact, "f1": f1}
