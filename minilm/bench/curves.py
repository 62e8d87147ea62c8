"""A few rows of a ladder over the number of labels, from a hundred to all: where pretraining matters, and where it ends."""

from collections.abc import Callable
from dataclasses import replace

from minilm.bench.epochs import prepared
from minilm.bench.options import BenchOptions
from minilm.experiments.ladder import Climber, Rung, climb, workers_for
from minilm.experiments.names import BEST, DICTIONARY, LSTM, START
from minilm.experiments.table import markdown_table
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
    """
    material, rungs = prepared(replace(options, rows=options.rows or ROWS[options.language]), say, on_development=False)
    everything = len(material.examples)
    rows: list[dict] = []
    for labels in [count for count in COUNTS if count < everything] + [everything]:
        fitted = [limited(rung, labels) for rung in rungs]
        rows += climb(fitted, material, (labels,), options.repeats, workers_for(material.device), options.progress)
    metric = material.task.metric
    path = options.out / f"{options.name}.png"
    title = f"How many labels a model needs: {'entity F1' if metric == 'f1' else metric}"
    plots.ladder(rows, path, metric=metric, title=title)
    say(markdown_table(rows, metric))
    say(f"The picture is {path}.")
    return {"rows": rows}


def limited(rung: Climber, labels: int) -> Climber:
    """A row with so few epochs that a fit takes no more than `STEPS` steps, or 2 epochs."""
    if not isinstance(rung, Rung):
        return rung
    recipe = rung.recipe_for(labels)
    most = max(2, STEPS * recipe.batch // labels)
    return replace(rung, recipe=replace(recipe, epochs=min(recipe.epochs, most)), epochs={})
