"""The options of `minilm finetune`, what does not go together, and the data: a part to learn from and one to measure on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from minilm.errors import InputError, check_least
from minilm.files.notes import Note, unheard
from minilm.jobs.augmenting import Way
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
    task_for,
)
from minilm.models.adaptation import Adaptation
from minilm.text import corpus
from minilm.training.precision import refuse_unknown
from minilm.training.span_task import SpanTask
from minilm.training.supervised import MOST_EPOCHS, Recipe
from minilm.training.text_tasks import LabelsTask, NumberTask, RelationTask, TextTask
from minilm.training.word_tasks import UnitTask


@dataclass(frozen=True)
class LittleData:
    """What a fit is given besides a few labelled examples. Raises InputError for a number outside its range."""

    augment: Way = ""
    """Show other versions of the texts in every epoch: some tokens left out (word-dropout), or replaced by neighbours in the
    embedding table (neighbours) or by guesses of the pretrained model (masked-lm)."""
    augment_share: float = 0.1
    """The share of the tokens that are changed so."""
    unlabelled: str | None = None
    """Self-training: texts (one per line, a table or a labelled corpus; for a tagger also a CoNLL file; labels are not looked at)
    that a first model labels (for tagged words, several that agree), and a new one learns from, too. Measured texts are left out."""
    confidence: float | None = None
    """--unlabelled, one class per text: how probable a label must be for the text to be learned from; 0.9 if not given."""
    teachers: int | None = None
    """--unlabelled, tagged words: how many models have to agree on all tags of a line for it to be learned from; 3 if not given."""
    student_epochs: int | None = None
    """--unlabelled, tagged words: how often the new model reads the lines on which the others agree; 2 if not given. It reads the
    labelled ones about as often as they did."""
    second: str | None = None
    """A second task on the same encoder, with a head of its own: other labelled data, as for --data. Its model is written, too."""
    second_task: Kind = ""
    """As --task, for the second task."""
    second_weight: float = 1.0
    """How much the loss of the second task counts."""

    def __post_init__(self) -> None:
        if not 0 < self.augment_share <= 1:
            raise InputError(f"augment_share must be above 0 and at most 1, not {self.augment_share}.")
        if self.confidence is not None and not 0 < self.confidence <= 1:
            raise InputError(f"confidence must be above 0 and at most 1, not {self.confidence}.")
        for name, most in (("teachers", 100), ("student_epochs", MOST_EPOCHS)):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise InputError(f"{name} must be from 1 to {most:,}, not {value:,}.")
        for name in ("confidence", "teachers", "student_epochs"):
            if getattr(self, name) is not None and self.unlabelled is None:
                option = name.replace("_", "-")
                raise InputError(f"--{option} is for --unlabelled: give texts without labels, or leave --{option} out.")
        if not self.second_weight > 0:
            raise InputError(f"second_weight must be above 0, not {self.second_weight}.")


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
    little: Annotated[LittleData, tyro.conf.arg(name="")] = field(default_factory=LittleData)
    whole: bool = False
    """With --tune: write a whole model, with low-rank changes merged into its weights, and not only what was trained."""
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    device: str = "auto"
    precision: str = "float32"
    """float32, or bf16: products of matrices are rounded to 8 binary digits while the model learns, as in `minilm pretrain`. It is
    measured and saved in float32."""
    progress: bool = True

    def __post_init__(self) -> None:
        refuse_adaptation(self)
        refuse_little_data(self)
        refuse_unknown(self.precision)
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
        if self.crf and self.recipe.class_weights:
            raise InputError("class weights are not for a CRF, which scores whole paths: leave one of the two out.")
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


def refuse_little_data(options: FinetuneOptions) -> None:
    """Raises InputError for a switch for little data that does not go together with the other options."""
    little, kind = options.little, task_for(options.data, options.task)
    if little.augment and not (issubclass(kind, TextTask) and kind is not RelationTask):
        raise InputError(f"--augment is for labels of whole texts, and {options.data} has others: leave it out.")
    if little.augment in ("neighbours", "masked-lm") and options.fresh:
        raise InputError(f"--augment {little.augment} needs a pretrained model: choose word-dropout, or leave it out.")
    if options.recipe.class_weights and issubclass(kind, LabelsTask | NumberTask | SpanTask):
        raise InputError(f"class weights are for classes, and {options.data} has other labels: leave them out.")
    if little.unlabelled is not None and kind is not TextTask and not issubclass(kind, UnitTask):
        what = f"for one class per text or tagged words, and {options.data} has other labels"
        raise InputError(f"--unlabelled is {what}: leave it out.")
    if little.confidence is not None and issubclass(kind, UnitTask):
        raise InputError(
            "--confidence is for one class per text; a tagger learns where --teachers agree: leave it out."
        )
    if little.unlabelled is not None and options.recipe.patience and not options.development and kind is not TextTask:
        raise InputError(
            "--recipe.patience sets a tenth of the lines aside, but the new tagger reads the labelled ones several times, and would "
            "be judged by lines that it has read: add --development N, or leave it out."
        )
    if (little.teachers or little.student_epochs) and kind is TextTask:
        option = "--teachers" if little.teachers else "--student-epochs"
        raise InputError(f"{option} is for tagged words; for one class per text there is --confidence: leave it out.")
    if (little.student_epochs or 1) > options.recipe.epochs:
        raise InputError(
            f"--student-epochs {little.student_epochs} is more than the teachers' own --recipe.epochs {options.recipe.epochs}: give "
            "fewer of the former, or more of the latter."
        )
    if little.second is not None and options.adaptation.tune != "all":
        raise InputError(f"--second trains the whole encoder: leave out --tune {options.adaptation.tune}.")
    if little.second is not None and options.recipe.head_only:
        raise InputError("--second trains the encoder, and --recipe.head-only freezes it: leave one of them out.")
    if little.second is not None and little.unlabelled is not None:
        raise InputError("--second and --unlabelled do not go together yet: leave one of them out.")
    if little.second is not None:
        task_for(little.second, little.second_task)


def load_material(options: FinetuneOptions, note: Note = unheard, blind: bool = False) -> Material:
    """Read the data, set the test part aside first, then draw the labelled examples from the rest.

    `blind` leaves a `--test` file unread, and the test part empty.

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
        order = rng.permutation(len(examples))
        test = [] if blind else read(options.test, options.columns, note, kind)
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
