"""Fine-tune a model on labelled texts, pairs of texts or tagged lines, and measure it.  F07, F08, F28, F30."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro

from minilm.errors import InputError, check_least
from minilm.files.notes import Note, Notes, unheard
from minilm.files.tensors import read_config
from minilm.jobs.best_epoch import BestEpoch
from minilm.jobs.evaluate import EvaluateOptions as EvaluateOptions, evaluate as evaluate, shown as shown
from minilm.jobs.labelled_data import (
    Columns,
    InOwnFile,
    Kind,
    Material,
    Part,
    in_both,
    is_tagged,
    read,
    say_duplicates,
    set_aside,
    task_for,
    texts_of,
)
from minilm.models.adaptation import Adaptation, adapt, merge
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.heads import Classifier
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.pretrained.adapter import save_adapter
from minilm.pretrained.protocol import architecture_named, encoder_config, load_encoder, save_model
from minilm.pretrained.registry import locate
from minilm.pretrained.run_folder import refuse_to_overwrite, tokenizer_for
from minilm.text import corpus
from minilm.text.remarks import counted, remark
from minilm.text.tokenizer import Tokenizer
from minilm.training.loop import choose_device
from minilm.training.metrics import Measured
from minilm.training.state import add_metrics, start_metrics
from minilm.training.supervised import LEARNING_RATE, PUBLISHED_LEARNING_RATE, Recipe, fit
from minilm.training.tasks import Task

# What the learning rate is multiplied by where few numbers are trained. `minilm bench tuning` compares such rates.
FASTER = {"head": 10, "biases": 5, "adapters": 2, "low-rank": 5, "adaptive": 5, "prompts": 10}


@dataclass(frozen=True)
class FinetuneOptions:
    """Fit a pretrained model (or a new Transformer or LSTM) to labelled examples."""

    data: str
    """A labelled corpus by name (imdb, rotten-tomatoes, tweets, chinese-reviews, peoples-daily), a CSV, TSV or JSON-lines
    file, or a CoNLL file of tagged words."""
    model: str
    """A folder that `pretrain` wrote or that others published in the layout of transformers; a published model by name
    (all-minilm-l6-v2); or "scratch" or "lstm" for a new Transformer or LSTM."""
    out: Path = Path("runs/finetune")
    columns: InOwnFile = field(default_factory=Columns)
    task: Kind = ""
    """What the data's labels are, where their file does not say it. Tables: one class per text (classes), several labels with
    semicolons between them (labels), a number (number), the relation of two marked entities (relations), or JSON lines of questions
    with answers from a text (answers). CoNLL files: entities, any one tag per word (tags), or B, M, E, S per character (words)."""
    labels: int | None = None
    """How many labelled examples to learn from; if it is not given, all that are not held out."""
    test: str | None = None
    """Another file to measure on. If it is not given, `held_out` examples of the data are set aside for that."""
    held_out: int = 1000
    development: int = 0
    """Set so many of the examples to learn from aside, measure on them after every epoch, and keep the best epoch."""
    tokenizer: Path | None = None
    """For scratch and lstm: the folder or the file of the tokenizer."""
    pooling: str = "mean"
    """How a text becomes one vector: the mean of its tokens (mean), or the pooler at [CLS] (cls)."""
    crf: bool = False
    """For tagged words: put a CRF on the logits, which scores the tags of a line together, and answer with its best path."""
    crf_constraints: bool = False
    """Let the CRF take only the steps that the tags' scheme allows, such as none from O to I-PER."""
    dropout: float = 0.1
    truncate: bool = False
    """Cut texts that are longer than the model takes, instead of refusing them."""
    adaptation: Annotated[Adaptation, tyro.conf.arg(name="")] = field(default_factory=Adaptation)
    whole: bool = False
    """With --tune: write a whole model, with low-rank changes merged into its weights, and not only what was trained."""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        refuse_adaptation(self)
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}.")
        check_least(self, 1, "held_out")
        check_least(self, 0, "development")
        if self.pooling not in ("mean", "cls"):
            raise InputError(f"pooling '{self.pooling}' is not known: choose mean or cls.")
        task_for(self.data, self.task)
        if self.crf and not is_tagged(self.data):
            raise InputError(f"--crf is for tagged words, and {self.data} has labels of whole texts: leave it out.")
        if self.crf_constraints and not self.crf:
            raise InputError("--crf-constraints is for a CRF: add --crf, or leave it out.")
        if self.crf and self.recipe.label_smoothing:
            raise InputError("label smoothing is not for a CRF, which scores whole paths: leave one of the two out.")
        if self.fresh and self.tokenizer is None:
            raise InputError(f"--model {self.model} needs a vocabulary: give a folder that has one with --tokenizer.")
        if not self.fresh and self.tokenizer is not None:
            raise InputError(f"--tokenizer is for scratch and lstm; {self.model} has its own.")

    @property
    def fresh(self) -> bool:
        """Whether the model is new, without any pretraining."""
        return self.model in ("scratch", "lstm")


