"""What `minilm search` may change, how a trial chooses from it, and the same settings as a command."""

import shlex
from dataclasses import fields, replace
from typing import Any, Protocol, runtime_checkable

from minilm.jobs.finetune_options import FinetuneOptions, LittleData
from minilm.jobs.labelled_data import Columns, task_for
from minilm.models.adaptation import OPTIONS
from minilm.training.supervised import Recipe
from minilm.training.task import Task
from minilm.training.text_tasks import LabelsTask, NumberTask, RelationTask, TextTask

WIDER = 5.0  # the learning rate is searched from a fifth of the usual one to five times as much


@runtime_checkable
class Chooses(Protocol):
    """A trial of optuna, as far as it is needed here."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...

    def suggest_categorical(self, name: str, choices: list[int]) -> Any: ...


def settings_of(trial: Chooses, usual: float, most_epochs: int, options: FinetuneOptions) -> dict[str, float]:
    """The settings of a trial, by name. `usual` is the learning rate that fine-tuning takes if none is given.

    Numbers are rounded, so that what is printed is exactly what was tried.
    """
    kind = task_for(options.data, options.task)
    out: dict[str, float] = {
        "learning_rate": trial.suggest_float("learning_rate", usual / WIDER, usual * WIDER, log=True),
        "epochs": trial.suggest_int("epochs", 2, most_epochs),
        "batch": trial.suggest_categorical("batch", [8, 16, 32]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3, step=0.05),
        "layer_decay": trial.suggest_float("layer_decay", 0.6, 1.0, step=0.05),
        "weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.3, log=True),
    }
    if has_one_label(kind) and not options.crf:
        out["label_smoothing"] = trial.suggest_float("label_smoothing", 0.0, 0.2, step=0.05)
    if issubclass(kind, TextTask) and kind is not RelationTask:
        out["word_dropout"] = trial.suggest_float("word_dropout", 0.0, 0.3, step=0.05)
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in out.items()}


def has_one_label(kind: type[Task]) -> bool:
    """Whether the right answer is one class per text, or one tag per word."""
    return not issubclass(kind, LabelsTask | NumberTask) and kind.name != "answers"


def defaults(usual: float, most_epochs: int) -> dict[str, float]:
    """The settings that `minilm finetune` has without any option: what a search is compared with."""
    recipe = Recipe()
    same = {name: getattr(recipe, name) for name in ("batch", "layer_decay", "weight_decay", "label_smoothing")}
    epochs = min(recipe.epochs, most_epochs)
    return {"learning_rate": usual, "epochs": epochs, "dropout": 0.1, "word_dropout": 0.0, **same}


def with_settings(options: FinetuneOptions, settings: dict[str, Any]) -> FinetuneOptions:
    """The options of fine-tuning with the settings of a trial."""
    names = {field.name for field in fields(Recipe)}
    recipe = replace(options.recipe, **{name: value for name, value in settings.items() if name in names})
    share = settings.get("word_dropout", 0.0)
    little = LittleData("word-dropout", share) if share else LittleData()
    return replace(options, recipe=recipe, dropout=settings["dropout"], little=little)


def command_of(options: FinetuneOptions, settings: dict[str, Any]) -> str:
    """`minilm finetune` with these settings, ready for a shell."""
    words = ["minilm", "finetune", "--data", options.data, "--model", options.model]

    def add(name: str, value: object) -> None:
        words.extend([f"--{name.replace('_', '-')}", str(value)])

    for field in fields(Columns):
        if (value := getattr(options.columns, field.name)) != field.default:
            add(field.name, value)
    for name in ("task", "labels", "test", "held_out", "tokenizer", "pooling", "seed"):
        if (value := getattr(options, name)) != getattr(FinetuneOptions, name, None):
            add(name, value)
    words += [f"--{name}" for name in ("crf", "truncate") if getattr(options, name)]
    adaptation = options.adaptation
    if adaptation.tune != "all":
        add("tune", adaptation.tune)
        for name in OPTIONS:
            if (value := getattr(adaptation, name)) is not None:
                add(name, value)
    names = {field.name for field in fields(Recipe)}
    for name, value in settings.items():
        if name in names:
            add(f"recipe.{name}", f"{value:g}")
    add("dropout", f"{settings['dropout']:g}")
    if settings.get("word_dropout"):
        add("augment", "word-dropout")
        add("augment_share", f"{settings['word_dropout']:g}")
    add("out", options.out)
    return shlex.join(words)


def shown_settings(settings: dict[str, Any]) -> str:
    """As "learning rate 0.0005, epochs 8, batch 16"."""
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in settings.items())
