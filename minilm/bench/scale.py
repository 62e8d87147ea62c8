r"""What grows with the length of a text, with the size of a corpus, and with the number of processes.  F03, F18, F22.

Letters:  T length · H heads · D size of a head

Three measurements, each in processes of its own, whose memory can be told apart:

    attention    forward and backward for T = 64 … 4,096, as it is written and fused, beside T²
    corpus       preparing and training on corpora of several sizes: the peak of the memory must not grow with them
    processes    one process with two batches per step, and two processes with one each: the same losses, and how much faster
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.errors import InputError
from minilm.files.notes import unheard
from minilm.jobs.pretrain import PretrainOptions, pretrain
from minilm.jobs.pretraining_data import batches_for, prepare_for
from minilm.layers.attention import attention, fused_attention
from minilm.training.memory import cost
from minilm.training.state import read_metrics

LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
H, D = 4, 32
WORDS, SENTENCE = 30_000, 12  # different words of the generated text, and words of a sentence
STEPS_OF_CORPUS, STEPS_OF_PROCESSES = 60, 60
TEXT_OF_PROCESSES = 4.0  # megabytes
WARM_UP = 1  # rounds that do not count
AGREE = 1e-5  # the largest difference of two held-out losses


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """The parts that `--rows` names, or all three."""
    parts = {"attention": attentions, "corpus": corpora, "processes": processes}
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


def write_text_of_size(path: Path, megabytes: float, seed: int) -> None:
    """Documents of ten sentences whose words are drawn with the frequencies 1/r, so that a vocabulary can be learned."""
    rng = np.random.default_rng(seed)
    syllables = np.array([consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"])
    words = np.array(["".join(parts) for parts in rng.choice(syllables, size=(WORDS, 4))])
    chances = 1 / np.arange(1, WORDS + 1)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        while file.tell() < megabytes * 1e6:
            drawn = words[rng.choice(WORDS, size=(1000, SENTENCE), p=chances / chances.sum())]
            lines = [" ".join(row) + "\n" + "\n" * (number % 10 == 9) for number, row in enumerate(drawn.tolist())]
            file.writelines(lines)


# ---- processes


def processes(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Train the quickstart's model on generated text in one and in two processes, in turns."""
    here = options.out / "scale" / "processes"
    here.mkdir(parents=True, exist_ok=True)
    write_text_of_size(here / "text.txt", TEXT_OF_PROCESSES, options.seed)
    ways = {"one process": 1, "two processes": 2}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    losses: dict[str, list[float]] = {}
    turns = [(number, name) for number in range(1 - WARM_UP, options.rounds + 1) for name in ways]
    for number, name in tqdm(turns, desc="processes", disable=None if options.progress else True, leave=False):
        out = here / f"{name.replace(' ', '-')}-{number}-{int(time.time())}"
        lines = run_in(ways[name], here, out, options.seed)
        losses[name] = [line["mlm_loss"] for line in lines]
        if number:
            seconds[name].append(lines[-1]["seconds"])
    apart = max(abs(a - b) for a, b in zip(*losses.values(), strict=True))
    if not apart <= AGREE:
        raise RuntimeError(f"the losses of one and of two processes are {apart:.1e} apart")
    faster = [a / b for a, b in zip(seconds["one process"], seconds["two processes"], strict=True)]
    low, high, at_best = min(faster), max(faster), best_ratio(here, options.seed)
    say(f"two processes take a step {statistics.median(faster):.2f} × as fast as one ({low:.2f}–{high:.2f}); "
        f"their losses are at most {apart:.0e} apart. The longer batch of each step allows {at_best:.2f} × at best")  # fmt: skip
    return {
        "seconds": seconds,
        "faster": faster,
        "median": statistics.median(faster),
        "at_best": at_best,
        "losses_apart": apart,
    }


def best_ratio(here: Path, seed: int) -> float:
    """How many times as fast two processes could be if nothing else counted: the tokens of all batches, padding included, over
    those of the larger batch of each step, on which the other process waits."""
    places: dict[str, Any] = dict(corpus=str(here / "text.txt"), out=here / "none", cache=here / "cache")
    sizes: dict[str, Any] = dict(steps=STEPS_OF_PROCESSES, held_out=50, word_vectors=False, seed=seed)
    settings = PretrainOptions(**places, **sizes, progress=False)
    batches = batches_for(settings, prepare_for(settings, unheard))
    tokens = [[batches[2 * step + i].input_ids.numel() for i in range(2)] for step in range(STEPS_OF_PROCESSES)]
    return sum(map(sum, tokens)) / sum(map(max, tokens))


def run_in(count: int, here: Path, out: Path, seed: int) -> list[dict]:
    """The metrics of a run in so many processes of one thread each, with two batches per step."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] * (count > 1)
    places = ["--corpus", str(here / "text.txt"), "--out", str(out), "--cache", str(here / "cache")]
    length = ["--steps", str(STEPS_OF_PROCESSES), "--evaluations", "3", "--accumulate", "2", "--seed", str(seed)]
    command = [sys.executable, *start, "-m", "minilm", "pretrain", *places, *length, "--no-progress"]
    command += ["--no-word-vectors", "--held-out", "50"]
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, env=surroundings, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return read_metrics(out)
