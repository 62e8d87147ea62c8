"""A race from nothing: minutes to a held-out masked-word loss, by the quickstart's recipe and by the Trainer of `transformers`.

What both share is made before any clock starts: the tokenizer, the token ids, and the rows that the Trainer learns from. Each
clock starts before its model is built (ours before the word vectors are counted) and stands still while the model is measured.
"""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.bench.trainer import by_trainer, check_installed
from minilm.bench.watch import Watch
from minilm.experiments.english import English
from minilm.jobs.pretrain import PretrainOptions, batches_for, build, held_out_batches, prepare_for
from minilm.text.prepare import Prepared
from minilm.training.run import TrainingRun
from minilm.viz import plots, race as pictures

OURS, DEFAULTS, TUNED = "minilm, its recipe", "Trainer, its defaults", "Trainer, rate 1e-3 and batch 16"
HELD_OUT = 8  # batches of 64 rows
NOTE = (
    "Same text, vocabulary, layers, width, heads, feed-forward size and longest row; same held-out rows, without sentence "
    "pairs, as the Trainer learns from them, and the same masks (15 %) for all; same number of threads. minilm: the English "
    "quickstart's recipe, next sentence included. Trainer: BertForMaskedLM from its default initialisation and dropout, "
    "DataCollatorForLanguageModeling, TrainingArguments as they are, except that it saves and logs nothing. Not counted, for "
    "all: tokenising the text, importing libraries, and measuring."
)


def settings_of(options: BenchOptions) -> PretrainOptions:
    """The English quickstart's recipe."""
    sizes = asdict(options.size)
    more = dict(corpus=options.corpus, seed=options.seed, cache=options.cache, progress=options.progress)
    return replace(English.pretraining, **sizes | more)


def by_recipe(settings: PretrainOptions, prepared: Prepared, watch: Callable[[], Watch]) -> Watch:
    """Our contender. The word vectors are counted again, in a folder where nobody has counted them yet."""
    steps = settings.steps
    assert steps is not None
    with tempfile.TemporaryDirectory() as empty:
        clock = watch()
        model = build(settings, replace(prepared, folder=Path(empty)))
    batches = batches_for(settings, prepared)
    run = TrainingRun(
        *(model, settings.objective, batches.__getitem__, settings.budget, settings.optimisation, settings.seed)
    )
    clock.look(model, 0)
    after_each_step = [step / steps for step in range(1, steps)]
    run.train(after_each_step, lambda now: clock.look(model, now.step, run.done), "minilm", settings.progress)
    if not run.done and not clock.over:
        raise KeyboardInterrupt  # the loop has ended early: it was stopped with Ctrl-C
    return clock


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Let each contender run until it reaches the target or the time is up, and draw `race.png`."""
    check_installed()
    settings = settings_of(options)
    prepared = prepare_for(settings, say)
    held_out = list(held_out_batches(prepared, settings.length, pairs=False))[:HELD_OUT]

    def watch() -> Watch:
        return Watch(held_out, options)

    say(NOTE)
    contenders: dict[str, Callable[[], tuple[Watch, dict]]] = {
        OURS: lambda: (by_recipe(settings, prepared, watch), {}),
        DEFAULTS: lambda: by_trainer(settings, prepared, watch, {}),
    }
    if options.tuned:
        changed: dict[str, Any] = dict(learning_rate=1e-3, per_device_train_batch_size=16)
        contenders[TUNED] = lambda: by_trainer(settings, prepared, watch, changed)
    rows, curves = [], {}
    for name, run in contenders.items():
        clock, arguments = run()
        curves[name] = clock.rows
        rows.append(row_of(name, clock.rows, options.target) | {"arguments": arguments})
        say(line_of(rows[-1], options.target))
    picture = options.out / "race.png"
    pictures.race(curves, options.target, picture)
    compare(rows)
    say("\n" + report(rows, options.target) + f"\nThe picture: {picture}")
    masked = sum(int((batch.labels != -100).sum()) for batch in held_out if batch.labels is not None)
    return {"note": NOTE, "rows": rows, "curves": curves, "held_out_words": masked, "picture": str(picture)}


def row_of(name: str, curve: list[dict], target: float) -> dict[str, Any]:
    """When a contender reached the target (None if it did not), and where it ended."""
    last, seconds = curve[-1], plots.reached(curve, target, "seconds")
    reached = None if seconds is None else seconds / 60
    end = {"minutes": last["seconds"] / 60, "steps": last["step"], "loss": last["mlm_loss"]}
    return {"name": name, "minutes_to_target": reached} | end


def compare(rows: list[dict]) -> None:
    """Add to each row how many times our minutes it took; a lower bound if it was stopped before the target."""
    ours = rows[0]["minutes_to_target"]
    for row in rows:
        theirs = row["minutes_to_target"]
        row["lower_bound"] = theirs is None
        row["ratio"] = None if ours is None else (row["minutes"] if theirs is None else theirs) / ours


def line_of(row: dict, target: float) -> str:
    """How a contender ended, in one sentence."""
    end = f"{row['steps']:,} steps, {row['minutes']:.1f} min, loss {row['loss']:.3f}"
    if row["minutes_to_target"] is None:
        return f"{row['name']}: did not reach {target:g} ({end})"
    return f"{row['name']}: reached {target:g} after {row['minutes_to_target']:.2f} min ({end})"


def report(rows: list[dict], target: float) -> str:
    """The table of the race."""
    lines = []
    for row in rows:
        minutes, bound = row["minutes_to_target"], "≥ " * row["lower_bound"]
        reached = f"{minutes:.2f}" if minutes is not None else f"> {row['minutes']:.1f}"
        ratio = "–" if row["ratio"] is None else f"{bound}{row['ratio']:.1f} ×"
        lines.append((row["name"], reached, f"{row['steps']:,}", f"{row['loss']:.3f}", ratio))
    return table(("", f"minutes to {target:g}", "steps", "last loss", "of our minutes"), lines)
