"""Fine-tune a model on labelled texts, pairs of texts or tagged lines; measure it; use it.  F07, F08, F28, F30."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from torch import nn

from minilm.errors import InputError
from minilm.examples.labelled import LabelledSet, encode_tagged, encode_texts, label_names
from minilm.jobs.folders import (
    bert_config,
    encoder_into,
    open_classifier,
    refuse_to_overwrite,
    save_bert,
    save_lstm,
    tokenizer_for,
)
from minilm.jobs.measuring import measure_tags, measure_texts
from minilm.models.bert import BertClassifier, BertConfig, HeadConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMClassifier, LSTMConfig, LSTMTagger
from minilm.published import locate
from minilm.tensorfile import read_config
from minilm.text import corpus
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer
from minilm.training.checkpoint import add_metrics, start_metrics
from minilm.training.loop import choose_device
from minilm.training.supervised import PUBLISHED_RATE, Recipe, fit


@dataclass(frozen=True)
class Columns:
    """Where to look in a CSV, TSV or JSON-lines file of your own."""

    text_column: str = "text"
    pair_column: str | None = None
    """The second text, for tasks on pairs."""
    label_column: str = "label"


InOwnFile = Annotated[Columns, tyro.conf.arg(name="")]  # --text-column, not --columns.text-column


@dataclass(frozen=True)
class FinetuneOptions:
    """Fit a pretrained model (or one from scratch, or the LSTM) to labels."""

    data: str
    """A labelled corpus by name (imdb, rotten-tomatoes, chinese-reviews, peoples-daily), a CSV, TSV or JSON-lines file, or a
    CoNLL file of tagged words."""
    model: str
    """A folder that `pretrain` wrote, or that others published in the layout of transformers; all-minilm-l6-v2, which has
    a name; or "scratch" or "lstm" for a model that has seen nothing."""
    out: Path = Path("runs/finetune")
    columns: InOwnFile = field(default_factory=Columns)
    labels: int | None = None
    """How many labelled examples to learn from; all that are not held out if not given."""
    test: str | None = None
    """What to measure on: another file. If not given, `held_out` examples of the data are kept apart."""
    held_out: int = 1000
    tokenizer: Path | None = None
    """For scratch and lstm: the folder or file of the tokenizer."""
    pooling: str = "mean"
    """A text's one vector: the mean of its words, or the pooler's at [CLS] (cls)."""
    dropout: float = 0.1
    truncate: bool = False
    """Cut texts that are longer than the model takes, instead of refusing them."""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    device: str = "auto"
    progress: bool = True

    def __post_init__(self):
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed {self.seed} is not from 0 to {2**32 - 1}.")
        if self.held_out < 1:
            raise InputError(f"held_out {self.held_out} must be at least 1.")
        if self.pooling not in ("mean", "cls"):
            raise InputError(f"pooling '{self.pooling}' is not known: choose mean or cls.")
        if self.fresh and self.tokenizer is None:
            raise InputError(f"--model {self.model} needs a vocabulary: name a folder that has one with --tokenizer.")
        if not self.fresh and self.tokenizer is not None:
            raise InputError(f"--tokenizer is for scratch and lstm; {self.model} has its own.")

    @property
    def fresh(self) -> bool:
        """Whether the model has seen nothing."""
        return self.model in ("scratch", "lstm")


@dataclass(frozen=True)
class Task:
    """Labelled material of one kind, split in two."""

    kind: str  # "text" or "token"
    labels: tuple[str, ...]
    train: list[Example] | list[TaggedLine]
    test: list[Example] | list[TaggedLine]
    where: str
    where_test: str
    places: tuple[list[int], list[int]]  # of the examples of train and of test in their files, from 0

    def encode(self, part: str, tokenizer: Tokenizer, max_length: int | None, truncate: bool = False) -> LabelledSet:
        examples, where = (self.train, self.where) if part == "train" else (self.test, self.where_test)
        places = self.places[part != "train"]
        if self.kind == "token":
            return encode_tagged(examples, self.labels, tokenizer, max_length, where)
        return encode_texts(examples, self.labels, tokenizer, max_length, truncate, where, places)


def is_tagged(name: str) -> bool:
    """Whether the data carries a tag for every word, by its name."""
    return name == "peoples-daily" or Path(name).suffix.lower() in (".conll", ".bio", ".iob")


def read(name: str, columns: Columns, with_labels: bool = True) -> list[Example] | list[TaggedLine]:
    """The examples of a corpus or file."""
    if is_tagged(name):
        return corpus.tagged(name)
    return corpus.labelled(
        name, columns.text_column, columns.label_column if with_labels else None, columns.pair_column
    )


def load_task(options: FinetuneOptions) -> Task:
    """Read the data, set the test part aside first, then draw the labelled examples from the rest."""
    examples = read(options.data, options.columns)
    kind = "token" if is_tagged(options.data) else "text"
    rng = np.random.default_rng(options.seed)
    if options.test:
        if is_tagged(options.test) != is_tagged(options.data):
            raise InputError(f"{options.data} and {options.test} are of two kinds: labelled texts and tagged words.")
        order, test = rng.permutation(len(examples)), read(options.test, options.columns)
        held = range(len(test))
    else:
        if len(examples) < 4:
            raise InputError(f"{options.data} has {len(examples)} example(s): give at least 4, or a --test file.")
        # the same test part for every seed: only what is learnt from may change
        rest, held = corpus.split(len(examples), min(options.held_out, len(examples) // 4), seed=0)
        order, test = rng.permutation(rest), [examples[i] for i in held]
    if options.labels is not None and not 0 < options.labels <= len(order):
        raise InputError(f"{options.labels} labels were asked for, but {options.data} has {len(order)} to learn from.")
    places = [int(i) for i in order[: options.labels]], [int(i) for i in held]
    train = [examples[i] for i in places[0]]
    drawn = options.data if options.labels is None else f"what was drawn of {options.data} (--labels {options.labels})"
    label_names(labels_of(train, kind), drawn)
    # all classes of the data, though a small sample may lack one: a class is then known, and never right
    names = label_names(labels_of(examples, kind), options.data)
    return Task(kind, names, train, test, options.data, options.test or options.data, places)


def labels_of(examples: list[Example] | list[TaggedLine], kind: str) -> list[str]:
    return [tag for line in examples for tag in line.tags] if kind == "token" else [e.label for e in examples]


def new_model(options: FinetuneOptions, task: Task, tokenizer: Tokenizer) -> nn.Module:
    """The model before its first step: an encoder that was pretrained, or one that was not, with a fresh head."""
    generator = torch.Generator().manual_seed(options.seed)
    if options.model == "lstm":
        config = LSTMConfig(
            tokenizer.size, classes=len(task.labels), bidirectional=task.kind == "token", dropout=options.dropout
        )
        model = (LSTMTagger if task.kind == "token" else LSTMClassifier)(config, generator)
    else:
        head = HeadConfig(task.labels, task.kind, options.pooling, options.dropout)
        config = BertConfig(vocab_size=tokenizer.size) if options.fresh else bert_config(options.model)
        model = BertClassifier(replace(config, dropout=options.dropout), head)
        initialise(model, generator=generator)
        if not options.fresh:
            encoder_into(model, options.model)
    model.labels = task.labels
    return model


def recipe_for(recipe: Recipe, model: str | Path) -> Recipe:
    """The recipe with a rate: what others trained for weeks takes smaller steps than what was trained here in minutes."""
    foreign = "minilm_positions" not in read_config(locate(model))
    return replace(recipe, rate=PUBLISHED_RATE) if recipe.rate is None and foreign else recipe


def finetune(options: FinetuneOptions, say: Callable[[str], None] = print) -> dict:
    """Fit, measure on what was held out, write the folder; returns what was measured."""
    device = choose_device(options.device)
    refuse_to_overwrite(options.out)
    if options.fresh:
        tokenizer = Tokenizer.load(options.tokenizer)
    else:  # complains about a folder that is none before the data is read
        tokenizer = tokenizer_for(bert_config(options.model), options.model)
    task = load_task(options)
    model = new_model(options, task, tokenizer).to(device)
    limit = getattr(model.config, "max_length", None)
    train = task.encode("train", tokenizer, limit, options.truncate)
    test = task.encode("test", tokenizer, limit, options.truncate)
    say(
        f"{parameter_count(model):,} parameters · {len(task.train):,} examples to learn from · {len(task.labels)} labels"
    )
    start_metrics(options.out)
    recipe = options.recipe if options.fresh else recipe_for(options.recipe, options.model)
    seconds = fit(model, train, recipe, options.seed, device, options.progress)
    measured = measure_set(model, test, device)
    add_metrics(options.out, step=len(train), seconds=round(seconds, 1), **measured)
    save_classifier(options.out, model, tokenizer)
    say(f"{seconds:.0f} s · on {len(task.test):,} held-out examples: {shown(measured)}")
    return measured


def save_classifier(folder: Path, model: nn.Module, tokenizer: Tokenizer) -> None:
    if isinstance(model, BertClassifier):
        save_bert(folder, model, tokenizer)
    else:
        save_lstm(folder, model, model.labels, tokenizer)


def measure_set(model: nn.Module, examples: LabelledSet, device: torch.device) -> dict[str, float]:
    """Accuracy and F1 for texts, entity-level F1 for tagged lines."""
    if isinstance(examples.labels[0], list):
        return measure_tags(model, examples, model.labels, device)
    return measure_texts(model, examples, device)


def shown(measured: dict[str, float]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in measured.items())


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a fine-tuned model on labelled data."""

    model: Path
    data: str
    columns: InOwnFile = field(default_factory=Columns)
    truncate: bool = False
    device: str = "auto"


def evaluate(options: EvaluateOptions, say: Callable[[str], None] = print) -> dict[str, float]:
    """Accuracy, precision, recall and F1 of a fine-tuned model on data that has labels."""
    device = choose_device(options.device)
    opened = open_classifier(options.model)
    model = opened.model.to(device)
    task = "token" if is_tagged(options.data) else "text"
    trained = "token" if is_tagger(model) else "text"
    if task != trained:
        raise InputError(f"{options.model} was trained on {trained} labels, and {options.data} has {task} labels.")
    examples = read(options.data, options.columns)
    encode = encode_tagged if task == "token" else encode_texts
    extra = () if task == "token" else (options.truncate,)
    encoded = encode(examples, model.labels, opened.tokenizer, opened.max_length, *extra, where=options.data)
    measured = measure_set(model, encoded, device)
    say(f"{len(examples):,} examples: {shown(measured)}")
    return measured


def is_tagger(model: nn.Module) -> bool:
    return isinstance(model, LSTMTagger) or (isinstance(model, BertClassifier) and model.head_config.task == "token")
