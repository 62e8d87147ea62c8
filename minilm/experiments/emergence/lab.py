"""`minilm emergence NAME`: models that are trained alike but for one thing, and the ability that appears in some of them.  F36.

The predictions are printed before anything runs. Afterwards each is judged by the figures, and one that failed is printed as
such: a flat curve is a result, too.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from tqdm import tqdm

from minilm.errors import InputError, check_least, check_most
from minilm.experiments.emergence.abilities import Runs
from minilm.experiments.emergence.experiment import Experiment, Records
from minilm.experiments.emergence.grokking_judged import GROKKING
from minilm.experiments.emergence.in_context_judged import IN_CONTEXT
from minilm.experiments.emergence.induction_judged import INDUCTION
from minilm.experiments.emergence.mirage_judged import MIRAGE
from minilm.experiments.emergence.plateau_judged import PLATEAU
from minilm.experiments.emergence.quanta_judged import QUANTA
from minilm.experiments.emergence.reduction_judged import REDUCTION
from minilm.experiments.emergence.scaling_judged import SCALING
from minilm.experiments.ladder import pool_of, workers_for
from minilm.experiments.table import figures_table
from minilm.files.atomic import write_json, write_text
from minilm.files.tensors import read_json
from minilm.training.memory import cost, cost_in_words

ALL = (PLATEAU, INDUCTION, IN_CONTEXT, MIRAGE, GROKKING, SCALING, QUANTA, REDUCTION)
EXPERIMENTS = {experiment.name: experiment for experiment in ALL}


@dataclass(frozen=True)
class EmergenceOptions:
    """Watch an ability appear in small models that are trained in minutes, and see what it depends on.

    induction: two layers learn to repeat what stood in the text before, and one layer does not.
    plateau: pretraining stands still until heads have found the neighbours; they are given, and forbidden.
    in-context: three layers learn linear regression in the prompt, as good as least squares.
    mirage: the same additions look sharp or smooth, according to how they are scored.
    grokking: a network knows half of the sums on a clock by heart, and much later it can do the others.
    scaling: forty small models say how good a larger one will be, before it is trained.
    quanta: a loss that falls smoothly is the mean of many skills, each of which is learned at once.
    reduction: pretrained models are taken apart: is what they can do the sum of what their heads do?"""

    name: tyro.conf.Positional[
        Literal["induction", "plateau", "in-context", "mirage", "grokking", "scaling", "quanta", "reduction"]
    ] = "induction"
    seeds: int = 3
    """How many times every arm is trained."""
    share: float = 1.0
    """The share of the steps (reduction: of the epochs) that every model is trained for. With 0.1 the command shows in a minute what
    it does, but hardly what it is about."""
    run: Path = Path("runs/quickstart/pretrained")
    """reduction: the English model that is taken apart."""
    run_zh: Path = Path("runs/quickstart-zh/pretrained")
    """reduction: the Chinese model."""
    cache: Path = Path("runs/cache")
    """reduction: where the text lies that these were pretrained on."""
    out: Path = Path("runs/emergence")
    again: bool = False
    """Train again what an earlier run has finished."""
    workers: int | None = None
    """How many models are trained side by side; one per core, at most four, if not given."""
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds")
        check_most(self, {"seeds": 100})
        if not 0 < self.share <= 10:
            raise InputError(
                f"share must be above 0 and at most 10 (1 is the experiment as it is described), not {self.share}."
            )
        if self.workers is not None:
            check_least(self, 1, "workers")

    @property
    def experiment(self) -> Experiment:
        return EXPERIMENTS[self.name]

    @property
    def runs(self) -> Runs:
        return Runs(self.run, self.run_zh, self.cache)


def emergence(options: EmergenceOptions, say=print) -> list[dict]:
    """Say what is expected, train every arm with every seed, and write `report.md`, `results.json` and the pictures.

    Returns the records. Each is a file of its own as soon as it is there, so that an interrupted run goes on where it was.
    """
    started, experiment = time.perf_counter(), options.experiment
    if experiment.pretrained:
        options.runs.check()
    folder = options.out / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    announcement = announced(experiment)
    say(announcement + "\n")
    records = trained(options, folder, say)
    pictures = experiment.draw(records, folder)
    report = f"{announcement}\n\n{judged(experiment, records)}"
    for picture in pictures:
        report += f"\n\n![{picture}]({picture})"
    needed = cost(started)
    write_json(folder / "results.json", {"share": options.share, "cost": needed, "records": records})
    write_text(folder / "report.md", f"# {experiment.name}\n\n{report}\n")
    say(judged(experiment, records))
    say(f"\n{cost_in_words(needed)}. The results are in {folder}: {', '.join(pictures)}, report.md, results.json.")
    return records


def announced(experiment: Experiment) -> str:
    """What is asked, what differs between the arms, and what is predicted."""
    lines = [experiment.question, "", experiment.definition, ""]
    lines += [f"* {name}: {what}" for name, what in experiment.arms.items()]
    lines += ["", "Predicted:", ""]
    lines += [f"{number}. {prediction.says}" for number, prediction in enumerate(experiment.predictions, 1)]
    return "\n".join(lines)


def judged(experiment: Experiment, records: Records) -> str:
    """The table, and what became of each prediction."""
    rows = [{**record, "model": record["arm"]} for record in records]
    lines = [
        figures_table(rows, experiment.figures),
        "",
        experiment.how_to_read,
        "",
        "What became of the predictions:",
        "",
    ]
    for number, prediction in enumerate(experiment.predictions, 1):
        held, figures = prediction.judge(records)
        lines.append(f"{number}. {'came true' if held else 'FAILED'}: {figures}")
    return "\n".join(lines)


def trained(options: EmergenceOptions, folder: Path, say) -> list[dict]:
    """The record of every arm and seed, from its file if it is there."""
    experiment, workers = options.experiment, options.workers or workers_for(torch.device("cpu"))
    jobs = [(arm, seed) for seed in range(options.seeds) for arm in experiment.arms]
    records: dict[tuple[str, int], dict] = {}
    fit, marks = experiment.fit, dict[str, Any](share=options.share)
    if experiment.pretrained:
        fit, marks["weights"] = partial(fit, runs=options.runs), options.runs.weights()
    bar = tqdm(
        total=len(jobs), desc=experiment.name, unit="model", disable=None if options.progress else True, leave=False
    )
    with pool_of(workers) as submit, bar:
        waiting = []
        for arm, seed in jobs:
            path = folder / "records" / f"{arm.replace(' ', '-').replace(',', '')}-{seed}.json"
            known = None if options.again or not path.exists() else read_json(path, dict)
            if known is not None and all(known.get(key) == mark for key, mark in marks.items()):
                records[arm, seed] = known
                bar.update()
            else:
                waiting.append((arm, seed, path, submit(fit, arm, seed, options.share, False)))
        for arm, seed, path, outcome in waiting:
            record = outcome() | marks
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, record)
            records[arm, seed] = record
            bar.update()
            figures = "  ".join(
                f"{name} {form.format(record[name])}" for name, form in experiment.figures.items() if name in record
            )
            say(f"{arm}, seed {seed}: {figures}")
    return [records[job] for job in jobs]
