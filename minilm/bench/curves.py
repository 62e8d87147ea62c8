"""A few rows of a ladder over the number of labels, from a hundred to all: where pretraining matters, and where it ends."""

import json
from collections.abc import Callable
from dataclasses import replace

from minilm.bench.epochs import prepared
from minilm.bench.options import BenchOptions
from minilm.experiments.ladder import Climber, Rung, climb, workers_for
from minilm.experiments.names import BEST, DICTIONARY, LSTM, START
from minilm.experiments.table import markdown_table
from minilm.files.atomic import write_json
from minilm.viz import plots

COUNTS = (100, 200, 500, 1_000, 2_000, 5_000)  # and all
ROWS = {
    "zh": (DICTIONARY.name, LSTM, START, BEST),
    "tweets": (DICTIONARY.name, LSTM, START, BEST),
    "en": (
        *("TF-IDF + logistic regression", "LSTM + word vectors", "Transformer + word vectors + neighbour heads"),
        "Transformer pretrained, fine-tuned",
    ),
}
STEPS = 2_000  # of one fit: with many labels, fewer epochs are enough


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fit the rows to each number of labels, and draw one curve for each row. All is measured on the test set.

    The numbers of epochs are those of the table, but no fit takes more than 2,000 steps, or 2 epochs if that is more.
    The rows of one number of labels are written together, and what is there already is not fitted again.
    """
    material, rungs = prepared(replace(options, rows=options.rows or ROWS[options.language]), say, on_development=False)
    everything = len(material.examples)
    path = options.out / f"{options.name}-rows.json"
    known: list[dict] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows: list[dict] = []
    for labels in [count for count in COUNTS if count < everything] + [everything]:
        rows_of = {rung.name: [row for row in known if same(row, rung.name, labels)] for rung in rungs}
        missing = [limited(rung, labels) for rung in rungs if len(rows_of[rung.name]) < options.repeats]
        found = climb(missing, material, (labels,), options.repeats, workers_for(material.device), options.progress)
        rows_of |= {rung.name: [row for row in found if same(row, rung.name, labels)] for rung in missing}
        known = [row for row in known if not any(same(row, rung.name, labels) for rung in missing)] + found
        write_json(path, known)
        rows += [row for rung in rungs for row in rows_of[rung.name]]
    metric = material.task.metric
    path = options.out / f"{options.name}.png"
    title = f"How many labels a model needs: {'entity F1' if metric == 'f1' else metric}"
    plots.ladder(rows, path, metric=metric, title=title)
    say(markdown_table(rows, metric))
    say(f"The picture is {path}.")
    return {"rows": rows}


def same(row: dict, model: str, labels: int) -> bool:
    """Whether a row belongs to this model and this number of labels."""
    return (row["model"], row["labels"]) == (model, labels)


def limited(rung: Climber, labels: int) -> Climber:
    """A row with so few epochs that a fit takes no more than `STEPS` steps, or 2 epochs."""
    if not isinstance(rung, Rung):
        return rung
    recipe = rung.recipe_for(labels)
    most = max(2, STEPS * recipe.batch // labels)
    return replace(rung, recipe=replace(recipe, epochs=min(recipe.epochs, most)), epochs={})
