"""The recipe of pretraining, varied: every variant gets the same steps, the same batches and one thread, and one row of a table.

A variant is pretrained, then fine-tuned as in the last row of the quickstart's table with several seeds, and measured on a
*development* part. The test set of the table is never looked at, so that choosing a recipe here does not make it easier.

<out>/recipe-<language>.json                       the table
<out>/recipe-<language>/<steps>/<variant>/         the run folder; result.json is written when the variant is finished
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minilm.bench.options import BenchOptions
from minilm.bench.report import threads
from minilm.bench.variants import OLD, RECIPE, Variant, chosen, declared
from minilm.errors import InputError
from minilm.experiments import tracks
from minilm.experiments.ladder import Material, Rung, pool_of, workers_for
from minilm.experiments.rungs import Start
from minilm.experiments.table import deviation, over_seeds
from minilm.experiments.tracks import Track
from minilm.files.atomic import write_json
from minilm.jobs.pretrain import PretrainOptions, prepare_for, pretrain, vectors_for
from minilm.training.state import MAY_CHANGE, plain, read_metrics
from minilm.viz import plots

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Job:
    """A variant, everything that it is trained with, and where its result is written."""

    variant: Variant
    settings: PretrainOptions
    rung: Rung
    labels: int
    seeds: int

    @property
    def facts(self) -> dict[str, Any]:
        """What the figures depend on. A result with other facts is not this variant's."""
        pretraining = {name: value for name, value in plain(self.settings).items() if name not in MAY_CHANGE}
        finetuning = {"row": self.rung.name, "recipe": asdict(self.rung.recipe), "labels": self.labels}
        return {"pretraining": pretraining, "finetuning": finetuning | {"seeds": self.seeds}}

    @property
    def result(self) -> dict[str, Any] | None:
        """The row of this variant if it is finished."""
        row = read(self.settings.out / "result.json")
        return row if row is not None and row["facts"] == json.loads(json.dumps(self.facts)) else None


def read(path: Path) -> dict[str, Any] | None:
    """A JSON file that was written here, or None. A file is replaced in one step, so it is never half of one."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def run(job: Job, material: Material, say: Callable[[str], None]) -> None:
    """Pretrain and fine-tune a variant, and write its row at once. A pretraining that was stopped is continued.

    A variant that cannot be trained, because its loss overflows for instance, is said and gets no row.
    """
    out, name = job.settings.out, job.variant.name

    def tell(text: str) -> None:
        say(f"[{name}] {text}")

    facts = json.loads(json.dumps(job.facts))
    if read(out / "variant.json") != facts["pretraining"]:
        shutil.rmtree(out, ignore_errors=True)  # of an earlier recipe
        out.mkdir(parents=True)
        write_json(out / "variant.json", facts["pretraining"])
    resume = (out / "training_state" / "latest.json").exists()
    try:
        pretrain(replace(job.settings, resume=resume), tell)
        outcomes = [job.rung.run(material, job.labels, seed) for seed in range(job.seeds)]
    except InputError as error:
        return tell(f"left out: {error}")
    row = row_of(job, read_metrics(out), [outcome.score for outcome in outcomes], material.task.metric)
    write_json(out / "result.json", row)
    tell(f"{material.task.metric} {over_seeds(row['scores'])} on the development part")


def row_of(job: Job, curve: list[dict], scores: list[float], metric: str) -> dict[str, Any]:
    """The row of a variant: its losses after a third of the steps and at the end, and its scores."""
    last = curve[-1]
    third = next(row for row in curve if 3 * row["step"] >= last["step"])
    facts = {"name": job.variant.name, "asks": job.variant.asks, "changes": job.variant.changes}
    losses = {"step_third": third["step"], "loss_third": third["mlm_loss"], "loss": last["mlm_loss"]}
    course = {"steps": last["step"], "tokens": last["tokens"], "minutes": last["seconds"] / 60}
    measured = {"metric": metric, "scores": scores, "mean": float(np.mean(scores)), "deviation": deviation(scores)}
    accuracy = {"nsp_accuracy": last.get("nsp_accuracy")}
    return facts | losses | accuracy | course | measured | {"facts": job.facts, "curve": curve}


def markdown(rows: list[dict]) -> str:
    """The table. Losses and scores also stand relative to the first variant's: negative losses and positive points are better."""
    if not rows:
        return "No variant is finished."
    first, metric = rows[0], {"f1": "F1"}.get(rows[0]["metric"], rows[0]["metric"])
    head = ("variant", "loss, ⅓", "loss", "Δ", "next sentence", "min", f"{metric} (development)", "Δ points", "asks")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * 7 + "---|"]
    for row in rows:
        accuracy = "–" if row["nsp_accuracy"] is None else f"{row['nsp_accuracy']:.1%}"
        losses = f"{row['loss_third']:.3f} | {row['loss']:.3f} | {row['loss'] - first['loss']:+.3f}"
        score = f"{over_seeds(row['scores'])} | {100 * (row['mean'] - first['mean']):+.1f}"
        lines.append(f"| {row['name']} | {losses} | {accuracy} | {row['minutes']:.1f} | {score} | {row['asks']} |")
    return "\n".join(lines)


