"""Language models on equal minutes: two that count, D1's program, an LSTM of our size, and a GPT.  F17, F23.

All are measured on the same documents, which none has seen: the perplexity per token, and the bits per character, by which
models with different vocabularies can be compared. Rates and sizes are chosen on other documents, with `--development`.
"""

import json
import math
from collections.abc import Callable
from functools import partial

import numpy as np

from minilm.bench.language_model_rows import (
    GPT,
    LSTM,
    TASKS,
    Material,
    Row,
    bigram,
    d1_as_printed,
    d1_at_every_token,
    kneser_ney,
    pretrained,
    settings_of,
)
from minilm.bench.mixed_row import mixed
from minilm.bench.options import BenchOptions
from minilm.bench.report import threads
from minilm.errors import InputError
from minilm.experiments.ladder import pool_of
from minilm.experiments.table import over_seeds
from minilm.files.atomic import write_json
from minilm.jobs.pretrain import prepare_for
from minilm.models.lstm import LSTMConfig

NOTE = (
    "Minutes are those of one core that does nothing else (the processor's clock). Word vectors are counted within them; "
    "reading the text, learning the vocabulary and measuring are not. A model that counts takes less. Every token of whole "
    "documents is predicted from all tokens before it, as far as the model looks back; the end of a text is a token too. Bits "
    "per character are −log₂ P of the documents, divided by their characters."
)


def rows_for(options: BenchOptions) -> list[Row]:
    """All rows, for the task of these options."""
    V = options.vocab_size or TASKS[options.task].vocab_size
    small = min(V, LSTMConfig().vocab_size) if TASKS[options.task].units == "wordpiece" else V
    return [
        Row("bigram, counted", bigram, V, trained=False),
        Row("5-gram, Kneser–Ney, counted", partial(kneser_ney, N=5), V, trained=False),
        Row("D1's program (F17) as printed", d1_as_printed, small),
        Row("D1's model, a loss at every token", d1_at_every_token, small),
        Row("LSTM of our size", partial(pretrained, changes=LSTM), V),
        Row("GPT", partial(pretrained, changes=GPT), V),
        Row("GPT and 5-gram, mixed", partial(mixed, changes=GPT), V),
    ]


def materials(options: BenchOptions, rows: list[Row], say: Callable[[str], None]) -> dict[int, Material]:
    """For each vocabulary: the corpus, prepared, and the documents to measure on."""
    out: dict[int, Material] = {}
    for V in dict.fromkeys(row.vocab_size for row in rows):
        out[V] = Material.of(prepare_for(settings_of(options, V), say), options.development, options.documents)
    return out


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Count, train and measure every model with every seed, and print the table.

    Each figure is written as soon as it is there, and the next call with the same settings keeps it. Raises InputError for a
    row that does not exist.
    """
    rows = chosen(options)
    texts = materials(options, rows, say)
    test = texts[rows[0].vocab_size]
    part = "development documents" if options.development else "documents that no model has seen"
    say(f"{NOTE}\n{len(test.test):,} {part}, {test.characters:,} characters; {options.minutes:g} minutes each.")
    settings, path = settings_written(options), options.out / f"{options.name}-rows.json"
    kept = [] if options.again or not path.exists() else json.loads(path.read_text(encoding="utf-8"))
    jobs = [(row, options.seed + i) for row in rows for i in range(options.repeats if row.trained else 1)]
    with threads(1), pool_of(options.workers or 2) as submit:
        waiting = [
            (row, seed, submit(row.run, texts[row.vocab_size], options, seed))
            for row, seed in jobs
            if find(kept, row, seed, settings) is None
        ]
        for row, seed, outcome in waiting:
            result: dict = outcome()._asdict()
            result["perplexity"] = math.exp(result["loss"])
            name = {"model": row.name, "vocabulary": row.vocab_size, "seed": seed}
            kept = [*kept, name | result | {"settings": settings}]
            write_json(path, kept)
            say(f"{row.name:36} {result['perplexity']:8.1f} perplexity  {result['bits']:.3f} bits per character")
    found = [there for row, seed in jobs if (there := find(kept, row, seed, settings)) is not None]
    say("\n" + markdown(found))
    facts = {"corpus": TASKS[options.task].corpus, "part": part, "documents": len(test.test)}
    return {"note": NOTE, **facts, "characters": test.characters, "rows": found}


def chosen(options: BenchOptions) -> list[Row]:
    """The rows that `--rows` names, or all. Raises InputError for another name."""
    rows = rows_for(options)
    if unknown := [name for name in options.rows if name not in {row.name for row in rows}]:
        raise InputError(f"there is no row '{unknown[0]}': choose from {'; '.join(row.name for row in rows)}.")
    return [row for row in rows if not options.rows or row.name in options.rows]


def settings_written(options: BenchOptions) -> dict:
    """What a figure depends on, beside its model, vocabulary and seed."""
    names = (
        "minutes documents development width layers batch length learning_rate candidates muon_learning_rate".split()
    )
    return {name: getattr(options, name) for name in names}


def find(kept: list[dict], row: Row, seed: int, settings: dict) -> dict | None:
    """The figure of a row that is there already."""
    wanted = {"model": row.name, "vocabulary": row.vocab_size, "seed": seed, "settings": settings}
    return next((result for result in kept if wanted.items() <= result.items()), None)


def markdown(found: list[dict]) -> str:
    """The table: means, and standard deviations over the seeds."""
    lines = [
        "| model | vocabulary | perplexity | bits per character | tokens read | parameters |",
        "|---|" + "---:|" * 5,
    ]
    for name in dict.fromkeys(row["model"] for row in found):
        same = [row for row in found if row["model"] == name]

        def figure(what: str, digits: int, same=same) -> str:
            return over_seeds([row[what] for row in same], f"{{:.{digits}f}}")

        counts = f"{same[0]['vocabulary']:,}", f"{np.mean([row['read'] for row in same]) / 1e6:.1f} M"
        cells = name, counts[0], figure("perplexity", 1), figure("bits", 3), counts[1], f"{same[0]['parameters']:,}"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