def refuse_adaptation(options: FinetuneOptions) -> None:
    """Raises InputError for a way of tuning that does not go together with the other options."""
    tune = options.adaptation.tune
    if tune != "all" and options.fresh:
        raise InputError(
            f"--tune {tune} is for pretrained models: a new one ({options.model}) has to learn every weight."
        )
    if tune != "all" and options.recipe.head_only:
        raise InputError(f"--recipe.head-only and --tune {tune} both say what is trained: leave one of them out.")
    if options.whole and tune in ("all", "adapters", "prompts"):
        why = "a whole model is written anyway" if tune == "all" else f"{tune} have no place in the base's layout"
        raise InputError(f"--whole is not for --tune {tune}: {why}.")


def load_material(options: FinetuneOptions, note: Note = unheard) -> Material:
    """Read the data, set the test part aside first, then draw the labelled examples from the rest.

    No text is both held out and learned from: if it occurs more than once, its other copies are left out.
    Raises InputError if there are too few examples or labels, or if the test file is of another kind.
    """
    kind = task_for(options.data, options.task)
    examples = read(options.data, options.columns, note, kind)
    # all classes of the data: if a small sample lacks one, the model knows that class but never learns it
    names = kind.names_of(examples, options.data)
    say_duplicates(examples, options.data, note)
    rng = np.random.default_rng(options.seed)
    if options.test:
        if task_for(options.test, options.task) is not kind:
            raise InputError(
                f"{options.data} and {options.test} are of different kinds: labelled texts and tagged words."
            )
        order, test = rng.permutation(len(examples)), read(options.test, options.columns, note, kind)
        held = np.arange(len(test))
        if both := in_both(examples, test):
            note(
                f"{len(both):,} of {len(examples):,} examples of {options.data} have a text that {options.test} has, too."
            )
    else:
        if len(examples) < 4:
            raise InputError(f"{options.data} has {len(examples)} example(s): give at least 4, or a --test file.")
        # the test part is the same for every seed: only the examples to learn from may change
        rest, held = corpus.split(len(examples), min(options.held_out, len(examples) // 4), seed=0)
        order, test = rng.permutation(rest), [examples[i] for i in held]
        if both := in_both([examples[i] for i in order], test):
            note(
                f"{len(both):,} of {len(order):,} examples to learn from have the same text as one that is held out, and are "
                "left out."
            )
            order = np.delete(order, both)
        if not len(order):
            raise InputError(
                f"every text of {options.data} is held out as well: give different texts, or a --test file."
            )
    if options.labels is not None and not 0 < options.labels <= len(order):
        raise InputError(f"{options.labels} labels were asked for, but {options.data} has {len(order)} to learn from.")
    chosen = [int(i) for i in order[: options.labels]]
    train = [examples[i] for i in chosen]
    drawn = options.data
    if options.labels is not None:
        drawn = f"the sample of {options.data} (--labels {options.labels})"
    elif len(order) < len(examples):
        drawn = f"the part of {options.data} to learn from"
    kind.names_of(train, drawn)
    task = kind.learnt_from(names, train, drawn, note)
    held_part = Part(test, options.test or options.data, [int(i) for i in held])
    return Material(task, Part(train, options.data, chosen), held_part)


def new_model(options: FinetuneOptions, task: Task, tokenizer: Tokenizer, note: Note = unheard) -> Classifier:
    """The model before its first step: an encoder, pretrained or new, with a new head."""
    generator = torch.Generator().manual_seed(options.seed)
    head = task.head(options.dropout, options.pooling, options.crf, options.crf_constraints)
    if options.model == "lstm":
        sizes = LSTMConfig(tokenizer.size, bidirectional=task.per_token, dropout=options.dropout)
        return Classifier(LSTMEncoder(sizes, generator), head, generator)
    if options.fresh:
        architecture, config = architecture_named("bert"), TransformerConfig(vocab_size=tokenizer.size)
    else:
        architecture, config = encoder_config(options.model)
    model = Classifier(architecture.build_encoder(replace(config, dropout=options.dropout)), head)
    initialise(model, generator=generator)
    if not options.fresh:
        load_encoder(model, options.model, note)
        adapt(model, options.adaptation, generator)
    return model


def recipe_for(recipe: Recipe, model: str | Path, tune: str = "all") -> Recipe:
    """The recipe with its learning rate: it is lower for a model that others trained for weeks than for one of ours, and
    higher where few numbers are trained. The head alone is trained without dropout."""
    entries = read_config(locate(model))
    foreign = not any(name.startswith("minilm") for name in (*entries, str(entries.get("model_type"))))
    if tune == "head":
        recipe = replace(recipe, head_only=True)
    if recipe.learning_rate is not None or (tune == "all" and not foreign):
        return recipe
    usual = PUBLISHED_LEARNING_RATE if foreign else LEARNING_RATE
    return replace(recipe, learning_rate=usual * FASTER.get(tune, 1))


def finetune(options: FinetuneOptions, say: Callable[[str], None] = print) -> Measured:
    """Fit the model, measure it on the examples that were held out, write the folder, and return what was measured.

    Raises InputError for anything that does not fit together, before any training; KeyboardInterrupt after Ctrl-C.
    """
    device = choose_device(options.device)
    refuse_to_overwrite(options.out)
    if options.tokenizer is not None:
        tokenizer = Tokenizer.load(options.tokenizer)
    else:  # this refuses a folder that holds no model, before the data is read
        tokenizer = tokenizer_for(encoder_config(options.model)[1], options.model)
    notes = Notes(say)
    material = load_material(options, notes)
    task = material.task.for_tokenizer(tokenizer, [*material.train.examples, *material.test.examples])
    for part in dict.fromkeys((material.train.where, material.test.where)):
        examples = [e for p in (material.train, material.test) if p.where == part for e in p.examples]
        remark(tokenizer, texts_of(examples), part, notes)
    model = new_model(options, task, tokenizer, notes).to(device)
    limit = getattr(model.config, "max_length", None)
    learn, *choose = set_aside(material.train, options.development, options.seed)
    train, test, *development = (
        task.encode(
            *(part.examples, tokenizer, limit),
            truncate=options.truncate,
            where=part.where,
            places=part.places,
            note=notes,
        )
        for part in (learn, material.test, *choose)
    )
    counts = f"{counted(len(learn.examples), 'example')} to learn from · {len(task.labels)} labels"
    every = sum(parameter.numel() for parameter in model.parameters())
    trained = parameter_count(model)
    tune = options.adaptation.tune
    share = "" if tune == "all" else f" trained of {every:,} ({trained / every:.2%}, {tune})"
    say(f"{trained:,} parameters{share} · {counts}")
    start_metrics(options.out)
    notes.write(options.out)
    recipe = options.recipe if options.fresh else recipe_for(options.recipe, options.model, options.adaptation.tune)
    steps: list[int] = []
    seconds = fit(
        *(model, train, recipe, options.seed, device, options.progress),
        on_epoch=lambda _, progress: steps.append(progress.step),
        judge=BestEpoch(task, development[0], recipe.epochs, device, say) if development else None,
    )
    model.settle()
    if options.whole:
        merge(model)
    measured = task.measure(model, test, device)
    add_metrics(options.out, step=steps[-1], seconds=round(seconds, 1), **measured)
    if options.adaptation.tune == "all" or options.whole:
        save_model(options.out, model, tokenizer)
    else:
        save_adapter(options.out, model, options.adaptation, options.model)
    say(f"{seconds:.0f} s · on {counted(len(material.test.examples), 'held-out example')}: {shown(measured)}")
    return measured
