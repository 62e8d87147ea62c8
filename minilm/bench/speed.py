"""`minilm bench speed`: how fast the house is, row by row, each beside what it is compared with and its goal.

Every row measures equal work in turns, on one thread unless `--threads` says otherwise, and by the processor's clock, so that other
programs on the machine do not count. `--rows` chooses some of the rows.
"""

from collections.abc import Callable

from minilm.bench.bars import Bar, table_of_bars
from minilm.bench.matrix_rate import matrix_rate
from minilm.bench.options import BenchOptions
from minilm.bench.parts import parts
from minilm.bench.speed_rows import corpus_to_store, finetuning, imports, lstm, vectors
from minilm.bench.speed_steps import examples, pretraining, quickstart_step
from minilm.errors import InputError
from minilm.training.memory import keep_freed

Row = Callable[[BenchOptions, Callable[[str], None]], tuple[dict, list[Bar]]]

ROWS: dict[str, Row] = {
    "pretraining": pretraining,
    "matrix-rate": matrix_rate,
    "quickstart": quickstart_step,
    "parts": parts,
    "fine-tuning": finetuning,
    "lstm": lstm,
    "corpus": corpus_to_store,
    "examples": examples,
    "import": imports,
    "vectors": vectors,
}


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """The rows that `--rows` names, or all of them. Raises InputError for a name that is not known."""
    if unknown := [name for name in options.rows if name not in ROWS]:
        raise InputError(f"speed has no row '{unknown[0]}': choose from {', '.join(ROWS)}.")
    keep_freed()  # as our training does; here it serves all contenders
    found: dict = {}
    bars: list[Bar] = []
    for name, row in ROWS.items():
        if not options.rows or name in options.rows:
            say(f"\n── {name}")
            found[name], goals = row(options, say)
            bars += goals
    if bars:
        say("\n" + table_of_bars(bars))
    return found | {"bars": [bar.written() for bar in bars]}