def head_start(old: dict, new: dict) -> dict[str, Any] | None:
    """When `new` reaches the final loss of `old`, as shares of the steps and the minutes of `old`. None if it never does."""
    step, seconds = (plots.reached(new["curve"], old["loss"], x) for x in ("step", "seconds"))
    if step is None or seconds is None:
        return None
    shares = {
        "share_of_steps": step / old["steps"],
        "share_of_minutes": seconds / max(1e-9, old["curve"][-1]["seconds"]),
    }
    return {"loss": old["loss"], "step": step, "minutes": seconds / 60} | shares


def best_row(track: Track, start: Start) -> Rung:
    """The last row of the quickstart's table that fine-tunes all of the pretrained Transformer, with a CRF if there is one."""
    rungs = [rung for rung in track.rungs(start) if isinstance(rung, Rung) and rung.trained == "everything"]
    return [rung for rung in rungs if "pretrained" in rung.name][-1]


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Run the variants that are not finished, and return the rows of all that are. Ctrl-C leaves the table of those."""
    track, s = tracks.track_for(options.language), options.size
    folder = options.out / options.name / str(s.steps)
    sizes: dict[str, Any] = {name: value for name, value in asdict(s).items() if getattr(options, name) is not None}
    base = replace(
        track.pretraining, **sizes | dict(steps=s.steps, out=folder / RECIPE, cache=options.cache, seed=options.seed)
    )
    workers = options.workers or workers_for(CPU)
    base = replace(base, device="cpu", progress=options.progress and workers == 1)
    variants = declared(options.language, base)
    wanted = [variant.name for variant in chosen(options.variants, variants)]
    prepared = prepare_for(base, say)
    material = track.development(track.material(prepared, base, CPU, say), base)
    say(f"{len(material.test_examples):,} other examples are the development part, which the variants are measured on.")
    jobs = []
    for variant in variants:
        settings = replace(variant.options(base), out=folder / variant.name)
        vectors = (
            vectors_for(prepared, settings) if variant.name in wanted else np.zeros((0, 0))
        )  # counted once for all
        start = Start(settings.model_config(prepared.tokenizer.size), vectors, settings.out)
        labels = options.labels or track.labels[0]
        jobs.append(Job(variant, settings, best_row(track, start), labels, options.repeats))
        if options.again and variant.name in wanted:
            shutil.rmtree(settings.out, ignore_errors=True)
    waiting = [job for job in jobs if job.variant.name in wanted and job.result is None]
    say(
        f"{len(waiting)} of {len(wanted)} variants are to run, {workers} at a time: {s.steps:,} steps, one thread each."
    )
    tell = say if workers == 1 else print  # another process can call nothing but what it can import
    try:
        with threads(1), pool_of(workers) as submit:
            for finished in [submit(run, job, material, tell) for job in waiting]:
                finished()
                write_json(options.out / f"{options.name}.json", table_of(jobs))
    except KeyboardInterrupt:
        write_json(options.out / f"{options.name}.json", found := table_of(jobs))
        say("\n" + markdown(found["rows"]))
        raise
    found = table_of(jobs)
    say("\n" + markdown(found["rows"]))
    say_head_start(found, folder, say)
    return found | {"threads_each": 1, "workers": workers}


def table_of(jobs: list[Job]) -> dict[str, Any]:
    """The rows of all variants that are finished, whichever call ran them."""
    rows = [row for job in jobs if (row := job.result) is not None]
    by_name = {row["name"]: row for row in rows}
    old, new = by_name.get(OLD), by_name.get(RECIPE)
    found = head_start(old, new) if old and new else None
    return {"rows": rows, "head_start": found}


def say_head_start(found: dict[str, Any], folder: Path, say: Callable[[str], None]) -> None:
    """When the recipe reaches the old one's final loss, and both curves in one picture."""
    curves = {row["name"]: row["curve"] for row in found["rows"] if row["name"] in (OLD, RECIPE)}
    if len(curves) < 2:
        return
    picture = folder / "curves.png"
    plots.pretraining_curves(curves, picture, until=OLD)
    if (ahead := found["head_start"]) is None:
        say("\nThe recipe does not reach the old recipe's final loss.")
    else:
        say(
            f"\nThe old recipe's final loss, {ahead['loss']:.3f}, is reached by the recipe after {ahead['share_of_steps']:.0%} of "
            f"the old one's steps and {ahead['share_of_minutes']:.0%} of its minutes."
        )
    say(f"Both curves: {picture}")
