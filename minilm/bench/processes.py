r"""One process with two batches per step against two processes with one each: how much faster, and where the time goes.  F03.

The runs are those of the command, `minilm pretrain`, alone and under `torchrun`. Where the time goes is measured by this file itself,
which `torchrun` starts with the same batches: it does what the loop of `training/loop.py` does, and looks at two clocks between the
parts of a step. The clock on the wall runs while a process waits; the processor's does not, and other programs do not disturb it.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from minilm.bench.generated_text import write_text_of_size
from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.files.notes import unheard
from minilm.jobs.pretrain import PretrainOptions, build
from minilm.jobs.pretraining_data import batches_for, prepare_for
from minilm.training.optimizer import clip_gradients
from minilm.training.run import TrainingRun
from minilm.training.state import read_metrics
from minilm.training.team import joined

STEPS = 60
TEXT = 4.0  # megabytes
WARM_UP = 1  # rounds that do not count
AGREE = 1e-5  # the largest difference of two held-out losses
WAYS = {"one process": 1, "two processes": 2}
PARTS = ("building batches", "forward and backward", "waiting and reducing", "clipping and AdamW", "agreeing")


def processes(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Train the quickstart's model on generated text in one and in two processes, in turns."""
    here = options.out / "scale" / "processes"
    here.mkdir(parents=True, exist_ok=True)
    write_text_of_size(here / "text.txt", TEXT, options.seed)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    losses: dict[str, list[float]] = {}
    turns = [(number, name) for number in range(1 - WARM_UP, options.rounds + 1) for name in WAYS]
    for number, name in tqdm(turns, desc="processes", disable=None if options.progress else True, leave=False):
        out = here / f"{name.replace(' ', '-')}-{number}-{int(time.time())}"
        lines = run_in(WAYS[name], here, out, options.seed)
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
    found = {"seconds": seconds, "faster": faster, "median": statistics.median(faster)}
    return found | {"at_best": at_best, "losses_apart": apart, "parts": where_time_goes(here, options, say)}


def run_in(count: int, here: Path, out: Path, seed: int) -> list[dict]:
    """The metrics of a run in so many processes of one thread each, with two batches per step."""
    places = ["--corpus", str(here / "text.txt"), "--out", str(out), "--cache", str(here / "cache")]
    length = ["--steps", str(STEPS), "--evaluations", "3", "--accumulate", "2", "--seed", str(seed)]
    start_in(count, "minilm", "pretrain", *places, *length, "--no-progress", "--no-word-vectors", "--held-out", "50")
    return read_metrics(out)


