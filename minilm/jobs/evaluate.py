"""Measure a fine-tuned model on labelled data.  F30."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minilm.errors import InputError
from minilm.files.notes import Notes
from minilm.jobs.labelled_data import Columns, InOwnFile, is_tagged, read, task_for, texts_of
from minilm.pretrained.protocol import open_classifier
from minilm.text import corpus
from minilm.text.remarks import counted, remark
from minilm.training.entity_report import names_in
from minilm.training.loop import choose_device
from minilm.training.metrics import Measured
from minilm.training.tasks import TokenTask, UnitTask, task_of


def shown(measured: Measured) -> str:
    """The figures in one line. One that has no value is a dash, with the reason."""
    figures = {name: "–" if value is None else f"{value:.3f}" for name, value in measured.items()}
    line = ", ".join(f"{name.replace('_', ' ')} {figure}" for name, figure in figures.items())
    if None not in measured.values():
        return line
    if "precision" not in measured:
        return f"{line} (– is 0 divided by 0)"
    return (
        f"{line} (– is 0 divided by 0: {NO_VALUE[measured.get('precision') is None, measured.get('recall') is None]})"
    )


NO_VALUE = {
    (True, True): "the data has no entities, and the model found none",
    (True, False): "the model found no entities",
    (False, True): "the data has no entities",
}


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a fine-tuned model on labelled data, as a whole and label by label."""

    model: Path
    data: str
    columns: InOwnFile = field(default_factory=Columns)
    truncate: bool = False
    base: Path | None = None
    """For an adapter: the model that it was trained on, if that was moved."""
    device: str = "auto"
    known: str | None = None
    """For a tagger: the tagged data that it learned from. Its report then has a row for the names that occur there, and a
    row for new names."""


def evaluate(options: EvaluateOptions, say: Callable[[str], None] = print) -> Measured:
    """Measure a fine-tuned model on labelled data.

    A report says precision, recall, F1 and support of each class, label or kind of entity, and their averages. What was changed
    or left out is said. If the folder is one of our runs, it is also kept there, in `notes-evaluate.txt`, until the model is
    measured again.
    Raises InputError for data of another kind than it was trained on.
    """
    device = choose_device(options.device)
    notes = Notes(say)
    loaded = open_classifier(options.model, notes, options.base)
    model = loaded.model.to(device)
    task, wanted = task_of(model.head_config), task_for(options.data)
    other = options.data in corpus.CORPORA or isinstance(task, UnitTask) != is_tagged(options.data)
    if other and not isinstance(task, wanted):
        raise InputError(
            f"{options.model} was trained on {task.name} labels, and {options.data} has {wanted.name} labels."
        )
    if options.known is not None and not (isinstance(task, TokenTask) and task_for(options.known) is TokenTask):
        raise InputError("--known is for taggers: give the tagged file or corpus that the tagger learned from.")
    known = None if options.known is None else names_in(read(options.known, options.columns, notes))
    examples = read(options.data, options.columns, notes, type(task))
    remark(loaded.tokenizer, texts_of(examples), options.data, notes)
    if isinstance(task, UnitTask):
        task.check_units(examples, options.data, notes)
    encoded = task.encode(
        *(examples, loaded.tokenizer, loaded.max_length), truncate=options.truncate, where=options.data, note=notes
    )
    measured, table = task.reported(model, encoded, device, examples, known)
    if table:
        say(table)
    if (options.model / "metrics.jsonl").exists():  # a run of ours, and not somebody else's folder
        notes.write(options.model, "notes-evaluate.txt")
    say(f"{counted(len(examples), 'example')}: {shown(measured)}")
    return measured
