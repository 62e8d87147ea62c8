"""How often each row of a ladder should see its labelled examples, found on a development part that is not the test set."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments.ladder import Climber, Material, Rung, climb, workers_for
from minilm.experiments.quickstart import QuickstartOptions, pretraining_settings
from minilm.experiments.rungs import Start
from minilm.experiments.table import mean_of
from minilm.experiments.tracks import track_for
from minilm.files.atomic import write_json
from minilm.jobs.pretrain import prepare_for, vectors_for
from minilm.models.config import TransformerConfig
from minilm.pretrained.protocol import open_pretraining
from minilm.pretrained.run_folder import LoadedModel
from minilm.training.loop import choose_device


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fit every row for several numbers of epochs, and report the best of each on the development part.

    The pretrained model is that of the quickstart. Rows that are measured already (for the same language and number of
    labels) are kept.
    """
    material, rungs = prepared(options, say, on_development=True)
    labels = options.labels or track_for(options.language).labels[0]
    path = options.out / f"{options.name}-rows.json"
    rows: list[dict] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for rung in (rung for rung in rungs if isinstance(rung, Rung)):
        grid = [epochs for epochs in options.grid if not measured(rows, rung.name, labels, epochs, options.repeats)]
        tried = [replace(rung, name=str(epochs), recipe=replace(rung.recipe, epochs=epochs)) for epochs in grid]
        tried = [replace(each, epochs={}, keep=None) for each in tried]
        rows = [
            row for row in rows if (row["model"], row["labels"]) != (rung.name, labels) or row["epochs"] not in grid
        ]
        for row in climb(
            [*tried], material, (labels,), options.repeats, workers_for(material.device), options.progress
        ):
            rows.append(row | {"model": rung.name, "epochs": int(row["model"])})
        write_json(path, rows)
        best, figures = choice(rows, rung.name, labels, material.task.metric)
        say(f"{labels:6,} labels  {rung.name:50} {best:3} epochs   {figures}")
    return {"rows": rows}


def prepared(options: BenchOptions, say: Callable[[str], None], on_development: bool) -> tuple[Material, list[Climber]]:
    """The material of a track, with its test set or with its development part, and the rows of its table.

    The pretrained model is that of the quickstart, or `options.pretrained`, whose width and layers the table's models then have.
    Raises InputError if there is none, if it has another vocabulary or is too short, or if a row has another name.
    """
    track = track_for(options.language)
    quickstart = QuickstartOptions("zh" if options.language == "zh" else "en", cache=options.cache)
    settings = pretraining_settings(quickstart, track)
    folder = options.pretrained or settings.out
    if options.pretrained is None and not (folder / "config.json").exists():
        raise InputError(f"{folder} holds no pretrained model: run the quickstart first.")
    own = own_model(options.pretrained, settings.length) if options.pretrained else None
    text = prepare_for(settings, say)
    if own and own.tokenizer.to_json() != text.tokenizer.to_json():
        where = "pretrain it on the same corpus, with as many documents held out"
        raise InputError(f"{folder} has another vocabulary than the quickstart: {where}.")
    config = own.model.config if own else settings.model_config(text.tokenizer.size)
    start = Start(config, vectors_for(text, replace(settings, width=config.width, heads=config.heads)), folder)
    material = track.material(text, settings, choose_device("auto"), say)
    if on_development:
        material = track.development(material, settings)
    rungs = {rung.name: rung for rung in track.rungs(start)}
    if unknown := [name for name in options.rows if name not in rungs]:
        raise InputError(f"there is no row '{unknown[0]}': choose from {'; '.join(rungs)}.")
    return material, [rung for name, rung in rungs.items() if not options.rows or name in options.rows]


def own_model(folder: Path, length: int) -> LoadedModel:
    """A pretrained model that takes the place of the quickstart's. Raises InputError if it cannot: one that has seen labels, for
    instance, would make the table worthless."""
    if not (folder / "config.json").exists():
        raise InputError(
            f"--pretrained {folder} holds no pretrained model: name a folder that `minilm pretrain` wrote."
        )
    loaded = open_pretraining(folder)
    config = loaded.model.config
    if not isinstance(config, TransformerConfig):
        raise InputError(
            f"{folder} holds another architecture: the table needs a model that `minilm pretrain` makes by default."
        )
    if config.max_length < length:
        raise InputError(f"{folder} reads {config.max_length} tokens, and the texts of the table have up to {length}.")
    return loaded


def measured(rows: list[dict], model: str, labels: int, epochs: int, seeds: int) -> bool:
    """Whether all seeds of one setting are there."""
    return sum((r["model"], r["labels"], r["epochs"]) == (model, labels, epochs) for r in rows) >= seeds


def choice(rows: list[dict], model: str, labels: int, metric: str) -> tuple[int, str]:
    """The smallest number of epochs whose mean is within half a point of the highest; and all means, in a line of text."""
    mine = [row | {"model": str(row["epochs"])} for row in rows if (row["model"], row["labels"]) == (model, labels)]
    means = dict(sorted({row["epochs"]: mean_of(mine, metric, row["model"], labels) for row in mine}.items()))
    best = min(epochs for epochs, mean in means.items() if mean >= max(means.values()) - 0.005)
    return best, "  ".join(f"{epochs}: {mean:.3f}" for epochs, mean in means.items())
