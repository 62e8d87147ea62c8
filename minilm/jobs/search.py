"""Search the settings of `minilm finetune` within a budget, on a development part that is cut from the labelled examples.

optuna (Akiba et al., 2019) proposes the settings: the first trial has the defaults of fine-tuning, the next few are random, and then
those follow that resemble the good ones more than the bad ones (a tree-structured Parzen estimator, Bergstra et al., 2011). A trial
that after an epoch is below the median of the earlier ones at the same epoch is stopped.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from minilm.errors import InputError, check_least
from minilm.examples.batching import Dataset, hash_of
from minilm.files.notes import Notes
from minilm.jobs.evaluate import shown
from minilm.jobs.finetune import augmenter_for, new_model, recipe_for, tokenizer_of
from minilm.jobs.finetune_options import FinetuneOptions, load_material
from minilm.jobs.labelled_data import Columns, InOwnFile, Kind, Part, set_aside, texts_of
from minilm.jobs.search_space import command_of, defaults, settings_of, shown_settings, with_settings
from minilm.models.adaptation import Adaptation
from minilm.text.remarks import counted, remark
from minilm.text.tokenizer import Tokenizer
from minilm.training.loop import Progress, choose_device
from minilm.training.supervised import LEARNING_RATE, fit
from minilm.training.task import Task

NEEDS = "this needs the extra `search`: pip install optuna"
RANDOM = 6  # trials before the sampler looks at the earlier ones
UNPRUNED = 4  # trials that are never stopped early
FIRST = 2  # the first epoch after which a trial may be stopped: after a single one, the order says little


@dataclass(frozen=True)
class SearchOptions:
    """Search the settings of `minilm finetune` within a budget, and print the best ones as a command.

    Everything is measured on a development part of the labelled examples. The examples that are held out are set aside first, and a
    --test file is never opened.
    """

    data: str
    """A labelled corpus by name or a file of your own, as for `minilm finetune`."""
    model: str
    """A pretrained model, as for `minilm finetune`."""
    minutes: float | None = None
    """The budget: how long to search. The epoch in which the time ends is the last."""
    trials: int | None = None
    """The budget: how many trials there may be, with those of earlier calls."""
    out: Path = Path("runs/search")
    """The folder of the search. If it holds one with the same options, that one goes on."""
    columns: InOwnFile = field(default_factory=Columns)
    task: Kind = ""
    labels: int | None = None
    test: str | None = None
    """The file on which the best settings are to be measured: it stands in the command that is printed, and is not read here."""
    held_out: int = 1000
    development: float = 0.2
    """The share of the labelled examples on which the trials are measured."""
    most_epochs: int = 16
    tokenizer: Path | None = None
    pooling: str = "mean"
    crf: bool = False
    truncate: bool = False
    adaptation: Annotated[Adaptation, tyro.conf.arg(name="")] = field(default_factory=Adaptation)
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.minutes is None and self.trials is None:
            raise InputError("a search needs a budget: give --minutes or --trials.")
        if self.minutes is not None and not self.minutes > 0:
            raise InputError(f"minutes must be above 0, not {self.minutes}.")
        if self.trials is not None:
            check_least(self, 1, "trials")
        check_least(self, 2, "most_epochs")
        if not 0 < self.development < 1:
            raise InputError(f"development must be above 0 and below 1, not {self.development}.")
        self.finetuning()  # this checks the rest before any data is read

    def finetuning(self) -> FinetuneOptions:
        """The options of fine-tuning that no trial changes. The model goes into a folder beside the search."""
        names = (
            "data model columns task labels test held_out tokenizer pooling crf truncate adaptation seed device".split()
        )
        given: dict[str, Any] = {name: getattr(self, name) for name in names}
        return FinetuneOptions(**given, out=self.out / "best", progress=False)


class Stopped(Exception):
    """A trial that does not go on: it is below the median, or the time is over."""


@dataclass(frozen=True)
class Trials:
    """What all trials share."""

    options: SearchOptions
    base: FinetuneOptions
    task: Task
    tokenizer: Tokenizer
    learn: Dataset
    development: Dataset
    usual: float
    ends: float  # by time.perf_counter

    def run(self, trial: Any, first: bool) -> tuple[dict, dict]:
        """Fit with the settings of a trial: (settings, what was measured after the last epoch).

        Raises Stopped for a trial that is below the median, and TimeoutError when the time is over, but not in the `first` trial.
        """
        settings = settings_of(trial, self.usual, self.options.most_epochs, self.base)
        options, device = with_settings(self.base, settings), choose_device(self.options.device)
        model = new_model(options, self.task, self.tokenizer).to(device)
        measured: dict = {}

        def after_epoch(epoch: int, progress: Progress) -> None:
            measured.update(self.task.measure(model, self.development, device))
            trial.report(self.task.better(measured), epoch)
            trial.set_user_attr("measured", measured)
            if time.perf_counter() > self.ends and not first and epoch < options.recipe.epochs:
                raise TimeoutError
            if trial.should_prune() and epoch < options.recipe.epochs:
                raise Stopped(f"stopped after epoch {epoch} of {options.recipe.epochs}, below the median")

        augment = augmenter_for(options, model, self.tokenizer, device)
        recipe = options.recipe if options.fresh else recipe_for(options.recipe, options.model, options.adaptation.tune)
        fit(model, self.learn, recipe, options.seed, device, False, on_epoch=after_epoch, augment=augment)
        return settings, measured


def search(options: SearchOptions, say: Callable[[str], None] = print) -> dict[str, float]:
    """Search until the budget is used up, and return the best settings. One line is printed per trial, and a command at the end.

    The same seed proposes the same settings, also when a search was stopped and goes on. Raises InputError for what does not fit
    together, and KeyboardInterrupt after Ctrl-C: what was finished is kept.
    """
    optuna = loaded_optuna()
    started = time.perf_counter()
    base, notes = options.finetuning(), Notes(say)
    tokenizer = tokenizer_of(base)
    material = load_material(base, notes, blind=True)
    task = material.task.for_tokenizer(tokenizer, material.train.examples)
    remark(tokenizer, texts_of(material.train.examples), material.train.where, notes)
    size = max(1, round(options.development * len(material.train.examples)))
    learn, chosen_by = set_aside(material.train, size, options.seed)
    unread = (
        f"{options.test} is not read"
        if options.test
        else f"{counted(len(material.test.examples), 'held-out example')} unseen"
    )
    say(
        f"{counted(len(learn.examples), 'example')} to learn from · {len(chosen_by.examples)} to measure trials on · {unread}"
    )
    model = new_model(base, task, tokenizer, notes)
    limit = getattr(model.config, "max_length", None)
    train, development = (
        task.encode(p.examples, tokenizer, limit, truncate=options.truncate, where=p.where, places=p.places, note=notes)
        for p in (learn, chosen_by)
    )
    recipe = base.recipe if base.fresh else recipe_for(base.recipe, base.model, base.adaptation.tune)
    usual = recipe.learning_rate or LEARNING_RATE
    ends = float("inf") if options.minutes is None else started + 60 * options.minutes
    trials = Trials(options, base, task, tokenizer, train, development, usual, ends)
    study = opened_study(optuna, options, material.train)
    finished = finished_trials(optuna, study)
    if finished:
        say(f"{counted(len(finished), 'trial')} of an earlier call in {options.out}")
    while more_budget(options, len(finished), ends):
        if not one_trial(optuna, study, trials, len(finished), say):
            break
        finished = finished_trials(optuna, study)
    return report(optuna, study, trials, say)


def more_budget(options: SearchOptions, finished: int, ends: float) -> bool:
    """Whether another trial may start. The first one always may."""
    if options.trials is not None and finished >= options.trials:
        return False
    return not finished or time.perf_counter() < ends


def one_trial(optuna: Any, study: Any, trials: Trials, finished: int, say: Callable[[str], None]) -> bool:
    """Run the next trial and say what came out. False if the time was over before its end: then it does not count."""
    options, state = trials.options, optuna.trial.TrialState
    # seeded by its number, so that a search that goes on proposes what it would have proposed without the break
    study.sampler = optuna.samplers.TPESampler(seed=hash_of(options.seed, finished) % 2**32, n_startup_trials=RANDOM)
    if not finished:
        study.enqueue_trial(defaults(trials.usual, options.most_epochs))
    trial, started = study.ask(), time.perf_counter()
    best = max((t.value for t in study.trials if t.state == state.COMPLETE), default=float("-inf"))
    name = f"trial {finished + 1}" + (f" of {options.trials}" if options.trials is not None else "")
    try:
        settings, measured = trials.run(trial, first=not finished)
        score = trials.task.better(measured)
        study.tell(trial, score)
        said = shown(measured) + (" · the best so far" if score > best else "")
    except (Stopped, InputError) as error:  # an InputError: the loss was no longer a number
        settings = settings_of(trial, trials.usual, options.most_epochs, trials.base)
        study.tell(trial, state=state.PRUNED)
        said = str(error)
    except TimeoutError:
        study.tell(trial, state=state.FAIL)
        say(f"{name}: the time was over before its end, so it does not count")
        return False
    except BaseException:
        study.tell(trial, state=state.FAIL)
        raise
    say(f"{name}: {shown_settings(settings)} · {time.perf_counter() - started:.0f} s · {said}")
    return True


def loaded_optuna() -> Any:
    """The library, which says no more than warnings. Raises InputError if it is not installed."""
    try:
        import optuna
    except ImportError:
        raise InputError(f"{NEEDS}.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def opened_study(optuna: Any, options: SearchOptions, train: Part) -> Any:
    """The study in `<out>/trials.jsonl`, new or from an earlier call. Raises InputError for one with other options or other data."""
    options.out.mkdir(parents=True, exist_ok=True)
    path = str(options.out / "trials.jsonl")
    journal = optuna.storages.journal
    backend = journal.JournalFileBackend(
        path, lock_obj=journal.JournalFileOpenLock(path)
    )  # a lock that Windows has, too
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED, n_warmup_steps=FIRST),
        study_name="search",
        direction="maximize",
        load_if_exists=True,
    )
    told = replace(options, minutes=None, trials=1, out=Path(), device="auto")  # what may change between two calls
    what = {"options": repr(told), "examples": hashlib.sha256(repr(train.examples).encode()).hexdigest()}
    before = study.user_attrs
    for name, value in what.items():
        if before.get(name, value) != value:
            raise InputError(f"{options.out} holds a search with other {name}: name another folder with --out.")
        study.set_user_attr(name, value)
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):  # of a call that was killed
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def finished_trials(optuna: Any, study: Any) -> list[Any]:
    """The trials that count: those that came to their end, and those that were stopped because others are better."""
    return study.get_trials(states=(optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED))


def report(optuna: Any, study: Any, trials: Trials, say: Callable[[str], None]) -> dict[str, float]:
    """Say which settings were the best, and print them as a command. Raises InputError if no trial came to its end."""
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    if not complete:
        raise InputError("no trial came to its end: give more --minutes or --trials, or a lower --most-epochs.")
    best = max(complete, key=lambda trial: (trial.value, -trial.number))
    fixed = optuna.trial.FixedTrial(best.params)
    settings = settings_of(fixed, trials.usual, trials.options.most_epochs, trials.base)
    n = len({*trials.development.owner})
    first = min(complete, key=lambda trial: trial.number)
    say(f"\nthe best of {counted(len(finished_trials(optuna, study)), 'trial')}: {shown(best.user_attrs['measured'])}")
    say(f"the defaults: {shown(first.user_attrs['measured'])}; both on {counted(n, 'development example')}")
    say(
        "The best of many trials owes a part of its lead to luck. What it is worth, only examples can show that chose nothing:"
    )
    say("\n" + command_of(trials.base, settings))
    return settings