def start_in(count: int, module: str, *arguments: str) -> None:
    """Run a module in so many processes, and wait until they end."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] * (count > 1)
    surroundings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, *start, "-m", module, *arguments]
    done = subprocess.run(command, env=surroundings, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])


def settings_in(here: Path, seed: int) -> PretrainOptions:
    """The options of these runs, in a form that prepares nothing anew."""
    places: dict[str, Any] = dict(corpus=str(here / "text.txt"), out=here / "none", cache=here / "cache")
    sizes: dict[str, Any] = dict(steps=STEPS, held_out=50, word_vectors=False, accumulate=2, seed=seed)
    return PretrainOptions(**places, **sizes, progress=False)


def best_ratio(here: Path, seed: int) -> float:
    """How many times as fast two processes could be if nothing else counted: the tokens of all batches, padding included, over
    those of the larger batch of each step, on which the other process waits."""
    settings = settings_in(here, seed)
    batches = batches_for(settings, prepare_for(settings, unheard), 2)
    tokens = [[batches[2 * step + i].input_ids.numel() for i in range(2)] for step in range(STEPS)]
    return sum(map(sum, tokens)) / sum(map(max, tokens))


# ---- the parts of a step


def where_time_goes(here: Path, options: BenchOptions, say: Callable[[str], None]) -> dict:
    """The milliseconds of each part of a step by both clocks, as means over the steps and over the processes."""
    found: dict[str, Any] = {}
    for name, count in WAYS.items():
        start_in(count, "minilm.bench.processes", str(here), str(options.seed), str(STEPS))
        parts = [
            json.loads((here / f"parts-{rank}-of-{count}.json").read_text(encoding="utf-8")) for rank in range(count)
        ]
        found[name] = parts
    cells = []
    for part in (*PARTS, "the whole step"):
        row = [part]
        for name in WAYS:
            row += [f"{statistics.mean(one[clock][part] for one in found[name]):.1f}" for clock in ("wall", "cpu")]
        cells.append(tuple(row))
    head = ("milliseconds of a step", "one process", "its processor", "two processes", "their processors, each")
    say(table(head, cells))
    alone, (first, second) = (
        found["one process"][0]["cpu"]["the whole step"],
        [one["cpu"]["the whole step"] for one in found["two processes"]],
    )
    say(
        f"by the processor's clock, one process needs {alone:.1f} ms for a step, and the two need {first:.1f} and {second:.1f}: "
        f"{alone / max(first, second):.2f} × as fast if nobody waited. To reduce the gradient "
        f"({found['two processes'][0]['megabytes']:.1f} MB) takes {found['two processes'][0]['reducing_ms']:.1f} ms "
        f"by itself, and the first step {found['two processes'][0]['first_ms']:.0f} ms"
    )
    return found


class Parts:
    """What each part of each step takes, by both clocks."""

    def __init__(self) -> None:
        self.wall: list[dict[str, float]] = []
        self.cpu: list[dict[str, float]] = []

    def begin_step(self) -> None:
        self.wall.append(dict.fromkeys(PARTS, 0.0))
        self.cpu.append(dict.fromkeys(PARTS, 0.0))

    def add(self, part: str, since: tuple[float, float]) -> None:
        wall, cpu = now()
        self.wall[-1][part] = self.wall[-1].get(part, 0.0) + wall - since[0]
        self.cpu[-1][part] = self.cpu[-1].get(part, 0.0) + cpu - since[1]

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        since = now()
        yield
        self.add(part, since)

    def means(self, steps: list[dict[str, float]]) -> dict[str, float]:
        """In milliseconds, without the first step."""
        return {name: 1000 * statistics.mean(step[name] for step in steps[1:]) for name in steps[0]}


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main(here: Path, seed: int, steps: int) -> None:
    """Train for some steps in this process of a team, and write what the parts of a step took."""
    torch.set_num_threads(1)
    with joined() as team:
        settings, parts = settings_in(here, seed), Parts()
        prepared = prepare_for(settings, unheard)
        batches, model = batches_for(settings, prepared, 2), build(settings, prepared)

        def batch_at(number: int):
            with parts.timed("building batches"):
                return batches[number]

        run = TrainingRun(
            model, settings.objective, batch_at, settings.budget, settings.optimisation, accumulate=2, team=team
        )
        computed = [now()]  # when the last part of the gradient was there
        if isinstance(run.shared, DistributedDataParallel):
            everybody: Any = distributed.group.WORLD

            def hook(_, bucket):
                computed[0] = now()
                return allreduce_hook(everybody, bucket)

            run.shared.register_comm_hook(None, hook)
        for step in range(steps):
            parts.begin_step()
            one_step(run, step, parts, computed)
        written: dict[str, Any] = {"wall": parts.means(parts.wall), "cpu": parts.means(parts.cpu)}
        written["first_ms"] = 1000 * parts.wall[0]["the whole step"]
        numbers = torch.zeros(sum(p.numel() for p in model.parameters()))
        written |= {"megabytes": 4 * len(numbers) / 1e6, "reducing_ms": reducing(team, numbers)}
        (here / f"parts-{team.rank}-of-{team.size}.json").write_text(json.dumps(written), encoding="utf-8")


def one_step(run: TrainingRun, number: int, parts: Parts, computed: list) -> None:
    """As in `training/loop.py`."""
    with parts.timed("the whole step"):
        run.model.train()
        step = run.step_at(number)
        step.loss.backward()
        if run.team.size > 1:
            parts.add("waiting and reducing", computed[0])
        with parts.timed("clipping and AdamW"):
            clip_gradients(run.model.parameters(), run.optimisation.clip)
            run.optimizer.step(run.optimisation.learning_rate.at(run.budget.progress(number, 0, 0.0)))
            run.optimizer.zero_grad()
        with parts.timed("agreeing"):
            if run.team.size > 1:
                run.team.agree(0.0, False)
    for clock in (parts.wall[-1], parts.cpu[-1]):
        clock["forward and backward"] = 2 * clock["the whole step"] - sum(clock.values())


def reducing(team, numbers: torch.Tensor) -> float:
    """Milliseconds of adding up so many numbers over the processes when none has to wait for another: the median of nine."""
    seconds = []
    for _ in range(9 if team.size > 1 else 0):
        distributed.barrier()
        began = time.perf_counter()
        distributed.all_reduce(numbers)
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds or [0.0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
