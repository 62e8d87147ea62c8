"""Use a model: label texts, fill in masked words, draw attention."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from minilm.errors import InputError, check_least
from minilm.files.notes import Note, Notes, aside, unheard
from minilm.jobs.labelled_data import Columns, InOwnFile, Part, is_tagged, looks_like_conll, texts_of
from minilm.pretrained.protocol import open_classifier, open_encoder, open_pretraining
from minilm.text import corpus
from minilm.text.characters import visible
from minilm.text.files import LABELLED, TAGGED, Example, text_lines
from minilm.text.questions import question_lines
from minilm.text.remarks import remark
from minilm.text.tagged import line_number
from minilm.training.inference import attention_of, fill
from minilm.training.loop import choose_device
from minilm.training.span_task import SpanTask
from minilm.training.tasks import Prediction, Task, shown, task_of
from minilm.training.word_tasks import TagTask, UnitTask, WordTask
from minilm.viz import plots


@dataclass(frozen=True)
class PredictOptions:
    """Label texts with a fine-tuned model: those that you give on the command line, or those of a file."""

    model: Path
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    file: Path | None = None
    """A text file (one text per line), a CSV, TSV or JSON-lines file with a --text-column, or a CoNLL file of words."""
    pair: str | None = None
    """The second text, for a model of pairs; the question, for a model that finds answers in texts."""
    columns: InOwnFile = field(default_factory=Columns)
    truncate: bool = False
    base: Path | None = None
    """For an adapter: the model that it was trained on, if that was moved."""
    device: str = "auto"


def predict(options: PredictOptions, say: Callable[[str], None] = print) -> list[Prediction]:
    """The label of each text with its probability, or the entities of each text with their offsets.

    One line is printed per text. For a file, it begins with the number of the text there: the number of the line, or for
    a table that of the row under the header, so that you can match the two even if blank lines were left out. The offsets
    of an entity count the characters of the text that is printed behind it.

    Raises InputError if there is nothing to label, and for what the model does not take.
    """
    notes = Notes(aside if say is print else say)
    loaded = open_classifier(options.model, notes, options.base)
    model = loaded.model.to(choose_device(options.device))
    task = task_of(model.head_config)
    if isinstance(task, UnitTask) and (options.pair is not None or options.columns.pair_column is not None):
        raise InputError(f"{options.model} tags single texts: leave out --pair and --pair-column.")
    if not all(visible(text) for text in options.texts) or not (options.texts or options.file):
        raise InputError("there is nothing to label: give texts with words in them, or a file with --file.")
    typed = [Example(text, None, options.pair) for text in options.texts]
    parts = [Part([*typed], "the command line", list(range(len(typed))))] if typed else []
    if options.file is not None:
        parts.append(from_file(options, task, notes))
    found = []
    for examples, where, places in parts:
        remark(loaded.tokenizer, texts_of(examples), where, notes)
        predictions = task.predict(
            *(model, examples, loaded.tokenizer, loaded.max_length),
            truncate=options.truncate,
            where=where,
            places=places,
            note=notes,
        )
        for prediction, place in zip(predictions, places, strict=True):
            number = f"{place + 1}\t" if where == str(options.file) else ""
            say(number + printed(prediction))
        found += predictions
    return found


def printed(prediction: Prediction) -> str:
    """A prediction in one line, with tabs between its parts. A line break or a tab in the text becomes a space."""
    if prediction.probability is None:
        parts = [prediction.shown or shown(prediction.entities, offsets=True)]
    else:
        parts = [prediction.label, f"{prediction.probability:.3f}"]
    return "\t".join(re.sub(r"[\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029]", " ", part) for part in (*parts, prediction.text))


def from_file(options: PredictOptions, task: Task, note: Note = unheard) -> Part:
    """The texts of `--file`. A tagger gets the tokens of a CoNLL file as they are."""
    path = options.file
    if path is None or not path.exists():
        raise InputError(f"no such file: {path}.")
    if is_tagged(str(path)):
        tagged = corpus.tagged(path, note, entities=not isinstance(task, TagTask | WordTask))
        places = [(line_number(line) or i + 1) - 1 for i, line in enumerate(tagged)]
        texts = (
            tagged
            if isinstance(task, UnitTask)
            else [Example(" ".join(line.tokens), None, options.pair) for line in tagged]
        )
        return Part(texts, str(path), places)
    if isinstance(task, SpanTask) and options.pair is None:
        questions = list(question_lines(path, with_answers=False))
        return Part([*questions], str(path), list(range(len(questions))))
    if path.suffix.lower() in LABELLED:
        columns = options.columns
        if options.pair is not None and columns.pair_column is not None:
            raise InputError("--pair and --pair-column both give the second text: leave one of them out.")
        rows = corpus.labelled(str(path), columns.text_column, None, columns.pair_column, note)
        rows = rows if options.pair is None else [row._replace(pair=options.pair) for row in rows]
        return Part([*rows], str(path), list(range(len(rows))))
    if path.suffix.lower() not in ("", ".txt"):
        endings = f".txt (one text per line), {', '.join(LABELLED)} (tables) and {', '.join(TAGGED)} (CoNLL)"
        raise InputError(f"{path} does not say by its ending what it holds: the endings are {endings}.")
    if path.is_file() and looks_like_conll(path):
        raise InputError(f"{path} looks like CoNLL: rename it so that it ends in {', '.join(TAGGED)}.")
    lines = [line.rstrip() for line in text_lines(path)]
    places = [i for i, line in enumerate(lines) if visible(line)]
    if not places:
        raise InputError(f"{path} is empty: write one text per line.")
    return Part([Example(lines[i], None, options.pair) for i in places], str(path), places)


@dataclass(frozen=True)
class FillMaskOptions:
    """Let a pretrained model guess the words that are written as [MASK]."""

    model: Path
    texts: tyro.conf.Positional[tuple[str, ...]]
    top: int = 5


def fill_mask(options: FillMaskOptions, say: Callable[[str], None] = print) -> list[list[list[tuple[str, float]]]]:
    """For each text and each [MASK] in it: the most probable tokens with their probabilities."""
    if not options.texts:
        raise InputError("there is nothing to fill in: give a text with [MASK] where a word is to be guessed.")
    check_least(options, 1, "top")
    loaded = open_pretraining(options.model, Notes(aside if say is print else say))
    out = []
    for text in options.texts:
        filled = fill(loaded.model, loaded.tokenizer, text, options.top)
        out.append(filled)
        say(text)
        for choices in filled:
            say("    " + "  ".join(f"{word} {p:.1%}" for word, p in choices))
    return out


@dataclass(frozen=True)
class AttentionOptions:
    """Draw which token attends to which: a heat map for every head of every layer."""

    model: Path
    text: tyro.conf.Positional[str]
    pair: tyro.conf.Positional[str | None] = None
    """A second text, to see the attention between the two."""
    out: Path = Path("attention.png")


def attention(options: AttentionOptions, say: Callable[[str], None] = print) -> list[np.ndarray]:
    """The attention weights of every layer [H, T, T], drawn as a picture."""
    if options.out.is_dir():
        raise InputError(f"{options.out} is a folder: give --out the name of a picture, such as attention.png.")
    loaded = open_encoder(options.model, Notes(aside if say is print else say))
    tokens, weights = attention_of(loaded.model, loaded.tokenizer, options.text, options.pair)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plots.attention_maps(tokens, weights, options.out)
    say(f"{len(weights)} layers × {len(weights[0])} heads written to {options.out}")
    return weights
