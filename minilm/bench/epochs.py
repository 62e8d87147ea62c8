"""How often each row of a ladder should see its labelled examples, found on a development part that is not the test set."""

import json
from collections.abc import Callable
from dataclasses import replace

from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments.ladder import Material, Rung, climb, workers_for
from minilm.experiments.quickstart import QuickstartOptions, pretraining_settings
from minilm.experiments.rungs import Start
from minilm.experiments.table import mean_of
from minilm.experiments.tracks import track_for
from minilm.files.atomic import write_json
from minilm.jobs.pretrain import prepare_for, vectors_for
from minilm.training.loop import choose_device

DEVELOPMENT = 1_000  # examples of the development part


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fit every row for several numbers of epochs, and report the best of each on the development part.

    The pretrained model is that of the quickstart. Rows that are measured already (in <out>/epochs.json, for the same
    language and number of labels) are kept.
    Raises InputError if there is no pretrained model.
    """
    material, rungs = prepared(options, say)
    labels = options.labels
    path = options.out / f"epochs-{options.language}.json"
    rows: list[dict] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for rung in rungs:
        grid = [epochs for epochs in options.grid if not measured(rows, rung.name, labels, epochs, options.seeds)]
        tried = [replace(rung, name=str(epochs), recipe=replace(rung.recipe, epochs=epochs)) for epochs in grid]
        tried = [replace(each, epochs={}, keep=None) for each in tried]
        for row in climb([*tried], material, (labels,), options.seeds, workers_for(material.device), options.progress):
            rows.append(row | {"model": rung.name, "epochs": int(row["model"])})
        write_json(path, rows)
        best, figures = choice(rows, rung.name, labels, material.task.metric)
        say(f"{labels:6,} labels  {rung.name:50} {best:3} epochs   {figures}")
    return {"rows": rows}


def prepared(options: BenchOptions, say: Callable[[str], None]) -> tuple[Material, list[Rung]]:
    """The development material of a track, and the rows that are trained."""
    track = track_for(options.language)
    quickstart = QuickstartOptions(options.language, cache=options.cache, progress=options.progress)
    settings = pretraining_settings(quickstart, track)
    if not (settings.out / "config.json").exists():
        raise InputError(f"{settings.out} holds no pretrained model: run the quickstart for {options.language} first.")
    text = prepare_for(settings, say)
    start = Start(settings.model_config(text.tokenizer.size), vectors_for(text, settings), settings.out)
    material = track.material(text, settings, choose_device("auto"), say).development(DEVELOPMENT, track.run)
    return material, [rung for rung in track.rungs(start) if isinstance(rung, Rung) and chosen(rung, options.rows)]


def chosen(rung: Rung, names: tuple[str, ...]) -> bool:
    """Whether a row is asked for: by its whole name, or all of them."""
    return not names or rung.name in names


def measured(rows: list[dict], model: str, labels: int, epochs: int, seeds: int) -> bool:
    """Whether all seeds of one setting are there."""
    return sum((r["model"], r["labels"], r["epochs"]) == (model, labels, epochs) for r in rows) >= seeds


def choice(rows: list[dict], model: str, labels: int, metric: str) -> tuple[int, str]:
    """The number of epochs with the highest mean, the smaller of two equal ones; and all means, in a line of text."""
    mine = [row | {"model": str(row["epochs"])} for row in rows if (row["model"], row["labels"]) == (model, labels)]
    means = dict(sorted({row["epochs"]: mean_of(mine, metric, row["model"], labels) for row in mine}.items()))
    best = max(means, key=lambda epochs: means[epochs])
    return best, "  ".join(f"{epochs}: {mean:.3f}" for epochs, mean in means.items())
