"""Taggers of names that also learn from lines without their tags, where several teachers agree.  F01, F31."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minilm.bench.epochs import prepared
from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments.ladder import Climber, Rung, climb, workers_for
from minilm.experiments.names import BEST, LSTM
from minilm.experiments.self_trained import AGREED, RIGHT, SelfTrained
from minilm.experiments.table import markdown_table

ROWS = (LSTM, BEST)
LABELS = (200, 1_000)


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fit each row as it is in the ladder, and self-trained, with the same labelled lines; all are measured on the test set, or with
    `--development` on the development part. Every fit is kept as a file.

    Raises InputError for film reviews, which have no names, for a row that is not trained, for more labels than leave lines without
    tags, and as `bench epochs` does.
    """
    if options.language == "en":
        raise InputError("self-training is for names here: give --language zh or tweets.")
    options = replace(options, rows=options.rows or ROWS)
    material, rungs = prepared(options, say, on_development=options.development)
    trained = [rung for rung in rungs if isinstance(rung, Rung)]
    if len(trained) < len(rungs):
        raise InputError("a dictionary cannot be self-trained: leave its row out.")
    plain = [replace(rung, keep=None) for rung in trained]
    pairs: list[Climber] = [each for rung in plain for each in (rung, SelfTrained(rung))]
    if options.labels and options.labels >= len(material.examples):
        raise InputError(
            f"--labels {options.labels:,} leaves no line without tags to learn from: there are {len(material.examples):,} in all."
        )
    labels = (options.labels,) if options.labels else tuple(n for n in LABELS if n < len(material.examples))
    kept = options.out / f"{options.name}-{'development' if options.development else 'test'}"
    workers = options.workers or workers_for(material.device)
    rows = climb(pairs, material, labels, options.repeats, workers, options.progress, None if options.again else kept)
    say(markdown_table(rows, "f1"))
    for count in labels:
        for rung in plain:
            mine = [row for row in rows if (row["model"], row["labels"]) == (SelfTrained(rung).name, count)]
            lines, right = (float(np.mean([row[name] for row in mine])) for name in (AGREED, RIGHT))
            say(
                f"{count:,} labelled lines, {rung.name}: the teachers agree on {lines:,.0f} lines, {right:.1%} of them rightly."
            )
    return {"rows": rows}
