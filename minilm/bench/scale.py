r"""What grows with the length of a text, with the size of a corpus, and with the number of processes.  F03, F18, F22.

Letters:  T length · H heads · D size of a head

Five measurements, most of them in processes of its own, whose memory can be told apart:

    attention    forward and backward for T = 64 … 4,096, as it is written and fused, beside T²
    corpus       preparing and training on corpora of several sizes: the peak of the memory must not grow with them
    processes    one process with two batches per step, and two processes with one each: the same losses, how much faster, and
                 where the time goes (`bench/processes.py`)
    precision    products in bf16 and in float32: steps per second and losses of pretraining (`bench/precision.py`)
    fine-tuning  the same in fine-tuning the quickstart's model: seconds and accuracy
"""

import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from minilm.bench.generated_text import write_text_of_size
from minilm.bench.options import BenchOptions
from minilm.bench.precision import fine_tunings, precisions
from minilm.bench.processes import processes
from minilm.bench.report import table
from minilm.errors import InputError
from minilm.files.notes import unheard
from minilm.jobs.pretrain import PretrainOptions, pretrain
from minilm.jobs.pretraining_data import prepare_for
from minilm.layers.attention import attention, fused_attention
from minilm.training.memory import cost

LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
H, D = 4, 32
STEPS_OF_CORPUS = 60


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """The parts that `--rows` names, or the first four; the last one needs the quickstart's model."""
    parts = {"attention": attentions, "corpus": corpora, "processes": processes, "precision": precisions}
    parts |= {"fine-tuning": fine_tunings} if options.rows else {}
    if unknown := [name for name in options.rows if name not in parts]:
        raise InputError(f"scale has no part '{unknown[0]}': choose from {', '.join(parts)}.")
    return {name: part(options, say) for name, part in parts.items() if not options.rows or name in options.rows}


def alone(function: Callable[..., dict], *arguments: Any) -> dict:
    """What a function returns in a process of its own, with the most memory that this process used, in megabytes (10⁶ bytes)."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(with_peak, function, *arguments).result()


def with_peak(function: Callable[..., dict], *arguments: Any) -> dict:
    torch.set_num_threads(1)
    found = function(*arguments)
    return found | {"peak_mb": round(1000 * cost(time.perf_counter()).get("peak_gb", float("nan")))}


def nothing() -> dict:
    """What Python and its libraries need before anything is done."""
    return {}


# ---- attention


def attentions(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Seconds of the processor and memory of one layer's attention, forward and backward, for one sequence."""
    rows = []
    before = alone(nothing)["peak_mb"]
    for T in tqdm(LENGTHS, desc="attention", disable=None if options.progress else True, leave=False):
        row: dict[str, Any] = {"T": T}
        for name in ("written", "fused"):
            found = alone(one_attention, T, name == "fused", options.rounds)
            row |= {f"{name}_ms": found["ms"], f"{name}_mb": max(0, found["peak_mb"] - before)}
        rows.append(row)
    head = ("T", "T² ÷ 64²", "written, ms", "÷ at 64", "MB", "fused, ms", "÷ at 64", "MB")
    first = rows[0]
    say(table(head, [in_cells(row, first) for row in rows]))
    return {"heads": H, "size_of_a_head": D, "memory_before_mb": before, "rows": rows}


def in_cells(row: dict, first: dict) -> tuple[str, ...]:
    cells = [f"{row['T']:,}", f"{(row['T'] / first['T']) ** 2:,.0f}"]
    for name in ("written", "fused"):
        ms = row[f"{name}_ms"]
        cells += [f"{ms:,.2f}", f"{ms / first[f'{name}_ms']:,.1f}", f"{row[f'{name}_mb']:,}"]
    return tuple(cells)


def one_attention(T: int, fused: bool, rounds: int) -> dict:
    """The median of some runs, in milliseconds."""
    generator = torch.Generator().manual_seed(T)
    q, k, v = (torch.randn(1, H, T, D, generator=generator, requires_grad=True) for _ in range(3))
    seconds = []
    for _ in range(rounds + 1):
        began = time.process_time()
        out = fused_attention(q, k, v) if fused else attention(q, k, v)[0]
        out.sum().backward()
        seconds.append(time.process_time() - began)
    return {"ms": round(1000 * statistics.median(seconds[1:]), 3)}


# ---- the size of a corpus


def corpora(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Prepare and train on generated texts of these sizes."""
    rows: list[dict] = []
    before = alone(nothing)["peak_mb"]
    for megabytes in options.megabytes:
        here = options.out / "scale" / f"{megabytes:g}-mb"
        here.mkdir(parents=True, exist_ok=True)
        text = here / "text.txt"
        write_text_of_size(text, megabytes, options.seed)
        settings = settings_for(here, text, options)
        prepared, trained = alone(preparing, settings), alone(training, settings)
        rows.append(
            {"megabytes": text.stat().st_size / 1e6, "prepare_seconds_per_mb": prepared["seconds"] / megabytes}
            | {"prepare_peak_mb": prepared["peak_mb"], "train_peak_mb": trained["peak_mb"]}
            | {"steps_per_second": STEPS_OF_CORPUS / trained["seconds"]}
        )
        text.unlink()
        say(
            f"{megabytes:g} MB: at most {prepared['peak_mb']} MB of memory to prepare, and {trained['peak_mb']} MB to train"
        )
    head = ("MB of text", "prepare, s per MB", "peak, MB", "train, steps/s", "peak, MB")
    say(f"before anything is done: {before} MB")
    cells = [
        tuple(
            f"{row[name]:{form}}"
            for name, form in (
                ("megabytes", ",.0f"), ("prepare_seconds_per_mb", ".2f"), ("prepare_peak_mb", ",d"),
                ("steps_per_second", ".1f"), ("train_peak_mb", ",d"),
            )
        )
        for row in rows
    ]  # fmt: skip
    say(table(head, cells))
    return {"memory_before_mb": before, "rows": rows}


def settings_for(here: Path, text: Path, options: BenchOptions) -> PretrainOptions:
    sizes: dict[str, Any] = dict(steps=STEPS_OF_CORPUS, evaluations=1, word_vectors=False, held_out=200)
    places: dict[str, Any] = dict(corpus=str(text), out=here / "run", cache=here / "cache")
    return PretrainOptions(**places, **sizes, seed=options.seed, progress=False)


def preparing(settings: PretrainOptions) -> dict:
    began = time.process_time()
    prepare_for(settings, unheard)
    return {"seconds": time.process_time() - began}


def training(settings: PretrainOptions) -> dict:
    measured = pretrain(settings, unheard)
    return {"seconds": measured["seconds"]}
