"""Timing several contenders in turn, and reporting the figures together with facts about the machine."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from minilm.files.packages import installed_version

Seconds = dict[str, list[float]]  # name → one figure per round


class Clocks(NamedTuple):
    """The same runs by two clocks: the clock on the wall, and the processor's, which stops while other programs compute."""

    wall: Seconds
    cpu: Seconds


def alternate(runs: Mapping[str, Callable[[int], object]], rounds: int, bar: bool = True) -> Clocks:
    """The seconds of every run, in turn: A B C A B C … Round 0 is a warm-up and does not count.

    A machine becomes slower and faster while it works (heat, other programs). Taking turns spreads both over all runs.
    """
    clocks = Clocks({name: [] for name in runs}, {name: [] for name in runs})
    turns = [(number, name) for number in range(rounds + 1) for name in runs]
    for number, name in tqdm(turns, desc="taking turns", disable=None if bar else True, leave=False):
        started = time.perf_counter(), time.process_time()
        runs[name](number)
        if number:
            clocks.wall[name].append(time.perf_counter() - started[0])
            clocks.cpu[name].append(time.process_time() - started[1])
    return clocks


def ratios(seconds: Seconds, ours: str) -> dict[str, dict]:
    """How many times as long as `ours` each takes, round by round, because the machine is equally fast within a round."""
    out = {}
    for name, theirs in seconds.items():
        each = [b / a for a, b in zip(seconds[ours], theirs, strict=True)]
        out[name] = {"median": statistics.median(each), "lowest": min(each), "highest": max(each), "each": each}
    return out


def rows_of(clocks: Clocks, units: Sequence[float], unit: str) -> list[dict]:
    """One row per contender: the seconds of its runs, what it did per second, and the medians of both.

    `units` says how much every contender did in each round, for instance how many tokens.
    """
    rows = []
    for name, runs in clocks.wall.items():
        rates = [amount / each for amount, each in zip(units, runs, strict=True)]
        figures = {"seconds": runs, "cpu_seconds": clocks.cpu[name], f"{unit}_per_second": rates}
        median = {figure: statistics.median(values) for figure, values in figures.items()}
        rows.append({"name": name, "median": median, **figures})
    return rows


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table as text. The first column is aligned to the left, the others, with the figures, to the right."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths))).rstrip()
        for row in (head, *rows)
    )


def compared(clocks: Clocks, units: Sequence[float], unit: str, ours: str) -> dict:
    """The results of a race for its JSON: `rows`, and how many times as long as `ours` each took, by both clocks."""
    times = {"ratios": ratios(clocks.wall, ours), "cpu_ratios": ratios(clocks.cpu, ours)}
    return {"rows": rows_of(clocks, units, unit)} | times


def table_of(race: dict, unit: str) -> str:
    """The table of a race: what each did per second, and its time as a multiple of ours, with the lowest and the highest."""
    times, on_cpu = race["ratios"], race["cpu_ratios"]
    return table(
        ("", f"{unit}/s", "seconds a run", "time ÷ ours", "(lowest–highest)", "of the processor"),
        [
            (
                row["name"],
                f"{row['median'][f'{unit}_per_second']:,.0f}",
                f"{row['median']['seconds']:.3f}",
                f"{times[row['name']]['median']:.2f}",
                f"({times[row['name']]['lowest']:.2f}–{times[row['name']]['highest']:.2f})",
                f"{on_cpu[row['name']]['median']:.2f}",
            )
            for row in race["rows"]
        ],
    )


def machine() -> dict:
    """Facts about the machine: date, versions, threads, processor, and how busy it is."""
    load = [round(x, 2) for x in os.getloadavg()] if hasattr(os, "getloadavg") else None  # Windows has none
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
        "transformers": installed_version("transformers"),
        "system": platform.platform(),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": load,
    }


def processor_name() -> str:
    """The trade name of the processor if the system knows it, otherwise its kind."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # this is not Linux
    return platform.processor() or platform.machine()


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Run with this number of PyTorch's threads (None: as many as now), then restore the number from before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
