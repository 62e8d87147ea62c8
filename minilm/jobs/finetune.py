"""Fine-tune a model on labelled texts, pairs of texts or tagged lines, and measure it.  F07, F08, F28, F30."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from minilm.examples.batching import Dataset
from minilm.examples.labelled import encode_tagged
from minilm.files.notes import Note, Notes, unheard
from minilm.files.tensors import read_config
from minilm.jobs.augmenting import Augmenter, augmenter
from minilm.jobs.best_epoch import BestEpoch
from minilm.jobs.evaluate import EvaluateOptions as EvaluateOptions, evaluate as evaluate, shown as shown
from minilm.jobs.finetune_options import FinetuneOptions as FinetuneOptions, load_material as load_material
from minilm.jobs.labelled_data import Part, set_aside, texts_of
from minilm.jobs.little_data import Second, second_task_of, unlabelled_texts
from minilm.jobs.self_training import taught_classifier, taught_tagger
from minilm.models.adaptation import adapt, merge
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.heads import Classifier
from minilm.models.initialisation import initialise
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.pretrained.adapter import save_adapter
from minilm.pretrained.protocol import architecture_named, encoder_config, load_encoder, save_model
from minilm.pretrained.registry import locate
from minilm.pretrained.run_folder import alone_in_new, refuse_to_overwrite, tokenizer_for
from minilm.text.remarks import counted, remark
from minilm.text.tokenizer import Tokenizer
from minilm.training.loop import Progress, choose_device
from minilm.training.metrics import Measured
from minilm.training.precision import check_precision
from minilm.training.self_training import Learner
from minilm.training.state import add_metrics, start_metrics
from minilm.training.supervised import LEARNING_RATE, PUBLISHED_LEARNING_RATE, Recipe, fit
from minilm.training.tasks import Task

# What the learning rate is multiplied by where few numbers are trained. `minilm bench tuning` compares such rates.
FASTER = {"head": 10, "biases": 5, "adapters": 2, "low-rank": 5, "adaptive": 5, "prompts": 10}


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


@dataclass
class Fitting:
    """How `finetune` makes its models and fits them, with everything that the options say. Its `first` model is made already."""

    options: FinetuneOptions
    recipe: Recipe
    task: Task
    tokenizer: Tokenizer
    device: torch.device
    say: Callable[[str], None]
    first: Classifier
    augment: Augmenter | None
    development: Dataset | None = None
    second: Second | None = None
    fits: int = 0
    steps: int = 0  # of all fits

    def new(self, seed: int) -> Classifier:
        """Another model that has learned nothing of the labels."""
        return new_model(replace(self.options, seed=seed % 2**32), self.task, self.tokenizer).to(self.device)

    def fit(self, model: Classifier, examples: Dataset, seed: int, epochs: int | None) -> float:
        """Fit it (with `epochs` in the place of the recipe's, if they are given), and return the seconds."""
        recipe = self.recipe if epochs is None else replace(self.recipe, epochs=epochs)
        self.fits += 1
        which, before = f"model {self.fits}, " if self.options.little.unlabelled else "", self.steps
        judge = None
        if self.development is not None:
            judge = BestEpoch(
                self.task, self.development, recipe.epochs, self.device, lambda text: self.say(which + text)
            )

        def count(epoch: int, progress: Progress) -> None:
            self.steps = before + progress.step

        augment = self.augment
        if model is not self.first:
            augment = augmenter_for(self.options, model, self.tokenizer, self.device)
        return fit(
            *(model, examples, recipe, seed, self.device, self.options.progress),
            on_epoch=count,
            judge=judge,
            augment=augment,
            second=self.second.task if self.second else None,
            precision=self.options.precision,
        )

    def learner(self) -> Learner:
        """What self-training needs to make and fit its models in this way."""
        limit = getattr(self.first.config, "max_length", None)
        encode = partial(encode_tagged, tags=self.task.labels, tokenizer=self.tokenizer, max_length=limit)
        return Learner(self.new, self.fit, encode, self.task.labels, self.device)


def finetune(options: FinetuneOptions, say: Callable[[str], None] = print) -> Measured:
    """Fit the model, measure it on the examples that were held out, write the folder, and return what was measured.

    Raises InputError for anything that does not fit together, and if another process writes into the folder, before any training;
    KeyboardInterrupt after Ctrl-C.
    """
    device = choose_device(options.device)
    check_precision(options.precision, device)
    refuse_to_overwrite(options.out)
    tokenizer = tokenizer_of(options)
    notes = Notes(say)
    material = load_material(options, notes)
    task = material.task.for_tokenizer(tokenizer, [*material.train.examples, *material.test.examples])
    for part in dict.fromkeys((material.train.where, material.test.where)):
        examples = [e for p in (material.train, material.test) if p.where == part for e in p.examples]
        remark(tokenizer, texts_of(examples), part, notes)
    model = new_model(options, task, tokenizer, notes).to(device)
    limit = getattr(model.config, "max_length", None)
    learn, *choose = set_aside(material.train, options.development, options.seed)

    def encoded(part: Part) -> Dataset:
        return task.encode(
            *(part.examples, tokenizer, limit),
            truncate=options.truncate,
            where=part.where,
            places=part.places,
            note=notes,
        )

    train, test, *development = map(encoded, (learn, material.test, *choose))
    free = unlabelled_texts(options, task, tokenizer, [material.train, material.test], notes)
    unlabelled = None
    if free:
        remark(tokenizer, texts_of(free.examples), free.where, notes)
        unlabelled = encoded(free)
    second = second_task_of(options, model, tokenizer, material.test, notes)
    say_size(
        model, options, f"{counted(len(learn.examples), 'example')} to learn from · {len(task.labels)} labels", say
    )
    augment = augmenter_for(options, model, tokenizer, device)
    with alone_in_new(options.out):
        start_metrics(options.out)
        notes.write(options.out)
        recipe = options.recipe if options.fresh else recipe_for(options.recipe, options.model, options.adaptation.tune)
        fitting = Fitting(options, recipe, task, tokenizer, device, say, model, augment)
        fitting = replace(fitting, development=development[0] if development else None, second=second)
        if free is None or unlabelled is None:
            seconds = fitting.fit(model, train, options.seed, None)
        elif task.per_token:
            model, seconds = taught_tagger(options, fitting.learner(), train, free, notes)
        else:
            model, seconds = taught_classifier(options, model, fitting.learner(), train, unlabelled, notes)
        notes.write(options.out)
        model.settle()
        if options.whole:
            merge(model)
        measured = task.measure(model, test, device)
        add_metrics(options.out, step=fitting.steps, seconds=round(seconds, 1), **measured)
        if options.adaptation.tune == "all" or options.whole:
            save_model(options.out, model, tokenizer)
        else:
            save_adapter(options.out, model, options.adaptation, options.model)
        say(f"{seconds:.0f} s · on {counted(len(material.test.examples), 'held-out example')}: {shown(measured)}")
        if second:
            second.keep(options.out / "second", tokenizer, device, say)
    return measured


def tokenizer_of(options: FinetuneOptions) -> Tokenizer:
    """The tokenizer of the model, or the one that is given for a new model."""
    if options.tokenizer is not None:
        return Tokenizer.load(options.tokenizer)
    # this refuses a folder that holds no model, before the data is read
    return tokenizer_for(encoder_config(options.model)[1], options.model)


def augmenter_for(
    options: FinetuneOptions, model: Classifier, tokenizer: Tokenizer, device: torch.device
) -> Augmenter | None:
    """What changes the texts of every batch, for a model that has not been fitted yet."""
    little = options.little
    return augmenter(little.augment, little.augment_share, options.seed, tokenizer, model, options.model, device)


def say_size(model: Classifier, options: FinetuneOptions, counts: str, say: Callable[[str], None]) -> None:
    """One line: how many numbers are trained, of how many, and from how many examples."""
    every, trained = sum(parameter.numel() for parameter in model.parameters()), parameter_count(model)
    tune = options.adaptation.tune
    share = "" if tune == "all" else f" trained of {every:,} ({trained / every:.2%}, {tune})"
    say(f"{trained:,} parameters{share} · {counts}")
