r"""Products in bf16 against float32: seconds, and what rounding does to the loss of pretraining and the accuracy of fine-tuning.  F03.

Two models start with the same weights and learn from the same batches, one in float32 and one in bf16: in pretraining in turns of a
few steps, in fine-tuning one fit after the other. All are measured in float32.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from tqdm import tqdm

from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.bench.tuning import Base, bases, new_model
from minilm.errors import InputError
from minilm.experiments.english import English
from minilm.files.notes import unheard
from minilm.jobs.pretrain import PretrainOptions, build
from minilm.jobs.pretraining_data import batches_for, held_out_batches, prepare_for
from minilm.models.adaptation import Adaptation
from minilm.models.heads import Classifier
from minilm.training.precision import PRECISIONS, bf16_units, check_precision
from minilm.training.run import TrainingRun
from minilm.training.supervised import Recipe, fit

SIZES = ((2, 128), (4, 256))  # layers and width
STEPS, TURNS = 200, 20
HELD_OUT = 16  # batches of 64 pairs
WARM_UP = 32  # labels


def units_of_bf16(say: Callable[[str], None]) -> list[str]:
    """What the processor has for bf16, which is said. Empty, and said too, where it has nothing to compute with."""
    units = bf16_units()
    say(f"this processor multiplies bf16 with: {', '.join(units) or 'nothing'}")
    try:
        check_precision("bf16", torch.device("cpu"))
    except InputError as error:
        say(str(error))
    return units


def precisions(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Train both sizes in both precisions. Where the processor has no unit for bf16, nothing is measured, and that is said."""
    units = units_of_bf16(say)
    rows: list[dict[str, Any]] = []
    if not units:
        return {"units": units, "rows": rows}
    for seed in range(options.seed, options.seed + (options.seeds or 1)):
        rows += [one_size(options, layers, width, seed) for layers, width in SIZES]
    head = (
        "layers × width",
        "seed",
        "float32, steps/s",
        "bf16, steps/s",
        "faster (each turn)",
        "loss, float32",
        "loss, bf16",
    )
    say(table(head, [in_cells(row) for row in rows]))
    return {"units": units, "rows": rows}


def one_size(options: BenchOptions, layers: int, width: int, seed: int) -> dict[str, Any]:
    """The processor's seconds of each turn, without the first, and the held-out losses at the end."""
    steps = options.steps if options.steps is not None else STEPS
    sizes: dict[str, Any] = dict(layers=layers, width=width, steps=steps, word_vectors=False, seed=seed)
    settings = PretrainOptions(options.corpus, options.out / "none", cache=options.cache, progress=False, **sizes)
    prepared = prepare_for(settings, unheard)
    runs: dict[str, TrainingRun] = {}
    seconds: dict[str, list[float]] = {name: [] for name in PRECISIONS}
    for name in PRECISIONS:
        batches, model = batches_for(settings, prepared), build(settings, prepared)
        how = settings.objective, batches.__getitem__, settings.budget, settings.optimisation, seed
        runs[name] = TrainingRun(model, *how, clock=time.process_time, precision=name)
    turns = min(TURNS, steps)
    for _ in tqdm(range(turns), desc=f"{layers} × {width}", disable=None if options.progress else True, leave=False):
        for name, run in runs.items():
            before = run.progress.step, run.progress.seconds
            run.train([turn / turns for turn in range(1, turns)], lambda _: True, bar=False)
            seconds[name].append((run.progress.seconds - before[1]) / (run.progress.step - before[0]))
    held_out = held_out_batches(prepared, settings.length)[:HELD_OUT]
    measured = {name: run.objective.measure(run.model, held_out) for name, run in runs.items()}
    faster = [a / b for a, b in zip(seconds["float32"][1:], seconds["bf16"][1:], strict=True)]
    found = {"layers": layers, "width": width, "seed": seed, "steps": steps, "faster": faster, "measured": measured}
    return found | {"steps_per_second": {name: 1 / statistics.median(each[1:]) for name, each in seconds.items()}}


def in_cells(row: dict[str, Any]) -> tuple[str, ...]:
    faster = sorted(row["faster"])
    low, high = faster[len(faster) // 10], faster[-1 - len(faster) // 10]
    cells = [f"{row['layers']} × {row['width']}", f"{row['seed']}"]
    cells += [f"{row['steps_per_second'][name]:.2f}" for name in PRECISIONS]
    cells += [f"{statistics.median(faster):.2f} × ({low:.2f}–{high:.2f})"]
    return *cells, *(f"{row['measured'][name]['mlm_loss']:.4f}" for name in PRECISIONS)


# ---- fine-tuning


def fine_tunings(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fine-tune the quickstart's model by the ladder's recipe in both precisions, with the same labels and the ladder's test set.

    Nothing is measured where the processor has no unit for bf16. Raises InputError if there is no pretrained model.
    """
    units = units_of_bf16(say)
    rows: list[dict[str, Any]] = []
    if not units:
        return {"units": units, "rows": rows}
    (base,) = bases(replace(options, bases=("own",)), say)
    recipe, labels = English().recipes["pretrained"], options.labels or English().labels[0]
    fits = [(seed, name) for seed in range(options.repeats) for name in PRECISIONS]
    for name in PRECISIONS:  # what is slow only once does not count
        fit_in(name, base, replace(recipe, epochs=1), min(labels, WARM_UP), options.seed)
    for seed, name in tqdm(fits, desc="fine-tuning", disable=None if options.progress else True, leave=False):
        model, seconds = fit_in(name, base, recipe, labels, options.seed + seed)
        accuracy = base.test.measured(model, labels, options.seed + seed)[0]
        row = {"precision": name, "seed": options.seed + seed, "labels": labels, "seconds": seconds}
        rows.append(row | {"accuracy": accuracy})
    head = ("seed", "float32, s", "bf16, s", "faster", "accuracy, float32", "bf16")
    say(table(head, [pair_in_cells(*rows[i : i + 2]) for i in range(0, len(rows), 2)]))
    return {"units": units, "rows": rows}


def fit_in(precision: str, base: Base, recipe: Recipe, labels: int, seed: int) -> tuple[Classifier, float]:
    """A model that was fitted in this precision, and the processor's seconds that it took."""
    model, sample = new_model(base, Adaptation(), seed), base.test.sample(labels, seed)
    began = time.process_time()
    fit(model, sample, recipe, seed, bar=False, precision=precision)
    return model, time.process_time() - began


def pair_in_cells(exact: dict[str, Any], rounded: dict[str, Any]) -> tuple[str, ...]:
    cells = [f"{exact['seed']}", f"{exact['seconds']:.2f}", f"{rounded['seconds']:.2f}"]
    return *cells, f"{exact['seconds'] / rounded['seconds']:.2f} ×", *(f"{r['accuracy']:.4f}" for r in (exact, rounded))
