"""Customer service: `minilm service` measures how well written answers are found, and with --talk answers in the terminal.

D0, D2, D3 and D4 §6.1 describe it: recognise what the customer wants, and find the answer that fits it best.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minilm.errors import InputError, check_least, check_most
from minilm.experiments.applications.answering import (
    Service,
    asked_questions,
    figures,
    halves,
    known_questions,
    outcomes,
    threshold_for,
)
from minilm.experiments.applications.intents import INTENTS_LEARNED, intent_rungs, intents_material, lone_models
from minilm.experiments.applications.resuming import kept_rows
from minilm.experiments.applications.vectors import vectors_named
from minilm.experiments.ladder import climb
from minilm.experiments.table import details_table, markdown_table
from minilm.files.atomic import write_json, write_text
from minilm.files.notes import Note, Notes, aside
from minilm.files.tensors import read_json
from minilm.jobs.chat import QUIT, messages
from minilm.text import corpus
from minilm.text.written_answers import Question, merged
from minilm.training.loop import choose_device

OURS, BEST = "runs/quickstart/pretrained", "all-minilm-l6-v2"
COLUMNS = {"right at 1": 3, "resolved": 3, "false answers": 3, "abstained": 3, "ms per reply": 1}
KINDS = {"false, answerable": 3, "false, near miss": 3, "false, another topic": 3, "threshold": 3}


@dataclass(frozen=True)
class ServiceOptions:
    """Answer customers with written answers, and say nothing where no answer fits. Measures how often that works, for several
    ways of comparing questions; with --talk it answers what you type."""

    models: tuple[str, ...] = ("tf-idf", OURS, f"tf-idf+{OURS}", BEST)
    """How questions become vectors: tf-idf, the folder of a model, a published model, or two of them joined by a plus sign."""
    false_answers: float = 0.1
    """The share of the development questions that may get a false answer: the threshold is chosen by it."""
    intents: bool = True
    """Also measure how well the topic of a question is recognised, by models that are fitted to labelled questions."""
    talk: bool = False
    """Answer what you type, with the last one of --models, instead of measuring. /quit ends."""
    answers: str | None = None
    """For --talk: a CSV, TSV or JSON-lines file of your own with the columns question and answer."""
    threshold: float | None = None
    """For --talk: the cosine below which there is no answer; the one that was measured, if you do not say it."""
    resume: bool = False
    """Keep the rows of the intents that a run with the same options has measured in --out, and go on with the others."""
    seeds: int = 3
    out: Path = Path("runs/service")
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds")
        check_most(self, {"seeds": 100})
        if not self.models:
            raise InputError(f"no model is left: name one with --models, for instance {BEST}.")
        if self.intents and not self.talk and not lone_models(self.models):
            raise InputError("intents are learned by a model, and --models names none: add one, or --no-intents.")
        if not 0 <= self.false_answers < 1:
            raise InputError(f"false_answers must be at least 0 and below 1, not {self.false_answers}.")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise InputError(f"threshold is a cosine and must be from -1 to 1, not {self.threshold}.")
        if self.answers is not None and not self.talk:
            raise InputError(
                "answers of your own cannot be measured, because nobody has asked for them yet: add --talk."
            )


def service(options: ServiceOptions, say: Callable[[str], None] = print) -> dict | list[tuple[str, str]]:
    """Measure, or talk with --talk. Measuring writes `service.json` and `report.md` to `out`, and returns what is in the first."""
    return talk(options, say) if options.talk else measured(options, say)


def measured(o: ServiceOptions, say: Callable[[str], None]) -> dict:
    """The two tables: answers that are found, and topics that are recognised."""
    kept = kept_rows(o.out / "intents.json", {"models": lone_models(o.models)}, o.resume) if o.intents else []
    notes = Notes(say)
    known, by_topic, count = known_questions(notes)
    asked = asked_questions(by_topic)
    say(f"{count:,} rows with an answer hold {len(known)} different questions; {word_for_word(by_topic)}")
    rows = answer_rows(o, known, asked)
    result: dict = {"rows": rows, "known": len(known), "rows with an answer": count}
    first = details_table(rows, len(known), list(COLUMNS), "answers", COLUMNS)
    second = details_table(rows, len(known), list(KINDS), "answers", KINDS)
    report = ["# Customer service", f"{first}\n\n{second}"]
    o.out.mkdir(parents=True, exist_ok=True)
    write_json(o.out / "service.json", result)
    say("\n" + "\n\n".join(report))
    if o.intents:
        result["intents"] = intent_rows(o, by_topic, kept, say)
        write_json(o.out / "service.json", result)
        report.append(f"## Intents\n\n{markdown_table(result['intents'], 'accuracy')}")
        say("\n" + report[-1])
    write_text(o.out / "report.md", "\n\n".join(report) + "\n")
    notes.write(o.out)
    say(f"\nThe results are in {o.out}: service.json, report.md.\nTry next:  minilm service --talk")
    return result


def intent_rows(
    o: ServiceOptions, by_topic: dict[str, list[Question]], rows: list[dict], say: Callable[[str], None]
) -> list[dict]:
    """The rows of the second table. Those in `rows`, which an earlier run has measured, are not fitted again."""
    models = lone_models(o.models)
    material, left_out = intents_material(by_topic, models[0], choose_device(o.device))
    say(
        f"intents: {len(material.task.labels)} topics, {len(material.examples)} questions to learn {INTENTS_LEARNED} from, "
        f"{len(material.test_examples)} that are measured; {left_out} left out, as they are nearly the same as others"
    )
    for rung in intent_rungs(models, material):
        if sum(row["model"] == rung.name for row in rows) != o.seeds:
            rows = [row for row in rows if row["model"] != rung.name]
            rows += climb([rung], material, (INTENTS_LEARNED,), o.seeds, 1, o.progress)
            write_json(o.out / "intents.json", rows)
    return rows


def word_for_word(by_topic: dict[str, list[Question]]) -> str:
    """The sentence about the topic of which nearly every row is a repetition."""
    rows, different = corpus.written_answers("tech_support").rows, len(by_topic["tech_support"])
    return (
        f"{rows:,} of the rows are {different} questions of tech support, again and again: with rows split at random, every "
        "one that is measured would stand word for word among those to learn from. So the questions that are asked are others."
    )


def answer_rows(o: ServiceOptions, known: list[Question], asked: list) -> list[dict]:
    """One row of figures per model and seed. A seed draws which questions choose the threshold and which are measured."""
    rows = []
    for name in tqdm(o.models, desc="models", disable=None if o.progress else True, leave=False):
        found = Service.of(known, vectors_named(name))
        milliseconds = found.milliseconds([each.text for each in asked[:100]])
        for seed in range(o.seeds):
            development, test = halves(asked, seed)
            threshold = threshold_for(outcomes(found, development), o.false_answers)
            row = {"model": found.vectors.name, "name": name, "seed": seed, "labels": len(known), "asked": len(test)}
            row |= {"threshold": threshold, "ms per reply": milliseconds}
            rows.append(row | figures(outcomes(found, test), threshold))
    return rows


def talk(o: ServiceOptions, say: Callable[[str], None]) -> list[tuple[str, str]]:
    """Answer the lines that the user types until /quit, and return them with what was said.

    Raises InputError if nothing says where the threshold is.
    """
    name = o.models[-1]
    notes = Notes(aside if say is print else say)
    known = known_questions(notes)[0] if o.answers is None else own_questions(o.answers, notes)
    found, threshold = Service.of(known, vectors_named(name)), threshold_of(o, name)
    say(f"{len(known):,} questions with written answers, found by {found.vectors.name}. {QUIT} ends.")
    say(f"Below a cosine of {threshold:.2f} there is no answer: then a person would have to read your question.")
    said = []
    for message in messages():
        reply = found.replies([message])[0]
        near = f"({reply.cosine:.2f}: {reply.question})"
        answer = reply.answer if reply.cosine >= threshold else "I have no answer to that."
        say(f"minilm: {answer}\n        {near if reply.cosine >= threshold else 'nearest ' + near}")
        said.append((message, answer))
    return said


def own_questions(file: str, note: Note) -> list[Question]:
    """The questions of the user's own file. Raises InputError as `corpus.labelled` does."""
    rows = corpus.labelled(file, "question", "answer", note=note)
    return merged("own", [[row.text, str(row.label)] for row in rows])


def threshold_of(o: ServiceOptions, name: str) -> float:
    """The threshold that the options name, or else the mean of those that were measured with this model."""
    if o.threshold is not None:
        return o.threshold
    path = o.out / "service.json"
    rows = read_json(path)["rows"] if path.is_file() else []
    found = [row["threshold"] for row in rows if row["name"] == name]
    if not found:
        raise InputError(
            f"{path} has no threshold for {name}: run `minilm service` first, or say it, as in --threshold 0.6."
        )
    return float(np.mean(found))
