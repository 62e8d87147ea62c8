"""What is measured of each program that was put right, and what it is compared with.  F30."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minilm.examples.dialogue import answers, prompt_for
from minilm.experiments.dialogue import Material, counted
from minilm.experiments.documents import programs
from minilm.experiments.documents.data import HELD_OUT_REVIEWS
from minilm.experiments.documents.options import DocumentsOptions
from minilm.experiments.documents.programs import last_alone
from minilm.experiments.names import look_up
from minilm.files.notes import Notes
from minilm.jobs.pretraining_data import held_out_windows
from minilm.models.generation import generate
from minilm.text.corpus import labelled, tagged
from minilm.text.prepare import prepare
from minilm.training.entity_report import MICRO, Row, label_rows, name_of
from minilm.training.metrics import entities, entity_scores
from minilm.training.objectives import CausalLM
from minilm.training.writing import never_written

LABELS = {"D0": 2_000, "D3": 500, "D4": 1_000}
CHOOSE_ON = {"D0": 500, "D4": 200}
EPOCHS_D1, LENGTH_D1 = 10, 51
EXAMPLES = 5  # answers that D2 shows


def quiet(line: str) -> None:
    """A `say` that prints nothing."""


def measure(options: DocumentsOptions, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run the program of a document and return its figures, with one line that says what came out."""
    return MEASURES[name](options, seed, folder)


def measure_d0(o: DocumentsOptions, seed: int, folder: Path) -> dict[str, Any]:
    """D0: the accuracy on the test sentences, and that of the more frequent class."""
    data, labels, choose = o.out / "data", o.scaled(LABELS["D0"]), o.scaled(CHOOSE_ON["D0"])
    train, test = data / "sentences-train.csv", data / "sentences-test.csv"
    accuracy = programs.d0(o.start("en"), train, test, folder, labels, choose, seed, quiet)
    given = [example.label for example in labelled(str(test))]
    most = max(map(given.count, set(given))) / len(given)
    figures = {"labels": labels, "tested": len(given), "accuracy": accuracy, "majority": most}
    return {**figures, "line": f"accuracy {accuracy:.3f}, always the same answer {most:.3f}"}


def measure_d1(o: DocumentsOptions, seed: int, folder: Path) -> dict[str, Any]:
    """D1: the loss and the accuracy of the token after 50 others, in reviews that were held out.

    Three answers: of the model that was trained at every place, of one that was trained as the document does it, and of the
    frequencies of the tokens. `every_place` is the loss of the first at every place.
    """
    prepared = prepare(
        str(o.out / "data" / "reviews.txt"), o.cache, 1_000, held_out=HELD_OUT_REVIEWS, say=quiet, pairs=False
    )
    epochs = max(1, round(EPOCHS_D1 * o.share))
    held_out = held_out_windows(prepared, LENGTH_D1)
    full = [each for each in held_out if each.attention_mask is None and each.input_ids.size(1) == LENGTH_D1]
    whole = [last_alone(batch) for batch in full or held_out]  # of short texts, the last place of each
    figures: dict[str, Any] = {"epochs": epochs, "tokens": prepared.train.tokens}
    for name, ask in {"": programs.same, "printed_": last_alone}.items():
        model = programs.d1(prepared, epochs, seed, ask)
        true, guessed = programs.next_tokens(model, whole)
        figures |= {
            f"{name}loss": CausalLM().measure(model, whole)["loss"],
            f"{name}accuracy": float((true == guessed).mean()),
        }
        if not name:
            figures["every_place"] = CausalLM().measure(model, held_out)["loss"]
    count = np.bincount(np.asarray(prepared.train.ids), minlength=prepared.tokenizer.size) + 1.0
    log_p = np.log(count / count.sum())
    figures |= {"tested": len(true), "frequency_loss": float(-log_p[true].mean())}
    figures |= {"frequency_accuracy": float((true == count.argmax()).mean())}
    line = f"loss {figures['loss']:.3f} nats, trained as printed {figures['printed_loss']:.3f}"
    return {**figures, "line": line}


