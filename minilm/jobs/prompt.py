"""Label texts by a prompt: the model fills in a masked word, and words stand for labels.  F33."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from minilm.errors import InputError
from minilm.files.notes import Notes
from minilm.jobs.evaluate import shown
from minilm.jobs.finetune import FinetuneOptions, load_material
from minilm.jobs.labelled_data import Columns, InOwnFile, is_tagged
from minilm.models.adaptation import Adaptation, adapt
from minilm.models.verbaliser import Verbaliser, VerbaliserConfig
from minilm.pretrained.adapter import save_adapter, word_ids
from minilm.pretrained.protocol import open_pretraining
from minilm.pretrained.run_folder import LoadedModel, alone_in_new, refuse_to_overwrite
from minilm.text.files import Example
from minilm.text.remarks import counted
from minilm.training.loop import choose_device
from minilm.training.metrics import Measured
from minilm.training.prompt_task import PromptTask, mean_logits
from minilm.training.state import add_metrics, start_metrics
from minilm.training.supervised import Recipe, fit


@dataclass(frozen=True)
class PromptOptions:
    """Label texts by a prompt for a masked word, with few labels or none, and measure it on held-out examples."""

    data: str
    """A corpus of labelled texts by name, or a CSV, TSV or JSON-lines file."""
    model: str
    """A folder that `minilm pretrain` wrote: the model must guess masked words."""
    words: tuple[str, ...] = ("negative=terrible", "positive=great")
    """For each label, the words that stand for it at [MASK], with commas between several of them."""
    template: str = "{text} It was [MASK]."
    """The prompt: {text} is the text, and [MASK] is the place of the word."""
    labels: int = 0
    """How many labelled examples to learn from. With 0, nothing is trained."""
    calibrate: bool = False
    """Take off what the words get in the mean over the texts to learn from, whose labels are not looked at."""
    out: Path | None = None
    """Where to keep the prompt, and what was trained, as a small file beside the model; nothing is kept if not given."""
    columns: InOwnFile = field(default_factory=Columns)
    test: str | None = None
    """Another file to measure on. If it is not given, `held_out` examples of the data are set aside for that."""
    held_out: int = 1000
    truncate: bool = False
    """Cut texts for which the prompt leaves no room, instead of refusing them."""
    adaptation: Annotated[Adaptation, tyro.conf.arg(name="")] = field(default_factory=Adaptation)
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=20, batch=8, learning_rate=3e-4))
    seed: int = 0
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        if is_tagged(self.data):
            raise InputError(f"a prompt is for labels of whole texts, and {self.data} has tagged words.")
        if self.labels < 0:
            raise InputError(f"labels must be at least 0, not {self.labels}.")
        if self.columns.pair_column is not None:
            raise InputError("a prompt takes single texts: leave out --columns.pair-column.")
        if self.adaptation.tune == "head":
            raise InputError("--tune head trains nothing here: a prompt has no head of its own; choose another way.")
        if not self.labels and self.adaptation.tune != "all":
            raise InputError(f"--tune {self.adaptation.tune} needs --labels: without labels nothing is trained.")
        self.verbaliser(())

    def verbaliser(self, labels: Sequence[str]) -> VerbaliserConfig:
        """The template with the words in the order of `labels`, or of the command line if there are none. Raises InputError
        for words without a label, and for labels without words or of another name."""
        given = dict(part.partition("=")[::2] for part in self.words)
        if len(given) < len(self.words) or not all(given.values()):
            raise InputError(
                f"words must be like negative=terrible,awful, each label once, not {' '.join(self.words)}."
            )
        if labels and set(labels) != set(given):
            raise InputError(f"the labels of {self.data} are {', '.join(labels)}, and --words has {', '.join(given)}.")
        order = tuple(labels or given)
        return VerbaliserConfig(order, template=self.template, words=tuple(given[label] for label in order))


def prompted(loaded: LoadedModel, head: VerbaliserConfig, texts: Sequence[Example] = ()) -> Verbaliser:
    """A pretrained model that answers by the words of `head`. Over the `texts`, if there are some, the prior is measured.

    Raises InputError for a word that is not one token of the vocabulary.
    """
    tokenizer = loaded.tokenizer
    model = Verbaliser(loaded.model, head, word_ids(head, tokenizer), tokenizer.mask)
    if texts:
        task = PromptTask(head.labels, template=head.template)
        bare = [Example(text.text, None, None) for text in texts]
        rows = task.encode(bare, tokenizer, loaded.max_length, truncate=True)
        model.head_config = replace(head, prior=mean_logits(model, rows))
    return model


def prompt(options: PromptOptions, say: Callable[[str], None] = print) -> Measured:
    """Measure the prompt on held-out texts, after training on `labels` examples if there are any, and return the figures.

    Raises InputError for whatever does not fit together, and if another process writes into the folder, before any training.
    """
    device = choose_device(options.device)
    if options.out is not None:
        refuse_to_overwrite(options.out)
    notes = Notes(say)
    loaded = open_pretraining(options.model, notes)
    data = FinetuneOptions(
        *(options.data, options.model),
        columns=options.columns,
        labels=options.labels or None,
        test=options.test,
        held_out=options.held_out,
        seed=options.seed,
    )
    material = load_material(data, notes)
    head = options.verbaliser(material.task.labels)
    pool = load_material(replace(data, labels=None)).train.examples if options.calibrate else []
    model = prompted(loaded, head, pool).to(device)
    adaptation = options.adaptation if options.labels else Adaptation("head")  # without labels, nothing is trained
    adapt(model, adaptation, torch.Generator().manual_seed(options.seed))
    task = PromptTask(head.labels, template=head.template)
    train, test = (
        task.encode(
            *(part.examples, loaded.tokenizer, model.config.max_length),
            truncate=options.truncate,
            where=part.where,
            places=part.places,
            note=notes,
        )
        for part in (material.train._replace(examples=material.train.examples[: options.labels]), material.test)
    )
    with nullcontext() if options.out is None else alone_in_new(options.out):
        seconds = 0.0
        if options.labels:
            seconds = fit(model, train, options.recipe, options.seed, device, options.progress)
        measured = task.measure(model, test, device)
        say(f"{options.labels} labels · {seconds:.0f} s · {counted(len(test), 'held-out example')}: {shown(measured)}")
        if options.out is not None:
            start_metrics(options.out)
            notes.write(options.out)
            add_metrics(options.out, labels=options.labels, seconds=round(seconds, 1), **measured)
            save_adapter(options.out, model, adaptation, options.model)
    return measured
