"""What `minilm finetune` reads besides its labelled examples: texts without labels, and a second task.  F28."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.files.notes import Note, unheard
from minilm.jobs.evaluate import shown
from minilm.jobs.finetune_options import FinetuneOptions, LittleData, load_material
from minilm.jobs.labelled_data import Part, in_both, is_tagged, looks_like_conll, read
from minilm.models.heads import Classifier
from minilm.pretrained.protocol import save_model
from minilm.text import corpus
from minilm.text.characters import visible
from minilm.text.files import LABELLED, TAGGED, Example, text_lines
from minilm.text.remarks import counted
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer
from minilm.training.multi_task import SecondTask, endless
from minilm.training.task import Task
from minilm.training.word_tasks import TagTask, UnitTask


def unlabelled_texts(
    options: FinetuneOptions, task: Task, tokenizer: Tokenizer, known: list[Part], note: Note = unheard
) -> Part | None:
    """The texts of `--unlabelled`, without any label; None if there is no such option. A tagger's are cut into its units.

    Texts of the parts that are `known` are left out: those to learn from have labels already, and those to measure on (or to choose
    by, which are among those to learn from) must not be learned from. Raises InputError if none is left.
    """
    name = options.little.unlabelled
    if name is None:
        return None
    examples: list[Any]
    if isinstance(task, UnitTask) and is_tagged(name):
        examples = [without_tags(line.tokens, task) for line in read(name, options.columns, note, TagTask)]
        task.check_units(examples, name, note)
    elif Path(name).is_file() and Path(name).suffix.lower() not in LABELLED:
        if isinstance(task, UnitTask) and looks_like_conll(Path(name)):
            raise InputError(f"{name} looks like CoNLL: rename it so that it ends in {', '.join(TAGGED)}.")
        lines = [line.strip() for line in text_lines(Path(name))]
        examples = [Example(line) for line in lines if visible(line)]
        if unseen := sum(bool(line) for line in lines) - len(examples):
            note(f"{unseen:,} line(s) of {name} have invisible characters alone, and are left out.")
    else:
        columns = options.columns
        rows = corpus.labelled(name, columns.text_column, None, columns.pair_column, note)
        examples = [example._replace(label=None) for example in rows]
    if isinstance(task, UnitTask):
        examples = [in_units(each, task, tokenizer, f"text {i + 1} of {name}", note) for i, each in enumerate(examples)]
    if not examples:
        raise InputError(f"{name} holds no text that can be seen: write one text per line, or leave --unlabelled out.")
    found = {*in_both(examples, [example for part in known for example in part.examples])}
    if found:
        note(
            f"texts of {name} that are among the labelled ones, and are left out: {len(found):,} of {len(examples):,}."
        )
    places = [i for i in range(len(examples)) if i not in found]
    if not places:
        raise InputError(f"every text of {name} is among the labelled ones: give others with --unlabelled.")
    return Part([examples[i] for i in places], name, places)


def without_tags(tokens: list[str], task: UnitTask) -> TaggedLine:
    """A line whose tags say nothing."""
    return TaggedLine(tokens, [task.labels[0]] * len(tokens))


def in_units(
    example: Example | TaggedLine, task: UnitTask, tokenizer: Tokenizer, name: str, note: Note = unheard
) -> TaggedLine:
    """A text as the tagger reads it, unit by unit. Raises InputError for a second text, and where `cut` does."""
    if isinstance(example, TaggedLine):
        return example
    if example.pair is not None:
        raise InputError(f"{name} has a second text, and a tagger reads single ones: leave out --pair-column.")
    text, spans = task.cut(example, tokenizer, name, note)
    return without_tags([text[a:b] for a, b in spans], task)


@dataclass(frozen=True)
class Second:
    """A second task with its model, and what it is measured on."""

    task: SecondTask
    kind: Task
    model: Classifier
    test: Dataset

    def keep(self, out: Path, tokenizer: Tokenizer, device: torch.device, say: Callable[[str], None]) -> None:
        """Write the model, and say how good it is on its own held-out examples."""
        self.model.settle()
        measured = self.kind.measure(self.model, self.test, device)
        save_model(out, self.model, tokenizer)
        examples = counted(len({*self.test.owner}), "held-out example")
        say(f"second task, on {examples}: {shown(measured)} · its model is in {out}")


def second_task_of(
    options: FinetuneOptions, model: Classifier, tokenizer: Tokenizer, test: Part, note: Note = unheard
) -> Second | None:
    """The task of `--second`, with a new head on the encoder of `model`; None if there is no such option.

    Its examples whose text is in the first task's `test` part are left out.
    """
    little = options.little
    if little.second is None:
        return None
    own = replace(
        options,
        data=little.second,
        task=little.second_task,
        labels=None,
        test=None,
        crf=False,
        crf_constraints=False,
        little=LittleData(),
        recipe=replace(options.recipe, class_weights=False),
    )
    material = load_material(own, note)
    kind = material.task.for_tokenizer(tokenizer, [*material.train.examples, *material.test.examples])
    generator = torch.Generator().manual_seed(options.seed)
    head = Classifier(model.encoder, kind.head(options.dropout, options.pooling), generator)
    if found := {*in_both(material.train.examples, test.examples)}:
        note(f"{len(found):,} examples of {little.second} have the text of one that is measured, and are left out.")
    kept = [i for i in range(len(material.train.examples)) if i not in found]
    if not kept:
        raise InputError(f"every text of {little.second} is measured in the first task: give other data with --second.")
    limit = getattr(model.config, "max_length", None)
    train, held = (
        kind.encode(
            *([part.examples[i] for i in chosen], tokenizer, limit),
            truncate=options.truncate,
            where=part.where,
            places=[part.places[i] for i in chosen],
            note=note,
        )
        for part, chosen in ((material.train, kept), (material.test, range(len(material.test.examples))))
    )
    batch_at = endless(train, options.recipe.batch, options.seed)
    device = next(model.parameters()).device
    task = SecondTask(head.to(device), batch_at, weight=little.second_weight)
    return Second(task, kind, head, held)