def measure_d2(o: DocumentsOptions, seed: int, folder: Path) -> dict[str, Any]:
    """D2: the perplexity of answers in unseen conversations, a report of their tokens, and some answers that the model writes."""
    settings, notes = o.conversations(), Notes(quiet)
    material = Material(settings, quiet, notes)
    notes.write(folder)
    model = programs.d2(material.prepared, material.roles, settings.settings("gpt", seed), seed)
    asked = material.asked.measured
    batches = answers(material.held_out, asked, settings.history)
    loss = CausalLM().measure(model, batches)["loss"]
    true, guessed = programs.next_tokens(model, batches)
    text = material.roles.tokenizer.text
    names = [
        text([k]) or token
        for k, token in enumerate(material.roles.tokenizer.tokens(range(int(max(*true, *guessed)) + 1)))
    ]
    rows = label_rows(true, guessed, names)
    averages, tokens = rows[-3:], sorted(rows[:-3], key=lambda row: -row.support)
    bigram = counted(material)["perplexity"]
    written = answers_of(
        model, material, [asked[i] for i in np.linspace(0, len(asked) - 1, EXAMPLES).astype(int).tolist()]
    )
    figures: dict[str, Any] = {
        "steps": settings.steps,
        "answers": len(asked),
        "tested": len(true),
        "perplexity": math.exp(loss),
    }
    figures |= {"bigram": bigram, "rows": as_lists([*tokens[:8], *averages]), "written": written}
    return {**figures, "line": f"perplexity {math.exp(loss):.1f}, bigram {bigram:.1f}"}


def answers_of(model: Any, material: Material, chosen: list[tuple[int, int]], most: int = 30) -> list[list[str]]:
    """(what was said, what a person answered, what the model answers at temperature 0.8), which D2 never lets it do."""
    held_out, tokenizer = material.held_out, material.roles.tokenizer
    o, said = material.options, tokenizer.text
    prompts = [prompt_for(material.roles, held_out.before(i, t, o.history), o.length - most)[0] for i, t in chosen]
    texts = generate(model, prompts, most, 0.8, seed=0, stop={tokenizer.end}, banned=never_written(model, tokenizer))
    return [
        [
            said(held_out.turn(i, t - 1, False)),
            said(held_out.turn(i, t, True)),
            said([k for k in text.ids if k != tokenizer.end]),
        ]
        for (i, t), text in zip(chosen, texts, strict=True)
    ]


def measure_d3(o: DocumentsOptions, seed: int, folder: Path) -> dict[str, Any]:
    """D3: the loss of the training and of the development part after each epoch."""
    data, labels = o.out / "data", o.scaled(LABELS["D3"])
    train, development = data / "sentences-train.csv", data / "sentences-development.csv"
    losses = programs.d3(o.start("en"), train, development, labels, seed)
    figures = {"labels": labels, "tested": len(labelled(str(development))), "losses": [list(pair) for pair in losses]}
    return {**figures, "line": "development loss " + ", ".join(f"{loss:.3f}" for _, loss in losses)}


def measure_d4(o: DocumentsOptions, seed: int, folder: Path) -> dict[str, Any]:
    """D4: the report of the tags, the F1 of whole names, and that of a dictionary of the names in the same lines."""
    data, labels, choose = o.out / "data", o.scaled(LABELS["D4"]), o.scaled(CHOOSE_ON["D4"])
    train, test = data / "newspaper-train.conll", data / "newspaper-test.conll"
    tags, names = programs.d4(o.start("zh"), train, test, folder, labels, choose, seed, quiet)
    learnt, lines = tagged(str(train))[:labels], tagged(str(test))
    known = {name_of(line.tokens[a:b]): kind for line in learnt for kind, a, b in entities(line.tags)}
    found = [look_up(line.tokens, known, max(map(len, known), default=0)) for line in lines]
    dictionary = entity_scores([line.tags for line in lines], found)["f1"] or 0.0
    f1 = next((row.f1 for row in names if row.name == MICRO), None) or 0.0
    figures = {"labels": labels, "tested": len(lines), "rows": as_lists(tags), "f1": f1, "dictionary": dictionary}
    return {**figures, "line": f"F1 of whole names {f1:.3f}, dictionary {dictionary:.3f}"}


def as_lists(rows: list[Row]) -> list[list]:
    """Rows as they stand in JSON: name, precision, recall, F1, support."""
    return [list(row) for row in rows]


MEASURES: dict[str, Callable[[DocumentsOptions, int, Path], dict[str, Any]]] = {
    "D0": measure_d0,
    "D1": measure_d1,
    "D2": measure_d2,
    "D3": measure_d3,
    "D4": measure_d4,
}
