"""What `minilm finetune` reads besides its labelled examples: texts without labels, and a second task.  F28."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.files.notes import Note, unheard
from minilm.jobs.evaluate import shown
from minilm.jobs.finetune_options import FinetuneOptions, LittleData, load_material
from minilm.jobs.labelled_data import Part, in_both, is_tagged, read
from minilm.models.heads import Classifier
from minilm.pretrained.protocol import save_model
from minilm.text import corpus
from minilm.text.characters import visible
from minilm.text.files import LABELLED, TAGGED, Example, refuse_not_plain, refuse_tags, text_lines
from minilm.text.remarks import counted
from minilm.text.tagged import TaggedLine, line_number, with_tags
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
    part = texts_without_labels(options, name, task, note)
    if isinstance(task, UnitTask):
        part = in_units(part, task, tokenizer, note)
    if not part.examples:
        raise InputError(f"{name} holds no text that can be seen: write one text per line, or leave --unlabelled out.")
    others = [example for one in known for example in one.examples]
    found = {*(same_characters if isinstance(task, UnitTask) else in_both)(part.examples, others)}
    if found:
        count = f"{len(found):,} of {len(part.examples):,}"
        note(f"texts of {name} that are among the labelled ones, and are left out: {count}.")
    kept = [i for i in range(len(part.examples)) if i not in found]
    if not kept:
        raise InputError(f"every text of {name} is among the labelled ones: give others with --unlabelled.")
    return Part([part.examples[i] for i in kept], name, [part.places[i] for i in kept])


def texts_without_labels(options: FinetuneOptions, name: str, task: Task, note: Note) -> Part:
    """The texts of a corpus or file: lines, a table, or, for a tagger, tagged words. Raises InputError for files of other kinds."""
    path = Path(name)
    if path.is_dir():
        raise InputError(
            f"{name} is a folder: give one file with --unlabelled (.txt, {', '.join((*LABELLED, *TAGGED))})."
        )
    if is_tagged(name) and isinstance(task, UnitTask):
        lines = [without_tags(line, task) for line in read(name, options.columns, note, TagTask)]
        task.check_units(lines, name, note)
        return Part(lines, name, [(line_number(line) or i + 1) - 1 for i, line in enumerate(lines)])
    if path.is_file() and path.suffix.lower() not in LABELLED:
        refuse_not_plain(path)
        raw = [line.strip() for line in text_lines(path)]
        places = [i for i, line in enumerate(raw) if visible(line)]
        refuse_tags([raw[i] for i in places[:20]], path)
        if unseen := sum(map(bool, raw)) - len(places):
            note(f"{unseen:,} line(s) of {name} have invisible characters alone, and are left out.")
        return Part([Example(raw[i]) for i in places], name, places)
    columns = options.columns
    rows = corpus.labelled(name, columns.text_column, None, columns.pair_column, note)
    return Part([row._replace(label=None) for row in rows], name, list(range(len(rows))))


def same_characters(lines: list[TaggedLine], others: list[TaggedLine]) -> list[int]:
    """The places of the lines whose characters are those of one of the others, whatever the units into which both are cut."""

    def squeezed(line: TaggedLine) -> str:
        return "".join("".join(line.tokens).split()).casefold()

    known = {squeezed(line) for line in others}
    return [i for i, line in enumerate(lines) if squeezed(line) in known]


def without_tags(line: TaggedLine, task: UnitTask) -> TaggedLine:
    """The line with tags that say nothing."""
    return with_tags(line, [task.labels[0]] * len(line.tokens))


def in_units(part: Part, task: UnitTask, tokenizer: Tokenizer, note: Note) -> Part:
    """The texts as the tagger reads them, unit by unit, without those of which the tokenizer knows nothing.

    Raises InputError for a second text, where `cut` does, and if no text is left.
    """
    lines: list[TaggedLine] = []
    heard: list[str] = []
    for example, place in zip(part.examples, part.places, strict=True):
        if isinstance(example, Example):
            name = f"text {place + 1} of {part.where}"
            if example.pair is not None:
                raise InputError(f"{name} has a second text, and a tagger reads single ones: leave out --pair-column.")
            text, spans = task.cut(example, tokenizer, name, heard.append)
            example = without_tags(TaggedLine([text[a:b] for a, b in spans], []), task)
        lines.append(example)
    if heard:
        note(heard[0] + (f" (The same holds for {len(heard) - 1:,} more.)" if len(heard) > 1 else ""))
    words = tokenizer.pieces_of_words([line.tokens for line in lines])
    known = [i for i, ids in enumerate(words) if {piece for word in ids for piece in word} - {tokenizer.unknown}]
    if lines and not known:
        raise InputError(
            f"the model's vocabulary knows nothing of {part.where}: give texts in its language with --unlabelled."
        )
    if len(known) < len(lines):
        count = f"{len(lines) - len(known):,} of {len(lines):,}"
        note(f"texts of {part.where} of which the model's vocabulary knows nothing, and which are left out: {count}.")
    return Part([lines[i] for i in known], part.where, [part.places[i] for i in known])


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
