"""`minilm bench WHAT`: a command for each figure of the README."""

import importlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from minilm.bench.options import BenchOptions
from minilm.bench.report import machine, threads
from minilm.files.atomic import write_json
from minilm.training.memory import cost, cost_in_words
from minilm.training.state import plain

__all__ = ["BenchOptions", "bench"]


def bench(options: BenchOptions, say: Callable[[str], None] = print) -> dict:
    """Measure, write `<out>/<what>.json` (recipe: `<out>/recipe-<language>.json`), and return what was written.

    Raises InputError if something that the measurement needs is missing (a corpus, the package transformers).
    """
    measure = importlib.import_module(f"minilm.bench.{options.what.replace('-', '_')}").measure
    options.out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with threads(options.own_threads):
        before = machine()
        measured = measure(options, say)
        facts: dict[str, Any] = {"what": options.what, "machine": before | {"load_after": machine()["load"]}}
    facts |= {"options": plain(options), "size": asdict(options.size), "cost": cost(started)} | measured
    path = options.out / f"{options.name}.json"
    write_json(path, facts)
    here = f"{before['processor']}, {before['threads']} thread(s), torch {before['torch']}"
    say(f"{here}. {cost_in_words(facts['cost'])}. All figures are in {path}.")
    return json.loads(path.read_text(encoding="utf-8"))
